//! Follows an agent from system call to system call, and kills it just before one of them: no hook in the product, and no luck.
//!
//! A *step* is a call that changes something which outlives the agent: a file, a name, a lock, a program that is started, what a server is asked.
//! A call is stopped at its entry, so what an agent that is killed there leaves is what the steps before have done.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use nix::libc::{self, user_regs_struct};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// One of the steps of a run: the so-manieth of this name, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    pub step: String,
    pub nth: usize,
}

/// What became of a run.
#[derive(Debug, Default)]
pub struct Run {
    /// Names of all steps, in order.
    pub steps: Vec<String>,
    /// It was killed where it was to be.
    pub killed: bool,
}

/// Follows a run in the background, until it has ended.
pub struct Tracer(JoinHandle<Run>);

/// Directories that a step's name begins with in place of their path.
pub type Roots = Vec<(PathBuf, &'static str)>;

impl Tracer {
    /// Begins to follow a process with all its threads. Its children are left alone.
    pub fn follow(process: i32, roots: Roots, kill_at: Option<Point>) -> Self {
        let (teller, told) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            // The kernel wants all of it from one thread.
            seize(process);
            teller.send(()).unwrap();
            let mut follower = Follower {
                process: Pid::from_raw(process),
                roots,
                kill_at,
                starts: HashSet::new(),
                is_agent: is_agent(process),
                run: Run::default(),
            };
            follower.all();
            follower.run
        });
        told.recv().unwrap();
        Self(thread)
    }

    /// Whether the process has ended.
    pub fn is_over(&self) -> bool {
        self.0.is_finished()
    }

    /// Waits for the end of the process.
    pub fn end(self) -> Run {
        self.0.join().unwrap()
    }
}

fn seize(process: i32) {
    let options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_TRACEEXEC;
    for thread in fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten() {
        let thread = Pid::from_raw(thread.file_name().to_str().unwrap().parse().unwrap());
        // A thread may end meanwhile.
        if ptrace::seize(thread, options).is_ok() {
            let _ = ptrace::interrupt(thread);
        }
    }
}

fn is_agent(process: i32) -> bool {
    fs::read_link(format!("/proc/{process}/exe")).is_ok_and(|program| program.ends_with("pgop-agent"))
}

struct Follower {
    process: Pid,
    roots: Roots,
    kill_at: Option<Point>,
    /// Threads that start a program: the end of that is a step too.
    starts: HashSet<Pid>,
    /// It is the agent by now, and not what was to become it.
    is_agent: bool,
    run: Run,
}

impl Follower {
    fn all(&mut self) {
        // Children of this thread are only those that it traces.
        let any = Pid::from_raw(-1);
        while let Ok(status) = waitpid(any, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
            let (thread, signal) = match status {
                WaitStatus::PtraceSyscall(thread) => {
                    self.call(thread);
                    (thread, None)
                }
                WaitStatus::Stopped(thread, signal) => (thread, Some(signal)),
                WaitStatus::PtraceEvent(thread, ..) => {
                    self.is_agent = is_agent(self.process.as_raw());
                    (thread, None)
                }
                _ => continue,
            };
            // One that was killed meanwhile is gone.
            let _ = ptrace::syscall(thread, signal);
        }
    }

    /// At the entry of a call, or at its end.
    fn call(&mut self, thread: Pid) {
        let Ok(info) = ptrace::syscall_info(thread) else { return };
        if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
            if self.starts.remove(&thread) {
                self.step("a program was started".to_owned());
            }
            return;
        }
        let Ok(registers) = ptrace::getregs(thread) else { return };
        let call = Call {
            thread,
            registers,
            roots: &self.roots,
        };
        let name = call.name();
        if call.is_fork() {
            self.starts.insert(thread);
        }
        if let Some(name) = name {
            self.step(name);
        }
    }

    fn step(&mut self, name: String) {
        if self.run.killed || !self.is_agent {
            return;
        }
        self.run.steps.push(name);
        let name = &self.run.steps[self.run.steps.len() - 1];
        if let Some(at) = &self.kill_at
            && *name == at.step
            && self.run.steps.iter().filter(|step| *step == name).count() == at.nth
        {
            // It is stopped: nothing of the call is done.
            kill(self.process, Signal::SIGKILL).unwrap();
            self.run.killed = true;
        }
    }
}

