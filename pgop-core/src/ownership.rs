//! Which claims go with their resource. A claim with its owner reference is deleted by Kubernetes together with it, so `deletionPolicy: Retain` has to
//! be in force on the claims themselves, whatever else is wrong with a spec, and also on claims that no replica uses any more.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use crate::crd::DeletionPolicy;
use crate::kind::Kind;
use crate::label;
use crate::observed::{Live, controller};
use crate::owner::Owner;
use crate::validated::Server;

/// The claims of a resource that would be deleted with it though its policy says otherwise.
///
/// The other way, with `Delete`, the plan sets the references, and only of a spec that is accepted: whoever deletes a resource that was refused does
/// not ask for the end of what its name held before.
pub fn released(owner: &Owner, policy: DeletionPolicy, live: &Live) -> Vec<String> {
    if policy == DeletionPolicy::Delete {
        return Vec::new();
    }
    let is_due = |claim: &Value| {
        let mut owners = claim
            .pointer("/metadata/ownerReferences")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        owners.any(|reference| reference.get("uid").and_then(Value::as_str) == Some(&owner.uid))
    };
    claims(owner, live)
        .filter(|(_, claim)| is_due(claim))
        .map(|(name, _)| name.clone())
        .collect()
}

/// The claims of a resource that would stay when it is deleted though its policy is `Delete`, and that no manifest asks for: those of replicas that
/// were scaled away while it was `Retain`, with their uids.
///
/// What is older than the resource was left by a former one of its name. It is not served, and nobody asked for its end.
pub(crate) fn adopted(server: &Server, live: &Live, wanted: &BTreeSet<(Kind, String)>) -> Vec<(String, String)> {
    let Some(since) = server
        .created
        .filter(|_| server.deletion_policy == DeletionPolicy::Delete)
    else {
        return Vec::new();
    };
    let is_ours = |name: &String, claim: &Value| {
        let is_given = !server.storage.make && *name == server.storage.claim;
        label_of(claim, label::MANAGED_BY) == Some(label::MANAGER)
            && controller(claim).is_none()
            && created(claim).is_some_and(|made| made >= since)
            && !is_given
    };
    claims(&server.owner, live)
        .filter(|(name, claim)| {
            is_ours(name, claim) && !wanted.contains(&(Kind::PersistentVolumeClaim, (*name).clone()))
        })
        .filter_map(|(name, claim)| Some((name.clone(), claim.pointer("/metadata/uid")?.as_str()?.to_owned())))
        .collect()
}

/// The claims with the resource's label that nobody deletes.
fn claims<'a>(owner: &'a Owner, live: &'a Live) -> impl Iterator<Item = (&'a String, &'a Value)> {
    let all = live.objects.iter();
    all.filter(|((kind, _), claim)| {
        *kind == Kind::PersistentVolumeClaim
            && label_of(claim, owner.kind.label()) == Some(&owner.name)
            && claim.pointer("/metadata/deletionTimestamp").is_none()
    })
    .map(|((_, name), claim)| (name, claim))
}

/// When an object was created.
pub(crate) fn created(object: &Value) -> Option<Timestamp> {
    object.pointer("/metadata/creationTimestamp")?.as_str()?.parse().ok()
}

fn label_of<'a>(claim: &'a Value, key: &str) -> Option<&'a str> {
    claim.pointer("/metadata/labels")?.get(key)?.as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::owner::ResourceKind;

    #[test]
    fn with_retain_every_claim_of_the_resource_loses_its_owner_and_with_delete_none() {
        let owner = Owner {
            kind: ResourceKind::PgCluster,
            name: "hippo".to_owned(),
            namespace: "zoo".to_owned(),
            uid: "u1".to_owned(),
        };
        let claim = |label: &str, owners: Value| json!({"metadata": {"labels": {"pgop.dev/cluster": label}, "ownerReferences": owners}});
        let ours = json!([owner.reference(), {"uid": "other"}]);
        let mut live = Live::default();
        for (name, claim) in [
            ("hippo-pvc", claim("hippo", ours.clone())),
            ("data-hippo-replica-4", claim("hippo", json!([owner.reference()]))),
            ("free", claim("hippo", json!([]))),
            ("rhino-pvc", claim("rhino", ours)),
        ] {
            live.objects
                .insert((Kind::PersistentVolumeClaim, name.to_owned()), claim);
        }
        let due = released(&owner, DeletionPolicy::Retain, &live);
        assert_eq!(due, ["data-hippo-replica-4", "hippo-pvc"]);
        assert_eq!(released(&owner, DeletionPolicy::Delete, &live), [""; 0]);
    }
}
