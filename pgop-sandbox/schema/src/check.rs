//! Checking values against a schema. <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation>

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

use crate::{
    Cause, Schema, cel, format,
    node::{Bound, Checks, Kind, List, Node, item_key},
    path,
};

/// After these the rules in CEL could meet values they don't expect, so Kubernetes does not run them.
const BLOCKING: [&str; 4] = [
    "FieldValueRequired",
    "FieldValueTooLong",
    "FieldValueTooMany",
    "FieldValueTypeInvalid",
];

pub(crate) fn validate(schema: &Schema, object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut check = Check {
        unique: !schema.is_built_in(),
        causes: Vec::new(),
    };
    check.value(&schema.root, object, "");
    let mut causes = check.causes;
    if schema.has_rules {
        if causes.iter().any(|cause| BLOCKING.contains(&cause.reason)) {
            let detail = "some validation rules were not checked because the object was invalid; \
                          correct the existing errors to complete validation";
            causes.push(Cause::invalid("<nil>", &Value::from("null"), detail));
        } else {
            cel::validate(&schema.root, object, old, &mut causes);
        }
    }
    causes
}

/// The violations of one value, used for defaults in a CRD.
pub(crate) fn value(node: &Node, value: &Value, at: &str) -> Vec<Cause> {
    let mut check = Check {
        unique: true,
        causes: Vec::new(),
    };
    check.value(node, value, at);
    check.causes
}

struct Check {
    /// Whether sets and list-maps must hold each item once. Built-in types check what matters to them themselves.
    unique: bool,
    causes: Vec<Cause>,
}

impl Check {
    fn value(&mut self, node: &Node, value: &Value, at: &str) {
        if value.is_null() && node.nullable {
            return;
        }
        if !has_kind(node.kind, value) {
            self.wrong_type(at, kind_name(node.kind), value);
            return;
        }
        self.enumeration(&node.checks, value, at);
        match value {
            Value::String(text) => self.text(&node.checks, text, at),
            Value::Number(number) => self.number(&node.checks, number, at),
            Value::Array(items) => self.array(node, items, at),
            Value::Object(fields) => self.object(node, fields, at),
            Value::Null | Value::Bool(_) => {}
        }
        self.junctions(&node.checks, value, at);
    }

    fn enumeration(&mut self, checks: &Checks, value: &Value, at: &str) {
        if checks.one_of_values.is_empty() || checks.one_of_values.contains(value) {
            return;
        }
        let texts: Vec<String> = checks.one_of_values.iter().map(plain).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        self.causes.push(Cause::not_supported(at, value, &texts));
    }

