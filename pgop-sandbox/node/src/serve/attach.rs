//! Holds on to the streams of a container's own process.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError};

use pgop_sandbox_kubelet::{KubeletError, Reader, Session, Streams, Target, Writer};
use pgop_sandbox_tasks::spawn;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::sync::{broadcast, oneshot};

use super::exec::resizes;
use super::terminal::Terminal;
use crate::container::Live;
use crate::logs::Stream;
use crate::pod::state::State;
use crate::pod::worker::PodRun;

pub(super) fn attach(
    run: &Arc<PodRun>,
    live: &Arc<Live>,
    target: &Target,
    streams: &Streams,
) -> Result<Session, KubeletError> {
    let failed = |source: io::Error| KubeletError::Open {
        what: "the container's streams".to_owned(),
        source,
    };
    let output = |wanted: bool, stream: Stream| wanted.then(|| follow(live, stream));
    let (mut resize, mut stdin) = (None, None);
    let input = {
        let mut held = live.input.lock().unwrap_or_else(PoisonError::into_inner);
        // With `stdinOnce` the container sees the end of its input when this client ends it: nobody else holds it then.
        if streams.stdin && live.stdin_once && !live.tty {
            held.take()
        } else {
            held.clone()
        }
    };
    if let Some(input) = input {
        let copy = OwnedFd::from(input.try_clone().map_err(failed)?);
        if live.tty {
            let terminal = Terminal::new(copy).map_err(failed)?;
            resize = Some(resizes(terminal.clone()));
            stdin = Some(Box::new(terminal) as Writer);
        } else {
            stdin = Some(Box::new(pipe::Sender::from_owned_fd(copy).map_err(failed)?) as Writer);
        }
    }
    Ok(Session {
        stdin: stdin.filter(|_| streams.stdin),
        stdout: output(streams.stdout, Stream::Stdout),
        stderr: output(streams.stderr && !live.tty, Stream::Stderr),
        resize,
        exit: exit(run.clone(), target.container.clone()),
    })
}

/// The output from now on.
fn follow(live: &Live, wanted: Stream) -> Reader {
    let mut pieces = live.feed.live();
    let mut ends = live.feed.ends();
    let (mut writer, reader) = tokio::io::duplex(32 << 10);
    spawn("output to a client", async move {
        loop {
            let piece = tokio::select! {
                biased;
                piece = pieces.recv() => piece,
                () = ends.ended() => match pieces.try_recv() {
                    Ok(piece) => Ok(piece),
                    Err(broadcast::error::TryRecvError::Lagged(_)) => continue,
                    Err(_) => return,
                },
            };
            match piece {
                Ok((stream, bytes)) if stream == wanted => {
                    if writer.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    });
    Box::new(reader)
}

fn exit(run: Arc<PodRun>, container: String) -> oneshot::Receiver<i32> {
    let (sender, receiver) = oneshot::channel();
    spawn("end of a container, to a client", async move {
        let mut watch = run.watch();
        let over = |state: &crate::pod::state::PodState| {
            state
                .containers
                .iter()
                .any(|c| c.name == container && !matches!(c.state, State::Running { .. }))
        };
        let code = match watch.wait_for(over).await {
            Ok(state) => {
                let found = state.containers.iter().find(|c| c.name == container);
                found
                    .and_then(|c| c.ended().or(c.last.as_ref()))
                    .map_or(255, |ended| ended.code)
            }
            Err(_) => 255,
        };
        let _ = sender.send(code);
    });
    receiver
}
