//! What a person reads of a restore.

use super::{Directory, End, Refusal, Seen, Snapshot, Waited, Work};
use crate::job::mebibytes;

/// What is restored to where, as a person finds it.
#[derive(Clone, Debug)]
pub struct Place {
    /// Path of the snapshot.
    pub path: String,
    /// Name of its claim.
    pub backup_claim: String,
    /// Where the data is to be.
    pub data: String,
    /// Name of the server's claim.
    pub claim: String,
    /// The resource: `PgCluster/shop/hippo`.
    pub owner: String,
}

impl Place {
    fn snapshot(&self) -> String {
        format!("snapshot {} on claim {}", self.path, self.backup_claim)
    }

    /// What is waited for, and why.
    pub fn waits_for(&self, what: Waited, seen: &Seen) -> String {
        let (Self { data, claim, .. }, snapshot) = (self, self.snapshot());
        match what {
            Waited::Directory => format!(
                "the directory of {data} on claim {claim} is in use by another pod: two servers must never share a data directory; stop the other one first"
            ),
            Waited::Volume => {
                let words = match &seen.directory {
                    Directory::Away { words, .. } => words.as_str(),
                    _ => "",
                };
                format!("can't write to claim {claim}: {words}")
            }
            Waited::Snapshot => {
                let words = match &seen.snapshot {
                    Snapshot::Away { words, .. } => words.as_str(),
                    _ => "",
                };
                format!("can't read {snapshot}: {words}")
            }
            Waited::Room => format!(
                "claim {claim} has {} MiB free and {snapshot} needs {}: enlarge the claim",
                seen.room.free >> 20,
                mebibytes(bytes(seen))
            ),
            Waited::Copy => {
                let words = match &seen.work {
                    Work::Failed { words, .. } => words.as_str(),
                    _ => "",
                };
                format!("copying {snapshot} to claim {claim} failed: {words}")
            }
        }
    }

    /// One line: what happened, to what, and what to do.
    pub fn last_words(&self, end: &End, seen: &Seen) -> String {
        let (Self { data, claim, .. }, snapshot) = (self, self.snapshot());
        match end {
            End::Done => format!("restored {snapshot} to {data} on claim {claim}"),
            End::RestoredBefore => format!("{snapshot} has been restored already"),
            End::Stopped => format!(
                "restore of {snapshot} was stopped before it was complete; nothing of it is left, and another try begins anew"
            ),
            End::BelongsTo(other) => format!(
                "the directory of {data} on claim {claim} belongs to {other}, not to {}: use another claim, or remove that directory if its data is of no use",
                self.owner
            ),
            End::Holds => format!(
                "claim {claim} already holds a database in {data}, which a restore of {snapshot} doesn't replace: to serve that database, delete this resource and create it without a restore; to restore, give a new name or another claim, or delete that one"
            ),
            End::Refused(refusal) => self.refused(refusal, seen),
            End::Damaged(words) => format!("{snapshot} is damaged ({words}): choose another one"),
            End::NeverFits => format!(
                "claim {claim} is too small for {snapshot}: {} are needed, and it has {} MiB in all, {} MiB of them free; enlarge it, or use another claim",
                mebibytes(bytes(seen)),
                seen.room.total >> 20,
                seen.room.free >> 20
            ),
            End::Volume(words) => format!(
                "can't write {data} on claim {claim}: {words}; check the volume's permissions (fsGroup) and that it isn't read-only"
            ),
            End::Impatient(what) => format!(
                "restore of {snapshot}: {} (waited for {} s, and nothing of the restore is left)",
                self.waits_for(*what, seen),
                seen.waits.passed(what, seen.now).as_secs()
            ),
        }
    }

    fn refused(&self, refusal: &Refusal, seen: &Seen) -> String {
        let (Self { path, backup_claim, .. }, snapshot) = (self, self.snapshot());
        match refusal {
            Refusal::Missing(others) => {
                let others = if others.is_empty() {
                    "none".to_owned()
                } else {
                    others.join(" ")
                };
                format!("no snapshot {path} on claim {backup_claim} (there: {others}): see pgo show pvc {backup_claim}")
            }
            Refusal::Lacks(file) => {
                format!("{snapshot} is no complete snapshot: {file} is missing; choose another one")
            }
            Refusal::OtherMajor(major) => format!(
                "{snapshot} was written by PostgreSQL {major} but the image has {}: use an image of PostgreSQL {major} (a major upgrade needs dump and restore or pg_upgrade)",
                seen.major
            ),
            Refusal::Tablespaces => {
                format!("{snapshot} has tablespaces, which can't be restored to a claim; restore it by hand")
            }
            Refusal::Incremental => {
                format!(
                    "{snapshot} is incremental: combine it with those that it builds on (pg_combinebackup), or choose a full one"
                )
            }
            Refusal::Unreadable(words) => {
                format!("{snapshot} can't be read: {words}; check the volume's permissions (fsGroup)")
            }
        }
    }
}

fn bytes(seen: &Seen) -> u64 {
    match seen.snapshot {
        Snapshot::There { bytes } => bytes,
        Snapshot::Unknown | Snapshot::Away { .. } | Snapshot::Refused(_) => 0,
    }
}
