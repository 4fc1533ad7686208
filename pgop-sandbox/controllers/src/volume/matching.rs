//! Which volume fits a claim. Pure.
//! See <https://kubernetes.io/docs/concepts/storage/persistent-volumes/#binding>.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    ObjectReference, PersistentVolume, PersistentVolumeClaim, VolumeResourceRequirements,
};

use crate::{ownership::selects, quantity::thousandths};
use kube::core::Selector;

/// The class a claim asks for; empty for none. `None` when it leaves the choice to the default class.
pub(crate) fn class_of_claim(claim: &PersistentVolumeClaim) -> Option<&str> {
    let annotated = claim
        .metadata
        .annotations
        .as_ref()
        .and_then(|map| map.get("volume.beta.kubernetes.io/storage-class"));
    annotated
        .map(String::as_str)
        .or_else(|| claim.spec.as_ref()?.storage_class_name.as_deref())
}

pub(crate) fn class_of_volume(volume: &PersistentVolume) -> &str {
    volume
        .spec
        .as_ref()
        .and_then(|spec| spec.storage_class_name.as_deref())
        .unwrap_or_default()
}

pub(crate) fn claim_ref(volume: &PersistentVolume) -> Option<&ObjectReference> {
    volume.spec.as_ref()?.claim_ref.as_ref()
}

/// Whether the volume's reference names this claim: by name while it has no uid (bound in advance), else by uid as well.
pub(crate) fn refers_to(reference: &ObjectReference, claim: &PersistentVolumeClaim) -> bool {
    reference.name == claim.metadata.name
        && reference.namespace == claim.metadata.namespace
        && reference
            .uid
            .as_deref()
            .is_none_or(|uid| uid.is_empty() || Some(uid) == claim.metadata.uid.as_deref())
}

/// What the claim asks for, in thousandths of bytes.
pub(crate) fn requested(claim: &PersistentVolumeClaim) -> i128 {
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    resources.and_then(storage).unwrap_or_default()
}

fn storage(resources: &VolumeResourceRequirements) -> Option<i128> {
    resources.requests.as_ref()?.get("storage").and_then(thousandths)
}

pub(crate) fn capacity(volume: &PersistentVolume) -> i128 {
    let capacity = volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref());
    capacity
        .and_then(|capacity| capacity.get("storage"))
        .and_then(thousandths)
        .unwrap_or_default()
}

/// The smallest free volume that satisfies the claim; one that was bound to it in advance comes first.
pub(crate) fn best_match(
    claim: &PersistentVolumeClaim,
    volumes: &[Arc<PersistentVolume>],
) -> Option<Arc<PersistentVolume>> {
    let fitting = |volume: &&Arc<PersistentVolume>| volume.metadata.deletion_timestamp.is_none() && fits(claim, volume);
    let bound =
        |volume: &&Arc<PersistentVolume>| claim_ref(volume).is_some_and(|reference| refers_to(reference, claim));
    if let Some(volume) = volumes.iter().filter(fitting).find(bound) {
        return Some(volume.clone());
    }
    volumes
        .iter()
        .filter(fitting)
        .filter(|volume| claim_ref(volume).is_none())
        .min_by_key(|volume| (capacity(volume), volume.metadata.name.clone()))
        .cloned()
}

/// Whether class, size, access modes, mode and labels of the volume are what the claim asks for.
pub(crate) fn fits(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> bool {
    let Some(wanted) = &claim.spec else { return false };
    let Some(offered) = &volume.spec else { return false };
    let mode = |mode: &Option<String>| mode.clone().unwrap_or_else(|| "Filesystem".into());
    let modes = offered.access_modes.as_deref().unwrap_or_default();
    class_of_volume(volume) == class_of_claim(claim).unwrap_or_default()
        && capacity(volume) >= requested(claim)
        && wanted.access_modes.iter().flatten().all(|mode| modes.contains(mode))
        && mode(&wanted.volume_mode) == mode(&offered.volume_mode)
        && wanted.selector.as_ref().is_none_or(|selector| {
            Selector::try_from(selector.clone()).is_ok_and(|selector| selects(&selector, &volume.metadata))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn claim(spec: Value) -> PersistentVolumeClaim {
        let mut claim = json!({
            "metadata": { "name": "data", "namespace": "shop", "uid": "c-1" },
            "spec": { "accessModes": ["ReadWriteOnce"], "storageClassName": "fast", "resources": { "requests": { "storage": "1Gi" } } },
        });
        merge(&mut claim["spec"], spec);
        serde_json::from_value(claim).unwrap()
    }

    fn volume(name: &str, spec: Value) -> Arc<PersistentVolume> {
        let mut volume = json!({
            "metadata": { "name": name, "labels": { "disk": "ssd" } },
            "spec": { "accessModes": ["ReadWriteOnce", "ReadOnlyMany"], "storageClassName": "fast", "capacity": { "storage": "2Gi" } },
        });
        merge(&mut volume["spec"], spec);
        Arc::new(serde_json::from_value(volume).unwrap())
    }

    fn merge(into: &mut Value, from: Value) {
        let Value::Object(from) = from else { return };
        for (name, value) in from {
            into[name] = value;
        }
    }

    fn matched(spec: Value, volumes: &[Arc<PersistentVolume>]) -> Option<String> {
        best_match(&claim(spec), volumes).and_then(|volume| volume.metadata.name.clone())
    }

    #[test]
    fn the_smallest_that_is_big_enough() {
        let volumes = [
            volume("big", json!({ "capacity": { "storage": "10Gi" } })),
            volume("small", json!({ "capacity": { "storage": "512Mi" } })),
            volume("right", json!({})),
        ];
        assert_eq!(matched(json!({}), &volumes).as_deref(), Some("right"));
        assert_eq!(
            matched(json!({ "resources": { "requests": { "storage": "11Gi" } } }), &volumes),
            None
        );
    }

    #[test]
    fn a_volume_bound_to_the_claim_in_advance_comes_first() {
        let volumes = [
            volume("small", json!({})),
            volume(
                "mine",
                json!({ "capacity": { "storage": "9Gi" }, "claimRef": { "name": "data", "namespace": "shop" } }),
            ),
        ];
        assert_eq!(matched(json!({}), &volumes).as_deref(), Some("mine"));
    }

    #[test]
    fn a_volume_of_another_claim_is_not_free() {
        let other = [volume(
            "taken",
            json!({ "claimRef": { "name": "other", "namespace": "shop" } }),
        )];
        assert_eq!(matched(json!({}), &other), None);
        let before = [volume(
            "former",
            json!({ "claimRef": { "name": "data", "namespace": "shop", "uid": "c-0" } }),
        )];
        assert_eq!(
            matched(json!({}), &before),
            None,
            "a claim of the same name that was deleted"
        );
    }

    #[test]
    fn class_modes_and_labels_must_fit() {
        let volumes = [volume("v", json!({}))];
        assert_eq!(matched(json!({ "storageClassName": "" }), &volumes), None);
        assert_eq!(matched(json!({ "accessModes": ["ReadWriteMany"] }), &volumes), None);
        assert_eq!(matched(json!({ "volumeMode": "Block" }), &volumes), None);
        assert_eq!(
            matched(json!({ "selector": { "matchLabels": { "disk": "hdd" } } }), &volumes),
            None
        );
        assert_eq!(
            matched(json!({ "selector": { "matchLabels": { "disk": "ssd" } } }), &volumes).as_deref(),
            Some("v")
        );
    }
}