    fn text(&mut self, checks: &Checks, text: &str, at: &str) {
        let length = text.chars().count() as u64;
        let whole = Value::from(text);
        if let Some(max) = checks.length.max.filter(|max| length > *max) {
            self.causes.push(Cause::too_long(at, max));
        }
        if let Some(min) = checks.length.min.filter(|min| length < *min) {
            self.broken(at, &whole, &format!("should be at least {min} chars long"));
        }
        if let Some(pattern) = checks.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
            self.broken(at, &whole, &format!("should match '{pattern}'"));
        }
        if let Some(format) = checks.format.as_ref().filter(|format| !format::matches(format, text)) {
            let detail = format!("{at} in body must be of type {format}: {whole}");
            self.causes.push(Cause::type_invalid(at, &whole, &detail));
        }
    }

    fn number(&mut self, checks: &Checks, number: &Number, at: &str) {
        let whole = Value::Number(number.clone());
        let bits = checks.format.as_deref();
        if bits == Some("int32") && number.as_i64().is_none_or(|number| i32::try_from(number).is_err()) {
            let detail = format!("{at} in body must be of type int32: {:?}", whole.to_string());
            self.causes.push(Cause::type_invalid(at, &whole, &detail));
        }
        if let Some(Bound { value, exclusive }) = &checks.minimum {
            match compare(number, value) {
                Ordering::Less if !exclusive => {
                    self.broken(at, &whole, &format!("should be greater than or equal to {value}"));
                }
                Ordering::Less | Ordering::Equal if *exclusive => {
                    self.broken(at, &whole, &format!("should be greater than {value}"));
                }
                _ => {}
            }
        }
        if let Some(Bound { value, exclusive }) = &checks.maximum {
            match compare(number, value) {
                Ordering::Greater if !exclusive => {
                    self.broken(at, &whole, &format!("should be less than or equal to {value}"));
                }
                Ordering::Greater | Ordering::Equal if *exclusive => {
                    self.broken(at, &whole, &format!("should be less than {value}"));
                }
                _ => {}
            }
        }
        if let (Some(factor), Some(number)) = (checks.multiple_of.filter(|factor| *factor > 0.0), number.as_f64()) {
            let quotient = number / factor;
            if (quotient - quotient.round()).abs() > 1e-9 {
                self.broken(at, &whole, &format!("should be a multiple of {factor}"));
            }
        }
    }

    fn array(&mut self, node: &Node, items: &[Value], at: &str) {
        let range = node.checks.items;
        if let Some(max) = range.max.filter(|max| items.len() as u64 > *max) {
            self.causes.push(Cause::too_many(at, items.len(), max));
        }
        if let Some(min) = range.min.filter(|min| (items.len() as u64) < *min) {
            self.broken(at, &Value::from(items), &format!("should have at least {min} items"));
        }
        if self.unique {
            self.duplicates(node, items, at);
        }
        for (number, item) in items.iter().enumerate() {
            if let Some(node) = &node.items {
                self.value(node, item, &path::index(at, number));
            }
        }
    }

    fn duplicates(&mut self, node: &Node, items: &[Value], at: &str) {
        let mut seen = std::collections::HashSet::new();
        for (number, item) in items.iter().enumerate() {
            let key = match &node.list {
                List::Atomic => return,
                List::Set => Some(item.clone()),
                List::Map(keys) => item_key(keys, item, node.items.as_deref()).map(Value::Object),
            };
            if let Some(key) = key
                && !seen.insert(key.to_string())
            {
                self.causes.push(Cause::duplicate(path::index(at, number), &key));
            }
        }
    }

    fn object(&mut self, node: &Node, fields: &Map<String, Value>, at: &str) {
        let range = node.checks.properties;
        if let Some(max) = range.max.filter(|max| fields.len() as u64 > *max) {
            self.causes.push(Cause::too_many(at, fields.len(), max));
        }
        if let Some(min) = range.min.filter(|min| (fields.len() as u64) < *min) {
            self.broken(
                at,
                &Value::Object(fields.clone()),
                &format!("should have at least {min} properties"),
            );
        }
        for required in node.checks.required.iter().filter(|name| !fields.contains_key(*name)) {
            self.causes.push(Cause::required(path::child(at, required), ""));
        }
        if node.embedded {
            self.envelope(fields, at);
        }
        for (name, value) in fields {
            if let Some(node) = node.field(name) {
                self.value(node, value, &path::child(at, name));
            }
        }
    }

    /// What every embedded resource must have.
    fn envelope(&mut self, fields: &Map<String, Value>, at: &str) {
        for name in ["apiVersion", "kind"] {
            if fields.get(name).and_then(Value::as_str).is_none_or(str::is_empty) {
                self.causes
                    .push(Cause::required(path::child(at, name), "must not be empty"));
            }
        }
    }

    fn junctions(&mut self, checks: &Checks, value: &Value, at: &str) {
        let unique = self.unique;
        let causes_of = |node: &Node| {
            let mut check = Check {
                unique,
                causes: Vec::new(),
            };
            check.value(node, value, at);
            check.causes
        };
        let nothing = Value::from("");
        for node in &checks.all_of {
            self.causes.extend(causes_of(node));
        }
        if !checks.any_of.is_empty() {
            let broken: Vec<Vec<Cause>> = checks.any_of.iter().map(causes_of).collect();
            if broken.iter().all(|causes| !causes.is_empty()) {
                self.causes.push(Cause::invalid(
                    at,
                    &nothing,
                    &format!("{at:?} must validate at least one schema (anyOf)"),
                ));
                self.causes.extend(nearest(broken));
            }
        }
        if !checks.one_of.is_empty() {
            let broken: Vec<Vec<Cause>> = checks.one_of.iter().map(causes_of).collect();
            let valid = broken.iter().filter(|causes| causes.is_empty()).count();
            let found = if valid == 0 {
                "Found none valid".to_owned()
            } else {
                format!("Found {valid} valid alternatives")
            };
            if valid != 1 {
                let detail = format!("{at:?} must validate one and only one schema (oneOf). {found}");
                self.causes.push(Cause::invalid(at, &nothing, &detail));
            }
            if valid == 0 {
                self.causes.extend(nearest(broken));
            }
        }
        if checks.not.as_ref().is_some_and(|node| causes_of(node).is_empty()) {
            self.causes.push(Cause::invalid(
                at,
                &nothing,
                &format!("{at:?} must not validate the schema (not)"),
            ));
        }
    }

    fn broken(&mut self, at: &str, value: &Value, rule: &str) {
        self.causes
            .push(Cause::invalid(at, value, &format!("{at} in body {rule}")));
    }

    fn wrong_type(&mut self, at: &str, expected: &str, value: &Value) {
        let actual = type_name(value);
        let detail = format!("{at} in body must be of type {expected}: {actual:?}");
        self.causes.push(Cause::type_invalid(at, &Value::from(actual), &detail));
    }
}

