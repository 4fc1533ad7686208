//! Step 2: from a raw resource to a checked one with every default filled in, or the reasons why not. Pure.

mod backup;
mod before;
mod image;
mod pod;
mod restore;
mod secrets;
mod server;
mod service;
mod storage;
mod strategy_parameters;

use jiff::Timestamp;

use crate::crd::{MAX_REPLICAS, PgBackup, PgCluster, PgDatabase, Servers};
use crate::description::Description;
use crate::invalid::{Invalid, Refuses};
use crate::name;
use crate::observed::Observed;
use crate::owner::{Kinded, Owner};
use crate::validated::{Server, ValidatedCluster, ValidatedDatabase};

use self::before::Before;
pub(crate) use backup::backup;
pub(crate) use server::foreign as foreign_of_server;
pub use strategy_parameters::strategy_parameters;

/// A resource as it was judged.
#[derive(Debug)]
pub(crate) struct Judged<V> {
    /// With what was accepted before in place of each change that is refused.
    validated: V,
    invalid: Vec<Invalid>,
    was_accepted: bool,
}

impl<V> Judged<V> {
    /// The checked resource, or why it is refused.
    pub(crate) fn accepted(self) -> Result<V, Vec<Invalid>> {
        if self.invalid.is_empty() {
            Ok(self.validated)
        } else {
            Err(self.invalid)
        }
    }

    /// What is in force though a change is refused.
    pub(crate) fn in_force(self) -> Option<V> {
        let is_known = self.was_accepted && self.invalid.iter().all(|invalid| invalid.refuses == Refuses::Change);
        is_known.then_some(self.validated)
    }
}

pub(crate) fn database(
    database: &PgDatabase,
    observed: &Observed,
    strategy: &Description,
) -> Judged<ValidatedDatabase> {
    judged(database, observed, strategy, |server, _| ValidatedDatabase { server })
}

pub(crate) fn cluster(cluster: &PgCluster, observed: &Observed, strategy: &Description) -> Judged<ValidatedCluster> {
    let replicas = cluster.spec.replicas;
    judged(cluster, observed, strategy, |server, invalid| {
        if !(0..=MAX_REPLICAS).contains(&replicas) {
            invalid.push(Invalid::new(
                "spec.replicas",
                format!("is {replicas}"),
                format!("give 0 to {MAX_REPLICAS}"),
            ));
        }
        ValidatedCluster {
            server,
            replicas,
            replica_service: service::check("spec.replicaService", &cluster.spec.replica_service, invalid),
        }
    })
}

/// Judges a resource that runs servers; `whole` adds what only its kind has.
fn judged<R: Kinded + Servers, V>(
    resource: &R,
    observed: &Observed,
    strategy: &Description,
    whole: impl FnOnce(Server, &mut Vec<Invalid>) -> V,
) -> Judged<V> {
    let before = Before::of(resource.meta(), resource.status(), &observed.live, strategy);
    let mut invalid = Vec::new();
    let server = server::check(
        &Owner::of(resource),
        resource.server(),
        &before,
        observed,
        strategy,
        resource.replicas().unwrap_or(0),
        &mut invalid,
    );
    Judged {
        validated: whole(server, &mut invalid),
        invalid,
        was_accepted: before.accepted.is_some(),
    }
}

/// The API server's CEL rule says the same.
fn unchanged_strategy(strategy: &Description, before: &Before<'_>, invalid: &mut Vec<Invalid>) {
    let in_use = before.status.and_then(|status| status.strategy.as_ref());
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
