//! The folder in which a sandbox keeps everything: objects, volumes, certificates, logs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use pgop_sandbox_node::CleanError;
use rustix::fs::{FlockOperation, flock};
use thiserror::Error;

/// Why a folder can't be used.
#[derive(Debug, Error)]
pub enum FolderError {
    /// It can't be made.
    #[error("can't make the folder {}: {source}", path.display())]
    Make {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another sandbox runs in it.
    #[error("a sandbox runs in {} already{}", path.display(), pid.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    InUse {
        /// Which one.
        path: PathBuf,
        /// The process, where it can be told.
        pid: Option<u32>,
    },
    /// A file in it can't be read or written.
    #[error("can't {action} {}: {source}", path.display())]
    File {
        /// `read` or `write`.
        action: &'static str,
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Names of what is in the folder of a sandbox. Making this value makes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder at that path.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The kubeconfig of the sandbox, with a token in it.
    pub fn kubeconfig(&self) -> PathBuf {
        self.0.join("kubeconfig")
    }

    /// The journal of the objects.
    pub fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    /// Certificates, keys and the token.
    pub fn credentials(&self) -> PathBuf {
        self.0.join("credentials")
    }

    /// The data of volumes.
    pub fn volumes(&self) -> PathBuf {
        self.0.join("volumes")
    }

    /// What the node keeps of its pods.
    pub fn node(&self) -> PathBuf {
        self.0.join("node")
    }

    fn lock_file(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// Makes the folder, for its owner only, and holds it as long as the value lives. The kernel lets go of it when the process dies,
    /// however it dies.
    pub fn hold(&self) -> Result<Held, FolderError> {
        make(&self.0)?;
        let path = self.lock_file();
        let failed = |action: &'static str| {
            let path = path.clone();
            move |source| FolderError::File { action, path, source }
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed("write"))?;
        while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            // Who only asks whether somebody has it, has a share of it for that moment; so could we then.
            if flock(&file, FlockOperation::NonBlockingLockShared).is_err() {
                return Err(FolderError::InUse {
                    path: self.0.clone(),
                    pid: read_pid(&mut file),
                });
            }
            flock(&file, FlockOperation::Unlock).map_err(|error| failed("write")(error.into()))?;
            std::thread::yield_now();
        }
        file.set_len(0)
            .and_then(|()| write!(file, "{}", std::process::id()))
            .map_err(failed("write"))?;
        Ok(Held { lock: file })
    }

    /// The process of the sandbox that runs in the folder, if one does.
    pub fn holder(&self) -> Option<u32> {
        let mut file = File::open(self.lock_file()).ok()?;
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => None,
            Err(_) => read_pid(&mut file),
        }
    }
}

/// Why a sandbox was not cleaned up or removed.
#[derive(Debug, Error)]
pub enum RemoveError {
    /// Its folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// What a process that was killed has left.
    #[error(transparent)]
    Clean(#[from] CleanError),
}

/// Ends and removes what a sandbox has left whose process was killed. It does nothing to one that was stopped; resources and data stay.
pub fn clean(folder: &Folder) -> Result<(), RemoveError> {
    if folder.node().exists() {
        let _held = folder.hold()?;
        pgop_sandbox_node::clean(&folder.node())?;
    }
    Ok(())
}

/// Removes a sandbox that does not run, with all that it holds.
pub fn remove(folder: &Folder) -> Result<(), RemoveError> {
    clean(folder)?;
    let _held = folder.hold()?;
    fs::remove_dir_all(folder.path()).map_err(|source| FolderError::File {
        action: "remove",
        path: folder.path().to_owned(),
        source,
    })?;
    Ok(())
}

/// A folder that no other process uses.
#[derive(Debug)]
pub struct Held {
    lock: File,
}

impl Drop for Held {
    fn drop(&mut self) {
        // Closing alone would not do: a program that is just being started has a copy of the descriptor until it runs.
        let _ = flock(&self.lock, FlockOperation::Unlock);
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Makes a folder that only its owner may look into. One that is there stays as it is.
pub(crate) fn make(path: &Path) -> Result<(), FolderError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| FolderError::Make {
            path: path.to_owned(),
            source,
        })
}

/// Reads a file; `None` where there is none.
pub(crate) fn read(path: &Path) -> Result<Option<String>, FolderError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FolderError::File {
            action: "read",
            path: path.to_owned(),
            source,
        }),
    }
}

/// Writes a file for its owner only, whole or not at all.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), FolderError> {
    let failed = |source| FolderError::File {
        action: "write",
        path: path.to_owned(),
        source,
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?; // mode 0600
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_holds_a_folder() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::new(place.path().join("deep/sandbox"));
        assert_eq!(folder.holder(), None);
        let held = folder.hold().unwrap();
        assert_eq!(folder.holder(), Some(std::process::id()));
        let refusal = folder.hold().unwrap_err().to_string();
        assert!(
            refusal.contains("runs in") && refusal.contains(&std::process::id().to_string()),
            "{refusal}"
        );
        drop(held);
        assert_eq!(folder.holder(), None);
        folder.hold().unwrap();
    }

    #[test]
    fn who_asks_for_the_holder_does_not_keep_it_from_holding() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::new(place.path().join("sandbox"));
        drop(folder.hold().unwrap());
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(std::sync::atomic::Ordering::Relaxed) {
                        folder.holder();
                    }
                });
            }
            let refused = (0..2000).find_map(|_| folder.hold().err());
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(refused.is_none(), "{refused:?}");
        });
    }

    #[test]
    fn files_are_for_the_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("token");
        assert_eq!(read(&path).unwrap(), None);
        write(&path, "secret").unwrap();
        write(&path, "other").unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some("other"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
