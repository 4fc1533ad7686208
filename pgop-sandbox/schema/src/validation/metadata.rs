//! The rules for `metadata`.

use serde_json::{Value, json};

use super::{
    NameRule, entries, items,
    names::{dns_label, qualified_name},
    text,
};
use crate::{Cause, path};

/// All annotations of an object together, in bytes.
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// The finalizers of Kubernetes that have no domain.
const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];

/// Names, namespace, labels, annotations, owner references and finalizers of one object.
pub fn metadata(object: &Value, namespaced: bool, name_rule: NameRule) -> Vec<Cause> {
    let metadata = object.get("metadata").unwrap_or(&Value::Null);
    let mut causes = Vec::new();
    names(metadata, namespaced, name_rule, &mut causes);
    super::labels::labels(metadata, "labels", "metadata", &mut causes);
    annotations(metadata, &mut causes);
    owner_references(metadata, &mut causes);
    for (at, finalizer) in items(metadata, "finalizers", "metadata") {
        let name = finalizer.as_str().unwrap_or_default();
        causes.extend(
            qualified_name(name)
                .iter()
                .map(|problem| Cause::invalid(&*at, finalizer, problem)),
        );
    }
    causes
}

/// Finalizers of Kubernetes' own types must have a domain, apart from those of Kubernetes. Definitions and custom resources may have others.
pub fn finalizers(object: &Value) -> Vec<Cause> {
    let list = items(&object["metadata"], "finalizers", "metadata").into_iter();
    list.filter(|(_, finalizer)| {
        let name = finalizer.as_str().unwrap_or_default();
        !name.contains('/') && !STANDARD_FINALIZERS.contains(&name)
    })
    .map(|(_, finalizer)| {
        let detail = "name is neither a standard finalizer name nor is it fully qualified";
        Cause::invalid("metadata.finalizers", finalizer, detail)
    })
    .collect()
}

fn names(metadata: &Value, namespaced: bool, rule: NameRule, causes: &mut Vec<Cause>) {
    let [name, prefix, namespace] = ["name", "generateName", "namespace"].map(|field| text(metadata, field));
    let mut invalid = |field: &str, value: &str, problems: Vec<String>| {
        let at = path::child("metadata", field);
        causes.extend(
            problems
                .iter()
                .map(|problem| Cause::invalid(&*at, &json!(value), problem)),
        );
    };
    if !prefix.is_empty() {
        invalid("generateName", prefix, rule.check_prefix(prefix));
    }
    if !name.is_empty() {
        invalid("name", name, rule.check(name));
    }
    if namespaced && !namespace.is_empty() {
        invalid("namespace", namespace, dns_label(namespace));
    }
    if name.is_empty() && prefix.is_empty() {
        causes.push(Cause::required("metadata.name", "name or generateName is required"));
    }
    match (namespaced, namespace.is_empty()) {
        (true, true) => causes.push(Cause::required("metadata.namespace", "")),
        (false, false) => causes.push(Cause::forbidden("metadata.namespace", "not allowed on this type")),
        _ => {}
    }
}

fn annotations(metadata: &Value, causes: &mut Vec<Cause>) {
    let mut size = 0;
    for (key, value) in entries(metadata, "annotations") {
        size += key.len() + value.as_str().map_or(0, str::len);
        let problems = qualified_name(&key.to_lowercase());
        causes.extend(
            problems
                .iter()
                .map(|problem| Cause::invalid("metadata.annotations", &json!(key), problem)),
        );
    }
    if size > MAX_ANNOTATIONS {
        causes.push(Cause::too_long("metadata.annotations", MAX_ANNOTATIONS as u64));
    }
}

