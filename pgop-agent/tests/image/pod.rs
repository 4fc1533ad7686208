//! Pods whose containers see an image of next to nothing, and their volumes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::kubelet::{self, RULES, USERS, Variables};
use crate::machine::{self, folder, give, postgres, programs, signal};
use crate::network::{HERE, THERE};
use crate::root::{Root, Shell};

const SETTINGS: &str = "fsync = off\nshared_buffers = 16MB\nmax_connections = 20\n";

/// How often is looked whether something is so. Each look costs the agent an answer.
const LOOK: Duration = Duration::from_millis(40);

pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    machine::wait_until(what, || {
        std::thread::sleep(LOOK);
        is_so()
    });
}

/// What a pod is told, and its volumes.
pub struct Pod<'a> {
    home: TempDir,
    root: &'a Root,
    verb: &'static str,
    /// Where it is, where that is not the test's own network.
    network: Option<PathBuf>,
    volumes: Vec<PathBuf>,
    variables: Variables,
}

impl<'a> Pod<'a> {
    fn new(root: &'a Root, verb: &'static str) -> Self {
        let home = folder(postgres());
        for name in ["run", "bin"] {
            fs::create_dir(home.path().join(name)).unwrap();
            give(&home.path().join(name), postgres());
        }
        // As from the operator's image: the program installs itself, in a container of its own.
        fs::copy(env!("CARGO_BIN_EXE_pgop-agent"), home.path().join("pgop-agent")).unwrap();
        let place = home.path().display().to_string();
        let pod = Self {
            root,
            verb,
            network: None,
            volumes: Vec::new(),
            variables: vec![
                ("PGOP_TERMINATION_LOG", format!("{place}/message")),
                ("PGOP_HOME", place.clone()),
            ],
            home,
        };
        for (role, name) in USERS {
            pod.file(&format!("secrets/{role}/username"), name);
            pod.file(&format!("secrets/{role}/password"), "geheim");
        }
        let install = [
            format!("{place}/pgop-agent"),
            "install".to_owned(),
            format!("{place}/bin"),
        ];
        assert_eq!(pod.run_words(Shell::None, &install).end(), Some(0), "{}", pod.log());
        pod
    }

    fn server(root: &'a Root, role: &str, instance: &str, claim: &Path) -> Self {
        let mut pod = Self::new(root, "server").on(claim);
        pod.variables.extend(kubelet::of_server(role, instance, claim));
        pod.variables.push(("PGOP_CLAIM", instance.to_owned()));
        pod.set("");
        pod.file("config/pg_hba.conf", RULES);
        pod.file("config/pg_ident.conf", "");
        pod
    }

    /// `init`: where its data comes from.
    pub fn primary(root: &'a Root, claim: &Path, init: &str) -> Self {
        let pod = Self::server(root, "primary", "hippo", claim);
        pod.file("config/init", init);
        pod.file("config/database", "app");
        pod.file("config/slots", "hippo_replica_0");
        pod
    }

    pub fn replica(root: &'a Root, claim: &Path, network: PathBuf) -> Self {
        let mut pod = Self::server(root, "replica", "hippo-replica-0", claim);
        pod.file("config/primary-host", HERE);
        pod.file("config/primary-port", "5432");
        pod.network = Some(network);
        pod
    }

    pub fn backup(root: &'a Root, shelf: &Path, path: &str) -> Self {
        let mut pod = Self::new(root, "backup").on(shelf);
        pod.variables.extend(kubelet::of_backup(HERE, shelf, path, "uid"));
        pod
    }

    pub fn restore(root: &'a Root, shelf: &Path, path: &str, claim: &Path) -> Self {
        let mut pod = Self::new(root, "restore").on(shelf).on(claim);
        pod.variables.extend(kubelet::of_restore(shelf, path, claim));
        pod
    }

