//! What a sandbox needs of the machine.

use std::path::{Path, PathBuf};

use crate::error::Error;

/// Where Debian and its kin put the programs of each major version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// Says what is missing, and how to get it.
pub(super) fn check() -> Result<(), Error> {
    let mut missing = Vec::new();
    if find("bwrap").is_none() {
        missing.push("bubblewrap");
    }
    if server_programs().is_none() {
        missing.push("postgresql");
    }
    if !missing.is_empty() {
        return Err(Error::Object(format!(
            "a sandbox needs {} on this machine: `apt-get install {}`, or your system's packages of these names",
            missing.join(" and "),
            missing.join(" ")
        )));
    }
    operator().map(drop)
}

/// What comes first on the PATH of containers: the operator's folder, and that of the newest `PostgreSQL`.
pub(super) fn path() -> Result<Vec<PathBuf>, Error> {
    let operator = operator()?;
    let mut path: Vec<PathBuf> = operator.parent().map(Path::to_owned).into_iter().collect();
    path.extend(server_programs());
    Ok(path)
}

/// The operator's program: beside this one, or on the PATH.
fn operator() -> Result<PathBuf, Error> {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|own| own.canonicalize().ok())
        .map(|own| own.with_file_name("pgop-operator"))
        .filter(|path| path.is_file());
    beside.or_else(|| find("pgop-operator")).ok_or_else(|| {
        Error::Object(
            "the program pgop-operator is neither beside pgo nor on the PATH: `cargo build --release -p pgop-operator`, or start \
             with --without-operator"
                .to_owned(),
        )
    })
}

/// The folder with `initdb` and `postgres` of the newest version that is installed.
fn server_programs() -> Option<PathBuf> {
    let has_server = |folder: &Path| folder.join("initdb").is_file() && folder.join("postgres").is_file();
    let versions = std::fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| {
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .filter(|(_, folder)| has_server(folder))
        .max();
    newest
        .map(|(_, folder)| folder)
        .or_else(|| find("initdb").and_then(|path| path.canonicalize().ok()?.parent().map(Path::to_owned)))
        .filter(|folder| has_server(folder))
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}
