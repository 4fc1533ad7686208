//! What an image holds at the least: `PostgreSQL`'s programs and what they load, and nothing else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::machine::{folder, postgres, programs, succeeds};

/// All that the agent calls, and what `initdb` calls for it.
pub const PROGRAMS: [&str; 6] = [
    "initdb",
    "pg_basebackup",
    "pg_controldata",
    "pg_verifybackup",
    "pg_waldump",
    "postgres",
];

/// Whether an image has `/bin/sh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// No program but `PostgreSQL`'s.
    None,
    /// A plain one, which is no bash and has nothing beside it.
    Dash,
}

/// Files of this machine that a container sees, where they are here.
pub struct Root {
    files: Vec<PathBuf>,
    etc: TempDir,
}

impl Root {
    pub fn new() -> Self {
        let mut files: Vec<PathBuf> = PROGRAMS.map(|name| Path::new(&programs()).join(name)).to_vec();
        // Modules come with the programs: procedural languages, and what a replica connects by.
        let modules = told("--pkglibdir");
        let loaded = ["plpgsql.so", "dict_snowball.so", "libpqwalreceiver.so"].map(|name| modules.join(name));
        files.extend(libraries(files.iter().chain(&loaded)));
        files.extend([modules, told("--sharedir")]);
        let etc = folder(postgres());
        // `initdb` asks for the name of its user.
        let (uid, gid) = postgres().expect("a user to lend, as root");
        let user = format!("postgres:x:{uid}:{gid}::/:/nowhere\n");
        fs::write(etc.path().join("passwd"), user).unwrap();
        Self { files, etc }
    }

    /// As arguments of bubblewrap, which begins with nothing.
    pub fn arguments(&self, shell: Shell) -> Vec<String> {
        let mut all = Vec::new();
        let mut add = |from: &Path, to: &Path| {
            all.extend([
                "--ro-bind".to_owned(),
                from.display().to_string(),
                to.display().to_string(),
            ]);
        };
        for file in &self.files {
            add(file, file);
        }
        add(&self.etc.path().join("passwd"), Path::new("/etc/passwd"));
        if shell == Shell::Dash {
            add(Path::new("/usr/bin/dash"), Path::new("/bin/sh"));
        }
        all.extend(["--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"].map(str::to_owned));
        all
    }
}

fn told(option: &str) -> PathBuf {
    succeeds(Command::new("pg_config").arg(option)).into()
}

/// What programs load, their loader too. The agent of a pod is static; that of a test loads the C library, which they load as well.
fn libraries<'a>(programs: impl Iterator<Item = &'a PathBuf>) -> Vec<PathBuf> {
    let told = succeeds(Command::new("ldd").args(programs));
    let paths = told.lines().filter_map(|line| {
        let loaded = line
            .split_whitespace()
            .find(|word| word.starts_with('/') && !word.ends_with(':'))?;
        Some(PathBuf::from(loaded))
    });
    let mut paths: Vec<PathBuf> = paths.collect();
    paths.sort();
    paths.dedup();
    paths
}
