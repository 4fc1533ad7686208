//! Terminals of containers.
#![allow(unsafe_code)] // calls on terminals that nix has no safe form for

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;
use nix::libc;

use super::process::number;

/// A new terminal of the container with that first process: our end and the program's.
pub(crate) fn open_terminal(init: &OwnedFd) -> io::Result<(OwnedFd, OwnedFd)> {
    let pid = number(init).ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?;
    let flags = libc::O_NOCTTY | libc::O_CLOEXEC;
    let ours = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags)
        .open(format!("/proc/{pid}/root/dev/pts/ptmx"))?;
    let unlocked: libc::c_int = 0;
    // SAFETY: our terminal; the first call reads one int, the second makes a descriptor.
    unsafe {
        Errno::result(libc::ioctl(ours.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked))?;
        let theirs = Errno::result(libc::ioctl(ours.as_raw_fd(), libc::TIOCGPTPEER, libc::O_RDWR | flags))?;
        Ok((ours.into(), OwnedFd::from_raw_fd(theirs)))
    }
}

/// Sets the size of a terminal; a failure is of no consequence.
pub(crate) fn set_size(terminal: i32, columns: u16, rows: u16) {
    let size = libc::winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: reads the structure.
    unsafe {
        libc::ioctl(terminal, libc::TIOCSWINSZ, &raw const size);
    }
}
