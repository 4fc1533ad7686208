//! What runs in the holder, and how it is talked to: one datagram asks, one answers, descriptors come along (`SCM_RIGHTS`).
//!
//! The holder is forked, not executed: then it works from any program (tests too) without a program of its own. So after the fork
//! it only makes system calls.
#![allow(unsafe_code)] // fork, and raw descriptors that came over the socket

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{SigHandler, SigSet, Signal, kill, signal};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, socketpair,
};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, setsid};

use super::users::{Maps, Users};

/// What can be asked for. Every answer is a descriptor or an errno.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// A socket of that family and kind, in the network namespace sent along or else the holder's.
    Socket(i32, i32),
    /// A new network namespace.
    NewNet,
    /// The process of that number.
    Process(i32),
    /// A new user namespace in which everybody has their number. It belongs to that user, who may so build containers in it.
    Users(u32),
}

const LENGTH: usize = 12;

impl Request {
    fn to_bytes(self) -> [u8; LENGTH] {
        let words = match self {
            Self::Socket(family, kind) => [1, family, kind],
            Self::NewNet => [2, 0, 0],
            Self::Process(pid) => [3, pid, 0],
            Self::Users(owner) => [4, owner.cast_signed(), 0],
        };
        let mut bytes = [0; LENGTH];
        for (chunk, word) in bytes.chunks_exact_mut(4).zip(words) {
            chunk.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(i32::from_ne_bytes(bytes.get(at * 4..at * 4 + 4)?.try_into().ok()?));
        match (word(0)?, word(1)?, word(2)?) {
            (1, family, kind) => Some(Self::Socket(family, kind)),
            (2, ..) => Some(Self::NewNet),
            (3, pid, _) => Some(Self::Process(pid)),
            (4, owner, _) => Some(Self::Users(owner.cast_unsigned())),
            _ => None,
        }
    }
}

pub(super) fn send_request(socket: BorrowedFd, request: Request, with: Option<BorrowedFd>) -> io::Result<()> {
    send(socket.as_raw_fd(), &request.to_bytes(), with.map(|fd| fd.as_raw_fd()))?;
    Ok(())
}

pub(super) fn receive_reply(socket: BorrowedFd) -> io::Result<OwnedFd> {
    let mut bytes = [0; LENGTH];
    let (read, fd) = receive(socket.as_raw_fd(), &mut bytes)?;
    if read == 0 {
        return Err(io::Error::new(
            io::ErrorKind::BrokenPipe,
            "the holder of the sandbox's namespaces has ended",
        ));
    }
    let errno = bytes
        .get(..4)
        .and_then(|b| b.try_into().ok())
        .map_or(0, i32::from_ne_bytes);
    match fd {
        Some(fd) => Ok(fd),
        None => Err(io::Error::from_raw_os_error(errno)),
    }
}

fn send(socket: RawFd, bytes: &[u8], fd: Option<RawFd>) -> nix::Result<()> {
    let fds = fd.map(|fd| [fd]);
    let rights = fds.as_ref().map(|fds| [ControlMessage::ScmRights(fds)]);
    let control = rights.as_ref().map_or(&[][..], |r| &r[..]);
    sendmsg::<()>(socket, &[IoSlice::new(bytes)], control, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

fn receive(socket: RawFd, bytes: &mut [u8]) -> nix::Result<(usize, Option<OwnedFd>)> {
    let mut space = nix::cmsg_space!([RawFd; 1]);
    let mut parts = [IoSliceMut::new(bytes)];
    let message = loop {
        match recvmsg::<()>(socket, &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC) {
            Err(Errno::EINTR) => {}
            other => break other?,
        }
    };
    let mut found = None;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control {
            for fd in fds {
                // SAFETY: the kernel has just made this descriptor for us; nobody else knows it.
                found = Some(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
    }
    Ok((message.bytes, found))
}

/// Says that the namespaces are made, and that the user namespace lacks its maps.
const UNMAPPED: i32 = i32::MAX;

/// Forks the holder. It answers over `theirs` with its process id as the caller sees it, then again when it is ready.
pub(super) fn start(ours: &OwnedFd, theirs: OwnedFd) -> io::Result<Users> {
    let maps = Maps::here()?;
    // SAFETY: the child makes system calls only, and never returns.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => {
            drop(theirs);
            let users = give_maps(ours, child, &maps);
            if users.is_err() {
                let _ = kill(child, Signal::SIGKILL);
            }
            waitpid(child, None)?; // it ends as soon as it has made the holder
            users
        }
        ForkResult::Child => {
            let code = match become_holder(theirs.as_raw_fd(), &maps) {
                Ok(never) => match never {},
                Err(errno) => {
                    let _ = send(3, &(-(errno as i32)).to_ne_bytes(), None);
                    1
                }
            };
            // SAFETY: ends this process and nothing else.
            unsafe { libc::_exit(code) }
        }
    }
}

/// Gives the child its users as soon as it has a namespace for them. (A process can't map others than itself in a namespace of its own.)
fn give_maps(ours: &OwnedFd, child: Pid, maps: &Maps) -> io::Result<Users> {
    let mut word = [0; 4];
    let (read, _) = receive(ours.as_raw_fd(), &mut word)?;
    match i32::from_ne_bytes(word) {
        UNMAPPED if read == word.len() => {}
        errno if read == word.len() => return Err(io::Error::from_raw_os_error(-errno)),
        _ => return Err(io::Error::other("the holder of the namespaces ended at once")),
    }
    let users = maps.give(child.as_raw())?;
    send(ours.as_raw_fd(), &UNMAPPED.to_ne_bytes(), None)?;
    Ok(users)
}

enum Never {}

fn become_holder(socket: RawFd, maps: &Maps) -> nix::Result<Never> {
    // Nothing of the node stays open here but the socket, which gets number 3.
    // SAFETY: system calls on numbers; this process owns all its descriptors.
    unsafe {
        if socket == 3 {
            libc::fcntl(3, libc::F_SETFD, 0);
        } else if libc::dup2(socket, 3) < 0 {
            return Err(Errno::last());
        }
        libc::syscall(libc::SYS_close_range, 4_u32, u32::MAX, 0_u32);
    }
    let _ = setsid(); // Ctrl-C is for the program that the user started; it stops pods in order
    for number in Signal::iterator() {
        // SAFETY: back to what the kernel does.
        let _ = unsafe { signal(number, SigHandler::SigDfl) };
    }
    let _ = SigSet::empty().thread_set_mask();

    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWPID)?;
    send(3, &UNMAPPED.to_ne_bytes(), None)?;
    receive(3, &mut [0; 4])?;

    let pid = sibling()?;
    if pid > 0 {
        send(3, &pid.to_ne_bytes(), None)?;
        // SAFETY: ends this process and nothing else.
        unsafe { libc::_exit(0) }
    }
    own_proc()?;
    // Orphans of the pid namespace become the holder's children; it need not wait for them.
    // SAFETY: no handler is called.
    let _ = unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) };
    for silent in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: as above.
        let _ = unsafe { signal(silent, SigHandler::SigIgn) };
    }
    send(3, &0_i32.to_ne_bytes(), None)?;
    serve(maps)
}

