//! The rules, in virtual time.

use std::collections::VecDeque;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const MIB: u64 = 1 << 20;

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

fn facts() -> Facts {
    Facts {
        version: "15.18".to_owned(),
        major: 15,
        bytes: 100 * MIB,
        tablespaces: Vec::new(),
        owner: Some("u1".to_owned()),
        lineage: None,
    }
}

fn seen() -> Seen {
    Seen {
        now: seconds(0),
        patience: seconds(600),
        stop: false,
        major: 15,
        owner: Some("u1".to_owned()),
        target: Target::Absent,
        source: Source::Unknown,
        partial: Partial::Unknown,
        room: Room {
            free: 500 * MIB,
            total: 1000 * MIB,
        },
        work: Work::Nothing,
        waits: Waits::default(),
    }
}

fn place() -> Place {
    Place {
        source: "hippo:5432".to_owned(),
        path: "hippo-backups/one".to_owned(),
        claim: "shelf".to_owned(),
    }
}

/// Does what is decided; what becomes of it is asked of `fails`, which has the time and the act.
struct World<F> {
    seen: Seen,
    fails: F,
    acts: Vec<(Time, Act)>,
}

impl<F: FnMut(&mut Seen, &Act) -> bool> World<F> {
    fn new(seen: Seen, fails: F) -> Self {
        Self {
            seen,
            fails,
            acts: Vec::new(),
        }
    }

    fn again(&self) -> Time {
        self.seen.now + crate::job::AGAIN
    }

    /// Until it ends.
    fn run(mut self) -> (End, Self) {
        for _ in 0..100_000 {
            let act = decide(&self.seen);
            remember(&mut self.seen.waits, &act, self.seen.now);
            let fails = (self.fails)(&mut self.seen, &act);
            let again = self.again();
            match &act {
                Act::End(end) => return (end.clone(), self),
                Act::WaitFor(_) => self.seen.now += seconds(1),
                Act::Wait => self.finish(fails),
                Act::Ask => {
                    if let Work::Failed { .. } = self.seen.work {
                        self.seen.work = Work::Nothing;
                    }
                    self.seen.source = if fails {
                        let words = "connection refused".to_owned();
                        Source::Away { words, again }
                    } else {
                        Source::There(facts())
                    };
                }
                Act::MakePartial => {
                    self.seen.partial = if fails {
                        let by = Holder::Predecessor;
                        Partial::Held { by, again }
                    } else {
                        Partial::Ours
                    }
                }
                Act::Begin(job) => {
                    let (job, cancelled) = (*job, false);
                    self.seen.work = Work::Running { job, cancelled };
                }
                Act::Cancel => {
                    if let Work::Running { cancelled, .. } = &mut self.seen.work {
                        *cancelled = true;
                    }
                }
                Act::Publish => {
                    self.seen.work = if fails {
                        let by = Holder::Shelf;
                        Work::Blocked { by, again }
                    } else {
                        Work::Published { ours: true }
                    }
                }
            }
            if !matches!(act, Act::Wait | Act::WaitFor(_)) {
                self.acts.push((self.seen.now, act));
            }
        }
        panic!("it never ends: {:?}", self.seen);
    }

    fn finish(&mut self, fails: bool) {
        let again = self.again();
        if let Work::Running { job, cancelled } = self.seen.work {
            self.seen.work = if fails || cancelled {
                let words = "server closed the connection".to_owned();
                Work::Failed { job, words, again }
            } else {
                Work::Done(job)
            };
        }
    }

    fn count(&self, of: &Act) -> usize {
        self.acts.iter().filter(|(_, act)| act == of).count()
    }
}

#[test]
fn it_is_copied_verified_brought_to_the_disk_and_given_its_name() {
    let (end, world) = World::new(seen(), |_, _| false).run();
    let acts: Vec<Act> = world.acts.into_iter().map(|(_, act)| act).collect();
    let expected = [
        Act::Ask,
        Act::MakePartial,
        Act::Begin(Job::Copy),
        Act::Begin(Job::Verify),
        Act::Begin(Job::Sync),
        Act::Publish,
    ];
    assert_eq!((end, acts), (End::Done, expected.to_vec()));
}

