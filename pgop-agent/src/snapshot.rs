//! A snapshot: the directory that one base backup has become.

use std::fs::{self, File};
use std::io::{self, BufReader, Read as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use crate::data::LINEAGE;

/// What every complete one has.
const FILES: [&str; 4] = ["backup_manifest", "backup_label", "PG_VERSION", "global/pg_control"];

/// Why a snapshot can't be read.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// A file can't be read.
    #[error("could not read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The manifest is none.
    #[error("could not understand {}: {source}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// It names no WAL.
    #[error("{} names no WAL", path.display())]
    NoWal {
        /// The manifest.
        path: PathBuf,
    },
}

/// Whether a part of a path may begin with a dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hidden {
    /// What is to be found again has no hidden name, which is for what is unfinished.
    Refused,
    /// What a person names is there.
    Taken,
}

/// Checks the path of a snapshot: relative, and never out of its claim.
pub fn check_path(path: &str, hidden: Hidden) -> Result<(), &'static str> {
    if path.chars().any(char::is_control) {
        return Err("it must be a path without line breaks");
    }
    let is_bad = |part: &str| matches!(part, "" | "." | "..");
    if path.split('/').any(is_bad) {
        return Err("it must be a relative path without `.` and `..`, like orders-backups/2026-11-22-17-57-21");
    }
    if hidden == Hidden::Refused && path.split('/').any(|part| part.starts_with('.')) {
        return Err("it must be a path without hidden names");
    }
    Ok(())
}

/// What `pg_basebackup` says of what it has copied:
/// <https://www.postgresql.org/docs/current/backup-manifest-format.html>. Of the files, which may be many, nothing is kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Manifest {
    /// WAL without which the snapshot is of no use. Never empty.
    #[serde(rename = "WAL-Ranges")]
    pub wal: Vec<Wal>,
    /// Of the manifest itself, and so of every file that is named in it.
    #[serde(rename = "Manifest-Checksum")]
    pub checksum: String,
}

/// A part of a timeline.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Wal {
    /// Which.
    pub timeline: u32,
    /// Where it begins.
    #[serde(rename = "Start-LSN")]
    pub start: String,
    /// Where it ends.
    #[serde(rename = "End-LSN")]
    pub end: String,
}

impl Manifest {
    /// Reads it piece by piece: it has a line for every file, and there may be millions.
    pub fn read(snapshot: &Path) -> Result<Self, SnapshotError> {
        let path = snapshot.join("backup_manifest");
        let file = open(&path)?;
        let read: Result<Self, _> = serde_json::from_reader(BufReader::with_capacity(1 << 16, file));
        match read {
            Ok(manifest) if manifest.wal.is_empty() => Err(SnapshotError::NoWal { path }),
            Ok(manifest) => Ok(manifest),
            Err(source) => Err(SnapshotError::Manifest { path, source }),
        }
    }

    /// First and last of its timelines; a promotion may have come between.
    pub fn ends(&self) -> Option<(&Wal, &Wal)> {
        let first = self.wal.iter().min_by_key(|wal| wal.timeline)?;
        let last = self.wal.iter().max_by_key(|wal| wal.timeline)?;
        Some((first, last))
    }
}

/// The label that `pg_basebackup` was given; nothing where there is none.
pub fn label(snapshot: &Path) -> Result<Option<String>, SnapshotError> {
    let text = text(&snapshot.join("backup_label"))?;
    let label = text.lines().find_map(|line| line.strip_prefix("LABEL: "));
    Ok(label.map(str::to_owned))
}

/// What the data that it was copied from is known by; nothing where nobody has given it a name.
pub fn lineage(snapshot: &Path) -> Result<Option<String>, SnapshotError> {
    match text(&snapshot.join(LINEAGE)) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|lineage| !lineage.is_empty())),
        Err(SnapshotError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether it needs another backup to be whole: <https://www.postgresql.org/docs/17/app-pgbasebackup.html>.
pub fn is_incremental(snapshot: &Path) -> Result<bool, SnapshotError> {
    let text = text(&snapshot.join("backup_label"))?;
    Ok(text.lines().any(|line| line.starts_with("INCREMENTAL FROM ")))
}

/// The first of its files that is not there.
pub fn lacks(snapshot: &Path) -> Option<&'static str> {
    let is_there = |name: &&str| {
        snapshot
            .join(name)
            .symlink_metadata()
            .is_ok_and(|found| found.is_file())
    };
    FILES.into_iter().find(|name| !is_there(name))
}

/// Major version of the server it is of.
pub fn major(snapshot: &Path) -> Result<u32, SnapshotError> {
    let path = snapshot.join("PG_VERSION");
    let text = text(&path)?;
    text.trim().parse().map_err(|_| SnapshotError::Read {
        source: io::Error::other(format!("`{}` is no version", text.trim())),
        path,
    })
}

/// Bytes of all files in a directory.
pub fn bytes(directory: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let found = entry.metadata()?;
        sum += if found.is_dir() {
            bytes(&entry.path())?
        } else {
            found.len()
        };
    }
    Ok(sum)
}

