//! The operator's rights, as the cluster has them: found by their bindings and deleted one by one.

use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding};
use kube::Resource;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use pgop_core::install;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cluster::{Cluster, ClusterError};
use crate::error::Error;
use crate::output;

/// All bindings with the labels of an installation, of every namespace.
pub(in super::super) async fn bindings(cluster: &Cluster) -> Result<Vec<Value>, Error> {
    let mut all = list::<ClusterRoleBinding>(cluster).await?;
    all.extend(list::<RoleBinding>(cluster).await?);
    Ok(all)
}

async fn list<K>(cluster: &Cluster) -> Result<Vec<Value>, Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Serialize + std::fmt::Debug,
{
    let labels: Vec<String> = install::selector()
        .into_iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let api: Api<K> = Api::all(cluster.client.clone());
    let of_installations = ListParams::default().labels(&labels.join(","));
    let found = cluster
        .ask(format!("list {}", K::plural(&())), api.list(&of_installations))
        .await?;
    let unreadable = |error| Error::Object(format!("{} can't be read: {error}", K::plural(&())));
    found
        .items
        .into_iter()
        .map(|binding| serde_json::to_value(binding).map_err(unreadable))
        .collect()
}

/// Deletes an object. False: it was gone already.
pub(in super::super) async fn delete(cluster: &Cluster, manifest: &Value) -> Result<bool, Error> {
    let (api, name) = api_of(cluster, manifest);
    let what = place(manifest);
    match cluster
        .ask(format!("delete {what}"), api.delete(&name, &DeleteParams::background()))
        .await
    {
        Ok(_) => Ok(true),
        Err(ClusterError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// `role.rbac.authorization.k8s.io/pgop-operator in namespace shop`: many namespaces have one of that name.
pub(in super::super) fn place(manifest: &Value) -> String {
    let name = output::name(manifest);
    match manifest["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{name} in namespace {namespace}"),
        None => name,
    }
}

/// The API of a manifest, in its namespace.
pub(super) fn api_of(cluster: &Cluster, manifest: &Value) -> (Api<DynamicObject>, String) {
    let text = |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (group, version) = text("/apiVersion").split_once('/').unwrap_or(("", text("/apiVersion")));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, text("/kind")));
    let api = match manifest.pointer("/metadata/namespace").and_then(Value::as_str) {
        Some(namespace) => Api::namespaced_with(cluster.client.clone(), namespace, &resource),
        None => Api::all_with(cluster.client.clone(), &resource),
    };
    (api, text("/metadata/name").to_owned())
}
