//! Whether a CRD's schema is structural.
//! <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema>

use serde_json::{Map, Value, json};

use crate::{Cause, cel::Rule, check, defaulting, node::Node, path};

/// Everything wrong with the schema. Fields start with `openAPIV3Schema`.
pub(crate) fn check(schema: &Value) -> Vec<Cause> {
    let mut check = Check::default();
    let at = "openAPIV3Schema";
    let Some(fields) = schema.as_object() else {
        return vec![Cause::required(at, "schemas are required")];
    };
    if fields.get("type") != Some(&json!("object")) {
        let value = fields.get("type").cloned().unwrap_or_else(|| json!(""));
        check.causes.push(Cause::invalid(
            path::child(at, "type"),
            &value,
            "must be object at the root",
        ));
    }
    check.schema(fields, at, Place::Root);
    check.metadata(schema, at);
    check.causes
}

/// What may not be in a CRD at all.
const FORBIDDEN: [&str; 8] = [
    "$ref",
    "additionalItems",
    "definitions",
    "dependencies",
    "deprecated",
    "id",
    "patternProperties",
    "$schema",
];

/// What may not be within allOf, anyOf, oneOf and not.
const OUTSIDE_ONLY: [&str; 12] = [
    "additionalProperties",
    "default",
    "description",
    "nullable",
    "title",
    "type",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
    "x-kubernetes-preserve-unknown-fields",
];

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

/// What a schema describes, for the words of a missing type.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Field,
    Item,
}

#[derive(Default)]
struct Check {
    causes: Vec<Cause>,
    /// Above is a list whose items can't be followed from the old object to the new.
    uncorrelatable: bool,
}

impl Check {
    fn schema(&mut self, fields: &Map<String, Value>, at: &str, place: Place) {
        self.forbidden(fields, at);
        self.kind(fields, at, place);
        self.pattern(fields, at);
        self.list(fields, at);
        self.rules(fields, at, place);
        self.default_value(fields, at);
        self.junctions(fields, fields, at);
        self.children(fields, at);
    }

    fn children(&mut self, fields: &Map<String, Value>, at: &str) {
        if let Some(properties) = fields.get("properties").and_then(Value::as_object) {
            if fields.contains_key("additionalProperties") {
                self.causes.push(Cause::forbidden(
                    path::child(at, "additionalProperties"),
                    "must not be used together with properties",
                ));
            }
            for (name, property) in properties {
                // What every object has is known, and declared by many without a type.
                if place_is_envelope(at, name) {
                    continue;
                }
                self.child(property, &path::key(&path::child(at, "properties"), name), Place::Field);
            }
        }
        if let Some(entries) = fields
            .get("additionalProperties")
            .filter(|entries| !entries.is_boolean())
        {
            self.child(entries, &path::child(at, "additionalProperties"), Place::Field);
        }
        match fields.get("items") {
            Some(Value::Array(_)) => {
                self.causes.push(Cause::forbidden(
                    path::child(at, "items"),
                    "items must be a schema object and not an array",
                ));
            }
            Some(items) => {
                let outside = self.uncorrelatable;
                self.uncorrelatable |= fields.get("x-kubernetes-list-type") != Some(&json!("map"));
                self.child(items, &path::child(at, "items"), Place::Item);
                self.uncorrelatable = outside;
            }
            None if fields.get("type") == Some(&json!("array")) => {
                self.causes
                    .push(Cause::required(path::child(at, "items"), "must be specified"));
            }
            None => {}
        }
    }

    fn child(&mut self, schema: &Value, at: &str, place: Place) {
        match schema.as_object() {
            Some(fields) => self.schema(fields, at, place),
            None => self.causes.push(Cause::invalid(at, schema, "must be a schema object")),
        }
    }

    fn forbidden(&mut self, fields: &Map<String, Value>, at: &str) {
        for name in FORBIDDEN.iter().filter(|name| fields.contains_key(**name)) {
            self.causes.push(Cause::forbidden(
                path::child(at, name),
                &format!("{name} is not supported"),
            ));
        }
        if fields.get("uniqueItems") == Some(&json!(true)) {
            let detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
            self.causes
                .push(Cause::forbidden(path::child(at, "uniqueItems"), detail));
        }
        if fields.get("additionalProperties") == Some(&json!(false)) {
            let detail = "additionalProperties cannot be set to false";
            self.causes
                .push(Cause::forbidden(path::child(at, "additionalProperties"), detail));
        }
    }