fn owner_references(metadata: &Value, causes: &mut Vec<Cause>) {
    let mut controllers = Vec::new();
    for (at, owner) in items(metadata, "ownerReferences", "metadata") {
        let version = text(owner, "apiVersion");
        if version.is_empty() {
            causes.push(Cause::invalid(
                path::child(&at, "apiVersion"),
                &json!(version),
                "version must not be empty",
            ));
        }
        for field in ["kind", "name", "uid"] {
            if text(owner, field).is_empty() {
                causes.push(Cause::invalid(path::child(&at, field), &json!(""), "must not be empty"));
            }
        }
        if owner.get("controller") == Some(&json!(true)) {
            controllers.push(format!("{}/{}", text(owner, "kind"), text(owner, "name")));
        }
    }
    if let [first, second, ..] = controllers.as_slice() {
        let detail = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {second}"
        );
        let references = metadata.get("ownerReferences").cloned().unwrap_or_default();
        causes.push(Cause::invalid("metadata.ownerReferences", &references, &detail));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(metadata: &Value, namespaced: bool) -> Vec<String> {
        let causes = super::metadata(&json!({"metadata": metadata}), namespaced, NameRule::DnsSubdomain);
        causes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn good_metadata() {
        let metadata = json!({
            "name": "main", "namespace": "default", "labels": {"pgop.dev/role": "primary"}, "finalizers": ["pgop.dev/cleanup"],
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{\"a\": 1}\n"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "a", "uid": "1", "controller": true}],
        });
        assert_eq!(lines(&metadata, true), [""; 0]);
    }

    #[test]
    fn names_are_required() {
        assert_eq!(
            lines(&json!({"namespace": "a"}), true),
            ["metadata.name: Required value: name or generateName is required"]
        );
        assert_eq!(lines(&json!({"generateName": "web-", "namespace": "a"}), true), [""; 0]);
        assert_eq!(
            lines(&json!({"name": "a"}), true),
            ["metadata.namespace: Required value"]
        );
        assert_eq!(
            lines(&json!({"name": "a", "namespace": "b"}), false),
            ["metadata.namespace: Forbidden: not allowed on this type"]
        );
    }

    #[test]
    fn finalizers_have_a_domain() {
        let told = |name: &str| finalizers(&json!({"metadata": {"finalizers": [name]}})).len();
        assert_eq!(
            [
                told("pgop.dev/cleanup"),
                told("orphan"),
                told("kubernetes"),
                told("hold")
            ],
            [0, 0, 0, 1]
        );
    }

    #[test]
    fn syntax() {
        let metadata = json!({
            "name": "Main", "namespace": "a.b", "labels": {"a b": "x", "ok": "no way"}, "annotations": {"/x": ""}, "finalizers": ["a b"],
        });
        let fields: Vec<String> = lines(&metadata, true)
            .iter()
            .map(|line| line.split(": ").next().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(
            fields,
            [
                "metadata.name",
                "metadata.namespace",
                "metadata.labels",
                "metadata.labels",
                "metadata.annotations",
                "metadata.finalizers[0]"
            ]
        );
    }

    #[test]
    fn annotations_have_a_limit() {
        let metadata = json!({"name": "a", "namespace": "b", "annotations": {"big": "x".repeat(MAX_ANNOTATIONS)}});
        assert_eq!(
            lines(&metadata, true),
            ["metadata.annotations: Too long: may not be more than 262144 bytes"]
        );
    }

    #[test]
    fn one_controller() {
        let owner = |name: &str| json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name, "uid": name, "controller": true});
        let metadata = json!({"name": "a", "namespace": "b", "ownerReferences": [owner("x"), owner("y")]});
        let lines = lines(&metadata, true);
        assert_eq!(lines.len(), 1);
        assert!(
            lines[0].contains("Only one reference can have Controller set to true"),
            "{lines:?}"
        );
    }

    #[test]
    fn empty_objects_do_not_panic() {
        assert!(!super::metadata(&json!({}), true, NameRule::DnsLabel).is_empty());
        assert!(
            !super::metadata(
                &json!({"metadata": {"labels": [], "finalizers": [1]}}),
                false,
                NameRule::DnsLabel
            )
            .is_empty()
        );
    }
}
