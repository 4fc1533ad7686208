//! Which objects a controller owns: by its controller reference, and by its selector for those that have no controller.

use std::{fmt::Debug, sync::Arc};

use k8s_openapi::{
    NamespaceResourceScope,
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::{Selector, SelectorExt},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::verbs::{self, VerbError};

/// The reference to the object's controller, if it has one.
pub(crate) fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references
        .iter()
        .flatten()
        .find(|owner| owner.controller == Some(true))
}

/// Whether the object with `meta` is controlled by the object with this uid.
pub(crate) fn is_controlled_by(meta: &ObjectMeta, uid: &str) -> bool {
    controller_of(meta).is_some_and(|owner| owner.uid == uid)
}

/// A controller reference to `owner`.
pub(crate) fn controller_reference<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.name_any(),
        uid: owner.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The selector as kube matches it. One that can't be read, or is empty, selects nothing: a workload never takes all pods.
pub(crate) fn selector(selector: &LabelSelector) -> Option<Selector> {
    let selector = Selector::try_from(selector.clone()).ok()?;
    (!selector.selects_all()).then_some(selector)
}

pub(crate) fn selects(selector: &Selector, meta: &ObjectMeta) -> bool {
    match &meta.labels {
        Some(labels) => selector.matches(labels),
        None => selector.matches(&std::collections::BTreeMap::new()),
    }
}

/// How the objects of one namespace stand to one owner.
pub(crate) struct Claims<K> {
    /// Controlled by the owner and selected by it.
    pub(crate) owned: Vec<Arc<K>>,
    /// Selected, without a controller: the owner takes them.
    pub(crate) adopt: Vec<Arc<K>>,
    /// Controlled by the owner, but their labels have changed: the owner lets go of them.
    pub(crate) release: Vec<Arc<K>>,
}

/// Sorts `objects` (of the owner's namespace) by how they stand to `owner`. An owner that is being deleted neither takes nor lets go.
pub(crate) fn claims<K: Resource>(owner: &ObjectMeta, selector: &Selector, objects: Vec<Arc<K>>) -> Claims<K> {
    let uid = owner.uid.as_deref().unwrap_or_default();
    let deleting = owner.deletion_timestamp.is_some();
    let mut claims = Claims {
        owned: Vec::new(),
        adopt: Vec::new(),
        release: Vec::new(),
    };
    for object in objects {
        let meta = object.meta();
        let selected = selects(selector, meta);
        match controller_of(meta) {
            Some(controller) if controller.uid == uid && selected => claims.owned.push(object),
            Some(controller) if controller.uid == uid && !deleting => claims.release.push(object),
            None if selected && !deleting && meta.deletion_timestamp.is_none() => claims.adopt.push(object),
            _ => {}
        }
    }
    claims
}

/// Adopts and releases what `claims` says, and returns what the owner then has. The owner is read live first: a child adopted for an owner
/// that is gone would be collected.
pub(crate) async fn settle<O, K>(client: &Client, owner: &O, claims: Claims<K>) -> Result<Vec<Arc<K>>, VerbError>
where
    O: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Serialize + DeserializeOwned + Debug,
{
    if claims.adopt.is_empty() && claims.release.is_empty() {
        return Ok(claims.owned);
    }
    let mut children_now = claims.owned;
    let namespace = owner.namespace().unwrap_or_default();
    let children: Api<K> = Api::namespaced(client.clone(), &namespace);
    if !claims.adopt.is_empty() {
        let owners: Api<O> = Api::namespaced(client.clone(), &namespace);
        let live = verbs::get(&owners, &owner.name_any()).await?;
        let same = live.is_some_and(|live| live.uid() == owner.uid() && live.meta().deletion_timestamp.is_none());
        if same {
            for child in &claims.adopt {
                let mut references = child.owner_references().to_vec();
                references.push(controller_reference(owner));
                let adopted = verbs::merge(&children, child.meta(), verbs::owners_patch(&references)).await?;
                children_now.push(Arc::new(adopted));
            }
        }
    }
    let uid = owner.uid().unwrap_or_default();
    for child in &claims.release {
        let mut references = child.owner_references().to_vec();
        references.retain(|reference| reference.uid != uid);
        verbs::merge(&children, child.meta(), verbs::owners_patch(&references)).await?;
    }
    Ok(children_now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::{Value, json};

    fn pod(name: &str, labels: &Value, controller: Option<&str>) -> Arc<Pod> {
        let mut pod = json!({ "metadata": { "name": name, "namespace": "shop", "labels": labels } });
        if let Some(uid) = controller {
            pod["metadata"]["ownerReferences"] =
                json!([{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": uid, "controller": true }]);
        }
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn names(pods: &[Arc<Pod>]) -> Vec<String> {
        pods.iter().map(|pod| pod.name_any()).collect()
    }

    fn web() -> Selector {
        selector(&serde_json::from_value(json!({ "matchLabels": { "app": "web" } })).unwrap()).unwrap()
    }

    fn pods() -> Vec<Arc<Pod>> {
        vec![
            pod("mine", &json!({ "app": "web" }), Some("me")),
            pod("orphan", &json!({ "app": "web" }), None),
            pod("relabelled", &json!({ "app": "other" }), Some("me")),
            pod("of-another", &json!({ "app": "web" }), Some("other")),
            pod("stranger", &json!({}), None),
        ]
    }

    #[test]
    fn pods_are_owned_adopted_and_released() {
        let owner = ObjectMeta {
            uid: Some("me".into()),
            ..ObjectMeta::default()
        };
        let claims = claims(&owner, &web(), pods());
        assert_eq!(names(&claims.owned), ["mine"]);
        assert_eq!(names(&claims.adopt), ["orphan"]);
        assert_eq!(names(&claims.release), ["relabelled"]);
    }

    #[test]
    fn an_owner_being_deleted_only_counts_what_it_has() {
        let owner =
            serde_json::from_value(json!({ "uid": "me", "deletionTimestamp": "2026-11-01T10:00:00Z" })).unwrap();
        let claims = claims(&owner, &web(), pods());
        assert_eq!(names(&claims.owned), ["mine"]);
        assert!(claims.adopt.is_empty() && claims.release.is_empty());
    }

    #[test]
    fn an_empty_selector_selects_nothing() {
        assert!(selector(&LabelSelector::default()).is_none());
    }
}
