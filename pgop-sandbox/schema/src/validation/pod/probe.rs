//! The rules for probes and lifecycle hooks.

use serde_json::Value;

use super::container::{Kind, number_or_name};
use crate::{
    Cause, path,
    validation::{not_negative, text},
};

const HANDLERS: [&str; 5] = ["exec", "httpGet", "tcpSocket", "grpc", "sleep"];

/// The probes and hooks of a container.
pub(super) fn probes(container: &Value, kind: Kind, at: &str, causes: &mut Vec<Cause>) {
    // An init container that is restarted always is a sidecar, and may have all that others have.
    let runs_on = kind == Kind::Main || (kind == Kind::Init && text(container, "restartPolicy") == "Always");
    for field in ["livenessProbe", "readinessProbe", "startupProbe", "lifecycle"] {
        let Some(value) = container.get(field) else { continue };
        let at = path::child(at, field);
        match kind {
            _ if runs_on && field == "lifecycle" => {
                for hook in ["postStart", "preStop"] {
                    if let Some(hook_value) = value.get(hook) {
                        handler(hook_value, &path::child(&at, hook), causes);
                    }
                }
            }
            _ if runs_on => probe(value, field, &at, causes),
            Kind::Ephemeral => causes.push(Cause::forbidden(at, "cannot be set for an Ephemeral Container")),
            _ => causes.push(Cause::forbidden(
                at,
                "may not be set for init containers without restartPolicy=Always",
            )),
        }
    }
}

fn probe(probe: &Value, field: &str, at: &str, causes: &mut Vec<Cause>) {
    handler(probe, at, causes);
    for number in [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ] {
        not_negative(probe, number, at, causes);
    }
    let successes = probe.get("successThreshold").unwrap_or(&Value::Null);
    if field != "readinessProbe" && successes.as_i64().is_some_and(|count| count != 1) {
        causes.push(Cause::invalid(
            path::child(at, "successThreshold"),
            successes,
            "must be 1",
        ));
    }
}

fn handler(handler: &Value, at: &str, causes: &mut Vec<Cause>) {
    let mut handlers = HANDLERS
        .iter()
        .filter(|name| handler.get(**name).is_some_and(|value| !value.is_null()));
    if handlers.next().is_none() {
        causes.push(Cause::required(at, "must specify a handler type"));
    }
    for name in handlers {
        causes.push(Cause::forbidden(
            path::child(at, name),
            "may not specify more than 1 handler type",
        ));
    }
    let command = handler.pointer("/exec/command").and_then(Value::as_array);
    if handler.get("exec").is_some() && command.is_none_or(Vec::is_empty) {
        causes.push(Cause::required(path::child(at, "exec.command"), ""));
    }
    for name in ["httpGet", "tcpSocket", "grpc"] {
        if let Some(value) = handler.get(name) {
            number_or_name(value, "port", &path::child(at, name), causes);
        }
    }
    if handler.get("httpGet").is_some_and(|get| text(get, "path").is_empty()) {
        causes.push(Cause::required(path::child(at, "httpGet.path"), ""));
    }
}