/// A small file that a person may have put there: no more than is sensible is read of it, and no pipe or device is waited for.
fn text(path: &Path) -> Result<String, SnapshotError> {
    let mut bytes = Vec::new();
    open(path)?
        .take(1 << 16)
        .read_to_end(&mut bytes)
        .map_err(|source| SnapshotError::Read {
            path: path.to_owned(),
            source,
        })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn open(path: &Path) -> Result<File, SnapshotError> {
    let file = path.symlink_metadata().and_then(|found| {
        if found.is_file() {
            File::open(path)
        } else {
            Err(io::Error::other("it is no file"))
        }
    });
    file.map_err(|source| SnapshotError::Read {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `PostgreSQL` 15 wrote it, with fewer files.
    const MANIFEST: &str = r#"{ "PostgreSQL-Backup-Manifest-Version": 1,
"Files": [
{ "Path": "backup_label", "Size": 224, "Last-Modified": "2026-11-30 07:01:02 GMT", "Checksum-Algorithm": "SHA256", "Checksum": "ab" },
{ "Encoded-Path": "ff", "Size": 3, "Last-Modified": "2026-11-30 07:01:02 GMT", "Checksum-Algorithm": "SHA256", "Checksum": "cd" }
],
"WAL-Ranges": [
{ "Timeline": 3, "Start-LSN": "0/5000000", "End-LSN": "0/6000138" },
{ "Timeline": 2, "Start-LSN": "0/4000028", "End-LSN": "0/5000000" }
],
"Manifest-Checksum": "1234"}
"#;

    fn with(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("global")).unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn of_a_manifest_the_wal_and_the_checksum_are_read() {
        let folder = with(&[("backup_manifest", MANIFEST)]);
        let manifest = Manifest::read(folder.path()).unwrap();
        let (first, last) = manifest.ends().unwrap();
        assert_eq!((first.start.as_str(), last.end.as_str()), ("0/4000028", "0/6000138"));
        assert_eq!((last.timeline, manifest.checksum.as_str()), (3, "1234"));
    }

    #[test]
    fn what_is_no_manifest_is_told() {
        for text in ["hello", "", "{}", &MANIFEST[..200], &MANIFEST.replace("3,", "\"3\",")] {
            let folder = with(&[("backup_manifest", text)]);
            let error = Manifest::read(folder.path()).unwrap_err();
            assert!(matches!(error, SnapshotError::Manifest { .. }), "{error}");
        }
        let (before, after) = (MANIFEST.find("\"WAL-").unwrap(), MANIFEST.find("\"Manifest-C").unwrap());
        let without = format!("{}\"WAL-Ranges\": [],{}", &MANIFEST[..before], &MANIFEST[after..]);
        let folder = with(&[("backup_manifest", &without)]);
        assert!(matches!(
            Manifest::read(folder.path()),
            Err(SnapshotError::NoWal { .. })
        ));
    }

    /// Whoever may write to the claim may put anything there: a pipe would be waited for, for ever.
    #[test]
    fn no_pipe_and_no_link_is_read() {
        let folder = with(&[]);
        let path = folder.path().join("backup_label");
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert!(label(folder.path()).is_err());
        fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        assert!(label(folder.path()).is_err());
        assert_eq!(lacks(folder.path()), Some("backup_manifest"));
    }

    #[test]
    fn label_and_version_are_read() {
        let says = "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\nLABEL: pgop 6f1c 15.18\nSTART TIMELINE: 1\n";
        let mut files = vec![("backup_label", says), ("PG_VERSION", "15\n"), ("backup_manifest", "")];
        let folder = with(&files);
        assert_eq!(label(folder.path()).unwrap().as_deref(), Some("pgop 6f1c 15.18"));
        assert_eq!(major(folder.path()).unwrap(), 15);
        assert!(!is_incremental(folder.path()).unwrap());
        assert_eq!(lacks(folder.path()), Some("global/pg_control"));
        assert_eq!(lineage(folder.path()).unwrap(), None);
        fs::write(folder.path().join(LINEAGE), "abc\n").unwrap();
        assert_eq!(lineage(folder.path()).unwrap().as_deref(), Some("abc"));
        fs::remove_file(folder.path().join(LINEAGE)).unwrap();
        let increment = format!("{says}INCREMENTAL FROM LSN: 0/1000028\n");
        files[0].1 = &increment;
        files.push(("global/pg_control", "12345"));
        let folder = with(&files);
        assert!(is_incremental(folder.path()).unwrap());
        assert_eq!(lacks(folder.path()), None);
        assert_eq!(bytes(folder.path()).unwrap(), increment.len() as u64 + 3 + 5);
    }

    #[test]
    fn a_path_stays_on_its_claim() {
        for good in ["a", "orders-backups/2026-11-22-17-57-21-6f1c2a9e", "a/b c/d"] {
            assert_eq!(check_path(good, Hidden::Refused), Ok(()), "{good}");
        }
        for bad in ["", "/a", "a/", "a//b", "..", "a/../b", "a/.", "a\nb"] {
            assert!(check_path(bad, Hidden::Taken).is_err(), "{bad}");
        }
        assert!(check_path("a/.b", Hidden::Refused).is_err());
        assert_eq!(check_path("a/.b", Hidden::Taken), Ok(()));
    }
}
