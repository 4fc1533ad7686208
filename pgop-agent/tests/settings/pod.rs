//! A server's pod: its directories, its network, and the agent as process 1 in it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::machine::{folder, give, lend, postgres, programs, signal, succeeds, wait_until};

/// What any user of the machine may be told, and nobody else can ask.
const HBA: &str = "local all all trust\nlocal replication all trust\nhost all all all scram-sha-256\n";
/// In a network of its own, as a pod has: every server listens at one port. What is said at the first path is said to the agent; what the agent says
/// to the port is said to the primary.
const BEGIN: &str = r#"
    socat UNIX-LISTEN:"$PGOP_HOME"/http,fork,unlink-early TCP:127.0.0.1:8008 &
    [ -z "$PRIMARY" ] || socat TCP-LISTEN:6432,fork,reuseaddr UNIX-CONNECT:"$PRIMARY" &
    exec "$PGOP_HOME"/pgop-agent server"#;

const PAUSE: std::time::Duration = std::time::Duration::from_millis(40);

/// What the agent tells of the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub holds: Option<bool>,
    pub reason: String,
    pub message: String,
}

/// A pod.
pub struct Pod {
    home: TempDir,
    primary: Option<PathBuf>,
    process: Option<Child>,
    /// In the order in which they were set.
    settings: Vec<(String, String)>,
}

impl Pod {
    /// Of a new database.
    pub fn primary() -> Self {
        let pod = Self::new("primary", None);
        pod.config("init", "initdb\n");
        pod.config("database", "app\n");
        pod
    }

    /// Of one that copies that.
    pub fn replica(primary: &Self) -> Self {
        let pod = Self::new("replica", Some(primary.socket()));
        pod.config("primary-host", "127.0.0.1\n");
        pod.config("primary-port", "6432\n");
        pod
    }

    fn new(role: &str, primary: Option<PathBuf>) -> Self {
        let home = folder(postgres());
        for name in ["config", "run", "volume", "secrets"] {
            fs::create_dir(home.path().join(name)).unwrap();
            give(&home.path().join(name), postgres());
        }
        for (role, name) in [
            ("superuser", "postgres"),
            ("replication", "replicator"),
            ("user", "app"),
        ] {
            let secret = home.path().join("secrets").join(role);
            fs::create_dir(&secret).unwrap();
            fs::write(secret.join("username"), name).unwrap();
            fs::write(secret.join("password"), "geheim").unwrap();
        }
        // The target folder may be out of the user's reach.
        fs::copy(env!("CARGO_BIN_EXE_pgop-agent"), home.path().join("pgop-agent")).unwrap();
        fs::write(home.path().join("role"), role).unwrap();
        let small = [
            ("shared_buffers", "16MB"),
            ("max_connections", "30"),
            ("max_wal_senders", "8"),
        ];
        let pod = Self {
            home,
            primary,
            process: None,
            settings: small.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        };
        pod.config("pg_hba.conf", HBA);
        pod.config("pg_ident.conf", "");
        pod.write(&[]);
        pod
    }

