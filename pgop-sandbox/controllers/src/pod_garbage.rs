//! Pods that no node will ever end: those on nodes that are gone, and unplaced ones that were told to go.

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{Api, ResourceExt, api::DeleteParams};
use serde_json::json;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

use crate::{
    context::Context,
    pod,
    queue::{Key, Next, queue},
    verbs::{self, VerbError},
};

/// A node may be away for a moment, as when the machine restarts: its pods are given this long.
const PATIENCE: Duration = Duration::from_secs(40);

/// Whether nobody will end the pod. `node_exists` says whether a node of that name is there.
fn is_abandoned(pod: &Pod, node_exists: impl Fn(&str) -> bool) -> bool {
    match pod::node_name(pod) {
        Some(node) => !node_exists(node),
        None => pod::is_terminating(pod) && pod.metadata.deletion_grace_period_seconds != Some(0),
    }
}

/// Deletes pods that nobody will end.
pub(crate) fn run(context: &Context) -> BoxFuture<'static, ()> {
    let (queue, requests) = queue();
    let weak = Arc::downgrade(&context.cache);
    let on_pod = queue.clone();
    context.cache.pods.listen(move |change| {
        let Some(cache) = weak.upgrade() else { return };
        let known = |name: &str| cache.nodes.get(&Key::new("", name)).is_some();
        change
            .new
            .iter()
            .filter(|pod| is_abandoned(pod, known))
            .for_each(|pod| on_pod.add(Key::of(&**pod)));
    });
    let weak = Arc::downgrade(&context.cache);
    context.cache.nodes.listen(move |change| {
        let (Some(gone), None, Some(cache)) = (&change.old, &change.new, weak.upgrade()) else {
            return;
        };
        let gone = gone.name_any();
        cache
            .pods
            .all()
            .iter()
            .filter(|pod| pod::node_name(pod) == Some(&gone))
            .for_each(|pod| queue.add(Key::of(&**pod)));
    });
    let waiting = Arc::new(Waiting::default());
    context.work("pod-garbage-collector", requests, move |context, key| {
        let waiting = waiting.clone();
        async move { reconcile(&context, &waiting, &key).await }
    })
}

/// Since when pods on lost nodes are known, by uid.
type Waiting = Mutex<HashMap<String, Instant>>;

async fn reconcile(context: &Context, waiting: &Waiting, key: &Key) -> Result<Next, VerbError> {
    let known = |name: &str| context.cache.nodes.get(&Key::new("", name)).is_some();
    let Some(pod) = context.cache.pods.get(key) else {
        return Ok(Next::OnChange);
    };
    let uid = pod.uid().unwrap_or_default();
    if !is_abandoned(&pod, known) {
        waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&uid);
        return Ok(Next::OnChange);
    }
    if pod::node_name(&pod).is_some() {
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let left = PATIENCE.saturating_sub(waiting.entry(uid.clone()).or_insert_with(Instant::now).elapsed());
        if !left.is_zero() {
            return Ok(Next::After(left));
        }
    }
    remove(context, &pod).await?;
    waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&uid);
    Ok(Next::OnChange)
}

async fn remove(context: &Context, pod: &Pod) -> Result<(), VerbError> {
    if let Some(node) = pod::node_name(pod) {
        // The last word is the server's: deleting a pod that runs would lose what it does.
        if verbs::get(&context.cluster::<Node>(), node).await?.is_some() {
            return Ok(());
        }
    }
    let api: Api<Pod> = context.namespaced(&pod.namespace().unwrap_or_default());
    if !pod::is_finished(pod) {
        let status =
            json!({ "status": { "phase": "Failed", "reason": "NodeLost", "message": "The node of the pod is gone" } });
        match verbs::merge_status(&api, &pod.metadata, status).await {
            Err(error) if error.is_not_found() => return Ok(()),
            other => drop(other?),
        }
    }
    let name = pod.name_any();
    let params = DeleteParams::default()
        .grace_period(0)
        .preconditions(kube::api::Preconditions {
            uid: pod.uid(),
            resource_version: None,
        });
    match verbs::request("delete", || format!("pod {name}"), api.delete(&name, &params)).await {
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
        other => other.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(node: Option<&str>, deleting: bool) -> Pod {
        let mut pod = json!({ "metadata": { "name": "a" }, "spec": { "containers": [], "nodeName": node } });
        if deleting {
            pod["metadata"]["deletionTimestamp"] = json!("2026-11-01T10:00:00Z");
            pod["metadata"]["deletionGracePeriodSeconds"] = json!(30);
        }
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn who_is_abandoned() {
        let known = |name: &str| name == "sandbox";
        assert!(is_abandoned(&pod(Some("gone"), false), known));
        assert!(!is_abandoned(&pod(Some("sandbox"), true), known));
        assert!(is_abandoned(&pod(None, true), known));
        assert!(!is_abandoned(&pod(None, false), known));
    }
}
