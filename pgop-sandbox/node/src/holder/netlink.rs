//! Route netlink over a socket that was made in another network namespace.
#![allow(unsafe_code)] // netlink-sys takes a descriptor only in its raw form

use std::io;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};

use netlink_sys::{AsyncSocket, SocketAddr, TokioSocket};
use pgop_sandbox_tasks::spawn;
use rtnetlink::Handle;

/// A handle that configures the network namespace of the socket. Its task ends with it.
pub(crate) fn routing(socket: OwnedFd) -> io::Result<Handle> {
    // SAFETY: the descriptor is ours and given away.
    let mut socket = unsafe { TokioSocket::from_raw_fd(socket.into_raw_fd()) };
    socket.socket_mut().bind(&SocketAddr::new(0, 0))?;
    let (connection, handle, _) = rtnetlink::from_socket(socket);
    spawn("network configuration", connection);
    Ok(handle)
}
