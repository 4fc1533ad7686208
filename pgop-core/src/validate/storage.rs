//! Validation of where data lies.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::Value;

use crate::crd::{ServerStatus, Storage};
use crate::invalid::Invalid;
use crate::manifest::Kind;
use crate::name;
use crate::observed::Observed;
use crate::quantity::milli;
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
    check_same_claim(&claim, status, invalid);
    ClaimStorage {
        make: storage.claim.is_none(),
        claim,
        size,
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
    let field = "spec.storage.size";
    let Some(Quantity(size)) = &storage.size else {
        let live = live.and_then(|claim| claim.pointer("/spec/resources/requests/storage"));
        return live.and_then(Value::as_str).unwrap_or(default_size).to_owned();
    };
    match milli(size) {
        None => invalid.push(Invalid::new(
            field,
            format!("`{size}` is no size"),
            "write one such as 10Gi",
        )),
        Some(bytes) if Some(bytes) < milli(LEAST_SIZE) => {
            invalid.push(Invalid::new(
                field,
                format!("`{size}` is too small"),
                format!("give at least {LEAST_SIZE}"),
            ));
        }
        Some(bytes) => {
            let old = status.and_then(|s| s.storage_size.as_ref());
            if let Some(Quantity(old)) = old.filter(|old| milli(&old.0).is_some_and(|old| bytes < old)) {
                let problem = format!("is {size}, and the claims have {old}; a claim never shrinks");
                invalid.push(Invalid::new(field, problem, format!("set it to {old} or more")));
            }
        }
    }
    size.clone()
}

/// Class and access mode of a claim are for ever.
fn check_class(storage: &Storage, live: Option<&Value>, invalid: &mut Vec<Invalid>) {
    let field = "spec.storage.className";
    if storage.claim.is_some() && storage.class_name.is_some() {
        let mend = "leave out className or claim";
        invalid.push(Invalid::new(field, "is for a claim that pgop makes", mend));
    }
    if let Some(Err(error)) = storage.class_name.as_deref().map(name::check_object) {
        let mend = "name a class that `kubectl get storageclass` lists";
        invalid.push(Invalid::new(field, error.to_string(), mend));
    }
    let live_text = |pointer: &str| live.and_then(|claim| claim.pointer(pointer)).and_then(Value::as_str);
    let mend = "set it back, or restore a backup into a new resource";
    if let (Some(new), Some(old)) = (storage.class_name.as_deref(), live_text("/spec/storageClassName"))
        && new != old
    {
        let problem = format!("is {new}, and the claim was made with {old}, which can't be changed");
        invalid.push(Invalid::new(field, problem, mend));
    }
    if let (Some(new), Some(old)) = (storage.access_mode, live_text("/spec/accessModes/0"))
        && new.as_str() != old
    {
        let problem = format!(
            "is {}, and the claim was made with {old}, which can't be changed",
            new.as_str()
        );
        invalid.push(Invalid::new("spec.storage.accessMode", problem, mend));
    }
}

/// The data does not move with the name of its claim.
fn check_same_claim(claim: &str, status: Option<&ServerStatus>, invalid: &mut Vec<Invalid>) {
    let used = status.map(|status| status.claims.as_slice()).unwrap_or_default();
    if !used.is_empty() && !used.iter().any(|used| used == claim) {
        invalid.push(Invalid::new(
            "spec.storage.claim",
            format!(
                "would move the resource to claim {claim}, and its data is on {}",
                used.join(", ")
            ),
            "set it back, or restore a backup into a new resource",
        ));
    }
}

/// A claim that the spec names.
pub(super) fn check_claim(field: &str, claim: &str, observed: &Observed, invalid: &mut Vec<Invalid>) {
    if let Err(error) = name::check_object(claim) {
        invalid.push(Invalid::new(
            field,
            error.to_string(),
            "name a claim that `kubectl get pvc` lists",
        ));
        return;
    }
    match observed.claims.get(claim) {
        Some(Some(facts)) if facts.deleting => {
            invalid.push(Invalid::new(
                field,
                format!("names claim {claim}, which is being deleted"),
                "name another claim",
            ));
        }
        Some(Some(_)) => {}
        _ => invalid.push(Invalid::new(
            field,
            format!("names claim {claim}, which does not exist"),
            "create it, or name one that `kubectl get pvc` lists",
        )),
    }
}
