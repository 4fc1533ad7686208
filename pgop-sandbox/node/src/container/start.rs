//! Starts a container in bubblewrap.

use std::collections::HashMap;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use nix::fcntl::OFlag;
use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, pipe2};
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio::time::{sleep, timeout};

use super::etc::{self, Names};
use super::identity::Identity;
use super::plan::{Input, Plan};
use super::root::Root;
use crate::holder::{Ids, Process, Rights, Start, number, signal};
use crate::logs::{Feed, Stream};
use crate::network::PodNetwork;
use crate::shared::Shared;

/// So long may it take until a container's program runs.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a container said last is read within that time, even if something of it holds the outputs open.
const LAST_OUTPUT: Duration = Duration::from_secs(2);

/// Why a container did not start.
#[derive(Debug, Error)]
pub(crate) enum StartError {
    #[error("could not write the container's files: {0}")]
    Files(#[source] io::Error),
    #[error("could not run bubblewrap: {0}")]
    Bubblewrap(#[source] io::Error),
    #[error("exec: {0:?}: executable file not found in $PATH")]
    NoProgram(String),
    #[error("{0}")]
    Refused(String),
}

/// A container that runs: what others need to reach into it.
pub(crate) struct Live {
    /// Its first process; none when that had ended before it could be held.
    pub(crate) init: Option<Arc<OwnedFd>>,
    /// Whom a process becomes that enters it; none where there is only one user.
    pub(crate) ids: Option<Ids>,
    pub(crate) env: HashMap<String, String>,
    pub(crate) directory: PathBuf,
    pub(crate) feed: Arc<Feed>,
    pub(crate) tty: bool,
    /// Its input ends with the first who is attached.
    pub(crate) stdin_once: bool,
    /// Its input, where it has one; or its terminal.
    pub(crate) input: Mutex<Option<Arc<File>>>,
}

impl Live {
    /// Sends a signal to its first process.
    pub(crate) fn signal(&self, number: i32) {
        if let Some(init) = &self.init
            && let Err(error) = signal(&**init, number)
        {
            tracing::warn!(%error, "can't send a signal to a container");
        }
    }
}

/// A run of a container.
pub(crate) struct Run {
    pub(crate) live: Arc<Live>,
    process: Process,
    outputs: tokio::task::JoinSet<()>,
    /// The mounts of a container without process numbers of its own: by them its processes are told from others.
    mounts: Option<PathBuf>,
}

impl Run {
    /// Waits for its end. Its exit code; the log is complete then.
    pub(crate) async fn wait(&mut self) -> i32 {
        let code = self.process.wait().await.unwrap_or(255);
        self.live.signal(nix::libc::SIGKILL); // should only bubblewrap have ended, and not the container
        self.end_others();
        // A process that was left behind by the container can't hold the outputs open: all ended with the first.
        let _ = timeout(LAST_OUTPUT, async { while self.outputs.join_next().await.is_some() {} }).await;
        self.live.feed.end();
        code
    }

    /// Ends what the first process has left. Where it was the first of its numbers, the kernel has done so.
    fn end_others(&self) {
        let Some(mounts) = &self.mounts else { return };
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        for pid in all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
            if fs::read_link(format!("/proc/{pid}/ns/mnt")).is_ok_and(|of| of == *mounts) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.live.signal(nix::libc::SIGKILL);
        self.end_others();
        self.live.feed.end();
    }
}

/// The folder of a container, and what is in it.
pub(crate) struct Files {
    folder: PathBuf,
}

impl Files {
    pub(crate) fn new(pod: &Path, container: &str) -> Self {
        Self {
            folder: pod.join("containers").join(container),
        }
    }

    /// The log of a run.
    pub(crate) fn log(&self, run: i32) -> PathBuf {
        self.folder.join(format!("{run}.log"))
    }

    /// What the container has written as its last words.
    pub(crate) fn note(&self) -> PathBuf {
        self.folder.join("termination-log")
    }

    fn etc(&self) -> PathBuf {
        self.folder.join("etc")
    }

    /// Logs are kept of this run and the one before.
    fn forget(&self, run: i32) {
        for suffix in ["log", "log.1"] {
            let _ = fs::remove_file(self.folder.join(format!("{}.{suffix}", run - 2)));
        }
    }
}

/// Where and as what a run starts.
pub(crate) struct Place<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) pod: &'a Pod,
    pub(crate) network: &'a PodNetwork,
    pub(crate) files: &'a Files,
    pub(crate) image: &'a str,
    /// The number of the run.
    pub(crate) run: i32,
}

