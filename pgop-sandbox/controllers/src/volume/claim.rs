//! What a claim needs next. Pure.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::{
    core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimStatus},
    storage::v1::StorageClass,
};
use kube::ResourceExt;

use super::{
    PROVISIONER,
    matching::{best_match, capacity, claim_ref, class_of_claim, fits, refers_to, requested},
};

pub(crate) const PROTECTION: &str = "kubernetes.io/pvc-protection";
pub(crate) const BOUND: &str = "pv.kubernetes.io/bind-completed";
pub(crate) const BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
pub(crate) const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const PROVISIONED_BY: [&str; 2] = [
    "volume.kubernetes.io/storage-provisioner",
    "volume.beta.kubernetes.io/storage-provisioner",
];
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

#[derive(Debug, PartialEq)]
pub(crate) enum Action {
    /// Keep the claim until no pod uses it.
    Protect,
    /// It is being deleted: let it go if no pod uses it.
    Unprotect,
    /// Fill in the default class.
    SetClass(String),
    /// Say who is to make the volume.
    NameProvisioner(String),
    /// Make a volume of this class.
    Provision(Arc<StorageClass>),
    /// Write the claim into the volume.
    BindVolume(Arc<PersistentVolume>, ObjectReference),
    /// Write the volume into the claim, or say that it is bound for good.
    BindClaim {
        volume: String,
        by_controller: bool,
    },
    /// The claim has grown: so does the volume.
    Grow(Arc<PersistentVolume>),
    Status(PersistentVolumeClaimStatus),
    Tell {
        warning: bool,
        reason: &'static str,
        message: String,
    },
}

/// What there is besides the claim.
pub(crate) struct Known {
    pub(crate) volumes: Vec<Arc<PersistentVolume>>,
    pub(crate) classes: Vec<Arc<StorageClass>>,
}

pub(crate) fn plan(claim: &PersistentVolumeClaim, known: &Known) -> Vec<Action> {
    let protected = claim.finalizers().iter().any(|name| name == PROTECTION);
    if claim.metadata.deletion_timestamp.is_some() {
        return if protected { vec![Action::Unprotect] } else { Vec::new() };
    }
    if !protected {
        return vec![Action::Protect];
    }
    let volume = claim
        .spec
        .as_ref()
        .and_then(|spec| spec.volume_name.as_deref())
        .filter(|name| !name.is_empty());
    match volume {
        Some(name) => named(claim, known, name),
        None => unbound(claim, known),
    }
}

fn annotated(claim: &PersistentVolumeClaim, name: &str) -> bool {
    claim.annotations().contains_key(name)
}

/// A claim that names its volume: bound, or bound in advance by a person.
fn named(claim: &PersistentVolumeClaim, known: &Known, name: &str) -> Vec<Action> {
    let bound = annotated(claim, BOUND);
    let Some(volume) = known.volumes.iter().find(|volume| volume.name_any() == name) else {
        if bound {
            return lost(
                claim,
                "ClaimLost",
                "Bound claim has lost its PersistentVolume. Data on the volume is lost!",
            );
        }
        return phase(claim, "Pending").into_iter().collect();
    };
    let Some(reference) = claim_ref(volume) else {
        if bound {
            // The volume was released by hand and is still there.
            return vec![Action::BindVolume(volume.clone(), reference_to(claim))];
        }
        if !fits(claim, volume) {
            return pending(
                claim,
                "VolumeMismatch",
                format!("Cannot bind to requested volume \"{name}\": it does not satisfy the claim"),
            );
        }
        return vec![Action::BindVolume(volume.clone(), reference_to(claim))];
    };
    if !refers_to(reference, claim) {
        if bound {
            return lost(
                claim,
                "ClaimMisbound",
                "Two claims are bound to the same volume, this one is bound incorrectly",
            );
        }
        return pending(
            claim,
            "FailedBinding",
            format!("volume \"{name}\" already bound to a different claim."),
        );
    }
    if reference.uid.as_deref().unwrap_or_default().is_empty() {
        return vec![Action::BindVolume(volume.clone(), reference_to(claim))];
    }
    if !bound {
        return vec![Action::BindClaim {
            volume: name.to_owned(),
            by_controller: annotated(claim, BY_CONTROLLER),
        }];
    }
    settled(claim, known, volume)
}

/// A claim and a volume that name each other.
fn settled(claim: &PersistentVolumeClaim, known: &Known, volume: &Arc<PersistentVolume>) -> Vec<Action> {
    let class = class(claim, known);
    let may_grow =
        class.is_some_and(|class| class.provisioner == PROVISIONER && class.allow_volume_expansion == Some(true));
    if may_grow && requested(claim) > capacity(volume) {
        return vec![Action::Grow(volume.clone())];
    }
    let spec = volume.spec.as_ref();
    let mut status = claim.status.clone().unwrap_or_default();
    let grown = status.phase.as_deref() == Some("Bound")
        && status.capacity.is_some()
        && status.capacity.as_ref() != spec.and_then(|spec| spec.capacity.as_ref());
    status.phase = Some("Bound".into());
    status.access_modes = spec.and_then(|spec| spec.access_modes.clone());
    status.capacity = spec.and_then(|spec| spec.capacity.clone());
    if claim.status.as_ref() == Some(&status) {
        return Vec::new();
    }
    let mut actions = vec![Action::Status(status)];
    if grown {
        actions.push(Action::Tell {
            warning: false,
            reason: "VolumeResizeSuccessful",
            message: "Resize volume succeeded".into(),
        });
    }
    actions
}

