//! Garbage collection and the deletion of namespaces.

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet},
        core::v1::{ConfigMap, Namespace, Pod, ServiceAccount},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, PostParams},
};
use serde_json::{Value, json};

use crate::play::{Cluster, NAMESPACE, eventually, template};

fn config_map(name: &str, owner: Option<(&str, &str, &str, &str)>) -> Value {
    let owners = owner.map(|(version, kind, name, uid)| json!([{ "apiVersion": version, "kind": kind, "name": name, "uid": uid, "blockOwnerDeletion": true }]));
    json!({ "metadata": { "name": name, "ownerReferences": owners } })
}

async fn family(cluster: &Cluster) {
    let owner = cluster.create::<ConfigMap>(config_map("owner", None)).await;
    let uid = owner.uid().unwrap();
    let child = cluster
        .create::<ConfigMap>(config_map("child", Some(("v1", "ConfigMap", "owner", &uid))))
        .await;
    let uid = child.uid().unwrap();
    cluster
        .create::<ConfigMap>(config_map("grandchild", Some(("v1", "ConfigMap", "child", &uid))))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_background_children_follow() {
    let cluster = Cluster::start().await;
    family(&cluster).await;
    cluster.delete::<ConfigMap>("owner", DeleteParams::background()).await;
    for name in ["owner", "child", "grandchild"] {
        cluster.until_gone::<ConfigMap>(name).await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_foreground_the_owner_goes_last() {
    let cluster = Cluster::start().await;
    family(&cluster).await;
    cluster
        .merge::<ConfigMap>(
            "grandchild",
            json!({ "metadata": { "finalizers": ["example.com/hold"] } }),
        )
        .await;
    cluster.delete::<ConfigMap>("owner", DeleteParams::foreground()).await;
    cluster
        .until::<ConfigMap>("grandchild", "told to go", |map| {
            map.metadata.deletion_timestamp.is_some()
        })
        .await;
    for name in ["owner", "child"] {
        assert!(
            cluster.api::<ConfigMap>().get_opt(name).await.unwrap().is_some(),
            "{name} waits"
        );
    }
    cluster
        .merge::<ConfigMap>("grandchild", json!({ "metadata": { "finalizers": null } }))
        .await;
    cluster.until_gone::<ConfigMap>("owner").await;
    assert!(cluster.api::<ConfigMap>().get_opt("child").await.unwrap().is_none());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orphans_stay_and_forget_their_owner() {
    let cluster = Cluster::start().await;
    family(&cluster).await;
    // A graph without the child would orphan nobody: it is there when a later child of another owner is collected.
    let probe = config_map(
        "probe",
        Some(("v1", "ConfigMap", "owner", "00000000-0000-0000-0000-000000000000")),
    );
    cluster.create::<ConfigMap>(probe).await;
    cluster.until_gone::<ConfigMap>("probe").await;
    cluster.delete::<ConfigMap>("owner", DeleteParams::orphan()).await;
    cluster.until_gone::<ConfigMap>("owner").await;
    let child = cluster
        .until::<ConfigMap>("child", "without owner", |map| map.owner_references().is_empty())
        .await;
    assert!(child.metadata.deletion_timestamp.is_none());
    assert_eq!(
        cluster
            .api::<ConfigMap>()
            .get("grandchild")
            .await
            .unwrap()
            .owner_references()
            .len(),
        1
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_of_another_uid_counts_as_gone() {
    let cluster = Cluster::start().await;
    cluster.create::<ConfigMap>(config_map("owner", None)).await;
    cluster
        .create::<ConfigMap>(config_map(
            "child",
            Some(("v1", "ConfigMap", "owner", "00000000-0000-0000-0000-000000000000")),
        ))
        .await;
    cluster.until_gone::<ConfigMap>("child").await;
    assert!(cluster.api::<ConfigMap>().get_opt("owner").await.unwrap().is_some());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_custom_resource_owns_goes_with_it() {
    let cluster = Cluster::start().await;
    let definition = json!({
        "metadata": { "name": "orders.example.com" },
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": { "kind": "Order", "plural": "orders", "singular": "order" },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": { "type": "object" } } }],
        },
    });
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    definitions
        .create(&PostParams::default(), &serde_json::from_value(definition).unwrap())
        .await
        .unwrap();
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("example.com", "v1", "Order"));
    let orders: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), NAMESPACE, &resource);
    let order = eventually("orders are served", || async {
        orders
            .create(&PostParams::default(), &DynamicObject::new("first", &resource))
            .await
            .ok()
    })
    .await;
    let uid = order.uid().unwrap();
    cluster
        .create::<ConfigMap>(config_map("bill", Some(("example.com/v1", "Order", "first", &uid))))
        .await;
    orders.delete("first", &DeleteParams::default()).await.unwrap();
    cluster.until_gone::<ConfigMap>("bill").await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_takes_its_sets_and_pods_along() {
    let cluster = Cluster::start().await;
    let deployment = json!({
        "metadata": { "name": "web" },
        "spec": { "replicas": 2, "selector": { "matchLabels": { "app": "web" } }, "template": template("web", json!({})) },
    });
    cluster.create::<Deployment>(deployment).await;
    cluster
        .until::<Deployment>("web", "ready", |web| {
            web.status
                .as_ref()
                .is_some_and(|status| status.ready_replicas == Some(2))
        })
        .await;
    cluster.delete::<Deployment>("web", DeleteParams::foreground()).await;
    cluster.until_gone::<Deployment>("web").await;
    assert!(
        cluster
            .api::<ReplicaSet>()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    eventually("no pods", || async { cluster.pods().await.is_empty().then_some(()) }).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_goes_with_all_that_is_in_it() {
    let cluster = Cluster::start().await;
    cluster.until::<ServiceAccount>("default", "made", |_| true).await;
    let certificates = |map: &ConfigMap| map.data.as_ref().is_some_and(|data| data["ca.crt"] == "PEM");
    cluster
        .until::<ConfigMap>("kube-root-ca.crt", "made", certificates)
        .await;
    cluster.create::<ConfigMap>(config_map("content", None)).await;
    cluster
        .create::<Pod>(
            json!({ "metadata": { "name": "a" }, "spec": { "containers": [{ "name": "main", "image": "main:1" }] } }),
        )
        .await;
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    namespaces.delete(NAMESPACE, &DeleteParams::default()).await.unwrap();
    eventually("the namespace is gone", || async {
        namespaces.get_opt(NAMESPACE).await.unwrap().is_none().then_some(())
    })
    .await;
    assert!(
        cluster
            .api::<ConfigMap>()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    cluster.stop().await;
}
