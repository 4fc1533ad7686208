//! A world in which any step fails and any process dies: what is decided never harms the data, and when the faults end, the server serves.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// What goes wrong while something is done.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// What is tried fails.
    Fails,
    /// The agent dies, and everything in its container with it, before it is done.
    Before,
    /// The agent dies, and what it has started does not.
    Alone,
    /// The same, after half of it.
    Amid,
    /// The server dies.
    Crash,
    /// The primary goes away.
    Away,
    /// The primary has forgotten what this replica needs.
    Forgotten,
    /// The resource's settings change, to some that `PostgreSQL` reads but does not come up with.
    Unusable,
    /// They change to some that it does not read.
    Unreadable,
    /// They change to good ones.
    Usable,
    /// Somebody calls ALTER SYSTEM, with something that `PostgreSQL` does not come up with.
    Overridden,
}

const BAD: std::ops::Range<u64> = 1000..3000;
const UNREADABLE: std::ops::Range<u64> = 2000..3000;

struct World {
    seen: Seen,
    changes: u64,
}

impl World {
    fn wait(&mut self) {
        self.seen.now += Duration::from_secs(5);
        if let Role::Replica {
            primary: away @ Primary::Away(_),
        } = &mut self.seen.role
        {
            *away = primary();
        }
        if let Some(Running { job, .. }) = self.seen.running {
            self.finish(job, true);
        }
        if let Server::Up(up) = &mut self.seen.server {
            (up.hears, up.answers) = (true, true);
            if up.asked.is_some() {
                self.seen.server = down();
            }
        }
    }

    fn finish(&mut self, job: Job, is_success: bool) {
        self.seen.running = None;
        if !is_success {
            self.seen
                .tries
                .0
                .insert(Tried::Job(job), self.seen.now + Duration::from_secs(10));
            self.seen.volume.leftovers |= job != Job::CheckSettings;
            return;
        }
        match job {
            Job::Init => self.seen.volume.data = Data::There(facts(false)),
            Job::Clone => self.seen.volume.copy = true,
            Job::CheckSettings => {
                let is_read = !UNREADABLE.contains(&self.seen.wanted.0);
                self.seen.verdict = if is_read {
                    Verdict::Good
                } else {
                    Verdict::Bad("no".to_owned())
                };
            }
        }
    }

    /// The container starts anew: what was in memory is gone, what is on the volume is not.
    fn die(&mut self) {
        self.seen.volume.leftovers |= self
            .seen
            .running
            .is_some_and(|running| running.job != Job::CheckSettings);
        self.seen.running = None;
        self.seen.server = down();
        // They go with the container.
        self.seen.volume.orphans = false;
        self.seen.verdict = Verdict::Unknown;
        self.seen.volume.lock = Lock::Free;
        self.seen.tries = Tries::default();
        if let Role::Primary { roles, slots, .. } = &mut self.seen.role {
            (*roles, *slots) = (InForce::NotYet, false);
        }
    }

    fn want(&mut self, base: u64) {
        self.changes += 1;
        (self.seen.wanted, self.seen.verdict) = (Settings(base + self.changes), Verdict::Unknown);
        if let Server::Down { in_vain, .. } = &mut self.seen.server {
            *in_vain = 0;
        }
    }

    fn befall(&mut self, fault: Fault) {
        match fault {
            Fault::Crash if self.seen.up().is_some() => {
                self.seen.volume.orphans = true;
                self.seen.server = Server::Down {
                    in_vain: 0,
                    words: Some("killed".to_owned()),
                };
            }
            Fault::Away => {
                if let Role::Replica { primary } = &mut self.seen.role {
                    *primary = Primary::Away("refused".to_owned());
                }
            }
            Fault::Forgotten => {
                if let Role::Replica {
                    primary: Primary::There { need, slot, .. },
                } = &mut self.seen.role
                {
                    (*need, *slot) = (Need::Gone, Slot::Lost);
                }
                if let Server::Up(up) = &mut self.seen.server {
                    up.stuck = Some(Duration::ZERO);
                }
            }
            Fault::Unusable => self.want(BAD.start),
            Fault::Unreadable => self.want(UNREADABLE.start),
            Fault::Usable => self.want(10),
            Fault::Overridden if self.seen.up().is_some() => {
                self.seen.volume.overrides = vec!["shared_preload_libraries".to_owned()];
            }
            Fault::Overridden | Fault::Crash | Fault::Fails | Fault::Before | Fault::Amid | Fault::Alone => {}
        }
    }

    fn may_write(&self) {
        assert_eq!(self.seen.volume.lock, Lock::Ours);
        assert_eq!(self.seen.volume.owner, OwnerFile::Ours);
        assert_eq!(self.seen.running, None, "one at a time");
    }

