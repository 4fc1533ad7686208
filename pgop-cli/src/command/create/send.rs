//! Sending one resource, and the Secrets that go before it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret};
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams, Preconditions};
use pgop_core::label;
use pgop_core::{Managed, Owner};

use super::{Waitable, cluster_of, name_of};
use crate::claim::{Fate, fate, made_for, named};
use crate::cluster::{Cluster, ClusterError};
use crate::command::{Context, restore};
use crate::error::Error;
use crate::preview::names;
use crate::request::Password;

/// Creates a resource. The name of one that exists is an error, and the existing one is left as it is.
pub async fn send<R: Waitable>(
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
    let former = former_claims(&resource, &cluster, &object).await?;
    if let Some(server) = resource.servers()
        && let Some(told) = restore::other_names(&cluster, server).await
    {
        context.screen.warn(told);
    }
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
    if let Some(told) = what_is_served(&resource, &former) {
        context.screen.note_line(told);
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

/// The claims that a former resource of this name left. Who may not look leaves it to the operator.
async fn former_claims<R: Waitable>(
    resource: &R,
    cluster: &Cluster,
    object: &str,
) -> Result<Vec<PersistentVolumeClaim>, Error> {
    let Some(server) = resource.servers().filter(|server| server.storage.claim.is_none()) else {
        return Ok(Vec::new());
    };
    let name = name_of(resource);
    let primary = names(resource).claim_of(&name);
    let mut found: Vec<_> = cluster
        .get::<PersistentVolumeClaim>(&primary)
        .await
        .ok()
        .flatten()
        .into_iter()
        .collect();
    // The snapshot takes the place of what was there; a claim that holds something is refused by the operator, with its reason.
    if server.restore.is_none() {
        let of_replicas = ListParams::default().labels(&format!("{}={name}", R::KIND.label()));
        if let Ok(list) = cluster.list::<PersistentVolumeClaim>(&of_replicas).await {
            let others = list
                .items
                .into_iter()
                .filter(|c| c.metadata.name.as_ref() != Some(&primary));
            found.extend(others);
        }
    }
    let another = found.first().filter(|c| c.metadata.name.as_ref() == Some(&primary));
    match another.and_then(made_for).filter(|kind| *kind != R::KIND) {
        Some(kind) => Err(Error::Object(format!(
            "can't create {object}: claim {primary} holds the data of a {} of this name; create that again, choose another name, or free \
             this one by `kubectl delete pvc {primary} -n {}`, which deletes the data",
            kind.as_str(),
            cluster.namespace
        ))),
        None => Ok(found),
    }
}

/// What becomes of the data that a former resource of this name left.
fn what_is_served<R: Waitable>(resource: &R, former: &[PersistentVolumeClaim]) -> Option<String> {
    let server = resource.servers()?;
    let name = name_of(resource);
    let primary = names(resource).claim_of(&name);
    let is_primary = |claim: &PersistentVolumeClaim| claim.metadata.name.as_ref() == Some(&primary);
    let Some(claim) = former.iter().find(|claim| is_primary(claim)) else {
        let staying: Vec<_> = former.iter().filter(|claim| fate(claim) == Fate::Stays).collect();
        return (!staying.is_empty()).then(|| {
            format!(
                "claim {primary} does not exist, so the primary starts with an empty database; a replica that finds the former one's data \
                 ({}) does not follow it, and keeps that data until you delete its claim",
                named(&staying)
            )
        });
    };
    if fate(claim) != Fate::Stays {
        return Some(format!(
            "claim {primary} is that of the former {name} and is being deleted, with its data: a new one is made when it is gone"
        ));
    }
    let (database, role) = (restore::database(server), server.credentials.user.as_ref());
    let role = role.map_or_else(
        || format!("role `{}`", restore::user(server)),
        |secret| format!("the role of Secret {secret}"),
    );
    Some(format!(
        "claim {primary} exists already: the data on it will be served again, under the names that it has; database `{database}` and {role} \
         are made anew, empty, where the former {name} had others"
    ))
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

#[cfg(test)]
mod tests {
    use pgop_core::crd::{PgDatabase, PgDatabaseSpec};

    use super::*;
    use crate::claim::tests::claim;

    fn told(former: &[PersistentVolumeClaim]) -> Option<String> {
        what_is_served(&PgDatabase::new("hippo", PgDatabaseSpec::default()), former)
    }

    #[test]
    fn data_that_stays_is_served_again_under_its_own_names() {
        let text = told(&[claim("hippo-pvc", None, false)]).unwrap();
        assert!(text.contains("will be served again"), "{text}");
        assert!(
            text.contains("database `app` and role `app` are made anew, empty, where the former hippo had others"),
            "{text}"
        );
        assert_eq!(told(&[]), None);
    }

    #[test]
    fn data_that_is_being_deleted_is_not_said_to_be_served_again() {
        // Deleted by somebody, or with its former resource, whose claim Kubernetes has not come to yet.
        for former in [claim("hippo-pvc", None, true), claim("hippo-pvc", Some("u1"), false)] {
            let text = told(&[former]).unwrap();
            assert!(
                text.contains("is being deleted, with its data") && !text.contains("served again"),
                "{text}"
            );
        }
    }

    #[test]
    fn replicas_data_without_a_primarys_is_told() {
        let replica = claim("data-hippo-replica-0", None, false);
        let text = told(std::slice::from_ref(&replica)).unwrap();
        assert!(
            text.contains("starts with an empty database") && text.contains("data-hippo-replica-0"),
            "{text}"
        );
        assert_eq!(told(&[claim("data-hippo-replica-0", None, true)]), None);
    }
}
