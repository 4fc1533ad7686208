//! Where a pod goes, or why nowhere. Pure.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::{
    core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod},
    storage::v1::StorageClass,
};
use kube::ResourceExt;

use super::{demand::shortages, neighbours::objection};
use crate::{
    node_fit::{is_wanted, selects, taints, tolerates},
    pod,
    volume::{
        claim::{BOUND, SELECTED_NODE},
        matching::class_of_claim,
    },
};

#[derive(Debug, PartialEq)]
pub(crate) enum Decision {
    Bind {
        node: String,
    },
    /// These claims wait to be told the node; the pod is bound when they have their volumes.
    Select {
        node: String,
        claims: Vec<Arc<PersistentVolumeClaim>>,
    },
    Wait {
        message: String,
    },
}

/// What there is besides the pod.
pub(crate) struct Surroundings {
    pub(crate) nodes: Vec<Arc<Node>>,
    /// Pods with a node that have not ended.
    pub(crate) placed: Vec<(Arc<Pod>, String)>,
    /// The claims of the pod, by name.
    pub(crate) claims: BTreeMap<String, Option<Arc<PersistentVolumeClaim>>>,
    pub(crate) classes: Vec<Arc<StorageClass>>,
    pub(crate) volumes: Vec<Arc<PersistentVolume>>,
}

pub(crate) fn decide(pod: &Pod, around: &Surroundings) -> Decision {
    if around.nodes.is_empty() {
        return Decision::Wait {
            message: "no nodes available to schedule pods".into(),
        };
    }
    let nobody = format!("0/{} nodes are available", around.nodes.len());
    let unbound = match unbound_claims(around) {
        Ok(unbound) => unbound,
        Err(reason) => {
            return Decision::Wait {
                message: format!("{nobody}: {reason}."),
            };
        }
    };
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for node in &around.nodes {
        let objections = objections(pod, node, around);
        if objections.is_empty() {
            let node = node.name_any();
            return if unbound.is_empty() {
                Decision::Bind { node }
            } else {
                Decision::Select { node, claims: unbound }
            };
        }
        for reason in objections {
            *reasons.entry(reason).or_default() += 1;
        }
    }
    let reasons: Vec<_> = reasons
        .iter()
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    Decision::Wait {
        message: format!("{nobody}: {}.", reasons.join(", ")),
    }
}

/// The claims that get their volume only when a node is chosen; an error when another has to be waited for.
fn unbound_claims(around: &Surroundings) -> Result<Vec<Arc<PersistentVolumeClaim>>, String> {
    let mut unbound = Vec::new();
    for (name, claim) in &around.claims {
        let Some(claim) = claim else {
            return Err(format!("persistentvolumeclaim \"{name}\" not found"));
        };
        if claim.metadata.deletion_timestamp.is_some() {
            return Err(format!("persistentvolumeclaim \"{name}\" is being deleted"));
        }
        if claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Lost") {
            return Err(format!(
                "persistentvolumeclaim \"{name}\" bound to non-existent persistentvolume \"{}\"",
                volume_name(claim)
            ));
        }
        if claim.annotations().contains_key(BOUND) && !volume_name(claim).is_empty() {
            continue;
        }
        let class = class_of_claim(claim).and_then(|name| around.classes.iter().find(|class| class.name_any() == name));
        if class.and_then(|class| class.volume_binding_mode.as_deref()) != Some("WaitForFirstConsumer") {
            return Err("pod has unbound immediate PersistentVolumeClaims".into());
        }
        unbound.push(claim.clone());
    }
    Ok(unbound)
}

fn volume_name(claim: &PersistentVolumeClaim) -> &str {
    claim
        .spec
        .as_ref()
        .and_then(|spec| spec.volume_name.as_deref())
        .unwrap_or_default()
}

/// Claims that were already told this node need not be told again.
pub(crate) fn untold(claims: Vec<Arc<PersistentVolumeClaim>>, node: &str) -> Vec<Arc<PersistentVolumeClaim>> {
    claims
        .into_iter()
        .filter(|claim| claim.annotations().get(SELECTED_NODE).is_none_or(|told| told != node))
        .collect()
}

fn objections(pod: &Pod, node: &Node, around: &Surroundings) -> Vec<String> {
    let Some(spec) = &pod.spec else {
        return vec!["node(s) didn't match Pod's node affinity/selector".into()];
    };
    let one = |reason: &str| vec![reason.to_owned()];
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    let cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true);
    let cordon = k8s_openapi::api::core::v1::Taint {
        key: "node.kubernetes.io/unschedulable".into(),
        effect: "NoSchedule".into(),
        ..Default::default()
    };
    if cordoned && !tolerates(tolerations, std::slice::from_ref(&cordon)) {
        return one("node(s) were unschedulable");
    }
    if !tolerates(tolerations, taints(node)) {
        return one("node(s) had untolerated taint(s)");
    }
    if !is_wanted(spec, node) {
        return one("node(s) didn't match Pod's node affinity/selector");
    }
    if !volumes_reach(node, around) {
        return one("node(s) didn't match PersistentVolume's node affinity");
    }
    let name = node.name_any();
    let here: Vec<&Pod> = around
        .placed
        .iter()
        .filter(|(_, place)| *place == name)
        .map(|(pod, _)| &**pod)
        .collect();
    if here.iter().any(|other| ports_clash(pod, other)) {
        return one("node(s) didn't have free ports for the requested pod ports");
    }
    let placed: Vec<_> = around
        .placed
        .iter()
        .filter_map(|(other, place)| Some((&**other, &**around.nodes.iter().find(|node| node.name_any() == *place)?)))
        .collect();
    if let Some(objection) = objection(pod, node, &placed) {
        return one(objection);
    }
    shortages(pod, node, here.into_iter())
}

fn volumes_reach(node: &Node, around: &Surroundings) -> bool {
    let names: Vec<_> = around
        .claims
        .values()
        .flatten()
        .map(|claim| volume_name(claim))
        .collect();
    around
        .volumes
        .iter()
        .filter(|volume| names.contains(&volume.name_any().as_str()))
        .filter_map(|volume| volume.spec.as_ref()?.node_affinity.as_ref()?.required.as_ref())
        .all(|required| selects(required, node))
}

fn host_ports(pod: &Pod) -> impl Iterator<Item = (&str, i32, &str)> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    containers
        .flat_map(|container| container.ports.iter().flatten())
        .filter_map(|port| {
            let number = port.host_port.filter(|number| *number > 0)?;
            let address = port
                .host_ip
                .as_deref()
                .filter(|address| !address.is_empty())
                .unwrap_or("0.0.0.0");
            Some((port.protocol.as_deref().unwrap_or("TCP"), number, address))
        })
}

fn ports_clash(pod: &Pod, other: &Pod) -> bool {
    host_ports(pod).any(|(protocol, port, address)| {
        host_ports(other).any(|(their_protocol, their_port, their_address)| {
            let overlap = address == their_address || address == "0.0.0.0" || their_address == "0.0.0.0";
            overlap && protocol == their_protocol && port == their_port
        })
    })
}

/// Whether the pod waits for this scheduler.
pub(crate) fn is_waiting(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let ours = spec
        .scheduler_name
        .as_deref()
        .is_none_or(|name| name.is_empty() || name == "default-scheduler");
    let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    ours && !gated && pod::node_name(pod).is_none() && pod::is_active(pod)
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
