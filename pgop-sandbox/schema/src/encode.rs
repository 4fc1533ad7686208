//! Objects of built-in types as Kubernetes writes them after it has read them into Go structs.

use serde_json::Value;

use crate::{
    node::{Kind, Node},
    quantity,
};

/// Lists that Go writes when they are empty, too: `rules` of roles.
const KEPT: [&str; 1] = ["rules"];

/// Quantities in their canonical form, and no empty maps and lists.
pub(crate) fn normalize(node: &Node, value: &mut Value) {
    if node.is_quantity() {
        if let Some(text) = quantity::canonical(value) {
            *value = text.into();
        }
        return;
    }
    match value {
        Value::Object(fields) => {
            fields.retain(|name, value| {
                let Some(field) = node.field(name) else { return true };
                normalize(field, value);
                let kept = node.checks.required.contains(name) || KEPT.contains(&name.as_str());
                // Entries of maps are data, whatever they hold.
                kept || !node.properties.contains_key(name) || !is_left_out(field, value)
            });
        }
        Value::Array(items) => {
            if let Some(node) = node.items.as_deref() {
                for item in items {
                    normalize(node, item);
                }
            }
        }
        _ => {}
    }
}

/// Empty maps and lists are not written; structs are, as their presence says something: `emptyDir: {}`.
fn is_left_out(node: &Node, value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty() && node.kind == Kind::Array,
        Value::Object(entries) => entries.is_empty() && node.additional.is_some() && node.properties.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::Schema;

    fn normalized(group: &str, kind: &str, mut object: Value) -> Value {
        Schema::built_in(group, "v1", kind)
            .expect("served")
            .normalize(&mut object);
        object
    }

    #[test]
    fn quantities_are_canonical() {
        let pod = |limits: Value| json!({"spec": {"containers": [{"resources": {"limits": limits}}]}});
        assert_eq!(
            normalized("", "Pod", pod(json!({"cpu": 1, "memory": "1024Mi"}))),
            pod(json!({"cpu": "1", "memory": "1Gi"}))
        );
    }

    #[test]
    fn what_is_empty_is_left_out_unless_it_says_something() {
        assert_eq!(
            normalized(
                "",
                "ConfigMap",
                json!({"metadata": {"name": "a", "labels": {}, "finalizers": []}, "data": {}})
            ),
            json!({"metadata": {"name": "a"}})
        );
        let pod = json!({"spec": {
            "containers": [{"name": "a", "args": [], "env": [{"name": "A", "value": ""}], "resources": {}}],
            "nodeSelector": {}, "securityContext": {}, "volumes": [{"name": "v", "emptyDir": {}}],
        }});
        let kept = json!({"spec": {
            "containers": [{"name": "a", "env": [{"name": "A", "value": ""}], "resources": {}}],
            "securityContext": {}, "volumes": [{"name": "v", "emptyDir": {}}],
        }});
        assert_eq!(normalized("", "Pod", pod), kept);
        let policy = json!({"spec": {"podSelector": {}, "ingress": [{}], "policyTypes": ["Ingress"]}});
        assert_eq!(normalized("networking.k8s.io", "NetworkPolicy", policy.clone()), policy);
        let role = json!({"rules": []});
        assert_eq!(normalized("rbac.authorization.k8s.io", "Role", role.clone()), role);
        let set = json!({"spec": {"selector": {}, "serviceName": ""}});
        assert_eq!(normalized("apps", "StatefulSet", set.clone()), set);
    }
}
