//! The rules for small types: configuration, budgets, leases, priorities.

use serde_json::{Value, json};

use super::{entries, immutable, labels, names::config_key, not_negative, text, workload::int_or_percent};
use crate::{Cause, path};

/// The data of a config map or secret, in bytes.
const MAX_DATA: usize = 1024 * 1024;

/// A `ConfigMap`.
pub(super) fn config_map(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let mut size = 0;
    for (key, value) in entries(object, "data") {
        key_syntax("data", key, causes);
        if object["binaryData"].get(key).is_some() {
            let detail = "duplicate of key present in binaryData";
            causes.push(Cause::invalid(path::key("data", key), &json!(key), detail));
        }
        size += value.as_str().map_or(0, str::len);
    }
    for (key, value) in entries(object, "binaryData") {
        key_syntax("binaryData", key, causes);
        size += decoded_length(value);
    }
    if size > MAX_DATA {
        causes.push(Cause::too_long("", MAX_DATA as u64));
    }
    frozen(object, old, &["data", "binaryData"], causes);
}

/// A Secret. Its type stays, and asks for certain keys.
pub(super) fn secret(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let mut size = 0;
    for (key, value) in entries(object, "data") {
        key_syntax("data", key, causes);
        size += decoded_length(value);
    }
    if size > MAX_DATA {
        causes.push(Cause::too_long("data", MAX_DATA as u64));
    }
    let required: &[&str] = match text(object, "type") {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        _ => &[],
    };
    for key in required.iter().filter(|key| object["data"].get(**key).is_none()) {
        causes.push(Cause::required(path::key("data", key), ""));
    }
    let has = |key: &str| object["data"].get(key).is_some();
    if text(object, "type") == "kubernetes.io/basic-auth" && !has("username") && !has("password") {
        for key in ["username", "password"] {
            causes.push(Cause::required(path::key("data", key), ""));
        }
    }
    if let Some(old) = old {
        immutable::field(object, old, "type", causes);
    }
    frozen(object, old, &["data"], causes);
}

fn key_syntax(at: &str, key: &str, causes: &mut Vec<Cause>) {
    let at = path::key(at, key);
    causes.extend(
        config_key(key)
            .iter()
            .map(|problem| Cause::invalid(&*at, &json!(key), problem)),
    );
}

/// How many bytes base64 text stands for.
fn decoded_length(value: &Value) -> usize {
    value
        .as_str()
        .map_or(0, |text| text.trim_end_matches('=').len() * 3 / 4)
}

/// What was declared immutable stays, the declaration too.
fn frozen(object: &Value, old: Option<&Value>, fields: &[&str], causes: &mut Vec<Cause>) {
    let Some(old) = old.filter(|old| old.get("immutable") == Some(&json!(true))) else {
        return;
    };
    let is_set = |object: &Value, field: &str| object.get(field).is_some_and(|value| *value != json!({}));
    let changed = |field: &str| object.get(field) != old.get(field) && (is_set(object, field) || is_set(old, field));
    if object.get("immutable") != Some(&json!(true)) {
        causes.push(Cause::forbidden(
            "immutable",
            "field is immutable when `immutable` is set",
        ));
    }
    for field in fields.iter().filter(|field| changed(field)) {
        causes.push(Cause::forbidden(*field, "field is immutable when `immutable` is set"));
    }
}

/// A `PodDisruptionBudget`.
pub(super) fn disruption_budget(object: &Value, _: Option<&Value>, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    if spec.get("minAvailable").is_some() && spec.get("maxUnavailable").is_some() {
        causes.push(Cause::invalid(
            "spec",
            spec,
            "minAvailable and maxUnavailable cannot be both set",
        ));
    }
    for field in ["minAvailable", "maxUnavailable"] {
        int_or_percent(spec, field, "spec", causes);
    }
    labels::selector(&spec["selector"], "spec.selector", causes);
}

