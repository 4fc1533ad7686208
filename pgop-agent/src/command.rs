//! What the program is asked to do.
//!
//! Two words at most but for `psql`, and no options: what a command needs to know is in the pod's environment ([`crate::environment`]).

use std::ffi::OsString;
use std::path::PathBuf;

/// What it says of itself.
pub const HELP: &str = "\
pgop-agent, the program beside every PostgreSQL server of pgop

  pgop-agent install DIR     copies itself to DIR/pgop-agent
  pgop-agent server          looks after the server of this container, as its process 1
  pgop-agent stop            asks the agent of this container to end, until it is heard (its preStop)
  pgop-agent backup          makes one snapshot of a server, as the Job of a PgBackup
  pgop-agent restore         makes a server's data of a snapshot, as the Job of a restore
  pgop-agent browse [PATH]   lists a directory of the claim at $PGOP_VOLUME, as lines of JSON
  pgop-agent psql [ARG...]   runs psql on an input that ends with a line of pgo's, for `pgo psql`; its exit code is psql's
  pgop-agent version

Exit codes:
  0  done
  1  it failed, and another try may do better; the container's last words (its termination message) say why
  2  the arguments, or the variables of the environment, are not as they have to be
  3  backup, restore: every try would end so until somebody changes something
     browse: there is no such directory on the claim
";

/// Done.
pub const DONE: u8 = 0;
/// It failed, and why was said.
pub const FAILED: u8 = 1;
/// Arguments or environment are not as they have to be.
pub const USAGE: u8 = 2;
/// There is no such directory on the claim.
pub const NO_DIRECTORY: u8 = 3;

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Copies the program into this directory.
    Install(PathBuf),
    /// Looks after a server.
    Server,
    /// Asks the agent to end.
    Stop,
    /// Makes a snapshot.
    Backup,
    /// Makes a server's data of a snapshot.
    Restore,
    /// Lists this directory of a claim; an empty path is the claim's root.
    Browse(PathBuf),
    /// Runs psql with these arguments.
    Psql(Vec<OsString>),
    /// Gives psql, its parent, its input; `psql` starts it, and nobody else.
    Feed,
    /// Says which version it is.
    Version,
    /// Says what it can do.
    Help,
}

impl Command {
    /// Reads the arguments, without the program's name. The error is for whoever typed them.
    ///
    /// ```
    /// use pgop_agent::command::Command;
    /// assert_eq!(Command::read(&["install".into(), "/pgop/bin".into()]), Ok(Command::Install("/pgop/bin".into())));
    /// ```
    pub fn read(arguments: &[OsString]) -> Result<Self, String> {
        let Some((verb, rest)) = arguments.split_first() else {
            return Err(usage("a command is missing"));
        };
        let verb = verb.to_string_lossy();
        match (verb.as_ref(), rest) {
            ("install", [directory]) if !directory.is_empty() => Ok(Self::Install(directory.into())),
            ("install", []) => Err(usage("install: the directory to copy to is missing")),
            ("server", []) => Ok(Self::Server),
            ("stop", []) => Ok(Self::Stop),
            ("backup", []) => Ok(Self::Backup),
            ("restore", []) => Ok(Self::Restore),
            ("browse", []) => Ok(Self::Browse(PathBuf::new())),
            ("browse", [path]) => Ok(Self::Browse(path.into())),
            ("psql", arguments) => Ok(Self::Psql(arguments.to_vec())),
            ("feed", []) => Ok(Self::Feed),
            ("version" | "--version" | "-V", []) => Ok(Self::Version),
            ("help" | "--help" | "-h", []) => Ok(Self::Help),
            ("install" | "server" | "stop" | "backup" | "restore" | "browse" | "version", [.., last]) => {
                Err(usage(&format!("{verb}: `{}` is too much", last.to_string_lossy())))
            }
            _ => Err(usage(&format!("`{verb}` is no command"))),
        }
    }
}

fn usage(problem: &str) -> String {
    format!("{problem}\n\n{HELP}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Command, String> {
        Command::read(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn each_command_is_known() {
        for (line, command) in [
            ("install /pgop/bin", Command::Install("/pgop/bin".into())),
            ("server", Command::Server),
            ("stop", Command::Stop),
            ("backup", Command::Backup),
            ("restore", Command::Restore),
            ("browse", Command::Browse(PathBuf::new())),
            ("browse orders-backups", Command::Browse("orders-backups".into())),
            ("browse --help", Command::Browse("--help".into())),
            ("psql -c help", Command::Psql(vec!["-c".into(), "help".into()])),
            ("version", Command::Version),
            ("--version", Command::Version),
            ("-h", Command::Help),
        ] {
            assert_eq!(read(line), Ok(command), "{line}");
        }
    }

    #[test]
    fn what_is_wrong_comes_before_the_help() {
        for (line, words) in [
            ("", "a command is missing"),
            ("serve", "`serve` is no command"),
            ("install", "install: the directory to copy to is missing"),
            ("install /a /b", "install: `/b` is too much"),
            ("server now", "server: `now` is too much"),
            ("browse a b", "browse: `b` is too much"),
        ] {
            let error = read(line).unwrap_err();
            assert!(error.starts_with(&format!("{words}\n\npgop-agent,")), "{line}: {error}");
        }
        let empty = Command::read(&["install".into(), OsString::new()]);
        assert!(empty.unwrap_err().starts_with("install: `` is too much"));
    }

    /// Every command that is read is told of, and the numbers are those of the help.
    #[test]
    fn the_help_is_complete() {
        for verb in [
            "install DIR",
            "server",
            "stop",
            "backup",
            "restore",
            "browse [PATH]",
            "psql [ARG...]",
            "version",
        ] {
            assert!(HELP.contains(&format!("  pgop-agent {verb}")), "{verb}");
        }
        for (code, words) in [
            (DONE, "done"),
            (FAILED, "it failed"),
            (USAGE, "the arguments"),
            (NO_DIRECTORY, "backup, restore: every try"),
            (crate::job::Outcome::Never.code(), "backup, restore: every try"),
        ] {
            assert!(HELP.contains(&format!("  {code}  {words}")), "{code}");
        }
    }
}
