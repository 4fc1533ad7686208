//! From what was seen to what is to be done next. Pure.
//!
//! The rules stand in the order of their weight: the first that has something to say decides.

use std::time::Duration;

use super::act::{Act, End, Job, Shutdown};
use super::seen::{
    Data, Facts, InForce, Lock, Need, OwnerFile, Primary, Recovery, Role, Seen, Server, Slot, Stop, Time, Tried,
    Verdict,
};
use crate::control::Limits;

/// How long a lock may be somebody else's: a pod that is being killed lets go of it in this time.
const LOCK_PATIENCE: Duration = Duration::from_secs(60);
/// A replica that neither streams nor moves for so long asks whether what it needs is still there.
const STUCK: Duration = Duration::from_secs(20);
/// So many starts in a row may end before the server answers.
const STARTS: u32 = 3;
/// After so many it is tried without what ALTER SYSTEM has left, which nobody can change while no server runs.
const STARTS_OVERRIDDEN: u32 = 2;

/// What is to be done next.
pub fn decide(seen: &Seen) -> Act {
    const RULES: [fn(&Seen) -> Option<Act>; 13] = [
        stop,
        orphans,
        lock,
        owner,
        busy,
        leftovers,
        data,
        signals,
        history,
        left_behind,
        start,
        settings,
        upkeep,
    ];
    RULES.iter().find_map(|rule| rule(seen)).unwrap_or(Act::Wait)
}

/// What was asked to end ends, whatever else there is to do.
fn stop(seen: &Seen) -> Option<Act> {
    let stop = seen.stop?;
    if let Some(running) = seen.running {
        return Some(if running.cancelled { Act::Wait } else { Act::Cancel });
    }
    Some(match &seen.server {
        Server::Down { .. } => Act::End(End::Asked),
        Server::Up(up) => {
            let due = shutdown(stop, seen.now);
            if up.asked < Some(due) {
                Act::Stop(due)
            } else {
                Act::Wait
            }
        }
    })
}

/// First those who are there may go; then what they do is rolled back; and when the time is almost up, the next start has to do the rest.
fn shutdown(stop: Stop, now: Time) -> Shutdown {
    let passed = now.saturating_sub(stop.asked);
    if passed < stop.grace / 300 {
        Shutdown::Smart
    } else if passed < stop.grace / 10 * 9 {
        Shutdown::Fast
    } else {
        Shutdown::Immediate
    }
}

/// A server that was killed leaves its sessions behind, which go on with what they do and write: beside the next one they would be a second writer. An
/// agent that was killed leaves a server, or a copy that is under way, to which nobody listens any more. They hold the directory's lock, and would
/// hold it for as long as they live.
fn orphans(seen: &Seen) -> Option<Act> {
    let is_down = matches!(seen.server, Server::Down { .. });
    (is_down && seen.volume.orphans).then_some(Act::KillOrphans)
}

/// Nobody writes below the directory who does not hold its lock.
fn lock(seen: &Seen) -> Option<Act> {
    match seen.volume.lock {
        Lock::Ours | Lock::Unknown => None,
        Lock::Free => Some(Act::TakeLock),
        Lock::Taken { since } if seen.now.saturating_sub(since) < LOCK_PATIENCE => Some(Act::Wait),
        Lock::Taken { .. } => Some(Act::End(End::InUse)),
    }
}

/// Another resource that is given the same claim does not take this one's data for its own.
fn owner(seen: &Seen) -> Option<Act> {
    match &seen.volume.owner {
        OwnerFile::Ours => None,
        OwnerFile::Absent => Some(Act::TakeOwner),
        OwnerFile::Other(other) => Some(Act::End(End::BelongsTo(other.clone()))),
    }
}

/// One long thing at a time.
fn busy(seen: &Seen) -> Option<Act> {
    seen.running.map(|_| Act::Wait)
}

/// A copy that is whole takes the place of the data. What is left of one that was cut off goes, also beside a server that runs.
fn leftovers(seen: &Seen) -> Option<Act> {
    if seen.volume.copy {
        return Some(stopped(seen).unwrap_or(Act::FinishClone));
    }
    seen.volume.leftovers.then_some(Act::Clean)
}

