//! What is peculiar to kinds: what the server fills in and what it does besides storing. One file for each kind that takes more than a line.

mod claim;
pub(crate) mod definition;
pub(crate) mod event;
mod job;
mod namespace;
mod pod;
mod service;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::call::Call;
use crate::rbac::{self, escalation};
use crate::resource::Resource;
use crate::state::State;
use crate::status::{ApiError, Result};
use crate::store::Key;
use pgop_sandbox_schema::validation::{self, NameRule};
use pgop_sandbox_schema::{Cause, Schema};

/// Whether objects of it get an address, or ports, that no other may have.
pub(crate) fn needs_address(resource: &Resource) -> bool {
    resource.is("", "services")
}

/// The namespace that must exist for an object to be made.
pub(crate) fn required_namespace<'a>(resource: &Resource, namespace: &'a str) -> Option<&'a str> {
    resource.namespaced.then_some(namespace)
}

/// Nothing new comes into a namespace that does not exist or is being deleted.
pub(crate) fn check_namespace(call: &Call, namespace: &str, name: &str) -> Result<()> {
    let namespaces = call
        .state
        .catalog()
        .find("", "v1", "namespaces")
        .ok_or_else(ApiError::unknown_path)?;
    let Some(stored) = call.state.store.get(&namespaces.table, &Key::new("", namespace)) else {
        return Err(ApiError::not_found(&namespaces, namespace));
    };
    if stored.value()["metadata"].get("deletionTimestamp").is_some() {
        return Err(ApiError::terminating(&call.resource, name, namespace));
    }
    Ok(())
}

/// Whether an update may leave out the revision it is made upon.
pub(crate) fn allows_unconditional_update(resource: &Resource) -> bool {
    !matches!(
        resource.built_in(),
        None | Some((
            "apiextensions.k8s.io" | "coordination.k8s.io" | "policy" | "discovery.k8s.io",
            _
        ))
    )
}

/// Brings an object that was read into the form in which it is kept.
pub(crate) fn normalize(resource: &Resource, object: &mut Value) {
    if resource.is("", "secrets")
        && let Some(Value::Object(texts)) = object.as_object_mut().and_then(|fields| fields.remove("stringData"))
    {
        for (key, text) in texts {
            object["data"][key] = STANDARD.encode(text.as_str().unwrap_or_default()).into();
        }
    }
}

/// Fills in what the server decides of a new object.
pub(crate) fn create(call: &Call, object: &mut Value, name: &str) -> Result<()> {
    match call.resource.built_in() {
        Some(("", "namespaces")) => namespace::create(object),
        Some(("", "pods")) => pod::create(call, object, name)?,
        Some(("", "services")) => service::create(call, object, name)?,
        Some(("", "persistentvolumeclaims")) => claim::create(call, object),
        Some(("", "persistentvolumes")) => {
            object["status"] = json!({"phase": "Pending"});
            claim::protect(object, "kubernetes.io/pv-protection");
        }
        Some(("batch", "jobs")) => job::create(object),
        Some(("apiextensions.k8s.io", "customresourcedefinitions")) => definition::create(object),
        Some((rbac::GROUP, "roles" | "clusterroles")) => escalation::check_role(call, None, object, name)?,
        Some((rbac::GROUP, _)) => escalation::check_binding(call, None, object, name)?,
        Some(("apps", "statefulsets" | "replicasets")) => object["status"] = json!({"replicas": 0}),
        Some(("apps", "daemonsets")) => {
            object["status"] = json!({
                "currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0,
            });
        }
        Some(("policy", "poddisruptionbudgets")) => {
            object["status"] =
                json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0});
        }
        Some((_, "nodes")) | None => {}
        Some(_) if call.resource.has_status => object["status"] = json!({}),
        Some(_) => {}
    }
    Ok(())
}

