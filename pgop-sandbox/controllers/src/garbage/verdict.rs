//! What is to be done with one object, given what became of its owners. Pure.
//! See <https://kubernetes.io/docs/concepts/architecture/garbage-collection/>.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::PropagationPolicy;

use super::graph::{FOREGROUND, ORPHAN};

/// What became of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    There,
    /// No object with this uid: another one of the same name does not count.
    Gone,
    /// It is being deleted in the foreground and waits for those it owns.
    Waiting,
}

/// One that the object owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dependent {
    pub(crate) uid: String,
    /// The deletion of the object has to wait for it.
    pub(crate) blocks: bool,
    /// It is itself being deleted in the foreground.
    pub(crate) foreground: bool,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    Keep,
    /// Take the references to these owners out.
    Disown(Vec<String>),
    Delete(PropagationPolicy),
    /// Take the references to this object out of those it owns, then the finalizer out of it.
    Orphan(Vec<String>),
    /// It waited for nobody, or no longer does: take the finalizer out.
    Release,
    /// It waits for these; those not yet told to go are looked at.
    Await(Vec<String>),
    /// Its owner waits for it, but one it owns waits for it in turn: it must not block. Then it is deleted.
    Unblock,
}

pub(crate) fn verdict(meta: &ObjectMeta, owners: &[(OwnerReference, Owner)], dependents: &[Dependent]) -> Verdict {
    let has = |name: &str| meta.finalizers.iter().flatten().any(|finalizer| finalizer == name);
    if meta.deletion_timestamp.is_some() {
        return if has(ORPHAN) {
            Verdict::Orphan(dependents.iter().map(|dependent| dependent.uid.clone()).collect())
        } else if has(FOREGROUND) {
            awaited(dependents)
        } else {
            Verdict::Keep
        };
    }
    let uids = |wanted: &dyn Fn(Owner) -> bool| -> Vec<String> {
        owners
            .iter()
            .filter(|(_, owner)| wanted(*owner))
            .map(|(reference, _)| reference.uid.clone())
            .collect()
    };
    let lost = uids(&|owner| owner != Owner::There);
    if lost.is_empty() {
        return Verdict::Keep;
    }
    if lost.len() < owners.len() {
        return Verdict::Disown(lost);
    }
    if owners.iter().any(|(_, owner)| *owner == Owner::Waiting) && !dependents.is_empty() {
        if dependents.iter().any(|dependent| dependent.foreground) {
            return Verdict::Unblock;
        }
        return Verdict::Delete(PropagationPolicy::Foreground);
    }
    Verdict::Delete(if has(ORPHAN) {
        PropagationPolicy::Orphan
    } else if has(FOREGROUND) {
        PropagationPolicy::Foreground
    } else {
        PropagationPolicy::Background
    })
}

fn awaited(dependents: &[Dependent]) -> Verdict {
    let mut blocking = dependents.iter().filter(|dependent| dependent.blocks).peekable();
    if blocking.peek().is_none() {
        return Verdict::Release;
    }
    Verdict::Await(
        blocking
            .filter(|dependent| !dependent.foreground)
            .map(|dependent| dependent.uid.clone())
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn meta(value: Value) -> ObjectMeta {
        serde_json::from_value(value).unwrap()
    }

    fn owners(owners: &[Owner]) -> Vec<(OwnerReference, Owner)> {
        owners
            .iter()
            .enumerate()
            .map(|(index, owner)| {
                (
                    OwnerReference {
                        uid: index.to_string(),
                        ..OwnerReference::default()
                    },
                    *owner,
                )
            })
            .collect()
    }

    fn dependent(uid: &str, blocks: bool, foreground: bool) -> Dependent {
        Dependent {
            uid: uid.into(),
            blocks,
            foreground,
        }
    }

    fn deleting(finalizer: &str) -> ObjectMeta {
        meta(json!({ "deletionTimestamp": "2026-11-01T10:00:00Z", "finalizers": [finalizer] }))
    }

    #[test]
    fn without_owners_or_with_all_of_them_an_object_stays() {
        assert_eq!(verdict(&meta(json!({})), &[], &[]), Verdict::Keep);
        assert_eq!(
            verdict(&meta(json!({})), &owners(&[Owner::There, Owner::There]), &[]),
            Verdict::Keep
        );
    }

    #[test]
    fn an_object_goes_with_its_last_owner_only() {
        assert_eq!(
            verdict(&meta(json!({})), &owners(&[Owner::Gone, Owner::There]), &[]),
            Verdict::Disown(vec!["0".into()])
        );
        assert_eq!(
            verdict(&meta(json!({})), &owners(&[Owner::Gone, Owner::Gone]), &[]),
            Verdict::Delete(PropagationPolicy::Background)
        );
    }

    #[test]
    fn the_policy_asked_for_by_finalizer_is_kept() {
        let orphaning = meta(json!({ "finalizers": ["orphan"] }));
        assert_eq!(
            verdict(&orphaning, &owners(&[Owner::Gone]), &[]),
            Verdict::Delete(PropagationPolicy::Orphan)
        );
        let foreground = meta(json!({ "finalizers": ["foregroundDeletion"] }));
        assert_eq!(
            verdict(&foreground, &owners(&[Owner::Gone]), &[]),
            Verdict::Delete(PropagationPolicy::Foreground)
        );
    }

    #[test]
    fn foreground_deletion_goes_down_the_tree() {
        let waiting = owners(&[Owner::Waiting]);
        let below = [dependent("c", true, false)];
        assert_eq!(
            verdict(&meta(json!({})), &waiting, &below),
            Verdict::Delete(PropagationPolicy::Foreground)
        );
        assert_eq!(
            verdict(&meta(json!({})), &waiting, &[]),
            Verdict::Delete(PropagationPolicy::Background)
        );
    }

    #[test]
    fn a_circle_does_not_wait_for_itself() {
        let waiting = owners(&[Owner::Waiting]);
        assert_eq!(
            verdict(&meta(json!({})), &waiting, &[dependent("c", true, true)]),
            Verdict::Unblock
        );
    }

    #[test]
    fn an_object_deleted_in_the_foreground_waits_for_those_that_block() {
        let object = deleting("foregroundDeletion");
        let below = [
            dependent("a", true, false),
            dependent("b", false, false),
            dependent("c", true, true),
        ];
        assert_eq!(verdict(&object, &[], &below), Verdict::Await(vec!["a".into()]));
        assert_eq!(verdict(&object, &[], &below[1..2]), Verdict::Release);
        assert_eq!(verdict(&object, &[], &[]), Verdict::Release);
    }

    #[test]
    fn an_orphaning_object_lets_go_of_all() {
        let below = [dependent("a", true, false), dependent("b", false, false)];
        assert_eq!(
            verdict(&deleting("orphan"), &[], &below),
            Verdict::Orphan(vec!["a".into(), "b".into()])
        );
    }

    #[test]
    fn an_object_that_someone_else_finalizes_is_left_to_them() {
        assert_eq!(
            verdict(&deleting("example.com/backup"), &owners(&[Owner::Gone]), &[]),
            Verdict::Keep
        );
    }
}
