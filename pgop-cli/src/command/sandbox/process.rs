//! The process of a sandbox: started, watched, ended.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kube::config::{KubeConfigOptions, Kubeconfig};
use pgop_sandbox::Folder;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio::time::{sleep, timeout};

use crate::error::Error;

const PAUSE: Duration = Duration::from_millis(20);
/// A server on this machine that takes longer for one word is not there.
const ANSWER: Duration = Duration::from_secs(2);
/// Pods get their grace periods; then it is killed, and the next start cleans up.
const FAREWELL: Duration = Duration::from_secs(60);

/// Starts it in the background and waits until it serves.
pub(super) async fn start(name: &str, folder: &Folder, timeout: Duration) -> Result<(), Error> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        Error::Object(format!("sandbox {name} can't start: {what}: {error}"))
    };
    fs::create_dir_all(folder.path()).map_err(|error| failed(&folder.path().display().to_string(), &error))?;
    let log = folder.path().join("log");
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log)
        .map_err(|error| failed(&log.display().to_string(), &error))?;
    // A kubeconfig of the last time is no sign of life.
    let _ = fs::remove_file(folder.kubeconfig());
    let own = std::env::current_exe().map_err(|error| failed("pgo does not find itself", &error))?;
    let again = file.try_clone().map_err(|error| failed("log", &error))?;
    let mut child = Command::new(own)
        .args(["sandbox", "run", "--name", name])
        // glibc would give every thread memory of its own, of which none uses what another has left.
        .env("MALLOC_ARENA_MAX", "2")
        // And once it has seen a large list it would make room for the next among what stays, and leave holes. With a threshold that is set and does
        // not move, a list gets pages of its own, which go back. <https://man7.org/linux/man-pages/man3/mallopt.3.html>
        .env("MALLOC_MMAP_THRESHOLD_", "65536")
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(again)
        .process_group(0) // Ctrl-C in this terminal is not meant for it
        .spawn()
        .map_err(|error| failed("its process", &error))?;
    let started = Instant::now();
    while !folder.kubeconfig().exists() {
        if ended(&mut child) {
            return Err(failed("it ended", &last_words(&log)));
        }
        if started.elapsed() > timeout {
            let _ = child.kill();
            return Err(failed(
                &format!("it did not serve within {} s", timeout.as_secs()),
                &last_words(&log),
            ));
        }
        sleep(PAUSE).await;
    }
    Ok(())
}

/// Whether the process that has the folder answers. One that was just killed may have it for a moment more: the answer is no when it has let go.
pub(super) async fn answers(name: &str, folder: &Folder, patience: Duration) -> Result<bool, Error> {
    let started = Instant::now();
    while let Some(process) = folder.holder() {
        if is_ready(folder).await {
            return Ok(true);
        }
        if started.elapsed() > patience {
            return Err(Error::Object(format!(
                "sandbox {name} (process {process}) does not answer: end it with `pgo sandbox stop --name {name}`"
            )));
        }
        sleep(PAUSE).await;
    }
    Ok(false)
}

async fn is_ready(folder: &Folder) -> bool {
    let Ok(kubeconfig) = Kubeconfig::read_from(folder.kubeconfig()) else {
        return false;
    };
    let Ok(config) = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await else {
        return false;
    };
    let Ok(client) = kube::Client::try_from(config) else {
        return false;
    };
    matches!(timeout(ANSWER, client.apiserver_version()).await, Ok(Ok(_)))
}

fn ended(child: &mut Child) -> bool {
    matches!(child.try_wait(), Ok(Some(_)) | Err(_))
}

fn last_words(log: &std::path::Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = lines[lines.len().saturating_sub(5)..].join("\n  ");
    format!("the end of {} is\n  {last}", log.display())
}

/// Ends it, and waits until its process is gone: it lets go of the folder a moment before. Returns whether it ran.
pub(super) async fn stop(folder: &Folder) -> Result<bool, Error> {
    let (id, process) = loop {
        let Some(id) = folder.holder() else {
            return Ok(false);
        };
        let number = i32::try_from(id).ok().and_then(Pid::from_raw);
        match number.map(|number| pidfd_open(number, PidfdFlags::empty())) {
            // The number may have become another's meanwhile. Not when it still has the folder.
            Some(Ok(process)) if folder.holder() == Some(id) => break (id, process),
            // It has just been killed, or has just begun and its number is not written yet.
            Some(Ok(_) | Err(Errno::SRCH)) | None => sleep(PAUSE).await,
            Some(Err(error)) => return Err(not_ended(id, error)),
        }
    };
    signal_to(&process, id, Signal::TERM)?;
    let told = Instant::now();
    let mut killed = false;
    while !has_ended(&process).map_err(|error| not_ended(id, error))? {
        if told.elapsed() > FAREWELL && !killed {
            killed = true;
            signal_to(&process, id, Signal::KILL)?;
        }
        sleep(PAUSE).await;
    }
    // A program that it was about to start has a copy of what it held until the kernel has ended that too.
    while folder.holder() == Some(id) {
        sleep(PAUSE).await;
    }
    Ok(true)
}

fn signal_to(process: &OwnedFd, id: u32, signal: Signal) -> Result<(), Error> {
    match pidfd_send_signal(process, signal) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(error) => Err(not_ended(id, error)),
    }
}

/// A descriptor of a process can be read once it has ended.
fn has_ended(process: &OwnedFd) -> rustix::io::Result<bool> {
    let mut looked_at = [PollFd::new(process, PollFlags::IN)];
    poll(&mut looked_at, Some(&Timespec::default())).map(|found| found > 0)
}

fn not_ended(id: u32, error: Errno) -> Error {
    Error::Object(format!("process {id} of the sandbox can't be ended: {error}"))
}

/// The signals that tell the process to end.
pub(super) struct Ends {
    terminate: Signals,
    interrupt: Signals,
    hang_up: Signals,
}

impl Ends {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Completes when the process is told to end, each time.
    pub(super) async fn asked(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                // The terminal that it was started from was closed: that is no reason to end.
                _ = self.hang_up.recv() => {}
            }
        }
    }
}

/// Tells on standard error, which is the log file, what goes on.
pub(super) fn log() {
    let filter = std::env::var("PGOP_SANDBOX_LOG").unwrap_or_else(|_| "info".to_owned());
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .log_internal_errors(false) // it would tell of a full disk on the same disk, and panic
        .with_ansi(false)
        .try_init();
}
