//! `pgo create`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{Wait, pair};

/// Create databases, clusters and backups; restore them from a backup
///
/// Resources are checked before they are sent. With `--backup-pvc` and `--backup-path` a database or cluster starts from a snapshot.
///
/// RBAC it needs: create and get on pgdatabases, pgclusters, pgbackups (pgop.dev); get on persistentvolumeclaims; watch on the resource
/// for --wait; create on secrets when the configuration holds passwords. With list on persistentvolumeclaims and pgbackups, and get on a
/// Secret that is named, it tells what a former resource left and under which names a snapshot was made.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    arg_required_else_help = true
)]
pub struct Create {
    /// What to create
    #[command(subcommand)]
    pub object: Option<Object>,
    /// Create what these YAML or JSON files hold: PgDatabase, PgCluster and PgBackup, several documents allowed; `-` is standard input
    #[arg(short = 'f', long = "file", value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// How it is sent
    #[command(flatten)]
    pub sending: Sending,
}

/// What can be created.
#[derive(Debug, Subcommand)]
pub enum Object {
    /// Create databases, each one server
    #[command(visible_aliases = ["databases", "pgdb"])]
    Database(Database),
    /// Create clusters, each a primary and replicas
    #[command(visible_aliases = ["clusters", "pgc"])]
    Cluster(Cluster),
    /// Back up databases or clusters
    ///
    /// Each run makes a new PgBackup `<name>-<yyyymmdd-hhmmss>` (UTC). The name is looked up among the databases, then the clusters.
    #[command(visible_aliases = ["backups", "pgb"])]
    Backup(Backup),
}

/// How resources are sent.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Sending")]
pub struct Sending {
    /// Waiting
    #[command(flatten)]
    pub wait: Wait,
    /// Create nothing: `client` checks and prints the manifests that would be made, without a cluster; `server` lets the API server check
    #[arg(long, value_enum, value_name = "WHERE", num_args = 0..=1, require_equals = true, default_missing_value = "client")]
    pub dry_run: Option<DryRun>,
}

/// Where a dry run takes place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DryRun {
    /// Here, without a cluster
    Client,
    /// In the API server
    Server,
}

/// `pgo create database`
#[derive(Args, Debug)]
pub struct Database {
    /// Names
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// Settings of the server
    #[command(flatten)]
    pub server: Server,
    /// How it is sent
    #[command(flatten)]
    pub sending: Sending,
}

/// `pgo create cluster`
#[derive(Args, Debug)]
pub struct Cluster {
    /// Names
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// Number of replicas beside the primary
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..=50))]
    pub replicas: Option<i32>,
    /// Settings of the servers
    #[command(flatten)]
    pub server: Server,
    /// How it is sent
    #[command(flatten)]
    pub sending: Sending,
}

/// `pgo create backup`
#[derive(Args, Debug)]
pub struct Backup {
    /// Databases or clusters to back up
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// What they are, where a database and a cluster have the same name
    #[arg(long, value_enum, value_name = "KIND")]
    pub kind: Option<Kind>,
    /// Name of the PgBackup (for one source)
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Size of the backup claim, if it has to be made; default: twice the source's
    #[arg(long, value_name = "SIZE")]
    pub storage_size: Option<String>,
    /// StorageClass of the backup claim, if it has to be made
    #[arg(long, value_name = "CLASS")]
    pub storage_class: Option<String>,
    /// Existing claim for the snapshot; default: `<source>-backup-pvc`, made when it is missing
    #[arg(long, value_name = "CLAIM")]
    pub claim: Option<String>,
    /// Strategy (see `pgo strategies`)
    #[arg(long, value_name = "NAME")]
    pub strategy: Option<String>,
    /// Parameter of the strategy; repeatable
    #[arg(long = "strategy-param", value_name = "KEY=VALUE", value_parser = pair)]
    pub strategy_params: Vec<(String, String)>,
    /// How it is sent
    #[command(flatten)]
    pub sending: Sending,
}

/// What can be backed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// A PgDatabase
    Database,
    /// A PgCluster
    Cluster,
}

