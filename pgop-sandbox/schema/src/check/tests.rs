use super::*;
use serde_json::json;

/// The violations of `spec`, as lines.
fn lines(spec_schema: &Value, spec: &Value) -> Vec<String> {
    let schema = Schema::from_crd(&json!({"type": "object", "properties": {"spec": spec_schema}})).expect("structural");
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
fn what_stays_as_it_was_is_not_checked_again() {
    let users = json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
        "items": {"type": "object", "required": ["name"], "properties": {
            "name": {"type": "string"}, "limit": {"type": "integer", "minimum": 1}}}});
    let spec = json!({"type": "object", "properties": {"size": {"type": "integer", "maximum": 5}, "users": users}});
    let schema = Schema::from_crd(&json!({"type": "object", "properties": {"spec": spec}})).expect("structural");
    let object = |size: i64, limit: i64| json!({"spec": {"size": size, "users": [{"name": "a", "limit": limit}]}});
    assert_eq!(schema.validate(&object(9, 0), None).len(), 2);
    assert_eq!(schema.validate(&object(9, 1), Some(&object(9, 0))), []);
    assert_eq!(schema.validate(&object(1, 0), Some(&object(9, 0))), []);
    assert_eq!(schema.validate(&object(8, 0), Some(&object(9, 0))).len(), 1);
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
