//! What a sandbox needs of the machine.

use std::path::{Path, PathBuf};

use crate::error::Error;

/// Where Debian and its kin put the programs of each major version.
const DEBIAN: &str = "/usr/lib/postgresql";
/// What the operator's image holds, and so what containers of it run.
const OWN: [&str; 2] = ["pgop-operator", "pgop-agent"];

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
    own_folders(own).map(drop)
}

/// What comes first on the PATH of containers: the folders of our own programs, and that of the newest `PostgreSQL`.
pub(super) fn path() -> Result<Vec<PathBuf>, Error> {
    let mut path = own_folders(own)?;
    path.extend(server_programs());
    Ok(path)
}

/// The folders of the programs that containers of ours run, each once. There are no images: an init container that copies the agent finds it there.
fn own_folders(place: impl Fn(&str) -> Option<PathBuf>) -> Result<Vec<PathBuf>, Error> {
    let mut folders = Vec::new();
    for program in OWN {
        let found = place(program).and_then(|path| path.parent().map(Path::to_owned));
        let folder = found.ok_or_else(|| {
            Error::Object(format!(
                "the program {program} is neither beside pgo nor on the PATH: `cargo build --release -p {program}`"
            ))
        })?;
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    Ok(folders)
}

/// A program of ours: beside this one, or on the PATH.
fn own(program: &str) -> Option<PathBuf> {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|own| own.canonicalize().ok())
        .map(|own| own.with_file_name(program))
        .filter(|path| path.is_file());
    beside.or_else(|| find(program))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_programs_are_needed_wherever_they_are() {
        let at = |operator: Option<&'static str>, agent: Option<&'static str>| {
            let found = own_folders(|program| match program {
                "pgop-operator" => operator.map(PathBuf::from),
                "pgop-agent" => agent.map(PathBuf::from),
                other => panic!("{other}"),
            });
            found.map_err(|error| error.to_string())
        };
        let (one, other) = (PathBuf::from("/a"), PathBuf::from("/b"));
        let (operator, agent) = (Some("/a/pgop-operator"), Some("/a/pgop-agent"));
        assert_eq!(at(operator, agent), Ok(vec![one.clone()]));
        assert_eq!(at(operator, Some("/b/pgop-agent")), Ok(vec![one, other]));
        for (operator, agent, missing) in [(None, agent, "pgop-operator"), (operator, None, "pgop-agent")] {
            let error = at(operator, agent).unwrap_err();
            assert!(
                error.contains(&format!("program {missing} is neither")) && error.contains(&format!("-p {missing}`")),
                "{error}"
            );
        }
    }
}
