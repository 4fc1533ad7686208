//! A thread of its own, for what has to answer however busy the work is: the lease and the admin server.
//!
//! What is started here has its timers, connections and turns here. A client belongs to the thread in which it is made.

use std::io;
use std::thread;

use thiserror::Error;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// The thread; it ends with this value, and all that runs on it.
#[derive(Debug)]
pub struct Aside {
    handle: Handle,
    _stop: oneshot::Sender<()>,
}

/// Something that ran aside panicked.
#[derive(Debug, Error)]
#[error("{name} ended, which is a fault of pgop: {reason}")]
pub struct AsideError {
    name: &'static str,
    reason: String,
}

impl Aside {
    /// Starts the thread.
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        thread::Builder::new().name("aside".to_owned()).spawn(move || {
            // The sender never sends: it is dropped.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Self { handle, _stop: stop })
    }

    /// Runs `task` there, until it ends or nobody waits for it any more. Nothing happens before this is waited for.
    pub async fn run<T: Send + 'static>(
        &self,
        name: &'static str,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, AsideError> {
        // A set ends its tasks when it is dropped.
        let mut one = JoinSet::new();
        one.spawn_on(task, &self.handle);
        match one.join_next().await {
            Some(Ok(value)) => Ok(value),
            Some(Err(error)) => Err(AsideError {
                name,
                reason: error.to_string(),
            }),
            None => Err(AsideError {
                name,
                reason: "it was never started".to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn it_goes_on_while_the_work_blocks_its_own_thread() {
        let aside = Aside::start().unwrap();
        let (ask, asked) = oneshot::channel::<std::sync::mpsc::Sender<u32>>();
        let answer = async {
            let back = asked.await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
            back.send(7).unwrap();
        };
        let answered = aside.run("the answer", answer);
        let block = async {
            let (back, answer) = std::sync::mpsc::channel();
            ask.send(back).unwrap();
            // Nothing else can run on this thread meanwhile.
            assert_eq!(answer.recv_timeout(Duration::from_secs(60)), Ok(7));
        };
        let (answered, ()) = tokio::join!(answered, block);
        answered.unwrap();
    }

    #[tokio::test]
    async fn a_panic_is_told_by_name() {
        let aside = Aside::start().unwrap();
        let error = aside
            .run("the lease", async { panic!("no clock") })
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("the lease ended") && error.contains("no clock"),
            "{error}"
        );
    }
}
