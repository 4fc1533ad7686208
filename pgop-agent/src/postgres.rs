//! `PostgreSQL`'s own programs.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::Stdio;

use tokio::process::{Child, Command};

use crate::settings::file::{Entry, last};
use crate::supervisor::Shutdown;

/// The container has them so that `kubectl exec POD -- psql` finds the server. What connects elsewhere from within the server (`dblink`, a
/// subscription) must not come back to it for want of a host.
const OF_PSQL: [&str; 2] = ["PGHOST", "PGUSER"];

fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("LC_ALL", "C").stdin(Stdio::null());
    for name in OF_PSQL {
        command.env_remove(name);
    }
    command
}

/// Standard output of a program that succeeds.
fn output(program: &str, arguments: &[&OsStr]) -> io::Result<String> {
    let mut command = command(program).into_std();
    let done = command.args(arguments).output()?;
    if !done.status.success() {
        let words = String::from_utf8_lossy(&done.stderr);
        return Err(io::Error::other(format!(
            "{program} ended with {}: {}",
            done.status,
            words.trim()
        )));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Major version of the image's programs.
pub fn major() -> io::Result<u32> {
    let text = output("postgres", &["--version".as_ref()])?;
    let digits = text
        .split_whitespace()
        .find_map(|word| word.split(['.', 'b', 'r', 'd']).next()?.parse().ok());
    digits.ok_or_else(|| io::Error::other(format!("`{}` is no version of PostgreSQL", text.trim())))
}

/// Output of `pg_controldata`.
pub fn controldata(data: &Path) -> io::Result<String> {
    output("pg_controldata", &[data.as_os_str()])
}

/// Fails where there is no shell. `initdb` runs `postgres` by `popen`, and a `restore_command` is run by `system`: both are the C library's and want
/// `/bin/sh`. Without it the one says that there is no `postgres`, and the other that it could not restore a file. Nothing else needs one.
pub fn need_shell(what: &str) -> io::Result<()> {
    if Path::new("/bin/sh").exists() {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "the image has no /bin/sh, which PostgreSQL needs to {what}: use an image that has one, of any kind"
    )))
}

/// Begins `initdb`. <https://www.postgresql.org/docs/current/app-initdb.html>
pub fn initdb(into: &Path, locale: &str, wal_segment_size: &str) -> io::Result<Child> {
    let mut command = command("initdb");
    command.arg("-D").arg(into);
    command.args([
        "-U",
        "postgres",
        "-E",
        "UTF8",
        "--data-checksums",
        "--auth-local=peer",
        "--auth-host=reject",
    ]);
    command
        .arg(format!("--locale={locale}"))
        .arg(format!("--wal-segsize={wal_segment_size}"));
    command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
}

/// Begins to copy a server. `conninfo` names a password file. <https://www.postgresql.org/docs/current/app-pgbasebackup.html>
pub fn copy_primary(into: &Path, conninfo: &str, slot: &str) -> io::Result<Child> {
    let mut command = command("pg_basebackup");
    command.arg("-D").arg(into).args(["-X", "stream", "-c", "fast", "-w"]);
    command.args(["-S", slot, "-d", conninfo]);
    command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
}

/// What a setting of a configuration file would be, where `PostgreSQL` reads the file and knows the setting.
pub async fn setting(data: &Path, file: &Path, name: &str) -> Option<u32> {
    let mut config = std::ffi::OsString::from("config_file=");
    config.push(file);
    let mut command = command("postgres");
    command.arg("-D").arg(data).args(["-C", name, "-c"]).arg(config);
    let done = command.stderr(Stdio::null()).kill_on_drop(true).output().await.ok()?;
    String::from_utf8_lossy(&done.stdout).trim().parse().ok()
}

