//! Garbage collection by owner references, over all served resources.
//!
//! The watches fill a [`graph`](graph::Graph); what it says to look at is read live, and so are owners the graph does not know,
//! before the [`verdict`](verdict::verdict) is carried out. So a graph that lags behind never deletes what is owned.

mod graph;
mod monitor;
mod verdict;

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{
    Api,
    api::{DeleteParams, DynamicObject, Preconditions, PropagationPolicy},
};
use tokio::sync::Notify;
use tracing::warn;

use crate::{
    context::Context,
    queue::{Next, queue},
    resources::Served,
    verbs::{self, VerbError},
};
use graph::{FOREGROUND, Item, ORPHAN};
use monitor::Monitor;
use verdict::{Dependent, Owner, Verdict, verdict};

/// How soon to look again while the first lists come in.
const FILLING: Duration = Duration::from_millis(50);
/// An owner of a kind that is not served may be served again: until then nothing is deleted.
const UNSERVED: Duration = Duration::from_secs(30);
/// How soon to look again at what has an owner whose resource was not watched when it was asked for.
const UNWATCHED: Duration = Duration::from_secs(3);

/// Collects garbage until stopped.
pub(crate) fn run(context: &Context) -> BoxFuture<'static, ()> {
    let (queue, requests) = queue();
    let monitor = Monitor::new(queue);
    let ready = Arc::new(Notify::new());
    let watching = monitor.clone().run(
        context.client.clone(),
        context.resources.clone(),
        context.stop.clone(),
        ready.clone(),
    );
    let working = context.work("garbage-collector", requests, move |context, key| {
        let monitor = monitor.clone();
        async move { look_at(&context, &monitor, &key.name).await }
    });
    let stop = context.stop.clone();
    async move {
        let working = async {
            if stop.run_until_cancelled(ready.notified()).await.is_some() {
                working.await;
            }
        };
        futures::join!(watching, working);
    }
    .boxed()
}

async fn look_at(context: &Context, monitor: &Monitor, uid: &str) -> Result<Next, VerbError> {
    if !monitor.is_filled() {
        return Ok(Next::After(FILLING));
    }
    let Some((item, dependents)) = known(monitor, uid) else {
        return Ok(Next::OnChange);
    };
    let Some(served) = context
        .resources
        .known()
        .iter()
        .find(|served| served.id() == item.resource)
        .cloned()
    else {
        return Ok(Next::OnChange);
    };
    let api = served.api(&context.client, &item.namespace);
    let Some(live) = live(&api, &item.name)
        .await?
        .filter(|live| live.uid.as_deref() == Some(uid))
    else {
        return Ok(Next::OnChange);
    };
    let mut owners = Vec::new();
    let mut unwatched = false;
    for reference in live.owner_references.iter().flatten() {
        let known = of_graph(monitor, &live, reference);
        let owner = match known {
            Some(owner) => Some(owner),
            None => of_server(context, &live, reference).await?,
        };
        let Some(owner) = owner else {
            warn!(
                owner = reference.kind,
                of = item.name,
                "an owner is of a kind that is not served: nothing is collected"
            );
            return Ok(Next::After(UNSERVED));
        };
        unwatched |= known.is_none();
        owners.push((reference.clone(), owner));
    }
    let verdict = verdict(&live, &owners, &dependents);
    carry_out(context, monitor, &api, &live, verdict).await?;
    // Nobody tells of the end of an owner that is not watched yet.
    Ok(if unwatched {
        Next::After(UNWATCHED)
    } else {
        Next::OnChange
    })
}

/// The object and those it owns, as the graph knows them.
fn known(monitor: &Monitor, uid: &str) -> Option<(Item, Vec<Dependent>)> {
    let graph = monitor.graph();
    let item = graph.get(uid)?.clone();
    let dependents = graph
        .dependents(uid)
        .map(|(dependent, item)| Dependent {
            uid: dependent.clone(),
            blocks: item
                .owners
                .iter()
                .any(|owner| owner.uid == uid && owner.block_owner_deletion == Some(true)),
            foreground: item.foreground,
        })
        .collect();
    Some((item, dependents))
}

async fn live(api: &Api<DynamicObject>, name: &str) -> Result<Option<ObjectMeta>, VerbError> {
    let what = || format!("{}/{name}", api.resource_url());
    let live = verbs::request("get", what, api.get_metadata_opt(name)).await?;
    Ok(live.map(|object| object.metadata))
}

/// What the watches told of an owner, if anything.
fn of_graph(monitor: &Monitor, of: &ObjectMeta, reference: &OwnerReference) -> Option<Owner> {
    let graph = monitor.graph();
    if graph.is_gone(&reference.uid) {
        return Some(Owner::Gone);
    }
    let namespace = of.namespace.as_deref().unwrap_or_default();
    let item = graph.get(&reference.uid).filter(|item| reaches(item, namespace))?;
    Some(if item.foreground { Owner::Waiting } else { Owner::There })
}

