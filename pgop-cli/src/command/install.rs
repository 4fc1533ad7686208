//! `pgo install`

use std::collections::BTreeSet;

use futures::future::BoxFuture;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{Api, ListParams, Patch, PatchParams};
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

pub(super) mod rights;

/// Installs or updates the operator.
pub async fn run(args: Install, context: &mut Context<'_>) -> Result<ExitCode, Error> {
    context.one_namespace("install")?;
    let told = Told::new(&args)?;
    if args.dry_run || context.config.output.is_some_and(|o| o != Output::Wide) {
        let options = told.over(at_first(namespace(context)));
        let definitions = pgop_core::crd::all();
        let mut all: Vec<Value> = definitions
            .iter()
            .map(|d| serde_json::to_value(d).unwrap_or_default())
            .collect();
        all.extend(install::manifests(&options));
        let format = context.config.output.unwrap_or(Output::Yaml);
        let text = output::resources(Some(format), &all, false).unwrap_or_default();
        context.screen.raw(text.as_bytes());
        return Ok(ExitCode::Ok);
    }
    let namespace = namespace(context);
    install(&args, &told, &namespace, context, false).await
}

/// As `pgo install --wait`, and says only what it did not find as it should be.
#[cfg(target_os = "linux")]
pub(super) async fn quietly(args: Install, context: &mut Context<'_>) -> Result<(), Error> {
    let told = Told::new(&args)?;
    install(&args, &told, install::NAMESPACE, context, true).await.map(drop)
}

async fn install(
    args: &Install,
    told: &Told,
    namespace: &str,
    context: &mut Context<'_>,
    quiet: bool,
) -> Result<ExitCode, Error> {
    let cluster = context.cluster().await?;
    let place = cluster.in_namespace(namespace);
    let live = place.get::<Deployment>(install::NAME).await?;
    let before = live.as_ref().map(json).transpose()?;
    if let Some(before) = &before {
        not_by_helm(before, "upgrade")?;
    }
    let options = told.over(
        before
            .as_ref()
            .map_or_else(|| at_first(namespace.to_owned()), Options::kept),
    );
    alone(&cluster, &options).await?;
    there_are(&cluster, &options.watch_namespaces).await?;
    definitions(&cluster, context, quiet).await?;
    let manifests = install::manifests(&options);
    for manifest in &manifests {
        let name = output::name(manifest);
        let done = apply(&cluster, manifest).await?;
        if !quiet {
            context.screen.line(format!("{name} {done}"));
        }
    }
    // Last: until here the operator that ran before needs them.
    let bindings = rights::bindings(&cluster).await?;
    for needless in install::obsolete(&bindings, namespace, &manifests) {
        if rights::delete(&cluster, &needless).await? {
            context.screen.line(format!("{} deleted", rights::place(&needless)));
        }
    }
    if !quiet {
        say(before.as_ref(), &options, context);
    }
    if args.wait.wait {
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

/// What the flags say; what they don't say is kept.
struct Told {
    image: Option<String>,
    watch_namespaces: Option<BTreeSet<String>>,
    strategies: Option<BTreeSet<String>>,
}

impl Told {
    fn new(args: &Install) -> Result<Self, Error> {
        let told = Self {
            image: args.image.clone(),
            watch_namespaces: args.watch_namespaces.as_deref().map(words),
            strategies: args.strategies.as_deref().map(words),
        };
        for namespace in told.watch_namespaces.iter().flatten() {
            let problem = |error| Error::Usage(format!("--watch-namespaces {namespace}: the name {error}"));
            pgop_core::name::check_object(namespace).map_err(problem)?;
        }
        for config_map in told.strategies.iter().flatten() {
            let problem = |error| Error::Usage(format!("--strategies {config_map}: the name {error}"));
            pgop_core::name::check_object(config_map).map_err(problem)?;
        }
        Ok(told)
    }

    fn over(&self, options: Options) -> Options {
        Options {
            image: self.image.clone().unwrap_or(options.image),
            watch_namespaces: self.watch_namespaces.clone().unwrap_or(options.watch_namespaces),
            strategies: self.strategies.clone().unwrap_or(options.strategies),
            // They are installed here, with the person's rights; the operator needs none on them.
            crds: false,
            ..options
        }
    }
}

/// Where nothing is installed yet.
fn at_first(namespace: String) -> Options {
    Options {
        namespace,
        ..Options::default()
    }
}

/// Says what is different now, and what was kept that may be meant to be different.
fn say(before: Option<&Value>, options: &Options, context: &mut Context<'_>) {
    let before = before.map(Options::installed);
    for change in before.iter().flat_map(|before| options.changes_from(before)) {
        context.screen.note_line(change);
    }
    let kept = before.is_some_and(|before| before.image == options.image && options.image != Options::default().image);
    let how = if kept { ", as before; --image names another" } else { "" };
    context
        .screen
        .note_line(format!("the operator's image is {}{how}", options.image));
}

pub(super) fn json(deployment: &Deployment) -> Result<Value, Error> {
    serde_json::to_value(deployment)
        .map_err(|error| Error::Object(format!("the operator's Deployment can't be read: {error}")))
}

/// Refuses what would take objects out of the hands of helm, which would then take them back.
pub(super) fn not_by_helm(deployment: &Value, verb: &str) -> Result<(), Error> {
    let namespace = deployment["metadata"]["namespace"].as_str().unwrap_or_default();
    match deployment["metadata"]["annotations"]["meta.helm.sh/release-name"].as_str() {
        None => Ok(()),
        Some(release) => Err(Error::Object(format!(
            "the operator in namespace {namespace} was installed by helm, as release {release}: use `helm {verb} {release} -n {namespace}`"
        ))),
    }
}

/// Refuses namespaces that do not exist, before anything is changed: roles can't be made in them, and half of the installation would be done.
async fn there_are(cluster: &Cluster, namespaces: &BTreeSet<String>) -> Result<(), Error> {
    let api: Api<Namespace> = Api::all(cluster.client.clone());
    for name in namespaces {
        if cluster
            .ask(format!("get namespace {name}"), api.get_opt(name))
            .await?
            .is_none()
        {
            return Err(Error::Object(format!(
                "namespace {name} does not exist: create it first, or name other --watch-namespaces. Nothing was changed"
            )));
        }
    }
    Ok(())
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
        let watched = Options::installed(&json(&other)?).watch_namespaces;
        if place != options.namespace && overlap(&watched, &options.watch_namespaces) {
            return Err(Error::Object(format!(
                "an operator is installed in namespace {place} and looks after the same namespaces: update that one with -n {place}, remove it \
                 with `pgo uninstall -n {place}`, or give the two different --watch-namespaces"
            )));
        }
    }
    Ok(())
}

/// No namespaces are all of them.
fn overlap(some: &BTreeSet<String>, others: &BTreeSet<String>) -> bool {
    some.is_empty() || others.is_empty() || !some.is_disjoint(others)
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
fn words(list: &[String]) -> BTreeSet<String> {
    list.iter()
        .map(|word| word.trim().to_owned())
        .filter(|word| !word.is_empty())
        .collect()
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

fn apply<'a>(cluster: &'a Cluster, manifest: &'a Value) -> BoxFuture<'a, Result<&'static str, Error>> {
    Box::pin(async move {
        let (api, name) = rights::api_of(cluster, manifest);
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
        let of = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<BTreeSet<_>>();
        assert!(overlap(&of(&[]), &of(&["shop"])));
        assert!(overlap(&of(&["shop", "bank"]), &of(&["bank"])));
        assert!(!overlap(&of(&["shop"]), &of(&["bank"])));
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
