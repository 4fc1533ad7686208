//! What people may do with the resources: two roles that Kubernetes adds to its own `view`, `edit` and `admin`.
//!
//! Whoever may create a `PgCluster` may run an image of their choice in the namespace, and hand it any Secret, claim and service account of it. That is
//! what `edit` allows there anyway; it is nothing for `view`.

use serde_json::{Value, json};

use super::{RBAC, metadata};
use crate::crd;
use crate::owner::ResourceKind;

const READ: [&str; 3] = ["get", "list", "watch"];
const WRITE: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];

/// The roles, whose names begin with `name`. Nobody is bound to them: aggregation is what gives them to people.
pub(super) fn roles(name: &str) -> [Value; 2] {
    let kinds = ResourceKind::ALL.map(ResourceKind::plural);
    let status = kinds.map(|kind| format!("{kind}/status"));
    let scale = format!("{}/scale", ResourceKind::PgCluster.plural());
    let rule =
        |resources: Value, verbs: &[&str]| json!({"apiGroups": [crd::GROUP], "resources": resources, "verbs": verbs});
    [
        role(
            &format!("{name}-view"),
            &["view", "edit", "admin"],
            &[rule(json!(kinds), &READ), rule(json!(status), &["get"])],
        ),
        role(
            &format!("{name}-edit"),
            &["edit", "admin"],
            &[
                rule(json!(kinds), &WRITE),
                rule(json!([scale]), &["get", "update", "patch"]),
            ],
        ),
    ]
}

fn role(name: &str, added_to: &[&str], rules: &[Value]) -> Value {
    let mut metadata = metadata(name, None);
    for role in added_to {
        metadata["labels"][format!("{RBAC}/aggregate-to-{role}")] = "true".into();
    }
    json!({"apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRole", "metadata": metadata, "rules": rules})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_views_changes_nothing_and_whoever_edits_has_every_verb_of_every_kind() {
        let [view, edit] = roles("pgop-operator-pgop-system");
        for rule in view["rules"].as_array().unwrap() {
            for verb in rule["verbs"].as_array().unwrap() {
                assert!(READ.contains(&verb.as_str().unwrap()), "{rule}");
            }
        }
        assert_eq!(
            edit["rules"][0]["resources"],
            json!(["pgdatabases", "pgclusters", "pgbackups"])
        );
        assert_eq!(edit["rules"][0]["verbs"], json!(WRITE));
        assert_eq!(edit["rules"][1]["resources"], json!(["pgclusters/scale"]));
        // What a status says, only the operator writes.
        assert!(!edit["rules"].to_string().contains("status"), "{edit}");
    }

    #[test]
    fn kubernetes_adds_them_to_its_own_roles() {
        let added_to = |role: &Value| -> Vec<String> {
            let labels = role["metadata"]["labels"].as_object().unwrap().keys();
            labels
                .filter_map(|key| {
                    key.strip_prefix("rbac.authorization.k8s.io/aggregate-to-")
                        .map(str::to_owned)
                })
                .collect()
        };
        let [view, edit] = roles("x");
        assert_eq!(added_to(&view), ["admin", "edit", "view"]);
        assert_eq!(added_to(&edit), ["admin", "edit"]);
    }
}
