//! The rules, in virtual time, and the steps on the disk, cut off anywhere.

use std::collections::VecDeque;
use std::fs;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::volume;

const MIB: u64 = 1 << 20;

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

fn seen() -> Seen {
    Seen {
        now: seconds(0),
        patience: seconds(600),
        stop: false,
        major: 15,
        directory: Directory::Unknown,
        owner: OwnerFile::Absent,
        data: Data::Absent,
        snapshot: Snapshot::Unknown,
        leftovers: true,
        room: Room {
            free: 500 * MIB,
            total: 1000 * MIB,
        },
        work: Work::Nothing,
        waits: Waits::default(),
    }
}

fn ready() -> Seen {
    Seen {
        directory: Directory::Ours,
        owner: OwnerFile::Ours,
        snapshot: Snapshot::There { bytes: 100 * MIB },
        leftovers: false,
        ..seen()
    }
}

fn place() -> Place {
    Place {
        path: "hippo-backups/one".to_owned(),
        backup_claim: "shelf".to_owned(),
        data: "/pgdata/hippo/data".to_owned(),
        claim: "hippo".to_owned(),
        owner: "PgCluster/shop/hippo".to_owned(),
    }
}

/// Does what is decided; whether it fails is asked of `fails`.
fn run(mut seen: Seen, mut fails: impl FnMut(&mut Seen, &Act) -> bool) -> (End, Seen, Vec<Act>) {
    let mut acts = Vec::new();
    for _ in 0..100_000 {
        let act = decide(&seen);
        remember(&mut seen.waits, &act, seen.now);
        let fails = fails(&mut seen, &act);
        let (again, words) = (seen.now + crate::job::AGAIN, "no space left".to_owned());
        match &act {
            Act::End(end) => return (end.clone(), seen, acts),
            Act::WaitFor(_) => seen.now += seconds(1),
            Act::Wait => {
                if let Work::Running { job, cancelled } = seen.work {
                    seen.work = if fails || cancelled {
                        Work::Failed { job, words, again }
                    } else {
                        Work::Done(job)
                    };
                }
            }
            Act::TakeDirectory if fails => seen.directory = Directory::Taken { again },
            Act::TakeDirectory => seen.directory = Directory::Ours,
            Act::TakeOwner | Act::Clear if fails => seen.directory = Directory::Away { words, again },
            Act::TakeOwner => seen.owner = OwnerFile::Ours,
            Act::LookAtSnapshot if fails => seen.snapshot = Snapshot::Away { words, again },
            Act::LookAtSnapshot => seen.snapshot = Snapshot::There { bytes: 100 * MIB },
            Act::Clear => (seen.leftovers, seen.work) = (false, Work::Nothing),
            Act::Begin(job) => {
                let (job, cancelled) = (*job, false);
                seen.work = Work::Running { job, cancelled };
            }
            Act::Cancel => {
                if let Work::Running { cancelled, .. } = &mut seen.work {
                    *cancelled = true;
                }
            }
            Act::Finish if fails => {
                let job = Job::Sync;
                seen.work = Work::Failed { job, words, again };
            }
            Act::Finish => seen.work = Work::Finished,
        }
        if !matches!(act, Act::Wait | Act::WaitFor(_)) {
            acts.push(act);
        }
    }
    panic!("it never ends: {seen:?}");
}

#[test]
fn it_is_checked_copied_verified_brought_to_the_disk_and_given_its_name() {
    let (end, _, acts) = run(seen(), |_, _| false);
    let expected = [
        Act::TakeDirectory,
        Act::TakeOwner,
        Act::LookAtSnapshot,
        Act::Clear,
        Act::Begin(Job::Check),
        Act::Begin(Job::Copy),
        Act::Begin(Job::Verify),
        Act::Begin(Job::Sync),
        Act::Finish,
    ];
    assert_eq!((end, acts), (End::Done, expected.to_vec()));
}

