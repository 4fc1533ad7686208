//! The scale subresource: how many replicas, whatever the kind.

use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::call::{Call, present};
use crate::jsonpath;
use crate::request::{Form, content_type, parse_body, parse_json};
use crate::resource::{Resource, Scale};
use crate::response::Body;
use crate::selector::LabelSelector;
use crate::status::{ApiError, Result};
use crate::write::{Failed, Options, Owners, Written, answer, update_object};

/// `GET`, `PUT` and `PATCH` of a scale.
pub(crate) fn scale(call: &Call, body: &[u8]) -> Result<Response<Body>> {
    let scale = call.resource.scale.as_ref().ok_or_else(ApiError::unknown_path)?;
    loop {
        let stored = call.stored()?;
        let object = present(&call.resource, stored.value());
        let current = scale_of(&call.resource, scale, &object);
        let wanted = match call.verb {
            "get" => {
                return Ok(answer(
                    call,
                    StatusCode::OK,
                    &Written {
                        object: current,
                        warnings: Vec::new(),
                    },
                ));
            }
            "update" => parse_body(&call.headers, body)?,
            _ => patched(call, &current, body)?,
        };
        let replicas = wanted["spec"]["replicas"].as_i64().unwrap_or(0);
        if replicas < 0 {
            let cause = pgop_sandbox_schema::Cause::invalid(
                "spec.replicas",
                &replicas.into(),
                "must be greater than or equal to 0",
            );
            return Err(ApiError::invalid_kind(
                "autoscaling",
                "Scale",
                &call.path.name,
                &[cause],
            ));
        }
        let mut new = object.clone().into_owned();
        jsonpath::set(&mut new, &scale.spec_replicas, replicas.into());
        match wanted["metadata"]["resourceVersion"]
            .as_str()
            .filter(|revision| !revision.is_empty())
        {
            Some(revision) if call.verb == "update" => new["metadata"]["resourceVersion"] = revision.into(),
            _ => crate::write::put(&mut new["metadata"], "resourceVersion", None),
        }
        match update_object(call, &stored, new, &Options::of(call)?, Owners::Track) {
            Err(Failed::Raced) => {}
            Err(Failed::Refused(error)) => return Err(error),
            Ok(written) => {
                let object = scale_of(&call.resource, scale, &written.object);
                return Ok(answer(call, StatusCode::OK, &Written { object, ..written }));
            }
        }
    }
}

fn patched(call: &Call, current: &Value, body: &[u8]) -> Result<Value> {
    let mut new = current.clone();
    let media = content_type(&call.headers);
    match media {
        "application/json-patch+json" => {
            let patch: json_patch::Patch = serde_json::from_slice(body)
                .map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))?;
            json_patch::patch(&mut new, &patch).map_err(|_| ApiError::unprocessable())?;
        }
        "application/merge-patch+json" | "application/strategic-merge-patch+json" => {
            json_patch::merge(&mut new, &parse_json(body)?);
        }
        "application/apply-patch+yaml" => json_patch::merge(&mut new, &crate::request::parse_yaml(body)?),
        _ => {
            return Err(ApiError::unsupported_media(
                "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
            ));
        }
    }
    Ok(new)
}

fn scale_of(resource: &Resource, scale: &Scale, object: &Value) -> Value {
    let metadata = &object["metadata"];
    let mut status = json!({"replicas": jsonpath::first(object, &scale.status_replicas).unwrap_or_else(|| 0.into())});
    let selector = match (&scale.selector, resource.custom.is_some()) {
        (Some(path), _) => jsonpath::first(object, path),
        (None, true) => None,
        (None, false) => LabelSelector::of_object(&object["spec"]["selector"])
            .ok()
            .map(|selector| selector.to_string().into()),
    };
    crate::write::put(&mut status, "selector", selector);
    let mut spec = json!({});
    crate::write::put(&mut spec, "replicas", jsonpath::first(object, &scale.spec_replicas));
    let mut told = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        crate::write::put(&mut told, field, metadata.get(field).cloned());
    }
    json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": told, "spec": spec, "status": status})
}

/// The form of answers for a scale: a table of it makes no sense.
pub(crate) fn form(form: Form) -> Form {
    if form == Form::Table { Form::Whole } else { form }
}