    fn is_down(&self) {
        assert!(self.seen.up().is_none(), "while a server runs");
    }

    /// Does it, or half of it.
    fn carry_out(&mut self, act: &Act, fault: Option<Fault>) {
        match fault {
            Some(Fault::Before) => self.die(),
            Some(Fault::Alone) => {
                let left = self.seen.up().is_some() || self.seen.running.is_some();
                self.die();
                self.seen.volume.orphans |= left;
            }
            Some(Fault::Amid) => {
                // Between the two renames.
                if *act == Act::FinishClone {
                    self.seen.volume.data = Data::Absent;
                }
                if let Act::Begin(job) = act {
                    self.seen.running = Some(Running {
                        job: *job,
                        cancelled: false,
                    });
                }
                self.die();
            }
            _ => self.effect(act, matches!(fault, Some(Fault::Fails))),
        }
    }

    /// What comes of it, where nobody dies.
    fn effect(&mut self, act: &Act, fails: bool) {
        match act {
            Act::Wait if fails => match self.seen.running {
                Some(running) => self.finish(running.job, false),
                None => self.wait(),
            },
            Act::Wait => self.wait(),
            Act::TakeLock => {
                assert!(!self.seen.volume.orphans, "they hold it");
                self.seen.volume.lock = Lock::Ours;
            }
            Act::TakeOwner => {
                assert_eq!(self.seen.volume.lock, Lock::Ours);
                self.seen.volume.owner = OwnerFile::Ours;
            }
            Act::KillOrphans => {
                self.is_down();
                self.seen.volume.orphans = false;
            }
            Act::Clean => {
                self.may_write();
                assert!(!self.seen.volume.copy, "a complete copy is no leftover");
                self.seen.volume.leftovers = false;
            }
            Act::FinishClone => {
                self.may_write();
                self.is_down();
                (self.seen.volume.data, self.seen.volume.copy) = (Data::There(facts(true)), false);
                if let Role::Replica {
                    primary: Primary::There { need, .. },
                } = &mut self.seen.role
                {
                    *need = Need::There;
                }
            }
            Act::WriteLineage => self.may_write(),
            Act::SetAside => {
                self.may_write();
                self.is_down();
                self.seen.volume.overrides.clear();
                self.seen.volume.overrides_refused = None;
                self.seen.volume.set_aside = Some("shared_preload_libraries".to_owned());
                self.tried_in_vain(0);
            }
            Act::Begin(job) => {
                self.may_write();
                if *job != Job::CheckSettings {
                    assert!(!self.seen.volume.copy && !self.seen.volume.leftovers);
                }
                if *job == Job::Init {
                    self.is_down();
                }
                self.seen.running = Some(Running {
                    job: *job,
                    cancelled: false,
                });
            }
            Act::Start { settings, .. } => {
                self.may_write();
                self.is_down();
                assert!(!self.seen.volume.orphans, "a second writer");
                let standby = matches!(self.seen.role, Role::Replica { .. });
                assert_eq!(self.seen.facts().map(|facts| facts.standby), Some(standby));
                assert!(
                    !UNREADABLE.contains(&settings.0),
                    "settings that PostgreSQL does not read"
                );
                self.start(*settings, fails);
            }
            Act::Reload => {
                assert_eq!(self.seen.verdict, Verdict::Good);
                let wanted = self.seen.wanted;
                let again = self.seen.now + Duration::from_secs(10);
                self.seen.tries.0.insert(Tried::Reload, again);
                self.server(|up| {
                    up.settings = wanted;
                    // Somebody has broken the file of ALTER SYSTEM.
                    (up.reading, up.refused) = (fails, fails.then(|| "syntax error".to_owned()));
                    // The bad ones wait for a start.
                    if !BAD.contains(&wanted.0) && !fails {
                        up.proven = wanted;
                    }
                });
            }
            Act::KeepSettings => self.seen.kept = self.seen.up().map(|up| up.proven),
            Act::MakeSlot | Act::Follow | Act::SyncRoles | Act::SyncSlots => self.look_after(act, fails),
            Act::Stop(how) => self.server(|up| up.asked = Some(*how)),
            // The kubelet starts the container again.
            Act::End(End::DoesNotStart(_)) => {
                assert!(
                    BAD.contains(&self.seen.wanted.0) && self.seen.kept.is_none(),
                    "there is something to fall back on"
                );
                self.die();
            }
            Act::Cancel | Act::End(_) => panic!("{act:?} of a server that nobody asked to end"),
        }
    }

