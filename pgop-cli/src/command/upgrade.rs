//! `pgo upgrade servers`

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use pgop_core::Managed;
use pgop_core::crd::{PgCluster, PgDatabase, ServerStatus, Servers};
use pgop_core::label::UPGRADE;
use serde_json::{Value, json};

use super::show::find;
use super::{Context, for_each, is_all, unique};
use crate::args::operate::Upgrade;
use crate::cluster::Cluster;
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::output;
use crate::wait::{self, Verdict, older};

/// Asks the operator to make the pods of servers anew that another version of pgop made.
pub async fn run(args: Upgrade, context: &mut Context<'_>) -> Result<ExitCode, Error> {
    let all = args.all || is_all(&args.names)?;
    if !all && (context.config.all_namespaces || context.config.selector.is_some()) {
        return Err(Error::Usage(
            "pgo upgrade servers: -A and --selector choose among --all: leave out the names, or these".to_owned(),
        ));
    }
    let (databases, clusters, mut code) = if all {
        everything(context).await?
    } else {
        named(&args.names, context).await?
    };
    if databases.is_empty() && clusters.is_empty() && code == ExitCode::Ok {
        context
            .screen
            .note_line("there is no database and no cluster to upgrade");
    }
    let start = std::time::Instant::now();
    // Whoever asks again is heard: the operator acts once on each text.
    let text = jiff::Timestamp::now().to_string();
    let (databases, one) = ask_all(databases, &text, context).await;
    let (clusters, other) = ask_all(clusters, &text, context).await;
    code = code.and(one).and(other);
    if args.wait.wait {
        let left = || args.wait.timeout.saturating_sub(start.elapsed());
        code = code.and(wait_all(&databases, &left, context).await);
        code = code.and(wait_all(&clusters, &left, context).await);
    }
    let values: Vec<Value> = values(&databases).chain(values(&clusters)).collect();
    if let Some(text) = output::resources(context.config.output, &values, false).filter(|_| !values.is_empty()) {
        context.screen.raw(text.as_bytes());
    }
    Ok(code)
}

type Found = (Vec<PgDatabase>, Vec<PgCluster>, ExitCode);

async fn everything(context: &mut Context<'_>) -> Result<Found, Error> {
    let (cluster, all) = (context.cluster().await?, ["all".to_owned()]);
    let (databases, one) = find::<PgDatabase>(&all, context, &cluster).await?;
    let (clusters, other) = find::<PgCluster>(&all, context, &cluster).await?;
    Ok((databases, clusters, one.and(other)))
}

/// What the names stand for. One that is a database and a cluster stands for both.
async fn named(names: &[String], context: &mut Context<'_>) -> Result<Found, Error> {
    let cluster = context.cluster().await?;
    let (mut databases, mut clusters) = (Vec::new(), Vec::new());
    let code = for_each(context, unique(names), async |_, name| {
        let found = (
            cluster.get::<PgDatabase>(name).await?,
            cluster.get::<PgCluster>(name).await?,
        );
        if found.0.is_none() && found.1.is_none() {
            return Err(Error::Object(format!(
                "there is no database or cluster {name} in namespace {}; `pgo show database all` and `pgo show cluster all` list them",
                cluster.namespace
            )));
        }
        databases.extend(found.0);
        clusters.extend(found.1);
        Ok(ExitCode::Ok)
    });
    let code = code.await;
    Ok((databases, clusters, code))
}

/// Those that were asked, as they are then.
async fn ask_all<R: Managed + Servers>(found: Vec<R>, text: &str, context: &mut Context<'_>) -> (Vec<R>, ExitCode) {
    let mut asked = Vec::new();
    let code = for_each(context, found, async |context, resource| {
        asked.push(ask(&resource, text, context).await?);
        Ok(ExitCode::Ok)
    });
    let code = code.await;
    (asked, code)
}

async fn ask<R: Managed + Servers>(resource: &R, text: &str, context: &mut Context<'_>) -> Result<R, Error> {
    let (cluster, name) = (place(resource, context).await?, name(resource));
    let patch = Patch::Merge(json!({"metadata": {"annotations": {UPGRADE: text}}}));
    let params = PatchParams {
        field_manager: Some("pgo".to_owned()),
        ..PatchParams::default()
    };
    let action = format!("ask for an upgrade of {}", cluster.object::<R>(name));
    let api = cluster.api::<R>();
    let after = cluster.ask(action, api.patch(name, &params, &patch)).await?;
    if context.config.output.is_none() {
        let kind = R::KIND.as_str();
        context.screen.line(format!("{kind} {name}: {}", words(after.status())));
    }
    Ok(after)
}

/// What was asked for, and what will come of it as far as it is known.
fn words(status: Option<&ServerStatus>) -> String {
    let Some(status) = status.filter(|status| status.phase.is_some()) else {
        return "an upgrade was asked for; the operator has not seen it yet".to_owned();
    };
    if status.phase.as_deref() == Some("Invalid") {
        return "an upgrade was asked for; it waits for the spec to be mended, which is refused".to_owned();
    }
    match older(status).as_slice() {
        [] => "an upgrade was asked for; no server is known to need it".to_owned(),
        [one] => format!("an upgrade was asked for; {one} is restarted, as another version of pgop made it"),
        several => format!(
            "an upgrade was asked for; {} are restarted one at a time, the primary last, as another version of pgop made them",
            several.join(", ")
        ),
    }
}

async fn wait_all<R: Managed + Servers>(
    asked: &[R],
    left: &impl Fn() -> Duration,
    context: &mut Context<'_>,
) -> ExitCode {
    for_each(context, asked, async |context, resource| {
        let (cluster, name) = (place(resource, context).await?, name(resource));
        wait::until::<R>(
            &cluster,
            &mut context.screen,
            name,
            "upgraded",
            left(),
            |found| match found {
                // What stands there now: somebody may have asked again.
                Some(found) => wait::upgraded(found.meta().generation, asked_for(found), found.status()),
                None => Verdict::Failed(String::new()),
            },
        )
        .await?;
        if context.config.output.is_none() {
            let kind = R::KIND.as_str();
            context
                .screen
                .line(format!("{kind} {name}: all servers are as the operator makes them"));
        }
        Ok(ExitCode::Ok)
    })
    .await
}

fn asked_for<R: Managed>(resource: &R) -> Option<&str> {
    let annotations = resource.meta().annotations.as_ref()?;
    annotations.get(UPGRADE).map(String::as_str)
}

async fn place<R: Managed>(resource: &R, context: &mut Context<'_>) -> Result<Cluster, Error> {
    let cluster = context.cluster().await?;
    let namespace = resource.meta().namespace.as_ref();
    Ok(namespace.map_or_else(|| cluster.clone(), |namespace| cluster.in_namespace(namespace)))
}

fn name<R: Managed>(resource: &R) -> &str {
    resource.meta().name.as_deref().unwrap_or_default()
}

fn values<R: Managed>(all: &[R]) -> impl Iterator<Item = Value> {
    all.iter().map(|it| serde_json::to_value(it).unwrap_or_default())
}
