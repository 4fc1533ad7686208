//! Sending one resource, and the Secrets that go before it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret};
use kube::api::{DeleteParams, ObjectMeta, PostParams, Preconditions};
use pgop_core::label;
use pgop_core::name;
use pgop_core::resource::{Managed, Owner, ResourceKind};

use super::{cluster_of, name_of};
use crate::cluster::{Cluster, ClusterError};
use crate::command::Context;
use crate::error::Error;
use crate::request::Password;

/// Creates a resource. The name of one that exists is an error, and the existing one is left as it is.
pub async fn send<R: Managed>(
    resource: R,
    passwords: Vec<Password>,
    context: &mut Context<'_>,
    cluster: &Cluster,
    dry_run: bool,
) -> Result<R, Error> {
    let cluster = cluster_of(cluster, &resource);
    let name = name_of(&resource);
    let object = cluster.object::<R>(&name);
    if cluster.get::<R>(&name).await?.is_some() {
        return Err(ClusterError::Exists {
            action: format!("create {object}"),
        }
        .into());
    }
    claims_exist(&resource, &cluster, &object).await?;
    let reused = reused_claim(&resource, &cluster, &object).await?;
    let secrets = make_secrets(&resource, passwords, context, &cluster, dry_run).await?;
    let params = PostParams {
        dry_run,
        field_manager: Some("pgo".to_owned()),
    };
    let api = cluster.api::<R>();
    let result = cluster
        .ask(format!("create {object}"), api.create(&params, &resource))
        .await;
    let created = match result {
        Ok(created) => created,
        Err(error) => {
            remove(&secrets, &cluster).await;
            return Err(error.into());
        }
    };
    if context.config.output.is_none() {
        let how = if dry_run {
            "would be created (the server has checked it)"
        } else {
            "created"
        };
        context.screen.line(format!(
            "{} {name} {how} in namespace {}",
            R::KIND.as_str(),
            cluster.namespace
        ));
    }
    if let Some(claim) = reused.filter(|_| !dry_run) {
        context.screen.note_line(format!(
            "claim {claim} exists already: the data on it will be served again"
        ));
    }
    Ok(created)
}

/// Claims that the spec names have to exist. Who may not look leaves it to the operator.
async fn claims_exist<R: Managed>(resource: &R, cluster: &Cluster, object: &str) -> Result<(), Error> {
    for claim in resource.foreign().claims {
        match cluster.get::<PersistentVolumeClaim>(&claim).await {
            Ok(Some(_)) | Err(ClusterError::Forbidden { .. }) => {}
            Ok(None) => {
                return Err(Error::Object(format!(
                    "can't create {object}: claim {claim} does not exist in namespace {}; create it or name another one",
                    cluster.namespace
                )));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The claim that a former resource of this name left.
async fn reused_claim<R: Managed>(resource: &R, cluster: &Cluster, object: &str) -> Result<Option<String>, Error> {
    let own_claim = R::KIND != ResourceKind::PgBackup && resource.foreign().claims.is_empty();
    let claim = name::data_claim(&name_of(resource));
    if !own_claim {
        return Ok(None);
    }
    // Who may not look leaves it to the operator.
    let Ok(Some(found)) = cluster.get::<PersistentVolumeClaim>(&claim).await else {
        return Ok(None);
    };
    match owner_kind(&found).filter(|kind| *kind != R::KIND) {
        Some(kind) => Err(Error::Object(format!(
            "can't create {object}: claim {claim} holds the data of a {} of this name; create that again, choose another name, or free \
             this one by `kubectl delete pvc {claim} -n {}`, which deletes the data",
            kind.as_str(),
            cluster.namespace
        ))),
        None => Ok(Some(claim)),
    }
}

/// What kind of resource a claim was made for, if pgop made it.
fn owner_kind(claim: &PersistentVolumeClaim) -> Option<ResourceKind> {
    let labels = claim.metadata.labels.as_ref()?;
    [ResourceKind::PgDatabase, ResourceKind::PgCluster]
        .into_iter()
        .find(|kind| labels.contains_key(kind.label()))
}

/// Makes the Secrets, labelled as the operator labels its own: it takes them over and generates no others.
async fn make_secrets<R: Managed>(
    resource: &R,
    passwords: Vec<Password>,
    context: &mut Context<'_>,
    cluster: &Cluster,
    dry_run: bool,
) -> Result<Vec<Secret>, Error> {
    let mut made = Vec::new();
    let owner = Owner::of(resource);
    for Password {
        secret,
        username,
        password,
    } in passwords
    {
        let value = Secret {
            metadata: ObjectMeta {
                name: Some(secret.clone()),
                namespace: Some(cluster.namespace.clone()),
                labels: Some(label::common(&owner)),
                ..ObjectMeta::default()
            },
            string_data: Some(BTreeMap::from([
                ("username".to_owned(), username),
                ("password".to_owned(), password),
            ])),
            type_: Some(label::SECRET_TYPE.to_owned()),
            ..Secret::default()
        };
        let params = PostParams {
            dry_run,
            field_manager: Some("pgo".to_owned()),
        };
        let api = cluster.api::<Secret>();
        match cluster
            .ask(
                format!("create {}", cluster.object::<Secret>(&secret)),
                api.create(&params, &value),
            )
            .await
        {
            Ok(created) => made.push(created),
            Err(ClusterError::Exists { .. }) => context.screen.warn(format!(
                "Secret {secret} exists already and is used as it is; the password of the configuration is not"
            )),
            Err(error) => {
                remove(&made, cluster).await;
                return Err(error.into());
            }
        }
    }
    Ok(if dry_run { Vec::new() } else { made })
}

/// Takes back the Secrets of a resource that could not be created.
async fn remove(secrets: &[Secret], cluster: &Cluster) {
    let api = cluster.api::<Secret>();
    for secret in secrets {
        let Some(name) = &secret.metadata.name else { continue };
        // Only the one that was made here, not one that somebody made meanwhile.
        let preconditions = Preconditions {
            uid: secret.metadata.uid.clone(),
            resource_version: None,
        };
        let params = DeleteParams {
            preconditions: Some(preconditions),
            ..DeleteParams::default()
        };
        let _ = cluster
            .ask(
                format!("delete {}", cluster.object::<Secret>(name)),
                api.delete(name, &params),
            )
            .await;
    }
}
