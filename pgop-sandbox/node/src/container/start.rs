//! Starts a container in bubblewrap.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use k8s_openapi::api::core::v1::Pod;
use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use pgop_sandbox_tasks::spawn;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::etc::{self, Names};
use super::files::Files;
use super::identity::Identity;
use super::plan::{Input, Plan};
use super::root::Root;
use super::run::{LAST_OUTPUT, Live, Outputs, PATIENCE, Run};
use super::runtime::Bubblewrap;
use super::streams::Streams;
use crate::holder::{Rights, Start, number};
use crate::logs::Feed;
use crate::network::PodNetwork;
use crate::shared::Shared;

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

/// Where and as what a run starts.
pub(crate) struct Place<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) pod: &'a Pod,
    pub(crate) network: &'a PodNetwork,
    pub(crate) files: &'a Files,
    pub(crate) image: &'a str,
    /// The number of the run.
    pub(crate) run: i32,
    /// Counts what still works for the pod.
    pub(crate) busy: &'a TaskTracker,
    /// Cancelled when a part of the pod has failed.
    pub(crate) broken: &'a CancellationToken,
}

impl Place<'_> {
    /// Starts it, with its outputs in `feed`. Returns when its program runs (or has ended already).
    pub(super) async fn start(&self, by: &Bubblewrap, mut plan: Plan, feed: Arc<Feed>) -> Result<Run, StartError> {
        self.write_files(&plan).map_err(StartError::Files)?;
        let home = etc::home(&self.files.etc(), plan.identity.uid);
        plan.env.entry("HOME".to_owned()).or_insert(home);
        let (read, write) = pipe2(OFlag::O_CLOEXEC).map_err(|e| StartError::Bubblewrap(e.into()))?;
        let users = users(by, &plan).map_err(StartError::Bubblewrap)?;
        let ids = by.holder.users().are_real().then(|| plan.identity.ids());
        let command = self.command(by, &plan, write.as_raw_fd(), users.as_ref().map(AsRawFd::as_raw_fd));
        let streams = Streams::new(&plan).map_err(StartError::Bubblewrap)?;
        let (command, ours) = streams.give(command);
        let start = Start {
            command,
            namespaces: by.holder.namespaces(&self.network.net),
            directory: Some(c"/".to_owned()),
            terminal: plan.tty,
            ids: ids.clone(),
            rights: Rights::AsInside, // bubblewrap needs them to build the container; it leaves the program those it is to have
            keep: users.into_iter().chain([write]).collect(),
        };
        let busy = self.busy.token();
        let begun = move || {
            let _busy = busy; // it is begun even if nobody waits for it any more
            start.spawn()
        };
        let spawned = tokio::task::spawn_blocking(begun)
            .await
            .map_err(|e| StartError::Bubblewrap(io::Error::other(e)))?;
        let (process, child) = spawned.map_err(StartError::Bubblewrap)?;
        let mut outputs = Outputs::new();
        let input = ours
            .carry(child, &feed, &mut outputs, self.broken)
            .map_err(StartError::Bubblewrap)?;
        let Some(pid) = child_pid(read).await else {
            let _ = timeout(PATIENCE, process.wait()).await;
            let _ = timeout(LAST_OUTPUT, async { while outputs.join_next().await.is_some() {} }).await;
            return Err(refusal(&feed, &plan));
        };
        let init = match by.holder.process(pid) {
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
            let code = run.ended().await;
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

    fn command(&self, by: &Bubblewrap, plan: &Plan, status: i32, users: Option<i32>) -> Command {
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
        let mut command = Command::new(&by.program);
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

/// The user namespace of the container, where there are real users. A privileged root has the node's.
fn users(by: &Bubblewrap, plan: &Plan) -> io::Result<Option<OwnedFd>> {
    if !by.holder.users().are_real() || plan.identity.is_almighty() {
        return Ok(None);
    }
    let users = by.holder.users_of(plan.identity.uid)?;
    users.try_clone().map(Some)
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

/// The process id that bubblewrap reports, in the holder's numbers. None when it ends without.
async fn child_pid(read: OwnedFd) -> Option<i32> {
    let mut lines = BufReader::new(pipe::Receiver::from_owned_fd(read).ok()?).lines();
    let first = timeout(PATIENCE, lines.next_line()).await.ok()?.ok()??;
    // The rest is of no use, but bubblewrap must be able to write it.
    spawn("what bubblewrap reports", async move {
        while let Ok(Some(_)) = lines.next_line().await {}
    });
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
