//! Pods with an agent, as a kubelet would run them: their containers have processes of their own, and a container that ends is started again.

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::ground::{self, folder, give, postgres, programs};
use crate::kubelet::{self, RULES, USERS, Variables};
use crate::network::{HERE, THERE};
use crate::trace::{Point, Roots, Tracer};

/// How often is looked whether something is so. Each look costs the agent an answer.
const LOOK: Duration = Duration::from_millis(40);

/// Waits, and looks seldom enough to leave a busy machine to those who are waited for.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    ground::wait_until(what, || {
        let is_so = is_so();
        if !is_so {
            sleep(LOOK);
        }
        is_so
    });
}

/// How a container ends with its agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// The agent is process 1: all of it ends.
    Agent,
    /// Another process is: what the agent has started goes on.
    Other,
}

/// What a pod is told, and its volumes.
pub struct Pod {
    home: TempDir,
    verb: &'static str,
    user: Option<(u32, u32)>,
    /// Where it is, where that is not the test's own network.
    network: Option<PathBuf>,
    address: &'static str,
    variables: Variables,
    roots: Roots,
    pause: Option<Child>,
}

const SETTINGS: &str = "fsync = off\nshared_buffers = 16MB\nmax_connections = 20\nwal_keep_size = 0\nmin_wal_size = 2MB\nmax_wal_size = 16MB\n\
    checkpoint_timeout = 1h\nwal_receiver_timeout = 5s\nwal_retrieve_retry_interval = 100ms\n";

impl Pod {
    fn new(verb: &'static str, user: Option<(u32, u32)>, init: Init) -> Self {
        let home = folder(user);
        for name in ["run", "secrets", "config", "programs"] {
            fs::create_dir(home.path().join(name)).unwrap();
            give(&home.path().join(name), user);
        }
        let agent = home.path().join("pgop-agent");
        fs::copy(env!("CARGO_BIN_EXE_pgop-agent"), agent).unwrap();
        let mut pod = Self {
            verb,
            user,
            network: None,
            address: HERE,
            variables: Vec::new(),
            roots: vec![(home.path().to_owned(), "pod")],
            pause: None,
            home,
        };
        for (role, name) in USERS {
            pod.file(&format!("secrets/{role}/username"), name);
            pod.file(&format!("secrets/{role}/password"), ground::PASSWORD);
        }
        pod.guard();
        let home = pod.home.path().display().to_string();
        pod.variables.push(("PGOP_TERMINATION_LOG", format!("{home}/message")));
        pod.variables.push(("PGOP_HOME", home));
        if init == Init::Other {
            pod.pause = Some(pause());
        }
        pod
    }

    /// One that may make a database.
    pub fn primary(claim: &Path, init: Init) -> Self {
        let mut pod = Self::server("primary", "hippo", claim, init);
        pod.variables.push(("PGOP_CLAIM", "hippo".to_owned()));
        for (name, text) in [
            ("init", "initdb"),
            ("database", "app"),
            ("slots", "hippo_replica_0"),
            ("wal-segment-size", "1"),
        ] {
            pod.file(&format!("config/{name}"), text);
        }
        pod
    }

    /// One that follows `host`, on the other side of the network.
    pub fn replica(claim: &Path, host: &str, network: PathBuf, init: Init) -> Self {
        let mut pod = Self::server("replica", "hippo-replica-0", claim, init);
        pod.variables.push(("PGOP_CLAIM", "data-hippo-replica-0".to_owned()));
        pod.file("config/primary-host", host);
        pod.file("config/primary-port", "5432");
        pod.network = Some(network);
        pod.address = THERE;
        pod
    }

    fn server(role: &str, instance: &str, claim: &Path, init: Init) -> Self {
        let mut pod = Self::new("server", postgres(), init);
        pod.roots.insert(0, (claim.join(instance), "claim"));
        pod.variables.extend(kubelet::of_server(role, instance, claim));
        pod.file("config/postgresql.conf", SETTINGS);
        pod.file("config/pg_hba.conf", RULES);
        pod.file("config/pg_ident.conf", "");
        pod
    }

    /// The Job that copies the primary to a claim.
    pub fn backup(shelf: &Path, path: &str, uid: &str, init: Init) -> Self {
        let mut pod = Self::new("backup", postgres(), init);
        pod.roots.insert(0, (shelf.to_owned(), "shelf"));
        pod.variables.extend(kubelet::of_backup(HERE, shelf, path, uid));
        pod
    }

