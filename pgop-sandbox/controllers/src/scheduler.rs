//! Binds pods to nodes.

mod decide;
mod demand;
mod neighbours;

use std::{collections::HashMap, sync::Arc};

use futures::future::BoxFuture;
use k8s_openapi::{
    api::core::v1::{Binding, ObjectReference, PersistentVolumeClaim, Pod, PodCondition},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{Api, ResourceExt, api::PostParams};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::{
    cache::{Cache, Change, Kind, Watched},
    context::Context,
    pod,
    queue::{Key, Next, Queue, queue},
    verbs::{self, VerbError},
    volume::claim::SELECTED_NODE,
};
use decide::{Decision, Surroundings, decide, is_waiting};

/// Pods that were bound while the cache does not show it yet, by uid. They take their room already.
type Assumed = Mutex<HashMap<String, (Arc<Pod>, String)>>;

/// Binds pods that have no node.
pub(crate) fn run(context: &Context) -> BoxFuture<'static, ()> {
    let (queue, requests) = queue();
    let cache = &context.cache;
    let (on_pod, weak) = (queue.clone(), Arc::downgrade(cache));
    cache.pods.listen(move |change| {
        change
            .new
            .iter()
            .filter(|pod| is_waiting(pod))
            .for_each(|pod| on_pod.add(Key::of(&**pod)));
        if makes_room(change)
            && let Some(cache) = weak.upgrade()
        {
            retry_waiting(&cache, &on_pod);
        }
    });
    retry_on_change(&cache.nodes, cache, &queue);
    retry_on_change(&cache.claims, cache, &queue);
    retry_on_change(&cache.volumes, cache, &queue);
    retry_on_change(&cache.storage_classes, cache, &queue);
    let assumed = Arc::new(Assumed::default());
    context.work("default-scheduler", requests, move |context, key| {
        let assumed = assumed.clone();
        async move { reconcile(&context, &assumed, &key).await }
    })
}

fn retry_on_change<K: Watched>(kind: &Kind<K>, cache: &Arc<Cache>, queue: &Queue) {
    let (queue, weak) = (queue.clone(), Arc::downgrade(cache));
    kind.listen(move |_| {
        if let Some(cache) = weak.upgrade() {
            retry_waiting(&cache, &queue);
        }
    });
}

fn retry_waiting(cache: &Cache, queue: &Queue) {
    cache
        .pods
        .all()
        .iter()
        .filter(|pod| is_waiting(pod))
        .for_each(|pod| queue.add(Key::of(&**pod)));
}

/// A pod that is placed, ends, goes or is labelled anew may be what another waits for.
fn makes_room(change: &Change<Pod>) -> bool {
    match (&change.old, &change.new) {
        (Some(old), Some(new)) => {
            pod::is_finished(old) != pod::is_finished(new)
                || pod::node_name(old) != pod::node_name(new)
                || (pod::node_name(new).is_some() && old.labels() != new.labels())
        }
        (Some(old), None) => pod::node_name(old).is_some(),
        (None, _) => false,
    }
}

async fn reconcile(context: &Context, assumed: &Assumed, key: &Key) -> Result<Next, VerbError> {
    // One pod at a time: the room one takes is not there for the next.
    let mut assumed = assumed.lock().await;
    assumed.retain(|uid, (pod, _)| {
        context
            .cache
            .pods
            .get(&Key::of(&**pod))
            .is_some_and(|now| now.uid().as_ref() == Some(uid) && pod::node_name(&now).is_none())
    });
    let Some(pod) = context.cache.pods.get(key).filter(|pod| is_waiting(pod)) else {
        return Ok(Next::OnChange);
    };
    if assumed.contains_key(&pod.uid().unwrap_or_default()) {
        return Ok(Next::OnChange);
    }
    match decide(&pod, &surroundings(context, &pod, &assumed)) {
        Decision::Bind { node } => {
            bind(context, &pod, &node).await?;
            assumed.insert(pod.uid().unwrap_or_default(), (pod, node));
        }
        Decision::Select { node, claims } => {
            let api: Api<PersistentVolumeClaim> = context.namespaced(&key.namespace);
            for claim in decide::untold(claims, &node) {
                let patch = json!({ "metadata": { "annotations": { (SELECTED_NODE): node } } });
                verbs::merge(&api, &claim.metadata, patch).await?;
            }
        }
        Decision::Wait { message } => show_waiting(context, &pod, message).await?,
    }
    Ok(Next::OnChange)
}

