//! Which claims go with their resource. A claim with its owner reference is deleted by Kubernetes together with it, so `deletionPolicy: Retain` has to
//! be in force on the claims themselves, whatever else is wrong with a spec, and also on claims that no replica uses any more.

use serde_json::Value;

use crate::crd::DeletionPolicy;
use crate::kind::Kind;
use crate::observed::Live;
use crate::owner::Owner;

/// The claims of a resource that would be deleted with it though its policy says otherwise.
///
/// The other way, with `Delete`, the plan sets the references, and only of a spec that is accepted: whoever deletes a resource that was refused does
/// not ask for the end of what its name held before.
pub fn released(owner: &Owner, policy: DeletionPolicy, live: &Live) -> Vec<String> {
    if policy == DeletionPolicy::Delete {
        return Vec::new();
    }
    let claims = live
        .objects
        .iter()
        .filter(|((kind, _), _)| *kind == Kind::PersistentVolumeClaim);
    let is_due = |(_, claim): &(&(Kind, String), &Value)| {
        let label = claim
            .pointer("/metadata/labels")
            .and_then(|labels| labels.get(owner.kind.label()));
        let mut owners = claim
            .pointer("/metadata/ownerReferences")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        label.and_then(Value::as_str) == Some(&owner.name)
            && owners.any(|reference| reference.get("uid").and_then(Value::as_str) == Some(&owner.uid))
            && claim.pointer("/metadata/deletionTimestamp").is_none()
    };
    claims.filter(is_due).map(|((_, name), _)| name.clone()).collect()
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