#[test]
fn a_source_that_restarts_or_gets_its_password_is_waited_for() {
    let back = seconds(300);
    let (end, world) = World::new(seen(), |seen, act| *act == Act::Ask && seen.now < back).run();
    assert_eq!(end, End::Done);
    // Every three seconds, not at every look.
    assert_eq!(world.count(&Act::Ask), 101);
    assert!(world.seen.now < seconds(310), "{:?}", world.seen.now);
}

#[test]
fn patience_has_an_end_which_says_what_was_waited_for() {
    let (end, world) = World::new(seen(), |_, act| *act == Act::Ask).run();
    assert_eq!((&end, world.seen.now), (&End::Impatient(Waited::Source), seconds(600)));
    assert_eq!(end.outcome().code(), 1);
    assert_eq!(
        place().last_words(&end, &world.seen),
        "backup to hippo-backups/one: hippo:5432 does not answer: connection refused (waited for 600 s, and nothing of the backup is left)"
    );
}

fn at_once(change: impl Fn(&mut Seen)) -> (End, String) {
    let mut seen = seen();
    seen.source = Source::There(facts());
    seen.partial = Partial::Ours;
    change(&mut seen);
    let (end, world) = World::new(seen, |_, _| false).run();
    assert_eq!((world.seen.now, world.acts.len()), (seconds(0), 0), "{:?}", world.acts);
    assert_eq!(end.outcome().code(), 3);
    let words = place().last_words(&end, &world.seen);
    (end, words)
}

fn with_facts(change: impl Fn(&mut Facts)) -> (End, String) {
    at_once(|seen| {
        let mut facts = facts();
        change(&mut facts);
        seen.source = Source::There(facts);
    })
}

#[test]
fn a_server_that_does_not_tell_whose_it_is_is_backed_up_as_before() {
    let tells = |owner: Option<&str>, wanted: Option<&str>| {
        let facts = Facts {
            owner: owner.map(str::to_owned),
            ..facts()
        };
        let seen = Seen {
            owner: wanted.map(str::to_owned),
            source: Source::There(facts),
            ..seen()
        };
        decide(&seen)
    };
    for (owner, wanted) in [
        (None, Some("u1")),
        (Some("u2"), None),
        (None, None),
        (Some("u1"), Some("u1")),
    ] {
        assert_eq!(tells(owner, wanted), Act::MakePartial, "{owner:?} {wanted:?}");
    }
    assert_eq!(tells(Some("u2"), Some("u1")), Act::End(End::OtherSource));
}

#[test]
fn what_stays_so_ends_at_once() {
    let (end, words) = with_facts(|facts| (facts.major, facts.version) = (17, "17.2".to_owned()));
    assert_eq!(end, End::OtherMajor);
    assert!(
        words.starts_with("hippo:5432 runs PostgreSQL 17.2 and this Job's image has 15"),
        "{words}"
    );

    let (end, words) = with_facts(|facts| facts.owner = Some("u2".to_owned()));
    assert_eq!(end, End::OtherSource);
    assert!(
        words.starts_with("hippo:5432 is the server of another resource by now"),
        "{words}"
    );

    let (end, words) = with_facts(|facts| facts.tablespaces.push("fast".to_owned()));
    assert_eq!(end, End::Tablespaces);
    assert!(words.contains("(fast)"), "{words}");

    let (end, words) = with_facts(|facts| facts.bytes = 1001 * MIB);
    assert_eq!(end, End::NeverFits);
    assert!(
        words.contains("1001 MiB are needed, and it has 1000 MiB in all, 500 MiB of them free"),
        "{words}"
    );

    assert_eq!(at_once(|seen| seen.target = Target::Others).0, End::Exists);
    let (end, words) = at_once(|seen| seen.target = Target::Forged);
    assert_eq!(end, End::Forged);
    assert!(words.contains("has this backup's label, but not the seal"), "{words}");
    let (end, words) = at_once(|seen| seen.partial = Partial::Refused("read-only".to_owned()));
    assert!(matches!(end, End::Volume(_)) && words.contains("fsGroup"), "{words}");
}