    /// What is done on a server that runs.
    fn look_after(&mut self, act: &Act, fails: bool) {
        let again = self.seen.now + Duration::from_secs(10);
        match act {
            Act::MakeSlot if fails => drop(self.seen.tries.0.insert(Tried::Slot, again)),
            Act::MakeSlot => {
                if let Role::Replica {
                    primary: Primary::There { slot, .. },
                } = &mut self.seen.role
                {
                    *slot = Slot::Good;
                }
            }
            Act::Follow => self.server(|up| {
                assert!(up.hears, "a signal ends what does not hear yet");
                up.follows = true;
            }),
            Act::SyncRoles if fails => {
                if let Role::Primary { roles, .. } = &mut self.seen.role {
                    *roles = InForce::Failed("no connection is free".to_owned());
                }
                self.seen.tries.0.insert(Tried::Roles, again);
            }
            Act::SyncSlots if fails => drop(self.seen.tries.0.insert(Tried::Slots, again)),
            Act::SyncRoles | Act::SyncSlots => {
                if let Role::Primary { roles, slots, .. } = &mut self.seen.role {
                    match act {
                        Act::SyncRoles => *roles = InForce::Yes,
                        _ => *slots = true,
                    }
                }
            }
            _ => panic!("{act:?} is nothing to look after"),
        }
    }

    fn tried_in_vain(&mut self, times: u32) {
        if let Server::Down { in_vain, .. } = &mut self.seen.server {
            *in_vain = times;
        }
    }

    fn start(&mut self, settings: Settings, fails: bool) {
        if fails || BAD.contains(&settings.0) || !self.seen.volume.overrides.is_empty() {
            let Server::Down { in_vain, .. } = self.seen.server else {
                panic!("it runs")
            };
            // A start that failed for no reason of the settings' is tried with them again; a second time it is theirs.
            let are_proven = self.seen.kept.is_none_or(|kept| kept == settings);
            let is_overridden = !self.seen.volume.overrides.is_empty();
            let is_theirs = settings == self.seen.wanted && blames_settings(in_vain + 1, are_proven, is_overridden);
            if is_theirs {
                self.seen.verdict = Verdict::Bad("FATAL".to_owned());
            }
            self.seen.server = Server::Down {
                in_vain: if is_theirs || fails { 0 } else { in_vain + 1 },
                words: Some("FATAL".to_owned()),
            };
            return;
        }
        self.seen.server = Server::Up(Up {
            hears: false,
            answers: false,
            proven: settings,
            settings,
            follows: false,
            ..up()
        });
    }

    fn server(&mut self, change: impl FnOnce(&mut Up)) {
        let Server::Up(up) = &mut self.seen.server else {
            panic!("no server")
        };
        change(up);
    }

    /// It serves as what it is, and nothing is left to do.
    fn is_well(&self) -> bool {
        let Some(up) = self.seen.up() else { return false };
        let are_read = up.settings == self.seen.wanted && !up.reading;
        let settings = are_read || matches!(self.seen.verdict, Verdict::Bad(_));
        let role = match &self.seen.role {
            Role::Primary { roles, slots, .. } => *roles == InForce::Yes && *slots,
            Role::Replica { .. } => up.follows,
        };
        up.answers && up.asked.is_none() && settings && role && decide(&self.seen) == Act::Wait
    }
}

fn fault() -> impl Strategy<Value = Option<Fault>> {
    let faults = [
        Fault::Fails,
        Fault::Before,
        Fault::Alone,
        Fault::Amid,
        Fault::Crash,
        Fault::Away,
        Fault::Forgotten,
        Fault::Unusable,
        Fault::Unreadable,
        Fault::Usable,
        Fault::Overridden,
    ];
    prop_oneof![3 => Just(None), 1 => proptest::sample::select(faults.to_vec()).prop_map(Some)]
}

/// Nothing on the volume.
fn anew(mut seen: Seen) -> World {
    if let Role::Primary { may_init, .. } = &mut seen.role {
        *may_init = true;
    }
    (seen.volume.data, seen.volume.owner, seen.kept) = (Data::Absent, OwnerFile::Absent, None);
    let mut world = World { seen, changes: 0 };
    world.die();
    world
}

fn live(mut world: World, faults: &[Option<Fault>]) {
    for fault in faults {
        if let Some(fault) = fault {
            world.befall(*fault);
        }
        let act = decide(&world.seen);
        world.carry_out(&act, *fault);
    }
    // What never ran with any settings waits for some that it can run with.
    if world.seen.kept.is_none() {
        world.want(10);
    }
    for _ in 0..60 {
        if world.is_well() {
            return;
        }
        let act = decide(&world.seen);
        world.carry_out(&act, None);
    }
    panic!("not well after all faults: {:#?}", world.seen);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5000, ..ProptestConfig::default() })]

    #[test]
    fn a_primary_comes_through(faults in vec(fault(), 0..60)) {
        live(anew(a_primary()), &faults);
    }

    #[test]
    fn a_replica_comes_through(faults in vec(fault(), 0..60)) {
        live(anew(a_replica()), &faults);
    }
}
