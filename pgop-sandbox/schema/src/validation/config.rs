use serde_json::Value;
use crate::Cause;
pub(super) fn config_map(_: &Value, _: Option<&Value>, _: &mut Vec<Cause>) {}
pub(super) fn secret(_: &Value, _: Option<&Value>, _: &mut Vec<Cause>) {}
pub(super) fn disruption_budget(_: &Value, _: Option<&Value>, _: &mut Vec<Cause>) {}
pub(super) fn binding(_: &Value, _: Option<&Value>, _: &mut Vec<Cause>) {}
pub(super) fn lease(_: &Value, _: &mut Vec<Cause>) {}
pub(super) fn priority_class(_: &Value, _: Option<&Value>, _: &mut Vec<Cause>) {}
pub(super) fn definition(_: &Value, _: Option<&Value>, _: &mut Vec<Cause>) {}
