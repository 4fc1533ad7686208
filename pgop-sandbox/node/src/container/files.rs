//! What a container has in the pod's folder: logs, last words, its `/etc`.

use std::fs;
use std::path::{Path, PathBuf};

/// The folder of a container, and what is in it.
pub(crate) struct Files {
    pub(super) folder: PathBuf,
}

impl Files {
    pub(crate) fn new(pod: &Path, container: &str) -> Self {
        Self {
            folder: pod.join("containers").join(container),
        }
    }

    /// The log of a run.
    pub(crate) fn log(&self, run: i32) -> PathBuf {
        self.folder.join(format!("{run}.log"))
    }

    /// What the container has written as its last words.
    pub(crate) fn note(&self) -> PathBuf {
        self.folder.join("termination-log")
    }

    pub(super) fn etc(&self) -> PathBuf {
        self.folder.join("etc")
    }

    /// Logs are kept of this run and the one before.
    pub(super) fn forget(&self, run: i32) {
        for suffix in ["log", "log.1"] {
            let _ = fs::remove_file(self.folder.join(format!("{}.{suffix}", run - 2)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Files;
    use std::path::Path;

    #[test]
    fn each_run_has_its_log() {
        let files = Files::new(Path::new("/state/pods/u"), "main");
        assert_eq!(files.log(3), Path::new("/state/pods/u/containers/main/3.log"));
    }
}
