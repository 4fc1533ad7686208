//! `pgo install`

use futures::future::BoxFuture;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use pgop_core::install::{self, Options};
use pgop_core::runtime::crds::{self, Changed};
use serde_json::Value;

use super::Context;
use crate::args::Output;
use crate::args::operate::Install;
use crate::cluster::Cluster;
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::output;
use crate::volume::reason;
use crate::wait::{self, Verdict};

/// Installs or updates the operator.
pub async fn run(args: Install, context: &mut Context<'_>) -> Result<ExitCode, Error> {
    context.one_namespace("install")?;
    let options = options(&args, context);
    let mut manifests = install::manifests(&options);
    if args.dry_run || context.config.output.is_some_and(|o| o != Output::Wide) {
        let definitions = pgop_core::crd::all();
        let mut all: Vec<Value> = definitions
            .iter()
            .map(|d| serde_json::to_value(d).unwrap_or_default())
            .collect();
        all.append(&mut manifests);
        let format = context.config.output.unwrap_or(Output::Yaml);
        let text = output::resources(Some(format), &all, false).unwrap_or_default();
        context.screen.raw(text.as_bytes());
        return Ok(ExitCode::Ok);
    }
    install(&args, options, manifests, context, false).await
}

/// As `pgo install --wait`, and says only what it did not find as it should be.
#[cfg(target_os = "linux")]
pub(super) async fn quietly(args: Install, context: &mut Context<'_>) -> Result<(), Error> {
    let options = Options {
        namespace: install::NAMESPACE.to_owned(),
        ..options(&args, context)
    };
    let manifests = install::manifests(&options);
    install(&args, options, manifests, context, true).await.map(drop)
}

async fn install(
    args: &Install,
    options: Options,
    manifests: Vec<Value>,
    context: &mut Context<'_>,
    quiet: bool,
) -> Result<ExitCode, Error> {
    let cluster = context.cluster().await?;
    alone(&cluster, &options).await?;
    definitions(&cluster, context, quiet).await?;
    for manifest in manifests {
        let name = output::name(&manifest);
        let done = apply(&cluster, &manifest).await?;
        if !quiet {
            context.screen.line(format!("{name} {done}"));
        }
    }
    if !quiet {
        context
            .screen
            .note_line(format!("the operator's image is {}", options.image));
    }
    if args.wait.wait {
        let place = cluster.in_namespace(&options.namespace);
        let waited = wait::until::<Deployment>(
            &place,
            &mut context.screen,
            install::NAME,
            "available",
            args.wait.timeout,
            available,
        )
        .await;
        if let Err(error) = waited {
            why_not(&place, context).await;
            return Err(error.into());
        }
        context.screen.line("the operator is running");
    }
    Ok(ExitCode::Ok)
}

/// Two operators in two namespaces have two leases, and both would work on the same resources.
async fn alone(cluster: &Cluster, options: &Options) -> Result<(), Error> {
    let labels: Vec<String> = install::selector()
        .into_iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let installed = cluster
        .list_all::<Deployment>(&ListParams::default().labels(&labels.join(",")))
        .await?;
    for other in installed.items {
        let place = other.metadata.namespace.clone().unwrap_or_default();
        if place != options.namespace && overlap(&watched(&other), &options.watch_namespaces) {
            return Err(Error::Object(format!(
                "an operator is installed in namespace {place} and looks after the same namespaces: update that one with -n {place}, remove it \
                 with `pgo uninstall -n {place}`, or give the two different --watch-namespaces"
            )));
        }
    }
    Ok(())
}

/// No namespaces are all of them.
fn overlap(some: &[String], others: &[String]) -> bool {
    some.is_empty() || others.is_empty() || some.iter().any(|namespace| others.contains(namespace))
}

/// The namespaces that an installed operator watches.
pub(super) fn watched(deployment: &Deployment) -> Vec<String> {
    let value = serde_json::to_value(deployment).unwrap_or_default();
    let env = value
        .pointer("/spec/template/spec/containers/0/env")
        .and_then(Value::as_array);
    let list = env
        .into_iter()
        .flatten()
        .find(|variable| variable["name"] == "PGOP_NAMESPACES")
        .and_then(|variable| variable["value"].as_str())
        .unwrap_or_default();
    let list: Vec<String> = list.split(',').map(str::to_owned).collect();
    words(&list)
}

/// Says what the operator's pods wait for.
async fn why_not(place: &Cluster, context: &mut Context<'_>) {
    let labels: Vec<String> = install::selector()
        .into_iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let pods = place
        .list::<Pod>(&ListParams::default().labels(&labels.join(",")))
        .await;
    for pod in pods.map(|list| list.items).unwrap_or_default() {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let warnings = reason::warnings(place, &name).await;
        context.screen.warn(format!(
            "pod {name} of the operator: {}",
            reason::waiting(&pod, &warnings)
        ));
    }
}

/// `-n` is the operator's namespace; the context's namespace is that of databases and is not meant.
pub(super) fn namespace(context: &Context<'_>) -> String {
    let flag = context.config.settings.entry("DB.NAMESPACE");
    match flag {
        Some((namespace, crate::config::Source::Flag(_))) => namespace.clone(),
        _ => install::NAMESPACE.to_owned(),
    }
}

