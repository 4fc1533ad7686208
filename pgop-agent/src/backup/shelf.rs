//! A shelf: the directory of a claim in which a snapshot stands beside others, and the steps that change it.
//!
//! ```text
//! <shelf>/<name>                     a finished snapshot
//!         .lock                      held while somebody looks around and takes
//!         .partial-<uid>/data        a snapshot that is being made
//!         .partial-<uid>/lock        held by everybody who writes below
//!         .finished-<uid>            the seal: checksum of the manifest of the snapshot that this backup has finished
//! ```
//!
//! A label alone proves nothing: `pg_basebackup --label` writes any, for any server, and whoever adopts a snapshot says that it holds what was
//! committed before the backup began. So a backup adopts only what it has itself finished, by the seal that it left just before; and it has every byte
//! read again, as the manifest vouches for the files, and the seal for the manifest. The seal stands beside the snapshot, as `pg_verifybackup` calls a
//! snapshot damaged that holds a file which its manifest does not name. It is no signature: whoever may write to the claim can damage every backup on it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Target;
use crate::environment;
use crate::lock::{self, Held, LockError, Taken};
use crate::snapshot::{self, Manifest, SnapshotError};
use crate::volume::Op;

/// Where the snapshot of one backup is made and kept.
#[derive(Clone, Debug)]
pub struct Shelf {
    directory: PathBuf,
    target: PathBuf,
    partial: PathBuf,
    seal: PathBuf,
    uid: String,
}

impl Shelf {
    /// Of a backup.
    pub fn of(target: &environment::Target) -> Self {
        let snapshot = target.volume.join(&target.path);
        let directory = snapshot.parent().unwrap_or(&target.volume).to_owned();
        Self {
            partial: directory.join(format!(".partial-{}", target.uid)),
            seal: directory.join(format!(".finished-{}", target.uid)),
            uid: target.uid.clone(),
            target: snapshot,
            directory,
        }
    }

    /// The finished snapshot.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// The unfinished one.
    pub fn data(&self) -> PathBuf {
        self.partial.join("data")
    }

    /// What the lock of the shelf is taken on.
    pub fn lock(&self) -> PathBuf {
        self.directory.join(".lock")
    }

    /// What is held by who writes the unfinished one.
    pub fn partial_lock(&self) -> PathBuf {
        self.partial.join("lock")
    }

    /// What `pg_basebackup` is to write into the snapshot.
    pub fn label(&self, version: &str) -> String {
        format!("pgop {} {version}", self.uid)
    }

    /// The server's version, from a label of this backup; nothing from any other.
    pub fn version(&self, snapshot: &Path) -> Result<Option<String>, SnapshotError> {
        let label = snapshot::label(snapshot)?;
        let ours = format!("pgop {} ", self.uid);
        Ok(label.and_then(|label| label.strip_prefix(&ours).map(str::to_owned)))
    }

    /// What has the snapshot's name.
    pub fn look(&self) -> io::Result<Target> {
        if let Err(error) = self.target.symlink_metadata() {
            return match error.kind() {
                io::ErrorKind::NotFound => Ok(Target::Absent),
                _ => Err(error),
            };
        }
        // What can't be read is not ours either.
        if !matches!(self.version(&self.target), Ok(Some(_))) {
            return Ok(Target::Others);
        }
        let seal = fs::read_to_string(&self.seal).unwrap_or_default();
        let is_sealed = Manifest::read(&self.target).is_ok_and(|manifest| manifest.checksum == seal.trim());
        Ok(if is_sealed { Target::Ours } else { Target::Forged })
    }

    /// What others left on the shelf, and nobody works on. Where there are no locks one can't know, so it stays. For the holder of the shelf's lock.
    pub fn stale(&self) -> io::Result<Vec<PathBuf>> {
        let mut stale = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let is_partial = entry.file_name().to_string_lossy().starts_with(".partial-");
            let path = entry.path();
            if !is_partial || path == self.partial || !entry.file_type()?.is_dir() {
                continue;
            }
            match lock::take(&path.join("lock")) {
                Ok(Taken::Ours(_)) => stale.push(path),
                Ok(Taken::Others | Taken::Unsupported(_)) => {}
                Err(error) => tracing::warn!("{} is left alone: {error}", path.display()),
            }
        }
        Ok(stale)
    }

    /// Whether another pod of this backup works on the unfinished snapshot.
    pub fn is_taken(&self) -> Result<bool, LockError> {
        if !self.partial.is_dir() {
            return Ok(false);
        }
        Ok(matches!(lock::take(&self.partial_lock())?, Taken::Others))
    }

    /// Makes the directory of the shelf.
    pub fn make(&self) -> Vec<Op> {
        vec![Op::Make(self.directory.clone())]
    }

    /// Makes the directory of the unfinished snapshot, in place of what an earlier agent left there. For the holder of the shelf's lock.
    pub fn begin(&self, stale: Vec<PathBuf>) -> Vec<Op> {
        let mut ops: Vec<Op> = stale.into_iter().map(Op::Remove).collect();
        ops.push(Op::Remove(self.partial.clone()));
        ops.push(Op::Make(self.partial.clone()));
        ops
    }

    /// Gives the snapshot its name, if nothing has it. For the holder of the shelf's lock. The seal comes first: one that matches nothing proves nothing.
    pub fn publish(&self, manifest: &Manifest) -> Vec<Op> {
        let new = self.partial.join("seal");
        vec![
            Op::Close(self.data()),
            Op::Remove(new.clone()),
            Op::Write(new.clone(), format!("{}\n", manifest.checksum)),
            Op::Remove(self.seal.clone()),
            Op::Rename(new, self.seal.clone()),
            Op::Sync(self.directory.clone()),
            Op::Rename(self.data(), self.target.clone()),
            Op::Sync(self.directory.clone()),
        ]
    }

    /// Removes what is unfinished, or what is left when all is done.
    pub fn clear(&self) -> Vec<Op> {
        vec![Op::Remove(self.partial.clone())]
    }
}

/// Takes a lock of a shelf, where there are any.
pub fn take(path: &Path) -> Result<Lock, LockError> {
    Ok(Lock::of(lock::take(path)?, path))
}

/// A lock, or somebody else's.
#[derive(Debug)]
pub enum Lock {
    /// It is held; or there are no locks, and only the operator's promise of one Job for a backup is left.
    Held(Option<Held>),
    /// Somebody else has it.
    Others,
}

impl Lock {
    fn of(taken: Taken, path: &Path) -> Self {
        match taken {
            Taken::Ours(held) => Self::Held(Some(held)),
            Taken::Others => Self::Others,
            Taken::Unsupported(error) => {
                tracing::warn!("{} can't be locked, and is used all the same: {error}", path.display());
                Self::Held(None)
            }
        }
    }
}

#[cfg(test)]
mod tests;
