//! `pgo sandbox`

use std::time::Duration;

use clap::{Args, Subcommand};

use super::duration;

/// A Kubernetes of your own on this machine, without a cluster (Linux)
///
/// For trying pgop, developing strategies and testing. Pods are processes of this machine in bubblewrap, with the newest PostgreSQL that is
/// installed. While a sandbox runs and no kubeconfig is given, pgo uses it and says so.
#[derive(Args, Debug)]
pub struct Sandbox {
    /// Which sandbox; several run side by side
    #[arg(long, global = true, value_name = "NAME", default_value = "default")]
    pub name: String,
    /// What to do
    #[command(subcommand)]
    pub verb: Verb,
}

/// What is done to a sandbox. Clap takes the help of those with arguments from their structs.
#[derive(Debug, Subcommand)]
#[allow(missing_docs)]
pub enum Verb {
    Start(Start),
    /// Tell whether it runs, where, and how much it holds
    Status,
    /// End it; resources and data stay
    Stop,
    Delete(Delete),
    Kubeconfig(Kubeconfig),
    Demo(Demo),
    /// Run it in the foreground, until Ctrl-C or SIGTERM: what `start` starts
    #[command(hide = true)]
    Run,
}

/// Start it with the operator, or start it again with what it held
#[derive(Args, Debug)]
pub struct Start {
    /// Start without the operator
    #[arg(long)]
    pub without_operator: bool,
    /// Longest wait until it serves
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "60s")]
    pub timeout: Duration,
}

/// Remove it with all resources and data
#[derive(Args, Debug)]
pub struct Delete {
    /// Don't ask
    #[arg(short = 'y', long)]
    pub yes: bool,
}

/// Print its kubeconfig, for kubectl and other tools
#[derive(Args, Debug)]
pub struct Kubeconfig {
    /// Print the path of the file: `export KUBECONFIG=$(pgo sandbox kubeconfig --path)`
    #[arg(long)]
    pub path: bool,
}

/// Show the whole way: a cluster with two replicas, a row written and read, a backup, a restore
#[derive(Args, Debug)]
pub struct Demo {
    /// Remove the demo's resources and data at the end
    #[arg(long)]
    pub clean: bool,
}
