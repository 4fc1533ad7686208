//! What is to be shown of a database or cluster, gathered from the cluster. What may not be read is said in its place.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret, Service};
use kube::Resource;
use kube::api::ListParams;
use pgop_core::crd::{Role, ServerSpec, ServerStatus, Servers};
use pgop_core::label;
use pgop_core::{Managed, Owner};
use serde::de::DeserializeOwned;

use super::primary::{self, Primary};
use crate::cluster::{Cluster, ClusterError};
use crate::exec::Place;

/// What could be read, or why not.
pub type Read<T> = Result<T, String>;

/// All that is shown.
#[derive(Debug)]
pub struct Facts {
    /// The resource.
    pub owner: Owner,
    /// Its spec.
    pub spec: ServerSpec,
    /// Its status.
    pub status: ServerStatus,
    /// It is being deleted.
    pub deleting: bool,
    /// The operator has not seen the last change.
    pub unseen: bool,
    /// Its `StatefulSets`.
    pub sets: Read<Vec<StatefulSet>>,
    /// Its pods.
    pub pods: Read<Vec<Pod>>,
    /// Its Services.
    pub services: Read<Vec<Service>>,
    /// Its claims.
    pub claims: Read<Vec<PersistentVolumeClaim>>,
    /// Names of its Secrets.
    pub secrets: Read<Vec<String>>,
    /// What the primary says; `None` where none is ready to be asked.
    pub primary: Option<Read<Primary>>,
}

/// Asks for everything.
pub async fn gather<R: Managed + Servers>(cluster: &Cluster, owner: &Owner, resource: &R) -> Facts {
    let selector = format!("{}={}", owner.kind.label(), owner.name);
    let status = resource.status().cloned().unwrap_or_default();
    let (sets, pods, services, claims, secrets) = tokio::join!(
        list::<StatefulSet>(cluster, &selector),
        list::<Pod>(cluster, &selector),
        list::<Service>(cluster, &selector),
        claims(cluster, &selector, resource.server(), &status),
        secrets(cluster, &selector, resource.server()),
    );
    // Jobs' pods carry the label too; servers have a role.
    let pods = pods.map(|pods| pods.into_iter().filter(|pod| role(pod).is_some()).collect::<Vec<_>>());
    let primary = match status.members.iter().find(|m| m.role == Role::Primary && m.ready) {
        Some(primary) => Some(primary::ask(cluster, &primary.name, &Place::of(Some(&status))).await),
        None => None,
    };
    Facts {
        owner: owner.clone(),
        spec: resource.server().clone(),
        deleting: resource.meta().deletion_timestamp.is_some(),
        unseen: status.phase.is_some() && status.observed_generation < resource.meta().generation,
        status,
        sets,
        pods,
        services,
        claims,
        secrets,
        primary,
    }
}

/// The label `pgop.dev/role`.
pub fn role(pod: &Pod) -> Option<&str> {
    pod.metadata.labels.as_ref()?.get(label::ROLE).map(String::as_str)
}

async fn list<K>(cluster: &Cluster, selector: &str) -> Read<Vec<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    cluster
        .list::<K>(&ListParams::default().labels(selector))
        .await
        .map(|list| list.items)
        .map_err(|e| short(&e))
}

/// The labelled claims, and those of the spec and the status that somebody else made.
async fn claims(
    cluster: &Cluster,
    selector: &str,
    spec: &ServerSpec,
    status: &ServerStatus,
) -> Read<Vec<PersistentVolumeClaim>> {
    let mut found = list::<PersistentVolumeClaim>(cluster, selector).await?;
    let named: Vec<String> = spec.storage.claim.iter().chain(&status.claims).cloned().collect();
    for claim in named {
        if !found.iter().any(|known| known.metadata.name.as_ref() == Some(&claim)) {
            found.extend(
                cluster
                    .get::<PersistentVolumeClaim>(&claim)
                    .await
                    .map_err(|e| short(&e))?,
            );
        }
    }
    found.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    Ok(found)
}

/// Only names are asked for: what is in a Secret never comes here.
async fn secrets(cluster: &Cluster, selector: &str, spec: &ServerSpec) -> Read<Vec<String>> {
    let api = cluster.api::<Secret>();
    let params = ListParams::default().labels(selector);
    let action = format!("list secrets in namespace {}", cluster.namespace);
    let listed = cluster
        .ask(action, api.list_metadata(&params))
        .await
        .map_err(|e| short(&e))?;
    let given = &spec.credentials;
    let mut names: Vec<String> = listed
        .items
        .into_iter()
        .filter_map(|secret| secret.metadata.name)
        .collect();
    names.extend(
        [&given.superuser, &given.replication, &given.user]
            .into_iter()
            .flatten()
            .cloned(),
    );
    names.sort();
    names.dedup();
    Ok(names)
}

/// An error as it stands in a tree.
fn short(error: &ClusterError) -> String {
    match error {
        ClusterError::Forbidden { action, .. } => format!("not allowed to {action}"),
        other => other.to_string(),
    }
}