/// Settings of the servers of a database or cluster.
#[derive(Args, Clone, Debug, Default)]
pub struct Server {
    /// Image with the PostgreSQL server; default: `postgres:VERSION`
    #[arg(long, value_name = "IMAGE", help_heading = "Server")]
    pub image: Option<String>,
    /// PostgreSQL version, which chooses the default image
    #[arg(long, value_name = "VERSION", help_heading = "Server")]
    pub pg_version: Option<String>,
    /// When the image is pulled: Always, IfNotPresent or Never
    #[arg(long, value_name = "POLICY", help_heading = "Server")]
    pub image_pull_policy: Option<String>,
    /// Secret with the registry's credentials; repeatable
    #[arg(long = "image-pull-secret", value_name = "SECRET", help_heading = "Server")]
    pub image_pull_secrets: Vec<String>,
    /// Port of the Services
    #[arg(long, help_heading = "Server", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// Database to make
    #[arg(long, value_name = "NAME", help_heading = "Server")]
    pub database: Option<String>,
    /// Ordinary role, the owner of the database
    #[arg(long, value_name = "NAME", help_heading = "Server")]
    pub user: Option<String>,
    /// Setting for postgresql.conf, such as work_mem=16MB; repeatable
    #[arg(long = "parameter", value_name = "KEY=VALUE", value_parser = pair, help_heading = "Server")]
    pub parameters: Vec<(String, String)>,
    /// Strategy (see `pgo strategies`)
    #[arg(long, value_name = "NAME", help_heading = "Server")]
    pub strategy: Option<String>,
    /// Parameter of the strategy; repeatable
    #[arg(long = "strategy-param", value_name = "KEY=VALUE", value_parser = pair, help_heading = "Server")]
    pub strategy_params: Vec<(String, String)>,
    /// Existing Secret (username, password) of the superuser
    #[arg(long, value_name = "SECRET", help_heading = "Server")]
    pub superuser_secret: Option<String>,
    /// Existing Secret (username, password) of the ordinary role
    #[arg(long, value_name = "SECRET", help_heading = "Server")]
    pub user_secret: Option<String>,
    /// Existing Secret (username, password) of the replication role
    #[arg(long, value_name = "SECRET", help_heading = "Server")]
    pub replication_secret: Option<String>,

    /// Size of each claim, such as 10Gi
    #[arg(long, value_name = "SIZE", help_heading = "Storage")]
    pub storage_size: Option<String>,
    /// StorageClass of the claims
    #[arg(long, value_name = "CLASS", help_heading = "Storage")]
    pub storage_class: Option<String>,
    /// ReadWriteOnce, ReadWriteOncePod or ReadWriteMany
    #[arg(long, value_name = "MODE", help_heading = "Storage")]
    pub access_mode: Option<String>,
    /// Existing claim to use instead of making one
    #[arg(long, value_name = "CLAIM", help_heading = "Storage")]
    pub claim: Option<String>,
    /// Retain keeps the claims when the resource is deleted; Delete deletes them with it
    #[arg(long, value_name = "POLICY", help_heading = "Storage")]
    pub deletion_policy: Option<String>,
    /// Claim with the snapshot to restore
    #[arg(
        short = 'p',
        long,
        value_name = "CLAIM",
        requires = "backup_path",
        help_heading = "Restore"
    )]
    pub backup_pvc: Option<String>,
    /// Path of the snapshot, as `pgo show backup` prints it
    #[arg(
        short = 'x',
        long,
        value_name = "PATH",
        requires = "backup_pvc",
        help_heading = "Restore"
    )]
    pub backup_path: Option<String>,

    /// CPU request, such as 500m; `500m:2` gives the limit too
    #[arg(long, value_name = "CPU", help_heading = "Pods")]
    pub cpu: Option<String>,
    /// Memory request and limit, such as 1Gi; `1Gi:2Gi` gives them apart
    #[arg(long, value_name = "MEMORY", help_heading = "Pods")]
    pub memory: Option<String>,
    /// Label of the resource; repeatable
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair, help_heading = "Pods")]
    pub labels: Vec<(String, String)>,
    /// Annotation of the resource; repeatable
    #[arg(long = "annotation", value_name = "KEY=VALUE", value_parser = pair, help_heading = "Pods")]
    pub annotations: Vec<(String, String)>,
    /// Label of the nodes that may run the pods; repeatable
    #[arg(long = "node-selector", value_name = "KEY=VALUE", value_parser = pair, help_heading = "Pods")]
    pub node_selector: Vec<(String, String)>,
    /// Group that owns the volumes
    #[arg(long, value_name = "GID", help_heading = "Pods", value_parser = clap::value_parser!(i64).range(1..))]
    pub fs_group: Option<i64>,
    /// User id of the processes; default: 999
    #[arg(long, value_name = "UID", help_heading = "Pods", value_parser = clap::value_parser!(i64).range(1..))]
    pub run_as_user: Option<i64>,
}
