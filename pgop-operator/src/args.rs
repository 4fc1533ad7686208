//! The command line. Every flag has an environment variable, so that a Deployment needs no arguments.
#![allow(clippy::doc_markdown)] // the comments are help texts, where backticks would be noise

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::{BoolishValueParser, NonEmptyStringValueParser};
use clap::{Parser, Subcommand, ValueEnum};

/// Runs PostgreSQL on Kubernetes: databases, clusters and their backups, as PgDatabase, PgCluster and PgBackup ask for.
#[derive(Debug, Parser)]
#[command(name = "pgop-operator", version, args_conflicts_with_subcommands = true)]
pub struct Args {
    /// What to do; `run` when it is left out.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The flags of `run`.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator (the default)
    Run(Box<RunArgs>),
    /// Print the custom resource definitions as YAML, for `kubectl apply -f -`
    Crd,
}

/// Flags of `run`.
#[derive(Clone, Debug, clap::Args)]
pub struct RunArgs {
    /// Namespaces to look after, separated by commas or by repeating the flag; all of them when none is given
    #[arg(
        long,
        alias = "namespace",
        short = 'n',
        env = "PGOP_NAMESPACES",
        value_delimiter = ',',
        value_name = "NAME"
    )]
    pub namespaces: Vec<String>,

    /// Folder with further strategies, each a bundle of templates
    #[arg(long, env = "PGOP_STRATEGIES", value_delimiter = ',', value_name = "DIR")]
    pub strategies: Vec<PathBuf>,

    /// Image with the agent that runs in the pods of servers, backups and restores: that of this operator
    #[arg(long, env = "PGOP_AGENT_IMAGE", default_value_t = pgop_strategies::Loader::default().agent_image, value_name = "IMAGE")]
    pub agent_image: String,

    /// How many resources are worked on at one time
    #[arg(long, env = "PGOP_CONCURRENCY", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024), value_name = "N")]
    pub concurrency: u16,

    /// How log lines are written
    #[arg(long, env = "PGOP_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub log_format: LogFormat,

    /// What is logged: a level, or levels by module such as `info,pgop_core=debug`
    #[arg(long, env = "PGOP_LOG_LEVEL", default_value = "info", value_parser = NonEmptyStringValueParser::new(), value_name = "LEVEL")]
    pub log_level: String,

    /// Where /healthz, /readyz and /metrics are served (`[::]` is IPv4 too, and IPv4 alone where there is no IPv6)
    #[arg(
        long,
        env = "PGOP_ADMIN_ADDRESS",
        default_value = "[::]:8080",
        value_name = "ADDRESS"
    )]
    pub admin_address: SocketAddr,

    /// Work only while holding the lease, so that one of several operators works
    #[arg(
        long,
        env = "PGOP_LEADER_ELECT",
        default_value = "true",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = BoolishValueParser::new(),
        overrides_with = "no_leader_elect",
        value_name = "BOOL"
    )]
    pub leader_elect: bool,

    /// Work without a lease: for a single operator on a developer's machine
    #[arg(long, env = "PGOP_NO_LEADER_ELECT", value_parser = BoolishValueParser::new(), overrides_with = "leader_elect")]
    pub no_leader_elect: bool,

    /// Name of the lease
    #[arg(long, env = "PGOP_LEASE_NAME", default_value = pgop_core::install::NAME, value_name = "NAME")]
    pub lease_name: String,

    /// Namespace of the lease; the one this pod or the kubeconfig's context is in when it is left out
    #[arg(long, env = "PGOP_LEASE_NAMESPACE", value_name = "NAME")]
    pub lease_namespace: Option<String>,

    /// Seconds after which another operator takes over from one that fell silent
    #[arg(long, env = "PGOP_LEASE_DURATION", default_value_t = 15, value_parser = clap::value_parser!(u16).range(3..=3600), value_name = "SECONDS")]
    pub lease_duration: u16,

    /// Name of this operator in the lease; host name and process id when it is left out
    #[arg(long, env = "PGOP_IDENTITY", value_name = "NAME")]
    pub identity: Option<String>,

    /// Leave the custom resource definitions alone; they are created and updated at start otherwise
    #[arg(long, env = "PGOP_NO_CRDS", value_parser = BoolishValueParser::new())]
    pub no_crds: bool,

    /// Kubeconfig to use; `$KUBECONFIG`, `~/.kube/config` or the pod's own account when it is left out
    #[arg(long, env = "PGOP_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig; its current one when it is left out
    #[arg(long, env = "PGOP_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn run(line: &str) -> RunArgs {
        match Args::try_parse_from(line.split(' ')).unwrap() {
            Args {
                command: Some(Command::Run(run)),
                ..
            } => *run,
            Args { command: None, run } => run,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_flag_has_a_variable_named_after_it() {
        let command = Args::command();
        for arg in command
            .get_arguments()
            .filter(|arg| !matches!(arg.get_id().as_str(), "help" | "version"))
        {
            let expected = format!("PGOP_{}", arg.get_id().as_str().to_uppercase());
            assert_eq!(
                arg.get_env().and_then(|v| v.to_str()),
                Some(expected.as_str()),
                "{}",
                arg.get_id()
            );
        }
    }

    #[test]
    fn run_is_the_default_and_takes_its_flags_with_or_without_the_word() {
        for line in [
            "pgop-operator run -n shop,bank",
            "pgop-operator --namespaces shop --namespace bank",
        ] {
            assert_eq!(run(line).namespaces, ["shop", "bank"], "{line}");
        }
        let defaults = run("pgop-operator");
        assert!(defaults.leader_elect && !defaults.no_leader_elect && !defaults.no_crds);
        assert_eq!(defaults.admin_address.port(), pgop_core::install::ADMIN_PORT);
        assert_eq!(defaults.lease_name, "pgop-operator");
        assert!(matches!(
            Args::try_parse_from(["pgop-operator", "crd"]).unwrap().command,
            Some(Command::Crd)
        ));
    }

    #[test]
    fn leader_election_can_be_turned_off_in_each_way() {
        assert!(run("pgop-operator --leader-elect").leader_elect);
        assert!(!run("pgop-operator --leader-elect=false").leader_elect);
        assert!(run("pgop-operator --no-leader-elect").no_leader_elect);
        assert!(!run("pgop-operator --no-leader-elect --leader-elect").no_leader_elect);
    }

    #[test]
    fn senseless_values_are_refused() {
        for line in [
            "pgop-operator --concurrency 0",
            "pgop-operator --lease-duration 1",
            "pgop-operator --log-format xml",
            "pgop-operator --admin-address 8080",
        ] {
            assert!(Args::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
