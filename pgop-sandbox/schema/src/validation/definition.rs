//! The rules for `CustomResourceDefinitions`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    immutable, items,
    names::{dns_1035_label, dns_subdomain},
    text,
};
use crate::{Cause, path, structural};

/// A `CustomResourceDefinition`, its schemas included.
pub(super) fn definition(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    let [group, plural] = [text(spec, "group"), text(&spec["names"], "plural")];
    let name = object.pointer("/metadata/name").unwrap_or(&Value::Null);
    if *name != format!("{plural}.{group}") {
        causes.push(Cause::invalid(
            "metadata.name",
            name,
            "must be spec.names.plural+\".\"+spec.group",
        ));
    }
    if group.is_empty() {
        causes.push(Cause::required("spec.group", ""));
    } else if !group.contains('.') {
        causes.push(Cause::invalid(
            "spec.group",
            &json!(group),
            "should be a domain with at least one dot",
        ));
    } else {
        causes.extend(
            dns_subdomain(group)
                .iter()
                .map(|problem| Cause::invalid("spec.group", &json!(group), problem)),
        );
    }
    approval(object, group, causes);
    names(&spec["names"], causes);
    versions(spec, causes);
    if text(&spec["conversion"], "strategy") == "Webhook" && spec["conversion"].get("webhook").is_none() {
        causes.push(Cause::required(
            "spec.conversion.webhook",
            "required when strategy is set to Webhook",
        ));
    }
    if let Some(old) = old {
        for field in ["spec.group", "spec.scope", "spec.names.plural", "spec.names.kind"] {
            immutable::field(object, old, field, causes);
        }
    }
}

/// Groups that only Kubernetes itself gives out need to say who allowed it:
/// <https://kubernetes.io/docs/reference/labels-annotations-taints/#api-approved-kubernetes-io>.
fn approval(object: &Value, group: &str, causes: &mut Vec<Cause>) {
    const ANNOTATION: &str = "api-approved.kubernetes.io";
    let of = |domain: &str| group == domain || group.ends_with(&format!(".{domain}"));
    if !(of("k8s.io") || of("kubernetes.io")) {
        return;
    }
    let at = path::key("metadata.annotations", ANNOTATION);
    let value = &object["metadata"]["annotations"][ANNOTATION];
    let problem = match value.as_str() {
        Some(text) if text.starts_with("https://") || text.starts_with("unapproved") => return,
        None | Some("") => {
            let detail = format!("protected groups must have approval annotation {ANNOTATION:?}");
            Cause::required(at, &detail)
        }
        Some(_) => {
            let detail = "protected groups must have approval annotation with either a URL or a reason starting with \"unapproved\"";
            Cause::invalid(at, value, detail)
        }
    };
    causes.push(problem);
}

fn names(names: &Value, causes: &mut Vec<Cause>) {
    for field in ["plural", "singular", "kind", "listKind"] {
        let name = text(names, field);
        let at = path::child("spec.names", field);
        if name.is_empty() {
            causes.push(Cause::required(at, ""));
            continue;
        }
        let problems = dns_1035_label(&name.to_lowercase());
        causes.extend(
            problems
                .iter()
                .map(|problem| Cause::invalid(&*at, &json!(name), problem)),
        );
    }
    if !text(names, "kind").is_empty() && names["kind"] == names["listKind"] {
        causes.push(Cause::invalid(
            "spec.names.listKind",
            &names["listKind"],
            "kind and listKind may not be the same",
        ));
    }
}

fn versions(spec: &Value, causes: &mut Vec<Cause>) {
    let versions = items(spec, "versions", "spec");
    let mut seen = BTreeSet::new();
    for (at, version) in &versions {
        let name = text(version, "name");
        let problems = dns_1035_label(name);
        causes.extend(
            problems
                .iter()
                .map(|problem| Cause::invalid(path::child(at, "name"), &json!(name), problem)),
        );
        if !seen.insert(name) {
            causes.push(Cause::invalid(
                "spec.versions",
                &spec["versions"],
                "must contain unique version names",
            ));
        }
        let at = path::child(at, "schema");
        match version.pointer("/schema/openAPIV3Schema") {
            None => causes.push(Cause::required(
                path::child(&at, "openAPIV3Schema"),
                "schemas are required",
            )),
            Some(schema) => {
                let found = structural::check(schema).into_iter();
                causes.extend(found.map(|cause| Cause {
                    field: path::child(&at, &cause.field),
                    ..cause
                }));
            }
        }
    }
    let stored = versions
        .iter()
        .filter(|(_, version)| version.get("storage") == Some(&json!(true)))
        .count();
    if stored != 1 {
        let names: Vec<&str> = versions.iter().map(|(_, version)| text(version, "name")).collect();
        let detail = "must have exactly one version marked as storage version";
        causes.push(Cause::invalid("spec.versions", &json!(names), detail));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protected_groups_need_approval() {
        let told = |group: &str, annotation: Value| {
            let object = json!({"metadata": {"annotations": {"api-approved.kubernetes.io": annotation}}});
            let mut causes = Vec::new();
            approval(&object, group, &mut causes);
            causes.len()
        };
        assert_eq!(told("pgop.dev", Value::Null), 0);
        assert_eq!(told("notk8s.io", Value::Null), 0);
        assert_eq!(told("x.k8s.io", Value::Null), 1);
        assert_eq!(told("kubernetes.io", json!("because")), 1);
        assert_eq!(told("x.k8s.io", json!("unapproved, a test")), 0);
        assert_eq!(
            told("x.k8s.io", json!("https://github.com/kubernetes/kubernetes/pull/1")),
            0
        );
    }

    fn crd() -> Value {
        json!({"metadata": {"name": "databases.pgop.dev"}, "spec": {
            "group": "pgop.dev", "scope": "Namespaced",
            "names": {"plural": "databases", "singular": "database", "kind": "Database", "listKind": "DatabaseList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}],
        }})
    }

    fn lines(object: &Value, old: Option<&Value>) -> Vec<String> {
        let mut causes = Vec::new();
        definition(object, old, &mut causes);
        causes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_good_definition() {
        assert_eq!(lines(&crd(), Some(&crd())), [""; 0]);
    }

    #[test]
    fn what_can_be_wrong() {
        let changed = |pointer: &str, value: Value| {
            let mut crd = crd();
            *crd.pointer_mut(pointer).expect("there") = value;
            lines(&crd, None)
        };
        assert_eq!(
            changed("/metadata/name", json!("database.pgop.dev")),
            [r#"metadata.name: Invalid value: "database.pgop.dev": must be spec.names.plural+"."+spec.group"#]
        );
        assert_eq!(
            changed("/spec/versions/0/storage", json!(false)),
            [r#"spec.versions: Invalid value: ["v1"]: must have exactly one version marked as storage version"#]
        );
        assert_eq!(
            changed("/spec/versions/0/schema", json!({})),
            ["spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required"]
        );
        assert_eq!(
            changed(
                "/spec/versions/0/schema/openAPIV3Schema",
                json!({"type": "object", "properties": {"spec": {}}})
            ),
            [
                "spec.versions[0].schema.openAPIV3Schema.properties[spec].type: Required value: must not be empty for specified object fields"
            ]
        );
        assert_eq!(changed("/spec/names/kind", json!("DatabaseList")).len(), 1);
    }

    #[test]
    fn what_it_is_about_stays() {
        let mut other = crd();
        other["spec"]["scope"] = json!("Cluster");
        assert_eq!(
            lines(&other, Some(&crd())),
            [r#"spec.scope: Invalid value: "Cluster": field is immutable"#]
        );
    }
}
