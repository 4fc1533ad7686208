//! The lock of a server's directory: who writes below it holds it, the server and all its processes too, as they inherit it. So it is free only
//! when nobody is left who could write, whoever died first.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::{Errno, FdFlags, fcntl_setfd};
use thiserror::Error;

/// Held as long as this, or a process that was started meanwhile, lives.
#[derive(Debug)]
pub struct Held(#[expect(dead_code, reason = "an open file is what holds it")] File);

/// What became of a try.
#[derive(Debug)]
pub enum Taken {
    /// It is ours.
    Ours(Held),
    /// Somebody has it.
    Others,
    /// The file system knows no locks, as NFS with `nolock`.
    Unsupported(io::Error),
}

/// Why it can't be told.
#[derive(Debug, Error)]
#[error("could not open lock {}: {source}", path.display())]
pub struct LockError {
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
}

/// Tries to take it.
pub fn take(path: &Path) -> Result<Taken, LockError> {
    let failed = |source| LockError {
        path: path.to_owned(),
        source,
    };
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(Taken::Others),
        Err(TryLockError::Error(error)) => return unsupported(error).map_err(failed),
    }
    fcntl_setfd(&file, FdFlags::empty()).map_err(|error| failed(error.into()))?;
    Ok(Taken::Ours(Held(file)))
}

fn unsupported(error: io::Error) -> io::Result<Taken> {
    match Errno::from_io_error(&error) {
        Some(Errno::NOLCK | Errno::NOTSUP | Errno::NOSYS | Errno::INVAL) => Ok(Taken::Unsupported(error)),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn ours(path: &Path) -> Held {
        match take(path).unwrap() {
            Taken::Ours(held) => held,
            other => panic!("{other:?}"),
        }
    }

    /// A server outlives an agent that is killed. (One test: what another one starts meanwhile would hold this lock too.)
    #[test]
    fn one_at_a_time_and_a_process_that_was_started_meanwhile_holds_it_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = ours(&path);
        assert!(matches!(take(&path).unwrap(), Taken::Others));
        drop(held);
        let held = ours(&path);
        let mut server = Command::new("sleep").arg("60").spawn().unwrap();
        drop(held);
        assert!(matches!(take(&path).unwrap(), Taken::Others));
        server.kill().unwrap();
        server.wait().unwrap();
        ours(&path);
    }

    #[test]
    fn a_file_system_without_locks_is_told_from_a_lock_that_is_taken() {
        for errno in [Errno::NOLCK, Errno::NOTSUP, Errno::NOSYS] {
            assert!(
                matches!(unsupported(errno.into()), Ok(Taken::Unsupported(_))),
                "{errno:?}"
            );
        }
        assert!(unsupported(Errno::IO.into()).is_err());
        let error = take(Path::new("/nowhere/lock")).unwrap_err();
        assert!(
            error.to_string().starts_with("could not open lock /nowhere/lock: "),
            "{error}"
        );
    }
}
