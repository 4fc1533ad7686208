//! A container that runs.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{sleep, timeout};

use crate::holder::{Ids, Process, number, signal};
use crate::logs::Feed;

/// So long may it take until a container's program runs.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// What a container said last is read within that time, even if something of it holds the outputs open.
pub(super) const LAST_OUTPUT: Duration = Duration::from_secs(10);

/// A container that runs: what others need to reach into it.
pub(crate) struct Live {
    /// Its first process; none when that had ended before it could be held.
    pub(crate) init: Option<Arc<OwnedFd>>,
    /// Whom a process becomes that enters it; none where there is only one user.
    pub(crate) ids: Option<Ids>,
    pub(crate) env: HashMap<String, String>,
    pub(crate) directory: PathBuf,
    pub(crate) feed: Arc<Feed>,
    pub(crate) tty: bool,
    /// Its input ends with the first who is attached.
    pub(crate) stdin_once: bool,
    /// Its input, where it has one; or its terminal.
    pub(crate) input: Mutex<Option<Arc<File>>>,
}

impl Live {
    /// Sends a signal to its first process.
    pub(crate) fn signal(&self, number: i32) {
        if let Some(init) = &self.init
            && let Err(error) = signal(&**init, number)
        {
            tracing::warn!(%error, "can't send a signal to a container");
        }
    }
}

/// What carries the outputs of a container.
pub(super) type Outputs = tokio::task::JoinSet<()>;

/// A run of a container.
pub(crate) struct Run {
    pub(crate) live: Arc<Live>,
    pub(super) process: Process,
    pub(super) outputs: Outputs,
    /// The mounts of a container without process numbers of its own: by them its processes are told from others.
    pub(super) mounts: Option<PathBuf>,
}

impl Run {
    /// Waits for its end. Its exit code; the log is complete then.
    pub(super) async fn ended(&mut self) -> i32 {
        let code = self.process.wait().await.unwrap_or(255);
        self.live.signal(nix::libc::SIGKILL); // should only bubblewrap have ended, and not the container
        self.end_others();
        // A process that was left behind by the container can't hold the outputs open: all ended with the first.
        let _ = timeout(LAST_OUTPUT, async { while self.outputs.join_next().await.is_some() {} }).await;
        self.live.feed.end();
        code
    }

    /// Ends what the first process has left. Where it was the first of its numbers, the kernel has done so.
    fn end_others(&self) {
        let Some(mounts) = &self.mounts else { return };
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        for pid in all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
            if fs::read_link(format!("/proc/{pid}/ns/mnt")).is_ok_and(|of| of == *mounts) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.live.signal(nix::libc::SIGKILL);
        self.end_others();
        self.live.feed.end();
    }
}

impl Run {
    /// Waits until the program has taken bubblewrap's place. False when it ended before that was seen.
    pub(super) async fn has_begun(&self) -> bool {
        let Some(pid) = self.live.init.as_deref().and_then(number) else {
            let _ = self.process.wait().await;
            return false;
        };
        let changed = async {
            // There is no event for an exec that needs no rights; it takes a few milliseconds.
            loop {
                match fs::read_to_string(format!("/proc/{pid}/comm")) {
                    Ok(name) if name.trim_end() == "bwrap" => sleep(Duration::from_millis(2)).await,
                    Ok(_) => return true,
                    Err(_) => {
                        let _ = self.process.wait().await; // it has ended, and bubblewrap is about to tell how
                        return false;
                    }
                }
            }
        };
        tokio::select! {
            biased;
            _ = self.process.wait() => false,
            begun = timeout(PATIENCE, changed) => begun.unwrap_or(true),
        }
    }
}
