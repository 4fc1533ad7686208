//! Ctrl-C: at once where nothing is to be cleaned up, after the cleaning up otherwise.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::exit_code::ExitCode;

/// Longest time that cleaning up may take after Ctrl-C.
const CLEAN_UP: Duration = Duration::from_secs(15);

/// Tells those who have something to clean up that they are to stop.
#[derive(Clone, Debug)]
pub struct Interrupt {
    asked: Arc<watch::Sender<bool>>,
    held: Arc<AtomicUsize>,
    left: Arc<AtomicBool>,
}

/// While it lives, an interrupted run waits for its holder.
#[derive(Debug)]
pub struct Hold(Arc<AtomicUsize>);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Interrupt {
    /// One that was not asked for yet.
    pub fn new() -> Self {
        Self {
            asked: Arc::new(watch::channel(false).0),
            held: Arc::default(),
            left: Arc::default(),
        }
    }

    /// Makes an interrupted run wait until the hold is dropped. Its holder listens to [`Interrupt::asked`].
    pub fn hold(&self) -> Hold {
        self.held.fetch_add(1, Ordering::SeqCst);
        Hold(self.held.clone())
    }

    /// Leaves Ctrl-C to the work from here on: it listens itself, and takes its time to end.
    pub fn leave_to_work(&self) {
        self.left.store(true, Ordering::SeqCst);
    }

    /// Ends when the person presses Ctrl-C.
    pub async fn asked(&self) {
        let mut receiver = self.asked.subscribe();
        // The sender lives in `self`, so this can't fail.
        let _ = receiver.wait_for(|asked| *asked).await;
    }

    fn ask(&self) {
        self.asked.send_replace(true);
    }
}

/// Runs `work` until it is done or interrupted.
pub async fn guarded(interrupt: Interrupt, work: impl Future<Output = ExitCode>) -> ExitCode {
    let work = std::pin::pin!(work);
    run(interrupt, work, signal()).await
}

async fn run(
    interrupt: Interrupt,
    mut work: std::pin::Pin<&mut impl Future<Output = ExitCode>>,
    signal: impl Future<Output = ()>,
) -> ExitCode {
    tokio::select! {
        code = &mut work => return code,
        () = signal => {}
    }
    if interrupt.left.load(Ordering::SeqCst) {
        return work.await;
    }
    interrupt.ask();
    if interrupt.held.load(Ordering::SeqCst) > 0 {
        let _ = tokio::time::timeout(CLEAN_UP, work).await;
    }
    ExitCode::Interrupted
}

#[cfg(unix)]
async fn signal() {
    use tokio::signal::unix::SignalKind;
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = received(SignalKind::terminate()) => {}
        // The terminal was closed, or the connection to it: what was begun has to be cleaned up all the same.
        () = received(SignalKind::hangup()), if !hangup_is_ignored() => {}
    }
}

#[cfg(unix)]
async fn received(kind: tokio::signal::unix::SignalKind) {
    match tokio::signal::unix::signal(kind) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}

/// `nohup pgo …` wants to go on, and listening would take that back. Where the kernel does not tell, nobody listens.
#[cfg(unix)]
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_none_or(|mask| mask & 1 == 1) // signal 1
}

#[cfg(not(unix))]
async fn signal() {
    let _ = tokio::signal::ctrl_c().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn cleaning_up_is_waited_for() {
        let interrupt = Interrupt::new();
        let cleaned = std::cell::Cell::new(false);
        let work = async {
            let _hold = interrupt.hold();
            interrupt.asked().await;
            tokio::task::yield_now().await;
            cleaned.set(true);
            ExitCode::Failed
        };
        // `work` is polled first, as it takes its hold before it waits.
        let signal = async { tokio::task::yield_now().await };
        assert_eq!(
            run(interrupt.clone(), std::pin::pin!(work), signal).await,
            ExitCode::Interrupted
        );
        assert!(cleaned.get());
    }

    #[tokio::test]
    async fn without_a_hold_it_ends_at_once() {
        let work = std::pin::pin!(std::future::pending());
        assert_eq!(run(Interrupt::new(), work, async {}).await, ExitCode::Interrupted);
    }

    #[tokio::test]
    async fn work_that_listens_itself_is_not_ended() {
        let interrupt = Interrupt::new();
        let work = async {
            interrupt.leave_to_work();
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            ExitCode::Ok
        };
        let signal = async { tokio::task::yield_now().await };
        assert_eq!(run(interrupt.clone(), std::pin::pin!(work), signal).await, ExitCode::Ok);
    }

    #[tokio::test]
    async fn work_that_is_done_is_done() {
        let work = std::pin::pin!(async { ExitCode::Ok });
        assert_eq!(run(Interrupt::new(), work, std::future::pending()).await, ExitCode::Ok);
    }
}