#[test]
fn a_full_claim_is_waited_for_and_gets_room() {
    let mut full = seen();
    full.room.free = 99 * MIB;
    let mut later = full.clone();
    let (end, world) = World::new(full, |seen, _| {
        if seen.now >= seconds(60) {
            seen.room.free = 100 * MIB;
        }
        false
    })
    .run();
    assert_eq!(end, End::Done);
    assert!((60..=61).contains(&world.seen.now.as_secs()), "{:?}", world.seen.now);

    later.patience = seconds(5);
    let (end, world) = World::new(later, |_, _| false).run();
    assert_eq!((&end, world.seen.now), (&End::Impatient(Waited::Room), seconds(5)));
    assert_eq!(world.count(&Act::Begin(Job::Copy)), 0);
    let words = place().last_words(&end, &world.seen);
    assert!(
        words.contains("claim shelf has 99 MiB free and the snapshot of hippo:5432 needs 100 MiB"),
        "{words}"
    );
}

#[test]
fn a_copy_that_fails_is_made_again_with_the_source_asked_anew() {
    let mut failures = 2;
    let (end, world) = World::new(seen(), |_, act| {
        let fails = *act == Act::Wait && failures > 0;
        failures -= u32::from(fails);
        fails
    })
    .run();
    assert_eq!(end, End::Done);
    assert_eq!((world.count(&Act::Ask), world.count(&Act::Begin(Job::Copy))), (3, 3));
}

/// What takes hours is tried once more by this agent; then it is the Job's turn.
#[test]
fn a_copy_that_fails_late_is_not_made_for_ever() {
    let (end, world) = World::new(seen(), |seen, act| {
        if *act == Act::Wait {
            seen.now += seconds(7200);
        }
        *act == Act::Wait
    })
    .run();
    assert_eq!(end, End::Impatient(Waited::Copy));
    assert_eq!(world.count(&Act::Begin(Job::Copy)), 2);
    let words = place().last_words(&end, &world.seen);
    assert!(words.contains("failed: server closed the connection"), "{words}");
}

#[test]
fn a_predecessor_is_waited_for_as_long_as_it_may_take_to_end() {
    let (end, world) = World::new(seen(), |seen, act| *act == Act::MakePartial && seen.now < seconds(80)).run();
    assert_eq!(end, End::Done);
    assert!(world.seen.now < seconds(90));
    let (end, world) = World::new(seen(), |_, act| *act == Act::MakePartial).run();
    assert_eq!(
        (&end, world.seen.now),
        (&End::Impatient(Waited::Predecessor), seconds(90))
    );
    assert!(place().last_words(&end, &world.seen).contains("; delete that pod"));
}

#[test]
fn a_shelf_that_is_locked_is_waited_for_at_its_end_too() {
    let (end, world) = World::new(seen(), |seen, act| *act == Act::Publish && seen.now < seconds(20)).run();
    assert_eq!((end, world.count(&Act::Begin(Job::Copy))), (End::Done, 1));
    let (end, _) = World::new(seen(), |_, act| *act == Act::Publish).run();
    assert_eq!(end, End::Impatient(Waited::Shelf));
}

#[test]
fn what_an_earlier_agent_has_finished_is_adopted_when_every_byte_is_right() {
    let mut ours = seen();
    ours.target = Target::Ours;
    let (end, world) = World::new(ours.clone(), |_, _| false).run();
    assert_eq!((end, world.acts.len()), (End::Done, 1));
    assert_eq!(world.count(&Act::Begin(Job::VerifyFinished)), 1);

    let mut stopped = ours.clone();
    stopped.stop = true;
    assert!(
        !place()
            .last_words(&End::Stopped, &stopped)
            .contains("nothing of it is left")
    );

    let (end, _) = World::new(ours, |_, act| *act == Act::Wait).run();
    assert_eq!(end, End::Damaged("server closed the connection".to_owned()));
    assert_eq!(end.outcome(), Outcome::Never);
}

