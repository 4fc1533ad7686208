//! Which claims go with their resource. A claim with its owner reference is deleted by Kubernetes together with it, so `deletionPolicy: Retain` has to
//! be in force on the claims themselves, whatever else is wrong with a spec, and also on claims that no replica uses any more.

use serde_json::Value;

use crate::crd::DeletionPolicy;
use crate::kind::Kind;
use crate::observed::Live;
use crate::owner::Owner;

/// A claim that has to lose its resource's owner reference.
#[derive(Clone, Debug, PartialEq)]
pub struct Release {
    /// Its name.
    pub claim: String,
    /// The owner references that stay.
    pub owner_references: Vec<Value>,
    /// Of the claim as it was read.
    pub resource_version: String,
}

/// The claims of a resource that would be deleted with it though its policy says otherwise.
///
/// The other way, with `Delete`, the plan sets the references, and only of a spec that is accepted: whoever deletes a resource that was refused does
/// not ask for the end of what its name held before.
pub fn released(owner: &Owner, policy: DeletionPolicy, live: &Live) -> Vec<Release> {
    if policy == DeletionPolicy::Delete {
        return Vec::new();
    }
    let claims = live
        .objects
        .iter()
        .filter(|((kind, _), _)| *kind == Kind::PersistentVolumeClaim);
    let release = |((_, name), claim): (&(Kind, String), &Value)| {
        let text = |at: &str| claim.pointer(at).and_then(Value::as_str);
        let label = claim.pointer("/metadata/labels")?.get(owner.kind.label())?;
        let references = claim.pointer("/metadata/ownerReferences")?.as_array()?;
        let is_ours = |reference: &&Value| reference.get("uid").and_then(Value::as_str) == Some(&owner.uid);
        let is_due = label == owner.name.as_str()
            && references.iter().any(|reference| is_ours(&reference))
            && text("/metadata/deletionTimestamp").is_none();
        is_due.then(|| Release {
            claim: name.clone(),
            owner_references: references.iter().filter(|it| !is_ours(it)).cloned().collect(),
            resource_version: text("/metadata/resourceVersion").unwrap_or_default().to_owned(),
        })
    };
    claims.filter_map(release).collect()
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
        let claim = |label: &str, owners: Value| json!({"metadata": {"resourceVersion": "7", "labels": {"pgop.dev/cluster": label}, "ownerReferences": owners}});
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
        let names: Vec<_> = due.iter().map(|release| release.claim.as_str()).collect();
        assert_eq!(names, ["data-hippo-replica-4", "hippo-pvc"]);
        assert_eq!(due[0].owner_references, Vec::<Value>::new());
        assert_eq!(due[1].owner_references, [json!({"uid": "other"})]);
        assert_eq!(released(&owner, DeletionPolicy::Delete, &live), []);
    }
}