/// Of a list with commas: `a, b,` is `a` and `b`.
fn words(list: &[String]) -> Vec<String> {
    list.iter()
        .map(|word| word.trim().to_owned())
        .filter(|word| !word.is_empty())
        .collect()
}

fn options(args: &Install, context: &Context<'_>) -> Options {
    let default = Options::default();
    Options {
        namespace: namespace(context),
        image: args.image.clone().unwrap_or(default.image),
        watch_namespaces: words(&args.watch_namespaces),
        strategies: words(&args.strategies),
        // They are installed here, with the person's rights; the operator needs none on them.
        crds: false,
        ..Options::default()
    }
}

async fn definitions(cluster: &Cluster, context: &mut Context<'_>, quiet: bool) -> Result<(), Error> {
    let done = crds::ensure(cluster.client.clone()).await.map_err(|error| {
        let hint = if error.is_forbidden() {
            "; installing needs the rights of a cluster admin"
        } else {
            ""
        };
        Error::Object(format!("the resource definitions can't be installed: {error}{hint}"))
    })?;
    for (name, changed) in done.into_iter().filter(|_| !quiet) {
        let word = match changed {
            Changed::Created => "created",
            Changed::Updated => "updated",
            Changed::Unchanged => "unchanged",
        };
        context
            .screen
            .line(format!("customresourcedefinition.apiextensions.k8s.io/{name} {word}"));
    }
    Ok(())
}

/// The API of a manifest, in its namespace.
pub(super) fn api_of(cluster: &Cluster, manifest: &Value) -> (Api<DynamicObject>, String) {
    let text = |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (group, version) = text("/apiVersion").split_once('/').unwrap_or(("", text("/apiVersion")));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, text("/kind")));
    let api = match manifest.pointer("/metadata/namespace").and_then(Value::as_str) {
        Some(namespace) => Api::namespaced_with(cluster.client.clone(), namespace, &resource),
        None => Api::all_with(cluster.client.clone(), &resource),
    };
    (api, text("/metadata/name").to_owned())
}

fn apply<'a>(cluster: &'a Cluster, manifest: &'a Value) -> BoxFuture<'a, Result<&'static str, Error>> {
    Box::pin(async move {
        let (api, name) = api_of(cluster, manifest);
        let what = output::name(manifest);
        let before = cluster.ask(format!("get {what}"), api.get_opt(&name)).await?;
        let params = PatchParams::apply("pgo").force();
        let after = cluster
            .ask(
                format!("apply {what}"),
                api.patch(&name, &params, &Patch::Apply(manifest)),
            )
            .await?;
        Ok(match before {
            None => "created",
            Some(before) if before.metadata.resource_version == after.metadata.resource_version => "unchanged",
            Some(_) => "updated",
        })
    })
}

/// Whether the last version of the Deployment runs.
fn available(deployment: Option<&Deployment>) -> Verdict {
    let value = deployment
        .and_then(|d| serde_json::to_value(d).ok())
        .unwrap_or_default();
    let number = |pointer: &str| value.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    let wanted = number("/spec/replicas");
    let seen = number("/status/observedGeneration") >= number("/metadata/generation");
    let (updated, ready) = (number("/status/updatedReplicas"), number("/status/availableReplicas"));
    let old = number("/status/replicas") > updated;
    if deployment.is_some() && seen && updated >= wanted && ready >= wanted && !old {
        return Verdict::Done;
    }
    let message = value
        .pointer("/status/conditions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .find_map(|c| {
            let failed = c["type"] == "ReplicaFailure" && c["status"] == "True";
            failed.then(|| c["message"].as_str().unwrap_or_default().to_owned())
        });
    Verdict::NotYet(message.unwrap_or_else(|| format!("{ready} of {wanted} pods available")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(value: Value) -> Verdict {
        available(Some(&serde_json::from_value(value).unwrap()))
    }

    #[test]
    fn operators_that_watch_all_overlap_with_every_other() {
        let of = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        assert!(overlap(&of(&[]), &of(&["shop"])));
        assert!(overlap(&of(&["shop", "bank"]), &of(&["bank"])));
        assert!(!overlap(&of(&["shop"]), &of(&["bank"])));
        let manifests = install::manifests(&Options {
            watch_namespaces: of(&["shop", "bank"]),
            ..Options::default()
        });
        let deployment = manifests.into_iter().find(|m| m["kind"] == "Deployment").unwrap();
        assert_eq!(
            watched(&serde_json::from_value(deployment).unwrap()),
            of(&["shop", "bank"])
        );
    }

    #[test]
    fn an_old_pod_does_not_count() {
        let of = |generation: i64, status: Value| {
            deployment(json!({
                "metadata": {"generation": generation},
                "spec": {"replicas": 1, "selector": {}, "template": {}},
                "status": status,
            }))
        };
        let running = json!({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1});
        assert_eq!(of(2, running.clone()), Verdict::Done);
        assert!(matches!(of(3, running), Verdict::NotYet(_)));
        let rolling = json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1, "availableReplicas": 1});
        assert!(matches!(of(2, rolling), Verdict::NotYet(_)));
        let failing = json!({"observedGeneration": 2, "conditions": [{"type": "ReplicaFailure", "status": "True", "message": "quota"}]});
        assert_eq!(of(2, failing), Verdict::NotYet("quota".into()));
        assert!(matches!(available(None), Verdict::NotYet(_)));
    }
}
