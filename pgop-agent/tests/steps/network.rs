//! A network of a test's own: one side with the test and a primary, the other with a replica. Port 5432 is each one's own, and names can fail.

use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::gettid;

/// Where the primary is.
pub const HERE: &str = "10.9.0.1";
/// Where the replica is.
pub const THERE: &str = "10.9.0.2";
/// The primary, for whoever asks the test's name server.
pub const NAME: &str = "primary.test";

/// Lasts as long as this. What this thread starts is in it.
pub struct Network {
    there: PathBuf,
    end: Sender<()>,
    holder: Option<JoinHandle<()>>,
}

impl Network {
    /// Leaves the machine's network, with this thread and what it starts. Nothing where that may not be.
    pub fn enter() -> Option<Self> {
        if unshare(CloneFlags::CLONE_NEWNET).is_err() {
            eprintln!("skipped: it takes root to have a network of one's own");
            return None;
        }
        let ((end, ended), (teller, told)) = (channel::<()>(), channel());
        let holder = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            teller.send(gettid()).unwrap();
            let _ = ended.recv();
        });
        let thread = told.recv().unwrap();
        let there = PathBuf::from(format!("/proc/{}/task/{thread}/ns/net", std::process::id()));
        let at = format!("--net={}", there.display());
        ip(&[], "link set lo up");
        ip(
            &[],
            &format!("link add here0 type veth peer name there0 netns {thread}"),
        );
        ip(&[], &format!("addr add {HERE}/24 dev here0"));
        ip(&[], "link set here0 up");
        ip(&["nsenter", &at], "link set lo up");
        ip(&["nsenter", &at], &format!("addr add {THERE}/24 dev there0"));
        ip(&["nsenter", &at], "link set there0 up");
        Some(Self {
            there,
            end,
            holder: Some(holder),
        })
    }

    /// The replica's side.
    pub fn there(&self) -> PathBuf {
        self.there.clone()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.end.send(());
        if let Some(holder) = self.holder.take() {
            let _ = holder.join();
        }
    }
}

fn ip(inside: &[&str], arguments: &str) {
    let all: Vec<&str> = inside
        .iter()
        .copied()
        .chain(["ip"])
        .chain(arguments.split(' '))
        .collect();
    let done = Command::new(all[0]).args(&all[1..]).output().unwrap();
    let words = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "ip {arguments}: {words}");
}

/// Tells where the primary is, until it is dropped.
pub struct NameServer {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    pub fn start() -> Self {
        let socket = UdpSocket::bind((HERE, 53)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let ends = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&ends);
        let thread = thread::spawn(move || {
            let mut question = [0; 512];
            while !asked.load(Ordering::Relaxed) {
                if let Ok((length, peer)) = socket.recv_from(&mut question) {
                    let _ = socket.send_to(&answer(&question[..length]), peer);
                }
            }
        });
        Self {
            ends,
            thread: Some(thread),
        }
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// <https://www.rfc-editor.org/rfc/rfc1035#section-4.1>: one question, and one answer of type A, or none.
fn answer(question: &[u8]) -> Vec<u8> {
    let name: Vec<u8> = NAME
        .split('.')
        .flat_map(|label| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat())
        .chain([0])
        .collect();
    let end = 12 + question[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
    let is_known = question[12..end - 4].eq_ignore_ascii_case(&name);
    let is_address = question[end - 4..end] == [0, 1, 0, 1];
    let answers = u8::from(is_known && is_address);
    let code = if is_known { 0 } else { 3 };
    let mut all = question[..2].to_vec();
    all.extend([0x81, 0x80 | code, 0, 1, 0, answers, 0, 0, 0, 0]);
    all.extend(&question[12..end]);
    if answers == 1 {
        all.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4]);
        all.extend(HERE.split('.').map(|part| part.parse::<u8>().unwrap()));
    }
    all
}
