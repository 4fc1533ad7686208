//! The holder: one child process in namespaces of its own (user, network, pid, mounts), for which the caller needs no rights.
//!
//! It is the first process of its pid namespace and everything the node starts lives below it. When the node goes, in whatever way,
//! the holder reads the end of its socket and ends; the kernel then kills all that is in its pid namespace. So nothing can be left.
//! It hands out what can only be made inside: sockets, network namespaces, descriptors of processes.

mod child;
mod enter;
mod netlink;
mod process;
mod terminal;
mod users;

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, socketpair};

pub(crate) use enter::{Ids, Namespace, Rights, Start};
pub(crate) use netlink::routing;
pub(crate) use process::{Process, number, pollable, signal};
pub(crate) use terminal::{open_terminal, set_size};
pub(crate) use users::Users;

use child::{Request, receive_reply, send_request};

/// The node's side of the holder.
pub(crate) struct Holder {
    socket: Mutex<OwnedFd>,
    user: Arc<OwnedFd>,
    pid: Arc<OwnedFd>,
    mounts: Arc<OwnedFd>,
    net: Arc<OwnedFd>,
    users: Users,
    /// User namespaces of containers, by their owner.
    owned: Mutex<HashMap<u32, Arc<OwnedFd>>>,
    process: Process,
}

impl Holder {
    /// Starts the holder. Must be called inside a tokio runtime.
    pub(crate) fn start() -> io::Result<Self> {
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        let users = child::start(&ours, theirs)?;
        let pid = wait_for_start(&ours)?;
        let process = Process::new(pid, process::open(pid)?)?;
        let namespace =
            |name: &str| std::fs::File::open(format!("/proc/{pid}/ns/{name}")).map(|f| Arc::new(OwnedFd::from(f)));
        Ok(Self {
            socket: Mutex::new(ours),
            user: namespace("user")?,
            pid: namespace("pid")?,
            mounts: namespace("mnt")?,
            net: namespace("net")?,
            users,
            owned: Mutex::default(),
            process,
        })
    }

    /// The namespaces a pod's process starts in: the holder's, with the network of the pod.
    pub(crate) fn namespaces(&self, net: &Arc<OwnedFd>) -> Vec<Namespace> {
        vec![
            Namespace::User(self.user.clone()),
            Namespace::Pid(self.pid.clone()),
            Namespace::Net(net.clone()),
            Namespace::Mounts(self.mounts.clone()),
        ]
    }

    /// A socket of the holder's network.
    pub(crate) fn socket(&self, family: AddressFamily, kind: SockType) -> io::Result<OwnedFd> {
        self.ask(Request::Socket(family as i32, kind as i32), None)
    }

    /// A socket of another network namespace.
    pub(crate) fn socket_in(&self, net: &OwnedFd, family: AddressFamily, kind: SockType) -> io::Result<OwnedFd> {
        self.ask(Request::Socket(family as i32, kind as i32), Some(net.as_fd()))
    }

    /// The holder's own network.
    pub(crate) fn net(&self) -> &Arc<OwnedFd> {
        &self.net
    }

    /// A new, empty network namespace. It lives as long as the descriptor, or a process in it.
    pub(crate) fn new_net(&self) -> io::Result<OwnedFd> {
        self.ask(Request::NewNet, None)
    }

    /// A descriptor of the process which has that number in the holder's pid namespace.
    pub(crate) fn process(&self, pid: i32) -> io::Result<OwnedFd> {
        self.ask(Request::Process(pid), None)
    }

    /// Which users there are.
    pub(crate) fn users(&self) -> &Users {
        &self.users
    }

    /// The user namespace for containers of that user, where there are [real ones](Users::Real).
    pub(crate) fn users_of(&self, owner: u32) -> io::Result<Arc<OwnedFd>> {
        let mut known = self.owned.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(&owner) {
            return Ok(known.clone());
        }
        let made = Arc::new(self.ask(Request::Users(owner), None)?);
        known.insert(owner, made.clone());
        Ok(made)
    }

    fn ask(&self, request: Request, net: Option<BorrowedFd>) -> io::Result<OwnedFd> {
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        send_request(socket.as_fd(), request, net)?;
        receive_reply(socket.as_fd())
    }

    /// Its number.
    pub(crate) fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// Ends it, and with it every process below it. Returns when all are gone, which takes that others wait for those they have started.
    pub(crate) async fn end(&self) {
        let _ = self.process.signal(nix::libc::SIGKILL);
        let _ = self.process.wait().await;
    }
}

/// The process id of the holder as we see it, once its namespaces are complete.
///
/// Its maker tells the number, it says itself (with a zero) that it is ready; either may come first. A number below zero is the errno of
/// what failed.
fn wait_for_start(socket: &OwnedFd) -> io::Result<i32> {
    let (mut pid, mut ready) = (None, false);
    loop {
        if let (Some(pid), true) = (pid, ready) {
            return Ok(pid);
        }
        let mut answer = [0_u8; 4];
        if recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())? != answer.len() {
            return Err(io::Error::other("the holder of the namespaces ended at once"));
        }
        match i32::from_ne_bytes(answer) {
            0 => ready = true,
            number @ 1.. => pid = Some(number),
            errno => return Err(io::Error::from_raw_os_error(-errno)),
        }
    }
}

#[cfg(test)]
mod tests;