/// What the server says of an owner. `None` when its kind is not served.
async fn of_server(context: &Context, of: &ObjectMeta, reference: &OwnerReference) -> Result<Option<Owner>, VerbError> {
    let namespace = of.namespace.as_deref().unwrap_or_default();
    let Some(served) = context.resources.find(&reference.api_version, &reference.kind).await? else {
        return Ok(None);
    };
    if served.namespaced && namespace.is_empty() {
        warn!(
            owner = reference.name,
            of = of.name,
            "a cluster-scoped object names a namespaced owner: nothing is collected"
        );
        return Ok(Some(Owner::There));
    }
    let live = live(&served.api(&context.client, namespace), &reference.name).await?;
    let same = live.filter(|live| live.uid.as_ref() == Some(&reference.uid));
    Ok(Some(match same {
        None => Owner::Gone,
        Some(live) if Item::new(&served.id(), &live).foreground => Owner::Waiting,
        Some(_) => Owner::There,
    }))
}

/// An owner must be cluster-scoped or in the namespace of what it owns.
fn reaches(owner: &Item, namespace: &str) -> bool {
    owner.namespace.is_empty() || owner.namespace == namespace
}

async fn carry_out(
    context: &Context,
    monitor: &Monitor,
    api: &Api<DynamicObject>,
    live: &ObjectMeta,
    verdict: Verdict,
) -> Result<(), VerbError> {
    match verdict {
        Verdict::Keep => {}
        Verdict::Disown(uids) => {
            let references: Vec<_> = live
                .owner_references
                .iter()
                .flatten()
                .filter(|owner| !uids.contains(&owner.uid))
                .cloned()
                .collect();
            verbs::merge(api, live, verbs::owners_patch(&references)).await?;
        }
        Verdict::Delete(policy) => delete(api, live, policy).await?,
        Verdict::Unblock => {
            let references: Vec<_> = live
                .owner_references
                .iter()
                .flatten()
                .map(|owner| OwnerReference {
                    block_owner_deletion: Some(false),
                    ..owner.clone()
                })
                .collect();
            let unblocked: DynamicObject = verbs::merge(api, live, verbs::owners_patch(&references)).await?;
            delete(api, &unblocked.metadata, PropagationPolicy::Foreground).await?;
        }
        Verdict::Orphan(uids) => {
            for uid in uids {
                let_go(context, monitor, &uid, live.uid.as_deref().unwrap_or_default()).await?;
            }
            unfinalize(api, live, ORPHAN).await?;
        }
        Verdict::Release => unfinalize(api, live, FOREGROUND).await?,
        Verdict::Await(uids) => uids.iter().for_each(|uid| monitor.look_at(uid)),
    }
    Ok(())
}

async fn delete(api: &Api<DynamicObject>, live: &ObjectMeta, policy: PropagationPolicy) -> Result<(), VerbError> {
    let name = live.name.clone().unwrap_or_default();
    let preconditions = Preconditions {
        uid: live.uid.clone(),
        resource_version: live.resource_version.clone(),
    };
    let params = DeleteParams {
        propagation_policy: Some(policy),
        preconditions: Some(preconditions),
        ..DeleteParams::default()
    };
    let what = || format!("{}/{name}", api.resource_url());
    match verbs::request("delete", what, api.delete(&name, &params)).await {
        Err(error) if error.is_not_found() => Ok(()),
        other => other.map(drop),
    }
}

/// Takes the reference to `owner` out of one it owns.
async fn let_go(context: &Context, monitor: &Monitor, dependent: &str, owner: &str) -> Result<(), VerbError> {
    let Some((item, _)) = known(monitor, dependent) else {
        return Ok(());
    };
    let known = context.resources.known();
    let Some(served) = known.iter().find(|served: &&Served| served.id() == item.resource) else {
        return Ok(());
    };
    let api = served.api(&context.client, &item.namespace);
    let Some(live) = live(&api, &item.name).await? else {
        return Ok(());
    };
    let references: Vec<_> = live
        .owner_references
        .iter()
        .flatten()
        .filter(|reference| reference.uid != owner)
        .cloned()
        .collect();
    if references.len() == live.owner_references.as_ref().map_or(0, Vec::len) {
        return Ok(());
    }
    match verbs::merge(&api, &live, verbs::owners_patch(&references)).await {
        Err(error) if error.is_not_found() => Ok(()),
        other => other.map(drop),
    }
}

async fn unfinalize(api: &Api<DynamicObject>, live: &ObjectMeta, finalizer: &str) -> Result<(), VerbError> {
    let finalizers: Vec<_> = live
        .finalizers
        .iter()
        .flatten()
        .filter(|name| *name != finalizer)
        .cloned()
        .collect();
    match verbs::merge(api, live, verbs::finalizers_patch(&finalizers)).await {
        Err(error) if error.is_not_found() => Ok(()),
        other => other.map(drop),
    }
}
