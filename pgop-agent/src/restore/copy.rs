//! Copies a snapshot: `cp` is not in every image, and can't be told from outside how far it is.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// After so many bytes it is asked whether to go on.
const PIECE: u64 = 64 << 20;

/// Why a copy is not whole.
#[derive(Debug, Error)]
pub enum CopyError {
    /// Something can't be read or written.
    #[error("could not copy {}: {source}", path.display())]
    Copy {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A link may lead anywhere, and a pipe is waited for.
    #[error("{} is neither file nor directory, and no part of a snapshot", .0.display())]
    Odd(PathBuf),
    /// It was asked to end.
    #[error("was cut off")]
    CutOff,
}

/// Copies a directory to where nothing is. Only its owner may read the copy. Nothing is on the disk yet when this returns.
pub fn copy(from: &Path, into: &Path, is_cut_off: &impl Fn() -> bool) -> Result<(), CopyError> {
    let failed = |source| CopyError::Copy {
        path: from.to_owned(),
        source,
    };
    DirBuilder::new().mode(0o700).create(into).map_err(failed)?;
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (path, into) = (entry.path(), into.join(entry.file_name()));
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            copy(&path, &into, is_cut_off)?;
        } else if kind.is_file() {
            copy_file(&path, &into, is_cut_off)?;
        } else {
            return Err(CopyError::Odd(path));
        }
    }
    Ok(())
}

fn copy_file(from: &Path, into: &Path, is_cut_off: &impl Fn() -> bool) -> Result<(), CopyError> {
    let failed = |source| CopyError::Copy {
        path: from.to_owned(),
        source,
    };
    let source = File::open(from).map_err(failed)?;
    let mut target = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(into)
        .map_err(failed)?;
    loop {
        if is_cut_off() {
            return Err(CopyError::CutOff);
        }
        // The kernel does it, and shares blocks where the file system can.
        if io::copy(&mut (&source).take(PIECE), &mut target).map_err(failed)? == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn snapshot() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("from/base/5")).unwrap();
        fs::create_dir_all(folder.path().join("from/pg_tblspc")).unwrap();
        fs::write(folder.path().join("from/PG_VERSION"), "15\n").unwrap();
        fs::write(folder.path().join("from/base/5/1259"), vec![7; 100_000]).unwrap();
        folder
    }

    #[test]
    fn all_is_copied_for_its_owner_only() {
        let folder = snapshot();
        let (from, into) = (folder.path().join("from"), folder.path().join("into"));
        fs::set_permissions(from.join("PG_VERSION"), fs::Permissions::from_mode(0o644)).unwrap();
        copy(&from, &into, &|| false).unwrap();
        assert_eq!(fs::read(into.join("base/5/1259")).unwrap(), vec![7; 100_000]);
        assert!(into.join("pg_tblspc").is_dir());
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&into), mode(&into.join("PG_VERSION"))), (0o700, 0o600));
        assert!(matches!(copy(&from, &into, &|| false), Err(CopyError::Copy { .. })));
    }

    #[test]
    fn a_link_is_not_followed_and_not_copied() {
        let folder = snapshot();
        let (from, into) = (folder.path().join("from"), folder.path().join("into"));
        symlink("/etc", from.join("base/6")).unwrap();
        let error = copy(&from, &into, &|| false).unwrap_err();
        assert!(
            matches!(&error, CopyError::Odd(path) if path.ends_with("base/6")),
            "{error}"
        );
    }

    #[test]
    fn it_ends_where_it_is_cut_off() {
        let folder = snapshot();
        let (from, into) = (folder.path().join("from"), folder.path().join("into"));
        let left = Cell::new(2);
        let is_cut_off = || left.replace(left.get() - 1) == 0;
        assert!(matches!(copy(&from, &into, &is_cut_off), Err(CopyError::CutOff)));
    }
}
