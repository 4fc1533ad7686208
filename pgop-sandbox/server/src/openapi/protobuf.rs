//! The document of version 2 as protocol buffers, the only form that `kubectl` of old asks for.
//!
//! The messages are those of <https://github.com/google/gnostic-models/blob/main/openapiv2/OpenAPIv2.proto>. They are few and
//! written only, so they are written by hand.

use serde_json::{Map, Value};

/// Its media type.
pub(crate) const MEDIA: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// Its media type as kubectl asks for it: no answer may have it, as it is none by the rules.
pub(crate) const ASKED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// A message under construction.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.0.push(number.to_le_bytes()[0]);
    }

    /// A field of bytes: texts and messages within.
    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, field: u32, text: &str) {
        if !text.is_empty() {
            self.bytes(field, text.as_bytes());
        }
    }

    fn flag(&mut self, field: u32, on: bool) {
        self.varint(u64::from(field) << 3);
        self.varint(u64::from(on));
    }

    fn with(build: impl FnOnce(&mut Self)) -> Vec<u8> {
        let mut message = Self::default();
        build(&mut message);
        message.0
    }
}

/// A document of version 2 with its definitions; the paths are told only as far as dry runs need them.
pub(crate) fn document(document: &Value) -> Vec<u8> {
    Message::with(|told| {
        told.text(1, document["swagger"].as_str().unwrap_or_default());
        let info = Message::with(|info| {
            info.text(1, document["info"]["title"].as_str().unwrap_or_default());
            info.text(2, document["info"]["version"].as_str().unwrap_or_default());
        });
        told.bytes(2, &info);
        told.bytes(8, &paths(&document["paths"]));
        if let Some(definitions) = document["definitions"].as_object() {
            told.bytes(9, &named_schemas(definitions));
        }
    })
}

/// `Paths`, each with its patch operation.
fn paths(paths: &Value) -> Vec<u8> {
    Message::with(|told| {
        for (path, item) in paths.as_object().into_iter().flatten() {
            let patch = &item["patch"];
            if !patch.is_object() {
                continue;
            }
            let operation = Message::with(|operation| {
                for parameter in patch["parameters"].as_array().into_iter().flatten() {
                    operation.bytes(8, &query_parameter(parameter["name"].as_str().unwrap_or_default()));
                }
                extension(
                    operation,
                    13,
                    "x-kubernetes-group-version-kind",
                    &patch["x-kubernetes-group-version-kind"],
                );
            });
            let item = Message::with(|item| item.bytes(8, &operation));
            let named = Message::with(|named| {
                named.text(1, path);
                named.bytes(2, &item);
            });
            told.bytes(2, &named);
        }
    })
}

/// `ParametersItem` > `Parameter` > `NonBodyParameter` > `QueryParameterSubSchema`.
fn query_parameter(name: &str) -> Vec<u8> {
    let query = Message::with(|query| {
        query.text(2, "query");
        query.text(4, name);
        query.text(6, "string");
    });
    let non_body = Message::with(|parameter| parameter.bytes(3, &query));
    let parameter = Message::with(|parameter| parameter.bytes(2, &non_body));
    Message::with(|item| item.bytes(1, &parameter))
}

/// `Definitions` and `Properties` alike: named schemas.
fn named_schemas(schemas: &Map<String, Value>) -> Vec<u8> {
    Message::with(|told| {
        for (name, value) in schemas {
            let named = Message::with(|named| {
                named.text(1, name);
                named.bytes(2, &schema(value));
            });
            told.bytes(1, &named);
        }
    })
}

fn schema(schema: &Value) -> Vec<u8> {
    // Version 2 has no word for "a number or a text"; what says nothing of its type takes both.
    let open = schema["x-kubernetes-int-or-string"] == true || schema["x-kubernetes-preserve-unknown-fields"] == true;
    Message::with(|told| {
        told.text(1, schema["$ref"].as_str().unwrap_or_default());
        told.text(2, schema["format"].as_str().filter(|_| !open).unwrap_or_default());
        told.text(4, schema["description"].as_str().unwrap_or_default());
        for name in schema["required"].as_array().into_iter().flatten() {
            told.text(19, name.as_str().unwrap_or_default());
        }
        match &schema["additionalProperties"] {
            Value::Bool(on) => told.bytes(21, &Message::with(|item| item.flag(2, *on))),
            Value::Object(_) => {
                let inner = self::schema(&schema["additionalProperties"]);
                told.bytes(21, &Message::with(|item| item.bytes(1, &inner)));
            }
            _ => {}
        }
        let has_fields = schema["properties"].is_object();
        if let Some(kind) = schema["type"].as_str().filter(|_| !open || has_fields) {
            told.bytes(22, &Message::with(|item| item.text(1, kind)));
        }
        if schema["items"].is_object() {
            let inner = self::schema(&schema["items"]);
            told.bytes(23, &Message::with(|item| item.bytes(1, &inner)));
        }
        if let Some(properties) = schema["properties"].as_object() {
            told.bytes(25, &named_schemas(properties));
        }
        for (name, value) in schema.as_object().into_iter().flatten() {
            let wanted = name.starts_with("x-kubernetes-patch") || name == "x-kubernetes-group-version-kind";
            if wanted {
                extension(told, 31, name, value);
            }
        }
    })
}

/// A vendor extension: its name, and its value as YAML, of which JSON is a part.
fn extension(message: &mut Message, field: u32, name: &str, value: &Value) {
    if value.is_null() {
        return;
    }
    let any = Message::with(|any| any.text(2, &value.to_string()));
    let named = Message::with(|named| {
        named.text(1, name);
        named.bytes(2, &any);
    });
    message.bytes(field, &named);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn a_small_document_is_these_bytes() {
        let document = json!({"swagger": "2.0", "info": {"title": "a", "version": "b"}, "paths": {}, "definitions": {
            "x": {"type": "object", "additionalProperties": true}}});
        let bytes = super::document(&document);
        let expected: &[u8] = b"\x0a\x032.0\x12\x06\x0a\x01a\x12\x01b\x42\x00\x4a\x17\x0a\x15\x0a\x01x\x12\x10\xaa\x01\x02\x10\x01\xb2\x01\x08\x0a\x06object";
        assert_eq!(bytes, expected);
    }
}
