//! What a sandbox has on the machine while it runs: processes, namespaces, mounts, sockets, memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::owner::{Sandbox, until};

/// Kinds of namespaces, as `/proc/PID/ns` names them.
const KINDS: [&str; 6] = ["ipc", "mnt", "net", "pid", "user", "uts"];

/// A process by its number and the time of its start, which no other process has.
type Process = (u32, String);

/// What was there.
pub struct Traces {
    processes: BTreeSet<Process>,
    namespaces: BTreeSet<PathBuf>,
    /// They stay open, so that no other gets the number of one that has gone.
    _held: Vec<File>,
    port: String,
    folder: PathBuf,
    memory: Vec<PathBuf>,
}

impl Traces {
    /// Of a sandbox that runs.
    pub fn of(sandbox: &Sandbox) -> Self {
        let processes = family(sandbox.process());
        assert!(
            processes.iter().any(|(pid, _)| program(*pid) == "postgres"),
            "no database among {processes:?}"
        );
        let own = namespaces(std::process::id());
        let all = processes.iter().flat_map(|(pid, _)| namespaces(*pid));
        let folder = sandbox.folder();
        let port = fs::read_to_string(folder.join("port")).unwrap().trim().to_owned();
        let paths = processes
            .iter()
            .flat_map(|(pid, _)| KINDS.map(|kind| format!("/proc/{pid}/ns/{kind}")));
        let traces = Self {
            _held: paths.filter_map(|path| File::open(path).ok()).collect(),
            namespaces: all.filter(|namespace| !own.contains(namespace)).collect(),
            memory: memory(&processes),
            processes,
            port,
            folder,
        };
        traces.assert_there();
        traces
    }

    /// All of it is there: what is looked for can be found.
    pub fn assert_there(&self) {
        assert!(self.alive().len() > 5, "{:?}", self.processes);
        assert!(inside(&self.namespaces).len() > 3);
        assert!(self.namespaces.len() > KINDS.len());
        assert!(listens(&self.port));
        assert!(!mounted(&self.folder).is_empty(), "pods have volumes");
        assert!(!self.memory.is_empty() && self.memory.iter().all(|folder| folder.exists()));
    }

    /// The processes end, and what lives by them.
    pub fn assert_processes_go(&self, after: &str) {
        until(&format!("no process is left after {after}"), || {
            let left = self.alive();
            if left.is_empty() { Ok(()) } else { Err(told(&left)) }
        });
    }

    /// Nothing is left, at once.
    pub fn assert_gone(&self, after: &str) {
        let left = self.alive();
        assert!(left.is_empty(), "after {after}: {}", told(&left));
        let left = inside(&self.namespaces);
        assert!(left.is_empty(), "in its namespaces after {after}: {}", told(&left));
        let mounts = mounted(&self.folder);
        assert!(mounts.is_empty(), "mounts after {after}: {mounts:?}");
        assert!(!listens(&self.port), "something listens on {} after {after}", self.port);
        for folder in &self.memory {
            assert!(!folder.exists(), "{} after {after}", folder.display());
        }
        let sockets = fs::read_to_string("/proc/net/unix").unwrap();
        let home = self.folder.display().to_string();
        assert!(!sockets.contains(&home), "sockets after {after}: {sockets}");
    }

    fn alive(&self) -> BTreeSet<Process> {
        self.processes
            .iter()
            .filter(|(pid, start)| started(*pid).as_ref() == Some(start))
            .cloned()
            .collect()
    }
}

fn all() -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// The fields of `/proc/PID/stat` behind the name of the program.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

/// When it started; none when it has ended.
fn started(pid: u32) -> Option<String> {
    let fields = stat(pid)?;
    (fields[0] != "Z" && fields[0] != "X").then(|| fields[19].clone())
}

/// A process and all below it.
fn family(root: u32) -> BTreeSet<Process> {
    let parents: BTreeMap<u32, u32> = all()
        .into_iter()
        .filter_map(|pid| Some((pid, stat(pid)?[1].parse().ok()?)))
        .collect();
    let below = |pid: u32| {
        let line = std::iter::successors(Some(pid), |pid| parents.get(pid).copied());
        line.take(100).any(|pid| pid == root)
    };
    let pids = parents.keys().filter(|pid| below(**pid));
    pids.filter_map(|pid| Some((*pid, started(*pid)?))).collect()
}

fn namespaces(pid: u32) -> BTreeSet<PathBuf> {
    let link = |kind: &&str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
    KINDS.iter().filter_map(link).collect()
}

/// Processes, whosever they are, in one of these namespaces.
fn inside(which: &BTreeSet<PathBuf>) -> BTreeSet<Process> {
    let within = |pid: &u32| !namespaces(*pid).is_disjoint(which);
    all()
        .into_iter()
        .filter(within)
        .filter_map(|pid| Some((pid, started(pid)?)))
        .collect()
}

/// Places below a folder that are mounted in any process's view of the machine.
fn mounted(folder: &Path) -> BTreeSet<String> {
    // The table has paths as they are in their file system.
    let names: Vec<_> = folder
        .components()
        .rev()
        .take(3)
        .map(|c| c.as_os_str().to_string_lossy())
        .collect();
    let word = names.iter().rev().map(AsRef::as_ref).collect::<Vec<&str>>().join("/");
    let lines = |pid: u32| fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    let texts = all().into_iter().map(lines);
    texts
        .flat_map(|text| {
            text.lines()
                .filter(|line| line.contains(&word))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Folders in memory that are mounted in these processes.
fn memory(processes: &BTreeSet<Process>) -> Vec<PathBuf> {
    let texts = processes
        .iter()
        .filter_map(|(pid, _)| fs::read_to_string(format!("/proc/{pid}/mountinfo")).ok());
    let found: BTreeSet<PathBuf> = texts
        .flat_map(|text| {
            let roots = text.lines().filter_map(|line| line.split(' ').nth(3));
            let own = roots.filter_map(|root| root.strip_prefix("/pgop-sandbox-")?.split('/').next());
            own.map(|name| Path::new("/dev/shm").join(format!("pgop-sandbox-{name}")))
                .collect::<Vec<_>>()
        })
        .collect();
    found.into_iter().collect()
}

/// Does something listen on the port of the loopback?
fn listens(port: &str) -> bool {
    let wanted = format!("0100007F:{:04X}", port.parse::<u16>().unwrap());
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next() == Some(&wanted) && fields.nth(1) == Some("0A")
    })
}

fn told(processes: &BTreeSet<Process>) -> String {
    let line = |(pid, _): &Process| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        format!("{pid}: {}", String::from_utf8_lossy(&words).replace('\0', " "))
    };
    processes.iter().map(line).collect::<Vec<_>>().join("; ")
}

fn program(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm"))
        .unwrap_or_default()
        .trim()
        .to_owned()
}
