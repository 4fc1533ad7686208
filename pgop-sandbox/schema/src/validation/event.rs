//! The rules for events. <https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>

use serde_json::{Value, json};

use super::text;
use crate::Cause;

/// Events about objects of the whole cluster are here.
const DEFAULT: &str = "default";

/// An Event of the core group.
pub(super) fn core(event: &Value, causes: &mut Vec<Cause>) {
    about_its_namespace(event, "involvedObject", causes);
}

/// An Event of `events.k8s.io`, which says more of who tells it. Events that were told before need not.
pub(super) fn event(event: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    about_its_namespace(event, "regarding", causes);
    if old.is_some() {
        return;
    }
    for field in [
        "eventTime",
        "reportingController",
        "reportingInstance",
        "action",
        "reason",
    ] {
        if text(event, field).is_empty() {
            causes.push(Cause::required(field, ""));
        }
    }
    let kind = text(event, "type");
    if !["Normal", "Warning"].contains(&kind) {
        causes.push(Cause::invalid(
            "type",
            &json!(kind),
            "has invalid value: must be Normal or Warning",
        ));
    }
    if text(event, "note").len() > 1024 {
        causes.push(Cause::too_long("note", 1024));
    }
}

fn about_its_namespace(event: &Value, object: &str, causes: &mut Vec<Cause>) {
    let (own, its) = (text(&event["metadata"], "namespace"), text(&event[object], "namespace"));
    if own != its && !(its.is_empty() && own == DEFAULT) {
        let field = format!("{object}.namespace");
        causes.push(Cause::invalid(field, &json!(its), "does not match event.namespace"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::lines;

    #[test]
    fn an_event_is_in_the_namespace_of_its_object() {
        let of = |own: &str, its: &str| {
            let event = json!({"metadata": {"namespace": own}, "involvedObject": {"namespace": its}});
            lines(|causes| core(&event, causes))
        };
        assert_eq!(of("team", "team"), [""; 0]);
        assert_eq!(of("default", ""), [""; 0]);
        let told = r#"involvedObject.namespace: Invalid value: "other": does not match event.namespace"#;
        assert_eq!(of("team", "other"), [told]);
        assert_eq!(of("team", "").len(), 1);
    }

    #[test]
    fn new_events_say_who_tells_them() {
        let mut full = json!({
            "metadata": {"namespace": "a"}, "regarding": {"namespace": "a"}, "eventTime": "2026-11-22T21:41:29.000000Z",
            "reportingController": "pgop.dev/operator", "reportingInstance": "x", "action": "Create", "reason": "Created", "type": "Normal",
        });
        assert_eq!(lines(|causes| event(&full, None, causes)), [""; 0]);
        full["type"] = json!("Loud");
        full["action"] = Value::Null;
        assert_eq!(
            lines(|causes| event(&full, None, causes)),
            [
                "action: Required value",
                r#"type: Invalid value: "Loud": has invalid value: must be Normal or Warning"#
            ]
        );
        assert_eq!(lines(|causes| event(&full, Some(&json!({})), causes)), [""; 0]);
    }
}
