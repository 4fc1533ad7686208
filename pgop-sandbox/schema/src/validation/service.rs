use serde_json::Value;
use crate::Cause;
pub(super) fn service(_: &Value, _: Option<&Value>, _: &mut Vec<Cause>) {}
