use serde_json::Value;
use crate::Cause;
pub(super) fn deployment(_: &Value, _: Option<&Value>, _: &mut Vec<Cause>) {}
pub(super) fn replica_set(_: &Value, _: Option<&Value>, _: &mut Vec<Cause>) {}
pub(super) fn daemon_set(_: &Value, _: Option<&Value>, _: &mut Vec<Cause>) {}
pub(super) fn stateful_set(_: &Value, _: Option<&Value>, _: &mut Vec<Cause>) {}
pub(super) fn controller_revision(_: &Value, _: Option<&Value>, _: &mut Vec<Cause>) {}
pub(super) fn job(_: &Value, _: Option<&Value>, _: &mut Vec<Cause>) {}
pub(super) fn cron_job(_: &Value, _: Option<&Value>, _: &mut Vec<Cause>) {}
