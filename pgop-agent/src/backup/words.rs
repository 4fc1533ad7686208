//! What a person reads of a backup.

use super::{End, Holder, Partial, Seen, Source, Target, Waited, Work};
use crate::job::mebibytes;

/// What is copied to where, as a person finds it.
#[derive(Clone, Debug)]
pub struct Place {
    /// `hippo:5432`.
    pub source: String,
    /// Path of the snapshot.
    pub path: String,
    /// Name of the claim.
    pub claim: String,
}

impl Place {
    /// What is waited for, and why.
    pub fn waits_for(&self, what: Waited, seen: &Seen) -> String {
        let Self { source, path, claim } = self;
        match what {
            Waited::Source => {
                let words = match &seen.source {
                    Source::Away { words, .. } => words.as_str(),
                    Source::Unknown | Source::There(_) => "",
                };
                format!("{source} does not answer: {words}")
            }
            Waited::Predecessor => {
                format!("another pod of this backup still writes to {path} on claim {claim}")
            }
            Waited::Shelf => format!("another backup holds the lock of the directory of {path} on claim {claim}"),
            Waited::Room => match (&seen.partial, &seen.work, &seen.source) {
                (
                    Partial::Held {
                        by: Holder::Volume(words),
                        ..
                    },
                    ..,
                )
                | (
                    _,
                    Work::Blocked {
                        by: Holder::Volume(words),
                        ..
                    },
                    _,
                ) => format!("can't write to claim {claim}: {words}"),
                (.., Source::There(facts)) => format!(
                    "claim {claim} has {} MiB free and the snapshot of {source} needs {}: remove old snapshots, or enlarge the claim",
                    seen.room.free >> 20,
                    mebibytes(facts.bytes)
                ),
                _ => format!("claim {claim} is full"),
            },
            Waited::Copy => {
                let words = match &seen.work {
                    Work::Failed { words, .. } => words.as_str(),
                    _ => "",
                };
                format!("the copy of {source} to claim {claim} failed: {words}")
            }
        }
    }

    /// One line: what happened, to what, and what to do. Of what is done, [`super::run`] tells the result.
    pub fn last_words(&self, end: &End, seen: &Seen) -> String {
        let Self { source, path, claim } = self;
        match end {
            End::Done => format!("{path} on claim {claim} is complete and verified"),
            End::Stopped if seen.target == Target::Ours => {
                format!("{path} on claim {claim} is complete, and this was stopped before it was verified once more")
            }
            End::Stopped => format!(
                "backup of {source} to {path} on claim {claim} was stopped before it was complete; nothing of it is left, and another try begins anew"
            ),
            End::Exists => {
                format!("{path} exists already on claim {claim} and isn't overwritten: it is not this backup's")
            }
            End::Forged => format!(
                "{path} exists already on claim {claim} and isn't overwritten: it has this backup's label, but not the seal with which a backup is finished; if nobody needs it, remove it and make the backup again"
            ),
            End::Damaged(words) => format!(
                "{path} on claim {claim} was finished by this backup, and is not as it was: {words}; remove it and make another backup"
            ),
            End::OtherMajor => {
                let version = match &seen.source {
                    Source::There(facts) => facts.version.as_str(),
                    Source::Unknown | Source::Away { .. } => "another version",
                };
                format!(
                    "{source} runs PostgreSQL {version} and this Job's image has {}: they must be of one major version",
                    seen.major
                )
            }
            End::OtherSource => format!(
                "{source} is the server of another resource by now: the one that this is a backup of was deleted, and its name is used again; nothing of the backup is left; create another for the new one"
            ),
            End::Tablespaces => {
                let names = match &seen.source {
                    Source::There(facts) => facts.tablespaces.join(", "),
                    Source::Unknown | Source::Away { .. } => String::new(),
                };
                format!(
                    "{source} has tablespaces ({names}), which a snapshot on a claim can't hold: move what is in them to pg_default and drop them, or back it up by hand"
                )
            }
            End::NeverFits => {
                let bytes = match &seen.source {
                    Source::There(facts) => facts.bytes,
                    Source::Unknown | Source::Away { .. } => 0,
                };
                format!(
                    "claim {claim} is too small for a snapshot of {source}: {} are needed, and it has {} MiB in all, {} MiB of them free; enlarge it, or use another claim",
                    mebibytes(bytes),
                    seen.room.total >> 20,
                    seen.room.free >> 20
                )
            }
            End::Volume(words) => format!(
                "can't write {path} on claim {claim}: {words}; check the volume's permissions (fsGroup) and that it isn't read-only"
            ),
            End::Replaced => {
                format!(
                    "{path} on claim {claim} can't be read, or is not what this backup has just written there: has somebody replaced it?"
                )
            }
            End::Impatient(what) => {
                let asked = match what {
                    Waited::Predecessor => "; delete that pod",
                    _ => "",
                };
                format!(
                    "backup to {path}: {}{asked} (waited for {} s, and nothing of the backup is left)",
                    self.waits_for(*what, seen),
                    seen.waits.passed(what, seen.now).as_secs()
                )
            }
        }
    }
}
