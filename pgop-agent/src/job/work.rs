//! Something long that a Job does in the background, and that can be cut off.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::postgres::{self, Verification};
use crate::snapshot::Manifest;
use crate::volume::Op;

/// How long a program that was asked to end may take.
const GRACE: Duration = Duration::from_secs(5);
/// So many lines of what a program says are worth repeating.
const LINES: usize = 2;

/// It ends with nothing, or with why it failed.
pub struct Work {
    task: JoinHandle<Result<(), String>>,
    cancel: watch::Sender<bool>,
}

/// Says when it is to end early.
#[derive(Clone)]
pub struct Cancelled(watch::Receiver<bool>);

impl Cancelled {
    /// Whether it is so.
    pub fn is_so(&self) -> bool {
        *self.0.borrow()
    }

    async fn asked(&mut self) {
        // Who could ask is gone: nobody does.
        if self.0.wait_for(|asked| *asked).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Work {
    /// Begins it.
    pub fn begin<F>(task: impl FnOnce(Cancelled) -> F) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let (cancel, cancelled) = watch::channel(false);
        Self {
            task: tokio::spawn(task(Cancelled(cancelled))),
            cancel,
        }
    }

    /// Begins it on a thread of its own.
    pub fn on_a_thread(task: impl FnOnce(Cancelled) -> Result<(), String> + Send + 'static) -> Self {
        let (cancel, cancelled) = watch::channel(false);
        Self {
            task: tokio::task::spawn_blocking(move || task(Cancelled(cancelled))),
            cancel,
        }
    }

    /// Asks it to end early. It still has to be waited for.
    pub fn cancel(&self) {
        self.cancel.send_replace(true);
    }

    /// Waits for its end. May be given up and called again, but not once it has told.
    pub async fn ended(&mut self) -> Result<(), String> {
        (&mut self.task).await.unwrap_or_else(|error| Err(error.to_string()))
    }
}

/// Runs a program to its end, or until it is cancelled; when this returns, neither it nor a process that it started is left, so what they wrote may
/// be removed. Its words go to the log, the last of them into the error.
pub async fn run(mut command: Command, cancelled: &mut Cancelled) -> Result<(), String> {
    let program = command.as_std().get_program().display().to_string();
    if cancelled.is_so() {
        return Err(format!("{program} was not started"));
    }
    let command = command.process_group(0).kill_on_drop(true);
    let command = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(|error| format!("could not start {program}: {error}"))?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let Some(stderr) = child.stderr.take() else {
        return Err(format!("{program} has no standard error"));
    };
    let mut words = tokio::spawn(last_lines(stderr));
    let status = tokio::select! {
        status = child.wait() => status,
        () = cancelled.asked() => {
            signal(group, Signal::TERM);
            if let Ok(status) = timeout(GRACE, child.wait()).await {
                status
            } else {
                signal(group, Signal::KILL);
                child.wait().await
            }
        }
    };
    let status = status.map_err(|error| format!("could not wait for {program}: {error}"))?;
    // Every process of it holds its standard error: where that has ended, nobody is left.
    let said = if let Ok(said) = timeout(GRACE, &mut words).await {
        said
    } else {
        signal(group, Signal::KILL);
        words.await
    };
    if status.success() {
        return Ok(());
    }
    let said = said.unwrap_or_default();
    Err(if said.is_empty() {
        format!("{program} ended with {status}")
    } else {
        said
    })
}

fn signal(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // It has ended by itself: fine.
        let _ = kill_process_group(group, signal);
    }
}

/// The last lines of what a program says; what it removes after itself is not worth repeating.
async fn last_lines(stderr: impl AsyncRead + Unpin) -> String {
    let mut last = VecDeque::new();
    let mut lines = BufReader::new(stderr).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        let line = String::from_utf8_lossy(&line).trim().to_owned();
        if line.is_empty() {
            continue;
        }
        tracing::info!("{line}");
        if !line.contains(": removing ") {
            last.push_back(line);
        }
        if last.len() > LINES {
            last.pop_front();
        }
    }
    Vec::from(last).join(" ")
}

/// Checks every byte of a snapshot by its manifest, and its WAL.
pub fn verify(snapshot: PathBuf) -> Work {
    Work::begin(|mut cancelled| async move {
        run(postgres::verify(&snapshot, Verification::All), &mut cancelled).await?;
        let manifest = Manifest::read(&snapshot).map_err(|error| error.to_string())?;
        for wal in &manifest.wal {
            run(postgres::read_wal(&snapshot, wal), &mut cancelled).await?;
        }
        Ok(())
    })
}

/// Brings all that was written to a directory's file system to the disk.
pub fn sync(directory: PathBuf) -> Work {
    Work::on_a_thread(move |_| {
        let op = Op::SyncAll(directory);
        op.run().map_err(|error| error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.arg("-c").arg(script);
        command
    }

    fn begin(script: &str) -> Work {
        let command = shell(script);
        Work::begin(|mut cancelled| async move { run(command, &mut cancelled).await })
    }

    #[tokio::test]
    async fn the_last_words_of_a_program_that_fails_are_repeated() {
        assert_eq!(begin("true").ended().await, Ok(()));
        let script = "for i in 1 2 3; do echo pg: error: $i >&2; done; echo 'pg: removing data directory' >&2; exit 1";
        let error = begin(script).ended().await.unwrap_err();
        assert_eq!(error, "pg: error: 2 pg: error: 3");
        assert!(begin("exit 7").ended().await.unwrap_err().contains("exit status: 7"));
        let missing =
            Work::begin(|mut cancelled| async move { run(Command::new("/nowhere/pg"), &mut cancelled).await });
        let error = { missing }.ended().await.unwrap_err();
        assert!(error.starts_with("could not start /nowhere/pg: "), "{error}");
    }

    /// `pg_basebackup` streams WAL in a process of its own.
    #[tokio::test]
    async fn of_what_is_cancelled_no_process_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let script = format!(
            "sh -c 'trap \"\" TERM; sleep 600 & echo $! >{0}.new; mv {0}.new {0}; wait; sleep 600' & wait",
            pid.display()
        );
        let mut work = begin(&script);
        while !pid.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        work.cancel();
        assert!(work.ended().await.is_err());
        let pid = std::fs::read_to_string(pid).unwrap();
        // It has closed all its files, and is on its way out: one that was left would sleep for ten minutes.
        let is_there = || {
            let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
            state.is_ok_and(|state| !state.contains(") Z "))
        };
        let gone = async {
            while is_there() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), gone).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_cancelled_before_it_begins_does_not_begin() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        let command = shell(&format!("touch {}", mark.display()));
        let mut work = Work::begin(|mut cancelled| async move {
            cancelled.asked().await;
            run(command, &mut cancelled).await
        });
        work.cancel();
        assert!(work.ended().await.is_err());
        assert!(!mark.exists());
    }
}
