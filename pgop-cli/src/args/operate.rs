//! The other verbs.

use clap::Args;

use super::Wait;

/// Change the number of replicas of clusters
///
/// RBAC it needs: get and patch on pgclusters (pgop.dev); watch for --wait.
#[derive(Args, Debug)]
pub struct Scale {
    /// What to scale: `cluster`
    #[arg(value_parser = ["cluster", "clusters", "pgc"], hide_possible_values = true)]
    pub object: String,
    /// Names
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// Number of replicas beside the primary
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..=50))]
    pub replicas: i32,
    /// Waiting
    #[command(flatten)]
    pub wait: Wait,
}

/// Restart the servers that another version of pgop made, so that they run as the operator makes them now
///
/// An operator that is newer, or older, restarts no server: each becomes as it makes them with its next restart, and `pgo show` tells which have not.
/// This asks for it now. The servers of each database or cluster go one at a time, the replicas first and the primary last, each when all others
/// are ready; what is as it should be already is left alone.
///
/// RBAC it needs: get, list and patch on pgdatabases and pgclusters (pgop.dev); watch for --wait.
#[derive(Args, Debug)]
pub struct Upgrade {
    /// What to upgrade: `servers`
    #[arg(value_parser = ["servers", "server"], hide_possible_values = true)]
    pub object: String,
    /// Databases and clusters
    #[arg(value_name = "NAME", required_unless_present = "all", conflicts_with = "all")]
    pub names: Vec<String>,
    /// All of the namespace, or those that --selector or -A choose
    #[arg(long)]
    pub all: bool,
    /// Waiting
    #[command(flatten)]
    pub wait: Wait,
}

/// Run psql as the superuser in the pod of the primary
///
/// `pgo psql hippo`, `pgo psql hippo -- -c 'select 1'`, `pgo psql hippo < file.sql`. It ends with psql's exit code.
///
/// RBAC it needs: get on pgdatabases and pgclusters (pgop.dev), list on pods, get and create on pods/exec.
#[derive(Args, Debug)]
pub struct Psql {
    /// Database or cluster
    pub name: String,
    /// Connect to a replica that is ready
    #[arg(long)]
    pub replica: bool,
    /// Database to connect to; default: the resource's own
    #[arg(short = 'd', long, value_name = "NAME")]
    pub dbname: Option<String>,
    /// Arguments of psql
    #[arg(last = true, value_name = "ARGS")]
    pub args: Vec<String>,
}

/// Show the logs of the servers of a database or cluster
///
/// RBAC it needs: get on pgdatabases and pgclusters (pgop.dev), list on pods, get on pods/log.
#[derive(Args, Debug)]
pub struct Logs {
    /// Database or cluster
    pub name: String,
    /// Go on as the log grows
    #[arg(short = 'f', long)]
    pub follow: bool,
    /// Only the last lines of each server
    #[arg(long, value_name = "LINES")]
    pub tail: Option<i64>,
    /// Only this server: its pod, `primary` or `replica`
    #[arg(long, value_name = "MEMBER")]
    pub member: Option<String>,
    /// The log of the container before it restarted
    #[arg(long, conflicts_with = "follow")]
    pub previous: bool,
}

/// Install or update the operator and its resource definitions
///
/// Running it again updates both: what no flag names stays as it is, and rights that a change of --watch-namespaces makes needless are taken away.
/// Databases go on while it does.
///
/// RBAC it needs: cluster-admin, as it creates resource definitions and roles.
#[derive(Args, Debug)]
pub struct Install {
    /// Image of the operator; default: the one that is installed, or that of this version of pgo
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// Namespaces the operator looks after; '' for all of them, as at first
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub watch_namespaces: Option<Vec<String>>,
    /// ConfigMaps in the operator's namespace with further strategies, one bundle each; '' for none, as at first
    #[arg(long, value_name = "CONFIGMAPS", value_delimiter = ',')]
    pub strategies: Option<Vec<String>>,
    /// Ask no cluster: print the manifests of a first installation
    #[arg(long)]
    pub dry_run: bool,
    /// Waiting
    #[command(flatten)]
    pub wait: Wait,
}

/// Remove the operator; the resource definitions only with --crds
///
/// Servers go on running without the operator. With --crds every PgDatabase, PgCluster and PgBackup in every namespace is deleted, and
/// their servers with them; claims stay, except where deletionPolicy is Delete.
///
/// RBAC it needs: cluster-admin.
#[derive(Args, Debug)]
pub struct Uninstall {
    /// Don't ask
    #[arg(short = 'y', long)]
    pub yes: bool,
    /// Delete the resource definitions and all resources too
    #[arg(long)]
    pub crds: bool,
    /// Waiting
    #[command(flatten)]
    pub wait: Wait,
}

/// Show the version of pgo and, when it can be reached, of the operator
#[derive(Args, Debug)]
pub struct Version {
    /// Don't ask the cluster
    #[arg(long)]
    pub client: bool,
}
