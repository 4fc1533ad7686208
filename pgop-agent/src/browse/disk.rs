//! Looks at directories through what is open, so that no name on the way can be exchanged for a link.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::{Errno, pread};

use super::entry::{Entry, Kind, Marks, name};

/// How deep sizes are added up: each level holds a directory open. `PostgreSQL`'s own go five deep.
const DEEPEST: usize = 64;
/// How much is read of a file that says something of a snapshot.
const READ: usize = 1024;

/// An open directory.
pub struct Directory(OwnedFd);

/// What something takes on the disk, and what there is to read, in bytes.
#[derive(Clone, Copy, Default)]
struct Size {
    disk: u64,
    read: u64,
}

impl Directory {
    /// The one that `parts` lead to, below `volume`. A link on the way is no directory.
    pub fn open(volume: &Path, parts: &[&OsStr]) -> io::Result<Self> {
        let root = openat(
            CWD,
            volume,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let found = parts
            .iter()
            .try_fold(Self(root), |directory, part| directory.below(*part))?;
        Ok(found)
    }

    fn below(&self, part: impl rustix::path::Arg) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&self.0, part, flags, Mode::empty()).map(Self)
    }

    /// Hands over each name.
    pub fn names(&self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        for entry in Dir::read_from(&self.0)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                each(name);
            }
        }
        Ok(())
    }

    /// What a name stands for; none when it is gone.
    pub fn entry(&self, of: &OsStr) -> io::Result<Option<Entry>> {
        let stat = match statat(&self.0, of, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(None),
            other => other?,
        };
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Kind::Directory,
            FileType::RegularFile => Kind::File,
            FileType::Symlink => Kind::Link,
            _ => Kind::Other,
        };
        let (mut size, mut marks) = (Some(own_size(&stat)), Marks::default());
        if kind == Kind::Directory {
            let inside = self.below(of);
            size = inside.as_ref().ok().and_then(|inside| inside.size(&stat, 1));
            marks = inside.map(|inside| inside.marks()).unwrap_or_default();
        }
        let (name, raw) = name(of.as_bytes());
        Ok(Some(Entry {
            name,
            raw,
            kind,
            bytes: size.map(|size| size.disk),
            modified: stat.st_mtime,
            snapshot: marks.snapshot(size.map(|size| size.read)),
        }))
    }

    /// Of all that is in it, and of itself. None when some of it can't be read.
    fn size(&self, own: &Stat, depth: usize) -> Option<Size> {
        let mut all = own_size(own);
        all.read = 0;
        for entry in Dir::read_from(&self.0).ok()? {
            let entry = entry.ok()?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let stat = match statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                other => other.ok()?,
            };
            let one = if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                own_size(&stat)
            } else if depth == DEEPEST {
                return None;
            } else {
                match self.below(name) {
                    Err(Errno::NOENT) => continue,
                    other => other.ok()?.size(&stat, depth + 1)?,
                }
            };
            all.disk = all.disk.saturating_add(one.disk);
            all.read = all.read.saturating_add(one.read);
        }
        Some(all)
    }

    fn marks(&self) -> Marks {
        Marks {
            version: self.read("PG_VERSION", false),
            label: self.read("backup_label", false),
            manifest: self.read("backup_manifest", true),
        }
    }

    /// Beginning or end of a regular file.
    fn read(&self, name: &str, end: bool) -> Option<Vec<u8>> {
        // A pipe of that name must not be waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(&self.0, name, flags, Mode::empty()).ok()?;
        let stat = fstat(&file).ok()?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return None;
        }
        let from = if end {
            own_size(&stat).read.saturating_sub(READ as u64)
        } else {
            0
        };
        let mut bytes = vec![0; READ];
        let length = pread(&file, &mut bytes[..], from).ok()?;
        bytes.truncate(length);
        Some(bytes)
    }
}

fn own_size(stat: &Stat) -> Size {
    Size {
        disk: u64::try_from(stat.st_blocks).unwrap_or_default().saturating_mul(512),
        read: u64::try_from(stat.st_size).unwrap_or_default(),
    }
}
