use serde_json::Value;
use crate::Cause;
pub(super) fn claim(_: &Value, _: Option<&Value>, _: &mut Vec<Cause>) {}
pub(super) fn volume(_: &Value, _: Option<&Value>, _: &mut Vec<Cause>) {}
pub(super) fn class(_: &Value, _: Option<&Value>, _: &mut Vec<Cause>) {}
