//! Input and outputs of a container.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use nix::pty::openpty;
use pgop_sandbox_tasks::spawn_essential;
use tokio::io::AsyncRead;
use tokio::net::unix::pipe;
use tokio_util::sync::CancellationToken;

use super::plan::{Input, Plan};
use super::run::Outputs;
use crate::logs::{Feed, Stream};

/// The streams of a container before it starts.
pub(super) enum Streams {
    Pipes { input: bool },
    Terminal { ours: OwnedFd, theirs: OwnedFd },
}

/// Our ends.
pub(super) enum Ours {
    Pipes,
    Terminal(OwnedFd),
}

impl Streams {
    pub(super) fn new(plan: &Plan) -> io::Result<Self> {
        if !plan.tty {
            return Ok(Self::Pipes {
                input: plan.stdin != Input::None,
            });
        }
        let pty = openpty(None, None)?;
        for fd in [&pty.master, &pty.slave] {
            nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
        }
        Ok(Self::Terminal {
            ours: pty.master,
            theirs: pty.slave,
        })
    }

    pub(super) fn give(self, mut command: Command) -> (Command, Ours) {
        match self {
            Self::Pipes { input } => {
                command
                    .stdin(if input { Stdio::piped() } else { Stdio::null() })
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped());
                (command, Ours::Pipes)
            }
            Self::Terminal { ours, theirs } => {
                let copy = || theirs.try_clone().map_or_else(|_| Stdio::null(), Stdio::from);
                command.stdin(copy()).stdout(copy()).stderr(copy());
                (command, Ours::Terminal(ours))
            }
        }
    }
}

impl Ours {
    /// Carries the outputs to the log. The input, where there is one.
    pub(super) fn carry(
        self,
        mut child: Child,
        feed: &Arc<Feed>,
        outputs: &mut Outputs,
        broken: &CancellationToken,
    ) -> io::Result<Option<File>> {
        let mut carry = |stream: Stream, fd: OwnedFd| -> io::Result<()> {
            begin(outputs, feed, broken, stream, pipe::Receiver::from_owned_fd(fd)?);
            Ok(())
        };
        match self {
            Self::Pipes => {
                if let Some(out) = child.stdout.take() {
                    carry(Stream::Stdout, out.into())?;
                }
                if let Some(err) = child.stderr.take() {
                    carry(Stream::Stderr, err.into())?;
                }
                Ok(child.stdin.take().map(|input| File::from(OwnedFd::from(input))))
            }
            Self::Terminal(ours) => {
                let input = File::from(ours.try_clone()?);
                let from = crate::serve::terminal::Terminal::new(ours)?;
                begin(outputs, feed, broken, Stream::Stdout, from);
                Ok(Some(input))
            }
        }
    }
}

/// A container whose outputs nobody takes can't go on: when that breaks, so has the pod.
fn begin(
    outputs: &mut Outputs,
    feed: &Arc<Feed>,
    broken: &CancellationToken,
    stream: Stream,
    from: impl AsyncRead + Send + Unpin + 'static,
) {
    let (name, feed) = (format!("log {}", feed.path().display()), feed.clone());
    spawn_essential(outputs, name, broken, async move { feed.carry(stream, from).await });
}