/// A Lease.
pub(super) fn lease(object: &Value, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    let seconds = &spec["leaseDurationSeconds"];
    if seconds.as_i64().is_some_and(|seconds| seconds <= 0) {
        causes.push(Cause::invalid(
            "spec.leaseDurationSeconds",
            seconds,
            "must be greater than 0",
        ));
    }
    not_negative(spec, "leaseTransitions", "spec", causes);
    if spec.get("holderIdentity").is_some_and(|holder| holder == "") {
        causes.push(Cause::invalid("spec.holderIdentity", &json!(""), "must not be empty"));
    }
}

/// A `PriorityClass`.
pub(super) fn priority_class(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let Some(old) = old else { return };
    if object["value"] != old["value"] {
        causes.push(Cause::forbidden("value", "may not be changed in an update."));
    }
    if object["preemptionPolicy"] != old["preemptionPolicy"] {
        causes.push(Cause::invalid(
            "preemptionPolicy",
            &object["preemptionPolicy"],
            "field is immutable",
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::built_in;

    fn lines(group: &str, kind: &str, object: &Value, old: Option<&Value>) -> Vec<String> {
        built_in(group, kind, object, old)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn config_maps() {
        let good = json!({"data": {"postgresql.conf": "a = 1"}, "binaryData": {"logo": "aGVsbG8="}});
        assert_eq!(lines("", "ConfigMap", &good, None), [""; 0]);
        let bad = json!({"data": {"a b": "", "logo": ""}, "binaryData": {"logo": ""}});
        let found = lines("", "ConfigMap", &bad, None);
        assert!(
            found[0].starts_with(r#"data[a b]: Invalid value: "a b": a valid config key must consist of"#),
            "{found:?}"
        );
        assert_eq!(
            found[1],
            r#"data[logo]: Invalid value: "logo": duplicate of key present in binaryData"#
        );
        let big = json!({"data": {"a": "x".repeat(MAX_DATA + 1)}});
        assert_eq!(
            lines("", "ConfigMap", &big, None),
            ["Too long: may not be more than 1048576 bytes"]
        );
    }

    #[test]
    fn frozen_data_stays() {
        let old = json!({"data": {"a": "1"}, "immutable": true});
        let labelled = json!({"metadata": {"labels": {"a": "b"}}, "data": {"a": "1"}, "immutable": true});
        assert_eq!(lines("", "ConfigMap", &labelled, Some(&old)), [""; 0]);
        assert_eq!(
            lines("", "ConfigMap", &json!({"data": {"a": "2"}}), Some(&old)),
            [
                "immutable: Forbidden: field is immutable when `immutable` is set",
                "data: Forbidden: field is immutable when `immutable` is set",
            ]
        );
        assert_eq!(
            lines(
                "",
                "Secret",
                &json!({"data": {"a": "2"}, "immutable": true}),
                Some(&old)
            )
            .len(),
            1
        );
    }

    #[test]
    fn secrets() {
        let tls = json!({"type": "kubernetes.io/tls", "data": {"tls.crt": ""}});
        assert_eq!(lines("", "Secret", &tls, None), ["data[tls.key]: Required value"]);
        let opaque = json!({"type": "Opaque", "data": {"password": "cGc="}});
        assert_eq!(lines("", "Secret", &opaque, None), [""; 0]);
        let retyped = json!({"type": "pgop.dev/password", "data": {"password": "cGc="}});
        assert_eq!(
            lines("", "Secret", &retyped, Some(&opaque)),
            [r#"type: Invalid value: "pgop.dev/password": field is immutable"#]
        );
        assert_eq!(
            lines("", "Secret", &json!({"type": "kubernetes.io/basic-auth"}), None).len(),
            2
        );
    }

    #[test]
    fn budgets_leases_priorities() {
        let budget = json!({"spec": {"minAvailable": 1, "maxUnavailable": "x"}});
        assert_eq!(lines("policy", "PodDisruptionBudget", &budget, None).len(), 2);

        let lease = json!({"spec": {"leaseDurationSeconds": 0, "leaseTransitions": -1}});
        assert_eq!(lines("coordination.k8s.io", "Lease", &lease, None).len(), 2);
        assert_eq!(
            lines(
                "scheduling.k8s.io",
                "PriorityClass",
                &json!({"value": 1}),
                Some(&json!({"value": 2}))
            ),
            ["value: Forbidden: may not be changed in an update."]
        );
    }
}
