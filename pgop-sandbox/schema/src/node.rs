//! One place of a schema, read once from `OpenAPI` JSON so that nothing is looked up by name while objects pass through.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Map, Value};

use crate::cel::Rule;

/// What a schema says of one place in an object.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a keyword of its own in OpenAPI")]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) nullable: bool,
    /// Fields that are declared by name.
    pub(crate) properties: BTreeMap<String, Node>,
    /// What the entries of a map are.
    pub(crate) additional: Option<Box<Node>>,
    pub(crate) items: Option<Box<Node>>,
    /// `x-kubernetes-preserve-unknown-fields`.
    pub(crate) preserve: bool,
    /// `x-kubernetes-embedded-resource`: has apiVersion, kind and metadata of its own.
    pub(crate) embedded: bool,
    pub(crate) default: Option<Value>,
    /// How lists merge in server-side apply.
    pub(crate) list: List,
    /// `x-kubernetes-map-type: atomic`: replaced as a whole.
    pub(crate) atomic: bool,
    /// How strategic merge patch treats the field.
    pub(crate) patch: Patch,
    pub(crate) checks: Checks,
    pub(crate) rules: Vec<Rule>,
    /// Whether a rule in CEL is here or below.
    pub(crate) has_rules: bool,
}

/// The JSON type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Not said: everything goes.
    #[default]
    Any,
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
    IntOrString,
}

/// `x-kubernetes-list-type`. <https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy>
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum List {
    /// Replaced as a whole.
    #[default]
    Atomic,
    /// Of unique scalars.
    Set,
    /// Of objects that are told apart by these fields.
    Map(Vec<String>),
}

/// `x-kubernetes-patch-strategy` and `x-kubernetes-patch-merge-key`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Patch {
    /// Lists merge, instead of being replaced.
    pub(crate) merge: bool,
    /// The field that tells items apart. None in a merged list: it is one of scalars.
    pub(crate) key: Option<String>,
    /// The patch may list the only keys that stay.
    pub(crate) retain_keys: bool,
}

/// The rules for values.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    pub(crate) required: Vec<String>,
    pub(crate) one_of_values: Vec<Value>,
    pub(crate) minimum: Option<Bound>,
    pub(crate) maximum: Option<Bound>,
    pub(crate) multiple_of: Option<f64>,
    pub(crate) length: Range,
    pub(crate) items: Range,
    pub(crate) properties: Range,
    pub(crate) pattern: Option<Regex>,
    pub(crate) format: Option<String>,
    pub(crate) all_of: Vec<Node>,
    pub(crate) any_of: Vec<Node>,
    pub(crate) one_of: Vec<Node>,
    pub(crate) not: Option<Box<Node>>,
}

/// The end of a range of numbers.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    pub(crate) value: serde_json::Number,
    pub(crate) exclusive: bool,
}

/// How many.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Range {
    pub(crate) min: Option<u64>,
    pub(crate) max: Option<u64>,
}

/// The `format` by which quantities of built-in types are known here.
pub(crate) const QUANTITY: &str = "quantity";

impl Node {
    /// A place where everything is allowed and kept.
    pub(crate) fn any() -> Self {
        Self {
            preserve: true,
            ..Self::default()
        }
    }

    /// Reads `OpenAPI` JSON. Never fails: what a CRD may not say is refused before, by [`crate::structural`].
    pub(crate) fn parse(schema: &Value) -> Self {
        let flag = |name: &str| schema.get(name).and_then(Value::as_bool).unwrap_or(false);
        let mut node = Self {
            kind: kind(schema),
            nullable: flag("nullable"),
            properties: map(schema, "properties"),
            additional: additional(schema),
            items: schema
                .get("items")
                .filter(|items| items.is_object())
                .map(|items| Box::new(Self::parse(items))),
            preserve: flag("x-kubernetes-preserve-unknown-fields"),
            embedded: flag("x-kubernetes-embedded-resource"),
            default: schema.get("default").cloned(),
            list: list(schema),
            atomic: text(schema, "x-kubernetes-map-type") == Some("atomic"),
            patch: patch(schema),
            checks: checks(schema),
            rules: rules(schema),
            has_rules: false,
        };
        node.has_rules = !node.rules.is_empty() || node.children().any(|child| child.has_rules);
        node
    }

    /// The node of an object's field: declared, a map's entry, or nothing known.
    pub(crate) fn field(&self, name: &str) -> Option<&Self> {
        self.properties.get(name).or(self.additional.as_deref())
    }

    /// Whether values are quantities such as `500m`.
    pub(crate) fn is_quantity(&self) -> bool {
        self.checks.format.as_deref() == Some(QUANTITY)
    }

    /// Forgets which fields are required, here and below.
    pub(crate) fn forget_required(&mut self) {
        self.checks.required.clear();
        self.properties.values_mut().for_each(Self::forget_required);
        self.items
            .iter_mut()
            .chain(&mut self.additional)
            .for_each(|node| node.forget_required());
    }

