//! The command line. Only this file and those below it know clap; the rest of the program reads plain fields.

#![allow(clippy::doc_markdown)] // the comments are help texts, where backticks would be noise

pub mod create;
pub mod operate;
pub mod sandbox;
pub mod show;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::styling::Styles;
use clap::{Args, ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::exit_code;

/// Creates, shows, backs up and restores PostgreSQL on Kubernetes.
#[derive(Debug, Parser)]
#[command(
    name = "pgo",
    version,
    disable_version_flag = true,
    disable_help_subcommand = false,
    subcommand_required = true,
    arg_required_else_help = true,
    infer_long_args = false,
    styles = Styles::plain(),
    color = ColorChoice::Never,
    max_term_width = 100,
    after_help = exit_code::HELP
)]
pub struct Cli {
    /// Flags of every verb.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Flags of every verb.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Global flags")]
pub struct Global {
    /// Kubeconfig file; default: KUBECONFIG (a list), then KUBECONFIG of .pgo.yaml, then ~/.kube/config, then the pod's own account
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Namespace; default: that of the configuration, then that of the context
    #[arg(short = 'n', long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Look in every namespace (show)
    #[arg(short = 'A', long, global = true, conflicts_with = "namespace")]
    pub all_namespaces: bool,
    /// Only resources with these labels, such as team=a,tier!=test
    #[arg(short = 'l', long, global = true, value_name = "LABELS")]
    pub selector: Option<String>,
    /// Configuration file; default: .pgo.{yaml,yml,json,toml} in ., $HOME or /etc/pgo, the first one found
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Output format; without it, text for people
    #[arg(short = 'o', long, global = true, value_enum, value_name = "FORMAT")]
    pub output: Option<Output>,
    /// Longest wait for one answer of the cluster, such as 30s (the default); 0 waits for ever
    #[arg(long, global = true, value_name = "TIME", value_parser = duration)]
    pub request_timeout: Option<Duration>,
    /// When to use colour; NO_COLOR is honoured
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
    /// Say on standard error what is asked of the cluster
    #[arg(long, global = true)]
    pub debug: bool,
}

/// The form of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// A table with more columns
    Wide,
    /// The resources as JSON
    Json,
    /// The resources as YAML
    Yaml,
    /// kind/name, one a line
    Name,
}

/// When colour is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The verbs. Clap takes the help of those with arguments from their structs.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, clippy::large_enum_variant)] // there is one of it
pub enum Verb {
    Create(create::Create),
    Show(show::Show),
    Delete(show::Delete),
    Scale(operate::Scale),
    Upgrade(operate::Upgrade),
    Psql(operate::Psql),
    Logs(operate::Logs),
    Install(operate::Install),
    Uninstall(operate::Uninstall),
    Sandbox(sandbox::Sandbox),
    /// List the strategies that are built in
    Strategies,
    /// Show every configuration key, its value, and where the value comes from
    Config,
    Version(operate::Version),
    /// Print the completion script of a shell
    ///
    /// bash: `source <(pgo completion bash)`; zsh: `pgo completion zsh > "${fpath[1]}/_pgo"`; fish: `pgo completion fish | source`
    Completion {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
    },
}

/// The shells with completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU bash
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}

/// Waiting, for the verbs that can.
#[derive(Args, Clone, Copy, Debug)]
pub struct Wait {
    /// Wait until it is done, and tell how it goes
    #[arg(long)]
    pub wait: bool,
    /// Longest wait, such as 90s, 10m or 1h
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10m")]
    pub timeout: Duration,
}

/// What a command line that is not run wants to be said, and with which stream.
#[derive(Debug)]
pub enum Answer {
    /// Help or the version: standard output, success.
    Help(String),
    /// What is wrong with the command line: standard error.
    Wrong(String),
}

/// Reads the command line.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, Answer> {
    let args: Vec<OsString> = args.into_iter().collect();
    let matches = command(args.first().map(OsString::as_os_str)).try_get_matches_from(args);
    matches.and_then(|m| Cli::from_arg_matches(&m)).map_err(|error| {
        use clap::error::ErrorKind::{DisplayHelp, DisplayVersion};
        let text = error.render().to_string();
        match error.kind() {
            DisplayHelp | DisplayVersion => Answer::Help(text),
            _ => Answer::Wrong(text),
        }
    })
}

/// The command; as a kubectl plugin it calls itself `kubectl pgo` in help.
fn command(program: Option<&std::ffi::OsStr>) -> clap::Command {
    let name = program
        .map(Path::new)
        .and_then(Path::file_stem)
        .and_then(|s| s.to_str())
        .unwrap_or("pgo");
    if name.starts_with("kubectl-") {
        Cli::command().bin_name("kubectl pgo")
    } else {
        Cli::command().bin_name("pgo")
    }
}

/// The completion script of a shell.
pub fn completion(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    clap_complete::generate(shell, &mut command(None), "pgo", &mut script);
    script
}

/// `90s`, `10m`, `1h30m`, `2 minutes`; a bare number is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.trim().parse::<u32>() {
        return Ok(Duration::from_secs(seconds.into()));
    }
    let span: jiff::SignedDuration = text
        .parse()
        .map_err(|_| "give a time such as 90s, 10m or 1h30m".to_owned())?;
    Duration::try_from(span).map_err(|_| "a time can't be negative".to_owned())
}

/// `key=value`, with a key.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("give it as key=value".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Result<Cli, Answer> {
        parse(text.split_whitespace().map(OsString::from))
    }

    #[test]
    fn the_tree_of_commands_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_line_of_v1_is_understood() {
        for text in [
            "pgo show database all",
            "pgo show database db1 db2 db3",
            "pgo show cluster mycluster",
            "pgo show backup db1",
            "pgo show pvc mypvc",
            "pgo create database db1",
            "pgo create cluster c1 c2",
            "pgo create backup db1",
            "pgo delete database db1",
            "pgo delete cluster all",
            "pgo delete backup all",
            "pgo create database myrestore --backup-pvc=mypvc --backup-path=foo-backups/2017-03-21-15-57-21",
            "pgo create database myrestore -p mypvc -x foo-backups/2017-03-21-15-57-21",
            "pgo --kubeconfig=/k --config=/c --debug --selector=a=b show database all",
            "pgo show database all --selector a=b --debug",
        ] {
            assert!(line(text).is_ok(), "{text}: {:?}", line(text).err());
        }
    }

    #[test]
    fn typos_are_usage_errors() {
        for text in [
            "pgo create databse x",
            "pgo shw",
            "pgo show",
            "pgo show database",
            "pgo show database x --nope",
            "pgo -A -n x show cluster all",
        ] {
            assert!(matches!(line(text), Err(Answer::Wrong(_))), "{text}");
        }
    }

    #[test]
    fn as_a_plugin_it_says_so() {
        let Err(Answer::Help(help)) = line("/usr/bin/kubectl-pgo show --help") else {
            panic!("no help")
        };
        assert!(help.contains("Usage: kubectl pgo show"), "{help}");
    }

    #[test]
    fn times_are_what_people_type() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("45"), Ok(Duration::from_secs(45)));
        for bad in ["", "soon", "-5s", "10 parsecs"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn pairs_keep_everything_after_the_first_equals_sign() {
        assert_eq!(pair("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(pair("search_path="), Ok(("search_path".into(), String::new())));
        assert!(pair("=b").is_err());
        assert!(pair("a").is_err());
    }
}
