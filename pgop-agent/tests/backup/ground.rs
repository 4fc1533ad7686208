//! Real servers, claims and agents. Whoever runs this as root lends them another user, as `PostgreSQL` refuses to run as root.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use tempfile::TempDir;

pub use machine::{folder, give, postgres, programs, wait_until};
use machine::{lend, signal, succeeds};

#[path = "../machine/mod.rs"]
mod machine;

pub const PASSWORD: &str = "s:ec\\ret 'ü";

/// A user that no image knows, for backups.
pub fn stranger() -> Option<(u32, u32)> {
    postgres().map(|_| (54321, 54321))
}

fn command(program: &str, user: Option<(u32, u32)>) -> Command {
    let path = Path::new(&programs()).join(program);
    let mut command = Command::new(path);
    lend(&mut command, user);
    command
}

/// A server.
pub struct Server {
    home: TempDir,
    data: PathBuf,
    pub port: u16,
    process: Option<Child>,
}

impl Server {
    /// A new one, with a role for replication, that runs.
    pub fn new() -> Self {
        let home = folder(postgres());
        let data = home.path().join("data");
        let mut init = command("initdb", postgres());
        init.args(["-N", "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C", "-D"]);
        succeeds(init.arg(&data));
        let rules = "local all all trust\nhost all all all scram-sha-256\nhost replication all all scram-sha-256\n";
        fs::write(data.join("pg_hba.conf"), rules).unwrap();
        let mut server = Self::on(home, data);
        server.start();
        let password = PASSWORD.replace('\'', "''");
        server.sql(&format!(
            "create role replicator login replication password '{password}'"
        ));
        server.sql("grant pg_monitor to replicator");
        server
    }

    fn on(home: TempDir, data: PathBuf) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self {
            home,
            data,
            port,
            process: None,
        }
    }

    /// One on a directory that was restored.
    pub fn restored(data: &Path) -> Self {
        let mut server = Self::on(folder(postgres()), data.to_owned());
        server.start();
        server
    }

    pub fn start(&mut self) {
        let log = File::create(self.home.path().join("log")).unwrap();
        let mut server = command("postgres", postgres());
        server.arg("-D").arg(&self.data).arg("-k").arg(self.home.path());
        server.args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
        server.args(["-c", "fsync=off", "-c", "restore_command=/bin/false"]);
        self.process = Some(server.stdout(Stdio::null()).stderr(log).spawn().unwrap());
        wait_until("the server answers", || {
            let process = self.process.as_mut().unwrap();
            let log = || fs::read_to_string(self.home.path().join("log")).unwrap_or_default();
            assert!(process.try_wait().unwrap().is_none(), "the server has ended: {}", log());
            self.psql("select pg_is_in_recovery()").output().unwrap().stdout == b"f\n"
        });
    }

    /// As a crash would.
    pub fn crash(&mut self) {
        if let Some(mut process) = self.process.take() {
            signal(process.id(), rustix::process::Signal::QUIT);
            process.wait().unwrap();
        }
    }

    fn psql(&self, query: &str) -> Command {
        let mut psql = command("psql", postgres());
        psql.args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", "postgres"]);
        psql.arg("-h")
            .arg(self.home.path())
            .args(["-p", &self.port.to_string(), "-c", query]);
        psql
    }

    pub fn sql(&self, query: &str) -> String {
        succeeds(&mut self.psql(query))
    }

    /// What a person who knows the label can do.
    pub fn forge(&self, label: &str, into: &Path, user: Option<(u32, u32)>) {
        let mut copy = command("pg_basebackup", user);
        copy.env("PGPASSWORD", PASSWORD).arg("-D").arg(into);
        copy.args(["-h", "127.0.0.1", "-U", "replicator", "-c", "fast", "--label", label]);
        succeeds(copy.args(["-p", &self.port.to_string()]));
    }

    pub fn directory(&self) -> &Path {
        self.home.path()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.crash();
    }
}

/// A pod: its directories, and what its container is told.
pub struct Pod {
    home: TempDir,
    user: Option<(u32, u32)>,
    verb: &'static str,
    variables: Vec<(String, String)>,
    path: String,
}

impl Pod {
    fn new(verb: &'static str, user: Option<(u32, u32)>) -> Self {
        let home = folder(user);
        for name in ["run", "secrets", "secrets/replication"] {
            fs::create_dir(home.path().join(name)).unwrap();
            give(&home.path().join(name), user);
        }
        // The target folder may be out of the user's reach.
        let agent = home.path().join("pgop-agent");
        fs::copy(env!("CARGO_BIN_EXE_pgop-agent"), &agent).unwrap();
        let pod = Self {
            path: programs(),
            home,
            user,
            verb,
            variables: Vec::new(),
        };
        let log = pod.message_path().display().to_string();
        let home = pod.home.path().display().to_string();
        pod.with("PGOP_TERMINATION_LOG", &log).with("PGOP_HOME", &home)
    }

