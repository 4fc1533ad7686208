//! patch: JSON patch, merge patch, strategic merge patch and server-side apply.

use http::{Response, StatusCode};
use serde_json::Value;

use crate::call::{Call, present};
use crate::request::{content_type, parse_json, parse_yaml};
use crate::response::Body;
use crate::status::{ApiError, Result};
use crate::write::{Failed, Options, Owners, answer, create_object, update_object};

/// A patch, read.
enum Patch {
    Json(json_patch::Patch),
    Merge(Value),
    Strategic(Value),
    Apply { config: Value, force: bool },
}

const MEDIA: &str = "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml";
const MEDIA_CUSTOM: &str = "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";

/// The most operations of a JSON patch, as Kubernetes has it.
const MOST_OPERATIONS: usize = 10_000;
/// The field that names the state a patch is for.
const REVISION: &str = "/metadata/resourceVersion";

/// `PATCH` of an object or of its status.
pub(crate) fn patch(call: &Call, body: &[u8]) -> Result<Response<Body>> {
    let options = Options::of(call)?;
    let patch = Patch::read(call, body)?;
    loop {
        let stored = match call.stored() {
            Ok(stored) => stored,
            Err(error) => {
                let Patch::Apply { config, .. } = &patch else {
                    return Err(error);
                };
                if !call.path.subresource.is_empty() {
                    return Err(error);
                }
                match apply_new(call, config, &options) {
                    Err(Failed::Raced) => continue,
                    Err(Failed::Refused(error)) => return Err(error),
                    Ok(response) => return Ok(response),
                }
            }
        };
        let old = present(&call.resource, stored.value());
        let (new, owners) = patch.apply(call, &old, &options)?;
        // A patch names the state it is for only by naming its revision; what it takes over from the object does not.
        let new = if patch.names_revision() {
            new
        } else {
            without_revision(new)
        };
        match update_object(call, &stored, new, &options, owners) {
            Err(Failed::Raced) => {}
            Err(Failed::Refused(error)) => return Err(error),
            Ok(written) => return Ok(answer(call, StatusCode::OK, &written)),
        }
    }
}

fn without_revision(mut object: Value) -> Value {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("resourceVersion");
    }
    object
}

/// Applies to nothing: a create.
fn apply_new(call: &Call, config: &Value, options: &Options) -> Result<Response<Body>, Failed> {
    call.require("create")?;
    if config["metadata"]["resourceVersion"]
        .as_str()
        .is_some_and(|revision| !revision.is_empty() && revision != "0")
    {
        return Err(ApiError::modified(&call.resource, &call.path.name).into());
    }
    if !config["metadata"]["uid"].as_str().unwrap_or_default().is_empty() {
        return Err(ApiError::conflict(
            &call.resource,
            &call.path.name,
            "Precondition failed: UID in precondition",
        )
        .into());
    }
    let applied = crate::ownership::apply(call, None, config, options, false)?;
    match create_object(call, applied, options, Owners::Applied) {
        Ok(written) => Ok(answer(call, StatusCode::CREATED, &written)),
        Err(error) if error.is_exists() => Err(Failed::Raced),
        Err(error) => Err(error.into()),
    }
}

impl Patch {
    fn read(call: &Call, body: &[u8]) -> Result<Self> {
        let custom = call.resource.custom.is_some();
        let forced = call.query.get("force").is_some();
        let media = content_type(&call.headers);
        if forced && !media.starts_with("application/apply-patch") {
            return Err(ApiError::invalid_kind(
                "meta.k8s.io",
                "PatchOptions",
                "",
                &[pgop_sandbox_schema::Cause::forbidden(
                    "force",
                    "may not be specified for non-apply patch",
                )],
            ));
        }
        match media {
            "application/json-patch+json" => {
                let patch: json_patch::Patch = serde_json::from_slice(body)
                    .map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))?;
                if patch.len() > MOST_OPERATIONS {
                    return Err(ApiError::too_large(MOST_OPERATIONS));
                }
                Ok(Self::Json(patch))
            }
            "application/merge-patch+json" => Ok(Self::Merge(object(parse_json(body)?)?)),
            "application/strategic-merge-patch+json" if !custom => Ok(Self::Strategic(object(parse_json(body)?)?)),
            "application/apply-patch+yaml" | "application/apply-patch" | "application/apply-patch+json" => {
                if call.query.get("fieldManager").is_none() {
                    let cause = pgop_sandbox_schema::Cause::required("fieldManager", "is required for apply patch");
                    return Err(ApiError::invalid_kind("meta.k8s.io", "PatchOptions", "", &[cause]));
                }
                let config = object(parse_yaml(body)?)?;
                if config["metadata"]
                    .get("managedFields")
                    .is_some_and(|managed| !managed.is_null())
                {
                    return Err(ApiError::bad_request("metadata.managedFields must be nil"));
                }
                Ok(Self::Apply {
                    config,
                    force: call.query.flag("force"),
                })
            }
            _ => Err(ApiError::unsupported_media(if custom { MEDIA_CUSTOM } else { MEDIA })),
        }
    }

    fn names_revision(&self) -> bool {
        match self {
            Self::Json(patch) => patch.iter().any(|operation| {
                operation.path() == REVISION && !matches!(operation, json_patch::PatchOperation::Test(_))
            }),
            Self::Merge(patch) | Self::Strategic(patch) | Self::Apply { config: patch, .. } => {
                patch["metadata"]["resourceVersion"]
                    .as_str()
                    .is_some_and(|revision| !revision.is_empty())
            }
        }
    }

    fn apply(&self, call: &Call, old: &Value, options: &Options) -> Result<(Value, Owners)> {
        match self {
            Self::Json(patch) => {
                let mut new = old.clone();
                json_patch::patch(&mut new, patch).map_err(|_| ApiError::unprocessable())?;
                Ok((new, Owners::Track))
            }
            Self::Merge(patch) => {
                let mut new = old.clone();
                json_patch::merge(&mut new, patch);
                Ok((new, Owners::Track))
            }
            Self::Strategic(patch) => Ok((crate::ownership::strategic(&call.resource, old, patch)?, Owners::Track)),
            Self::Apply { config, force } => Ok((
                crate::ownership::apply(call, Some(old), config, options, *force)?,
                Owners::Applied,
            )),
        }
    }
}

fn object(value: Value) -> Result<Value> {
    if value.is_object() {
        Ok(value)
    } else {
        Err(ApiError::bad_request("error decoding patch: it is no JSON object"))
    }
}
