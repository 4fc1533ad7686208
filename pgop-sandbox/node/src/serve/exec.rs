//! Runs a command in a container for a client.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};

use nix::libc;
use pgop_sandbox_kubelet::{KubeletError, Reader, Session, Streams, Writer};
use pgop_sandbox_tasks::spawn;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};

use super::terminal::Terminal;
use crate::container::{Given, Live, enter};
use crate::holder::{Process, open_terminal, set_size};

pub(super) async fn exec(live: &Live, command: Vec<String>, streams: &Streams) -> Result<Session, KubeletError> {
    let program = command.first().cloned().unwrap_or_default();
    let failed = |source: io::Error| KubeletError::Start {
        command: program.clone(),
        source,
    };
    if streams.tty {
        return with_terminal(live, &command, streams).await.map_err(failed);
    }
    let piped = |wanted: bool| if wanted { Stdio::piped() } else { Stdio::null() };
    let given = Given {
        stdin: piped(streams.stdin),
        stdout: piped(streams.stdout),
        stderr: piped(streams.stderr),
        terminal: false,
    };
    let (process, child) = enter(live, &command, given).await.map_err(failed)?;
    with_pipes(process, child).map_err(failed)
}

fn with_pipes(process: Process, mut child: Child) -> io::Result<Session> {
    let reader = |fd: OwnedFd| -> io::Result<Reader> { Ok(Box::new(pipe::Receiver::from_owned_fd(fd)?)) };
    let stdin = child
        .stdin
        .take()
        .map(|fd| pipe::Sender::from_owned_fd(fd.into()))
        .transpose()?;
    let stdout = child.stdout.take().map(|fd| reader(fd.into())).transpose()?;
    let stderr = child.stderr.take().map(|fd| reader(fd.into())).transpose()?;
    Ok(Session {
        stdin: stdin.map(|s| Box::new(s) as Writer),
        stdout,
        stderr,
        resize: None,
        exit: watch(process),
    })
}

/// The terminal is one of the container's own, so that programs in it find it by its name.
async fn with_terminal(live: &Live, command: &[String], streams: &Streams) -> io::Result<Session> {
    let Some(init) = &live.init else {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the container has ended"));
    };
    let (ours, theirs) = open_terminal(init)?;
    let copy = || theirs.try_clone().map(Stdio::from);
    let given = Given {
        stdin: copy()?,
        stdout: copy()?,
        stderr: copy()?,
        terminal: true,
    };
    let (process, _) = enter(live, command, given).await?;
    drop(theirs);
    let terminal = Terminal::new(ours)?;
    let stdout = streams.stdout.then(|| Box::new(terminal.clone()) as Reader);
    let stdin = streams.stdin.then(|| Box::new(terminal.clone()) as Writer);
    Ok(Session {
        stdin,
        stdout,
        stderr: None,
        resize: Some(resizes(terminal)),
        exit: watch(process),
    })
}

/// Takes new sizes for a terminal.
pub(super) fn resizes(terminal: Terminal) -> mpsc::Sender<(u16, u16)> {
    let (sender, mut receiver) = mpsc::channel::<(u16, u16)>(4);
    spawn("sizes of a terminal", async move {
        while let Some((columns, rows)) = receiver.recv().await {
            set_size(terminal.raw(), columns, rows);
        }
    });
    sender
}

/// Tells the exit code; when nobody waits for it any more, ends the process.
fn watch(process: Process) -> oneshot::Receiver<i32> {
    let (mut sender, receiver) = oneshot::channel();
    spawn("end of a command", async move {
        let code = tokio::select! {
            code = process.wait() => code.unwrap_or(255),
            () = sender.closed() => {
                let _ = process.signal(libc::SIGKILL);
                let _ = process.wait().await;
                return;
            }
        };
        let _ = sender.send(code);
    });
    receiver
}
