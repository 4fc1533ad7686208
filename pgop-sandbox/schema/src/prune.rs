//! Removing what a schema does not know.

use serde_json::{Map, Value};

use crate::{
    Schema, built_in,
    node::{Kind, Node},
    path,
};

pub(crate) fn prune(schema: &Schema, object: &mut Value) -> Vec<String> {
    let mut pruning = Pruning {
        drop_null: schema.is_built_in(),
        removed: Vec::new(),
    };
    pruning.value(&schema.root, object, "");
    pruning.removed
}

struct Pruning {
    drop_null: bool,
    removed: Vec<String>,
}

impl Pruning {
    fn value(&mut self, node: &Node, value: &mut Value, at: &str) {
        match value {
            Value::Object(fields) => self.object(node, fields, at),
            Value::Array(items) => {
                if let Some(node) = &node.items {
                    for (number, item) in items.iter_mut().enumerate() {
                        self.value(node, item, &path::index(at, number));
                    }
                }
            }
            _ => {}
        }
    }

    fn object(&mut self, node: &Node, fields: &mut Map<String, Value>, at: &str) {
        let envelope = node.embedded.then(built_in::embedded);
        let drop_null = self.drop_null && !node.preserve;
        let mut unknown = Vec::new();
        for (name, value) in fields.iter_mut() {
            let known = envelope
                .and_then(|envelope| envelope.properties.get(name))
                .or_else(|| node.field(name));
            match known {
                Some(known) => self.value(known, value, &path::child(at, name)),
                None if node.preserve || node.kind != Kind::Object => {}
                None => unknown.push(name.clone()),
            }
        }
        for name in unknown {
            fields.remove(&name);
            self.removed.push(path::child(at, &name));
        }
        if drop_null {
            fields.retain(|_, value| !value.is_null());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn crd(schema: &Value) -> Schema {
        Schema::from_crd(schema).expect("structural")
    }

    fn pruned(schema: &Schema, mut object: Value) -> (Value, Vec<String>) {
        let removed = schema.prune(&mut object);
        (object, removed)
    }

    #[test]
    fn unknown_fields_go_and_are_named() {
        let schema = crd(
            &json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
                "size": {"type": "integer"},
                "list": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
                "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"a": {"type": "string"}}}},
            }}}}),
        );
        let (object, removed) = pruned(
            &schema,
            json!({"apiVersion": "pgop.dev/v1", "kind": "Database", "metadata": {"name": "a", "labels": {"x": "y"}, "nmae": "typo"},
                "spec": {"size": 1, "foo": {"a": 1}, "list": [{"name": "a", "bar": 1}], "map": {"k": {"a": "x", "b": "y"}}}}),
        );
        assert_eq!(
            removed,
            ["metadata.nmae", "spec.list[0].bar", "spec.map.k.b", "spec.foo"]
        );
        assert_eq!(
            object["spec"],
            json!({"size": 1, "list": [{"name": "a"}], "map": {"k": {"a": "x"}}})
        );
    }

    #[test]
    fn preserved_fields_stay_but_declared_ones_below_are_pruned() {
        let schema = crd(&json!({"type": "object", "properties": {"spec": {
            "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            "properties": {"known": {"type": "object", "properties": {"a": {"type": "string"}}}},
        }}}));
        let (object, removed) = pruned(
            &schema,
            json!({"spec": {"free": {"x": 1}, "known": {"a": "1", "b": "2"}}}),
        );
        assert_eq!(
            (object, removed),
            (
                json!({"spec": {"free": {"x": 1}, "known": {"a": "1"}}}),
                vec!["spec.known.b".into()]
            )
        );
    }

    #[test]
    fn embedded_resources_keep_their_envelope() {
        let schema = crd(&json!({"type": "object", "properties": {"template": {
            "type": "object", "x-kubernetes-embedded-resource": true,
            "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
        }}}));
        let template = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"x": 1}});
        let (object, removed) = pruned(&schema, json!({"template": template, "other": 1}));
        assert_eq!((object["template"].clone(), removed), (template, vec!["other".into()]));
    }

    #[test]
    fn an_object_without_declared_fields_is_emptied() {
        let schema = crd(&json!({"type": "object", "properties": {"spec": {"type": "object"}}}));
        assert_eq!(
            pruned(&schema, json!({"spec": {"a": 1}})),
            (json!({"spec": {}}), vec!["spec.a".into()])
        );
    }

    #[test]
    fn null_is_no_value_in_built_in_types() {
        let schema = Schema::built_in("", "v1", "Pod").expect("served");
        let pod = json!({"metadata": {"name": "a", "creationTimestamp": null}, "spec": {"nodeName": null, "typo": 1}});
        assert_eq!(
            pruned(&schema, pod),
            (json!({"metadata": {"name": "a"}, "spec": {}}), vec!["spec.typo".into()])
        );
    }
}