/// Has it read a configuration file as a start on the directory would, and tell one setting. `more` is what no file can change. Its words are English,
/// whatever the file says.
pub async fn read_settings(
    data: &Path,
    file: &Path,
    asked: &str,
    more: &[(&str, &str)],
) -> io::Result<std::process::Output> {
    let mut command = command("postgres");
    command.env("LANGUAGE", "en").arg("-D").arg(data);
    command.args(["-C", asked, "-c", "log_line_prefix="]);
    for (name, path) in [("config_file", file), ("data_directory", data)] {
        let mut setting = std::ffi::OsString::from(format!("{name}="));
        setting.push(path);
        command.arg("-c").arg(setting);
    }
    for (name, value) in more {
        command.arg("-c").arg(format!("{name}={value}"));
    }
    command.kill_on_drop(true).output().await
}

/// What a server is started with, beside its data and its file.
#[derive(Clone, Debug, Default)]
pub struct Arguments {
    always: Vec<(String, String)>,
    once: Vec<(String, String)>,
}

impl Arguments {
    /// One more setting, which no file can change.
    #[must_use]
    pub fn with(mut self, name: &str, value: &dyn std::fmt::Display) -> Self {
        self.always.push((name.to_owned(), value.to_string()));
        self
    }

    /// One more setting, for this start: the next one has what its file says.
    #[must_use]
    pub fn once(mut self, name: &str, value: &str) -> Self {
        self.once.push((name.to_owned(), value.to_owned()));
        self
    }

    fn all(&self) -> impl Iterator<Item = &(String, String)> {
        self.always.iter().chain(&self.once)
    }

    /// Whether no file can change a setting.
    pub fn owns(&self, name: &str) -> bool {
        self.all().any(|(owned, _)| owned == name)
    }

    /// What settings say otherwise than this, and say in vain.
    pub fn differing(&self, settings: &[Entry]) -> Vec<String> {
        let differs = |(name, value): &&(String, String)| {
            last(settings, name).is_some_and(|entry| !entry.value.eq_ignore_ascii_case(value))
        };
        self.always
            .iter()
            .filter(differs)
            .map(|(name, _)| name.clone())
            .collect()
    }
}

/// Starts a server. Its log comes through a pipe, so that its last words can be told.
pub fn start(data: &Path, arguments: &Arguments) -> io::Result<Child> {
    let mut command = command("postgres");
    command.arg("-D").arg(data);
    for (name, value) in arguments.all() {
        command.arg("-c").arg(format!("{name}={value}"));
    }
    command.env_remove("LC_ALL").stderr(Stdio::piped()).spawn()
}

/// Ends every process that works in a data directory, as all of a server's do. Who is another user's is not a server's.
pub fn kill_all_in(data: &Path) -> io::Result<()> {
    let data = data.canonicalize()?;
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) else {
            continue;
        };
        if std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == data) {
            // One that has ended meanwhile needs no signal.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    Ok(())
}

/// Ends every process that has a file open, such as a lock that it holds.
pub fn kill_all_with(file: &Path) -> io::Result<()> {
    let file = match file.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let ours = rustix::process::getpid();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(pid) = pid.and_then(rustix::process::Pid::from_raw).filter(|pid| *pid != ours) else {
            continue;
        };
        // Those of another user can't be looked at, and are not ours.
        let open = std::fs::read_dir(entry.path().join("fd"))
            .into_iter()
            .flatten()
            .flatten();
        if open
            .into_iter()
            .any(|open| std::fs::read_link(open.path()).is_ok_and(|open| open == file))
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    Ok(())
}

/// Asks a server to end.
pub fn stop(server: &Child, how: Shutdown) {
    use rustix::process::Signal;
    signal(
        server,
        match how {
            Shutdown::Smart => Signal::TERM,
            Shutdown::Fast => Signal::INT,
            Shutdown::Immediate => Signal::QUIT,
        },
    );
}

/// Has a server read its configuration file again.
pub fn reload(server: &Child) {
    signal(server, rustix::process::Signal::HUP);
}

