//! A process of ours, held by a descriptor: its number can't become another's.
#![allow(unsafe_code)] // system calls that nix has no safe form for

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use tokio::io::unix::AsyncFd;
use tokio::sync::OnceCell;

/// The descriptor of a process by its number.
pub(super) fn open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: makes a descriptor, or fails.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = Errno::result(fd)?;
    // SAFETY: the kernel has just made it.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).unwrap_or(i32::MAX)) })
}

/// Sends a signal to a process held by a descriptor. A process that has ended is no error.
pub(crate) fn signal(process: &impl AsFd, number: i32) -> io::Result<()> {
    let fd = process.as_fd().as_raw_fd();
    // SAFETY: no pointers but null.
    let done = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            fd,
            number,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    match Errno::result(done) {
        Ok(_) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// The number of a process held by a descriptor, unless it has ended.
pub(crate) fn number(process: &OwnedFd) -> Option<i32> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", process.as_raw_fd())).ok()?;
    info.lines()
        .find_map(|line| line.strip_prefix("Pid:"))?
        .trim()
        .parse()
        .ok()
        .filter(|pid| *pid > 0)
}

/// A descriptor that tokio can wait for.
pub(crate) fn pollable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is the same open descriptor for as long as it lives.
    Ok(unsafe { AsyncFd::register(fd) }?)
}

/// A child process. Dropping it ends it.
pub(crate) struct Process {
    pid: i32,
    handle: AsyncFd<OwnedFd>,
    code: OnceCell<i32>,
}

impl Process {
    /// Takes over a child that nobody else waits for.
    pub(super) fn new(pid: i32, handle: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            pid,
            handle: pollable(handle)?,
            code: OnceCell::new(),
        })
    }

    /// Its number.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Waits for its end. The exit code; 128 and the number of the signal that ended it.
    pub(crate) async fn wait(&self) -> io::Result<i32> {
        let code = self.code.get_or_try_init(async || {
            loop {
                let _ready = self.handle.readable().await?;
                match waitid(
                    Id::PIDFd(self.handle.get_ref().as_fd()),
                    WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG,
                )? {
                    WaitStatus::Exited(_, code) => return Ok::<_, io::Error>(code),
                    WaitStatus::Signaled(_, signal, _) => return Ok(128 + signal as i32),
                    _ => tokio::task::yield_now().await,
                }
            }
        });
        code.await.copied()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, number: i32) -> io::Result<()> {
        signal(self.handle.get_ref(), number)
    }
}

impl Drop for Process {
    /// Ends it. It must be waited for whatever happens: the holder can't end before every process below it has been.
    fn drop(&mut self) {
        if !self.code.initialized() {
            let _ = self.signal(libc::SIGKILL);
            let pid = self.pid;
            std::thread::spawn(move || super::child::wait_for(pid));
        }
    }
}
