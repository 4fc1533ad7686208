//! A server's directory on its claim: what is there, and the steps that change it.
//!
//! ```text
//! <directory>/owner           whose it is
//!             lock            held by everybody who writes below
//!             data            the database
//!             data.init       one that is being made
//!             data.clone      a copy of the primary that is being made
//!             clone.complete  says that it is whole
//!             data.restore    a snapshot that is being copied in
//!             restored        whose the data is that was restored
//!             .pgop-replaced  the database that a copy has taken the place of
//! ```
//!
//! The database itself is never removed, only renamed, and what it was renamed to goes only once another is in its place. Every change is a list of
//! [`Op`]s, any of which may be the last: whoever looks next sees what is left to do.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::data::LINEAGE;
use crate::lock::LockError;

/// One change of the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Writes a file, and brings it to the disk.
    Write(PathBuf, String),
    /// Gives something another name in the same directory. Nothing must have that.
    Rename(PathBuf, PathBuf),
    /// Removes a file or a directory with all that is in it; what is gone already is fine.
    Remove(PathBuf),
    /// Brings the names of a directory to the disk.
    Sync(PathBuf),
    /// Brings all that was written to this directory's file system to the disk.
    SyncAll(PathBuf),
    /// Makes a directory that only its owner enters, and those above it. One that is there is fine.
    Make(PathBuf),
    /// Lets only its owner enter a directory.
    Close(PathBuf),
}

/// Why a directory could not be changed.
#[derive(Debug, Error)]
#[error("could not {what} {}: {source}", path.display())]
pub struct OpError {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl From<LockError> for OpError {
    fn from(LockError { path, source }: LockError) -> Self {
        let what = "lock";
        Self { what, path, source }
    }
}

impl OpError {
    /// What the system says of it.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

impl Op {
    /// Does it.
    pub fn run(&self) -> Result<(), OpError> {
        let (what, path, done) = match self {
            Self::Write(path, text) => ("write", path, write(path, text)),
            Self::Rename(from, to) => ("rename", from, rename(from, to)),
            Self::Remove(path) => ("remove", path, remove(path)),
            Self::Sync(path) => (
                "sync",
                path,
                File::open(path).and_then(|directory| directory.sync_all()),
            ),
            Self::SyncAll(path) => ("sync", path, sync_all(path)),
            Self::Make(path) => ("make", path, make(path)),
            Self::Close(path) => ("close", path, fs::set_permissions(path, Permissions::from_mode(0o700))),
        };
        done.map_err(|source| OpError {
            what,
            path: path.clone(),
            source,
        })
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text)?;
    File::open(path)?.sync_all()
}

fn sync_all(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(path)?)?)
}

fn make(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// `rename(2)` would take the place of an empty directory without a word.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    if to.symlink_metadata().is_ok() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!("{} is there", to.display()),
        ));
    }
    fs::rename(from, to)
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The names in a server's directory.
#[derive(Clone, Debug)]
pub struct Directory(PathBuf);

/// Which of them there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "a name is there, or it is not")]
pub struct Names {
    /// The database.
    pub data: bool,
    /// A copy of the primary.
    pub clone: bool,
    /// The copy is whole.
    pub complete: bool,
    /// What a copy has taken the place of.
    pub replaced: bool,
    /// A database or snapshot on its way.
    pub on_its_way: bool,
}

impl Names {
    /// Whether a whole copy waits for the name of the data. The scripts of before knew no mark: they renamed the data when their copy was whole.
    pub fn copy(&self) -> bool {
        (self.clone && self.complete) || (self.replaced && !self.data)
    }

    /// Whether something is there that nobody needs.
    pub fn leftovers(&self) -> bool {
        self.on_its_way || self.clone || self.complete || self.replaced
    }
}

impl Directory {
    /// Of a server.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The database.
    pub fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// Where a copy is made.
    pub fn copy(&self) -> PathBuf {
        self.0.join("data.clone")
    }

    fn complete(&self) -> PathBuf {
        self.0.join("clone.complete")
    }

    fn replaced(&self) -> PathBuf {
        self.0.join(".pgop-replaced")
    }

    fn on_their_way(&self) -> [PathBuf; 2] {
        [self.0.join("data.init"), self.0.join("data.restore")]
    }

