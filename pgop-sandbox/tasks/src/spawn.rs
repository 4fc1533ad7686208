//! Tasks whose panics are told and have an effect.
#![allow(clippy::disallowed_methods)] // here, and only here, tasks begin

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Doubling;

/// Before a task that has panicked begins again.
const PAUSES: Doubling = Doubling {
    first: Duration::from_millis(100),
    longest: Duration::from_secs(60),
};
/// A task that ran that long has not panicked at its beginning: its pauses start over.
const SETTLED: Duration = Duration::from_secs(600);

/// What a task is called in the log.
pub type Name = Cow<'static, str>;

/// A task has panicked; the log tells where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panicked {
    task: Name,
    said: String,
}

impl fmt::Display for Panicked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "task {} panicked: {}", self.task, self.said)
    }
}

impl std::error::Error for Panicked {}

/// Runs it to its end. A panic is told, with the name, and is the result.
pub async fn watched<F: Future>(name: impl Into<Name>, task: F) -> Result<F::Output, Panicked> {
    match AssertUnwindSafe(task).catch_unwind().await {
        Ok(done) => Ok(done),
        Err(panic) => {
            let panicked = Panicked {
                task: name.into(),
                said: said(&*panic),
            };
            tracing::error!(task = %panicked.task, "{panicked}");
            Err(panicked)
        }
    }
}

/// Starts a task that works for somebody: who asked for it sees its end, a panic too. One that all depends on is for [`supervise`].
pub fn spawn<F>(name: impl Into<Name>, task: F) -> JoinHandle<Result<F::Output, Panicked>>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(watched(name.into(), task))
}

/// As [`spawn`], in a set whose tasks end with it.
pub fn spawn_in<T, F>(set: &mut JoinSet<Result<T, Panicked>>, name: impl Into<Name>, task: F) -> AbortHandle
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    set.spawn(watched(name.into(), task))
}

/// Starts a task, in a set whose tasks end with it, without which the rest can't go on: a panic cancels `broken`.
pub fn spawn_essential<F>(
    set: &mut JoinSet<()>,
    name: impl Into<Name>,
    broken: &CancellationToken,
    task: F,
) -> AbortHandle
where
    F: Future<Output = ()> + Send + 'static,
{
    let (name, broken) = (name.into(), broken.clone());
    set.spawn(async move {
        if watched(name, task).await.is_err() {
            broken.cancel();
        }
    })
}

/// As [`spawn`], counted by a tracker that waits for it.
pub fn spawn_tracked<F>(
    tracker: &TaskTracker,
    name: impl Into<Name>,
    task: F,
) -> JoinHandle<Result<F::Output, Panicked>>
where
    F: Future<Output: Send> + Send + 'static,
{
    tracker.spawn(watched(name.into(), task))
}

/// Makes a task and runs it to its end. When it panics it is made again, after a pause that grows.
pub async fn supervise<F: Future>(name: impl Into<Name>, mut make: impl FnMut() -> F) -> F::Output {
    let name = name.into();
    let mut panics = 0;
    loop {
        let begin = Instant::now();
        let ended = watched(name.clone(), async { make().await }).await;
        if let Ok(done) = ended {
            return done;
        }
        if begin.elapsed() >= SETTLED {
            panics = 0;
        }
        let pause = PAUSES.after(panics);
        panics = panics.saturating_add(1);
        tracing::error!(task = %name, panics, "task {name} begins again in {pause:?}");
        sleep(pause).await;
    }
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without words".to_owned())
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::{Arc, LazyLock, Mutex};

    use super::*;

    /// What is logged.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// One log for all tests: what a thread listens to is asked for once per line of code, by whichever thread comes there first.
    fn listen() -> Log {
        static LOG: LazyLock<Log> = LazyLock::new(|| {
            let log = Log::default();
            let writer = log.clone();
            let subscriber = tracing_subscriber::fmt()
                .with_writer(move || writer.clone())
                .with_ansi(false)
                .finish();
            tracing::subscriber::set_global_default(subscriber).unwrap();
            log
        });
        LOG.clone()
    }

    impl Log {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    #[tokio::test]
    async fn a_panic_is_told_with_the_name_of_its_task_and_who_waits_learns_of_it() {
        let log = listen();
        let ended = spawn("pod shop/orders-0", async {
            assert_eq!(1 + 1, 3, "the sum is wrong");
        });
        let panicked = ended.await.unwrap().unwrap_err();
        assert!(panicked.to_string().contains("the sum is wrong"), "{panicked}");
        let text = log.text();
        assert!(
            text.contains("ERROR") && text.contains("task pod shop/orders-0 panicked"),
            "{text}"
        );
        assert_eq!(spawn("good", async { 7 }).await.unwrap(), Ok(7));
    }

    #[tokio::test]
    async fn a_panic_of_a_part_breaks_the_whole_and_its_end_does_not() {
        listen();
        let (mut set, broken) = (JoinSet::new(), CancellationToken::new());
        spawn_essential(&mut set, "one that ends", &broken, async {});
        spawn_essential(&mut set, "one that is dropped", &broken, std::future::pending()).abort();
        while set.join_next().await.is_some() {}
        assert!(!broken.is_cancelled());
        spawn_essential(&mut set, "one that panics", &broken, async { panic!("oh") });
        broken.cancelled().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_begins_again_as_often_as_it_takes() {
        let log = listen();
        let runs = AtomicU32::new(0);
        let begin = Instant::now();
        let done = supervise("reflector of pods", || async {
            let run = runs.fetch_add(1, Ordering::Relaxed);
            assert!(run >= 1000, "not yet");
            run
        });
        assert_eq!(done.await, 1000);
        assert!(begin.elapsed() > 900 * PAUSES.longest, "it does not spin");
        assert!(log.text().contains("task reflector of pods begins again in 100ms"));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_long_run_pauses_start_over() {
        listen();
        let (runs, times) = (AtomicU32::new(0), Mutex::new(Vec::new()));
        supervise("a", || async {
            times.lock().unwrap().push(Instant::now());
            let run = runs.fetch_add(1, Ordering::Relaxed);
            if run == 20 {
                sleep(SETTLED).await;
            }
            assert_eq!(run, 21);
        })
        .await;
        let times = times.into_inner().unwrap();
        assert_eq!(times[20] - times[19], PAUSES.longest);
        assert_eq!(times[21] - times[20], SETTLED + PAUSES.first);
    }
}