fn unbound(claim: &PersistentVolumeClaim, known: &Known) -> Vec<Action> {
    if class_of_claim(claim).is_none()
        && let Some(class) = default_class(&known.classes)
    {
        return vec![Action::SetClass(class.name_any())];
    }
    let name = class_of_claim(claim).unwrap_or_default();
    let class = class(claim, known);
    let waits = class
        .as_ref()
        .is_some_and(|class| class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"));
    if waits && !annotated(claim, SELECTED_NODE) {
        let message = "waiting for first consumer to be created before binding";
        return announced(claim, false, "WaitForFirstConsumer", message.into());
    }
    if let Some(volume) = best_match(claim, &known.volumes) {
        let bound =
            claim_ref(&volume).is_some_and(|reference| reference.uid.is_some() && reference.uid == claim.metadata.uid);
        return if bound {
            vec![Action::BindClaim {
                volume: volume.name_any(),
                by_controller: true,
            }]
        } else {
            vec![Action::BindVolume(volume, reference_to(claim))]
        };
    }
    let Some(class) = class else {
        return if name.is_empty() {
            let message = "no persistent volumes available for this claim and no storage class is set";
            announced(claim, false, "FailedBinding", message.into())
        } else {
            pending(
                claim,
                "ProvisioningFailed",
                format!("storageclass.storage.k8s.io \"{name}\" not found"),
            )
        };
    };
    if class.provisioner == "kubernetes.io/no-provisioner" {
        let message = "no persistent volumes available for this claim and no storage class is set";
        return announced(claim, false, "FailedBinding", message.into());
    }
    if claim.annotations().get(PROVISIONED_BY[0]) != Some(&class.provisioner) {
        return vec![Action::NameProvisioner(class.provisioner.clone())];
    }
    let mut actions: Vec<_> = phase(claim, "Pending").into_iter().collect();
    if class.provisioner == PROVISIONER {
        actions.push(Action::Provision(class));
    } else if !actions.is_empty() {
        let message = format!(
            "Waiting for a volume to be created either by the external provisioner '{}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.",
            class.provisioner
        );
        actions.push(Action::Tell {
            warning: false,
            reason: "ExternalProvisioning",
            message,
        });
    }
    actions
}

/// The annotations that say who makes the volume.
pub(crate) fn provisioner_annotations(provisioner: &str) -> BTreeMap<String, String> {
    PROVISIONED_BY
        .iter()
        .map(|name| ((*name).to_owned(), provisioner.to_owned()))
        .collect()
}

fn class(claim: &PersistentVolumeClaim, known: &Known) -> Option<Arc<StorageClass>> {
    let name = class_of_claim(claim)?;
    known.classes.iter().find(|class| class.name_any() == name).cloned()
}

/// The class of claims that name none: the newest of those marked, as Kubernetes has it.
fn default_class(classes: &[Arc<StorageClass>]) -> Option<&Arc<StorageClass>> {
    let default = |class: &&Arc<StorageClass>| {
        class
            .annotations()
            .get(DEFAULT_CLASS)
            .is_some_and(|value| value == "true")
    };
    classes
        .iter()
        .filter(default)
        .max_by_key(|class| (class.creation_timestamp(), std::cmp::Reverse(class.name_any())))
}

fn reference_to(claim: &PersistentVolumeClaim) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("PersistentVolumeClaim".into()),
        name: claim.metadata.name.clone(),
        namespace: claim.metadata.namespace.clone(),
        uid: claim.metadata.uid.clone(),
        resource_version: claim.metadata.resource_version.clone(),
        ..ObjectReference::default()
    }
}

fn phase(claim: &PersistentVolumeClaim, phase: &str) -> Option<Action> {
    let mut status = claim.status.clone().unwrap_or_default();
    if status.phase.as_deref() == Some(phase) {
        return None;
    }
    status.phase = Some(phase.to_owned());
    Some(Action::Status(status))
}

fn pending(claim: &PersistentVolumeClaim, reason: &'static str, message: String) -> Vec<Action> {
    announced(claim, true, reason, message)
}

fn announced(claim: &PersistentVolumeClaim, warning: bool, reason: &'static str, message: String) -> Vec<Action> {
    let mut actions: Vec<_> = phase(claim, "Pending").into_iter().collect();
    actions.push(Action::Tell {
        warning,
        reason,
        message,
    });
    actions
}

fn lost(claim: &PersistentVolumeClaim, reason: &'static str, message: &str) -> Vec<Action> {
    let Some(status) = phase(claim, "Lost") else {
        return Vec::new();
    };
    vec![
        status,
        Action::Tell {
            warning: true,
            reason,
            message: message.into(),
        },
    ]
}

#[cfg(test)]
#[path = "claim_tests.rs"]
mod tests;
