//! What is peculiar to kinds: what the server fills in and what it does besides storing. One file for each kind that takes more than a line.

pub(crate) mod definition;
pub(crate) mod event;
mod namespace;

use serde_json::Value;

use crate::call::Call;
use crate::resource::Resource;
use crate::schema::Cause;
use crate::state::State;
use crate::status::{ApiError, Result};
use crate::store::Key;

/// Whether objects of it get an address that no other may have.
pub(crate) fn needs_address(resource: &Resource) -> bool {
    resource.is("", "services")
}

/// The namespace that must exist for an object to be made.
pub(crate) fn required_namespace<'a>(resource: &Resource, namespace: &'a str) -> Option<&'a str> {
    resource.namespaced.then_some(namespace)
}

/// Nothing new comes into a namespace that does not exist or is being deleted.
pub(crate) fn check_namespace(call: &Call, namespace: &str, name: &str) -> Result<()> {
    let namespaces = call.state.catalog().find("", "v1", "namespaces").ok_or_else(ApiError::unknown_path)?;
    let Some(stored) = call.state.store.get(&namespaces.table, &Key::new("", namespace)) else {
        return Err(ApiError::not_found(&namespaces, namespace));
    };
    if stored.value["metadata"].get("deletionTimestamp").is_some() {
        return Err(ApiError::terminating(&call.resource, name, namespace));
    }
    Ok(())
}

/// Whether an update may leave out the revision it is made upon.
pub(crate) fn allows_unconditional_update(resource: &Resource) -> bool {
    !matches!(
        resource.built_in(),
        None | Some(("apiextensions.k8s.io", _) | ("coordination.k8s.io", _) | ("policy", _) | ("discovery.k8s.io", _))
    )
}

/// Fills in what the server decides of a new object.
pub(crate) fn create(call: &Call, object: &mut Value, _name: &str) -> Result<()> {
    match call.resource.built_in() {
        Some(("", "namespaces")) => namespace::create(object),
        Some(("apiextensions.k8s.io", "customresourcedefinitions")) => definition::create(object),
        _ => {}
    }
    Ok(())
}

/// Keeps what can't be changed, and fills in what follows from a change.
pub(crate) fn update(call: &Call, old: &Value, new: &mut Value) -> Result<()> {
    match call.resource.built_in() {
        Some(("", "namespaces")) => namespace::update(&call.path.subresource, old, new),
        Some(("apiextensions.k8s.io", "customresourcedefinitions")) => definition::update(old, new),
        _ => {}
    }
    Ok(())
}

/// What is wrong with an object.
pub(crate) fn validate(resource: &Resource, object: &Value, old: Option<&Value>) -> Vec<Cause> {
    resource.schema.validate(object, old)
}

/// Whether the object may be deleted at all.
pub(crate) fn check_delete(_call: &Call, _object: &Value) -> Result<()> {
    Ok(())
}

/// After any write of an object of the resource.
pub(crate) fn written(state: &State, resource: &Resource) {
    if resource.is("apiextensions.k8s.io", "customresourcedefinitions") {
        state.renew_catalog();
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
    if let Some(custom) = resource.custom.as_ref().filter(|custom| custom.terminating) {
        definition::finish_deletion(state, &custom.definition);
    }
}