    /// What `pgo show pvc` asks.
    pub fn browse(root: &'a Root, claim: &Path) -> Self {
        let mut pod = Self::new(root, "browse").on(claim);
        pod.variables.push(("PGOP_VOLUME", claim.display().to_string()));
        pod
    }

    fn on(mut self, claim: &Path) -> Self {
        self.volumes.push(claim.to_owned());
        self
    }

    fn file(&self, name: &str, text: &str) {
        kubelet::put(&self.home.path().join(name), text, |_| ());
    }

    /// The usual settings, and these.
    pub fn set(&self, settings: &str) {
        self.file("config/postgresql.conf", &format!("{SETTINGS}{settings}\n"));
    }

    /// Where its socket is.
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

    /// Starts its container.
    pub fn start(&self, shell: Shell) -> Container {
        let agent = self.home.path().join("bin/pgop-agent").display().to_string();
        self.run_words(shell, &[agent, self.verb.to_owned()])
    }

    fn run_words(&self, shell: Shell, program: &[String]) -> Container {
        let mut words: Vec<String> = Vec::new();
        if let Some(network) = &self.network {
            words.extend(["nsenter".to_owned(), format!("--net={}", network.display())]);
        }
        if let Some((uid, gid)) = postgres() {
            words.extend(["setpriv", "--clear-groups"].map(str::to_owned));
            words.extend([format!("--reuid={uid}"), format!("--regid={gid}")]);
        }
        words.extend(
            [
                "bwrap",
                "--unshare-user",
                "--unshare-pid",
                "--unshare-ipc",
                "--as-pid-1",
            ]
            .map(str::to_owned),
        );
        words.extend(["--die-with-parent", "--clearenv", "--chdir", "/"].map(str::to_owned));
        words.extend(self.root.arguments(shell));
        for volume in self.volumes.iter().map(PathBuf::as_path).chain([self.home.path()]) {
            let volume = volume.display().to_string();
            words.extend(["--bind".to_owned(), volume.clone(), volume]);
        }
        let told = self.variables.iter().map(|(name, value)| (*name, value.clone()));
        for (name, value) in told.chain([("PATH", programs())]) {
            words.extend(["--setenv".to_owned(), name.to_owned(), value]);
        }
        let message = self.home.path().join("message");
        fs::write(&message, "").unwrap();
        give(&message, postgres());
        let log = self.home.path().join("log");
        let log = File::options().create(true).append(true).open(log).unwrap();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(program).stdin(Stdio::null());
        let said = log.try_clone().unwrap();
        Container(command.stdout(said).stderr(log).spawn().unwrap())
    }

    fn address(&self) -> &'static str {
        if self.network.is_some() { THERE } else { HERE }
    }

    pub fn is_ready(&self) -> bool {
        kubelet::succeeds(self.address(), "/ready")
    }

    /// Whether a condition holds.
    pub fn holds(&self, about: &str) -> bool {
        kubelet::condition(self.address(), about).is_some_and(|(holds, _)| holds == Some(true))
    }

    /// Starts its container, which serves.
    pub fn serve(&self, shell: Shell) -> Container {
        let mut container = self.start(shell);
        wait_until("it serves", || {
            assert!(!container.has_ended(), "it has ended: {}", self.message());
            self.is_ready() && self.holds("SettingsInForce")
        });
        container
    }
}

impl Drop for Pod<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of {}\n{}", self.verb, self.log());
        }
    }
}

/// A container that runs, or has ended. All in it ends with this.
pub struct Container(Child);

impl Container {
    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// Waits for its end: the code.
    pub fn end(&mut self) -> Option<i32> {
        wait_until("the container has ended", || self.has_ended());
        self.0.wait().unwrap().code()
    }

    /// As the kubelet does first.
    pub fn terminate(&mut self) -> Option<i32> {
        let children = format!("/proc/{0}/task/{0}/children", self.0.id());
        let agent = fs::read_to_string(children).unwrap();
        signal(agent.trim().parse().unwrap(), Signal::TERM);
        self.end()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
