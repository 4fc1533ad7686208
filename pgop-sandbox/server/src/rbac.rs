//! Which rules hold for somebody: roles and their bindings. <https://kubernetes.io/docs/reference/access-authn-authz/rbac/>

pub(crate) mod aggregation;
pub(crate) mod defaults;
pub(crate) mod escalation;
pub(crate) mod rule;

use serde_json::Value;

use crate::access::Attempt;
use crate::identity::Identity;
use crate::state::State;
use crate::store::Key;
use rule::Rule;

/// The API group of roles and bindings.
pub(crate) const GROUP: &str = "rbac.authorization.k8s.io";

/// The table of a resource of the group.
fn table(plural: &str) -> String {
    format!("{plural}.{GROUP}")
}

/// A binding that names somebody.
struct Grant {
    /// For the answer to who asks why something is allowed.
    reason: String,
    rules: Vec<Rule>,
}

/// The bindings that name somebody, those of all namespaces and those of one.
fn grants(state: &State, identity: &Identity, namespace: &str) -> Vec<Grant> {
    let mut grants = Vec::new();
    for (plural, kind, within) in [
        ("clusterrolebindings", "ClusterRoleBinding", ""),
        ("rolebindings", "RoleBinding", namespace),
    ] {
        if kind == "RoleBinding" && namespace.is_empty() {
            continue;
        }
        let (_, bindings) = state.store.list(&table(plural));
        for (key, binding) in bindings.iter().filter(|(key, _)| key.namespace == within) {
            let mut subjects = binding.value()["subjects"].as_array().into_iter().flatten();
            let Some(subject) = subjects.find_map(|subject| name_of(subject, identity)) else {
                continue;
            };
            let role = &binding.value()["roleRef"];
            let place = if within.is_empty() {
                key.name.clone()
            } else {
                format!("{}/{within}", key.name)
            };
            let (role_kind, role_name) = (
                role["kind"].as_str().unwrap_or_default(),
                role["name"].as_str().unwrap_or_default(),
            );
            grants.push(Grant {
                reason: format!("RBAC: allowed by {kind} {place:?} of {role_kind} {role_name:?} to {subject}"),
                rules: rules_of(state, role, namespace).unwrap_or_default(),
            });
        }
    }
    grants
}

/// Why somebody may do something. None: they may not.
pub(crate) fn reason(state: &State, identity: &Identity, attempt: &Attempt) -> Option<String> {
    grants(state, identity, &attempt.namespace)
        .into_iter()
        .find(|grant| grant.rules.iter().any(|rule| rule.permits(attempt)))
        .map(|grant| grant.reason)
}

/// The rules that hold for somebody in a namespace.
pub(crate) fn rules_for(state: &State, identity: &Identity, namespace: &str) -> Vec<Rule> {
    let grants = grants(state, identity, namespace).into_iter();
    grants.flat_map(|grant| grant.rules).collect()
}

/// The rules of the role that a binding in the namespace refers to. None: there is no such role.
fn rules_of(state: &State, role: &Value, namespace: &str) -> Option<Vec<Rule>> {
    let name = role["name"].as_str().unwrap_or_default();
    let (plural, namespace) = role_place(role, namespace);
    let stored = state.store.get(&table(plural), &Key::new(namespace, name))?;
    Some(Rule::all_of(stored.value()))
}

/// Where the role of a `roleRef` is: its resource and namespace.
fn role_place<'a>(role: &Value, namespace: &'a str) -> (&'static str, &'a str) {
    if role["kind"] == "Role" {
        ("roles", namespace)
    } else {
        ("clusterroles", "")
    }
}

/// How messages call the subject, if it is somebody.
fn name_of(subject: &Value, identity: &Identity) -> Option<String> {
    let name = subject["name"].as_str().unwrap_or_default();
    match subject["kind"].as_str()? {
        "User" => (identity.username == name).then(|| format!("User {name:?}")),
        "Group" => identity
            .groups
            .iter()
            .any(|group| group == name)
            .then(|| format!("Group {name:?}")),
        "ServiceAccount" => {
            let namespace = subject["namespace"].as_str().unwrap_or_default();
            let is = identity.username == format!("system:serviceaccount:{namespace}:{name}");
            is.then(|| format!("ServiceAccount \"{name}/{namespace}\""))
        }
        _ => None,
    }
}