fn surroundings(context: &Context, pod: &Pod, assumed: &HashMap<String, (Arc<Pod>, String)>) -> Surroundings {
    let cache = &context.cache;
    let namespace = pod.namespace().unwrap_or_default();
    let mut placed: Vec<_> = cache
        .pods
        .all()
        .into_iter()
        .filter(|pod| !pod::is_finished(pod))
        .filter_map(|pod| pod::node_name(&pod).map(str::to_owned).map(|node| (pod.clone(), node)))
        .collect();
    placed.extend(assumed.values().cloned());
    let claims = pod::claim_names(pod).into_iter().map(|name| {
        let claim = cache.claims.get(&Key::new(&namespace, &name));
        (name, claim)
    });
    Surroundings {
        nodes: cache.nodes.all(),
        placed,
        claims: claims.collect(),
        classes: cache.storage_classes.all(),
        volumes: cache.volumes.all(),
    }
}

async fn bind(context: &Context, pod: &Pod, node: &str) -> Result<(), VerbError> {
    let namespace = pod.namespace().unwrap_or_default();
    let name = pod.name_any();
    let api: Api<Pod> = context.namespaced(&namespace);
    let binding = Binding {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(namespace.clone()),
            uid: pod.uid(),
            ..ObjectMeta::default()
        },
        target: ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Node".into()),
            name: Some(node.to_owned()),
            ..ObjectReference::default()
        },
    };
    let params = PostParams::default();
    let bound = api.create_subresource::<_, Value>("binding", &name, &params, &binding);
    verbs::request("bind", || format!("pod {namespace}/{name}"), bound).await?;
    context.recorder.normal(
        pod,
        "Scheduled",
        format!("Successfully assigned {namespace}/{name} to {node}"),
    );
    Ok(())
}

/// Writes why the pod waits, and tells it once for each new reason.
async fn show_waiting(context: &Context, pod: &Pod, message: String) -> Result<(), VerbError> {
    let known = pod::condition(pod, "PodScheduled");
    if known.is_some_and(|known| known.status == "False" && known.message.as_deref() == Some(&message)) {
        return Ok(());
    }
    let since = known
        .filter(|known| known.status == "False")
        .and_then(|known| known.last_transition_time.clone());
    let condition = PodCondition {
        type_: "PodScheduled".into(),
        status: "False".into(),
        reason: Some("Unschedulable".into()),
        message: Some(message.clone()),
        last_transition_time: since.or_else(|| Some(Time(pgop_sandbox_tasks::now()))),
        ..PodCondition::default()
    };
    let others = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut conditions: Vec<_> = others.filter(|other| other.type_ != "PodScheduled").cloned().collect();
    conditions.push(condition);
    let api: Api<Pod> = context.namespaced(&pod.namespace().unwrap_or_default());
    verbs::merge_status(&api, &pod.metadata, json!({ "status": { "conditions": conditions } })).await?;
    context.recorder.warning(pod, "FailedScheduling", message);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod_on(node: Option<&str>, phase: &str) -> Arc<Pod> {
        let pod = json!({ "metadata": { "name": "a" }, "spec": { "containers": [], "nodeName": node }, "status": { "phase": phase } });
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn what_may_let_others_in() {
        let makes = |old, new| makes_room(&Change { old: Some(old), new });
        assert!(makes(pod_on(Some("n"), "Running"), None));
        assert!(makes(
            pod_on(Some("n"), "Running"),
            Some(pod_on(Some("n"), "Succeeded"))
        ));
        assert!(!makes(pod_on(None, "Pending"), None));
        assert!(!makes(pod_on(Some("n"), "Pending"), Some(pod_on(Some("n"), "Running"))));
    }
}
