//! The rules for roles and bindings: <https://kubernetes.io/docs/reference/access-authn-authz/rbac/>.

use serde_json::Value;

use super::{items, text};
use crate::Cause;
use crate::path;

/// A Role or (`of_cluster`) a `ClusterRole`.
pub(super) fn role(object: &Value, of_cluster: bool, causes: &mut Vec<Cause>) {
    for (at, rule) in items(object, "rules", "") {
        let is_empty = |field: &str| rule[field].as_array().is_none_or(Vec::is_empty);
        if is_empty("verbs") {
            causes.push(Cause::required(
                path::child(&at, "verbs"),
                "verbs must contain at least one value",
            ));
        }
        if !is_empty("nonResourceURLs") {
            let invalid =
                |detail: &str| Cause::invalid(path::child(&at, "nonResourceURLs"), &rule["nonResourceURLs"], detail);
            if !of_cluster {
                causes.push(invalid("namespaced rules cannot apply to non-resource URLs"));
            }
            if !(is_empty("apiGroups") && is_empty("resources") && is_empty("resourceNames")) {
                causes.push(invalid(
                    "rules cannot apply to both regular resources and non-resource URLs",
                ));
            }
            continue;
        }
        for (field, what) in [("apiGroups", "api group"), ("resources", "resource")] {
            if is_empty(field) {
                let detail = format!("resource rules must supply at least one {what}");
                causes.push(Cause::required(path::child(&at, field), &detail));
            }
        }
    }
}

/// A `RoleBinding` or `ClusterRoleBinding`.
pub(super) fn binding(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let role = &object["roleRef"];
    if !["Role", "ClusterRole"].contains(&text(role, "kind")) {
        causes.push(Cause::not_supported(
            "roleRef.kind",
            &role["kind"],
            &["ClusterRole", "Role"],
        ));
    }
    if text(role, "name").is_empty() {
        causes.push(Cause::required("roleRef.name", ""));
    }
    for (at, subject) in items(object, "subjects", "") {
        if text(subject, "name").is_empty() {
            causes.push(Cause::required(path::child(&at, "name"), ""));
        }
        match text(subject, "kind") {
            "ServiceAccount" if text(subject, "namespace").is_empty() => {
                causes.push(Cause::required(path::child(&at, "namespace"), ""));
            }
            "ServiceAccount" | "User" | "Group" => {}
            _ => causes.push(Cause::not_supported(
                path::child(&at, "kind"),
                &subject["kind"],
                &["Group", "ServiceAccount", "User"],
            )),
        }
    }
    if old.is_some_and(|old| old["roleRef"] != *role) {
        causes.push(Cause::invalid("roleRef", role, "cannot change roleRef"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::validation::lines;

    #[test]
    fn roles() {
        let told = |rule: Value, of_cluster| lines(|causes| role(&json!({"rules": [rule]}), of_cluster, causes));
        let good = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"]});
        assert_eq!(told(good, false), [""; 0]);
        assert_eq!(
            told(json!({}), true),
            [
                "rules[0].verbs: Required value: verbs must contain at least one value",
                "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
                "rules[0].resources: Required value: resource rules must supply at least one resource",
            ]
        );
        let paths = json!({"verbs": ["get"], "nonResourceURLs": ["/metrics"]});
        assert_eq!(told(paths.clone(), true), [""; 0]);
        assert_eq!(
            told(paths, false),
            [
                r#"rules[0].nonResourceURLs: Invalid value: ["/metrics"]: namespaced rules cannot apply to non-resource URLs"#
            ]
        );
    }

    #[test]
    fn bindings() {
        let subject = json!({"kind": "ServiceAccount", "name": "pgop", "namespace": "pgop"});
        let of =
            |role: &str, subject: &Value| json!({"roleRef": {"kind": "Role", "name": role}, "subjects": [subject]});
        let good = of("a", &subject);
        assert_eq!(lines(|causes| binding(&good, Some(&good), causes)), [""; 0]);
        let bad = of("b", &json!({"kind": "ServiceAccount", "name": "a"}));
        assert_eq!(
            lines(|causes| binding(&bad, Some(&good), causes)),
            [
                "subjects[0].namespace: Required value",
                r#"roleRef: Invalid value: {"kind":"Role","name":"b"}: cannot change roleRef"#,
            ]
        );
    }
}