    /// As a `ConfigMap` comes: whole.
    fn config(&self, name: &str, text: &str) {
        let new = self.home.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.home.path().join("config").join(name)).unwrap();
    }

    /// The file is what was set, and these lines behind it.
    fn write(&self, lines: &[&str]) {
        let set = self.settings.iter().map(|(name, value)| format!("{name} = {value}\n"));
        let more = lines.iter().map(|line| format!("{line}\n"));
        self.config("postgresql.conf", &set.chain(more).collect::<String>());
    }

    /// Sets something for good, as somebody writes it.
    pub fn set(&mut self, name: &str, value: &str) {
        self.unset(name);
        self.settings.push((name.to_owned(), value.to_owned()));
        self.write(&[]);
    }

    pub fn unset(&mut self, name: &str) {
        self.settings.retain(|(set, _)| set != name);
        self.write(&[]);
    }

    /// Sets something for now, in place of what it is, and tells the first of its lines.
    pub fn try_out(&self, lines: &[&str]) -> usize {
        self.write(lines);
        self.settings.len() + 1
    }

    /// What was only tried out goes.
    pub fn take_back(&self) {
        self.write(&[]);
    }

    pub fn begin(&mut self) {
        let mut container = Command::new("bwrap");
        container.args([
            "--unshare-user",
            "--unshare-net",
            "--unshare-pid",
            "--as-pid-1",
            "--die-with-parent",
        ]);
        container
            .args(["--dev-bind", "/", "/", "--proc", "/proc", "sh", "-c", BEGIN])
            .env_clear();
        lend(&mut container, postgres());
        let home = self.home.path();
        let role = fs::read_to_string(home.join("role")).unwrap();
        let path = format!("{}:{}", programs(), std::env::var("PATH").unwrap_or_default());
        container.env("PATH", path).env("PGOP_ROLE", &role);
        container.env("PRIMARY", self.primary.as_deref().unwrap_or(Path::new("")));
        container
            .env("PGOP_OWNER", "PgCluster/shop/hippo")
            .env("PGOP_CLAIM", "hippo");
        container
            .env("PGOP_INSTANCE", format!("hippo-{role}-0"))
            .env("PGOP_HTTP", "127.0.0.1:8008");
        container.env("PGOP_HOME", home).env("PGOP_VOLUME", home.join("volume"));
        container.env("PGOP_TERMINATION_LOG", home.join("run/message"));
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(home.join("log"))
            .unwrap();
        self.process = Some(container.stdout(Stdio::null()).stderr(log).spawn().unwrap());
    }

    pub fn run(&self) -> PathBuf {
        self.home.path().join("run")
    }

    fn socket(&self) -> PathBuf {
        self.run().join(".s.PGSQL.5432")
    }

    /// Of the server's data.
    pub fn file(&self, name: &str) -> PathBuf {
        let role = fs::read_to_string(self.home.path().join("role")).unwrap();
        self.home.path().join(format!("volume/hippo-{role}-0")).join(name)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    /// As the kubelet does: asks process 1 to end, and begins anew when all is gone.
    pub fn restart(&mut self) {
        let mut container = self.process.take().unwrap();
        let children = format!("/proc/{0}/task/{0}/children", container.id());
        let inside = fs::read_to_string(children).unwrap();
        signal(inside.trim().parse().unwrap(), rustix::process::Signal::TERM);
        container.wait().unwrap();
        self.begin();
    }

    fn get(&self, path: &str) -> std::io::Result<String> {
        let mut stream = UnixStream::connect(self.home.path().join("http"))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer
            .split_once("\r\n\r\n")
            .map(|(_, body)| body.to_owned())
            .unwrap_or_default())
    }

    pub fn status(&self) -> Option<Value> {
        serde_json::from_str(&self.get("/status").ok()?).ok()
    }

    /// What the pod's condition would say: `/status` has the same.
    pub fn told(&self) -> Option<Told> {
        let status = self.status()?;
        let conditions = status["conditions"].as_array()?;
        let about = conditions
            .iter()
            .find(|condition| condition["about"] == "SettingsInForce")?;
        let text = |key: &str| about[key].as_str().unwrap_or_default().to_owned();
        Some(Told {
            holds: about["holds"].as_bool(),
            reason: text("reason"),
            message: text("message"),
        })
    }

    /// Waits until the agent tells so, of a server that serves.
    pub fn wait_until_told(&self, what: &str, is_so: impl Fn(&Told) -> bool) -> Told {
        let mut last = None;
        wait_until(&format!("{what}; {}", self.home.path().display()), || {
            // Each question is a process.
            std::thread::sleep(PAUSE);
            let Some(status) = self.status() else { return false };
            last = self.told().filter(|_| status["ready"] == true);
            last.as_ref().is_some_and(&is_so)
        });
        last.unwrap()
    }

    pub fn wait_until_in_force(&self) -> Told {
        self.wait_until_told("all settings are in force", |told| told.holds == Some(true))
    }

    pub fn sql(&self, query: &str) -> String {
        let mut psql = Command::new(Path::new(&programs()).join("psql"));
        psql.args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", "postgres"]);
        psql.arg("-h").arg(self.run()).args(["-c", query]);
        lend(&mut psql, postgres());
        succeeds(&mut psql)
    }

    pub fn value(&self, name: &str) -> String {
        self.sql(&format!("select current_setting('{name}')"))
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        if let Some(container) = &mut self.process {
            // All inside goes with it.
            let _ = container.kill();
            let _ = container.wait();
        }
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}