impl Place<'_> {
    /// Starts it. Returns when its program runs (or has ended already).
    pub(crate) async fn start(&self, mut plan: Plan) -> Result<Run, StartError> {
        self.write_files(&plan).map_err(StartError::Files)?;
        let home = etc::home(&self.files.etc(), plan.identity.uid);
        plan.env.entry("HOME".to_owned()).or_insert(home);
        let feed = Feed::create(self.files.log(self.run)).map_err(StartError::Files)?;
        let (read, write) = pipe2(OFlag::O_CLOEXEC).map_err(|e| StartError::Bubblewrap(e.into()))?;
        let users = self.users(&plan).map_err(StartError::Bubblewrap)?;
        let ids = self.shared.holder.users().are_real().then(|| plan.identity.ids());
        let command = self.command(&plan, write.as_raw_fd(), users.as_ref().map(AsRawFd::as_raw_fd));
        let streams = Streams::new(&plan).map_err(StartError::Bubblewrap)?;
        let (command, ours) = streams.give(command);
        let start = Start {
            command,
            namespaces: self.shared.holder.namespaces(&self.network.net),
            directory: Some(c"/".to_owned()),
            terminal: plan.tty,
            ids: ids.clone(),
            rights: Rights::AsInside, // bubblewrap needs them to build the container; it leaves the program those it is to have
            keep: users.into_iter().chain([write]).collect(),
        };
        let spawned = tokio::task::spawn_blocking(move || start.spawn())
            .await
            .map_err(|e| StartError::Bubblewrap(io::Error::other(e)))?;
        let (process, child) = spawned.map_err(StartError::Bubblewrap)?;
        let mut outputs = tokio::task::JoinSet::new();
        let input = ours.carry(child, &feed, &mut outputs).map_err(StartError::Bubblewrap)?;
        let Some(pid) = child_pid(read).await else {
            let _ = timeout(PATIENCE, process.wait()).await;
            let _ = timeout(LAST_OUTPUT, async { while outputs.join_next().await.is_some() {} }).await;
            feed.end();
            return Err(refusal(&feed, &plan));
        };
        let init = match self.shared.holder.process(pid) {
            Ok(init) => Some(Arc::new(init)),
            Err(error) if error.raw_os_error() == Some(nix::libc::ESRCH) => None,
            Err(error) => return Err(StartError::Bubblewrap(error)),
        };
        let shares = init.as_deref().filter(|_| plan.host_pid).and_then(number);
        let mounts = shares.and_then(|pid| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok());
        let live = Live {
            init,
            ids,
            env: plan.env.clone(),
            directory: plan.directory.clone(),
            feed,
            tty: plan.tty,
            stdin_once: plan.stdin == Input::Once,
            input: Mutex::new(input.map(Arc::new)),
        };
        let mut run = Run {
            live: Arc::new(live),
            process,
            outputs,
            mounts,
        };
        if !run.has_begun().await {
            let code = run.wait().await;
            if code == 1 && last_line(&run.live.feed).starts_with("bwrap: ") {
                return Err(refusal(&run.live.feed, &plan));
            }
        }
        Ok(run)
    }

    fn write_files(&self, plan: &Plan) -> io::Result<()> {
        fs::create_dir_all(&self.files.folder)?;
        self.files.forget(self.run);
        fs::write(self.files.note(), b"")?;
        fs::set_permissions(self.files.note(), Permissions::from_mode(0o666))?;
        let Some(spec) = &self.pod.spec else { return Ok(()) };
        let names = Names {
            spec,
            namespace: self.pod.metadata.namespace.as_deref().unwrap_or("default"),
            hostname: &plan.hostname,
            address: self.network.address,
            image: self.image,
            identity: &plan.identity,
        };
        let original = plan.image.as_deref().unwrap_or(Path::new("/")).join("etc");
        etc::make(&self.files.etc(), &original, &names)
    }

    /// The user namespace of the container, where there are real users. A privileged root has the node's.
    fn users(&self, plan: &Plan) -> io::Result<Option<OwnedFd>> {
        if !self.shared.holder.users().are_real() || plan.identity.is_almighty() {
            return Ok(None);
        }
        let users = self.shared.holder.users_of(plan.identity.uid)?;
        users.try_clone().map(Some)
    }

    fn command(&self, plan: &Plan, status: i32, users: Option<i32>) -> Command {
        let (etc, note) = (self.files.etc(), self.files.note());
        let root = Root {
            image: plan.image.as_deref(),
            programs: &self.shared.path,
            etc: &etc,
            mounts: &plan.mounts,
            termination: (&note, &plan.last_words),
            directory: &plan.directory,
            read_only: plan.read_only,
        };
        let mut command = Command::new(&self.shared.bwrap);
        command
            .env_clear()
            .envs(&plan.env)
            .args(user_arguments(&plan.identity, users))
            .args(["--unshare-ipc", "--unshare-uts", "--hostname", &plan.hostname])
            .args(["--json-status-fd", &status.to_string()]);
        if !plan.host_pid {
            command.args(["--unshare-pid", "--as-pid-1"]);
        }
        command.args(root.arguments()).arg("--").args(&plan.command);
        command
    }
}

/// Who the program is: a user of the namespace that is given, or, where there is only one, that one by another number.
fn user_arguments(identity: &Identity, users: Option<i32>) -> Vec<String> {
    let owned = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    if identity.is_almighty() {
        return owned(&["--cap-add", "ALL"]);
    }
    let mut words = if let Some(users) = users {
        owned(&["--userns", &users.to_string()])
    } else {
        let (uid, gid) = (identity.uid.to_string(), identity.gid.to_string());
        owned(&["--unshare-user", "--uid", &uid, "--gid", &gid])
    };
    words.extend(owned(&["--cap-drop", "ALL"]));
    for right in &identity.rights {
        words.extend(owned(&["--cap-add", &format!("CAP_{right}")]));
    }
    words
}

