//! Validation of where data lies.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::Value;

use super::before::Before;
use crate::crd::{ServerStatus, Storage};
use crate::invalid::Invalid;
use crate::manifest::Kind;
use crate::name;
use crate::observed::Observed;
use crate::quantity::{self, milli};
use crate::validated::ClaimStorage;

/// Size of a data claim where the spec has none: room for kept WAL and the default `max_wal_size` beside data.
pub(super) const DEFAULT_SIZE: &str = "5Gi";
/// The smallest claim that initdb and its first WAL files fit in.
const LEAST_SIZE: &str = "64Mi";

/// Checks a storage block; `own` is the name of the claim that is made where none is named.
pub(super) fn check_storage(
    storage: &Storage,
    own: String,
    default_size: &str,
    status: Option<&ServerStatus>,
    observed: &Observed,
    invalid: &mut Vec<Invalid>,
) -> ClaimStorage {
    let live = observed.live.get(Kind::PersistentVolumeClaim, &own);
    let size = check_size(storage, default_size, live, status, invalid);
    check_class(storage, live, invalid);
    if let Some(claim) = &storage.claim {
        check_claim("spec.storage.claim", claim, observed, invalid);
    }
    let claim = storage.claim.clone().unwrap_or(own);
    ClaimStorage {
        make: storage.claim.is_none(),
        claim,
        size: quantity::canonical(&size),
        class_name: storage.class_name.clone(),
        access_mode: storage.access_mode.unwrap_or_default(),
    }
}

/// Without a word in the spec a claim that exists stays as large as it is: it may be unable to grow.
fn check_size(
    storage: &Storage,
    default_size: &str,
    live: Option<&Value>,
    status: Option<&ServerStatus>,
    invalid: &mut Vec<Invalid>,
) -> String {
    let old = status
        .and_then(|status| status.storage_size.as_ref())
        .map(|old| old.0.as_str());
    // A growth that does not come about, as beyond what the provider has, may be asked for again and smaller:
    // <https://kubernetes.io/docs/concepts/storage/persistent-volumes/#recovering-from-failure-when-expanding-volumes>.
    let has = live.and_then(|claim| claim.pointer("/status/capacity/storage")?.as_str());
    let has = has.filter(|has| old.is_some_and(|old| milli(has) < milli(old)));
    let live = live.and_then(|claim| claim.pointer("/spec/resources/requests/storage")?.as_str());
    let Some(Quantity(size)) = &storage.size else {
        return live.unwrap_or(default_size).to_owned();
    };
    let (problem, mend) = match milli(size) {
        None => (format!("`{size}` is no size"), "write one such as 10Gi".to_owned()),
        Some(asked) if Some(asked) < milli(LEAST_SIZE) => {
            (format!("`{size}` is too small"), format!("give at least {LEAST_SIZE}"))
        }
        Some(asked) => match (old.filter(|old| milli(old).is_some_and(|old| asked < old)), has) {
            (Some(_), Some(has)) if milli(has).is_some_and(|has| asked > has) => return size.clone(),
            (Some(old), Some(has)) => (
                format!("is {size}, and the claims have {has}, of {old} that were asked for; a claim never shrinks"),
                format!("set it to more than {has}"),
            ),
            (Some(old), None) => (
                format!("is {size}, and the claims have {old}; a claim never shrinks"),
                format!("set it to {old} or more"),
            ),
            (None, _) => return size.clone(),
        },
    };
    invalid.push(Invalid::change("spec.storage.size", problem, mend));
    old.or(live).unwrap_or(default_size).to_owned()
}

/// Class and access mode of a claim are for ever.
fn check_class(storage: &Storage, live: Option<&Value>, invalid: &mut Vec<Invalid>) {
    let field = "spec.storage.className";
    if storage.claim.is_some() && storage.class_name.is_some() {
        let mend = "leave out className or claim";
        invalid.push(Invalid::change(field, "is for a claim that pgop makes", mend));
    }
    if let Some(Err(error)) = storage.class_name.as_deref().map(name::check_object) {
        let mend = "name a class that `kubectl get storageclass` lists";
        invalid.push(Invalid::change(field, error.to_string(), mend));
    }
    let live_text = |pointer: &str| live.and_then(|claim| claim.pointer(pointer)).and_then(Value::as_str);
    let mend = "set it back, or restore a backup into a new resource";
    if let (Some(new), Some(old)) = (storage.class_name.as_deref(), live_text("/spec/storageClassName"))
        && new != old
    {
        let problem = format!("is {new}, and the claim was made with {old}, which can't be changed");
        invalid.push(Invalid::change(field, problem, mend));
    }
    if let (Some(new), Some(old)) = (storage.access_mode, live_text("/spec/accessModes/0"))
        && new.as_str() != old
    {
        let problem = format!(
            "is {}, and the claim was made with {old}, which can't be changed",
            new.as_str()
        );
        invalid.push(Invalid::change("spec.storage.accessMode", problem, mend));
    }
}

/// The claim that the spec names for the data, if it names one: the data does not move with it. How the claims are called that a strategy
/// makes is the strategy's own matter.
pub(super) fn check_same_claim(storage: &Storage, before: &Before<'_>, invalid: &mut Vec<Invalid>) -> Option<String> {
    let Some(accepted) = &before.accepted else {
        return storage.claim.clone();
    };
    if accepted.claim != storage.claim {
        let named = |claim: &Option<String>| match claim {
            Some(claim) => format!("claim {claim}"),
            None => "a claim that pgop makes".to_owned(),
        };
        let problem = format!(
            "would move the resource to {}, and its data is on {}",
            named(&storage.claim),
            named(&accepted.claim)
        );
        let mend = "set it back, or restore a backup into a new resource";
        invalid.push(Invalid::change("spec.storage.claim", problem, mend));
    }
    accepted.claim.clone()
}

/// A claim that the spec names.
pub(super) fn check_claim(field: &str, claim: &str, observed: &Observed, invalid: &mut Vec<Invalid>) {
    if let Err(error) = name::check_object(claim) {
        invalid.push(Invalid::change(
            field,
            error.to_string(),
            "name a claim that `kubectl get pvc` lists",
        ));
        return;
    }
    match observed.claims.get(claim) {
        Some(Some(facts)) if facts.deleting => {
            invalid.push(Invalid::change(
                field,
                format!("names claim {claim}, which is being deleted"),
                "name another claim",
            ));
        }
        Some(Some(_)) => {}
        _ => invalid.push(Invalid::change(
            field,
            format!("names claim {claim}, which does not exist"),
            "create it, or name one that `kubectl get pvc` lists",
        )),
    }
}
