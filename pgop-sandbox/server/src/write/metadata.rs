//! What the server says of an object, whatever its kind: names, times, uid, generation, and when a deletion is done.

use pgop_sandbox_schema::Cause;
use rand::seq::IndexedRandom as _;
use serde_json::{Map, Value};

use crate::call::Call;
use crate::resource::Resource;
use crate::status::{ApiError, Result};

/// The namespace and name of the path, which those in the object may not contradict.
pub(super) fn place(call: &Call, object: &mut Value) -> Result<()> {
    let Some(metadata) = object["metadata"].as_object_mut() else {
        return Ok(());
    };
    let namespace = &call.path.namespace;
    let given = metadata.get("namespace").and_then(Value::as_str).unwrap_or_default();
    if call.resource.namespaced {
        if !given.is_empty() && given != namespace {
            return Err(ApiError::bad_request(format!(
                "the namespace of the provided object does not match the namespace sent on the request ({given} != {namespace})"
            )));
        }
        metadata.insert("namespace".into(), namespace.as_str().into());
    } else {
        metadata.remove("namespace");
    }
    let name = &call.path.name;
    if !name.is_empty() {
        let given = metadata.get("name").and_then(Value::as_str).unwrap_or_default();
        if !given.is_empty() && given != name {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({given}) does not match the name on the URL ({name})"
            )));
        }
        metadata.insert("name".into(), name.as_str().into());
    }
    Ok(())
}

/// The name of a new object, made up when asked for.
pub(super) fn name(object: &mut Value) -> Result<String> {
    const LONGEST_PREFIX: usize = 58;
    let given = object["metadata"]["name"].as_str().unwrap_or_default();
    if !given.is_empty() {
        return Ok(given.to_owned());
    }
    let prefix = object["metadata"]["generateName"].as_str().unwrap_or_default();
    if prefix.is_empty() {
        let kind = object["kind"].as_str().unwrap_or_default();
        let group = object["apiVersion"]
            .as_str()
            .and_then(|version| version.split_once('/'))
            .map_or("", |(group, _)| group);
        let cause = Cause::required("metadata.name", "name or generateName is required");
        return Err(ApiError::invalid_kind(group, kind, "", &[cause]));
    }
    let prefix: String = prefix.chars().take(LONGEST_PREFIX).collect();
    let name = format!("{prefix}{}", random_suffix());
    object["metadata"]["name"] = name.clone().into();
    Ok(name)
}

/// Five letters and digits that spell no words.
pub(crate) fn random_suffix() -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut random = rand::rng();
    (0..5)
        .filter_map(|_| LETTERS.choose(&mut random))
        .map(|&letter| char::from(letter))
        .collect()
}

pub(crate) fn now() -> String {
    pgop_sandbox_tasks::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// What the server alone says of a new object.
pub(super) fn begin(resource: &Resource, object: &mut Value) {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for field in [
            "resourceVersion",
            "selfLink",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
        ] {
            metadata.remove(field);
        }
        metadata.insert("uid".into(), uuid::Uuid::new_v4().to_string().into());
        metadata.insert("creationTimestamp".into(), now().into());
        if resource.counts_generation {
            metadata.insert("generation".into(), 1.into());
        }
    }
    // A node tells of itself when it registers.
    if resource.has_status
        && !resource.is("", "nodes")
        && let Some(fields) = object.as_object_mut()
    {
        fields.remove("status");
    }
}

/// Takes from the old object what the request can't change.
pub(super) fn carry_over(resource: &Resource, subresource: &str, old: &Value, new: &mut Value) {
    if subresource == "status" {
        let status = new.get("status").cloned();
        let metadata = new["metadata"].take();
        *new = old.clone();
        put(new, "status", status);
        put(
            &mut new["metadata"],
            "managedFields",
            metadata.get("managedFields").cloned(),
        );
        // Built-in kinds keep only the spec from a write of the status; of the metadata, custom ones take nothing
        // (<https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#status-subresource>).
        if resource.custom.is_none() {
            for field in ["labels", "annotations", "finalizers"] {
                put(&mut new["metadata"], field, metadata.get(field).cloned());
            }
        }
        return;
    }
    if resource.has_status {
        put(new, "status", old.get("status").cloned());
    }
    for field in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "resourceVersion",
        "selfLink",
    ] {
        put(&mut new["metadata"], field, old["metadata"].get(field).cloned());
    }
    if new["metadata"].get("managedFields").is_none() {
        put(
            &mut new["metadata"],
            "managedFields",
            old["metadata"].get("managedFields").cloned(),
        );
    }
}

/// Sets a field, or takes it away.
pub(crate) fn put(object: &mut Value, field: &str, value: Option<Value>) {
    let Some(fields) = object.as_object_mut() else { return };
    match value {
        Some(value) => fields.insert(field.into(), value),
        None => fields.remove(field),
    };
}

/// What counts as the desired state: of custom resources everything that is not status or metadata.
pub(super) fn count_generation(resource: &Resource, old: &Value, new: &mut Value) {
    if !resource.counts_generation {
        return;
    }
    let changed = if resource.custom.is_some() {
        fn desired<'a>(resource: &Resource, object: &'a Value) -> Map<String, Value> {
            let fields: &'a Map<String, Value> = match object.as_object() {
                Some(fields) => fields,
                None => return Map::new(),
            };
            let told =
                |name: &str| name == "metadata" || name == "apiVersion" || (name == "status" && resource.has_status);
            fields
                .iter()
                .filter(|(name, _)| !told(name))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect()
        }
        desired(resource, old) != desired(resource, new)
    } else {
        // Annotations of a Deployment are copied to its replica sets.
        let annotations = |object: &Value| object["metadata"].get("annotations").cloned();
        old.get("spec") != new.get("spec")
            || (resource.is("apps", "deployments") && annotations(old) != annotations(new))
    };
    if changed {
        let generation = old["metadata"]["generation"].as_i64().unwrap_or(0);
        new["metadata"]["generation"] = (generation + 1).into();
    }
}

/// Whether a write would change nothing. Times at which managers last wrote don't count.
pub(super) fn same(old: &Value, new: &Value) -> bool {
    let bare = |object: &Value| {
        let mut object = object.clone();
        for entry in object["metadata"]
            .get_mut("managedFields")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            put(entry, "time", None);
        }
        object
    };
    old == new || bare(old) == bare(new)
}

/// Whether a deleted object has nothing more that holds it.
pub(crate) fn is_done_for(resource: &Resource, object: &Value) -> bool {
    let metadata = &object["metadata"];
    let held = |list: &Value| list.as_array().is_some_and(|list| !list.is_empty());
    metadata.get("deletionTimestamp").is_some_and(|time| !time.is_null())
        && metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
        && !held(&metadata["finalizers"])
        && !(resource.is("", "namespaces") && held(&object["spec"]["finalizers"]))
}
