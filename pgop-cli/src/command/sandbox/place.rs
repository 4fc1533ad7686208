//! Where sandboxes are kept.

use std::fs;
use std::path::{Path, PathBuf};

use pgop_sandbox::Folder;

use crate::env::Env;
use crate::error::Error;

/// Folder of all sandboxes: `PGOP_SANDBOX_HOME`, or where the XDG specification wants state to be.
fn home(env: &Env) -> Option<PathBuf> {
    let set = |name: &str| env.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("PGOP_SANDBOX_HOME").or_else(|| {
        let state = set("XDG_STATE_HOME").or_else(|| env.home().map(|home| home.join(".local/state")));
        state.map(|state| state.join("pgop/sandbox"))
    })
}

/// Folder of one sandbox. Its name is one path component, and sockets' paths are short: so are names.
pub(super) fn folder(env: &Env, name: &str) -> Result<Folder, Error> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 20 || !name.chars().all(fits) {
        return Err(Error::Usage(format!(
            "`{name}` can't be the name of a sandbox: at most 20 lower-case letters, digits and hyphens"
        )));
    }
    let home = home(env).ok_or_else(|| {
        Error::Usage("there is no place for a sandbox: set HOME, XDG_STATE_HOME or PGOP_SANDBOX_HOME".to_owned())
    })?;
    Ok(Folder::new(home.join(name)))
}

/// The kubeconfig of the sandbox `default`, while it runs.
pub(crate) fn running(env: &Env) -> Option<PathBuf> {
    let folder = folder(env, "default").ok()?;
    folder.holder().map(|_| folder.kubeconfig())
}

/// How much is in a folder, in bytes.
pub(super) fn size(path: &Path) -> u64 {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(variables: &[(&str, &str)]) -> Env {
        Env::of(
            variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())),
            Path::new("/"),
        )
    }

    #[test]
    fn the_place_is_where_state_belongs() {
        let at = |variables: &[(&str, &str)]| folder(&env(variables), "default").map(|f| f.path().to_owned());
        let home = ("HOME", "/home/ada");
        assert_eq!(
            at(&[home]).unwrap(),
            Path::new("/home/ada/.local/state/pgop/sandbox/default")
        );
        let state = ("XDG_STATE_HOME", "/var/state");
        assert_eq!(
            at(&[home, state]).unwrap(),
            Path::new("/var/state/pgop/sandbox/default")
        );
        let own = ("PGOP_SANDBOX_HOME", "/tmp/s");
        assert_eq!(at(&[home, state, own]).unwrap(), Path::new("/tmp/s/default"));
        assert!(at(&[]).unwrap_err().to_string().contains("HOME"));
    }

    #[test]
    fn names_are_path_components() {
        for name in ["", "..", "a/b", "Ä", "a name", "a-very-long-name-for-it"] {
            assert!(folder(&env(&[("HOME", "/h")]), name).is_err(), "{name}");
        }
        assert!(folder(&env(&[("HOME", "/h")]), "ci-2").is_ok());
    }
}