/// Gives the holder, and what starts in it, a `/proc` with the numbers of its own pid namespace: bubblewrap looks up its child there.
fn own_proc() -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let nothing = None::<&str>;
    // What the machine mounts later is seen; what is mounted here is not seen by the machine.
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_SLAVE, nothing)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, nothing)
}

/// Makes a process which is the caller's sibling: the child of the caller's parent, who can so wait for it. (A fork after entering a pid
/// namespace is the only way in, and a process that only waits for its child would have to keep a copy of the whole node.)
/// Returns 0 in the new process.
pub(super) fn sibling() -> nix::Result<i32> {
    let flags = libc::c_long::from(libc::CLONE_PARENT | libc::SIGCHLD);
    // SAFETY: as fork: both go on with memory of their own; the caller makes only system calls from here on.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    Errno::result(pid).map(|pid| i32::try_from(pid).unwrap_or(i32::MAX))
}

/// A short text, made without allocating.
struct Line([u8; 64], usize);

impl Line {
    fn new(text: std::fmt::Arguments) -> Self {
        use std::io::Write;
        let mut line = Self([0; 64], 0);
        let mut rest = &mut line.0[..];
        let _ = rest.write_fmt(text);
        let left = rest.len();
        line.1 = 64 - left;
        line
    }

    /// The text as a path, which it ends with a zero.
    fn path(&self) -> nix::Result<&std::ffi::CStr> {
        let bytes = self.0.get(..self.1).unwrap_or_default();
        std::ffi::CStr::from_bytes_with_nul(bytes).map_err(|_| Errno::ENAMETOOLONG)
    }
}

fn write(path: &std::ffi::CStr, bytes: &[u8]) -> nix::Result<()> {
    // SAFETY: a terminated path and a buffer with its own length.
    unsafe {
        let fd = Errno::result(libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC))?;
        let written = Errno::result(libc::write(fd, bytes.as_ptr().cast(), bytes.len())).map(drop);
        libc::close(fd);
        written
    }
}

/// Answers until the node is gone.
fn serve(maps: &Maps) -> nix::Result<Never> {
    let home = open_net()?;
    let mut bytes = [0; LENGTH];
    loop {
        let (read, with) = receive(3, &mut bytes)?;
        if read == 0 {
            // SAFETY: ends this process; the kernel ends all below it.
            unsafe { libc::_exit(0) }
        }
        let made = match bytes.get(..read).and_then(Request::from_bytes) {
            Some(request) => answer(request, with.as_ref(), &home, maps),
            None => Err(Errno::EINVAL),
        };
        match made {
            Ok(fd) => send(3, &0_i32.to_ne_bytes(), Some(fd.as_raw_fd()))?,
            Err(errno) => send(3, &(errno as i32).to_ne_bytes(), None)?,
        }
    }
}

