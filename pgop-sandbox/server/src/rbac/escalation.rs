//! Nobody gives rights that they don't have:
//! <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping>.

use serde_json::Value;

use super::rule::{Rule, quoted, uncovered};
use super::{GROUP, role_place, rules_for, rules_of};
use crate::access::{self, Attempt};
use crate::call::Call;
use crate::status::{ApiError, Result};

/// Before a role is written: its rules must be held by the writer, unless they may `escalate`.
pub(crate) fn check_role(call: &Call, old: Option<&Value>, role: &Value, name: &str) -> Result<()> {
    let same = |field: &str| old.is_some_and(|old| old.get(field) == role.get(field));
    if (same("rules") && same("aggregationRule"))
        || may(call, "escalate", &call.resource.plural, &call.path.namespace, name)
    {
        return Ok(());
    }
    if role["aggregationRule"].is_object() && !same("aggregationRule") {
        // The rules of any role may come to it.
        let everything = [
            serde_json::json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}),
            serde_json::json!({"verbs": ["*"], "nonResourceURLs": ["*"]}),
        ];
        let everything: Vec<Rule> = everything.iter().map(Rule::of).collect();
        if !uncovered(&held(call), &everything).is_empty() {
            let why = "must have cluster-admin privileges to use an aggregationRule";
            return Err(ApiError::forbidden(&call.resource, name, why));
        }
    }
    covered(call, &Rule::all_of(role), name)
}

/// Before a binding is written: the rules of its role must be held by the writer, unless they may `bind` it.
pub(crate) fn check_binding(call: &Call, old: Option<&Value>, binding: &Value, name: &str) -> Result<()> {
    let same = |field: &str| old.is_some_and(|old| old.get(field) == binding.get(field));
    let role = &binding["roleRef"];
    let role_name = role["name"].as_str().unwrap_or_default();
    let (plural, namespace) = role_place(role, &call.path.namespace);
    // A cluster role may be bound within a namespace by who may bind it there.
    if (same("subjects") && same("roleRef")) || may(call, "bind", plural, &call.path.namespace, role_name) {
        return Ok(());
    }
    let rules =
        rules_of(&call.state, role, namespace).ok_or_else(|| match call.state.catalog().find(GROUP, "v1", plural) {
            Some(resource) => ApiError::not_found(&resource, role_name),
            None => ApiError::unknown_path(),
        })?;
    covered(call, &rules, name)
}

fn may(call: &Call, verb: &str, plural: &str, namespace: &str, name: &str) -> bool {
    let attempt = Attempt {
        verb: verb.into(),
        group: GROUP.into(),
        resource: plural.into(),
        namespace: namespace.into(),
        name: name.into(),
        path: None,
    };
    access::allows(&call.state, &call.identity, &attempt).is_some()
}

/// The rules that hold for the writer where they write.
fn held(call: &Call) -> Vec<Rule> {
    rules_for(&call.state, &call.identity, &call.path.namespace)
}

fn covered(call: &Call, wanted: &[Rule], name: &str) -> Result<()> {
    let missing = uncovered(&held(call), wanted);
    if missing.is_empty() {
        return Ok(());
    }
    let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
    let why = format!(
        "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        call.identity.username,
        quoted(&call.identity.groups),
        missing.join("\n")
    );
    Err(ApiError::forbidden(&call.resource, name, &why))
}
