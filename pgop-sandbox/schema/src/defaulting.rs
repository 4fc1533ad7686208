//! Filling in defaults.

use serde_json::Value;

use crate::node::Node;

pub(crate) fn default(node: &Node, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, property) in &node.properties {
                let missing = fields
                    .get(name)
                    .is_none_or(|value| value.is_null() && !property.nullable);
                if !missing {
                    continue;
                }
                match &property.default {
                    Some(default) => fields.insert(name.clone(), default.clone()),
                    None => fields.remove(name),
                };
            }
            for (name, value) in fields.iter_mut() {
                let Some(node) = node.field(name) else { continue };
                if let (Value::Null, false, Some(default)) = (&*value, node.nullable, &node.default) {
                    *value = default.clone();
                }
                self::default(node, value);
            }
        }
        Value::Array(items) => {
            let Some(node) = &node.items else { return };
            for item in items {
                default(node, item);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use crate::Schema;
    use serde_json::{Value, json};

    fn defaulted(schema: &Value, mut object: Value) -> Value {
        Schema::from_crd(schema).expect("structural").default(&mut object);
        object
    }

    #[test]
    fn defaults_reach_into_lists_and_maps_but_make_no_parents() {
        let port = json!({"type": "object", "properties": {"protocol": {"type": "string", "default": "TCP"}}});
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "replicas": {"type": "integer", "default": 1},
            "ports": {"type": "array", "items": port},
            "named": {"type": "object", "additionalProperties": port},
            "absent": port,
            "nested": {"type": "object", "default": {}, "properties": {"on": {"type": "boolean", "default": true}}},
        }}}});
        assert_eq!(
            defaulted(
                &schema,
                json!({"spec": {"ports": [{}, {"protocol": "UDP"}], "named": {"a": {}}}})
            ),
            json!({"spec": {"replicas": 1, "ports": [{"protocol": "TCP"}, {"protocol": "UDP"}],
                "named": {"a": {"protocol": "TCP"}}, "nested": {"on": true}}})
        );
        assert_eq!(defaulted(&schema, json!({})), json!({}));
    }

    #[test]
    fn null_counts_as_missing_unless_it_is_allowed() {
        let schema = json!({"type": "object", "properties": {
            "a": {"type": "integer", "default": 1},
            "b": {"type": "integer", "default": 1, "nullable": true},
            "c": {"type": "integer"},
        }});
        assert_eq!(
            defaulted(&schema, json!({"a": null, "b": null, "c": null})),
            json!({"a": 1, "b": null})
        );
    }
}
