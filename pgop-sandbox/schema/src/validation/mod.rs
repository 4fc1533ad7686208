//! Rules of Kubernetes that no schema can say: names, uniqueness, references within an object, and what may not change.

mod config;
mod definition;
mod event;
mod immutable;
mod labels;
mod metadata;
mod names;
mod pod;
mod roles;
mod service;
mod storage;
mod workload;

use serde_json::{Map, Value};

pub use metadata::{finalizers, metadata};
pub use names::{NameRule, label_value, qualified_name};

use crate::Cause;

/// The rules of a built-in type beyond its schema. With `old` also those about the change from it to `object`.
///
/// Both must have passed [`crate::Schema::validate`]: values of a wrong type are passed over here. Types without own rules, and
/// types that are not built in, have no violations.
pub fn built_in(group: &str, kind: &str, object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    match (group, kind) {
        ("", "Event") => event::core(object, &mut causes),
        ("events.k8s.io", "Event") => event::event(object, old, &mut causes),
        ("", "Pod") => pod::pod(object, old, &mut causes),
        ("", "PodTemplate") => pod::template(&object["template"], "template", &mut causes),
        ("", "Service") => service::service(object, old, &mut causes),
        ("", "ConfigMap") => config::config_map(object, old, &mut causes),
        ("", "Secret") => config::secret(object, old, &mut causes),
        ("", "PersistentVolumeClaim") => storage::claim(object, old, &mut causes),
        ("", "PersistentVolume") => storage::volume(object, old, &mut causes),
        ("storage.k8s.io", "StorageClass") => storage::class(object, old, &mut causes),
        ("apps", "Deployment") => workload::deployment(object, old, &mut causes),
        ("apps", "ReplicaSet") => workload::replica_set(object, old, &mut causes),
        ("apps", "DaemonSet") => workload::daemon_set(object, old, &mut causes),
        ("apps", "StatefulSet") => workload::stateful_set(object, old, &mut causes),
        ("apps", "ControllerRevision") => workload::controller_revision(object, old, &mut causes),
        ("batch", "Job") => workload::job(object, old, &mut causes),
        ("batch", "CronJob") => workload::cron_job(object, old, &mut causes),
        ("policy", "PodDisruptionBudget") => config::disruption_budget(object, old, &mut causes),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => {
            roles::binding(object, old, &mut causes);
        }
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => {
            roles::role(object, kind == "ClusterRole", &mut causes);
        }
        ("coordination.k8s.io", "Lease") => config::lease(object, &mut causes),
        ("scheduling.k8s.io", "PriorityClass") => config::priority_class(object, old, &mut causes),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition::definition(object, old, &mut causes),
        _ => {}
    }
    causes
}

/// The items of a list with their paths.
fn items<'a>(object: &'a Value, list: &str, at: &str) -> Vec<(String, &'a Value)> {
    let at = crate::path::child(at, list);
    let items = object
        .get(list)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .enumerate();
    items
        .map(|(number, item)| (crate::path::index(&at, number), item))
        .collect()
}

/// The entries of a map.
fn entries<'a>(object: &'a Value, map: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    object.get(map).and_then(Value::as_object).into_iter().flatten()
}

/// A text field; empty when it is missing.
fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// A field that must not be negative.
fn not_negative(object: &Value, field: &str, at: &str, causes: &mut Vec<Cause>) {
    if let Some(value) = object
        .get(field)
        .filter(|value| value.as_i64().is_some_and(|number| number < 0))
    {
        causes.push(Cause::invalid(
            crate::path::child(at, field),
            value,
            "must be greater than or equal to 0",
        ));
    }
}

/// A copy of an object without some fields.
fn without(object: &Value, fields: &[&str]) -> Map<String, Value> {
    let mut kept = object.as_object().cloned().unwrap_or_default();
    kept.retain(|name, _| !fields.contains(&name.as_str()));
    kept
}

/// What a check says, a line each.
#[cfg(test)]
fn lines(check: impl Fn(&mut Vec<Cause>)) -> Vec<String> {
    let mut causes = Vec::new();
    check(&mut causes);
    causes.iter().map(ToString::to_string).collect()
}
