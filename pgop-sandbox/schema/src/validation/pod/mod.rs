//! The rules for pods and the templates of pods.

mod container;
mod probe;
mod volume;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use self::container::Kind;
pub(super) use self::container::{in_range, number_or_name, quantity};
use super::{
    items,
    labels::labels,
    names::{dns_label, dns_subdomain},
    not_negative, text,
};
use crate::{Cause, path};

const MAY_CHANGE: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
                          `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
                          `spec.tolerations` (only additions to existing tolerations),\
                          `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// A pod. Its spec hardly changes after creation.
pub(super) fn pod(pod: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    spec(&pod["spec"], "spec", causes);
    let Some(old) = old else { return };
    let [new, old] = [&pod["spec"], &old["spec"]];
    if changeable_apart(new) != changeable_apart(old) || !keeps_tolerations(new, old) || gates_added(new, old) {
        causes.push(Cause::forbidden("spec", MAY_CHANGE));
    }
}

/// The template of a pod, as workloads have it.
pub(super) fn template(template: &Value, at: &str, causes: &mut Vec<Cause>) {
    labels(&template["metadata"], "labels", &path::child(at, "metadata"), causes);
    let at = path::child(at, "spec");
    if !items(&template["spec"], "ephemeralContainers", "").is_empty() {
        causes.push(Cause::forbidden(
            path::child(&at, "ephemeralContainers"),
            "ephemeral containers not allowed in pod template",
        ));
    }
    spec(&template["spec"], &at, causes);
}

fn spec(spec: &Value, at: &str, causes: &mut Vec<Cause>) {
    let volumes = volume::volumes(spec, at, causes);
    let mut names = BTreeSet::new();
    if items(spec, "containers", at).is_empty() {
        causes.push(Cause::required(path::child(at, "containers"), ""));
    }
    for (list, kind) in [
        ("containers", Kind::Main),
        ("initContainers", Kind::Init),
        ("ephemeralContainers", Kind::Ephemeral),
    ] {
        for (at, container) in items(spec, list, at) {
            container::container(container, kind, &at, &volumes, causes);
            let name = text(container, "name");
            if !name.is_empty() && !names.insert(name) {
                causes.push(Cause::duplicate(path::child(&at, "name"), &json!(name)));
            }
        }
    }
    not_negative(spec, "terminationGracePeriodSeconds", at, causes);
    if let Some(seconds) = spec
        .get("activeDeadlineSeconds")
        .filter(|seconds| seconds.as_i64().is_some_and(|seconds| seconds < 1))
    {
        let detail = "must be between 1 and 2147483647, inclusive";
        causes.push(Cause::invalid(
            path::child(at, "activeDeadlineSeconds"),
            seconds,
            detail,
        ));
    }
    for (field, check) in [
        ("hostname", dns_label as fn(&str) -> Vec<String>),
        ("subdomain", dns_label),
        ("serviceAccountName", dns_subdomain),
        ("nodeName", dns_subdomain),
        ("priorityClassName", dns_subdomain),
    ] {
        let name = text(spec, field);
        if !name.is_empty() {
            causes.extend(
                check(name)
                    .iter()
                    .map(|problem| Cause::invalid(path::child(at, field), &json!(name), problem)),
            );
        }
    }
    labels(spec, "nodeSelector", at, causes);
    for (at, secret) in items(spec, "imagePullSecrets", at) {
        if text(secret, "name").is_empty() {
            causes.push(Cause::required(path::child(&at, "name"), ""));
        }
    }
    for (at, toleration) in items(spec, "tolerations", at) {
        self::toleration(toleration, &at, causes);
    }
    for field in ["runAsUser", "runAsGroup", "fsGroup"] {
        not_negative(
            &spec["securityContext"],
            field,
            &path::child(at, "securityContext"),
            causes,
        );
    }
}

fn toleration(toleration: &Value, at: &str, causes: &mut Vec<Cause>) {
    let exists = text(toleration, "operator") == "Exists";
    if text(toleration, "key").is_empty() && !exists {
        let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        causes.push(Cause::invalid(
            path::child(at, "operator"),
            &toleration["operator"],
            detail,
        ));
    }
    if exists && !text(toleration, "value").is_empty() {
        let detail = "value must be empty when `operator` is 'Exists'";
        causes.push(Cause::invalid(
            path::child(at, "operator"),
            &toleration["value"],
            detail,
        ));
    }
    if toleration.get("tolerationSeconds").is_some() && text(toleration, "effect") != "NoExecute" {
        let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        causes.push(Cause::invalid(path::child(at, "effect"), &toleration["effect"], detail));
    }
}

/// The spec without what may change, or is changed through subresources.
fn changeable_apart(spec: &Value) -> Map<String, Value> {
    let changeable = [
        "activeDeadlineSeconds",
        "tolerations",
        "ephemeralContainers",
        "schedulingGates",
    ];
    let mut kept = super::without(spec, &changeable);
    if spec["terminationGracePeriodSeconds"]
        .as_i64()
        .is_some_and(|seconds| seconds < 0)
    {
        kept.insert("terminationGracePeriodSeconds".to_owned(), json!(1));
    }
    for list in ["containers", "initContainers"] {
        for container in kept.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(container) = container.as_object_mut() {
                container.remove("image");
            }
        }
    }
    kept
}

fn keeps_tolerations(new: &Value, old: &Value) -> bool {
    // How long something is tolerated may change.
    let list = |spec: &Value| -> Vec<Map<String, Value>> {
        items(spec, "tolerations", "")
            .iter()
            .map(|(_, item)| super::without(item, &["tolerationSeconds"]))
            .collect()
    };
    let new = list(new);
    list(old).iter().all(|toleration| new.contains(toleration))
}

fn gates_added(new: &Value, old: &Value) -> bool {
    let names = |spec: &Value| -> BTreeSet<String> {
        items(spec, "schedulingGates", "")
            .iter()
            .map(|(_, gate)| text(gate, "name").to_owned())
            .collect()
    };
    !names(new).is_subset(&names(old))
}

#[cfg(test)]
mod tests;
