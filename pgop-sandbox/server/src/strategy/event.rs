//! Events are served by two groups; they are stored as the core group has them.

use serde_json::Value;

/// Names of the same field in the core group and in `events.k8s.io`.
const NAMES: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("source", "deprecatedSource"),
];

/// From the core group's form to that of `events.k8s.io`.
pub(crate) fn to_new(event: &mut Value) {
    for (core, new) in NAMES {
        rename(event, core, new);
    }
}

/// From the form of `events.k8s.io` to the core group's.
pub(crate) fn to_core(event: &mut Value) {
    for (core, new) in NAMES {
        rename(event, new, core);
    }
    if event["metadata"]["namespace"].is_string() && event["involvedObject"].is_null() {
        event["involvedObject"] = serde_json::json!({});
    }
}

fn rename(event: &mut Value, from: &str, to: &str) {
    if let Some(fields) = event.as_object_mut()
        && let Some(value) = fields.remove(from)
    {
        fields.insert(to.into(), value);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn both_forms_say_the_same() {
        let core = json!({"involvedObject": {"name": "a"}, "message": "m", "reason": "r", "type": "Normal",
            "reportingComponent": "c", "metadata": {"name": "e", "namespace": "n"}, "eventTime": null});
        let mut event = core.clone();
        super::to_new(&mut event);
        assert_eq!(event["regarding"]["name"], "a");
        assert_eq!(event["note"], "m");
        assert!(event.get("message").is_none());
        super::to_core(&mut event);
        assert_eq!(event, core);
    }
}
