//! Runs one more program in a container that runs: for `exec`, probes and hooks.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command, Stdio};

use super::run::Live;
use crate::holder::{Namespace, Process, Rights, Start, number};

/// What the program gets as input, output and errors.
pub(crate) struct Given {
    pub(crate) stdin: Stdio,
    pub(crate) stdout: Stdio,
    pub(crate) stderr: Stdio,
    /// Its input is a terminal.
    pub(crate) terminal: bool,
}

/// Starts it with the container's user, environment, working directory and rights.
pub(crate) async fn enter(live: &Live, words: &[String], given: Given) -> io::Result<(Process, Child)> {
    let Some((program, rest)) = words.split_first() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no command specified"));
    };
    let mut command = Command::new(program);
    command.args(rest).env_clear().envs(&live.env);
    if given.terminal {
        command.env("TERM", "xterm");
    }
    command.stdin(given.stdin).stdout(given.stdout).stderr(given.stderr);
    let Some(init) = live.init.clone() else {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the container has ended"));
    };
    let start = Start {
        command,
        namespaces: vec![Namespace::Of(init.clone())],
        directory: CString::new(live.directory.as_os_str().as_bytes()).ok(),
        terminal: given.terminal,
        rights: Rights::Only(rights(&init)),
        ids: live.ids.clone(),
        keep: Vec::new(),
    };
    tokio::task::spawn_blocking(move || start.spawn())
        .await
        .map_err(io::Error::other)?
}

/// The rights of the container's first process.
fn rights(init: &OwnedFd) -> u64 {
    let status = number(init).and_then(|pid| fs::read_to_string(format!("/proc/{pid}/status")).ok());
    status
        .as_deref()
        .and_then(|text| text.lines().find_map(|line| line.strip_prefix("CapPrm:")))
        .and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .unwrap_or(0)
}
