//! Cluster roles whose rules are those of others:
//! <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#aggregated-clusterroles>.

use serde_json::{Value, json};

use super::table;
use crate::ownership;
use crate::resource::Resource;
use crate::selector::LabelSelector;
use crate::state::State;
use crate::store::{Expect, Objects};

/// Who writes the rules, as Kubernetes calls it.
const MANAGER: &str = "clusterrole-aggregation-controller";

/// Brings the rules of all aggregated roles up to date. Kubernetes has a controller for it, a moment later.
pub(crate) fn aggregate(state: &State, clusterroles: &Resource) {
    let table = table("clusterroles");
    loop {
        let (_, all) = state.store.list(&table);
        // A role that was written may be part of others: once more after each round that changed something.
        let mut changed = false;
        for (key, role) in &all {
            let Some(rules) = collected(role.value(), &all) else {
                continue;
            };
            if role.value()["rules"].as_array().map(Vec::as_slice).unwrap_or_default() == rules {
                continue;
            }
            let mut new = role.value().clone();
            new["rules"] = Value::Array(rules);
            ownership::track(clusterroles, Some(role.value()), &mut new, MANAGER, "");
            // Where another write came first, its own round does it.
            changed |= state
                .store
                .put(&table, key, Expect::Revision(role.revision), new)
                .is_ok();
        }
        if !changed {
            return;
        }
    }
}

/// The rules of all roles that an aggregated one selects, each once. None: it is no aggregated one.
fn collected(role: &Value, all: &Objects) -> Option<Vec<Value>> {
    let selectors = role["aggregationRule"]["clusterRoleSelectors"].as_array()?;
    let mut rules: Vec<Value> = Vec::new();
    for selector in selectors {
        let Ok(selector) = LabelSelector::of_object(selector) else {
            continue;
        };
        for part in all.values().filter(|part| selector.matches(part.value())) {
            if part.value()["metadata"]["name"] == role["metadata"]["name"] {
                continue;
            }
            for rule in part.value()["rules"].as_array().into_iter().flatten() {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
    }
    Some(rules)
}

/// The selector by which the role `admin` finds its parts.
pub(super) fn rule(name: &str) -> Value {
    json!({"clusterRoleSelectors": [{"matchLabels": {(label(name)): "true"}}]})
}

/// The label of the parts of a role for people.
pub(super) fn label(name: &str) -> String {
    format!("{}/aggregate-to-{name}", super::GROUP)
}
