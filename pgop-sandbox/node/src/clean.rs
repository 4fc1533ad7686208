//! What a node that was killed may have left.
//!
//! The kernel ends the holder and all below it with the node, so there is little: the holder may still be on its way out, and the volumes
//! in memory are there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use sha2::{Digest, Sha256};
use thiserror::Error;

const PATIENCE: Duration = Duration::from_secs(60);

/// Why something was left behind.
#[derive(Debug, Error)]
pub enum CleanError {
    /// The process that held a former node's namespaces does not end.
    #[error("process {0} of a former node does not end")]
    Holder(i32),
    /// A folder can't be removed.
    #[error("could not remove {path}: {source}", path = path.display())]
    Remove {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Ends and removes what a node with this folder has left: processes (and with them mounts, namespaces and sockets) and volumes in memory.
/// Pods' folders and logs stay. No node may run in that folder. It blocks for a moment.
pub fn clean(folder: &Path) -> Result<(), CleanError> {
    end_holder(folder)?;
    for path in [memory(folder), holder_file(folder)] {
        let removed = if path.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        match removed {
            Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(CleanError::Remove { path, source }),
            _ => {}
        }
    }
    Ok(())
}

/// Where volumes in memory are: outside the state folder, on a file system that is in memory, where there is one.
pub(crate) fn memory(folder: &Path) -> PathBuf {
    let full = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let hash = Sha256::digest(full.as_os_str().as_encoded_bytes());
    let name = hash
        .iter()
        .take(8)
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let shm = Path::new("/dev/shm");
    if shm.is_dir() {
        shm.join(format!("pgop-sandbox-{}-{name}", geteuid()))
    } else {
        folder.join("memory")
    }
}

fn holder_file(folder: &Path) -> PathBuf {
    folder.join("holder")
}

/// Notes the holder, so that a later node finds it.
pub(crate) fn note_holder(folder: &Path, pid: i32) -> io::Result<()> {
    fs::write(
        holder_file(folder),
        format!("{pid} {}\n", started(pid).unwrap_or_default()),
    )
}

fn end_holder(folder: &Path) -> Result<(), CleanError> {
    let Ok(text) = fs::read_to_string(holder_file(folder)) else {
        return Ok(());
    };
    let Some((pid, since)) = text
        .trim()
        .split_once(' ')
        .and_then(|(pid, since)| Some((pid.parse::<i32>().ok()?, since.to_owned())))
    else {
        return Ok(());
    };
    let begin = Instant::now();
    // The number alone could be another's by now; with the time of its start it can't.
    while !since.is_empty() && started(pid).as_deref() == Some(&since) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        if begin.elapsed() > PATIENCE {
            return Err(CleanError::Holder(pid));
        }
        std::thread::sleep(Duration::from_millis(5)); // somebody else's child: its end can only be looked for
    }
    Ok(())
}

/// When a process started, in the kernel's ticks; none when it has ended.
fn started(pid: i32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    (state != "Z" && state != "X").then(|| fields.nth(18).map(str::to_owned))?
}

#[cfg(test)]
mod tests {
    use super::{clean, memory, note_holder, started};
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_that_was_left_is_ended_and_its_volumes_go() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new("sleep").arg("1000").stdout(Stdio::null()).spawn().unwrap();
        note_holder(folder.path(), i32::try_from(child.id()).unwrap()).unwrap();
        std::fs::create_dir_all(memory(folder.path()).join("uid/run")).unwrap();
        clean(folder.path()).unwrap();
        assert!(!child.wait().unwrap().success());
        assert!(!memory(folder.path()).exists());
        clean(folder.path()).unwrap();
    }

    #[test]
    fn another_process_with_the_number_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new("sleep").arg("1000").stdout(Stdio::null()).spawn().unwrap();
        std::fs::write(folder.path().join("holder"), format!("{} 1\n", child.id())).unwrap();
        clean(folder.path()).unwrap();
        assert!(started(i32::try_from(child.id()).unwrap()).is_some());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn folders_have_memory_of_their_own() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert_ne!(memory(one.path()), memory(other.path()));
        assert_eq!(memory(one.path()), memory(&one.path().join(".")));
    }
}
