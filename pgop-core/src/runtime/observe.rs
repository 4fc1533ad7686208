//! Step 1: everything that the pure steps may know, from the caches; only what the spec names and pgop did not make is asked for.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::Api;
use kube::{Client, ResourceExt};
use thiserror::Error;

use super::cache::Caches;
use super::cluster::{CallError, call};
use crate::crd::{LastBackup, PgBackup, Source, SourceKind};
use crate::managed::Managed;
use crate::name;
use crate::observed::{ClaimFacts, Observed, SecretFacts, SourceFacts};
use crate::owner::Owner;

/// Why a resource could not be observed.
#[derive(Debug, Error)]
pub enum ObserveError {
    /// A claim that the spec names could not be read.
    #[error("could not read claim {name}: {source}")]
    ReadClaim {
        /// Its name.
        name: String,
        /// The answer.
        source: CallError,
    },
    /// A Secret that the spec names could not be read.
    #[error("could not read Secret {name}: {source}")]
    ReadSecret {
        /// Its name.
        name: String,
        /// The answer.
        source: CallError,
    },
}

/// Observes a resource. What was seen comes back with an error too: pods are true whatever else could not be read.
pub(crate) async fn observe<R: Managed>(
    client: &Client,
    caches: &Caches,
    resource: &R,
) -> Result<Observed, (Observed, ObserveError)> {
    let owner = Owner::of(resource);
    let foreign = resource.foreign();
    let mut observed = Observed {
        live: caches.live(&owner, foreign.source.as_ref().map(|source| source.name.as_str())),
        source: foreign
            .source
            .as_ref()
            .and_then(|source| source_facts(caches, &owner.namespace, source)),
        last_backup: last_backup(caches, &owner, resource.meta()),
        ..Observed::default()
    };
    // What is no name is refused by `validate`; there is nothing to ask the server for.
    let is_name = |name: &String| name::check_object(name).is_ok();
    for name in foreign.claims.into_iter().filter(is_name) {
        match claim_facts(client, &owner.namespace, &name).await {
            Ok(facts) => drop(observed.claims.insert(name, facts)),
            Err(error) => return Err((observed, error)),
        }
    }
    for name in foreign.secrets.into_iter().filter(is_name) {
        match secret_facts(client, &owner.namespace, &name).await {
            Ok(facts) => drop(observed.secrets.insert(name, facts)),
            Err(error) => return Err((observed, error)),
        }
    }
    Ok(observed)
}

fn source_facts(caches: &Caches, namespace: &str, source: &Source) -> Option<SourceFacts> {
    match source.kind {
        SourceKind::PgDatabase => caches
            .resource(namespace, &source.name)
            .map(|d| SourceFacts::Database(Box::new(d))),
        SourceKind::PgCluster => caches
            .resource(namespace, &source.name)
            .map(|c| SourceFacts::Cluster(Box::new(c))),
    }
}

/// The newest snapshot of a database or cluster.
fn last_backup(caches: &Caches, owner: &Owner, source: &ObjectMeta) -> Option<LastBackup> {
    let parsed = caches.backups(owner).into_iter().filter_map(|value| {
        let backup: PgBackup = serde_json::from_value(value).ok()?;
        let name = backup.name_any();
        let status = backup.is_of(source).then_some(backup.status?)?;
        Some(LastBackup {
            name,
            claim: status.claim?,
            path: status.path?,
            finished_at: status.finished_at,
        })
    });
    parsed.max_by_key(|backup| backup.finished_at.as_ref().map(|time| time.0))
}

async fn claim_facts(client: &Client, namespace: &str, name: &str) -> Result<Option<ClaimFacts>, ObserveError> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    let claim = call(api.get_metadata_opt(name))
        .await
        .map_err(|source| ObserveError::ReadClaim {
            name: name.to_owned(),
            source,
        })?;
    Ok(claim.map(|claim| ClaimFacts::of(&claim.metadata)))
}

async fn secret_facts(client: &Client, namespace: &str, name: &str) -> Result<SecretFacts, ObserveError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let secret = call(api.get_opt(name))
        .await
        .map_err(|source| ObserveError::ReadSecret {
            name: name.to_owned(),
            source,
        })?;
    Ok(secret.map_or(SecretFacts::Missing, |secret| {
        SecretFacts::of(&secret.data.unwrap_or_default())
    }))
}