    pub fn backup(server: &Server, claim: &Path, uid: &str, path: &str) -> Self {
        let pod = Self::new("backup", stranger())
            .with("PGOP_SOURCE_HOST", "127.0.0.1")
            .with("PGOP_SOURCE_PORT", &server.port.to_string())
            .with("PGOP_CLAIM", "shelf")
            .with("PGOP_BACKUP_VOLUME", &claim.display().to_string())
            .with("PGOP_BACKUP_UID", uid)
            .with("PGOP_BACKUP_PATH", path);
        pod.secret("username", "replicator");
        pod.secret("password", PASSWORD);
        pod
    }

    pub fn restore(shelf: &Path, path: &str, volume: &Path) -> Self {
        Self::new("restore", postgres())
            .with("PGOP_OWNER", "PgDatabase/shop/orders")
            .with("PGOP_OWNER_UID", "1a2b")
            .with("PGOP_INSTANCE", "orders")
            .with("PGOP_CLAIM", "orders")
            .with("PGOP_BACKUP_CLAIM", "shelf")
            .with("PGOP_BACKUP_VOLUME", &shelf.display().to_string())
            .with("PGOP_BACKUP_PATH", path)
            .with("PGOP_VOLUME", &volume.display().to_string())
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.retain(|(found, _)| found != name);
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Finds some programs elsewhere first.
    pub fn with_programs(mut self, folder: &Path) -> Self {
        self.path = format!("{}:{}", folder.display(), self.path);
        self
    }

    pub fn secret(&self, key: &str, value: &str) {
        fs::write(self.home.path().join("secrets/replication").join(key), value).unwrap();
    }

    pub fn lose_secret(&self, key: &str) {
        fs::remove_file(self.home.path().join("secrets/replication").join(key)).unwrap();
    }

    fn message_path(&self) -> PathBuf {
        self.home.path().join("message")
    }

    pub fn begin(&self) -> Agent<'_> {
        let log = self.home.path().join("log");
        let mut command = Command::new(self.home.path().join("pgop-agent"));
        command.arg(self.verb).env_clear();
        lend(&mut command, self.user);
        command.env("PATH", &self.path).envs(self.variables.iter().cloned());
        let _ = fs::remove_file(self.message_path());
        command.stdout(Stdio::null()).stderr(File::create(log).unwrap());
        Agent {
            process: command.spawn().unwrap(),
            pod: self,
        }
    }

    pub fn run(&self) -> Ended {
        self.begin().end()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }
}

/// An agent that runs.
pub struct Agent<'a> {
    process: Child,
    pod: &'a Pod,
}

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    pub code: Option<i32>,
    pub message: String,
}

impl Agent<'_> {
    pub fn end(mut self) -> Ended {
        let mut status: Option<ExitStatus> = None;
        wait_until("the agent has ended", || {
            status = self.process.try_wait().unwrap();
            status.is_some()
        });
        let log = self.pod.log();
        assert!(!log.contains(PASSWORD), "{log}");
        let message = fs::read_to_string(self.pod.message_path()).unwrap_or_default();
        Ended {
            code: status.and_then(|status| status.code()),
            message: message.trim().to_owned(),
        }
    }

    pub fn terminate(self) -> Ended {
        signal(self.process.id(), rustix::process::Signal::TERM);
        self.end()
    }

    /// As the end of a container does: the agent, and all that it has started.
    pub fn kill(mut self) {
        // One that has ended by itself is fine.
        let _ = self.process.kill();
        self.process.wait().unwrap();
        let mark = format!("PGOP_HOME={}", self.pod.home.path().display());
        wait_until("nothing of the container is left", || {
            let left = processes_with(&mark);
            for pid in &left {
                let _ = rustix::process::kill_process(*pid, rustix::process::Signal::KILL);
            }
            left.is_empty()
        });
    }

    /// Whether a process that it has started runs.
    pub fn has_started_something(&self) -> bool {
        let mark = format!("PGOP_HOME={}", self.pod.home.path().display());
        processes_with(&mark).len() > 1
    }
}

fn processes_with(mark: &str) -> Vec<rustix::process::Pid> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let has_mark = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == mark.as_bytes())
    };
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(has_mark)
        .filter_map(rustix::process::Pid::from_raw)
        .collect()
}

/// Names in a directory, the hidden ones too.
pub fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A small file system of its own; nothing where none may be mounted.
pub struct Small(TempDir);

impl Small {
    pub fn mount(megabytes: u64, user: Option<(u32, u32)>) -> Option<Self> {
        let folder = folder(user);
        let options = format!("size={megabytes}m,mode=0777");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "none"]).arg(folder.path());
        let mounted = mount.output().is_ok_and(|done| done.status.success());
        mounted.then(|| Self(folder))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}
