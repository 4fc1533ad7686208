//! Starts a program inside namespaces.
#![allow(unsafe_code)] // between fork and exec

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sched::{CloneFlags, setns};
use nix::unistd::{chdir, pipe2, setsid};

use super::child::{sibling, wait_for};
use super::process::{Process, open};

/// A namespace to enter.
#[derive(Clone)]
pub(crate) enum Namespace {
    /// A user namespace: first, as it gives the rights for the others.
    User(Arc<OwnedFd>),
    /// A pid namespace.
    Pid(Arc<OwnedFd>),
    /// A network namespace.
    Net(Arc<OwnedFd>),
    /// A mount namespace.
    Mounts(Arc<OwnedFd>),
    /// All namespaces of a process, as its container has them.
    Of(Arc<OwnedFd>),
}

impl Namespace {
    fn enter(&self) -> nix::Result<()> {
        match self {
            Self::User(fd) => setns(fd, CloneFlags::CLONE_NEWUSER),
            Self::Pid(fd) => setns(fd, CloneFlags::CLONE_NEWPID),
            Self::Net(fd) => setns(fd, CloneFlags::CLONE_NEWNET),
            Self::Mounts(fd) => setns(fd, CloneFlags::CLONE_NEWNS),
            Self::Of(fd) => setns(
                fd,
                CloneFlags::CLONE_NEWUSER
                    | CloneFlags::CLONE_NEWNS
                    | CloneFlags::CLONE_NEWPID
                    | CloneFlags::CLONE_NEWNET
                    | CloneFlags::CLONE_NEWUTS
                    | CloneFlags::CLONE_NEWIPC,
            ),
        }
    }
}

/// A program to start: the command with its words, environment and streams, and where.
pub(crate) struct Start {
    /// The program. Its working directory must not be set; it would be looked up outside.
    pub(crate) command: Command,
    /// The namespaces, in order.
    pub(crate) namespaces: Vec<Namespace>,
    /// The working directory inside.
    pub(crate) directory: Option<CString>,
    /// Its input is a terminal, which becomes the one that controls it.
    pub(crate) terminal: bool,
    /// Without rights (capabilities), now and after any exec.
    pub(crate) powerless: bool,
    /// Descriptors it keeps, by their numbers here.
    pub(crate) keep: Vec<OwnedFd>,
}

impl Start {
    /// Starts it. Blocks for the few milliseconds that takes. The `Child` has its streams and nothing else of use.
    /// Fails with the error of the exec, when that is what fails.
    pub(crate) fn spawn(self) -> io::Result<(Process, Child)> {
        let Self {
            mut command,
            namespaces,
            directory,
            terminal,
            powerless,
            keep,
        } = self;
        let (number, tell) = pipe2(OFlag::O_CLOEXEC)?;
        let kept: Vec<_> = keep.iter().map(AsRawFd::as_raw_fd).collect();
        let tell_fd = tell.as_raw_fd();
        let inside = move || -> io::Result<()> {
            for namespace in &namespaces {
                namespace.enter()?;
            }
            // A pid namespace holds only for children.
            let pid = sibling()?;
            if pid > 0 {
                let bytes = pid.to_ne_bytes();
                // SAFETY: a buffer with its length; then this process ends.
                unsafe {
                    libc::write(tell_fd, bytes.as_ptr().cast(), bytes.len());
                    libc::_exit(0)
                }
            }
            prepare(directory.as_ref(), terminal, powerless, &kept)?;
            Ok(())
        };
        // SAFETY: the closure only makes system calls.
        unsafe { command.pre_exec(inside) };
        let spawned = command.spawn();
        drop(command); // and with it our copies of the descriptors it was given
        drop((keep, tell));
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) => {
                // The program could not be run; the process that was to become it has ended and waits to be seen off.
                if let Ok(pid) = read_pid(number) {
                    wait_for(pid);
                }
                return Err(error);
            }
        };
        let stdin = child.stdin.take(); // waiting would close it
        child.wait()?; // the one in between, which has ended already
        child.stdin = stdin;
        let pid = read_pid(number)?;
        Ok((Process::new(pid, open(pid)?)?, child))
    }
}

fn read_pid(from: OwnedFd) -> io::Result<i32> {
    let mut pid = [0; 4];
    File::from(from).read_exact(&mut pid)?;
    Ok(i32::from_ne_bytes(pid))
}

fn prepare(directory: Option<&CString>, terminal: bool, powerless: bool, keep: &[i32]) -> nix::Result<()> {
    let _ = setsid();
    if terminal {
        // SAFETY: input is a terminal.
        Errno::result(unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) })?;
    }
    if let Some(directory) = directory {
        chdir(directory.as_c_str())?;
    }
    for fd in keep {
        // SAFETY: a descriptor of ours.
        Errno::result(unsafe { libc::fcntl(*fd, libc::F_SETFD, 0) })?;
    }
    if powerless {
        give_up_rights()?;
    }
    Ok(())
}

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

fn give_up_rights() -> nix::Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    let header = CapHeader {
        version: VERSION_3,
        pid: 0,
    };
    let none = [CapData {
        effective: 0,
        permitted: 0,
        inheritable: 0,
    }; 2];
    // SAFETY: numbers, and two structures as capset(2) describes them.
    unsafe {
        for capability in 0..64 {
            if libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) < 0 {
                break; // past the last one
            }
        }
        Errno::result(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        Errno::result(libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()))?;
    }
    Ok(())
}