fn at_once(change: impl Fn(&mut Seen)) -> (End, String) {
    let mut seen = ready();
    change(&mut seen);
    let (end, seen, acts) = run(seen, |_, _| false);
    assert_eq!((seen.now, acts), (seconds(0), Vec::new()));
    let words = place().last_words(&end, &seen);
    (end, words)
}

#[test]
fn what_stays_so_ends_at_once() {
    type Change = fn(&mut Seen);
    let cases: [(Change, &str); 10] = [
        (
            |seen| seen.owner = OwnerFile::Other("PgDatabase/shop/orders".to_owned()),
            "belongs to PgDatabase/shop/orders, not to PgCluster/shop/hippo",
        ),
        (
            |seen| seen.data = Data::Other,
            "already holds a database in /pgdata/hippo/data",
        ),
        (
            |seen| seen.snapshot = Snapshot::Refused(Refusal::Missing(vec!["hippo-backups/two".to_owned()])),
            "no snapshot hippo-backups/one on claim shelf (there: hippo-backups/two)",
        ),
        (
            |seen| seen.snapshot = Snapshot::Refused(Refusal::Lacks("backup_label")),
            "backup_label is missing",
        ),
        (
            |seen| seen.snapshot = Snapshot::Refused(Refusal::OtherMajor(14)),
            "was written by PostgreSQL 14 but the image has 15",
        ),
        (
            |seen| seen.snapshot = Snapshot::Refused(Refusal::Tablespaces),
            "has tablespaces",
        ),
        (
            |seen| seen.snapshot = Snapshot::Refused(Refusal::Incremental),
            "is incremental",
        ),
        (
            |seen| seen.snapshot = Snapshot::Refused(Refusal::Unreadable("permission denied".to_owned())),
            "can't be read: permission denied",
        ),
        (
            |seen| seen.snapshot = Snapshot::There { bytes: 1001 * MIB },
            "1001 MiB are needed",
        ),
        (
            |seen| seen.directory = Directory::Refused("read-only".to_owned()),
            "read-only; check",
        ),
    ];
    for (change, expected) in cases {
        let (end, words) = at_once(change);
        assert!(words.contains(expected), "{words}");
        assert_eq!(end.outcome().code(), 3, "{words}");
    }
}

#[test]
fn what_was_restored_before_is_left_as_it_is_now() {
    let (end, _) = at_once(|seen| seen.data = Data::Restored);
    assert_eq!((&end, end.outcome().code()), (&End::RestoredBefore, 0));
}

#[test]
fn a_damaged_snapshot_is_not_tried_again_and_a_copy_is() {
    for job in [Job::Check, Job::Verify] {
        let (end, _, _) = run(ready(), |seen, act| {
            *act == Act::Wait && matches!(seen.work, Work::Running { job: found, .. } if found == job)
        });
        assert_eq!(end, End::Damaged("no space left".to_owned()));
    }
    let mut failures = 3;
    let (end, _, acts) = run(ready(), |seen, act| {
        let is_copy = matches!(seen.work, Work::Running { job: Job::Copy, .. });
        let fails = *act == Act::Wait && is_copy && failures > 0;
        failures -= u32::from(fails);
        fails
    });
    assert_eq!(end, End::Done);
    // What is half is removed before.
    assert_eq!(acts.iter().filter(|act| **act == Act::Clear).count(), 3);
}

#[test]
fn what_may_mend_itself_is_waited_for_within_its_bound() {
    for (at, what, bound) in [
        (Act::TakeDirectory, Waited::Directory, 60),
        (Act::TakeOwner, Waited::Volume, 600),
        (Act::LookAtSnapshot, Waited::Snapshot, 600),
        (Act::Finish, Waited::Copy, 600),
    ] {
        let (end, seen, _) = run(seen(), |_, act| *act == at);
        assert_eq!((&end, end.outcome().code()), (&End::Impatient(what), 1));
        assert!(
            (seconds(bound)..seconds(bound + 5)).contains(&seen.now),
            "{at:?}: {:?}",
            seen.now
        );
        let (end, _, _) = run(self::seen(), |seen, act| *act == at && seen.now < seconds(bound / 2));
        assert_eq!(end, End::Done, "{at:?}");
    }
    let mut full = ready();
    full.room.free = 10 * MIB;
    let (end, seen, acts) = run(full, |_, _| false);
    assert_eq!(
        (&end, seen.now, acts),
        (&End::Impatient(Waited::Room), seconds(600), Vec::new())
    );
    let words = place().last_words(&end, &seen);
    assert!(
        words.contains("claim hippo has 10 MiB free and snapshot hippo-backups/one on claim shelf needs 100 MiB"),
        "{words}"
    );
}

