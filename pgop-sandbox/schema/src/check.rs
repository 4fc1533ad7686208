//! Checking values against a schema. <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation>

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

use crate::{
    Cause, Schema, cel, format,
    node::{Bound, Checks, Kind, List, Node, counterpart, item_key},
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
    check.value(&schema.root, object, old, "");
    let mut causes = check.causes;
    if schema.root.has_rules {
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
    check.value(node, value, None, at);
    check.causes
}

struct Check {
    /// Whether sets and list-maps must hold each item once. Built-in types check what matters to them themselves.
    unique: bool,
    causes: Vec<Cause>,
}

impl Check {
    /// What did not change is not checked again, so that objects survive a schema that became stricter.
    /// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-ratcheting>
    fn value(&mut self, node: &Node, value: &Value, old: Option<&Value>, at: &str) {
        if old == Some(value) || (value.is_null() && node.nullable) {
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
            Value::Array(items) => self.array(node, items, old, at),
            Value::Object(fields) => self.object(node, fields, old, at),
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

    fn array(&mut self, node: &Node, items: &[Value], old: Option<&Value>, at: &str) {
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
        let Some(item_node) = &node.items else { return };
        let old = old.and_then(Value::as_array);
        for (number, item) in items.iter().enumerate() {
            let before = old.and_then(|old| counterpart(&node.list, item_node, item, old));
            self.value(item_node, item, before, &path::index(at, number));
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

    fn object(&mut self, node: &Node, fields: &Map<String, Value>, old: Option<&Value>, at: &str) {
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
                let before = old.and_then(|old| old.get(name));
                self.value(node, value, before, &path::child(at, name));
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
            check.value(node, value, None, at);
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
mod tests;
