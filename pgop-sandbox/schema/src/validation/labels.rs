//! Labels and the selectors that look for them.

use serde_json::{Value, json};

use super::{
    entries, items,
    names::{label_value, qualified_name},
    text,
};
use crate::{Cause, path};

/// A map of labels, such as `metadata.labels`.
pub(super) fn labels(object: &Value, field: &str, at: &str, causes: &mut Vec<Cause>) {
    let at = path::child(at, field);
    for (key, value) in entries(object, field) {
        causes.extend(
            qualified_name(key)
                .iter()
                .map(|problem| Cause::invalid(&*at, &json!(key), problem)),
        );
        let problems = label_value(value.as_str().unwrap_or_default());
        causes.extend(problems.iter().map(|problem| Cause::invalid(&*at, value, problem)));
    }
}

/// A label selector.
pub(super) fn selector(selector: &Value, at: &str, causes: &mut Vec<Cause>) {
    labels(selector, "matchLabels", at, causes);
    for (at, expression) in items(selector, "matchExpressions", at) {
        let values = expression
            .get("values")
            .and_then(Value::as_array)
            .is_some_and(|values| !values.is_empty());
        let at_values = path::child(&at, "values");
        match text(expression, "operator") {
            "In" | "NotIn" if !values => {
                causes.push(Cause::required(
                    at_values,
                    "must be specified when `operator` is 'In' or 'NotIn'",
                ));
            }
            "Exists" | "DoesNotExist" if values => {
                causes.push(Cause::forbidden(
                    at_values,
                    "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                ));
            }
            _ => {}
        }
        let key = text(expression, "key");
        let problems = qualified_name(key);
        causes.extend(
            problems
                .iter()
                .map(|problem| Cause::invalid(path::child(&at, "key"), &json!(key), problem)),
        );
    }
}

/// Whether a selector matches labels. Operators that are not known match nothing.
pub(super) fn matches(selector: &Value, labels: &Value) -> bool {
    let label = |key: &str| labels.get(key).and_then(Value::as_str);
    let exact = entries(selector, "matchLabels").all(|(key, value)| label(key) == value.as_str());
    exact
        && items(selector, "matchExpressions", "").iter().all(|(_, expression)| {
            let found = label(text(expression, "key"));
            let listed = expression
                .get("values")
                .and_then(Value::as_array)
                .is_some_and(|values| found.is_some_and(|found| values.iter().any(|value| value == found)));
            match text(expression, "operator") {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => found.is_some(),
                "DoesNotExist" => found.is_none(),
                _ => false,
            }
        })
}

/// Whether a selector selects everything.
pub(super) fn is_empty(selector: &Value) -> bool {
    let empty = |field: &str| match selector.get(field) {
        Some(Value::Object(fields)) => fields.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        _ => true,
    };
    empty("matchLabels") && empty("matchExpressions")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_match() {
        let labels = json!({"app": "web", "tier": "front"});
        let by = |operator: &str, values: Value| json!({"matchExpressions": [{"key": "tier", "operator": operator, "values": values}]});
        assert!(matches(&json!({"matchLabels": {"app": "web"}}), &labels));
        assert!(!matches(&json!({"matchLabels": {"app": "db"}}), &labels));
        assert!(matches(&by("In", json!(["front", "back"])), &labels));
        assert!(!matches(&by("NotIn", json!(["front"])), &labels));
        assert!(matches(&by("Exists", json!(null)), &labels));
        assert!(!matches(&by("DoesNotExist", json!(null)), &labels));
        assert!(!matches(&by("Near", json!([])), &labels));
        assert!(matches(&json!({}), &labels) && is_empty(&json!({})));
    }

    #[test]
    fn expressions_have_values_or_not() {
        let mut causes = Vec::new();
        let expressions = json!([{"key": "a", "operator": "In"}, {"key": "b", "operator": "Exists", "values": ["x"]}, {"key": "", "operator": "Exists"}]);
        selector(&json!({"matchExpressions": expressions}), "spec.selector", &mut causes);
        let fields: Vec<&str> = causes.iter().map(|cause| cause.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "spec.selector.matchExpressions[0].values",
                "spec.selector.matchExpressions[1].values",
                "spec.selector.matchExpressions[2].key",
                "spec.selector.matchExpressions[2].key",
            ]
        );
    }
}
