//! From what a client sent to an object of the resource.

use serde_json::{Map, Value, json};

use super::options::UnknownFields;
use crate::resource::Resource;
use crate::status::{ApiError, Result};

/// How deep an object may be. What is stored is a little deeper, as `managedFields` repeats its fields, and is read again by a parser that takes 127.
const DEPTH: usize = 100;

/// Reads an object: it must be of the resource's kind; unknown fields go, defaults come.
pub(crate) fn decode(resource: &Resource, mut object: Value, unknown: UnknownFields) -> Result<(Value, Vec<String>)> {
    check_kind(resource, &mut object)?;
    if depth(&object) > DEPTH {
        return Err(ApiError::bad_request(format!(
            "the object is deeper than {DEPTH} levels"
        )));
    }
    if let Some(why) = resource.schema.mistyped(&object, &resource.kind) {
        return Err(unreadable(resource, &resource.kind, &resource.version, &why));
    }
    let mut warnings: Vec<String> = Vec::new();
    let dropped = resource.schema.prune(&mut object);
    if !dropped.is_empty() {
        let told = dropped.iter().map(|field| format!("unknown field \"{field}\""));
        match unknown {
            UnknownFields::Ignore => {}
            UnknownFields::Warn => warnings.extend(told),
            UnknownFields::Refuse => {
                let told: Vec<String> = told.collect();
                let error = format!("strict decoding error: {}", told.join(", "));
                return Err(if resource.custom.is_some() {
                    ApiError::bad_request(error)
                } else {
                    unreadable(resource, &resource.kind, &resource.version, &error)
                });
            }
        }
    }
    resource.schema.default(&mut object);
    resource.schema.normalize(&mut object);
    drop_empty(&mut object["metadata"]);
    if let Some(warning) = resource.custom.as_ref().and_then(|custom| custom.deprecation.clone()) {
        warnings.push(warning);
    }
    Ok((object, warnings))
}

fn depth(value: &Value) -> usize {
    let inner: &mut dyn Iterator<Item = &Value> = match value {
        Value::Array(items) => &mut items.iter(),
        Value::Object(fields) => &mut fields.values(),
        _ => return 0,
    };
    1 + inner.map(depth).max().unwrap_or(0)
}

/// What names the kind and version must name those of the resource.
fn check_kind(resource: &Resource, object: &mut Value) -> Result<()> {
    let expected = resource.api_version();
    let Some(fields) = object.as_object_mut() else {
        return Err(ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): it is no JSON object",
            resource.kind
        )));
    };
    for (field, expected) in [("kind", &resource.kind), ("apiVersion", &expected)] {
        let given = match fields.get(field) {
            Some(Value::String(text)) => Some(text.as_str()),
            None | Some(Value::Null) => None,
            Some(other) => {
                return Err(ApiError::bad_request(format!(
                    "couldn't get version/kind; json parse error: {field} is no text but {other}"
                )));
            }
        };
        match given {
            Some(given) if given == expected => {}
            None | Some("") if resource.custom.is_none() => {
                fields.insert(field.into(), expected.as_str().into());
            }
            None | Some("") => {
                let missing = if field == "kind" { "Kind" } else { "apiVersion" };
                return Err(ApiError::bad_request(format!(
                    "the object provided is unrecognized: Object '{missing}' is missing in '{}'",
                    Value::Object(fields.clone())
                )));
            }
            Some(_) if resource.custom.is_none() => return Err(other_kind(resource, fields)),
            Some(given) => {
                let what = if field == "kind" { "kind" } else { "API version" };
                return Err(ApiError::bad_request(format!(
                    "the {what} in the data ({given}) does not match the expected {what} ({expected})"
                )));
            }
        }
    }
    match fields.entry("metadata").or_insert_with(|| json!({})) {
        Value::Object(_) => Ok(()),
        null @ Value::Null => {
            *null = json!({});
            Ok(())
        }
        other => Err(ApiError::bad_request(format!(
            "metadata: Invalid value: {other}: must be an object"
        ))),
    }
}

/// The body is no object of the resource.
fn unreadable(resource: &Resource, kind: &str, version: &str, why: &str) -> Box<ApiError> {
    let expected = &resource.kind;
    ApiError::bad_request(format!(
        "{kind} in version \"{version}\" cannot be handled as a {expected}: {why}"
    ))
}

fn other_kind(resource: &Resource, fields: &Map<String, Value>) -> Box<ApiError> {
    let text = |field: &str| fields.get(field).and_then(Value::as_str).unwrap_or_default();
    let (kind, group_version) = (text("kind"), text("apiVersion"));
    let version = group_version.rsplit('/').next().unwrap_or_default();
    let expected = resource.api_version();
    let why = format!(
        "{kind:?} of {group_version:?} is not {:?} of {expected:?}",
        resource.kind
    );
    unreadable(resource, kind, version, &why)
}

/// Go leaves out what is empty in the metadata of any object.
fn drop_empty(metadata: &mut Value) {
    const FIELDS: [&str; 10] = [
        "annotations",
        "finalizers",
        "generateName",
        "labels",
        "managedFields",
        "namespace",
        "ownerReferences",
        "resourceVersion",
        "selfLink",
        "uid",
    ];
    let Some(fields) = metadata.as_object_mut() else { return };
    fields.retain(|name, value| {
        let empty = match &*value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(entries) => entries.is_empty(),
            _ => false,
        };
        !(empty && FIELDS.contains(&name.as_str()))
    });
}
