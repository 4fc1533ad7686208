//! Rights that an installation once needed.

use serde_json::{Value, json};

use super::{NAME, RBAC};

/// Of the bindings that a cluster has, those of the operator in `namespace` that are not among its `manifests`, each after its role: what to delete,
/// in this order. The role goes first, so that whoever is interrupted finds the binding again.
///
/// What the cluster has is looked at and not what the last installation was told: rights that an interrupted change left behind, or a Deployment that
/// is gone, are found as well.
pub fn obsolete(bindings: &[Value], namespace: &str, manifests: &[Value]) -> Vec<Value> {
    let is_wanted = |binding: &Value| manifests.iter().any(|wanted| is_same(wanted, binding));
    (bindings.iter())
        .filter(|binding| is_made_here(binding, namespace) && !is_wanted(binding))
        .flat_map(|binding| ["/roleRef/kind", "/kind"].map(|kind| reference(binding.pointer(kind), binding)))
        .collect()
}

fn reference(kind: Option<&Value>, binding: &Value) -> Value {
    let mut metadata = json!({"name": binding["metadata"]["name"]});
    if let Some(namespace) = binding["metadata"].get("namespace") {
        metadata["namespace"] = namespace.clone();
    }
    json!({"apiVersion": format!("{RBAC}/v1"), "kind": kind, "metadata": metadata})
}

/// One that [`manifests`](super::manifests) made for the operator of that namespace: a role of the same name, bound to its account and nobody else. A
/// binding that a person made for it, to `view` say, is not one, whatever its labels are.
fn is_made_here(binding: &Value, namespace: &str) -> bool {
    let text = |pointer: &str| binding.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let account = json!([{"kind": "ServiceAccount", "name": NAME, "namespace": namespace}]);
    binding["subjects"] == account
        && text("/roleRef/name") == text("/metadata/name")
        && text("/metadata/name").starts_with(NAME)
        && format!("{}Binding", text("/roleRef/kind")) == text("/kind")
}

fn is_same(a: &Value, b: &Value) -> bool {
    ["/kind", "/metadata/name", "/metadata/namespace"]
        .iter()
        .all(|pointer| a.pointer(pointer) == b.pointer(pointer))
}

#[cfg(test)]
mod tests {
    use super::super::{Options, manifests};
    use super::*;

    fn installed(watch: &[&str]) -> Vec<Value> {
        manifests(&Options {
            watch_namespaces: watch.iter().map(|name| (*name).to_owned()).collect(),
            crds: false,
            ..Options::default()
        })
    }

    fn bindings(manifests: &[Value]) -> Vec<Value> {
        let is_binding = |m: &&Value| m["kind"].as_str().is_some_and(|kind| kind.ends_with("Binding"));
        manifests.iter().filter(is_binding).cloned().collect()
    }

    fn names(all: &[Value]) -> Vec<String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (all.iter())
            .map(|m| {
                format!(
                    "{} {}/{}",
                    text(&m["kind"]),
                    text(&m["metadata"]["namespace"]),
                    text(&m["metadata"]["name"])
                )
            })
            .collect()
    }

    /// What a change from one list of namespaces to another takes away.
    fn taken(before: &[&str], after: &[&str]) -> Vec<String> {
        names(&obsolete(
            &bindings(&installed(before)),
            super::super::NAMESPACE,
            &installed(after),
        ))
    }

    #[test]
    fn a_list_takes_the_rights_on_all_namespaces_away() {
        let wide = [
            "ClusterRole /pgop-operator-pgop-system",
            "ClusterRoleBinding /pgop-operator-pgop-system",
        ];
        assert_eq!(taken(&[], &["shop"]), wide);
    }

    #[test]
    fn another_list_takes_the_rights_on_those_that_are_not_in_it_away() {
        let bank = [
            "Role bank/pgop-operator-pgop-system",
            "RoleBinding bank/pgop-operator-pgop-system",
        ];
        assert_eq!(taken(&["bank", "shop"], &["shop", "zoo"]), bank);
        assert_eq!(taken(&["bank", "shop"], &["bank", "shop"]), [""; 0]);
    }

    #[test]
    fn all_namespaces_take_the_rights_on_single_ones_away() {
        let both = ["bank", "shop"]
            .map(|ns| ["Role", "RoleBinding"].map(|kind| format!("{kind} {ns}/pgop-operator-pgop-system")));
        assert_eq!(taken(&["bank", "shop"], &[]), both.concat());
    }

    #[test]
    fn rights_on_the_definitions_go_when_somebody_else_makes_them() {
        let with_crds = manifests(&Options::default());
        let taken = names(&obsolete(
            &bindings(&with_crds),
            super::super::NAMESPACE,
            &installed(&[]),
        ));
        let crds = [
            "ClusterRole /pgop-operator-pgop-system-crds",
            "ClusterRoleBinding /pgop-operator-pgop-system-crds",
        ];
        assert_eq!(taken, crds);
    }

    #[test]
    fn what_others_bound_stays() {
        let mut others = bindings(&manifests(&Options {
            namespace: "elsewhere".to_owned(),
            ..Options::default()
        }));
        let mut by_hand = bindings(&installed(&[])).remove(0);
        by_hand["roleRef"]["name"] = "cluster-admin".into();
        others.push(by_hand);
        let mut shared = bindings(&installed(&[])).remove(0);
        shared["subjects"]
            .as_array_mut()
            .unwrap()
            .push(json!({"kind": "User", "name": "ann"}));
        others.push(shared);
        assert_eq!(names(&obsolete(&others, super::super::NAMESPACE, &[])), [""; 0]);
    }
}
