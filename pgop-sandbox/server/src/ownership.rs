//! Who set which field: `metadata.managedFields`.

use serde_json::Value;

use crate::call::Call;
use crate::resource::Resource;
use crate::status::Result;
use crate::write::Options;

/// Writes down what a manager has changed.
pub(crate) fn track(_resource: &Resource, _before: Option<&Value>, _after: &mut Value, _manager: &str, _subresource: &str) {}
pub(crate) fn apply(_call: &Call, live: Option<&Value>, config: &Value, _options: &Options, _force: bool) -> Result<Value> {
    let mut new = live.cloned().unwrap_or(serde_json::json!({}));
    json_patch::merge(&mut new, config);
    Ok(new)
}
pub(crate) fn strategic(_resource: &Resource, live: &Value, patch: &Value) -> Result<Value> {
    let mut new = live.clone();
    json_patch::merge(&mut new, patch);
    Ok(new)
}
