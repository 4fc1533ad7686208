//! Writes the status of a pod to the API, when it has changed, and removes the pod in the end.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, PostParams, Preconditions};
use tokio::time::sleep;

use super::status::status;
use super::worker::{PodRun, lock};

/// The API may be away for a moment.
const RETRY: Duration = Duration::from_millis(500);
const TRIES: u32 = 60;

fn api(run: &PodRun) -> (Api<Pod>, String, Option<String>) {
    let pod = run.pod();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let name = pod.metadata.name.clone().unwrap_or_default();
    (
        Api::namespaced(run.shared.client.clone(), namespace),
        name,
        pod.metadata.uid.clone(),
    )
}

/// Writes it after each change. Never returns. When the node stops, pods keep the status they have: their containers did not end by themselves.
pub(super) async fn keep(run: &Arc<PodRun>) {
    let mut watch = run.watch();
    loop {
        watch.borrow_and_update();
        if run.shared.stop.is_cancelled() {
            std::future::pending::<()>().await;
        }
        write(run).await;
        if watch.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Writes it now, if it has changed.
pub(super) async fn write(run: &PodRun) {
    let (api, name, uid) = api(run);
    let mut base = Some((*run.pod()).clone());
    let mut fresh = false;
    for _ in 0..TRIES {
        let mut pod = match base.take() {
            Some(pod) => pod,
            None => match api.get_opt(&name).await {
                Ok(Some(pod)) if pod.metadata.uid == uid => {
                    fresh = true;
                    pod
                }
                Ok(_) => return, // gone, or another one
                Err(error) => {
                    tracing::debug!(pod = name, %error, "pod could not be read");
                    sleep(RETRY).await;
                    continue;
                }
            },
        };
        let state = run.watch().borrow().clone();
        let new = status(&pod, &state, pgop_sandbox_tasks::now());
        if pod.status.as_ref() == Some(&new) {
            let behind = lock(&run.written).as_ref().is_some_and(|written| *written != new);
            if !fresh && behind {
                fresh = true; // what we know of the object is older than what we wrote last
                continue;
            }
            return;
        }
        pod.status = Some(new.clone());
        match api.replace_status(&name, &PostParams::default(), &pod).await {
            Ok(_) => {
                *lock(&run.written) = Some(new);
                return;
            }
            Err(kube::Error::Api(status)) if status.is_conflict() => {}
            Err(kube::Error::Api(status)) if status.is_not_found() => return,
            Err(error) => {
                tracing::debug!(pod = name, %error, "status could not be written");
                sleep(RETRY).await;
            }
        }
        if run.shared.stop.is_cancelled() {
            return;
        }
    }
    tracing::warn!(pod = name, "the status of a pod could not be written");
}

/// Removes the object: nothing of the pod runs any more.
pub(super) async fn remove(run: &PodRun) {
    let (api, name, uid) = api(run);
    let params = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions {
            uid,
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    for _ in 0..TRIES {
        match api.delete(&name, &params).await {
            Ok(_) => return,
            // Gone already, or another one has its name.
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => return,
            Err(error) => {
                tracing::debug!(pod = name, %error, "pod could not be removed");
                if run.shared.stop.is_cancelled() {
                    return;
                }
                sleep(RETRY).await;
            }
        }
    }
}
