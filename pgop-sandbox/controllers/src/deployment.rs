//! Deployments: one `ReplicaSet` for each template, and the way from one to the next.

mod plan;
pub(crate) mod sizes;
mod status;

use std::sync::Arc;

use futures::future::BoxFuture;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use kube::{Api, ResourceExt, api::PropagationPolicy};
use serde_json::json;

use crate::{
    context::Context,
    ownership::{self, controller_of, is_controlled_by, selects},
    queue::{Key, Next, queue},
    verbs::{self, VerbError},
};
use plan::{Action, Sets, plan, size};

/// Rolls Deployments out.
pub(crate) fn run(context: &Context) -> BoxFuture<'static, ()> {
    let (queue, requests) = queue();
    let cache = &context.cache;
    let on_deployment = queue.clone();
    cache.deployments.listen(move |change| {
        change
            .new
            .iter()
            .for_each(|deployment| on_deployment.add(Key::of(&**deployment)));
    });
    let (on_set, weak) = (queue.clone(), Arc::downgrade(cache));
    cache.replica_sets.listen(move |change| {
        for set in change.versions() {
            let namespace = set.namespace().unwrap_or_default();
            match controller_of(&set.metadata) {
                Some(owner) if owner.kind == "Deployment" => on_set.add(Key::new(namespace, &owner.name)),
                Some(_) => {}
                None => {
                    let Some(cache) = weak.upgrade() else { return };
                    for deployment in cache.deployments.within(&namespace) {
                        let selector = ownership::selector(&deployment.spec.selector);
                        if selector.is_some_and(|selector| selects(&selector, &set.metadata)) {
                            on_set.add(Key::of(&*deployment));
                        }
                    }
                }
            }
        }
    });
    // The last old pod that goes lets a Deployment of the kind `Recreate` go on.
    let weak = Arc::downgrade(cache);
    cache.pods.listen(move |change| {
        let (Some(gone), None) = (&change.old, &change.new) else {
            return;
        };
        let Some(cache) = weak.upgrade() else { return };
        let namespace = gone.namespace().unwrap_or_default();
        let set =
            controller_of(&gone.metadata).and_then(|owner| cache.replica_sets.get(&Key::new(&namespace, &owner.name)));
        if let Some(owner) = set.as_ref().and_then(|set| controller_of(&set.metadata)) {
            queue.add(Key::new(namespace, &owner.name));
        }
    });
    context.work("deployment-controller", requests, |context, key| async move {
        reconcile(&context, &key).await
    })
}

async fn reconcile(context: &Context, key: &Key) -> Result<Next, VerbError> {
    let Some(deployment) = context.cache.deployments.get(key) else {
        return Ok(Next::OnChange);
    };
    let Some(selector) = ownership::selector(&deployment.spec.selector) else {
        return Ok(Next::OnChange);
    };
    let claims = ownership::claims(
        &deployment.metadata,
        &selector,
        context.cache.replica_sets.within(&key.namespace),
    );
    let owned = ownership::settle(&context.client, &*deployment, claims).await?;
    let sets = plan::sort(&deployment, owned);
    let pods = context.cache.pods.within(&key.namespace);
    let (status, again) = status::status(&deployment, &sets, pgop_sandbox_tasks::now());
    for action in plan(&deployment, &sets, &pods) {
        act(context, &deployment, &sets, action).await?;
    }
    put_status(context, &deployment, status).await?;
    Ok(Next::after(again))
}

async fn put_status(context: &Context, deployment: &Deployment, status: DeploymentStatus) -> Result<(), VerbError> {
    if deployment.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let api: Api<Deployment> = context.namespaced(&deployment.namespace().unwrap_or_default());
    let mut deployment = deployment.clone();
    deployment.status = Some(status);
    verbs::put_status(&api, &deployment).await.map(drop)
}

async fn act(context: &Context, deployment: &Deployment, sets: &Sets, action: Action) -> Result<(), VerbError> {
    let namespace = deployment.namespace().unwrap_or_default();
    let api: Api<ReplicaSet> = context.namespaced(&namespace);
    match action {
        Action::Create(set) => create(context, &api, deployment, &set).await,
        Action::Update {
            set,
            replicas,
            annotations,
        } => {
            let mut patch = json!({ "metadata": { "annotations": annotations }, "spec": { "replicas": replicas } });
            if sets.new.as_ref().is_some_and(|new| Arc::ptr_eq(new, &set)) {
                patch["spec"]["minReadySeconds"] = json!(deployment.spec.min_ready_seconds.unwrap_or(0));
            }
            verbs::merge(&api, &set.metadata, patch).await?;
            tell_scaled(context, deployment, &set.name_any(), size(&set), replicas);
            Ok(())
        }
        Action::Delete(set) => verbs::delete(&api, &set.metadata, Some(PropagationPolicy::Background)).await,
        Action::Number(number) => {
            let deployments: Api<Deployment> = context.namespaced(&namespace);
            let patch = json!({ "metadata": { "annotations": { (plan::REVISION): number } } });
            verbs::merge(&deployments, &deployment.metadata, patch).await.map(drop)
        }
    }
}

fn tell_scaled(context: &Context, deployment: &Deployment, set: &str, from: i32, to: i32) {
    let direction = match to - from {
        0 => return,
        1.. => "up",
        _ => "down",
    };
    let message = format!("Scaled {direction} replica set {set} from {from} to {to}");
    context.recorder.normal(deployment, "ScalingReplicaSet", message);
}

async fn create(
    context: &Context,
    api: &Api<ReplicaSet>,
    deployment: &Deployment,
    set: &ReplicaSet,
) -> Result<(), VerbError> {
    let name = set.name_any();
    match verbs::create(api, set).await {
        Ok(_) => {
            tell_scaled(context, deployment, &name, 0, size(set));
            Ok(())
        }
        Err(error) if error.is_already_exists() => {
            let other = verbs::get(api, &name).await?;
            let template = deployment.spec.template.clone();
            let uid = deployment.uid().unwrap_or_default();
            if other
                .is_some_and(|other| is_controlled_by(&other.metadata, &uid) && plan::is_made_from(&other, &template))
            {
                // It is ours, and the cache lags behind.
                return Ok(());
            }
            // Another template has the same hash: the count changes it.
            let mut status = deployment.status.clone().unwrap_or_default();
            status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
            put_status(context, deployment, status).await?;
            Err(error)
        }
        Err(error) if error.is_namespace_ending() => Ok(()),
        Err(error) => {
            let message = format!("Failed to create new replica set \"{name}\": {}", error.message());
            context.recorder.warning(deployment, "ReplicaSetCreateError", message);
            Err(error)
        }
    }
}
