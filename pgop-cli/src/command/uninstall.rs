//! `pgo uninstall`

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, ListParams};
use pgop_core::Managed;
use pgop_core::crd::{DeletionPolicy, PgBackup, PgCluster, PgDatabase};
use pgop_core::install::{self, Options};
use serde_json::Value;

use super::ask::confirm;
use super::delete::loses_data;
use super::install::{self as installed, namespace, rights};
use super::{Context, for_each};
use crate::args::operate::Uninstall;
use crate::cluster::{Cluster, ClusterError};
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::output;
use crate::wait::{self, Verdict};

/// Removes the operator, and with `--crds` the definitions and all resources.
pub async fn run(args: Uninstall, context: &mut Context<'_>) -> Result<ExitCode, Error> {
    context.one_namespace("uninstall")?;
    let asks = context.env.stdin_terminal && context.env.stderr_terminal;
    if !args.yes && !asks {
        return Err(Error::Usage(
            "uninstalling without a terminal to ask on needs --yes".to_owned(),
        ));
    }
    let cluster = context.cluster().await?;
    let place = namespace(context);
    let there = cluster.in_namespace(&place);
    if let Some(deployment) = there.get::<Deployment>(install::NAME).await? {
        installed::not_by_helm(&installed::json(&deployment)?, "uninstall")?;
    }
    let lost = if args.crds { lost(&cluster, context).await? } else { 0 };
    if !args.yes {
        let question = if args.crds {
            format!(
                "Remove the operator from namespace {place}, its definitions, and {lost} resources in all namespaces with their servers?"
            )
        } else {
            format!(
                "Remove the operator from namespace {place}? Servers run on, and nothing looks after them; resources stay."
            )
        };
        confirm(context, &question)?;
    }
    let code = objects(&place, &cluster, context).await?;
    if args.crds {
        definitions(&cluster, context).await?;
    } else {
        context
            .screen
            .note_line("the resource definitions stay, and all resources with them; --crds removes both");
    }
    if args.wait.wait {
        let gone = |found: Option<&Deployment>| match found {
            None => Verdict::Done,
            Some(_) => Verdict::NotYet("is being deleted".to_owned()),
        };
        wait::until::<Deployment>(
            &there,
            &mut context.screen,
            install::NAME,
            "gone",
            args.wait.timeout,
            gone,
        )
        .await?;
    }
    Ok(code)
}

/// Deletes what `pgo install` makes, in the opposite order. The namespace stays: whatever else is in it, claims with data above all, would go
/// with it.
async fn objects(place: &str, cluster: &Cluster, context: &mut Context<'_>) -> Result<ExitCode, Error> {
    // Whatever namespaces it watched: those of the first shape are named, the others are found.
    let mut manifests = install::manifests(&Options {
        namespace: place.to_owned(),
        ..Options::default()
    });
    let bindings = rights::bindings(cluster).await?;
    let others = install::obsolete(&bindings, place, &manifests);
    manifests.extend(others);
    manifests.retain(|m| m["kind"] != "Namespace");
    manifests.sort_by_key(|m| std::cmp::Reverse(rank(m)));
    let mut deleted = 0;
    let code = for_each(context, manifests, async |context, manifest| {
        if rights::delete(cluster, &manifest).await? {
            deleted += 1;
            context.screen.line(format!("{} deleted", output::name(&manifest)));
        }
        Ok(ExitCode::Ok)
    })
    .await;
    if deleted == 0 && code == ExitCode::Ok {
        context.screen.note_line(format!(
            "no operator is installed in namespace {place}: name its namespace with -n"
        ));
        return Ok(ExitCode::Failed);
    }
    context.screen.note_line(format!(
        "namespace {place} stays; `kubectl delete namespace {place}` removes it with all that is in it"
    ));
    Ok(code)
}

/// The Deployment goes first: an operator without rights would only complain.
fn rank(manifest: &Value) -> u8 {
    match manifest["kind"].as_str() {
        Some("Deployment") => 3,
        Some("RoleBinding" | "ClusterRoleBinding") => 2,
        _ => 1,
    }
}

/// Shows what goes with the definitions, and counts it.
async fn lost(cluster: &Cluster, context: &mut Context<'_>) -> Result<usize, Error> {
    let databases = all::<PgDatabase>(cluster).await?;
    let clusters = all::<PgCluster>(cluster).await?;
    let backups = all::<PgBackup>(cluster).await?;
    let count = databases.len() + clusters.len() + backups.len();
    // The spec may say otherwise than the claims, and Kubernetes acts on these. Who may not list them is told what the spec says.
    let claims = match cluster.list_all::<PersistentVolumeClaim>(&ListParams::default()).await {
        Ok(claims) => claims.items,
        Err(ClusterError::Forbidden { .. }) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    for (resource, policy, loses_data) in databases
        .iter()
        .map(|d| (describe(d), d.spec.server.deletion_policy, loses_data(d, Some(&claims))))
        .chain(
            clusters
                .iter()
                .map(|c| (describe(c), c.spec.server.deletion_policy, loses_data(c, Some(&claims)))),
        )
    {
        let data = match policy {
            DeletionPolicy::Delete => "its server stops, AND ITS DATA IS DELETED (deletionPolicy: Delete)",
            DeletionPolicy::Retain if loses_data => {
                "its server stops, AND ITS DATA IS DELETED (its claims still go with it, as the operator has not carried out deletionPolicy: Retain)"
            }
            DeletionPolicy::Retain => "its server stops, its claims stay",
        };
        context.screen.warn(format!("{resource}: {data}"));
    }
    if !backups.is_empty() {
        context.screen.warn(format!(
            "{} PgBackups go; their snapshots stay on their claims",
            backups.len()
        ));
    }
    Ok(count)
}

async fn all<R: Managed>(cluster: &Cluster) -> Result<Vec<R>, Error> {
    match cluster.list_all::<R>(&ListParams::default()).await {
        Ok(list) => Ok(list.items),
        Err(ClusterError::NotInstalled { .. }) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

fn describe<R: Managed>(resource: &R) -> String {
    let meta = resource.meta();
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    format!(
        "{} {} in namespace {}",
        R::KIND.as_str(),
        text(&meta.name),
        text(&meta.namespace)
    )
}

async fn definitions(cluster: &Cluster, context: &mut Context<'_>) -> Result<(), Error> {
    let api: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    for definition in pgop_core::crd::all() {
        let name = definition.metadata.name.unwrap_or_default();
        match cluster
            .ask(
                format!("delete the definition {name}"),
                api.delete(&name, &DeleteParams::default()),
            )
            .await
        {
            Ok(_) => context
                .screen
                .line(format!("customresourcedefinition.apiextensions.k8s.io/{name} deleted")),
            Err(ClusterError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
