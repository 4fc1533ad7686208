//! `pgop-agent browse [PATH]`: what is in a directory of a claim, as lines of JSON, one for each entry and one that says that it is all:
//!
//! ```text
//! {"name":"2026-11-22","kind":"directory","bytes":32485376,"modified":1795370241,"snapshot":{"label":"pgop 7c1e 17.2","version":"17.2","bytes":32481280,"complete":true}}
//! {"name":"a\ufffd","raw":"61ff","kind":"file","bytes":4096,"modified":1795370240}
//! {"entries":2,"left_out":0}
//! ```
//!
//! Read from top to bottom it is: names and what they mean ([`entry`]), then the disk. Links are never followed, neither in `PATH` nor below, so nothing
//! outside of the claim is read. A server may be writing there: what disappears while it is looked at was not there.

mod disk;
pub mod entry;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use serde::Serialize;
use thiserror::Error;

/// Entries of one listing at most, the first by name. A line has 5 KiB at most, and the kubelet begins a new log after 10 MiB.
const MOST: usize = 2000;

/// Why there is no listing.
#[derive(Debug, Error)]
pub enum BrowseError {
    /// The path leads out of the claim.
    #[error("`{}` is no path below the claim's root: it must be relative, without `..`", path.display())]
    Path {
        /// The path.
        path: PathBuf,
    },
    /// Nothing, or something else, is there.
    #[error("there is no directory `{}` on the claim (links are not followed)", path.display())]
    NoDirectory {
        /// The path.
        path: PathBuf,
    },
    /// It can't be read.
    #[error("could not read `{}` on the claim: {source}; the pod's user or one of its groups must own it", path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Nobody takes the listing.
    #[error("could not write the listing: {source}")]
    Write {
        /// What the system says.
        source: io::Error,
    },
}

/// The last line.
#[derive(Debug, Serialize)]
struct End {
    /// How many lines came before.
    entries: usize,
    /// How many entries there are beyond those.
    left_out: usize,
}

/// Lists the directory `path` below `volume`, where the claim is mounted.
pub fn browse(volume: &Path, path: &Path, out: impl Write) -> Result<(), BrowseError> {
    let read = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => BrowseError::NoDirectory { path: path.to_owned() },
        _ => BrowseError::Read {
            path: path.to_owned(),
            source,
        },
    };
    let directory = disk::Directory::open(volume, &parts(path)?).map_err(read)?;
    let mut names = First::default();
    directory.names(|name| names.add(name)).map_err(read)?;
    let write = |source| BrowseError::Write { source };
    let (mut out, mut entries) = (BufWriter::new(out), 0);
    for name in &names.kept {
        if let Some(entry) = directory.entry(OsStr::from_bytes(name)).map_err(read)? {
            write_line(&mut out, &entry).map_err(write)?;
            entries += 1;
        }
    }
    let left_out = names.left_out;
    write_line(&mut out, &End { entries, left_out }).map_err(write)?;
    out.flush().map_err(write)
}

fn write_line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

/// The names on the way to a directory.
fn parts(path: &Path) -> Result<Vec<&OsStr>, BrowseError> {
    let parts = path.components().filter(|part| *part != Component::CurDir);
    parts
        .map(|part| match part {
            Component::Normal(name) => Ok(name),
            _ => Err(BrowseError::Path { path: path.to_owned() }),
        })
        .collect()
}

/// The first names, in order.
#[derive(Debug, Default)]
struct First {
    kept: BTreeSet<Vec<u8>>,
    left_out: usize,
}

impl First {
    fn add(&mut self, name: &[u8]) {
        self.kept.insert(name.to_owned());
        if self.kept.len() > MOST {
            self.kept.pop_last();
            self.left_out += 1;
        }
    }
}

#[cfg(test)]
mod tests;