    fn children(&self) -> impl Iterator<Item = &Self> {
        self.properties
            .values()
            .chain(self.items.as_deref())
            .chain(self.additional.as_deref())
    }
}

fn text<'a>(schema: &'a Value, name: &str) -> Option<&'a str> {
    schema.get(name).and_then(Value::as_str)
}

fn kind(schema: &Value) -> Kind {
    if schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        return Kind::IntOrString;
    }
    match text(schema, "type") {
        Some("object") => Kind::Object,
        Some("array") => Kind::Array,
        Some("string") => Kind::String,
        Some("integer") => Kind::Integer,
        Some("number") => Kind::Number,
        Some("boolean") => Kind::Boolean,
        _ => Kind::Any,
    }
}

fn map(schema: &Value, name: &str) -> BTreeMap<String, Node> {
    let fields = schema.get(name).and_then(Value::as_object).into_iter().flatten();
    fields
        .map(|(field, schema)| (field.clone(), Node::parse(schema)))
        .collect()
}

fn additional(schema: &Value) -> Option<Box<Node>> {
    match schema.get("additionalProperties")? {
        Value::Bool(false) => None,
        Value::Bool(true) => Some(Box::new(Node::any())),
        entries => Some(Box::new(Node::parse(entries))),
    }
}

fn list(schema: &Value) -> List {
    match text(schema, "x-kubernetes-list-type") {
        Some("set") => List::Set,
        Some("map") => {
            let keys = schema
                .get("x-kubernetes-list-map-keys")
                .and_then(Value::as_array)
                .into_iter()
                .flatten();
            List::Map(keys.filter_map(Value::as_str).map(str::to_owned).collect())
        }
        _ => List::Atomic,
    }
}

fn patch(schema: &Value) -> Patch {
    let strategy = text(schema, "x-kubernetes-patch-strategy").unwrap_or_default();
    Patch {
        merge: strategy.split(',').any(|word| word == "merge"),
        retain_keys: strategy.split(',').any(|word| word == "retainKeys"),
        key: text(schema, "x-kubernetes-patch-merge-key").map(str::to_owned),
    }
}

fn checks(schema: &Value) -> Checks {
    let count = |name: &str| schema.get(name).and_then(Value::as_u64);
    let range = |min: &str, max: &str| Range {
        min: count(min),
        max: count(max),
    };
    let bound = |name: &str, exclusive: &str| {
        let value = schema.get(name)?.as_number()?.clone();
        Some(Bound {
            value,
            exclusive: schema.get(exclusive) == Some(&Value::Bool(true)),
        })
    };
    let array = |name: &str| schema.get(name).and_then(Value::as_array).into_iter().flatten();
    let nodes = |name: &str| array(name).map(Node::parse).collect();
    Checks {
        required: array("required").filter_map(Value::as_str).map(str::to_owned).collect(),
        one_of_values: array("enum").cloned().collect(),
        minimum: bound("minimum", "exclusiveMinimum"),
        maximum: bound("maximum", "exclusiveMaximum"),
        multiple_of: schema.get("multipleOf").and_then(Value::as_f64),
        length: range("minLength", "maxLength"),
        items: range("minItems", "maxItems"),
        properties: range("minProperties", "maxProperties"),
        pattern: text(schema, "pattern").and_then(|pattern| Regex::new(pattern).ok()),
        format: text(schema, "format").map(str::to_owned),
        all_of: nodes("allOf"),
        any_of: nodes("anyOf"),
        one_of: nodes("oneOf"),
        not: schema
            .get("not")
            .filter(|not| not.is_object())
            .map(|not| Box::new(Node::parse(not))),
    }
}

fn rules(schema: &Value) -> Vec<Rule> {
    let rules = schema
        .get("x-kubernetes-validations")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    rules.filter_map(|rule| Rule::compile(rule).ok()).collect()
}

/// What tells an item of a list-map apart: its keys with their values, defaults filled in. None: it has none of them.
pub(crate) fn item_key(keys: &[String], item: &Value, items: Option<&Node>) -> Option<Map<String, Value>> {
    let fields = item.as_object()?;
    let mut found = Map::new();
    for key in keys {
        let default = || items?.properties.get(key)?.default.as_ref();
        if let Some(value) = fields.get(key).or_else(default) {
            found.insert(key.clone(), value.clone());
        }
    }
    (!found.is_empty()).then_some(found)
}

/// The same item in the old list. Only items with keys can be told to be the same.
pub(crate) fn counterpart<'a>(list: &List, node: &Node, item: &Value, old: &'a [Value]) -> Option<&'a Value> {
    let List::Map(keys) = list else { return None };
    let key = item_key(keys, item, Some(node))?;
    old.iter()
        .find(|old| item_key(keys, old, Some(node)).as_ref() == Some(&key))
}
