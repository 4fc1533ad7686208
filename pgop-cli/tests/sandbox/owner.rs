//! Who runs a sandbox, and what he does with it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

const NOBODY: u32 = 65534;
/// Nothing takes nearly that long, on a busy machine either.
const PATIENCE: Duration = Duration::from_secs(300);

/// As whom the programs run.
pub enum User {
    /// Whoever runs the test.
    Own,
    /// An ordinary user, who is none of those that run databases.
    Nobody,
}

impl User {
    pub fn all() -> Vec<Self> {
        if fs::metadata("/proc/self").unwrap().uid() == 0 {
            vec![Self::Own, Self::Nobody]
        } else {
            vec![Self::Own]
        }
    }

    /// A home of their own with the programs in it: those of the target folder may be out of their reach.
    pub fn home(&self) -> TempDir {
        let home = tempfile::tempdir().unwrap();
        let named = std::env::var_os("PGO").map(PathBuf::from);
        let built = named.unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_pgo")));
        for program in ["pgo", "pgop-operator", "pgop-agent"] {
            let from = built.with_file_name(program);
            assert!(
                from.exists(),
                "{} is missing: cargo build -p pgop-operator -p pgop-agent",
                from.display()
            );
            fs::copy(from, home.path().join(program)).unwrap();
        }
        fs::set_permissions(home.path(), Permissions::from_mode(0o755)).unwrap();
        if matches!(self, Self::Nobody) {
            chown(home.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        home
    }

    fn command(&self, program: &Path) -> Command {
        match self {
            Self::Own => Command::new(program),
            Self::Nobody => {
                let mut command = Command::new("setpriv");
                let ids = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")];
                command.args(ids).arg("--clear-groups").arg(program);
                command
            }
        }
    }
}

/// A sandbox of a user.
pub struct Sandbox<'a> {
    user: &'a User,
    home: &'a TempDir,
    name: &'static str,
}

impl<'a> Sandbox<'a> {
    pub fn new(user: &'a User, home: &'a TempDir, name: &'static str) -> Self {
        Self { user, home, name }
    }

    pub fn name(&self) -> &str {
        self.name
    }

    pub fn folder(&self) -> PathBuf {
        self.home.path().join("state").join(self.name)
    }

    /// The number of its process.
    pub fn process(&self) -> u32 {
        let text = fs::read_to_string(self.folder().join("lock")).unwrap();
        text.trim().parse().unwrap()
    }

    fn command(&self) -> Command {
        let mut command = self.user.command(&self.home.path().join("pgo"));
        command
            .env("HOME", self.home.path())
            .env("PGOP_SANDBOX_HOME", self.home.path().join("state"))
            .env("KUBECONFIG", self.folder().join("kubeconfig"))
            .stdin(Stdio::null());
        command
    }

    /// Runs pgo with these words, and for verbs of the sandbox with its name. What it says.
    pub fn pgo(&self, words: &str) -> String {
        let words: Vec<&str> = words.split(' ').collect();
        self.try_pgo(&words).unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_pgo(&self, words: &[&str]) -> Result<String, String> {
        let mut command = self.command();
        command.args(words);
        if words[0] == "sandbox" {
            command.args(["--name", self.name]);
        }
        let done = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if done.status.success() {
            return Ok(text(&done.stdout));
        }
        let log = fs::read_to_string(self.folder().join("log")).unwrap_or_default();
        Err(format!(
            "pgo {words:?} of {} ended with {}: {}\n{}\nlog of the sandbox: {log}",
            self.name,
            done.status,
            text(&done.stdout),
            text(&done.stderr)
        ))
    }

    pub fn start(&self) {
        self.pgo("sandbox start --timeout 5m");
    }

    /// Makes a database and waits for it.
    pub fn database(&self) {
        self.pgo("create database orders --wait --timeout 5m");
    }

    /// Waits until the one that runs in the foreground has said that.
    pub fn says(&self, words: &str) {
        until(&format!("it says {words:?}"), || {
            let said = self.said();
            if said.contains(words) { Ok(()) } else { Err(said) }
        });
    }

    /// What the one in the foreground has said on standard error.
    fn said(&self) -> String {
        fs::read_to_string(self.home.path().join("run.log")).unwrap_or_default()
    }

    /// Starts it in the foreground, as a child of ours.
    pub fn run(&self) -> Child {
        self.run_telling("info", &self.home.path().join("run.log"))
    }

    pub fn run_telling(&self, level: &str, log: &Path) -> Child {
        let ready = self.folder().join("kubeconfig");
        let _ = fs::remove_file(&ready);
        let log = fs::File::create(log).unwrap();
        let mut command = self.command();
        command.args(["sandbox", "run", "--name", self.name]);
        command.env("PGOP_SANDBOX_LOG", level);
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        until("the sandbox serves", || {
            ready.exists().then_some(()).ok_or_else(|| self.said())
        });
        child
    }

    pub fn signal(&self, name: &str) {
        let done = Command::new("kill")
            .args(["-s", name, &self.process().to_string()])
            .status();
        assert!(done.unwrap().success());
    }

    pub fn sql(&self, query: &str) -> String {
        self.try_sql(query).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Asks until there is an answer.
    pub fn sql_becomes(&self, query: &str) -> String {
        until("the database answers", || self.try_sql(query))
    }

    fn try_sql(&self, query: &str) -> Result<String, String> {
        self.try_pgo(&["psql", "orders", "--", "-v", "ON_ERROR_STOP=1", "-XAtc", query])
    }

    /// Starts a pod that does not listen when it is told to end, and has a minute for it.
    pub fn deaf_pod(&self) {
        let kubeconfig = kube::config::Kubeconfig::read_from(self.folder().join("kubeconfig")).unwrap();
        let spec = serde_json::json!({
            "metadata": {"name": "deaf"},
            "spec": {
                "terminationGracePeriodSeconds": 60,
                "containers": [{"name": "main", "image": "any", "command": ["sh", "-c", "trap '' TERM; while true; do sleep 1; done"]}],
            },
        });
        let pod: k8s_openapi::api::core::v1::Pod = serde_json::from_value(spec).unwrap();
        let started = async {
            let options = kube::config::KubeConfigOptions::default();
            let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options)
                .await
                .unwrap();
            let pods = kube::Api::default_namespaced(kube::Client::try_from(config).unwrap());
            pods.create(&kube::api::PostParams::default(), &pod).await.unwrap();
            let running = kube::runtime::conditions::is_pod_running();
            kube::runtime::wait::await_condition(pods, "deaf", running)
                .await
                .unwrap();
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async { tokio::time::timeout(PATIENCE, started).await.unwrap() });
    }
}

impl Drop for Sandbox<'_> {
    /// Whatever has failed, nothing goes on.
    fn drop(&mut self) {
        if self.folder().exists() {
            let _ = self.try_pgo(&["sandbox", "delete", "--yes"]);
        }
    }
}

/// Asks again until it goes well.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let begin = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(error) if begin.elapsed() > PATIENCE => panic!("waited {PATIENCE:?} until {what}: {error}"),
            Err(_) => sleep(Duration::from_millis(50)),
        }
    }
}
