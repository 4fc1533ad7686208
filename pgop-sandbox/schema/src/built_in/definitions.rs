//! The definitions of all built-in types, made once from k8s-openapi's JSON schemas and our tables.

use std::sync::LazyLock;

use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{GROUPS, Subschema, defaults, lists, of, values};
use crate::node::QUANTITY;

/// What references between the definitions start with.
pub const REFERENCE: &str = "#/$defs/";

static DEFINITIONS: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    let mut generator = generator();
    of::<super::ObjectMeta>(&mut generator);
    for (_, _, kinds) in GROUPS {
        for (_, subschema) in *kinds {
            subschema(&mut generator);
        }
    }
    let mut definitions: Map<String, Value> = generator.take_definitions(true).into_iter().collect();
    for (name, definition) in &mut definitions {
        enrich(name, definition);
    }
    definitions
});

fn generator() -> SchemaGenerator {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.meta_schema = None);
    settings.into_generator()
}

/// The definitions of all built-in types and of the types within them, by names such as `io.k8s.api.apps.v1.Deployment`. They refer to
/// each other by [`REFERENCE`] and the name.
pub fn definitions() -> &'static Map<String, Value> {
    &DEFINITIONS
}

/// The name of the definition of a served type.
pub fn definition_name(group: &str, version: &str, kind: &str) -> Option<String> {
    let (_, _, kinds) = GROUPS
        .iter()
        .find(|(served, at, _)| (*served, *at) == (group, version))?;
    let (_, subschema) = kinds.iter().find(|(served, _)| *served == kind)?;
    Some(name_of(*subschema))
}

pub(super) fn name_of(subschema: Subschema) -> String {
    let reference = subschema(&mut generator()).to_value();
    let name = reference["$ref"]
        .as_str()
        .and_then(|reference| reference.strip_prefix(REFERENCE));
    name.unwrap_or_default().to_owned()
}

/// A definition without references.
pub(super) fn inlined(name: &str) -> Value {
    let reference = json!({"$ref": format!("{REFERENCE}{name}")});
    inline(&reference, definitions(), &mut Vec::new())
}

/// Adds what the tables know of a type.
fn enrich(name: &str, definition: &mut Value) {
    let Some(fields) = definition.as_object_mut() else {
        return;
    };
    if name.ends_with(".api.resource.Quantity") {
        fields.insert("format".to_owned(), json!(QUANTITY));
    }
    if fields.get("type") == Some(&json!("object")) && !fields.contains_key("properties") {
        if name.ends_with(".apiextensions.v1.JSON") {
            fields.remove("type"); // any JSON, whatever OpenAPI says
        }
        if !fields.contains_key("additionalProperties") {
            fields.insert("x-kubernetes-preserve-unknown-fields".to_owned(), json!(true));
        }
    }
    let Some(short) = short_name(name) else { return };
    if lists::ATOMIC_TYPES.contains(&short) {
        fields.insert("x-kubernetes-map-type".to_owned(), json!("atomic"));
    }
    let Some(properties) = fields.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    for (field, property) in properties
        .iter_mut()
        .filter_map(|(field, value)| Some((field, value.as_object_mut()?)))
    {
        lists::enrich(short, field, property);
        values::enrich(short, field, property);
        if let Some(default) = defaults::of(short, field) {
            property.insert("default".to_owned(), default);
        }
    }
}

/// `core.v1.Container` of `io.k8s.api.core.v1.Container`.
pub(super) fn short_name(name: &str) -> Option<&str> {
    let mut dots = name.rmatch_indices('.').map(|(at, _)| at + 1);
    name.get(dots.nth(2)?..)
}

/// A copy of `schema` with the definitions in the place of references to them. A type within itself is left open.
fn inline(schema: &Value, definitions: &Map<String, Value>, above: &mut Vec<String>) -> Value {
    match schema {
        Value::Array(items) => items.iter().map(|item| inline(item, definitions, above)).collect(),
        Value::Object(fields) => {
            let name = fields
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|reference| reference.rsplit('/').next());
            let Some(name) = name else {
                let inlined = fields
                    .iter()
                    .map(|(key, value)| (key.clone(), inline(value, definitions, above)));
                return inlined.collect();
            };
            let mut whole = if above.iter().any(|outer| outer == name) {
                json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
            } else {
                above.push(name.to_owned());
                let whole = definitions
                    .get(name)
                    .map_or_else(|| json!({}), |found| inline(found, definitions, above));
                above.pop();
                whole
            };
            for (key, value) in fields.iter().filter(|(key, _)| *key != "$ref") {
                whole[key] = value.clone();
            }
            whole
        }
        scalar => scalar.clone(),
    }
}