/// A call at its entry.
struct Call<'a> {
    thread: Pid,
    registers: user_regs_struct,
    roots: &'a Roots,
}

impl Call<'_> {
    fn number(&self) -> i64 {
        self.registers.orig_rax.cast_signed()
    }

    fn argument(&self, at: usize) -> u64 {
        let r = &self.registers;
        [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9][at]
    }

    /// A process, not a thread.
    fn is_fork(&self) -> bool {
        let is_thread = |flags: u64| flags & u64::from(libc::CLONE_THREAD.cast_unsigned()) != 0;
        match self.number() {
            libc::SYS_fork | libc::SYS_vfork => true,
            libc::SYS_clone => !is_thread(self.argument(0)),
            libc::SYS_clone3 => {
                let flags = self.memory(self.argument(0), 8);
                flags
                    .try_into()
                    .is_ok_and(|flags| !is_thread(u64::from_ne_bytes(flags)))
            }
            _ => false,
        }
    }

    /// Of the step that it is, if it is one.
    fn name(&self) -> Option<String> {
        if self.is_fork() {
            return Some("start a program".to_owned());
        }
        Some(match self.number() {
            libc::SYS_open => self.open(None, 0)?,
            libc::SYS_openat => self.open(Some(0), 1)?,
            libc::SYS_rename => format!("rename {} to {}", self.path(None, 0), self.path(None, 1)),
            libc::SYS_renameat | libc::SYS_renameat2 => {
                format!("rename {} to {}", self.path(Some(0), 1), self.path(Some(2), 3))
            }
            libc::SYS_unlink | libc::SYS_rmdir => format!("remove {}", self.path(None, 0)),
            libc::SYS_unlinkat => format!("remove {}", self.path(Some(0), 1)),
            libc::SYS_mkdir => format!("make {}", self.path(None, 0)),
            libc::SYS_mkdirat => format!("make {}", self.path(Some(0), 1)),
            libc::SYS_chmod => format!("chmod {}", self.path(None, 0)),
            libc::SYS_fchmodat => format!("chmod {}", self.path(Some(0), 1)),
            libc::SYS_fchmod => format!("chmod {}", self.file(0)?),
            libc::SYS_fsync | libc::SYS_fdatasync | libc::SYS_syncfs => format!("sync {}", self.file(0)?),
            libc::SYS_ftruncate => format!("truncate {}", self.file(0)?),
            libc::SYS_flock => format!("lock {}", self.file(0)?),
            libc::SYS_copy_file_range | libc::SYS_sendfile => {
                let into = if self.number() == libc::SYS_sendfile { 0 } else { 2 };
                format!("copy into {}", self.file(into)?)
            }
            libc::SYS_bind => "bind a socket".to_owned(),
            libc::SYS_kill | libc::SYS_pidfd_send_signal => format!("signal {}", self.argument(1)),
            libc::SYS_write | libc::SYS_pwrite64 => self.write()?,
            libc::SYS_sendto if self.argument(4) == 0 => self.send(self.argument(1), self.argument(2))?,
            libc::SYS_exit_group => "exit".to_owned(),
            _ => return None,
        })
    }

    fn open(&self, directory: Option<usize>, at: usize) -> Option<String> {
        let flags = self.argument(at + 1);
        let changes = (libc::O_CREAT | libc::O_TRUNC).cast_unsigned();
        (flags & u64::from(changes) != 0).then(|| format!("open {}", self.path(directory, at)))
    }

    fn write(&self) -> Option<String> {
        // Standard output and the log.
        if matches!(self.argument(0), 1 | 2) {
            return None;
        }
        match self.link(self.argument(0)) {
            Some(link) if link.starts_with("socket:") => self.send(self.argument(1), self.argument(2)),
            _ => Some(format!("write {}", self.file(0)?)),
        }
    }

    /// What a server is asked. Answers to probes are no steps, nor is what wakes a thread.
    fn send(&self, address: u64, length: u64) -> Option<String> {
        // To look changes nothing.
        const CHANGES: [&str; 6] = ["alter ", "create ", "grant ", "pg_create_", "pg_drop_", "_replica_"];
        let bytes = self.memory(address, usize::try_from(length.min(256)).ok()?);
        if length < 5 || bytes.starts_with(b"HTTP/") || bytes.starts_with(b"X\0\0\0\x04") {
            return None;
        }
        let is_text = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ' || *byte == b'\n';
        let longest = bytes.split(|byte| !is_text(byte)).max_by_key(|part| part.len())?;
        let text = std::str::from_utf8(longest).ok()?;
        let begin = CHANGES.iter().filter_map(|change| text.find(change)).min()?;
        let words: Vec<&str> = text[begin..].split_whitespace().take(3).collect();
        let words = words.join(" ");
        Some(format!("ask `{}`", words.chars().take(40).collect::<String>()))
    }

    fn memory(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let read = File::open(format!("/proc/{}/mem", self.thread))
            .and_then(|memory| memory.read_at(&mut bytes, address))
            .unwrap_or(0);
        bytes.truncate(read);
        bytes
    }

    fn text(&self, address: u64) -> String {
        // Up to the end of its page; a path may go on behind it.
        let mut bytes = Vec::new();
        while bytes.len() < 4096 {
            let next = address + bytes.len() as u64;
            let part = self.memory(next, usize::try_from(4096 - next % 4096).unwrap());
            let end = part.iter().position(|byte| *byte == 0);
            bytes.extend_from_slice(&part[..end.unwrap_or(part.len())]);
            if end.is_some() || part.is_empty() {
                break;
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn link(&self, file: u64) -> Option<String> {
        let link = fs::read_link(format!("/proc/{}/fd/{}", self.thread, file & 0xffff_ffff)).ok()?;
        Some(link.display().to_string())
    }

    /// An open file, where it has a path.
    fn file(&self, at: usize) -> Option<String> {
        let link = self.link(self.argument(at))?;
        link.starts_with('/').then(|| short(Path::new(&link), self.roots))
    }

    fn path(&self, directory: Option<usize>, at: usize) -> String {
        let path = PathBuf::from(self.text(self.argument(at)));
        let directory = directory.and_then(|at| self.link(self.argument(at)));
        let path = match directory {
            Some(directory) if path.is_relative() => Path::new(&directory).join(path),
            _ => path,
        };
        short(&path, self.roots)
    }
}

/// Of what is inside of a database only what is ours has a name: all else is one of many.
fn short(path: &Path, roots: &Roots) -> String {
    const OURS: [&str; 7] = [
        "pgop.lineage",
        "postgresql.auto.conf",
        "postgresql.auto.conf.pgop",
        "postmaster.pid",
        "postmaster.opts",
        "recovery.signal",
        "standby.signal",
    ];
    let Some((rest, root)) = roots
        .iter()
        .find_map(|(root, name)| Some((path.strip_prefix(root).ok()?, name)))
    else {
        return path.display().to_string();
    };
    let parts: Vec<&str> = rest.iter().filter_map(|part| part.to_str()).collect();
    let is_database = |part: &&str| part.starts_with("data") || **part == *".pgop-replaced" || **part == *"shadow";
    match parts.iter().position(is_database) {
        Some(at) if at + 1 < parts.len() && !OURS.contains(&parts[at + 1]) => {
            format!("{root}/{}/…", parts[..=at].join("/"))
        }
        _ => format!("{root}/{}", parts.join("/")),
    }
}