    fn kind(&mut self, fields: &Map<String, Value>, at: &str, place: Place) {
        let on = |name: &str| fields.get(name) == Some(&json!(true));
        let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default();
        let free = on("x-kubernetes-int-or-string") || on("x-kubernetes-preserve-unknown-fields");
        let at_type = path::child(at, "type");
        if kind.is_empty() && !free && place != Place::Root {
            let what = if place == Place::Item {
                "array items"
            } else {
                "object fields"
            };
            self.causes.push(Cause::required(
                at_type,
                &format!("must not be empty for specified {what}"),
            ));
        } else if !kind.is_empty() && !TYPES.contains(&kind) {
            self.causes.push(Cause::not_supported(at_type, &json!(kind), &TYPES));
        } else if !kind.is_empty() && on("x-kubernetes-int-or-string") {
            let detail = "must be empty if x-kubernetes-int-or-string is true";
            self.causes.push(Cause::invalid(at_type, &json!(kind), detail));
        }
        if on("x-kubernetes-embedded-resource") {
            if kind != "object" {
                let detail = "must be object if x-kubernetes-embedded-resource is true";
                self.causes
                    .push(Cause::invalid(path::child(at, "type"), &json!(kind), detail));
            }
            if !on("x-kubernetes-preserve-unknown-fields") && !fields.contains_key("properties") {
                let detail = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
                self.causes.push(Cause::required(path::child(at, "properties"), detail));
            }
        }
    }

    fn pattern(&mut self, fields: &Map<String, Value>, at: &str) {
        let Some(pattern) = fields.get("pattern").and_then(Value::as_str) else {
            return;
        };
        if let Err(error) = regex::Regex::new(pattern) {
            let detail = format!("must be a valid regular expression, but isn't: {error}");
            self.causes
                .push(Cause::invalid(path::child(at, "pattern"), &json!(pattern), &detail));
        }
    }

    fn list(&mut self, fields: &Map<String, Value>, at: &str) {
        let at_type = path::child(at, "x-kubernetes-list-type");
        let at_keys = path::child(at, "x-kubernetes-list-map-keys");
        let keys = fields
            .get("x-kubernetes-list-map-keys")
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        let Some(list) = fields.get("x-kubernetes-list-type") else {
            if !keys.is_empty() {
                self.causes.push(Cause::required(
                    at_type,
                    "must be map if x-kubernetes-list-map-keys is non-empty",
                ));
            }
            return;
        };
        if fields.get("type") != Some(&json!("array")) {
            let kind = fields.get("type").cloned().unwrap_or_else(|| json!(""));
            self.causes.push(Cause::invalid(
                path::child(at, "type"),
                &kind,
                "must be array if x-kubernetes-list-type is specified",
            ));
        }
        let items = fields.get("items").cloned().unwrap_or_default();
        match list.as_str() {
            Some("atomic") => {}
            Some("set") => self.set(&items, at),
            Some("map") if keys.is_empty() => {
                self.causes.push(Cause::required(
                    at_keys,
                    "must not be empty if x-kubernetes-list-type is map",
                ));
            }
            Some("map") => {
                for (number, key) in keys.iter().enumerate() {
                    self.map_key(&items, key, at, &path::index(&at_keys, number));
                }
            }
            _ => self
                .causes
                .push(Cause::not_supported(at_type, list, &["atomic", "map", "set"])),
        }
    }

    fn set(&mut self, items: &Value, at: &str) {
        if items["nullable"] == json!(true) {
            let detail = "cannot be nullable when x-kubernetes-list-type is set";
            self.causes
                .push(Cause::forbidden(path::child(at, "items.nullable"), detail));
        }
        if items["type"] == "object" && items["x-kubernetes-map-type"] != "atomic" {
            let kind = items["x-kubernetes-map-type"].clone();
            let detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
            self.causes.push(Cause::invalid(
                path::child(at, "items.x-kubernetes-map-type"),
                &kind,
                detail,
            ));
        }
    }

    fn map_key(&mut self, items: &Value, key: &Value, at: &str, at_key: &str) {
        let name = key.as_str().unwrap_or_default();
        let at_property = path::key(&path::child(at, "items.properties"), name);
        let Some(property) = items["properties"].get(name) else {
            self.causes.push(Cause::invalid(
                at_key,
                key,
                "entries must all be names of item properties",
            ));
            return;
        };
        if matches!(property["type"].as_str(), Some("object" | "array")) {
            let detail = "must be a scalar type if parent array's x-kubernetes-list-type is map";
            self.causes.push(Cause::invalid(
                path::child(&at_property, "type"),
                &property["type"],
                detail,
            ));
        }
        let required = items["required"].as_array().is_some_and(|names| names.contains(key));
        if !required && property.get("default").is_none() {
            let detail =
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            self.causes
                .push(Cause::required(path::child(&at_property, "default"), detail));
        }
    }

