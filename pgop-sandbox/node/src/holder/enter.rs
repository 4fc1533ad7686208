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

/// A user with their groups.
#[derive(Clone, Debug)]
pub(crate) struct Ids {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The other groups.
    pub(crate) groups: Vec<u32>,
}

/// What of its rights (capabilities) a program keeps, and whatever it runs later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rights {
    /// Those that it gets by entering the namespaces.
    AsInside,
    /// At the most these, as the bits of `/proc/PID/status`; others than root none.
    Only(u64),
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
    /// Whom it becomes inside; none: who it is there already.
    pub(crate) ids: Option<Ids>,
    /// Its rights.
    pub(crate) rights: Rights,
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
            ids,
            rights,
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
            prepare(directory.as_ref(), terminal, &kept)?;
            take(ids.as_ref(), rights)?;
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

fn prepare(directory: Option<&CString>, terminal: bool, keep: &[i32]) -> nix::Result<()> {
    let _ = setsid();
    if terminal {
        // SAFETY: input is a terminal.
        Errno::result(unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) })?;
    }
    if let Some(directory) = directory {
        chdir(directory.as_c_str())?;
    }
    // What the node itself was given by whoever started it is nothing for containers.
    // SAFETY: numbers only; the descriptors are closed by the exec.
    unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    for fd in keep {
        // SAFETY: a descriptor of ours.
        Errno::result(unsafe { libc::fcntl(*fd, libc::F_SETFD, 0) })?;
    }
    Ok(())
}

/// Becomes the user, and gives up rights.
fn take(ids: Option<&Ids>, rights: Rights) -> nix::Result<()> {
    if let Rights::Only(kept) = rights {
        forbid_others(kept)?;
    }
    if let Some(ids) = ids {
        own_streams(ids.uid);
        // SAFETY: numbers and a list with its length. The system calls, as libc's functions would tell threads that are not here.
        unsafe {
            Errno::result(libc::syscall(
                libc::SYS_setgroups,
                ids.groups.len(),
                ids.groups.as_ptr(),
            ))?;
            Errno::result(libc::syscall(libc::SYS_setresgid, ids.gid, ids.gid, ids.gid))?;
            Errno::result(libc::syscall(libc::SYS_setresuid, ids.uid, ids.uid, ids.uid))?;
        }
    }
    if let Rights::Only(kept) = rights {
        let kept = if ids.is_some_and(|ids| ids.uid != 0) { 0 } else { kept };
        keep_only(kept)?;
    }
    Ok(())
}

/// Pipes and terminals that it was given become the user's, so that it can open them again as `/dev/stdout`.
fn own_streams(uid: u32) {
    for fd in 0..=2 {
        // SAFETY: fills the structure, which is nothing but numbers.
        let mut stat: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: as above; then numbers only.
        unsafe {
            let pipe = libc::fstat(fd, &raw mut stat) == 0 && stat.st_mode & libc::S_IFMT == libc::S_IFIFO;
            if pipe || libc::isatty(fd) == 1 {
                libc::fchown(fd, uid, u32::MAX);
            }
        }
    }
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

/// Nothing that is run from here on gets other rights than these.
fn forbid_others(kept: u64) -> nix::Result<()> {
    // SAFETY: numbers.
    unsafe {
        for capability in (0..64).filter(|bit| kept >> bit & 1 == 0) {
            if libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) < 0 {
                break; // past the last one
            }
        }
        Errno::result(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)).map(drop)
    }
}

fn keep_only(kept: u64) -> nix::Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    let header = CapHeader {
        version: VERSION_3,
        pid: 0,
    };
    let half = |bits: u64| {
        let bits = u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(0);
        CapData {
            effective: bits,
            permitted: bits,
            inheritable: 0,
        }
    };
    let data = [half(kept), half(kept >> 32)];
    // SAFETY: two structures as capset(2) describes them.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) }).map(drop)
}
