use serde_json::Value;
use crate::Cause;
pub(super) fn pod(_: &Value, _: Option<&Value>, _: &mut Vec<Cause>) {}
pub(super) fn template(_: &Value, _: &str, _: &mut Vec<Cause>) {}