    /// The Job that makes the primary's data of a snapshot.
    pub fn restore(shelf: &Path, path: &str, claim: &Path, init: Init) -> Self {
        let mut pod = Self::new("restore", postgres(), init);
        pod.roots.insert(0, (claim.join("hippo"), "claim"));
        pod.variables.extend(kubelet::of_restore(shelf, path, claim));
        pod
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.variables.push((name, value.to_owned()));
        self
    }

    pub fn file(&self, name: &str, text: &str) {
        kubelet::put(&self.home.path().join(name), text, |file| give(file, self.user));
    }

    /// The usual settings, and these.
    pub fn set(&self, settings: &str) {
        self.file("config/postgresql.conf", &format!("{SETTINGS}{settings}\n"));
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn run(&self) -> PathBuf {
        self.home.path().join("run")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    /// The last words of its container.
    pub fn message(&self) -> String {
        fs::read_to_string(self.home.path().join("message")).unwrap_or_default()
    }

    /// A `postgres` that looks around before it becomes one: nobody else may work in the data.
    fn guard(&self) {
        let real = programs();
        let script = format!(
            "#!/bin/sh\n\
             case \" $* \" in *' -C '* | *--version*) exec {real}/postgres \"$@\" ;; esac\n\
             look() {{ for process in /proc/[0-9]*; do [ \"$process/cwd\" -ef \"$1\" ] && echo \"$process\"; done; }}\n\
             # One that is on its way out has let go of its locks a moment before.\n\
             if [ \"$(look \"$2\")\" ] && sleep 0.2 && [ \"$(look \"$2\")\" ]; then echo \"$(look \"$2\") $2\" >> {home}/second; fi\n\
             exec {real}/postgres \"$@\"\n",
            home = self.home.path().display()
        );
        let path = self.home.path().join("programs/postgres");
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    }

    /// Starts a container, which waits until it may go on.
    fn prepare(&self) -> Waiting {
        let mut words: Vec<String> = Vec::new();
        if let Some(network) = &self.network {
            words.extend(["nsenter".to_owned(), format!("--net={}", network.display())]);
        }
        match &self.pause {
            None => words.extend(["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"].map(str::to_owned)),
            Some(pause) => {
                let target = format!("--target={}", only_child(pause.id()));
                words.extend(["nsenter".to_owned(), target, "--pid".to_owned(), "--mount".to_owned()]);
            }
        }
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(["sh", "-c", SCRIPT, "sh"]).env_clear();
        if let Some((uid, gid)) = self.user {
            command.args(["setpriv", "--clear-groups"]);
            command.args([format!("--reuid={uid}"), format!("--regid={gid}")]);
        }
        let agent = self.home.path().join("pgop-agent");
        // What is loaded into the agent is not for those who start it.
        let is_loaded = |(name, _): &&(&'static str, String)| *name == "LD_PRELOAD";
        let (loaded, told): (Vec<_>, Vec<_>) = self.variables.iter().partition(is_loaded);
        command
            .arg("env")
            .args(loaded.iter().map(|(name, value)| format!("{name}={value}")));
        command.arg(agent).arg(self.verb);
        command.env("LC_ALL", "C").env(
            "PATH",
            format!(
                "{}/programs:{}:/usr/sbin:/usr/bin:/sbin:/bin",
                self.home.path().display(),
                programs()
            ),
        );
        command.envs(told.iter().map(|(name, value)| (name, value)));
        let log = self.home.path().join("log");
        let log = File::options().create(true).append(true).open(log).unwrap();
        let message = self.home.path().join("message");
        fs::write(&message, "").unwrap();
        give(&message, self.user);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
        let holder = command.spawn().unwrap();
        let agent = only_child(holder.id());
        Waiting(Container { holder, agent })
    }

    /// Starts a container.
    pub fn start(&self) -> Container {
        self.prepare().go()
    }

    /// Starts a container, and follows its agent.
    pub fn follow(&self, kill_at: Option<&Point>) -> (Container, Tracer) {
        let waiting = self.prepare();
        let tracer = self.trace(&waiting.0, kill_at);
        (waiting.go(), tracer)
    }

    /// Follows the agent of a container from now on.
    pub fn trace(&self, container: &Container, kill_at: Option<&Point>) -> Tracer {
        Tracer::follow(container.agent, self.roots.clone(), kill_at.cloned())
    }

    /// Whoever outlived the last agent goes too, as at the end of a pod.
    pub fn end_what_is_left(&mut self) {
        if let Some(old) = self.pause.replace(pause()) {
            end(old);
        }
    }

    /// Nobody may ever have started a server beside another's processes.
    pub fn check_for_a_second(&self) {
        let second = fs::read_to_string(self.home.path().join("second")).unwrap_or_default();
        assert_eq!(second, "", "a server was started beside these: {}", self.log());
    }

    /// Code and text of an answer to a probe.
    pub fn ask(&self, path: &str) -> Option<(u16, String)> {
        kubelet::ask(self.address, path)
    }

    pub fn is_ready(&self) -> bool {
        kubelet::succeeds(self.address, "/ready")
    }

    pub fn is_live(&self) -> bool {
        kubelet::succeeds(self.address, "/live")
    }

    /// Whether a condition holds, and its sentence.
    pub fn condition(&self, about: &str) -> Option<(Option<bool>, String)> {
        kubelet::condition(self.address, about)
    }

    /// Starts containers as a kubelet does, until it is so.
    pub fn keep(&self, container: &mut Container, what: &str, mut is_so: impl FnMut() -> bool) {
        let mut ends = 0;
        wait_until(
            &format!("{what}; the pod's log: {}", self.home.path().join("log").display()),
            || {
                if is_so() {
                    return true;
                }
                if container.has_ended() {
                    ends += 1;
                    assert!(ends < 40, "{what}: ended {ends} times: {}", self.log());
                    *container = self.start();
                }
                false
            },
        );
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        if let Some(pause) = self.pause.take() {
            end(pause);
        }
        if std::thread::panicking() {
            eprintln!("--- log of {}\n{}", self.verb, self.log());
        }
    }
}

/// Files that a container has in place of the machine's come first. Then it waits for a line.
const SCRIPT: &str = "for name in resolv.conf hosts; do \
    [ ! -f \"$PGOP_HOME/$name\" ] || mount --bind \"$PGOP_HOME/$name\" \"/etc/$name\" || exit 9; done; \
    read go && exec \"$@\" < /dev/null";

/// Holds the processes of a pod, and reaps them.
fn pause() -> Child {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.args(["sh", "-c", "sleep infinity & wait"]).stdin(Stdio::null());
    let pause = command.spawn().unwrap();
    only_child(pause.id());
    pause
}

/// With its first process all of a pod ends.
fn end(mut pause: Child) {
    let _ = kill(Pid::from_raw(only_child(pause.id())), Signal::SIGKILL);
    let _ = pause.wait();
}

/// The process that another has started, once it has.
fn only_child(process: u32) -> i32 {
    let mut child = None;
    wait_until("a container has a process", || {
        let path = format!("/proc/{process}/task/{process}/children");
        let children = fs::read_to_string(path).unwrap_or_default();
        child = children.split_whitespace().next().and_then(|pid| pid.parse().ok());
        child.is_some()
    });
    child.unwrap()
}

struct Waiting(Container);

impl Waiting {
    fn go(mut self) -> Container {
        let mut gate = self.0.holder.stdin.take().unwrap();
        writeln!(gate, "go").unwrap();
        self.0
    }
}

/// A container that runs, or has ended.
pub struct Container {
    holder: Child,
    /// The agent, as the test sees it.
    pub agent: i32,
}

impl Container {
    pub fn has_ended(&mut self) -> bool {
        self.holder.try_wait().unwrap().is_some()
    }

    /// Waits for its end: the code.
    pub fn end(&mut self) -> Option<i32> {
        wait_until("the container has ended", || self.has_ended());
        self.holder.wait().unwrap().code()
    }

    /// A process of a container, as the test sees it.
    pub fn outside(&self, inside: i32) -> i32 {
        let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let of_agent = namespace(&self.agent.to_string());
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let found = processes
            .filter_map(|process| process.file_name().into_string().ok())
            .find(|pid| {
                let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
                let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
                numbers.and_then(|numbers| numbers.split_whitespace().last()) == Some(&inside.to_string())
                    && namespace(pid) == of_agent
            });
        found.unwrap().parse().unwrap()
    }

    /// As the kubelet does at the end of the grace period.
    pub fn kill(&mut self) {
        if !self.has_ended() {
            let _ = kill(Pid::from_raw(self.agent), Signal::SIGKILL);
        }
        self.end();
    }

    /// As the kubelet does first.
    pub fn terminate(&self) {
        kill(Pid::from_raw(self.agent), Signal::SIGTERM).unwrap();
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if self.holder.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = kill(Pid::from_raw(self.agent), Signal::SIGKILL);
            let _ = self.holder.wait();
        }
    }
}
