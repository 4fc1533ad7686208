//! How a container is asked to end. The kernel drops a signal to process 1 that has no handler yet, so the kubelet's own, sent right after a start, may
//! be lost, and the pod stays for its whole grace period. `pgop-agent stop`, the container's `preStop`, asks at a socket until it is heard.
//! <https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/>

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{Signal, SignalKind, signal};

const HEARD: &[u8] = b"heard\n";

/// Hears it, from the socket and as a signal.
pub struct Stop {
    socket: UnixListener,
    signals: [Signal; 2],
}

fn path(run: &Path) -> PathBuf {
    run.join("stop.sock")
}

impl Stop {
    /// Begins to listen, in a directory that lives as long as the pod.
    pub fn listen(run: &Path) -> io::Result<Self> {
        let signals = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
        let path = path(run);
        match std::fs::remove_file(&path) {
            // Of a container that was here before.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Ok(Self {
            socket: UnixListener::bind(path)?,
            signals,
        })
    }

    /// Until it is asked for. May be given up and called again: who asks at the socket asks until there is an answer.
    pub async fn heard(&mut self) {
        let [terminate, interrupt] = &mut self.signals;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            asked = self.socket.accept() => if let Ok((mut stream, _)) = asked {
                // Who asked may be gone by now; that it asked is what counts.
                let _ = stream.write_all(HEARD).await;
            },
        }
        tracing::info!("asked to stop");
    }
}

/// Asks until it is heard. The kubelet ends this when the grace period is over.
pub async fn ask(run: &Path) {
    loop {
        if let Ok(mut stream) = UnixStream::connect(path(run)).await {
            let mut answer = Vec::new();
            if stream.read_to_end(&mut answer).await.is_ok() && answer == HEARD {
                return;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stop_that_is_asked_for_before_anybody_listens_is_heard() {
        let run = tempfile::tempdir().unwrap();
        let asked = tokio::spawn({
            let run = run.path().to_owned();
            async move { ask(&run).await }
        });
        tokio::task::yield_now().await;
        let mut stop = Stop::listen(run.path()).unwrap();
        stop.heard().await;
        asked.await.unwrap();
    }

    #[tokio::test]
    async fn a_socket_that_was_left_over_is_in_nobodys_way() {
        let run = tempfile::tempdir().unwrap();
        drop(Stop::listen(run.path()).unwrap());
        let mut stop = Stop::listen(run.path()).unwrap();
        tokio::join!(stop.heard(), ask(run.path()));
    }
}
