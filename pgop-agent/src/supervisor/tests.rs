//! Every rule by itself, and all of them in a world in which anything fails.

mod rules;
mod words;
mod world;

use std::time::Duration;

use super::*;
use crate::control::{Control, Limits};

const LIMITS: Limits = Limits::new([100, 8, 64, 0, 64]);
const WANTED: Settings = Settings(7);

fn lineage() -> Lineage {
    Lineage("of-the-cluster".to_owned())
}

pub(crate) fn facts(standby: bool) -> Facts {
    Facts {
        major: 17,
        control: Control {
            system: 1,
            timeline: 1,
            limits: LIMITS,
            segment: 16 << 20,
        },
        lineage: Some(lineage()),
        standby,
        recovery: Recovery::None,
    }
}

pub(crate) fn up() -> Up {
    Up {
        hears: true,
        answers: true,
        proven: WANTED,
        settings: WANTED,
        reading: false,
        refused: None,
        in_vain: Vec::new(),
        held: Vec::new(),
        read_only: false,
        limits: LIMITS,
        waits: Vec::new(),
        asked: None,
        follows: true,
        paused: false,
        stuck: None,
    }
}

pub(crate) fn primary() -> Primary {
    Primary::There {
        system: 1,
        timeline: 1,
        lineage: lineage(),
        size: 3 << 30,
        slot: Slot::Good,
        need: Need::There,
    }
}

/// A server that has nothing left to do.
fn idle(role: Role) -> Seen {
    let standby = matches!(role, Role::Replica { .. });
    Seen {
        now: Duration::from_secs(1000),
        role,
        major: 17,
        volume: Volume {
            lock: Lock::Ours,
            owner: OwnerFile::Ours,
            orphans: false,
            leftovers: false,
            copy: false,
            data: Data::There(facts(standby)),
            overrides: Vec::new(),
            overrides_refused: None,
            set_aside: None,
            free: 5 << 30,
            size: 8 << 30,
            wal: Some(1 << 30),
            short: false,
        },
        running: None,
        server: Server::Up(up()),
        wanted: WANTED,
        verdict: Verdict::Good,
        kept: Some(WANTED),
        stop: None,
        tries: Tries::default(),
    }
}

pub(crate) fn a_primary() -> Seen {
    idle(Role::Primary {
        may_init: false,
        roles: InForce::Yes,
        slots: true,
    })
}

pub(crate) fn a_replica() -> Seen {
    idle(Role::Replica { primary: primary() })
}

pub(crate) fn down() -> Server {
    Server::Down {
        in_vain: 0,
        words: None,
    }
}