/// Asks a program to end.
pub fn terminate(child: &Child) {
    signal(child, rustix::process::Signal::TERM);
}

fn signal(child: &Child, signal: rustix::process::Signal) {
    // None: it has ended and was waited for.
    let pid = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Copies the server of a connection string: <https://www.postgresql.org/docs/current/app-pgbasebackup.html>. It brings all to the disk.
pub fn basebackup(
    into: &Path,
    conninfo: &str,
    label: &str,
    checkpoint: crate::environment::Checkpoint,
    max_rate: Option<&str>,
) -> Command {
    let mut command = command("pg_basebackup");
    command.arg("-D").arg(into);
    command.args(["-F", "plain", "-X", "stream", "-w", "--manifest-checksums=SHA256", "-c"]);
    command.arg(match checkpoint {
        crate::environment::Checkpoint::Fast => "fast",
        crate::environment::Checkpoint::Spread => "spread",
    });
    command.arg(format!("--label={label}")).arg("-d").arg(conninfo);
    if let Some(rate) = max_rate {
        command.arg(format!("--max-rate={rate}"));
    }
    command
}

/// Checks a snapshot by its manifest, but for its WAL: <https://www.postgresql.org/docs/current/app-pgverifybackup.html>. For that it would run a
/// shell, which an image need not have.
pub fn verify(snapshot: &Path, how: Verification) -> Command {
    let mut command = command("pg_verifybackup");
    command.args(["--quiet", "--no-parse-wal"]);
    if how == Verification::Names {
        command.arg("--skip-checksums");
    }
    command.arg(snapshot);
    command
}

/// How much of a snapshot is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verification {
    /// Names and sizes.
    Names,
    /// Every byte.
    All,
}

/// Reads the WAL of a snapshot as the server will, as `pg_verifybackup` has it done.
pub fn read_wal(snapshot: &Path, wal: &crate::snapshot::Wal) -> Command {
    let mut command = command("pg_waldump");
    command.arg("--quiet").arg("--path").arg(snapshot.join("pg_wal"));
    command.arg(format!("--timeline={}", wal.timeline));
    command
        .arg(format!("--start={}", wal.start))
        .arg(format!("--end={}", wal.end));
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_a_file_open_is_ended_and_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let start = |name: &str| {
            let file = std::fs::File::create(folder.path().join(name)).unwrap();
            std::process::Command::new("sleep")
                .arg("60")
                .stdin(file)
                .spawn()
                .unwrap()
        };
        let (mut held, mut other) = (start("lock"), start("another"));
        kill_all_with(&folder.path().join("lock")).unwrap();
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&held.wait().unwrap()),
            Some(9)
        );
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
        kill_all_with(&folder.path().join("absent")).unwrap();
    }

    #[test]
    fn a_server_does_not_inherit_what_is_there_for_psql() {
        let command = command("postgres");
        let all = command.as_std().get_envs();
        let removed: Vec<_> = all.filter(|(_, value)| value.is_none()).map(|(name, _)| name).collect();
        assert_eq!(removed, OF_PSQL);
    }

    #[test]
    fn what_a_file_says_otherwise_than_the_arguments_is_said_in_vain() {
        let arguments = Arguments::default()
            .with("port", &5432)
            .with("log_destination", &"stderr");
        let settings = |text| crate::settings::file::entries(text);
        assert_eq!(
            arguments.differing(&settings("port = 6000\nwork_mem = 1MB\n")),
            ["port"]
        );
        assert!(
            arguments
                .differing(&settings("port = '5432'\nlog_destination = Stderr"))
                .is_empty()
        );
        assert!(arguments.differing(&settings("port = 6000\nport = 5432\n")).is_empty());

        let restored = arguments.once("hot_standby", "off");
        assert!(restored.owns("hot_standby"));
        assert!(restored.differing(&settings("hot_standby = on")).is_empty());
    }
}