/// There is data, of the image's version, or it is made.
fn data(seen: &Seen) -> Option<Act> {
    match (&seen.volume.data, &seen.role) {
        (Data::Foreign, _) => Some(Act::End(End::NoDatabase)),
        (Data::There(facts), _) if facts.major != seen.major => Some(Act::End(End::OtherMajor {
            data: facts.major,
            image: seen.major,
        })),
        (Data::There(_), _) => None,
        (Data::Absent, Role::Primary { may_init: true, .. }) => Some(begin(seen, Job::Init)),
        (Data::Absent, Role::Primary { .. }) => Some(Act::End(End::Vanished)),
        (Data::Absent, Role::Replica { primary }) => Some(match primary {
            Primary::Unasked | Primary::Away(_) => Act::Wait,
            Primary::There { slot: Slot::Good, .. } => begin(seen, Job::Clone),
            Primary::There { .. } => try_again(seen, Tried::Slot, Act::MakeSlot),
        }),
    }
}

fn begin(seen: &Seen, job: Job) -> Act {
    try_again(seen, Tried::Job(job), Act::Begin(job))
}

fn try_again(seen: &Seen, what: Tried, act: Act) -> Act {
    if seen.is_due(what) { act } else { Act::Wait }
}

/// A primary's data is never started as a replica's, nor the other way: either would lose what only it has.
fn signals(seen: &Seen) -> Option<Act> {
    let Facts {
        standby,
        recovery,
        lineage,
        ..
    } = seen.facts()?;
    if matches!(seen.server, Server::Up(_)) {
        return None;
    }
    match seen.role {
        Role::Primary { .. } => match recovery {
            _ if *standby => Some(Act::End(End::IsReplica)),
            Recovery::Foreign => Some(Act::End(End::ForeignRecovery)),
            Recovery::None | Recovery::Ours => lineage.is_none().then_some(Act::WriteLineage),
        },
        Role::Replica { .. } if !standby => Some(Act::End(End::IsPrimary)),
        Role::Replica { .. } if *recovery != Recovery::None => Some(Act::End(End::ForeignRecovery)),
        Role::Replica { .. } => None,
    }
}

/// A replica follows nobody who has another history than its data, and its data is never wiped for that.
fn history(seen: &Seen) -> Option<Act> {
    let facts = seen.facts()?;
    let Primary::There { system, lineage, .. } = seen.primary()? else {
        return None;
    };
    let is_same = facts.control.system == *system && facts.lineage.as_ref() == Some(lineage);
    (!is_same).then(|| stopped(seen).unwrap_or(Act::End(End::OtherHistory)))
}

/// Asks a running server to end; nothing where it has.
fn stopped(seen: &Seen) -> Option<Act> {
    let up = seen.up()?;
    Some(if up.asked < Some(Shutdown::Fast) {
        Act::Stop(Shutdown::Fast)
    } else {
        Act::Wait
    })
}

/// A replica whose WAL is gone copies the primary again, if the volume has room for both. It serves what it has until the copy is whole.
fn left_behind(seen: &Seen) -> Option<Act> {
    let facts = seen.facts()?;
    let Primary::There {
        timeline,
        size,
        slot,
        need,
        ..
    } = seen.primary()?
    else {
        return None;
    };
    if seen.up().is_some_and(|up| !is_stuck(up.stuck, seen.now)) {
        return None;
    }
    let is_gone = *need == Need::Gone || (*need == Need::Unknown && *slot == Slot::Lost);
    let is_older_state = *timeline == facts.control.timeline;
    if !is_gone || !is_older_state || *size > seen.volume.free || !seen.is_due(Tried::Job(Job::Clone)) {
        return None;
    }
    Some(match slot {
        Slot::Good => Act::Begin(Job::Clone),
        Slot::Missing | Slot::Lost => try_again(seen, Tried::Slot, Act::MakeSlot),
    })
}

fn is_stuck(since: Option<Time>, now: Time) -> bool {
    since.is_some_and(|since| now.saturating_sub(since) >= STUCK)
}

