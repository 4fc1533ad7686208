//! Input and outputs of a container.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use nix::pty::openpty;
use tokio::net::unix::pipe;
use tokio::task::JoinSet;

use super::plan::{Input, Plan};
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
    pub(super) fn carry(self, mut child: Child, feed: &Arc<Feed>, tasks: &mut JoinSet<()>) -> io::Result<Option<File>> {
        let mut carry = |stream: Stream, fd: OwnedFd| -> io::Result<()> {
            let (from, feed) = (pipe::Receiver::from_owned_fd(fd)?, feed.clone());
            tasks.spawn(async move { feed.carry(stream, from).await });
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
                let (from, feed) = (crate::serve::terminal::Terminal::new(ours)?, feed.clone());
                tasks.spawn(async move { feed.carry(Stream::Stdout, from).await });
                Ok(Some(input))
            }
        }
    }
}
