use proptest::prelude::*;

use super::*;
use crate::Schema;

fn lines(schema: &Value) -> Vec<String> {
    check(schema).iter().map(ToString::to_string).collect()
}

fn with_spec(spec: &Value) -> Value {
    json!({"type": "object", "properties": {"spec": spec}})
}

#[test]
fn a_schema_as_controller_gen_and_kube_derive_write_it() {
    let schema = json!({
        "description": "A database", "type": "object", "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"},
            "spec": {"type": "object", "properties": {
                "replicas": {"type": "integer", "format": "int32", "minimum": 0.0, "default": 1},
                "port": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
                "template": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "source": {
                    "type": "object", "properties": {"git": {"type": "string"}, "s3": {"type": "string"}},
                    "oneOf": [{"required": ["git"]}, {"required": ["s3"], "properties": {"s3": {"minLength": 3}}}],
                },
                "users": {
                    "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                    "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
                },
            }, "x-kubernetes-validations": [{"rule": "self.replicas >= 0"}]},
            "status": {"type": "object", "nullable": true, "x-kubernetes-preserve-unknown-fields": true},
        },
    });
    assert_eq!(lines(&schema), [""; 0]);
}

#[test]
fn types() {
    assert_eq!(
        lines(&json!({})),
        [r#"openAPIV3Schema.type: Invalid value: "": must be object at the root"#]
    );
    assert_eq!(
        lines(&with_spec(
            &json!({"properties": {"a": {"type": "text"}, "b": {"type": "array", "items": {}}, "c": {"type": "array"}}})
        )),
        [
            "openAPIV3Schema.properties[spec].type: Required value: must not be empty for specified object fields",
            r#"openAPIV3Schema.properties[spec].properties[a].type: Unsupported value: "text": supported values: "array", "boolean", "integer", "number", "object", "string""#,
            "openAPIV3Schema.properties[spec].properties[b].items.type: Required value: must not be empty for specified array items",
            "openAPIV3Schema.properties[spec].properties[c].items: Required value: must be specified",
        ]
    );
}

#[test]
fn what_is_not_supported() {
    let schema = with_spec(
        &json!({"type": "object", "$ref": "#/x", "uniqueItems": true, "properties": {}, "additionalProperties": {"type": "string"}}),
    );
    assert_eq!(
        lines(&schema),
        [
            "openAPIV3Schema.properties[spec].$ref: Forbidden: $ref is not supported",
            "openAPIV3Schema.properties[spec].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
            "openAPIV3Schema.properties[spec].additionalProperties: Forbidden: must not be used together with properties",
        ]
    );
}

#[test]
fn junctions_hold_only_rules_for_declared_fields() {
    let schema =
        with_spec(&json!({"type": "object", "anyOf": [{"type": "object", "properties": {"gone": {"minimum": 1}}}]}));
    assert_eq!(
        lines(&schema),
        [
            "openAPIV3Schema.properties[spec].anyOf[0].type: Forbidden: must be empty to be structural",
            "openAPIV3Schema.properties[spec].properties[gone]: Required value: because it is defined in openAPIV3Schema.properties[spec].anyOf[0].properties[gone]",
        ]
    );
}

#[test]
fn lists() {
    let list = |list: Value, items: Value| {
        let mut schema = json!({"type": "array", "items": items});
        schema
            .as_object_mut()
            .expect("object")
            .extend(list.as_object().expect("object").clone());
        lines(&with_spec(&schema))
    };
    let item = json!({"type": "object", "properties": {"name": {"type": "string"}}});
    assert_eq!(
        list(json!({"x-kubernetes-list-type": "map"}), item.clone()),
        [
            "openAPIV3Schema.properties[spec].x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map"
        ]
    );
    assert_eq!(
        list(
            json!({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}),
            item.clone()
        )
        .len(),
        1
    );
    assert_eq!(
        list(
            json!({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"]}),
            item.clone()
        )
        .len(),
        1
    );
    assert_eq!(list(json!({"x-kubernetes-list-type": "set"}), item).len(), 1);
    assert_eq!(
        list(json!({"x-kubernetes-list-type": "set"}), json!({"type": "string"})),
        [""; 0]
    );
    assert_eq!(
        list(json!({"x-kubernetes-list-type": "bag"}), json!({"type": "string"})).len(),
        1
    );
}

#[test]
fn defaults_and_patterns_and_rules() {
    let schema = with_spec(&json!({"type": "object", "properties": {
        "n": {"type": "integer", "default": "one"},
        "p": {"type": "string", "pattern": "("},
        "r": {"type": "string", "x-kubernetes-validations": [{"rule": "self =="}, {"rule": ""}]},
        "l": {"type": "array", "items": {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}},
    }}));
    let lines = lines(&schema);
    let starts = [
        "openAPIV3Schema.properties[spec].properties[l].items.x-kubernetes-validations[0].rule: Invalid value: \"\": oldSelf cannot",
        "openAPIV3Schema.properties[spec].properties[n].default: Invalid value: \"string\": ",
        "openAPIV3Schema.properties[spec].properties[p].pattern: Invalid value: \"(\": must be a valid regular expression",
        "openAPIV3Schema.properties[spec].properties[r].x-kubernetes-validations[0].rule: Invalid value: \"self ==\": compilation failed",
        "openAPIV3Schema.properties[spec].properties[r].x-kubernetes-validations[1].rule: Required value",
    ];
    assert_eq!(lines.len(), starts.len(), "{lines:#?}");
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}\n{start}");
    }
}

#[test]
fn metadata_is_only_for_names() {
    let schema = |metadata: Value| json!({"type": "object", "properties": {"metadata": metadata}});
    assert_eq!(
        lines(&schema(
            json!({"type": "object", "properties": {"name": {"type": "string", "maxLength": 20}}})
        )),
        [""; 0]
    );
    assert_eq!(
        lines(&schema(
            json!({"type": "object", "properties": {"labels": {"type": "object"}}})
        ))
        .len(),
        1
    );
}

/// Schemas out of keywords with values of any kind.
fn hostile() -> impl Strategy<Value = Value> {
    let keywords = [
        "type",
        "properties",
        "items",
        "additionalProperties",
        "default",
        "metadata",
        "apiVersion",
        "anyOf",
        "not",
        "required",
        "pattern",
        "x-kubernetes-validations",
        "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys",
        "rule",
        "name",
    ];
    let texts = vec![
        "object",
        "array",
        "string",
        "map",
        "set",
        "(",
        "self == oldSelf",
        "self.",
        "name",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop::sample::select(texts).prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 48, 5, move |inner| {
        let keyword = prop::sample::select(keywords.to_vec());
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(keyword, inner, 0..6)
                .prop_map(|map| map.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn hostile_schemas_never_panic(schema in hostile(), object in hostile()) {
        for schema in [&schema, &json!({"type": "object", "properties": schema})] {
            if let Ok(schema) = Schema::from_crd(schema) {
                let mut object = object.clone();
                schema.prune(&mut object);
                schema.default(&mut object);
                schema.validate(&object, None);
                schema.validate(&object, Some(&json!({})));
            }
        }
    }
}
