//! The verbs, as kube's client uses them.
#![allow(clippy::unwrap_used)] // a test that can't go on has failed

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{
    Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use kube::{Client, ResourceExt};
use pgop_sandbox_server::{Config, Server};
use serde_json::{Value, json};

fn client() -> Client {
    Server::open(Config::default()).unwrap().client()
}

fn config_map(name: &str, data: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name, "labels": {"n": data}}, "data": {"x": data}})).unwrap()
}

#[tokio::test]
async fn an_object_lives() {
    let maps: Api<ConfigMap> = Api::default_namespaced(client());
    let created = maps
        .create(&PostParams::default(), &config_map("a", "1"))
        .await
        .unwrap();
    assert!(created.uid().is_some() && created.creation_timestamp().is_some());
    let exists = maps
        .create(&PostParams::default(), &config_map("a", "1"))
        .await
        .unwrap_err();
    assert!(
        matches!(&exists, kube::Error::Api(status) if status.is_already_exists()),
        "{exists}"
    );
    assert!(exists.to_string().contains(r#"configmaps "a" already exists"#));

    let mut changed = maps.get("a").await.unwrap();
    changed.data.as_mut().unwrap().insert("y".into(), "2".into());
    let replaced = maps.replace("a", &PostParams::default(), &changed).await.unwrap();
    assert_ne!(replaced.resource_version(), created.resource_version());
    let stale = maps.replace("a", &PostParams::default(), &changed).await.unwrap_err();
    assert!(matches!(stale, kube::Error::Api(status) if status.is_conflict()));

    let patched = maps
        .patch(
            "a",
            &PatchParams::default(),
            &Patch::Merge(json!({"data": {"x": null}})),
        )
        .await
        .unwrap();
    assert_eq!(
        patched.data.unwrap().into_iter().collect::<Vec<_>>(),
        [("y".to_owned(), "2".to_owned())]
    );
    let same = maps
        .patch("a", &PatchParams::default(), &Patch::Merge(json!({"data": {"y": "2"}})))
        .await
        .unwrap();
    assert_eq!(
        same.metadata.resource_version, patched.metadata.resource_version,
        "an unchanged update writes nothing"
    );

    maps.delete("a", &DeleteParams::default()).await.unwrap();
    assert!(maps.get_opt("a").await.unwrap().is_none());
}

#[tokio::test]
async fn lists_come_in_pages_of_one_moment() {
    let maps: Api<ConfigMap> = Api::default_namespaced(client());
    for index in 0..5 {
        maps.create(
            &PostParams::default(),
            &config_map(&format!("m{index}"), &(index % 2).to_string()),
        )
        .await
        .unwrap();
    }
    let first = maps.list(&ListParams::default().limit(2)).await.unwrap();
    assert_eq!(
        first.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>(),
        ["m0", "m1"]
    );
    assert_eq!(first.metadata.remaining_item_count, Some(3));
    maps.delete("m3", &DeleteParams::default()).await.unwrap();
    let token = first.metadata.continue_.clone().unwrap();
    let rest = maps
        .list(&ListParams::default().limit(10).continue_token(&token))
        .await
        .unwrap();
    assert_eq!(
        rest.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>(),
        ["m2", "m3", "m4"]
    );
    assert_eq!(rest.metadata.resource_version, first.metadata.resource_version);
    let selected = maps.list(&ListParams::default().labels("n in (0)")).await.unwrap();
    assert_eq!(selected.items.len(), 3);
    let named = maps
        .list(&ListParams::default().fields("metadata.name=m1"))
        .await
        .unwrap();
    assert_eq!(named.items.len(), 1);
}

#[tokio::test]
async fn a_watch_tells_what_changes_through_its_selector() {
    let maps: Api<ConfigMap> = Api::default_namespaced(client());
    maps.create(&PostParams::default(), &config_map("a", "1"))
        .await
        .unwrap();
    let version = maps
        .list(&ListParams::default())
        .await
        .unwrap()
        .metadata
        .resource_version
        .unwrap();
    let params = WatchParams::default().labels("n=1");
    let mut events = maps.watch(&params, &version).await.unwrap().boxed();
    maps.create(&PostParams::default(), &config_map("b", "2"))
        .await
        .unwrap();
    maps.patch(
        "b",
        &PatchParams::default(),
        &Patch::Merge(json!({"metadata": {"labels": {"n": "1"}}})),
    )
    .await
    .unwrap();
    maps.patch(
        "a",
        &PatchParams::default(),
        &Patch::Merge(json!({"metadata": {"labels": {"n": "2"}}})),
    )
    .await
    .unwrap();
    maps.delete("b", &DeleteParams::default()).await.unwrap();
    let mut told = Vec::new();
    while told.len() < 3 {
        told.push(match events.try_next().await.unwrap().unwrap() {
            WatchEvent::Added(object) => format!("added {}", object.name_any()),
            WatchEvent::Modified(object) => format!("modified {}", object.name_any()),
            WatchEvent::Deleted(object) => format!("deleted {}", object.name_any()),
            other => format!("{other:?}"),
        });
    }
    assert_eq!(told, ["added b", "deleted a", "deleted b"]);
}

#[tokio::test]
async fn a_custom_resource_is_served_at_once() {
    let client = client();
    let definitions: Api<DynamicObject> = Api::all_with(
        client.clone(),
        &kube::api::ApiResource::from_gvk_with_plural(
            &kube::api::GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition"),
            "customresourcedefinitions",
        ),
    );
    let definition: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "things.x.io"},
        "spec": {"group": "x.io", "scope": "Namespaced", "names": {"kind": "Thing", "plural": "things"}, "versions": [{
            "name": "v1", "served": true, "storage": true, "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"}},
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": {"type": "object", "properties": {"size": {"type": "integer", "default": 1}}},
                "status": {"type": "object", "properties": {"size": {"type": "integer"}}}}}}}]},
    }))
    .unwrap();
    let created = definitions.create(&PostParams::default(), &definition).await.unwrap();
    assert!(
        created.data["status"]["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .any(|c| c["type"] == "Established" && c["status"] == "True")
    );
    let kind = kube::api::ApiResource::from_gvk(&kube::api::GroupVersionKind::gvk("x.io", "v1", "Thing"));
    let things: Api<DynamicObject> = Api::default_namespaced_with(client.clone(), &kind);
    let thing = DynamicObject::new("a", &kind).data(json!({"spec": {"size": 2}, "status": {"size": 9}}));
    let thing = things.create(&PostParams::default(), &thing).await.unwrap();
    assert_eq!(thing.data.get("status"), None, "a status is not set by a create");
    assert_eq!(thing.metadata.generation, Some(1));
    let status: Value = json!({"status": {"size": 2}, "spec": {"size": 7}});
    let thing = things
        .patch_status("a", &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap();
    assert_eq!(
        (&thing.data["status"]["size"], &thing.data["spec"]["size"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(thing.metadata.generation, Some(1));
    let scale = things
        .patch_scale(
            "a",
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": {"replicas": 5}})),
        )
        .await
        .unwrap();
    assert_eq!(
        (scale.spec.unwrap().replicas, scale.status.unwrap().replicas),
        (Some(5), 2)
    );
    assert_eq!(things.get("a").await.unwrap().metadata.generation, Some(2));
    definitions
        .delete("things.x.io", &DeleteParams::default())
        .await
        .unwrap();
    let gone = things.list(&ListParams::default()).await.unwrap_err();
    assert!(matches!(gone, kube::Error::Api(status) if status.is_not_found()));
    assert!(definitions.get_opt("things.x.io").await.unwrap().is_none());
}

#[tokio::test]
async fn a_finalizer_holds_an_object() {
    let client = client();
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let mut map = config_map("a", "1");
    map.metadata.finalizers = Some(vec!["x.io/hold".into()]);
    maps.create(&PostParams::default(), &map).await.unwrap();
    let marked = maps
        .delete("a", &DeleteParams::default())
        .await
        .unwrap()
        .left()
        .unwrap();
    assert!(marked.metadata.deletion_timestamp.is_some());
    let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    maps.patch("a", &PatchParams::default(), &patch).await.unwrap();
    assert!(maps.get_opt("a").await.unwrap().is_none());
    let namespaces: Api<Namespace> = Api::all(client);
    assert_eq!(
        namespaces
            .get("default")
            .await
            .unwrap()
            .status
            .unwrap()
            .phase
            .as_deref(),
        Some("Active")
    );
    let missing: Api<ConfigMap> = Api::namespaced(namespaces.into_client(), "none");
    let error = missing
        .create(&PostParams::default(), &config_map("a", "1"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains(r#"namespaces "none" not found"#), "{error}");
}
