//! The objects that every cluster has from its start.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::call::Call;
use crate::rbac::defaults::{AUTO_UPDATE, defaults};
use crate::rbac::rule::{Rule, uncovered};
use crate::rbac::{GROUP, aggregation};
use crate::state::State;
use crate::status::{ApiError, Result};
use crate::store::Key;
use crate::write::{Failed, Options, Owners, UnknownFields, create_object, update_object};

/// Makes what is missing of them.
pub(crate) fn bootstrap(state: &Arc<State>) -> Result<()> {
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        ensure(state, "", "namespaces", "", json!({"metadata": {"name": name}}))?;
    }
    let labels = json!({"component": "apiserver", "provider": "kubernetes"});
    let service = json!({
        "metadata": {"name": "kubernetes", "labels": labels},
        "spec": {
            "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"],
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
        },
    });
    ensure(state, "", "services", "default", service)?;
    let (roles, bindings) = defaults().map_err(|error| ApiError::internal(&error))?;
    for role in roles {
        mend(state, "clusterroles", &role, "rules", missing_rules)?;
        ensure(state, GROUP, "clusterroles", "", role)?;
    }
    for binding in bindings {
        mend(state, "clusterrolebindings", &binding, "subjects", missing_items)?;
        ensure(state, GROUP, "clusterrolebindings", "", binding)?;
    }
    let roles = Call::internal(state, GROUP, "clusterroles", "")?;
    aggregation::aggregate(state, &roles.resource);
    Ok(())
}

fn options() -> Options {
    Options {
        dry_run: false,
        manager: "kube-apiserver".into(),
        unknown_fields: UnknownFields::Refuse,
    }
}

fn ensure(state: &Arc<State>, group: &str, plural: &str, namespace: &str, object: Value) -> Result<()> {
    let call = Call::internal(state, group, plural, namespace)?;
    let key = Key::new(namespace, object["metadata"]["name"].as_str().unwrap_or_default());
    if state.store.get(&call.resource.table, &key).is_some() {
        return Ok(());
    }
    create_object(&call, object, &options(), Owners::Track).map(drop)
}

/// Adds to a list of a default role or binding what was taken from it, or what it did not have when it was made:
/// <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#auto-reconciliation>.
fn mend(
    state: &Arc<State>,
    plural: &str,
    default: &Value,
    field: &str,
    missing: fn(&Value, &Value) -> Vec<Value>,
) -> Result<()> {
    let mut call = Call::internal(state, GROUP, plural, "")?;
    call.verb = "update";
    call.path.name = default["metadata"]["name"].as_str().unwrap_or_default().into();
    while let Some(stored) = state.store.get(&call.resource.table, &call.key()) {
        if stored.value()["metadata"]["annotations"][AUTO_UPDATE] == "false" {
            break;
        }
        let missing = missing(&stored.value()[field], &default[field]);
        if missing.is_empty() {
            break;
        }
        let mut mended = stored.value().clone();
        match mended.get_mut(field).and_then(Value::as_array_mut) {
            Some(list) => list.extend(missing),
            None => mended[field] = missing.into(),
        }
        match update_object(&call, &stored, mended, &options(), Owners::Track) {
            Err(Failed::Raced) => {}
            Err(Failed::Refused(error)) => return Err(error),
            Ok(_) => break,
        }
    }
    Ok(())
}

fn missing_rules(stored: &Value, default: &Value) -> Vec<Value> {
    let rules = |list: &Value| -> Vec<Rule> { list.as_array().into_iter().flatten().map(Rule::of).collect() };
    let missing = uncovered(&rules(stored), &rules(default));
    missing.iter().map(Rule::to_json).collect()
}

fn missing_items(stored: &Value, default: &Value) -> Vec<Value> {
    let stored = stored.as_array().map(Vec::as_slice).unwrap_or_default();
    let items = default.as_array().into_iter().flatten();
    items.filter(|item| !stored.contains(item)).cloned().collect()
}
