//! What becomes of a claim, in words. Every verb that says something about one asks here. Pure.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use pgop_core::ResourceKind;
use pgop_core::crd::GROUP;

/// What becomes of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays until somebody deletes it.
    Stays,
    /// It is deleted with this resource of ours.
    GoesWith {
        /// `PgDatabase orders`
        owner: String,
        /// The resource's uid.
        uid: String,
    },
    /// It is being deleted: it goes when no pod mounts it any more, and its data with it.
    BeingDeleted,
}

/// What becomes of a claim, as Kubernetes will act: by what stands on the claim, not by what a spec asks for.
pub fn fate(claim: &PersistentVolumeClaim) -> Fate {
    if claim.metadata.deletion_timestamp.is_some() {
        return Fate::BeingDeleted;
    }
    let owners = claim.metadata.owner_references.iter().flatten();
    match owners
        .into_iter()
        .find(|owner| owner.api_version.split('/').next() == Some(GROUP))
    {
        Some(owner) => Fate::GoesWith {
            owner: format!("{} {}", owner.kind, owner.name),
            uid: owner.uid.clone(),
        },
        None => Fate::Stays,
    }
}

/// What is said of a claim beside its size and phase; nothing of one that stays. `asked`: uid of the resource that is spoken of, if one is.
pub fn remark(claim: &PersistentVolumeClaim, asked: Option<&str>) -> Option<String> {
    match fate(claim) {
        Fate::Stays => None,
        Fate::GoesWith { owner, uid } if asked.is_some_and(|asked| asked != uid) => {
            Some(format!("goes with a former {owner}"))
        }
        Fate::GoesWith { owner, .. } => Some(format!("goes with {owner}")),
        Fate::BeingDeleted => Some("being deleted".to_owned()),
    }
}

/// What kind of resource a claim holds the data of, if pgop made it.
pub fn made_for(claim: &PersistentVolumeClaim) -> Option<ResourceKind> {
    let labels = claim.metadata.labels.as_ref()?;
    [ResourceKind::PgDatabase, ResourceKind::PgCluster]
        .into_iter()
        .find(|kind| labels.contains_key(kind.label()))
}

/// `claim a`, `claims a, b`
pub fn named(claims: &[&PersistentVolumeClaim]) -> String {
    let names: Vec<&str> = claims
        .iter()
        .filter_map(|claim| claim.metadata.name.as_deref())
        .collect();
    let plural = if names.len() == 1 { "" } else { "s" };
    format!("claim{plural} {}", names.join(", "))
}

/// What a deletion of the resource `uid` means for its claims.
#[derive(Debug, Default)]
pub struct Partition<'a> {
    /// Those that stay.
    pub stay: Vec<&'a PersistentVolumeClaim>,
    /// Those that go with it.
    pub go: Vec<&'a PersistentVolumeClaim>,
    /// Those that are being deleted already.
    pub going: Vec<&'a PersistentVolumeClaim>,
}

/// Sorts the claims of a resource. `by_policy`: its spec says that they go with it, which the claims may not know yet.
pub fn partition<'a>(
    claims: impl IntoIterator<Item = &'a PersistentVolumeClaim>,
    uid: Option<&str>,
    by_policy: bool,
) -> Partition<'a> {
    let mut sorted = Partition::default();
    for claim in claims {
        match fate(claim) {
            Fate::BeingDeleted => sorted.going.push(claim),
            Fate::GoesWith { uid: owner, .. } if Some(owner.as_str()) == uid => sorted.go.push(claim),
            _ if by_policy => sorted.go.push(claim),
            _ => sorted.stay.push(claim),
        }
    }
    sorted
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    /// A claim of a database or cluster `hippo`.
    pub(crate) fn claim(name: &str, owner: Option<&str>, deleting: bool) -> PersistentVolumeClaim {
        let owners: Vec<_> = owner
            .into_iter()
            .map(|uid| json!({"apiVersion": "pgop.dev/v1alpha1", "kind": "PgDatabase", "name": "hippo", "uid": uid}))
            .collect();
        let mut metadata = json!({"name": name, "labels": {"pgop.dev/database": "hippo"}, "ownerReferences": owners});
        if deleting {
            metadata["deletionTimestamp"] = json!("2026-11-22T12:00:00Z");
        }
        serde_json::from_value(json!({"metadata": metadata, "status": {"phase": "Bound"}})).unwrap()
    }

    #[test]
    fn a_claim_that_is_being_deleted_or_goes_with_its_resource_says_so() {
        assert_eq!(fate(&claim("a", None, false)), Fate::Stays);
        let said = |asked| remark(&claim("a", Some("u1"), false), asked);
        assert_eq!(remark(&claim("a", None, false), None), None);
        assert_eq!(said(None).as_deref(), Some("goes with PgDatabase hippo"));
        assert_eq!(said(Some("u1")).as_deref(), Some("goes with PgDatabase hippo"));
        assert_eq!(said(Some("u2")).as_deref(), Some("goes with a former PgDatabase hippo"));
        // Being deleted is what comes first, whoever owns it.
        assert_eq!(fate(&claim("a", Some("u1"), true)), Fate::BeingDeleted);
        // Somebody else's reference is not ours to explain.
        let mut foreign = claim("a", Some("u1"), false);
        foreign.metadata.owner_references.as_mut().unwrap()[0].api_version = "apps/v1".to_owned();
        assert_eq!(fate(&foreign), Fate::Stays);
    }

    #[test]
    fn a_deletion_takes_what_the_claims_say_and_what_the_spec_says() {
        let all = [
            claim("stays", None, false),
            claim("owned", Some("u1"), false),
            claim("of-another", Some("u2"), false),
            claim("going", None, true),
        ];
        let sorted = partition(&all, Some("u1"), false);
        assert_eq!(named(&sorted.stay), "claims stays, of-another");
        assert_eq!(named(&sorted.go), "claim owned");
        assert_eq!(named(&sorted.going), "claim going");
        let sorted = partition(&all, Some("u1"), true);
        assert!(sorted.stay.is_empty());
        assert_eq!(named(&sorted.going), "claim going");
    }
}
