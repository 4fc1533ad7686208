//! The rules for claims, volumes and classes of storage.

use serde_json::{Value, json};

use super::{immutable, items, labels, pod::quantity as valid_quantity, text, without};
use crate::{Cause, quantity::thousandths};

const CLAIM_KEEPS: &str =
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";

/// What a `PersistentVolume` has besides where it is stored.
const VOLUME_FIELDS: [&str; 9] = [
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

/// A `PersistentVolumeClaim`: once bound it can only grow.
pub(super) fn claim(claim: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let spec = &claim["spec"];
    if items(spec, "accessModes", "").is_empty() {
        causes.push(Cause::required(
            "spec.accessModes",
            "at least 1 access mode is required",
        ));
    }
    labels::selector(&spec["selector"], "spec.selector", causes);
    size(
        spec.pointer("/resources/requests/storage"),
        "spec.resources[storage]",
        causes,
    );
    let Some(old) = old else { return };
    let before = &old["spec"];
    let is_bound = old.pointer("/status/phase") == Some(&json!("Bound"));
    if fixed(spec, before, is_bound) != fixed(before, before, is_bound) {
        causes.push(Cause::forbidden("spec", CLAIM_KEEPS));
        return;
    }
    let amount = |object: &Value, at: &str| object.pointer(at).and_then(thousandths);
    let requested = "/resources/requests/storage";
    let shrinks = amount(spec, requested) < amount(before, requested);
    // A request that could not be met may be taken back, down to what there is.
    if is_bound && shrinks && amount(spec, requested) <= amount(old, "/status/capacity/storage") {
        causes.push(Cause::forbidden(
            "spec.resources.requests.storage",
            "field can not be less than status.capacity",
        ));
    }
}

/// The spec without what may change.
fn fixed(spec: &Value, before: &Value, is_bound: bool) -> Value {
    let mut kept = without(spec, &["volumeAttributesClassName"]);
    // Binding fills these in.
    for field in ["volumeName", "storageClassName"] {
        if text(before, field).is_empty() {
            kept.remove(field);
        }
    }
    if is_bound && let Some(resources) = kept.get_mut("resources") {
        *resources = Value::Object(without(resources, &["requests"]));
    }
    Value::Object(kept)
}

fn size(size: Option<&Value>, at: &str, causes: &mut Vec<Cause>) {
    match size {
        None => causes.push(Cause::required(at, "")),
        Some(size) if thousandths(size).is_some_and(|amount| amount <= 0) => {
            causes.push(Cause::invalid(at, size, "must be greater than zero"));
        }
        Some(size) => valid_quantity(size, at, causes),
    }
}

/// A `PersistentVolume`: where it is stored does not change.
pub(super) fn volume(volume: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let spec = &volume["spec"];
    if items(spec, "accessModes", "").is_empty() {
        causes.push(Cause::required("spec.accessModes", ""));
    }
    match spec.get("capacity") {
        None => causes.push(Cause::required("spec.capacity", "")),
        Some(capacity) => size(capacity.get("storage"), "spec.capacity[storage]", causes),
    }
    let source = without(spec, &VOLUME_FIELDS);
    match source.len() {
        0 => causes.push(Cause::required("spec", "must specify a volume type")),
        1 => {}
        _ => {
            let second = source
                .keys()
                .nth(1)
                .map(|name| format!("spec.{name}"))
                .unwrap_or_default();
            causes.push(Cause::forbidden(second, "may not specify more than 1 volume type"));
        }
    }
    let Some(old) = old else { return };
    if source != without(&old["spec"], &VOLUME_FIELDS) {
        let detail = "spec.persistentvolumesource is immutable after creation";
        causes.push(Cause::forbidden("spec.persistentvolumesource", detail));
    }
    immutable::field(volume, old, "spec.volumeMode", causes);
    if old.pointer("/spec/nodeAffinity").is_some() {
        immutable::field(volume, old, "spec.nodeAffinity", causes);
    }
}

/// A `StorageClass`: only what says nothing about existing volumes may change.
pub(super) fn class(class: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    if text(class, "provisioner").is_empty() {
        causes.push(Cause::required("provisioner", ""));
    }
    let Some(old) = old else { return };
    for field in ["parameters", "provisioner", "reclaimPolicy"] {
        if class.get(field) != old.get(field) {
            causes.push(Cause::forbidden(field, &format!("updates to {field} are forbidden.")));
        }
    }
    immutable::field(class, old, "volumeBindingMode", causes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::built_in;

    fn claim(size: &str) -> Value {
        json!({"metadata": {"name": "data"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "standard", "volumeMode": "Filesystem",
            "resources": {"requests": {"storage": size}},
        }, "status": {"phase": "Pending"}})
    }

    fn bound(size: &str) -> Value {
        let mut claim = claim(size);
        claim["spec"]["volumeName"] = json!("pv-1");
        claim["status"] = json!({"phase": "Bound", "capacity": {"storage": "1Gi"}});
        claim
    }

    fn lines(kind: &str, object: &Value, old: Option<&Value>) -> Vec<String> {
        let group = if kind == "StorageClass" { "storage.k8s.io" } else { "" };
        built_in(group, kind, object, old)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn claims() {
        assert_eq!(lines("PersistentVolumeClaim", &claim("1Gi"), None), [""; 0]);
        assert_eq!(
            lines("PersistentVolumeClaim", &json!({"spec": {}}), None),
            [
                "spec.accessModes: Required value: at least 1 access mode is required",
                "spec.resources[storage]: Required value"
            ]
        );
        assert_eq!(
            lines("PersistentVolumeClaim", &claim("0"), None),
            [r#"spec.resources[storage]: Invalid value: "0": must be greater than zero"#]
        );
    }

    #[test]
    fn claims_are_bound_and_grow() {
        assert_eq!(
            lines("PersistentVolumeClaim", &bound("1Gi"), Some(&claim("1Gi"))),
            [""; 0]
        );
        assert_eq!(
            lines("PersistentVolumeClaim", &bound("2Gi"), Some(&bound("1Gi"))),
            [""; 0]
        );
        assert_eq!(
            lines("PersistentVolumeClaim", &bound("512Mi"), Some(&bound("1Gi"))),
            ["spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"]
        );
        assert_eq!(
            lines("PersistentVolumeClaim", &bound("2Gi"), Some(&bound("3Gi"))),
            [""; 0]
        );
        let forbidden = format!("spec: Forbidden: {CLAIM_KEEPS}");
        assert_eq!(
            lines("PersistentVolumeClaim", &claim("2Gi"), Some(&claim("1Gi"))),
            [forbidden.as_str()]
        );
        let mut moved = bound("1Gi");
        moved["spec"]["storageClassName"] = json!("fast");
        assert_eq!(lines("PersistentVolumeClaim", &moved, Some(&bound("1Gi"))), [forbidden]);
    }

    #[test]
    fn volumes() {
        let volume = |path: &str| {
            json!({"spec": {
                "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": path}, "volumeMode": "Filesystem",
            }})
        };
        assert_eq!(lines("PersistentVolume", &volume("/a"), Some(&volume("/a"))), [""; 0]);
        assert_eq!(
            lines("PersistentVolume", &volume("/b"), Some(&volume("/a"))),
            ["spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation"]
        );
        assert_eq!(lines("PersistentVolume", &json!({"spec": {}}), None).len(), 3);
    }

    #[test]
    fn classes() {
        let class = json!({"provisioner": "pgop.dev/sandbox-local", "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"});
        let mut other = class.clone();
        other["allowVolumeExpansion"] = json!(true);
        assert_eq!(lines("StorageClass", &other, Some(&class)), [""; 0]);
        other["reclaimPolicy"] = json!("Retain");
        other["volumeBindingMode"] = json!("WaitForFirstConsumer");
        assert_eq!(
            lines("StorageClass", &other, Some(&class)),
            [
                "reclaimPolicy: Forbidden: updates to reclaimPolicy are forbidden.",
                r#"volumeBindingMode: Invalid value: "WaitForFirstConsumer": field is immutable"#,
            ]
        );
    }
}