fn answer(request: Request, with: Option<&OwnedFd>, home: &OwnedFd, maps: &Maps) -> nix::Result<OwnedFd> {
    match request {
        Request::Socket(family, kind) => {
            if let Some(net) = with {
                setns(net, CloneFlags::CLONE_NEWNET)?;
            }
            // SAFETY: makes a descriptor.
            let made = own(unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, 0) });
            if with.is_some() {
                setns(home, CloneFlags::CLONE_NEWNET)?;
            }
            made
        }
        Request::NewNet => {
            unshare(CloneFlags::CLONE_NEWNET)?;
            let made = open_net();
            setns(home, CloneFlags::CLONE_NEWNET)?;
            made
        }
        // SAFETY: makes a descriptor.
        Request::Process(pid) => {
            let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
            own(libc::c_int::try_from(fd).unwrap_or(-1))
        }
        Request::Users(owner) => new_users(owner, maps),
    }
}

/// A child makes the namespace as its owner; the holder, who alone may, writes its maps and takes hold of it.
fn new_users(owner: u32, maps: &Maps) -> nix::Result<OwnedFd> {
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    // SAFETY: the child makes system calls only, and never returns.
    let child = match unsafe { fork() }? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            drop(ours);
            let said = own_users(owner).err().map_or(0, |errno| errno as i32);
            let _ = send(theirs.as_raw_fd(), &said.to_ne_bytes(), None);
            let _ = receive(theirs.as_raw_fd(), &mut [0; 4]); // until the holder has it
            // SAFETY: ends this process and nothing else.
            unsafe { libc::_exit(0) }
        }
    };
    drop(theirs);
    let mut said = [0; 4];
    let (read, _) = receive(ours.as_raw_fd(), &mut said)?;
    match i32::from_ne_bytes(said) {
        0 if read == said.len() => {}
        errno => return Err(Errno::from_raw(errno)),
    }
    let pid = child.as_raw();
    write(
        Line::new(format_args!("/proc/{pid}/uid_map\0")).path()?,
        maps.uids.as_bytes(),
    )?;
    write(
        Line::new(format_args!("/proc/{pid}/gid_map\0")).path()?,
        maps.gids.as_bytes(),
    )?;
    let path = Line::new(format_args!("/proc/{pid}/ns/user\0"));
    // SAFETY: a terminated path.
    own(unsafe { libc::open(path.path()?.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) })
}

/// A new user namespace of that owner, made with the holder's rights: machines forbid it to users who have none.
fn own_users(owner: u32) -> nix::Result<()> {
    const NO_SETUID_FIXUP: libc::c_ulong = 1 << 2; // keep the rights when the number changes
    // SAFETY: numbers only. The system call, as libc's function would tell threads that this process does not have.
    unsafe {
        Errno::result(libc::prctl(libc::PR_SET_SECUREBITS, NO_SETUID_FIXUP, 0, 0, 0))?;
        Errno::result(libc::syscall(libc::SYS_setresuid, u32::MAX, owner, u32::MAX))?;
    }
    unshare(CloneFlags::CLONE_NEWUSER)?;
    // Who changes his number hides from others; the holder must be able to look.
    // SAFETY: numbers only.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) }).map(drop)
}

fn open_net() -> nix::Result<OwnedFd> {
    // SAFETY: a terminated path.
    own(unsafe { libc::open(c"/proc/self/ns/net".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) })
}

fn own(fd: libc::c_int) -> nix::Result<OwnedFd> {
    // SAFETY: the kernel has just made it.
    Errno::result(fd).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Waits for a child of ours that has ended or is about to.
pub(super) fn wait_for(pid: i32) {
    let _ = waitpid(Pid::from_raw(pid), None);
}

#[cfg(test)]
mod tests {
    use super::{Line, Request};

    #[test]
    fn a_request_survives_the_way() {
        for request in [
            Request::Socket(2, 1),
            Request::NewNet,
            Request::Process(4711),
            Request::Users(u32::MAX - 1),
        ] {
            assert_eq!(Request::from_bytes(&request.to_bytes()), Some(request));
        }
        assert_eq!(Request::from_bytes(&[9; 12]), None);
        assert_eq!(Request::from_bytes(&[1, 0]), None);
    }

    #[test]
    fn a_line_is_a_path_when_it_ends_and_is_short() {
        let path = Line::new(format_args!("/proc/{}/uid_map\0", i32::MAX));
        assert_eq!(path.path().unwrap(), c"/proc/2147483647/uid_map");
        assert!(Line::new(format_args!("/proc")).path().is_err());
        assert!(Line::new(format_args!("{:100}\0", 1)).path().is_err());
    }
}
