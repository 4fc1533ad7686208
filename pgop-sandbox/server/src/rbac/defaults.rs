//! The roles and bindings that every cluster has, from `defaults.yaml`.

use serde_json::{Value, json};

use super::{GROUP, aggregation};

/// What Kubernetes marks them with: the label, and the annotation of those that it mends at each start.
const LABEL: &str = "kubernetes.io/bootstrapping";
/// A default role or binding whose value of this is `false` stays as its owner left it.
pub(crate) const AUTO_UPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// The cluster roles, and their bindings, as they are created.
pub(crate) fn defaults() -> Result<(Vec<Value>, Vec<Value>), serde_saphyr::Error> {
    let defaults: Value = serde_saphyr::from_str(include_str!("defaults.yaml"))?;
    let all = |list: &str, form: fn(&Value) -> Value| {
        let items = defaults[list].as_array().into_iter().flatten();
        items.map(form).collect()
    };
    Ok((all("roles", role), all("bindings", binding)))
}

fn metadata(name: &Value) -> Value {
    json!({"name": name, "labels": {(LABEL): "rbac-defaults"}, "annotations": {(AUTO_UPDATE): "true"}})
}

fn role(entry: &Value) -> Value {
    let mut role = json!({"metadata": metadata(&entry["name"]), "rules": entry["rules"]});
    if let Some(whole) = entry["partOf"].as_str() {
        role["metadata"]["labels"][aggregation::label(whole)] = "true".into();
    }
    if entry["aggregates"] == true {
        role["aggregationRule"] = aggregation::rule(entry["name"].as_str().unwrap_or_default());
        role["rules"] = json!([]);
    }
    role
}

fn binding(entry: &Value) -> Value {
    let groups = entry["groups"].as_array().into_iter().flatten();
    let subjects: Vec<Value> = groups
        .map(|group| json!({"apiGroup": GROUP, "kind": "Group", "name": group}))
        .collect();
    json!({
        "metadata": metadata(&entry["name"]),
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": entry["name"]},
        "subjects": subjects,
    })
}

#[cfg(test)]
mod tests {
    use super::super::rule::Rule;

    #[test]
    fn every_default_role_has_rules_or_parts() {
        let (roles, bindings) = super::defaults().unwrap();
        for role in &roles {
            let parts = Rule::all_of(role);
            let complete = |rule: &Rule| !rule.verbs.is_empty() && (rule.paths.is_empty() != rule.resources.is_empty());
            assert!(parts.iter().all(complete), "{role}");
            assert_eq!(parts.is_empty(), role["aggregationRule"].is_object(), "{role}");
        }
        for binding in &bindings {
            assert!(
                roles
                    .iter()
                    .any(|role| role["metadata"]["name"] == binding["roleRef"]["name"]),
                "{binding}"
            );
        }
    }
}
