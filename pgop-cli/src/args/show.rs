//! `pgo show` and `pgo delete`.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::{Wait, duration};

/// Show databases, clusters, backups, and what is on a claim
///
/// RBAC it needs: get and list on pgdatabases, pgclusters, pgbackups (pgop.dev), statefulsets, pods, services,
/// persistentvolumeclaims, and list on secrets (names only); get and create on pods/exec for the lag of replicas. For snapshots and claims: create,
/// get, watch and delete on pods, get on pods/log, and list on deployments for the operator's image, where no pod tells it. What is not allowed is said in its place; the rest is shown.
#[derive(Args, Debug)]
pub struct Show {
    /// What to show
    #[command(subcommand)]
    pub object: Shown,
}

/// What can be shown.
#[derive(Debug, Subcommand)]
pub enum Shown {
    /// Show databases
    #[command(visible_aliases = ["databases", "pgdb"])]
    Database(Names),
    /// Show clusters
    #[command(visible_aliases = ["clusters", "pgc"])]
    Cluster(Names),
    /// Show the backups of databases or clusters, and the snapshots on their volume
    #[command(visible_aliases = ["backups", "pgb"])]
    Backup(Browsed),
    /// Show whether claims exist and what is in their root
    #[command(visible_aliases = ["pvcs"])]
    Pvc(Browsed),
}

/// Names to show.
#[derive(Args, Debug)]
pub struct Names {
    /// Names, or `all`
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
}

/// Names whose volumes are looked into.
#[derive(Args, Debug)]
pub struct Browsed {
    /// Names; for backups those of the databases or clusters, or `all`
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// Image of the pod that looks into the volume; default: that of the resource that uses the claim
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// Longest wait for that pod
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "90s")]
    pub timeout: Duration,
    /// Show only what the API server knows, without a pod
    #[arg(long)]
    pub no_volume: bool,
}

/// Delete databases, clusters or backups; data and snapshots stay unless deletionPolicy says otherwise
///
/// On a terminal it asks first. Without one, deleting by name goes ahead, while `all`, --selector, and resources whose claims go with them
/// (deletionPolicy: Delete) need --yes.
///
/// RBAC it needs: get, list and delete on pgdatabases, pgclusters, pgbackups (pgop.dev); list on persistentvolumeclaims, to tell what becomes
/// of the data; watch for --wait.
#[derive(Args, Debug)]
pub struct Delete {
    /// What to delete
    #[command(subcommand)]
    pub object: Deleted,
}

/// What can be deleted.
#[derive(Debug, Subcommand)]
pub enum Deleted {
    /// Delete databases
    #[command(visible_aliases = ["databases", "pgdb"])]
    Database(Deletion),
    /// Delete clusters
    #[command(visible_aliases = ["clusters", "pgc"])]
    Cluster(Deletion),
    /// Delete PgBackups; their snapshots stay on the volume
    #[command(visible_aliases = ["backups", "pgb"])]
    Backup(Deletion),
}

/// Names to delete.
#[derive(Args, Debug)]
pub struct Deletion {
    /// Names, or `all`; for backups those of the PgBackups, or of the databases and clusters whose PgBackups all go
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// Don't ask
    #[arg(short = 'y', long)]
    pub yes: bool,
    /// Waiting
    #[command(flatten)]
    pub wait: Wait,
}
