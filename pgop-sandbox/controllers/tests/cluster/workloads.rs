//! Pods of `StatefulSets`, Deployments, `DaemonSets` and Jobs.

use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
    batch::v1::Job,
    core::v1::{Event, Node, Pod},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::json;

use crate::play::{Cluster, NAMESPACE, eventually, template};

fn stateful_set(replicas: i32, annotations: serde_json::Value) -> serde_json::Value {
    json!({
        "metadata": { "name": "db" },
        "spec": {
            "replicas": replicas, "serviceName": "db", "selector": { "matchLabels": { "app": "db" } },
            "template": template("db", annotations),
        },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_ordinal_comes_when_the_one_before_is_ready() {
    let cluster = Cluster::start().await;
    cluster
        .create::<StatefulSet>(stateful_set(3, json!({ "unready": "" })))
        .await;
    cluster
        .until::<Pod>("db-0", "placed", |pod| {
            pod.spec.as_ref().unwrap().node_name.as_deref() == Some("sandbox")
        })
        .await;
    cluster
        .until::<StatefulSet>("db", "one pod", |set| {
            set.status.as_ref().is_some_and(|status| status.replicas == 1)
        })
        .await;
    assert_eq!(cluster.pods().await, ["db-0"]);
    cluster
        .merge::<Pod>("db-0", json!({ "metadata": { "annotations": { "unready": null } } }))
        .await;
    cluster.until::<Pod>("db-1", "made", |_| true).await;
    cluster
        .merge::<Pod>("db-1", json!({ "metadata": { "annotations": { "unready": null } } }))
        .await;
    cluster.until::<Pod>("db-2", "made", |_| true).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stateful_set_is_updated_resized_and_deleted() {
    let cluster = Cluster::start().await;
    cluster.create::<StatefulSet>(stateful_set(2, json!({}))).await;
    let ready = |wanted: i32| {
        move |set: &StatefulSet| {
            set.status
                .as_ref()
                .is_some_and(|status| status.ready_replicas == Some(wanted))
        }
    };
    let set = cluster.until::<StatefulSet>("db", "ready", ready(2)).await;
    let first = set.status.unwrap().current_revision.unwrap();
    cluster
        .merge::<StatefulSet>(
            "db",
            json!({ "spec": { "template": { "metadata": { "labels": { "version": "2" } } } } }),
        )
        .await;
    cluster
        .until::<StatefulSet>("db", "updated", |set| {
            let status = set.status.clone().unwrap_or_default();
            status.updated_replicas == Some(2)
                && status.ready_replicas == Some(2)
                && status.current_revision.as_ref() != Some(&first)
        })
        .await;
    for name in ["db-0", "db-1"] {
        cluster
            .until::<Pod>(name, "new", |pod| {
                pod.labels().get("version").is_some_and(|version| version == "2")
            })
            .await;
    }
    cluster
        .merge::<StatefulSet>("db", json!({ "spec": { "replicas": 1 } }))
        .await;
    cluster.until_gone::<Pod>("db-1").await;
    cluster.delete::<StatefulSet>("db", DeleteParams::background()).await;
    cluster.until_gone::<Pod>("db-0").await;
    cluster.stop().await;
}

fn deployment() -> serde_json::Value {
    json!({
        "metadata": { "name": "web" },
        "spec": { "replicas": 3, "selector": { "matchLabels": { "app": "web" } }, "template": template("web", json!({})) },
    })
}

fn is_rolled_out(deployment: &Deployment) -> bool {
    let status = deployment.status.clone().unwrap_or_default();
    let available = status
        .conditions
        .iter()
        .flatten()
        .any(|condition| condition.reason.as_deref() == Some("NewReplicaSetAvailable"));
    status.observed_generation == deployment.metadata.generation
        && status.replicas == Some(3)
        && status.updated_replicas == Some(3)
        && available
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_rolls_out_and_back() {
    let cluster = Cluster::start().await;
    cluster.create::<Deployment>(deployment()).await;
    cluster.until::<Deployment>("web", "rolled out", is_rolled_out).await;
    let image =
        |image: &str| json!([{ "op": "replace", "path": "/spec/template/spec/containers/0/image", "value": image }]);
    let api: Api<Deployment> = cluster.api();
    for (image_name, revision) in [("main:2", "2"), ("main:1", "3")] {
        let patch = Patch::Json::<()>(serde_json::from_value(image(image_name)).unwrap());
        api.patch("web", &PatchParams::default(), &patch).await.unwrap();
        let rolled = |deployment: &Deployment| {
            is_rolled_out(deployment)
                && deployment
                    .annotations()
                    .get("deployment.kubernetes.io/revision")
                    .is_some_and(|known| known == revision)
        };
        cluster.until::<Deployment>("web", image_name, rolled).await;
        eventually("three pods of that image", || async {
            let pods = cluster.api::<Pod>().list(&ListParams::default()).await.unwrap();
            let images: Vec<_> = pods
                .iter()
                .map(|pod| pod.spec.as_ref().unwrap().containers[0].image.clone())
                .collect();
            (images.len() == 3 && images.iter().all(|image| image.as_deref() == Some(image_name))).then_some(())
        })
        .await;
    }
    let sets = cluster.api::<ReplicaSet>().list(&ListParams::default()).await.unwrap();
    assert_eq!(sets.items.len(), 2, "going back takes the first set up again");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_set_follows_the_labels_of_nodes() {
    let cluster = Cluster::start().await;
    let mut set = json!({ "metadata": { "name": "agent" }, "spec": { "selector": { "matchLabels": { "app": "agent" } }, "template": template("agent", json!({})) } });
    set["spec"]["template"]["spec"]["nodeSelector"] = json!({ "agent": "yes" });
    cluster.create::<DaemonSet>(set).await;
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let label = |value: serde_json::Value| Patch::Merge(json!({ "metadata": { "labels": { "agent": value } } }));
    nodes
        .patch("sandbox", &PatchParams::default(), &label(json!("yes")))
        .await
        .unwrap();
    cluster
        .until::<DaemonSet>("agent", "ready", |set| {
            set.status.as_ref().is_some_and(|status| status.number_ready == 1)
        })
        .await;
    nodes
        .patch("sandbox", &PatchParams::default(), &label(json!(null)))
        .await
        .unwrap();
    eventually("no pods", || async { cluster.pods().await.is_empty().then_some(()) }).await;
    cluster.stop().await;
}

fn job(end: &str, backoff_limit: i32) -> serde_json::Value {
    let mut template = template("backup", json!({ "end": end }));
    template["spec"]["restartPolicy"] = json!("Never");
    json!({ "metadata": { "name": "backup" }, "spec": { "backoffLimit": backoff_limit, "template": template } })
}

fn ended(end: &str) -> impl Fn(&Job) -> bool {
    move |job| {
        job.status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten())
            .any(|condition| condition.type_ == end && condition.status == "True")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_completes_and_its_pod_is_counted_once() {
    let cluster = Cluster::start().await;
    cluster.create::<Job>(job("Succeeded", 0)).await;
    let job = cluster.until::<Job>("backup", "complete", ended("Complete")).await;
    let status = job.status.unwrap();
    assert_eq!((status.succeeded, status.failed, status.active), (Some(1), None, None));
    assert!(status.completion_time.is_some());
    let pods = cluster.api::<Pod>().list(&ListParams::default()).await.unwrap();
    assert_eq!(pods.items.len(), 1);
    assert!(pods.items[0].finalizers().is_empty(), "the pod can be deleted");
    eventually("its events", || async {
        let events = cluster.api::<Event>().list(&ListParams::default()).await.unwrap();
        let told = |reason: &str| events.iter().any(|event| event.reason.as_deref() == Some(reason));
        ["SuccessfulCreate", "Completed", "Scheduled"]
            .iter()
            .all(|reason| told(reason))
            .then_some(())
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_fails_beyond_its_limit() {
    let cluster = Cluster::start().await;
    cluster.create::<Job>(job("Failed", 0)).await;
    let job = cluster.until::<Job>("backup", "failed", ended("Failed")).await;
    assert_eq!(job.status.unwrap().failed, Some(1));
    cluster.delete::<Job>("backup", DeleteParams::foreground()).await;
    cluster.until_gone::<Job>("backup").await;
    assert!(cluster.pods().await.is_empty());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_fits_nowhere_waits_and_says_why() {
    let cluster = Cluster::start().await;
    cluster
        .create::<Pod>(json!({
            "metadata": { "name": "choosy" },
            "spec": { "nodeSelector": { "disk": "ssd" }, "containers": [{ "name": "main", "image": "main:1" }] },
        }))
        .await;
    let wanted = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.";
    let says = |pod: &Pod| {
        let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions
            .into_iter()
            .any(|condition| condition.type_ == "PodScheduled" && condition.message.as_deref() == Some(wanted))
    };
    cluster.until::<Pod>("choosy", "told why", says).await;
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let labels = Patch::Merge(json!({ "metadata": { "labels": { "disk": "ssd" } } }));
    nodes.patch("sandbox", &PatchParams::default(), &labels).await.unwrap();
    cluster
        .until::<Pod>("choosy", "placed", |pod| pod.spec.as_ref().unwrap().node_name.is_some())
        .await;
    assert_eq!(
        cluster.api::<Pod>().get("choosy").await.unwrap().namespace().as_deref(),
        Some(NAMESPACE)
    );
    cluster.stop().await;
}
