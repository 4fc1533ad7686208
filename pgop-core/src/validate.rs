//! Step 2: from a raw resource to a checked one with every default filled in, or the reasons why not. Pure.

mod backup;
mod pod;
mod server;
mod service;
mod storage;
mod strategy_parameters;

use jiff::Timestamp;

use crate::crd::{MAX_REPLICAS, PgBackup, PgCluster, PgDatabase};
use crate::description::Description;
use crate::invalid::Invalid;
use crate::name;
use crate::observed::Observed;
use crate::owner::Owner;
use crate::validated::{ValidatedCluster, ValidatedDatabase};

pub(crate) use backup::backup;
pub(crate) use server::foreign as foreign_of_server;
pub use strategy_parameters::strategy_parameters;

pub(crate) fn database(
    database: &PgDatabase,
    observed: &Observed,
    strategy: &Description,
) -> Result<ValidatedDatabase, Vec<Invalid>> {
    let mut invalid = Vec::new();
    let before = server::Before {
        meta: &database.metadata,
        status: database.status.as_ref(),
    };
    let server = server::check(
        &Owner::of(database),
        &database.spec.server,
        &before,
        observed,
        strategy,
        &mut invalid,
    );
    unchanged_strategy(strategy, before.status.and_then(|s| s.strategy.as_ref()), &mut invalid);
    if invalid.is_empty() {
        Ok(ValidatedDatabase { server })
    } else {
        Err(invalid)
    }
}

pub(crate) fn cluster(
    cluster: &PgCluster,
    observed: &Observed,
    strategy: &Description,
) -> Result<ValidatedCluster, Vec<Invalid>> {
    let mut invalid = Vec::new();
    let before = server::Before {
        meta: &cluster.metadata,
        status: cluster.status.as_ref(),
    };
    let server = server::check(
        &Owner::of(cluster),
        &cluster.spec.server,
        &before,
        observed,
        strategy,
        &mut invalid,
    );
    unchanged_strategy(strategy, before.status.and_then(|s| s.strategy.as_ref()), &mut invalid);
    let replicas = cluster.spec.replicas;
    if !(0..=MAX_REPLICAS).contains(&replicas) {
        invalid.push(Invalid::new(
            "spec.replicas",
            format!("is {replicas}"),
            format!("give 0 to {MAX_REPLICAS}"),
        ));
    }
    let replica_service = cluster.spec.replica_service.clone();
    service::check("spec.replicaService", &replica_service, &mut invalid);
    if invalid.is_empty() {
        Ok(ValidatedCluster {
            server,
            replicas,
            replica_service,
        })
    } else {
        Err(invalid)
    }
}

/// The API server's CEL rule says the same.
fn unchanged_strategy(strategy: &Description, in_use: Option<&crate::crd::StrategyInUse>, invalid: &mut Vec<Invalid>) {
    if let Some(old) = in_use.filter(|old| old.name != strategy.name) {
        invalid.push(Invalid::new(
            "spec.strategy",
            format!("was `{}` and can't be changed to `{}`", old.name, strategy.name),
            "set it back, or create a new resource from a backup of this one",
        ));
    }
}

/// Checks the name of a resource.
fn check_name(kind: &str, given: &str, limit: usize, invalid: &mut Vec<Invalid>) {
    if let Err(error) = name::check(given, limit) {
        invalid.push(Invalid::new(
            "metadata.name",
            format!("`{}` {error}", given.chars().take(80).collect::<String>()),
            format!("choose another name for this {kind}"),
        ));
    }
}

/// When a resource was created; the epoch before it exists.
fn created(backup: &PgBackup) -> Timestamp {
    backup
        .metadata
        .creation_timestamp
        .as_ref()
        .map_or(Timestamp::UNIX_EPOCH, |time| time.0)
}