/// The server runs: with the wanted settings, or with those that it last ran with.
fn start(seen: &Seen) -> Option<Act> {
    let Server::Down { in_vain, words } = &seen.server else {
        return None;
    };
    // It needs a segment of WAL to come up, and nothing but room mends that: neither other settings nor another container.
    if *in_vain > 0 && lacks_room(seen) {
        return Some(Act::Wait);
    }
    let settings = match (&seen.verdict, seen.kept) {
        (Verdict::Unknown, _) => return Some(begin(seen, Job::CheckSettings)),
        (Verdict::Good, _) => seen.wanted,
        (Verdict::Bad(_), Some(kept)) => kept,
        // It never ran. Who set them is told, and nothing is down that was up.
        (Verdict::Bad(_), None) => return Some(Act::Wait),
    };
    let is_known = seen.volume.overrides_refused.is_some();
    if (is_known || *in_vain >= STARTS_OVERRIDDEN) && !seen.volume.overrides.is_empty() {
        return Some(Act::SetAside);
    }
    if *in_vain >= STARTS {
        return Some(Act::End(End::DoesNotStart(words.clone().unwrap_or_default())));
    }
    let limits = match &seen.role {
        Role::Primary { .. } => Limits::default(),
        Role::Replica { .. } => seen.facts().map(|facts| facts.control.limits).unwrap_or_default(),
    };
    Some(try_again(seen, Tried::Start, Act::Start { settings, limits }))
}

/// Less than a segment of WAL can be written.
fn lacks_room(seen: &Seen) -> bool {
    let segment = seen.facts().map_or(0, |facts| facts.control.segment);
    seen.volume.size > 0 && seen.volume.free < segment
}

/// Whether settings, other than those that a server last came up with, are why so many starts ended. What ALTER SYSTEM has left is tried without first.
pub fn blames_settings(in_vain: u32, are_proven: bool, is_overridden: bool) -> bool {
    in_vain >= STARTS_OVERRIDDEN && !are_proven && !is_overridden
}

/// New settings are put in force once `PostgreSQL` has read them; what it came up with is kept.
fn settings(seen: &Seen) -> Option<Act> {
    let up = seen.up().filter(|up| up.answers && up.asked.is_none())?;
    if up.settings != seen.wanted {
        match seen.verdict {
            Verdict::Unknown => return Some(begin(seen, Job::CheckSettings)),
            Verdict::Good => return Some(Act::Reload),
            Verdict::Bad(_) => {}
        }
    } else if up.reading && seen.is_due(Tried::Reload) {
        // Something is in its way, and whoever mends that does not say so.
        return Some(Act::Reload);
    }
    (seen.kept != Some(up.proven) && seen.is_due(Tried::Keep)).then_some(Act::KeepSettings)
}

/// What is looked after on a server that runs.
fn upkeep(seen: &Seen) -> Option<Act> {
    let up = seen.up().filter(|up| up.hears && up.asked.is_none())?;
    match &seen.role {
        Role::Primary {
            roles: InForce::NotYet, ..
        } if up.answers => Some(Act::SyncRoles),
        Role::Primary {
            roles: InForce::Failed(_),
            ..
        } if up.answers && seen.is_due(Tried::Roles) => Some(Act::SyncRoles),
        Role::Primary { slots, .. } if up.answers && !slots && seen.is_due(Tried::Slots) => Some(Act::SyncSlots),
        // A limit that was raised and lowered again is in the WAL that this replica still has to replay: PostgreSQL pauses there for ever.
        Role::Replica { .. } if up.paused && up.limits.lack(&seen.facts()?.control.limits).is_some() => stopped(seen),
        Role::Replica {
            primary: Primary::There { slot, need, .. },
        } => {
            let is_useless = *slot != Slot::Good && *need != Need::Gone;
            let is_wanted = !up.follows || is_stuck(up.stuck, seen.now);
            if is_useless && is_wanted && seen.is_due(Tried::Slot) {
                return Some(Act::MakeSlot);
            }
            (!up.follows).then_some(Act::Follow)
        }
        Role::Primary { .. }
        | Role::Replica {
            primary: Primary::Unasked | Primary::Away(_),
        } => None,
    }
}