    fn rules(&mut self, fields: &Map<String, Value>, at: &str, place: Place) {
        let rules = fields
            .get("x-kubernetes-validations")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        let mut node = None;
        for (number, rule) in rules.enumerate() {
            let node = node.get_or_insert_with(|| Node::parse(&Value::Object(fields.clone())));
            let at = path::index(&path::child(at, "x-kubernetes-validations"), number);
            match Rule::compile(rule) {
                Ok(rule) if rule.transition && self.uncorrelatable => {
                    let detail = "oldSelf cannot be used on the uncorrelatable portion of the schema";
                    self.causes
                        .push(Cause::invalid(path::child(&at, "rule"), &json!(""), detail));
                }
                Ok(rule) => {
                    if let Err(cause) = rule.fits(node, place == Place::Root) {
                        self.causes.push(Cause {
                            field: path::child(&at, &cause.field),
                            ..cause
                        });
                    }
                }
                Err(cause) => self.causes.push(Cause {
                    field: path::child(&at, &cause.field),
                    ..cause
                }),
            }
        }
    }

    fn default_value(&mut self, fields: &Map<String, Value>, at: &str) {
        let Some(default) = fields.get("default") else { return };
        let at = path::child(at, "default");
        let node = Node::parse(&Value::Object(fields.clone()));
        if default.is_null() && !node.nullable {
            return; // Kubernetes drops it: a null default of what can't be null is no default
        }
        let mut whole = default.clone();
        defaulting::default(&node, &mut whole);
        self.causes.extend(check::value(&node, &whole, &at));
    }

    /// Only rules for values are allowed within junctions, and only of fields that are declared outside.
    fn junctions(&mut self, outer: &Map<String, Value>, fields: &Map<String, Value>, at: &str) {
        for name in ["allOf", "anyOf", "oneOf"] {
            let branches = fields.get(name).and_then(Value::as_array).into_iter().flatten();
            for (number, branch) in branches.enumerate() {
                let at = path::index(&path::child(at, name), number);
                self.branch(outer, branch, &at, name != "not" && int_or_string(outer));
            }
        }
        if let Some(branch) = fields.get("not") {
            self.branch(outer, branch, &path::child(at, "not"), false);
        }
    }

    fn branch(&mut self, outer: &Map<String, Value>, branch: &Value, at: &str, may_have_type: bool) {
        let Some(fields) = branch.as_object() else { return };
        for name in OUTSIDE_ONLY
            .iter()
            .filter(|name| fields.contains_key(**name) && !(may_have_type && **name == "type"))
        {
            self.causes.push(Cause::forbidden(
                path::child(at, name),
                "must be empty to be structural",
            ));
        }
        self.pattern(fields, at);
        self.junctions(outer, fields, at);
        for (name, property) in fields
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let at = path::key(&path::child(at, "properties"), name);
            let outside = outer
                .get("properties")
                .and_then(|properties| properties.get(name))
                .and_then(Value::as_object);
            match outside {
                Some(outside) => self.branch(outside, property, &at, int_or_string(outside)),
                None if outer.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(true)) => {}
                None => self.undeclared(&at),
            }
        }
        if let Some(items) = fields.get("items") {
            let at = path::child(at, "items");
            match outer.get("items").and_then(Value::as_object) {
                Some(outside) => self.branch(outside, items, &at, int_or_string(outside)),
                None => self.undeclared(&at),
            }
        }
    }

    /// Kubernetes names the place outside where the declaration is missing.
    fn undeclared(&mut self, at: &str) {
        let mut outside = at.to_owned();
        for junction in [".allOf[", ".anyOf[", ".oneOf["] {
            while let Some(from) = outside.find(junction) {
                let Some(length) = outside[from..].find(']') else { break };
                outside.replace_range(from..=from + length, "");
            }
        }
        let outside = outside.replace(".not", "");
        self.causes
            .push(Cause::required(outside, &format!("because it is defined in {at}")));
    }

    fn metadata(&mut self, schema: &Value, at: &str) {
        let at = path::key(&path::child(at, "properties"), "metadata");
        let Some(fields) = schema["properties"].get("metadata").and_then(Value::as_object) else {
            return;
        };
        if fields.get("type").is_some_and(|kind| kind != "object") {
            self.causes.push(Cause::invalid(
                path::child(&at, "type"),
                &fields["type"],
                "must be object",
            ));
        }
        let allowed = |name: &&String| ["name", "generateName"].contains(&name.as_str());
        let others = fields
            .get("properties")
            .and_then(Value::as_object)
            .is_some_and(|fields| !fields.keys().all(|name| allowed(&name)));
        if others {
            let detail =
                "must not specify anything other than name and generateName, but metadata is implicitly specified";
            self.causes.push(Cause::forbidden(at, detail));
        }
    }
}

fn int_or_string(schema: &Map<String, Value>) -> bool {
    schema.get("x-kubernetes-int-or-string") == Some(&json!(true))
}

fn place_is_envelope(at: &str, name: &str) -> bool {
    at == "openAPIV3Schema" && ["apiVersion", "kind", "metadata"].contains(&name)
}

#[cfg(test)]
mod tests;
