//! Custom resource definitions: they are served as soon as they are written.

use serde_json::{Value, json};

use crate::catalog::DEFINITIONS;
use crate::state::State;
use crate::status::{ApiError, Result};
use crate::store::{Expect, Key, WriteError};
use crate::write::{now, put};

/// Held by a definition until all its objects are gone.
const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

pub(super) fn create(definition: &mut Value) {
    complete(definition);
    let stored = storage_version(definition);
    definition["status"] = json!({"conditions": [], "storedVersions": [stored]});
    accept(definition);
    let finalizers = &mut definition["metadata"]["finalizers"];
    match finalizers.as_array_mut() {
        Some(list) if list.iter().any(|name| name == CLEANUP) => {}
        Some(list) => list.push(CLEANUP.into()),
        None => *finalizers = json!([CLEANUP]),
    }
}

pub(super) fn update(old: &Value, new: &mut Value) {
    complete(new);
    put(new, "status", new.get("status").or(old.get("status")).cloned());
    let stored = storage_version(new);
    match new["status"]["storedVersions"].as_array_mut() {
        Some(versions) if versions.contains(&stored) => {}
        Some(versions) => versions.push(stored),
        None => new["status"]["storedVersions"] = json!([stored]),
    }
    accept(new);
}

/// The names that follow from the kind.
fn complete(definition: &mut Value) {
    let names = &mut definition["spec"]["names"];
    let kind = names["kind"].as_str().unwrap_or_default().to_owned();
    if names["singular"].as_str().unwrap_or_default().is_empty() {
        names["singular"] = kind.to_lowercase().into();
    }
    if names["listKind"].as_str().unwrap_or_default().is_empty() {
        names["listKind"] = format!("{kind}List").into();
    }
    if definition["spec"]["conversion"].is_null() {
        definition["spec"]["conversion"] = json!({"strategy": "None"});
    }
}

fn storage_version(definition: &Value) -> Value {
    let versions = definition["spec"]["versions"].as_array();
    let storage = versions
        .into_iter()
        .flatten()
        .find(|version| version["storage"] == true);
    storage.map(|version| version["name"].clone()).unwrap_or_default()
}

/// The names are accepted, and the objects served.
fn accept(definition: &mut Value) {
    let names = definition["spec"]["names"].clone();
    let status = &mut definition["status"];
    status["acceptedNames"] = names;
    set_condition(status, "NamesAccepted", "True", "NoConflicts", "no conflicts found");
    set_condition(
        status,
        "Established",
        "True",
        "InitialNamesAccepted",
        "the initial names have been accepted",
    );
}

fn set_condition(status: &mut Value, kind: &str, value: &str, reason: &str, message: &str) {
    let condition =
        json!({"type": kind, "status": value, "reason": reason, "message": message, "lastTransitionTime": now()});
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    let Some(conditions) = status["conditions"].as_array_mut() else {
        return;
    };
    match conditions.iter_mut().find(|condition| condition["type"] == kind) {
        Some(same) if same["status"] == value => {}
        Some(other) => *other = condition,
        None => conditions.push(condition),
    }
}

/// Deletes all objects of a definition that is being deleted, and the definition when there are none.
pub(super) fn remove_instances(state: &State, definition: &Value) -> Result<()> {
    let name = definition["metadata"]["name"].as_str().unwrap_or_default();
    let table = format!(
        "{}.{}",
        definition["spec"]["names"]["plural"].as_str().unwrap_or_default(),
        definition["spec"]["group"].as_str().unwrap_or_default()
    );
    let (_, objects) = state.store.list(&table);
    for key in objects.keys() {
        remove_instance(state, &table, key)?;
    }
    finish_deletion(state, name);
    Ok(())
}

/// Deletes an object, or marks it where finalizers hold it; again when another write comes between.
fn remove_instance(state: &State, table: &str, key: &Key) -> Result<()> {
    while let Some(object) = state.store.get(table, key) {
        let mut marked = object.value().clone();
        let metadata = &mut marked["metadata"];
        let held = metadata["finalizers"].as_array().is_some_and(|list| !list.is_empty());
        if held && metadata.get("deletionTimestamp").is_some() {
            break;
        }
        metadata["deletionTimestamp"] = now().into();
        metadata["deletionGracePeriodSeconds"] = 0.into();
        let written = if held {
            state.store.put(table, key, Expect::Revision(object.revision), marked)
        } else {
            state.store.remove(table, key, object.revision, None)
        };
        match written {
            Err(WriteError::Changed) => {}
            Err(WriteError::Journal(error)) => return Err(ApiError::internal(&error)),
            Ok(_) | Err(WriteError::Missing | WriteError::Exists) => break,
        }
    }
    Ok(())
}

/// Lets go of a definition that is being deleted when the last of its objects is gone.
pub(super) fn finish_deletion(state: &State, name: &str) {
    let key = Key::new("", name);
    // Another writer may come between: then its state is looked at again.
    while let Some(stored) = state.store.get(DEFINITIONS, &key) {
        let spec = &stored.value()["spec"];
        let table = format!(
            "{}.{}",
            spec["names"]["plural"].as_str().unwrap_or_default(),
            spec["group"].as_str().unwrap_or_default()
        );
        if stored.value()["metadata"].get("deletionTimestamp").is_none() || !state.store.list(&table).1.is_empty() {
            return;
        }
        let mut definition = stored.value().clone();
        if let Some(list) = definition["metadata"]["finalizers"].as_array_mut() {
            list.retain(|name| name != CLEANUP);
        }
        let metadata = &definition["metadata"];
        let done = metadata["finalizers"].as_array().is_none_or(Vec::is_empty);
        let written = if done {
            state.store.remove(DEFINITIONS, &key, stored.revision, None)
        } else {
            state
                .store
                .put(DEFINITIONS, &key, Expect::Revision(stored.revision), definition)
        };
        match written {
            Err(WriteError::Changed) => {}
            _ => break,
        }
    }
    state.renew_catalog();
}