fn while_copying(target: Target) -> (End, World<impl FnMut(&mut Seen, &Act) -> bool>) {
    let world = World::new(seen(), move |seen, act| {
        if *act == Act::Begin(Job::Copy) {
            seen.target = target;
        }
        false
    });
    world.run()
}

#[test]
fn who_takes_the_name_meanwhile_keeps_it() {
    let (end, world) = while_copying(Target::Others);
    assert_eq!(end, End::Exists);
    assert_eq!((world.count(&Act::Cancel), world.count(&Act::Publish)), (1, 0));
    assert_eq!(while_copying(Target::Forged).0, End::Forged);
    let (end, world) = while_copying(Target::Ours);
    assert_eq!(end, End::Done);
    assert_eq!((world.count(&Act::Cancel), world.count(&Act::Publish)), (1, 0));
}

/// R31: either nothing is left and it is said so, or all is there and it is said so.
#[test]
fn a_stop_is_heard_at_every_step_and_too_late_once_the_name_is_given() {
    let (_, whole) = World::new(seen(), |_, _| false).run();
    for (_, at) in whole.acts {
        let (end, world) = World::new(seen(), |seen, act| {
            seen.stop |= *act == at;
            false
        })
        .run();
        let expected = if at == Act::Publish { End::Done } else { End::Stopped };
        assert_eq!(end, expected, "stopped at {at:?}");
        assert_eq!(
            world.acts.last().map(|(_, act)| act == &Act::Cancel),
            Some(matches!(at, Act::Begin(_)))
        );
    }
    assert_eq!(End::Stopped.outcome().code(), 1);
    assert!(
        place()
            .last_words(&End::Stopped, &seen())
            .contains("nothing of it is left")
    );
}

/// KC09: only what was looked at again, under its name, is called verified.
#[test]
fn what_is_not_ours_after_all_is_not_told_as_done() {
    let mut replaced = seen();
    replaced.work = Work::Published { ours: false };
    assert_eq!(decide(&replaced), Act::End(End::Replaced));
    assert_eq!(End::Replaced.outcome(), Outcome::Again);
}

proptest! {
    /// Whatever fails, and whenever it is stopped: it ends, nothing gets the name but what was copied, verified and brought to the disk since, and
    /// nothing is done that is not there.
    #[test]
    fn nothing_gets_the_name_that_was_not_verified(
        faults in vec(any::<bool>(), 0..40),
        stop_at in proptest::option::of(0..40_usize),
        appears in proptest::option::of((0..40_usize, prop_oneof![Just(Target::Others), Just(Target::Ours), Just(Target::Forged)])),
    ) {
        let mut faults = VecDeque::from(faults);
        let mut step = 0;
        let (end, world) = World::new(seen(), |seen, act| {
            step += 1;
            seen.stop |= stop_at == Some(step);
            if let Some((at, target)) = appears && at == step && !matches!(seen.work, Work::Published { .. }) && *act != Act::Publish {
                seen.target = target;
            }
            faults.pop_front().unwrap_or(false)
        }).run();
        prop_assert!(world.seen.now < seconds(3000));
        let long: Vec<&Act> = world.acts.iter().map(|(_, act)| act).filter(|act| matches!(act, Act::Begin(_) | Act::Publish)).collect();
        let whole = [Act::Begin(Job::Copy), Act::Begin(Job::Verify), Act::Begin(Job::Sync)];
        for (at, act) in long.iter().enumerate() {
            if **act == Act::Publish {
                let begun: Vec<&Act> = long[..at].iter().copied().filter(|act| **act != Act::Publish).collect();
                let last = begun.len().checked_sub(3).map(|from| &begun[from..]);
                prop_assert!(last.is_some_and(|last| last.iter().copied().eq(whole.iter())), "{long:?}");
            }
        }
        if end == End::Done {
            let is_whole = matches!(world.seen.work, Work::Published { ours: true } | Work::Done(Job::VerifyFinished));
            prop_assert!(is_whole, "{:?}", world.seen);
        }
        let is_left_alone = matches!(world.seen.work, Work::Running { .. });
        prop_assert!(!is_left_alone);
    }
}