/// R31: either nothing is left and it is said so, or all is there and it is said so.
#[test]
fn a_stop_is_heard_at_every_step_and_too_late_once_the_name_is_given() {
    let (_, _, whole) = run(seen(), |_, _| false);
    for at in whole {
        let (end, _, acts) = run(seen(), |seen, act| {
            seen.stop |= *act == at;
            false
        });
        let expected = if at == Act::Finish { End::Done } else { End::Stopped };
        assert_eq!(end, expected, "stopped at {at:?}");
        assert_eq!(acts.last() == Some(&Act::Cancel), matches!(at, Act::Begin(_)), "{at:?}");
    }
}

proptest! {
    #[test]
    fn nothing_gets_the_name_that_was_not_verified(faults in vec(any::<bool>(), 0..40), stop_at in proptest::option::of(0..40_usize)) {
        let mut faults = VecDeque::from(faults);
        let mut step = 0;
        let (end, seen, acts) = run(seen(), |seen, _| {
            step += 1;
            seen.stop |= stop_at == Some(step);
            faults.pop_front().unwrap_or(false)
        });
        prop_assert!(seen.now < seconds(4000));
        let whole = [Act::Begin(Job::Check), Act::Begin(Job::Copy), Act::Begin(Job::Verify), Act::Begin(Job::Sync)];
        for at in (0..acts.len()).filter(|at| acts[*at] == Act::Finish) {
            prop_assert!(acts[..at].ends_with(&whole), "{acts:?}");
        }
        prop_assert_eq!(end == End::Done, seen.work == Work::Finished);
        let is_left_alone = matches!(seen.work, Work::Running { .. });
        prop_assert!(!is_left_alone);
    }
}

#[test]
fn on_the_disk_the_data_is_whole_or_absent_wherever_it_is_cut_off() {
    for steps in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let names = volume::Directory::new(folder.path());
        let restore = |lineage: &str, steps: usize| {
            fs::create_dir(names.restore()).unwrap();
            fs::write(names.restore().join("PG_VERSION"), "15").unwrap();
            fs::write(names.restore().join("standby.signal"), "").unwrap();
            fs::write(names.restore().join("postgresql.auto.conf"), "work_mem = '1MB'").unwrap();
            let ops = names.finish_restore(lineage, "uid shelf hippo-backups/one");
            for op in ops.iter().take(steps) {
                op.run().unwrap();
            }
        };
        fs::create_dir(names.data()).unwrap();
        restore("first", steps);
        let text = |name: &str| fs::read_to_string(names.data().join(name)).unwrap_or_default();
        let mut expected = "first";
        if !names.names().data {
            for op in names.clear_restore() {
                op.run().unwrap();
            }
            restore("second", usize::MAX);
            expected = "second";
        }
        assert_eq!(
            text("pgop.lineage"),
            format!("{expected}\n"),
            "cut off after {steps} steps"
        );
        assert_eq!(text("recovery.signal"), format!("pgop restore {expected}\n"));
        assert_eq!(text("postgresql.auto.conf"), "");
        assert!(!names.data().join("standby.signal").exists());
        let restored = fs::read_to_string(names.restored()).unwrap();
        assert_eq!(restored, format!("{expected} uid shelf hippo-backups/one\n"));
        assert!(!names.restore().exists());
    }
}
