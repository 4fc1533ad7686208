//! `pgo show`

mod backup;
mod browse;
mod facts;
mod primary;
mod pvc;
mod server;
mod wide;

use futures::stream::{self, StreamExt};
use kube::api::ListParams;
use pgop_core::crd::{PgCluster, PgDatabase, Servers};
use pgop_core::{Managed, Owner};
use serde_json::Value;

use super::{Context, is_all, unique};
use crate::args::Output;
use crate::args::show::{Names, Show, Shown};
use crate::cluster::Cluster;
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::output;

/// Databases or clusters of which the cluster is asked at the same time.
const ASKED_AT_ONCE: usize = 8;

/// Shows what was asked for.
pub async fn run(args: Show, context: &mut Context<'_>) -> Result<ExitCode, Error> {
    match args.object {
        Shown::Database(names) => servers::<PgDatabase>(&names, context).await,
        Shown::Cluster(names) => servers::<PgCluster>(&names, context).await,
        Shown::Backup(args) => backup::run(args, context).await,
        Shown::Pvc(args) => pvc::run(args, context).await,
    }
}

/// The resources of the names, in their order, and a code: names that match nothing are errors.
pub(super) async fn find<R: Managed>(
    names: &[String],
    context: &mut Context<'_>,
    cluster: &Cluster,
) -> Result<(Vec<R>, ExitCode), Error> {
    let all = is_all(names)?;
    let selector = context.config.selector.clone();
    let mut code = ExitCode::Ok;
    if !all && selector.is_none() && !context.config.all_namespaces {
        let mut found = Vec::new();
        for name in unique(names) {
            match cluster.get::<R>(name).await {
                Ok(Some(resource)) => found.push(resource),
                Ok(None) => code = code.and(missing::<R>(name, &cluster.namespace, context)),
                Err(error) if error.is_final() => return Err(error.into()),
                Err(error) => code = code.and(context.fail(&error.into())),
            }
        }
        return Ok((found, code));
    }
    let params = ListParams {
        label_selector: selector,
        ..ListParams::default()
    };
    let (mut found, unreadable) = cluster
        .list_readable::<R>(&params, context.config.all_namespaces)
        .await?;
    for problem in unreadable {
        code = code.and(context.fail(&Error::Object(problem)));
    }
    if !all {
        for name in unique(names) {
            if !found.iter().any(|r| r.meta().name.as_deref() == Some(name)) {
                let place = if context.config.all_namespaces {
                    "any namespace"
                } else {
                    &cluster.namespace
                };
                code = code.and(missing::<R>(name, place, context));
            }
        }
        found.retain(|r| r.meta().name.as_ref().is_some_and(|name| names.contains(name)));
    }
    found.sort_by_key(|r| (r.meta().namespace.clone(), r.meta().name.clone()));
    Ok((found, code))
}

fn missing<R: Managed>(name: &str, namespace: &str, context: &mut Context<'_>) -> ExitCode {
    let matching = if context.config.selector.is_some() {
        " that matches --selector"
    } else {
        ""
    };
    let place = if namespace == "any namespace" {
        namespace.to_owned()
    } else {
        format!("namespace {namespace}")
    };
    let kind = R::KIND.component();
    context.fail(&Error::Object(format!(
        "there is no {kind} {name}{matching} in {place}; `pgo show {kind} all` lists them"
    )))
}

async fn servers<R: Managed + Servers>(names: &Names, context: &mut Context<'_>) -> Result<ExitCode, Error> {
    let cluster = context.cluster().await?;
    let (found, code) = find::<R>(&names.names, context, &cluster).await?;
    let single = names.names.len() == 1 && !is_all(&names.names)? && !context.config.all_namespaces;
    let values: Vec<Value> = found
        .iter()
        .map(|r| serde_json::to_value(r).unwrap_or_default())
        .collect();
    if let Some(text) =
        output::resources(context.config.output, &values, !single).filter(|_| !(single && values.is_empty()))
    {
        context.screen.raw(text.as_bytes());
        return Ok(code);
    }
    if found.is_empty() {
        if code == ExitCode::Ok {
            nothing::<R>(context, &cluster);
        }
        return Ok(code);
    }
    if context.config.output == Some(Output::Wide) {
        let text = wide::servers(&found, context.config.all_namespaces, jiff::Timestamp::now());
        context.screen.raw(text.as_bytes());
        return Ok(code);
    }
    let asked = found.iter().map(async |resource| {
        let owner = Owner::of(resource);
        let place = cluster.in_namespace(&owner.namespace);
        facts::gather(&place, &owner, resource).await
    });
    let mut gathered = stream::iter(asked).buffered(ASKED_AT_ONCE);
    while let Some(facts) = gathered.next().await {
        let tree = server::tree(&facts, context.config.all_namespaces, jiff::Timestamp::now());
        let text = tree.render(context.screen.colour());
        context.screen.raw(text.as_bytes());
    }
    Ok(code)
}

fn nothing<R: Managed>(context: &mut Context<'_>, cluster: &Cluster) {
    let place = if context.config.all_namespaces {
        "any namespace".to_owned()
    } else {
        format!("namespace {}", cluster.namespace)
    };
    let matching = if context.config.selector.is_some() {
        " that matches --selector"
    } else {
        ""
    };
    context
        .screen
        .note_line(format!("there is no {}{matching} in {place}", R::KIND.component()));
}
