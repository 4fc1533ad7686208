use super::*;
use crate::Schema;
use serde_json::json;

fn lines(spec_schema: &Value, spec: &Value, old: Option<&Value>) -> Vec<String> {
    let schema = Schema::from_crd(&json!({"type": "object", "properties": {"spec": spec_schema}})).expect("structural");
    let object = |spec: &Value| json!({"metadata": {"name": "main"}, "spec": spec});
    let causes = schema.validate(&object(spec), old.map(object).as_ref());
    causes.iter().map(ToString::to_string).collect()
}

fn with_rule(rule: &Value, schema: &Value) -> Value {
    let mut schema = schema.clone();
    schema["x-kubernetes-validations"] = json!([rule]);
    schema
}

#[test]
fn a_rule_and_its_message() {
    let sizes = json!({"type": "object", "properties": {"min": {"type": "integer"}, "max": {"type": "integer"}}});
    let bare = with_rule(&json!({"rule": "self.min <= self.max"}), &sizes);
    assert_eq!(lines(&bare, &json!({"min": 1, "max": 2}), None), [""; 0]);
    assert_eq!(
        lines(&bare, &json!({"min": 3, "max": 2}), None),
        [r#"spec: Invalid value: "object": failed rule: self.min <= self.max"#]
    );
    let full = json!({
        "rule": "self.min <= self.max", "message": "static", "reason": "FieldValueForbidden", "fieldPath": ".min",
        "messageExpression": "'min ' + string(self.min) + ' is above max ' + string(self.max)",
    });
    assert_eq!(
        lines(&with_rule(&full, &sizes), &json!({"min": 3, "max": 2}), None),
        ["spec.min: Forbidden: min 3 is above max 2"]
    );
    let broken_expression = json!({"rule": "self.min <= self.max", "message": "min above max", "messageExpression": "string(self.min / 0)"});
    assert_eq!(
        lines(
            &with_rule(&broken_expression, &sizes),
            &json!({"min": 3, "max": 2}),
            None
        ),
        [r#"spec: Invalid value: "object": min above max"#]
    );
    assert_eq!(
        lines(&bare, &json!({"min": 3}), None),
        [r#"spec: Invalid value: "object": no such key: max evaluating rule: self.min <= self.max"#]
    );
}

#[test]
fn transitions() {
    let immutable = with_rule(
        &json!({"rule": "self == oldSelf", "message": "immutable"}),
        &json!({"type": "string"}),
    );
    let schema = json!({"type": "object", "properties": {"storage": immutable}});
    assert_eq!(lines(&schema, &json!({"storage": "a"}), None), [""; 0]);
    assert_eq!(lines(&schema, &json!({"storage": "a"}), Some(&json!({}))), [""; 0]);
    assert_eq!(
        lines(&schema, &json!({"storage": "b"}), Some(&json!({"storage": "a"}))),
        [r#"spec.storage: Invalid value: "string": immutable"#]
    );
}

#[test]
fn optional_old_self() {
    let rule = json!({"rule": "oldSelf.hasValue() ? self >= oldSelf.value() : self == 1", "optionalOldSelf": true, "message": "no"});
    let schema = json!({"type": "object", "properties": {"n": with_rule(&rule, &json!({"type": "integer"}))}});
    assert_eq!(lines(&schema, &json!({"n": 1}), None), [""; 0]);
    assert_eq!(lines(&schema, &json!({"n": 2}), None).len(), 1);
    assert_eq!(lines(&schema, &json!({"n": 3}), Some(&json!({"n": 2}))), [""; 0]);
    assert_eq!(lines(&schema, &json!({"n": 1}), Some(&json!({"n": 2}))).len(), 1);
}

#[test]
fn items_are_followed_by_their_key() {
    let user = json!({"type": "object", "required": ["name"], "properties": {
        "name": {"type": "string"},
        "size": with_rule(&json!({"rule": "self >= oldSelf", "message": "shrinks"}), &json!({"type": "integer"})),
    }});
    let schema = json!({"type": "object", "properties": {"users": {
        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": user,
    }}});
    let old = json!({"users": [{"name": "a", "size": 1}, {"name": "b", "size": 5}]});
    let turned = json!({"users": [{"name": "b", "size": 5}, {"name": "a", "size": 1}]});
    assert_eq!(lines(&schema, &turned, Some(&old)), [""; 0]);
    let shrunk = json!({"users": [{"name": "b", "size": 4}]});
    assert_eq!(
        lines(&schema, &shrunk, Some(&old)),
        [r#"spec.users[0].size: Invalid value: "integer": shrinks"#]
    );
}

#[test]
fn names_and_formats() {
    let schema = |rule: &str| {
        with_rule(
            &json!({"rule": rule, "message": "no"}),
            &json!({"type": "object", "properties": {
                "namespace": {"type": "string"}, "max-size": {"type": "integer"}, "a__b": {"type": "integer"},
                "every": {"type": "string", "format": "duration"}, "at": {"type": "string", "format": "date-time"},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "ratio": {"type": "number"}, "storage": {"type": "string"}, "absent": {"type": "string"},
            }}),
        )
    };
    let spec = json!({
        "namespace": "default", "max-size": 3, "a__b": 1, "every": "90s", "at": "2026-11-22T21:41:29Z",
        "labels": {"pgop.dev/role": "primary"}, "ratio": 1, "storage": "10Gi",
    });
    for rule in [
        "self.__namespace__ == 'default'",
        "self.max__dash__size == 3",
        "self.a__underscores__b == 1",
        "self.every > duration('1m')",
        "self.at < timestamp('2027-01-01T00:00:00Z')",
        "self.labels['pgop.dev/role'] == 'primary'",
        "self.ratio < 1.5",
        "has(self.storage) && quantity(self.storage).isGreaterThan(quantity('1Gi'))",
        "!has(self.absent) && self.labels.all(key, key.startsWith('pgop.dev/'))",
    ] {
        assert_eq!(lines(&schema(rule), &spec, None), [""; 0], "{rule}");
    }
}

#[test]
fn the_root_sees_names_and_no_other_metadata() {
    let root = |rule: &str| json!({"type": "object", "x-kubernetes-validations": [{"rule": rule, "message": "no"}]});
    let object = json!({"apiVersion": "a/v1", "kind": "B", "metadata": {"name": "main", "labels": {"x": "y"}}});
    for (rule, holds) in [
        ("self.metadata.name == 'main'", true),
        ("has(self.metadata.generateName)", false),
        ("self.kind == 'B'", true),
    ] {
        let causes = Schema::from_crd(&root(rule))
            .expect("structural")
            .validate(&object, None);
        assert_eq!(causes.is_empty(), holds, "{rule}");
    }
}

#[test]
fn rules_wait_until_the_types_are_right() {
    let schema = with_rule(
        &json!({"rule": "self.n > 0"}),
        &json!({"type": "object", "properties": {"n": {"type": "integer"}}}),
    );
    let found = lines(&schema, &json!({"n": "x"}), None);
    assert_eq!(found.len(), 2);
    assert!(
        found[1].starts_with(r#"<nil>: Invalid value: "null": some validation rules were not checked"#),
        "{found:?}"
    );
}