/// Keeps what can't be changed, and fills in what follows from a change.
pub(crate) fn update(call: &Call, old: &Value, new: &mut Value) -> Result<()> {
    let (name, subresource) = (call.path.name.as_str(), call.path.subresource.as_str());
    match call.resource.built_in() {
        Some(("", "namespaces")) => namespace::update(subresource, old, new),
        Some(("", "pods")) => pod::update(subresource, old, new),
        Some(("", "services")) if subresource.is_empty() => service::update(call, old, new, name)?,
        Some(("", "persistentvolumeclaims")) if subresource.is_empty() => claim::update(call, old, new, name)?,
        Some(("apiextensions.k8s.io", "customresourcedefinitions")) => definition::update(old, new),
        Some((rbac::GROUP, "roles" | "clusterroles")) => escalation::check_role(call, Some(old), new, name)?,
        Some((rbac::GROUP, _)) => escalation::check_binding(call, Some(old), new, name)?,
        _ => {}
    }
    Ok(())
}

/// What is wrong with an object.
pub(crate) fn validate(resource: &Resource, object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = validation::metadata(object, resource.namespaced, name_rule(resource));
    if resource
        .built_in()
        .is_some_and(|(group, _)| group != "apiextensions.k8s.io")
    {
        causes.extend(validation::finalizers(object));
    }
    if let Some(old) = old {
        causes.extend(new_finalizers(object, old));
    }
    let shape = resource.schema.validate(object, old);
    // Further rules only make sense of objects of the right shape.
    let is_shaped = shape.is_empty();
    causes.extend(shape);
    if is_shaped && resource.custom.is_none() {
        causes.extend(validation::built_in(&resource.group, &resource.kind, object, old));
    }
    if is_shaped && resource.is("apiextensions.k8s.io", "customresourcedefinitions") {
        causes.extend(definition_schemas(object));
    }
    causes
}

fn name_rule(resource: &Resource) -> NameRule {
    match resource.built_in() {
        Some(("", "namespaces" | "services")) => NameRule::DnsLabel,
        Some(("rbac.authorization.k8s.io", _)) => NameRule::PathSegment,
        _ => NameRule::DnsSubdomain,
    }
}

/// What is being deleted can't be held by more than before.
fn new_finalizers(object: &Value, old: &Value) -> Option<Cause> {
    if old["metadata"].get("deletionTimestamp").is_none_or(Value::is_null) {
        return None;
    }
    let list = |object: &Value| object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    let before = list(old);
    let added: Vec<String> = list(object)
        .iter()
        .filter(|name| !before.contains(name))
        .map(|name| format!("{name}"))
        .collect();
    let detail = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
        added.join(", ")
    );
    (!added.is_empty()).then(|| Cause::forbidden("metadata.finalizers", &detail))
}

/// The schemas of all versions of a definition.
fn definition_schemas(definition: &Value) -> Vec<Cause> {
    let versions = definition["spec"]["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate();
    versions
        .filter_map(|(index, version)| Some((index, version.get("schema")?.get("openAPIV3Schema")?)))
        .flat_map(|(index, schema)| {
            let causes = Schema::from_crd(schema).err().unwrap_or_default();
            causes.into_iter().map(move |cause| {
                let field = format!("spec.versions[{index}].schema.{}", cause.field);
                Cause {
                    field: field.trim_end_matches('.').to_owned(),
                    ..cause
                }
            })
        })
        .collect()
}

/// Whether the object may be deleted at all.
pub(crate) fn check_delete(call: &Call, object: &Value) -> Result<()> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    if call.resource.is("", "namespaces") && matches!(name, "default" | "kube-system" | "kube-public") {
        return Err(ApiError::forbidden(
            &call.resource,
            name,
            "this namespace may not be deleted",
        ));
    }
    Ok(())
}

/// After any write of an object of the resource.
pub(crate) fn written(state: &State, resource: &Resource) {
    if resource.is("apiextensions.k8s.io", "customresourcedefinitions") {
        state.renew_catalog();
    }
    if resource.is(rbac::GROUP, "clusterroles") {
        rbac::aggregation::aggregate(state, resource);
    }
}

/// After an object was marked as deleted and waits.
pub(crate) fn marked(call: &Call, object: &Value) -> Result<()> {
    if call.resource.is("apiextensions.k8s.io", "customresourcedefinitions") {
        definition::remove_instances(&call.state, object)?;
    }
    Ok(())
}

/// After an object has gone.
pub(crate) fn removed(state: &State, resource: &Resource) {
    // Whether its definition is being deleted is asked of the store: it may be so only since the request began.
    if let Some(custom) = &resource.custom {
        definition::finish_deletion(state, &custom.definition);
    }
}