    /// Looks.
    pub fn names(&self) -> Names {
        let is_there = |path: PathBuf| path.symlink_metadata().is_ok();
        // A mount point that nothing was written to yet.
        let is_empty = |path: &Path| fs::read_dir(path).is_ok_and(|mut inside| inside.next().is_none());
        Names {
            data: is_there(self.data()) && !is_empty(&self.data()),
            clone: is_there(self.copy()),
            complete: is_there(self.complete()),
            replaced: is_there(self.replaced()),
            on_its_way: self.on_their_way().into_iter().any(is_there),
        }
    }

    /// Takes the directory for a resource.
    pub fn take(&self, owner: &str) -> Vec<Op> {
        let (new, file) = (self.0.join("owner.new"), self.0.join("owner"));
        vec![
            Op::Remove(new.clone()),
            Op::Write(new.clone(), format!("{owner}\n")),
            Op::Rename(new, file),
            Op::Sync(self.0.clone()),
        ]
    }

    /// Says that the copy is whole. Everything in it is on the disk: `pg_basebackup` sees to that.
    pub fn complete_clone(&self) -> Vec<Op> {
        vec![Op::Write(self.complete(), String::new()), Op::Sync(self.0.clone())]
    }

    /// Removes what nobody needs. The mark goes first: without its copy it would be taken for the next one's.
    pub fn clean(&self, names: Names) -> Vec<Op> {
        let mut all = vec![self.complete(), self.copy()];
        all.extend(self.on_their_way());
        if names.data {
            all.push(self.replaced());
        }
        all.into_iter()
            .map(Op::Remove)
            .chain([Op::Sync(self.0.clone())])
            .collect()
    }

    /// Where a snapshot is copied in.
    pub fn restore(&self) -> PathBuf {
        self.0.join("data.restore")
    }

    /// What says whose the data is that was restored: `<lineage> <uid of the resource> <claim> <path>`.
    pub fn restored(&self) -> PathBuf {
        self.0.join("restored")
    }

    /// Makes the directory.
    pub fn make(&self) -> Vec<Op> {
        vec![Op::Make(self.0.clone())]
    }

    /// Removes what a restore that was cut off has left.
    pub fn clear_restore(&self) -> Vec<Op> {
        [self.restore(), self.restored()].into_iter().map(Op::Remove).collect()
    }

    /// Gives a snapshot that was copied in the name of the data. Its server is its own: it follows nobody and has a lineage of its own. With
    /// `recovery.signal` it goes on with a new timeline; what is in it says that the restore was ours. What it is, and whose, is written before.
    pub fn finish_restore(&self, lineage: &str, source: &str) -> Vec<Op> {
        let (copy, data) = (self.restore(), self.data());
        let inside = |name: &str| copy.join(name);
        let mut ops = vec![Op::Close(copy.clone())];
        ops.extend(["standby.signal", "postmaster.pid", "postmaster.opts"].map(|name| Op::Remove(inside(name))));
        ops.push(Op::Write(inside("postgresql.auto.conf"), String::new()));
        ops.push(Op::Write(inside(LINEAGE), format!("{lineage}\n")));
        ops.push(Op::Write(
            inside("recovery.signal"),
            format!("pgop restore {lineage}\n"),
        ));
        ops.push(Op::Write(self.restored(), format!("{lineage} {source}\n")));
        ops.push(Op::SyncAll(copy.clone()));
        if data.is_dir() && !self.names().data {
            // A mount point that nothing was written to yet.
            ops.push(Op::Remove(data.clone()));
        }
        ops.push(Op::Rename(copy, data));
        ops.push(Op::Sync(self.0.clone()));
        ops
    }

    /// Puts the copy in the place of the data.
    pub fn finish_clone(&self, names: Names) -> Vec<Op> {
        let mut ops = Vec::new();
        let empty = |path: PathBuf| path.symlink_metadata().is_ok().then_some(Op::Remove(path));
        if names.data {
            ops.push(Op::Remove(self.replaced()));
            ops.push(Op::Rename(self.data(), self.replaced()));
        } else {
            ops.extend(empty(self.data()));
        }
        // Should the copy be gone after all, the old data is better than none.
        let from = if names.clone { self.copy() } else { self.replaced() };
        ops.push(Op::Rename(from, self.data()));
        ops.push(Op::Sync(self.0.clone()));
        ops.push(Op::Remove(self.complete()));
        ops.push(Op::Remove(self.replaced()));
        ops.push(Op::Sync(self.0.clone()));
        ops
    }
}

#[cfg(test)]
mod tests;