impl Run {
    /// Waits until the program has taken bubblewrap's place. False when it ended before that was seen.
    async fn has_begun(&self) -> bool {
        let Some(pid) = self.live.init.as_deref().and_then(number) else {
            let _ = self.process.wait().await;
            return false;
        };
        let changed = async {
            // There is no event for an exec that needs no rights; it takes a few milliseconds.
            loop {
                match fs::read_to_string(format!("/proc/{pid}/comm")) {
                    Ok(name) if name.trim_end() == "bwrap" => sleep(Duration::from_millis(2)).await,
                    Ok(_) => return true,
                    Err(_) => {
                        let _ = self.process.wait().await; // it has ended, and bubblewrap is about to tell how
                        return false;
                    }
                }
            }
        };
        tokio::select! {
            biased;
            _ = self.process.wait() => false,
            begun = timeout(PATIENCE, changed) => begun.unwrap_or(true),
        }
    }
}

/// The process id that bubblewrap reports, in the holder's numbers. None when it ends without.
async fn child_pid(read: OwnedFd) -> Option<i32> {
    let mut lines = BufReader::new(pipe::Receiver::from_owned_fd(read).ok()?).lines();
    let first = timeout(PATIENCE, lines.next_line()).await.ok()?.ok()??;
    // The rest is of no use, but bubblewrap must be able to write it.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    let value: serde_json::Value = serde_json::from_str(&first).ok()?;
    i32::try_from(value.get("child-pid")?.as_i64()?).ok()
}

fn last_line(feed: &Feed) -> String {
    let text = fs::read(feed.path()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines()
        .next_back()
        .and_then(|line| line.splitn(4, ' ').nth(3))
        .unwrap_or_default()
        .to_owned()
}

fn refusal(feed: &Feed, plan: &Plan) -> StartError {
    let line = last_line(feed);
    let program = plan.command.first().cloned().unwrap_or_default();
    if line.starts_with("bwrap: execvp") && line.ends_with("No such file or directory") {
        return StartError::NoProgram(program);
    }
    StartError::Refused(if line.is_empty() {
        "bubblewrap ended without a word".to_owned()
    } else {
        line
    })
}

/// The streams of a container before it starts.
enum Streams {
    Pipes { input: bool },
    Terminal { ours: OwnedFd, theirs: OwnedFd },
}

/// Our ends.
enum Ours {
    Pipes,
    Terminal(OwnedFd),
}

impl Streams {
    fn new(plan: &Plan) -> io::Result<Self> {
        if !plan.tty {
            return Ok(Self::Pipes {
                input: plan.stdin != Input::None,
            });
        }
        let pty = openpty(None, None)?;
        for fd in [&pty.master, &pty.slave] {
            nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
        }
        Ok(Self::Terminal {
            ours: pty.master,
            theirs: pty.slave,
        })
    }

    fn give(self, mut command: Command) -> (Command, Ours) {
        match self {
            Self::Pipes { input } => {
                command
                    .stdin(if input { Stdio::piped() } else { Stdio::null() })
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped());
                (command, Ours::Pipes)
            }
            Self::Terminal { ours, theirs } => {
                let copy = || theirs.try_clone().map_or_else(|_| Stdio::null(), Stdio::from);
                command.stdin(copy()).stdout(copy()).stderr(copy());
                (command, Ours::Terminal(ours))
            }
        }
    }
}

impl Ours {
    /// Carries the outputs to the log. The input, where there is one.
    fn carry(
        self,
        mut child: Child,
        feed: &Arc<Feed>,
        tasks: &mut tokio::task::JoinSet<()>,
    ) -> io::Result<Option<File>> {
        let mut carry = |stream: Stream, fd: OwnedFd| -> io::Result<()> {
            let (from, feed) = (pipe::Receiver::from_owned_fd(fd)?, feed.clone());
            tasks.spawn(async move { feed.carry(stream, from).await });
            Ok(())
        };
        match self {
            Self::Pipes => {
                if let Some(out) = child.stdout.take() {
                    carry(Stream::Stdout, out.into())?;
                }
                if let Some(err) = child.stderr.take() {
                    carry(Stream::Stderr, err.into())?;
                }
                Ok(child.stdin.take().map(|input| File::from(OwnedFd::from(input))))
            }
            Self::Terminal(ours) => {
                let input = File::from(ours.try_clone()?);
                let (from, feed) = (crate::serve::terminal::Terminal::new(ours)?, feed.clone());
                tasks.spawn(async move { feed.carry(Stream::Stdout, from).await });
                Ok(Some(input))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Files;
    use std::path::Path;

    #[test]
    fn each_run_has_its_log() {
        let files = Files::new(Path::new("/state/pods/u"), "main");
        assert_eq!(files.log(3), Path::new("/state/pods/u/containers/main/3.log"));
    }
}
