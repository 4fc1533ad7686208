//! What a volume needs next: its phase, and its end. Pure.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeStatus};
use kube::ResourceExt;

use super::{PROVISIONER, matching::claim_ref};

pub(crate) const PROTECTION: &str = "kubernetes.io/pv-protection";
pub(crate) const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";

/// What became of the claim a volume is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claimant {
    /// The volume is for no claim, or for one that is not there yet.
    None,
    There,
    /// The claim the volume was bound to is gone.
    Gone,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Action {
    Protect,
    Status(PersistentVolumeStatus),
    /// Remove the folder and then the volume itself.
    Reclaim,
    /// The volume is being deleted and nobody has it: let it go.
    Unprotect,
}

pub(crate) fn plan(volume: &PersistentVolume, claimant: Claimant) -> Vec<Action> {
    let protected = volume.finalizers().iter().any(|name| name == PROTECTION);
    let deleting = volume.metadata.deletion_timestamp.is_some();
    let ours = volume
        .annotations()
        .get(PROVISIONED_BY)
        .is_some_and(|name| name == PROVISIONER);
    let policy = volume
        .spec
        .as_ref()
        .and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    if !protected && !deleting {
        return vec![Action::Protect];
    }
    let phase = match claimant {
        Claimant::There => "Bound",
        Claimant::None => "Available",
        Claimant::Gone => "Released",
    };
    if claimant == Claimant::Gone && ours && policy == Some("Delete") {
        return vec![Action::Reclaim];
    }
    if deleting && claimant != Claimant::There {
        return if protected { vec![Action::Unprotect] } else { Vec::new() };
    }
    let mut status = volume.status.clone().unwrap_or_default();
    if status.phase.as_deref() == Some(phase) {
        return Vec::new();
    }
    status.phase = Some(phase.into());
    status.message = None;
    status.reason = None;
    vec![Action::Status(status)]
}

/// The uid of the claim the volume is bound to; `None` while it is only meant for one by name.
pub(crate) fn bound_uid(volume: &PersistentVolume) -> Option<&str> {
    claim_ref(volume)?.uid.as_deref().filter(|uid| !uid.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn volume(change: impl FnOnce(&mut Value)) -> PersistentVolume {
        let mut volume = json!({
            "metadata": {
                "name": "pvc-1", "finalizers": [PROTECTION], "annotations": { (PROVISIONED_BY): PROVISIONER },
            },
            "spec": { "persistentVolumeReclaimPolicy": "Delete", "claimRef": { "name": "data", "namespace": "shop", "uid": "c-1" } },
        });
        change(&mut volume);
        serde_json::from_value(volume).unwrap()
    }

    fn deleting(volume: &mut Value) {
        volume["metadata"]["deletionTimestamp"] = json!("2026-11-01T10:00:00Z");
    }

    fn phase(actions: &[Action]) -> Option<&str> {
        match actions {
            [Action::Status(status)] => status.phase.as_deref(),
            _ => None,
        }
    }

    #[test]
    fn the_phases() {
        assert_eq!(phase(&plan(&volume(|_| {}), Claimant::There)), Some("Bound"));
        assert_eq!(phase(&plan(&volume(|_| {}), Claimant::None)), Some("Available"));
        let kept = volume(|volume| volume["spec"]["persistentVolumeReclaimPolicy"] = json!("Retain"));
        assert_eq!(phase(&plan(&kept, Claimant::Gone)), Some("Released"));
        let bound = volume(|volume| volume["status"] = json!({ "phase": "Bound" }));
        assert!(plan(&bound, Claimant::There).is_empty());
    }

    #[test]
    fn only_our_volumes_are_reclaimed_and_only_when_asked_to() {
        assert_eq!(plan(&volume(|_| {}), Claimant::Gone), [Action::Reclaim]);
        let foreign = volume(|volume| volume["metadata"]["annotations"] = json!({}));
        assert_eq!(phase(&plan(&foreign, Claimant::Gone)), Some("Released"));
    }

    #[test]
    fn a_volume_in_use_is_not_let_go() {
        assert_eq!(phase(&plan(&volume(deleting), Claimant::There)), Some("Bound"));
        assert_eq!(plan(&volume(deleting), Claimant::None), [Action::Unprotect]);
        let kept = volume(|volume| {
            deleting(volume);
            volume["spec"]["persistentVolumeReclaimPolicy"] = json!("Retain");
        });
        assert_eq!(plan(&kept, Claimant::Gone), [Action::Unprotect]);
    }

    #[test]
    fn a_new_volume_is_protected() {
        assert_eq!(
            plan(
                &volume(|volume| volume["metadata"]["finalizers"] = json!([])),
                Claimant::None
            ),
            [Action::Protect]
        );
    }
}
