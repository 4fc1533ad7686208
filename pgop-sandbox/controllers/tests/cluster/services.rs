//! Endpoints and disruption budgets.

use k8s_openapi::api::{
    core::v1::{Endpoints, Pod, Service},
    discovery::v1::EndpointSlice,
    policy::v1::PodDisruptionBudget,
};
use kube::api::{DeleteParams, ListParams};
use serde_json::{Value, json};

use crate::play::{Cluster, eventually};

fn pod(name: &str, annotations: Value) -> Value {
    json!({
        "metadata": { "name": name, "labels": { "app": "db" }, "annotations": annotations },
        "spec": { "containers": [{ "name": "db", "image": "db:1", "ports": [{ "name": "postgres", "containerPort": 5432 }] }] },
    })
}

fn counts(endpoints: &Endpoints) -> (usize, usize) {
    let subset = endpoints
        .subsets
        .clone()
        .unwrap_or_default()
        .into_iter()
        .next()
        .unwrap_or_default();
    (
        subset.addresses.unwrap_or_default().len(),
        subset.not_ready_addresses.unwrap_or_default().len(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_follow_the_readiness_of_pods() {
    let cluster = Cluster::start().await;
    cluster
        .create::<Service>(json!({
            "metadata": { "name": "db" },
            "spec": { "selector": { "app": "db" }, "ports": [{ "name": "postgres", "port": 5432, "targetPort": "postgres" }] },
        }))
        .await;
    cluster
        .until::<Endpoints>("db", "made", |endpoints| counts(endpoints) == (0, 0))
        .await;
    cluster.create::<Pod>(pod("db-0", json!({}))).await;
    cluster.create::<Pod>(pod("db-1", json!({ "unready": "" }))).await;
    cluster
        .until::<Endpoints>("db", "one of each", |endpoints| counts(endpoints) == (1, 1))
        .await;
    cluster
        .merge::<Pod>("db-1", json!({ "metadata": { "annotations": { "unready": null } } }))
        .await;
    cluster
        .until::<Endpoints>("db", "both ready", |endpoints| counts(endpoints) == (2, 0))
        .await;
    let of_service = ListParams::default().labels("kubernetes.io/service-name=db");
    eventually("a slice with both", || async {
        let slices = cluster.api::<EndpointSlice>().list(&of_service).await.unwrap();
        let ready = slices
            .iter()
            .flat_map(|slice| slice.endpoints.iter().flatten())
            .filter(|endpoint| endpoint.conditions.as_ref().unwrap().ready == Some(true));
        (ready.count() == 2).then_some(())
    })
    .await;
    cluster.delete::<Service>("db", DeleteParams::default()).await;
    cluster.until_gone::<Endpoints>("db").await;
    eventually("no slices", || async {
        cluster
            .api::<EndpointSlice>()
            .list(&of_service)
            .await
            .unwrap()
            .items
            .is_empty()
            .then_some(())
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_allows_what_is_healthy_beyond_need() {
    let cluster = Cluster::start().await;
    cluster
        .create::<PodDisruptionBudget>(json!({
            "metadata": { "name": "db" }, "spec": { "minAvailable": 1, "selector": { "matchLabels": { "app": "db" } } },
        }))
        .await;
    let allows = |wanted: i32| {
        move |budget: &PodDisruptionBudget| {
            budget
                .status
                .as_ref()
                .is_some_and(|status| status.disruptions_allowed == Some(wanted))
        }
    };
    for name in ["db-0", "db-1"] {
        cluster.create::<Pod>(pod(name, json!({}))).await;
    }
    cluster
        .until::<PodDisruptionBudget>("db", "one may go", allows(1))
        .await;
    cluster
        .merge::<Pod>("db-1", json!({ "metadata": { "annotations": { "unready": "" } } }))
        .await;
    cluster
        .until::<PodDisruptionBudget>("db", "none may go", allows(0))
        .await;
    cluster.stop().await;
}
