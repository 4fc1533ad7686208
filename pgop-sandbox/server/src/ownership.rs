//! Who set which field: `metadata.managedFields`, and server-side apply with it.

use pgop_sandbox_schema::apply::{self, ApplyError, Manager};
use pgop_sandbox_schema::strategic;
use serde_json::Value;

use crate::call::Call;
use crate::resource::Resource;
use crate::status::{ApiError, Result};
use crate::write::Options;

/// Writes down what a manager has changed.
pub(crate) fn track(resource: &Resource, before: Option<&Value>, after: &mut Value, manager: &str, subresource: &str) {
    let api_version = resource.api_version();
    apply::track(
        &resource.schema,
        before,
        after,
        &said(manager, &api_version, subresource),
    );
}

/// Server-side apply: <https://kubernetes.io/docs/reference/using-api/server-side-apply/>.
pub(crate) fn apply(
    call: &Call,
    live: Option<&Value>,
    config: &Value,
    options: &Options,
    force: bool,
) -> Result<Value> {
    let api_version = call.resource.api_version();
    let given = config["apiVersion"].as_str().unwrap_or_default();
    if !given.is_empty() && given != api_version {
        return Err(ApiError::bad_request(format!(
            "invalid object type: {}{given}, Kind={}",
            if given.contains('/') { "" } else { "/" },
            call.resource.kind
        )));
    }
    let manager = said(&options.manager, &api_version, &call.path.subresource);
    apply::apply(&call.resource.schema, live, config, &manager, force).map_err(|error| match &error {
        ApplyError::Conflicts(conflicts) => {
            let causes = conflicts
                .iter()
                .map(|conflict| (conflict.field.as_str(), format!("conflict with {}", conflict.owner())));
            ApiError::apply_conflicts(error.to_string(), causes)
        }
        ApplyError::Undeclared(_) => {
            let path = &call.path;
            let kind = &call.resource.kind;
            let name = if path.namespace.is_empty() {
                path.name.clone()
            } else {
                format!("{}/{}", path.namespace, path.name)
            };
            ApiError::unclassified(format!(
                "failed to create typed patch object ({name}; {api_version}, Kind={kind}): {error}"
            ))
        }
        _ => ApiError::bad_request(error.to_string()),
    })
}

/// A strategic merge patch: <https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/>.
pub(crate) fn strategic(resource: &Resource, live: &Value, patch: &Value) -> Result<Value> {
    strategic::merge(&resource.schema, live, patch).map_err(|error| ApiError::bad_request(error.to_string()))
}

fn said<'a>(name: &'a str, api_version: &'a str, subresource: &'a str) -> Manager<'a> {
    let subresource = Some(subresource).filter(|subresource| !subresource.is_empty());
    Manager {
        name,
        api_version,
        subresource,
        now: pgop_sandbox_tasks::now(),
    }
}
