//! What a run gets from its surroundings, so that tests can give it others.

use std::collections::BTreeMap;
use std::io::{IsTerminal, stderr, stdin, stdout};
use std::path::{Path, PathBuf};

/// Environment variables, working directory and terminals.
#[derive(Clone, Debug, Default)]
pub struct Env {
    variables: BTreeMap<String, String>,
    /// The working directory.
    pub directory: PathBuf,
    /// Standard input is a terminal.
    pub stdin_terminal: bool,
    /// Standard output is a terminal.
    pub stdout_terminal: bool,
    /// Standard error is a terminal.
    pub stderr_terminal: bool,
}

impl Env {
    /// That of this process.
    pub fn of_process() -> Self {
        // Variables that are no Unicode can't be ours.
        let variables = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        Self {
            variables: variables.collect(),
            directory: std::env::current_dir().unwrap_or_default(),
            stdin_terminal: stdin().is_terminal(),
            stdout_terminal: stdout().is_terminal(),
            stderr_terminal: stderr().is_terminal(),
        }
    }

    /// One without terminals.
    pub fn of(variables: impl IntoIterator<Item = (String, String)>, directory: &Path) -> Self {
        Self {
            variables: variables.into_iter().collect(),
            directory: directory.to_owned(),
            ..Self::default()
        }
    }

    /// A variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// Names of all variables.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().map(String::as_str)
    }

    /// The home directory.
    pub fn home(&self) -> Option<PathBuf> {
        self.get("HOME")
            .or_else(|| self.get("USERPROFILE"))
            .filter(|home| !home.is_empty())
            .map(PathBuf::from)
    }
}
