//! Servers of this machine.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Long enough for a machine that is busy; nothing waits for it to pass.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The directory with the server's programs: the newest of this machine, or that of `PGOP_TEST_PROGRAMS`.
fn programs() -> PathBuf {
    if let Some(programs) = std::env::var_os("PGOP_TEST_PROGRAMS") {
        return programs.into();
    }
    let debian = Path::new("/usr/lib/postgresql");
    let versions = std::fs::read_dir(debian).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions.map(|entry| entry.path().join("bin")).collect();
    found.retain(|bin| bin.join("initdb").exists());
    found.sort();
    found.pop().expect("PostgreSQL's programs; `make pods` installs them")
}

/// It does not run as root.
fn command(program: &Path) -> Command {
    use std::os::unix::fs::MetadataExt as _;
    let mut command = if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(program);
        command
    } else {
        Command::new(program)
    };
    command.env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn run(program: &str, arguments: &[&str]) {
    let mut command = command(&programs().join(program));
    let done = command.args(arguments).stderr(Stdio::piped()).output().unwrap();
    assert!(
        done.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

/// A server, which ends with the test.
pub(crate) struct Server {
    /// Where its socket is.
    pub(crate) home: PathBuf,
    child: Option<std::process::Child>,
}

const SETTINGS: [&str; 8] = [
    "archive_mode=on",
    "archive_command=true",
    "max_connections=10",
    "superuser_reserved_connections=2",
    "max_slot_wal_keep_size=1GB",
    "wal_receiver_status_interval=1s",
    "fsync=off",
    "listen_addresses=",
];

impl Server {
    pub(crate) fn new(home: PathBuf) -> Self {
        Self { home, child: None }
    }

    fn data(&self) -> String {
        self.home.join("data").display().to_string()
    }

    pub(crate) fn start(&mut self) {
        let mut command = command(&programs().join("postgres"));
        command.args(["-D", &self.data(), "-p", "5432", "-k"]).arg(&self.home);
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.home.join("log"))
            .unwrap();
        self.child = Some(command.stderr(log).spawn().unwrap());
    }

    /// setpriv has become it.
    fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// It, and all its processes.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let text = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.pid())).unwrap();
        let children = text.split_whitespace().map(|pid| pid.parse().unwrap());
        [self.pid()].into_iter().chain(children).collect()
    }

    pub(crate) fn signal(pids: &[u32], signal: &str) {
        for pid in pids {
            let _ = Command::new("kill").args([signal, &pid.to_string()]).status();
        }
    }

    pub(crate) fn stop(&mut self) {
        Self::signal(&[self.pid()], "-INT");
        assert!(self.child.take().unwrap().wait().unwrap().success());
    }

    pub(crate) async fn client(&self) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
        let mut config = tokio_postgres::Config::new();
        config.host_path(&self.home).user("postgres").dbname("postgres");
        let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    pub(crate) async fn answers(&self) -> tokio_postgres::Client {
        let began = Instant::now();
        loop {
            match self.client().await {
                Ok(client) => return client,
                Err(error) => {
                    let log = std::fs::read_to_string(self.home.join("log")).unwrap_or_default();
                    assert!(began.elapsed() < PATIENCE, "{error}\n{log}");
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let pids = [child.id()];
            Self::signal(&pids, "-CONT");
            Self::signal(&pids, "-QUIT");
            let _ = child.wait();
        }
    }
}

/// A primary and a replica with a slot. Directories as postgres wants them.
pub(crate) async fn pair(home: &Path) -> (Server, Server) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(home, std::fs::Permissions::from_mode(0o777)).unwrap();
    let server = |name: &str| {
        let home = home.join(name);
        std::fs::create_dir(&home).unwrap();
        std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o777)).unwrap();
        Server::new(home)
    };
    let (mut primary, mut replica) = (server("primary"), server("replica"));
    run(
        "initdb",
        &[
            "-D",
            &primary.data(),
            "-U",
            "postgres",
            "--auth=trust",
            "--data-checksums",
            "--no-sync",
            "--locale=C",
        ],
    );
    primary.start();
    let client = primary.answers().await;
    let socket = primary.home.display().to_string();
    run(
        "pg_basebackup",
        &[
            "-D",
            &replica.data(),
            "-h",
            &socket,
            "-U",
            "postgres",
            "-R",
            "-C",
            "-S",
            "replica_0",
            "-c",
            "fast",
            "--no-sync",
        ],
    );
    replica.start();
    // Something to archive and to replay; a database whose name has to be escaped; a slot that nobody reads.
    for statement in [
        "create database \"it's \"\"mine\"\"\\\"",
        "create table t as select 1 as n",
        "select pg_create_physical_replication_slot('nobody', true)",
        "select pg_switch_wal()",
        "create table u as select 1 as n",
    ] {
        client.batch_execute(statement).await.unwrap();
    }
    drop(replica.answers().await);
    (primary, replica)
}