/// The alternative with the fewest violations: the one that was most likely meant.
fn nearest(alternatives: Vec<Vec<Cause>>) -> Vec<Cause> {
    alternatives.into_iter().min_by_key(Vec::len).unwrap_or_default()
}

fn has_kind(kind: Kind, value: &Value) -> bool {
    match kind {
        Kind::Any => true,
        Kind::Object => value.is_object(),
        Kind::Array => value.is_array(),
        Kind::String => value.is_string(),
        Kind::Integer => is_integer(value),
        Kind::Number => value.is_number(),
        Kind::Boolean => value.is_boolean(),
        Kind::IntOrString => value.is_string() || value.is_number(),
    }
}

/// `1.0` is an integer too.
fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Any => "any",
        Kind::Object => "object",
        Kind::Array => "array",
        Kind::String => "string",
        Kind::Integer => "integer",
        Kind::Number => "number",
        Kind::Boolean => "boolean",
        Kind::IntOrString => "integer,string",
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) if is_integer(value) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Without quotes, if it is text.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn compare(left: &Number, right: &Number) -> Ordering {
    match (left.as_i64(), right.as_i64()) {
        (Some(left), Some(right)) => left.cmp(&right),
        _ => left.as_f64().partial_cmp(&right.as_f64()).unwrap_or(Ordering::Equal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The violations of `spec`, as lines.
    fn lines(spec_schema: &Value, spec: &Value) -> Vec<String> {
        let schema =
            Schema::from_crd(&json!({"type": "object", "properties": {"spec": spec_schema}})).expect("structural");
        schema
            .validate(&json!({"spec": spec}), None)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn types() {
        let schema = json!({"type": "object", "properties": {
            "replicas": {"type": "integer"}, "name": {"type": "string"}, "on": {"type": "boolean"},
            "ratio": {"type": "number"}, "port": {"x-kubernetes-int-or-string": true},
        }});
        let good = json!({"replicas": 1.0, "name": "a", "on": true, "ratio": 1, "port": "http"});
        assert_eq!(lines(&schema, &good), [""; 0]);
        assert_eq!(
            lines(
                &schema,
                &json!({"replicas": "three", "name": 1, "on": "yes", "ratio": [], "port": true})
            ),
            [
                r#"spec.name: Invalid value: "integer": spec.name in body must be of type string: "integer""#,
                r#"spec.on: Invalid value: "string": spec.on in body must be of type boolean: "string""#,
                r#"spec.port: Invalid value: "boolean": spec.port in body must be of type integer,string: "boolean""#,
                r#"spec.ratio: Invalid value: "array": spec.ratio in body must be of type number: "array""#,
                r#"spec.replicas: Invalid value: "string": spec.replicas in body must be of type integer: "string""#,
            ]
        );
        assert_eq!(
            lines(&schema, &json!({"replicas": null})),
            [r#"spec.replicas: Invalid value: "null": spec.replicas in body must be of type integer: "null""#]
        );
    }

    #[test]
    fn numbers() {
        let schema = json!({"type": "object", "properties": {
            "replicas": {"type": "integer", "minimum": 1, "maximum": 10},
            "ratio": {"type": "number", "minimum": 0, "exclusiveMinimum": true, "maximum": 1, "exclusiveMaximum": true},
            "size": {"type": "integer", "multipleOf": 8, "format": "int32"},
        }});
        assert_eq!(
            lines(&schema, &json!({"replicas": 10, "ratio": 0.5, "size": 16})),
            [""; 0]
        );
        assert_eq!(
            lines(&schema, &json!({"replicas": 11, "ratio": 0, "size": 12})),
            [
                "spec.ratio: Invalid value: 0: spec.ratio in body should be greater than 0",
                "spec.replicas: Invalid value: 11: spec.replicas in body should be less than or equal to 10",
                "spec.size: Invalid value: 12: spec.size in body should be a multiple of 8",
            ]
        );
        assert_eq!(
            lines(&schema, &json!({"replicas": 0, "ratio": 1})),
            [
                "spec.ratio: Invalid value: 1: spec.ratio in body should be less than 1",
                "spec.replicas: Invalid value: 0: spec.replicas in body should be greater than or equal to 1",
            ]
        );
    }

    #[test]
    fn texts() {
        let schema = json!({"type": "object", "required": ["name", "mode"], "properties": {
            "name": {"type": "string", "minLength": 2, "maxLength": 5, "pattern": "^[a-z]+$"},
            "mode": {"type": "string", "enum": ["Sync", "Async"]},
            "at": {"type": "string", "format": "date-time"},
        }});
        assert_eq!(
            lines(
                &schema,
                &json!({"name": "größe", "mode": "Sync", "at": "2026-11-22T21:41:29Z"})
            )
            .len(),
            1
        );
        assert_eq!(
            lines(&schema, &json!({})),
            ["spec.name: Required value", "spec.mode: Required value"]
        );
        assert_eq!(
            lines(&schema, &json!({"name": "A", "mode": "x", "at": "now"})),
            [
                r#"spec.at: Invalid value: "now": spec.at in body must be of type date-time: "now""#,
                r#"spec.mode: Unsupported value: "x": supported values: "Sync", "Async""#,
                r#"spec.name: Invalid value: "A": spec.name in body should be at least 2 chars long"#,
                r#"spec.name: Invalid value: "A": spec.name in body should match '^[a-z]+$'"#,
            ]
        );
        assert_eq!(
            lines(&schema, &json!({"name": "abcdef", "mode": "Sync"})),
            ["spec.name: Too long: may not be more than 5 bytes"]
        );
    }

    #[test]
    fn lists_and_maps() {
        let schema = json!({"type": "object", "properties": {
            "few": {"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "string"}},
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "users": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}},
            "map": {"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": {"type": "integer"}},
        }});
        assert_eq!(
            lines(
                &schema,
                &json!({"few": ["a"], "set": ["a", "b"], "users": [{"name": "a"}], "map": {"a": 1}})
            ),
            [""; 0]
        );
        assert_eq!(
            lines(
                &schema,
                &json!({
                    "few": [], "set": ["a", "b", "a"], "users": [{"name": "app"}, {"name": "app"}], "map": {"a": 1, "b": "x"},
                })
            ),
            [
                "spec.few: Invalid value: []: spec.few in body should have at least 1 items",
                "spec.map: Too many: 2: must have at most 1 items",
                r#"spec.map.b: Invalid value: "string": spec.map.b in body must be of type integer: "string""#,
                r#"spec.set[2]: Duplicate value: "a""#,
                r#"spec.users[1]: Duplicate value: {"name":"app"}"#,
            ]
        );
    }

    #[test]
    fn junctions() {
        let schema = json!({"type": "object",
            "properties": {"a": {"type": "string"}, "b": {"type": "string"}, "n": {"type": "integer"}},
            "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
            "allOf": [{"properties": {"n": {"minimum": 1}}}],
            "not": {"properties": {"n": {"enum": [7]}}, "required": ["n"]},
        });
        assert_eq!(lines(&schema, &json!({"a": "x", "n": 1})), [""; 0]);
        assert_eq!(
            lines(&schema, &json!({"a": "x", "b": "y", "n": 7})),
            [
                r#"spec: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found 2 valid alternatives"#,
                r#"spec: Invalid value: "": "spec" must not validate the schema (not)"#,
            ]
        );
        assert_eq!(
            lines(&schema, &json!({"n": 0})),
            [
                "spec.n: Invalid value: 0: spec.n in body should be greater than or equal to 1",
                r#"spec: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found none valid"#,
                "spec.a: Required value",
            ]
        );
        let any = json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}], "pattern": "^[0-9]+%?$"});
        assert_eq!(lines(&any, &json!("25%")), [""; 0]);
        assert_eq!(lines(&any, &json!("x")).len(), 1);
    }

    #[test]
    fn built_in_types() {
        let schema = Schema::built_in("", "v1", "Service").expect("served");
        let service = json!({"metadata": {"name": "a"}, "spec": {"type": "X", "ports": [{"port": "80"}, {}]}, "status": {"conditions": [{}]}});
        let lines: Vec<String> = schema
            .validate(&service, None)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            lines,
            [
                r#"spec.ports[0].port: Invalid value: "string": spec.ports[0].port in body must be of type integer: "string""#,
                "spec.ports[1].port: Required value",
                r#"spec.type: Unsupported value: "X": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort""#,
            ]
        );
    }
}
