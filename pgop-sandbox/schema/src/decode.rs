//! Whether a value can be read as a built-in type at all. Kubernetes decodes these into Go structs before it looks at any rule.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::{
    format,
    node::{Kind, Node},
    path,
};

/// The first value that is not of its field's type, in the words of Go's decoder.
pub(crate) fn mistyped(node: &Node, value: &Value, at: &str) -> Option<String> {
    if value.is_null() {
        return None;
    }
    match (node.kind, value) {
        (_, Value::String(_) | Value::Number(_)) if node.is_quantity() => {}
        (Kind::Any, _)
        | (Kind::Object, Value::Object(_))
        | (Kind::Array, Value::Array(_))
        | (Kind::Boolean, Value::Bool(_))
        | (Kind::IntOrString, Value::String(_)) => {}
        (Kind::String, Value::String(text)) => return unreadable(node, text),
        (Kind::Integer | Kind::Number | Kind::IntOrString, Value::Number(number)) => {
            let (bits, kind) = match (node.kind, node.checks.format.as_deref()) {
                (Kind::Number, _) => return None,
                (Kind::IntOrString, _) | (_, Some("int32")) => (32, "int32"),
                _ => (64, "int64"),
            };
            let whole = number.as_i64().or_else(|| {
                let float = number.as_f64().filter(|float| float.fract() == 0.0)?;
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "beyond the range it saturates, and fits nowhere"
                )]
                let whole = float as i64;
                Some(whole)
            });
            let fits = whole.is_some_and(|whole| bits == 64 || i32::try_from(whole).is_ok());
            return (!fits).then(|| wrong(&format!("number {number}"), at, kind));
        }
        _ => return Some(wrong(json_name(value), at, go_name(node))),
    }
    match value {
        Value::Object(fields) => fields
            .iter()
            .find_map(|(name, value)| mistyped(node.field(name)?, value, &path::child(at, name))),
        Value::Array(items) => {
            let node = node.items.as_deref()?;
            items.iter().find_map(|item| mistyped(node, item, at))
        }
        _ => None,
    }
}

fn wrong(what: &str, at: &str, kind: &str) -> String {
    format!("json: cannot unmarshal {what} into Go struct field {at} of type {kind}")
}

/// What keeps a text from being read as what its format says.
fn unreadable(node: &Node, text: &str) -> Option<String> {
    match node.checks.format.as_deref()? {
        "byte" if STANDARD.decode(text).is_err() => {
            let legal = |letter: &u8| letter.is_ascii_alphanumeric() || b"+/=".contains(letter);
            let at = text.bytes().position(|letter| !legal(&letter)).unwrap_or(text.len());
            Some(format!("illegal base64 data at input byte {at}"))
        }
        "date-time" if format::date_time(text).is_none() => Some(format!(
            "parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text:?}"
        )),
        _ => None,
    }
}

fn json_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn go_name(node: &Node) -> &'static str {
    match node.kind {
        Kind::Any => "interface {}",
        Kind::Object if node.additional.is_some() => "map",
        Kind::Object => "struct",
        Kind::Array => "slice",
        Kind::String => "string",
        Kind::Integer if node.checks.format.as_deref() == Some("int32") => "int32",
        Kind::Integer => "int64",
        Kind::Number => "float64",
        Kind::Boolean => "bool",
        Kind::IntOrString => "intstr.IntOrString",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::Schema;

    fn told(group: &str, kind: &str, object: &Value) -> Option<String> {
        Schema::built_in(group, "v1", kind)
            .expect("served")
            .mistyped(object, kind)
    }

    #[test]
    fn what_can_not_be_read_is_told_as_go_does() {
        let wrong = |field: &str, what: &str, kind: &str| {
            Some(format!(
                "json: cannot unmarshal {what} into Go struct field {field} of type {kind}"
            ))
        };
        assert_eq!(told("", "ConfigMap", &json!({"data": {"a": "b"}})), None);
        assert_eq!(
            told("", "ConfigMap", &json!({"data": {"a": 5}})),
            wrong("ConfigMap.data.a", "number", "string")
        );
        assert_eq!(
            told("", "ConfigMap", &json!({"data": []})),
            wrong("ConfigMap.data", "array", "map")
        );
        assert_eq!(
            told("", "ConfigMap", &json!({"metadata": 1})),
            wrong("ConfigMap.metadata", "number", "struct")
        );
        assert_eq!(
            told("apps", "Deployment", &json!({"spec": {"replicas": "3"}})),
            wrong("Deployment.spec.replicas", "string", "int32")
        );
        assert_eq!(
            told("apps", "Deployment", &json!({"spec": {"replicas": 3_000_000_000_u64}})),
            wrong("Deployment.spec.replicas", "number 3000000000", "int32")
        );
        let containers = |resources: Value| json!({"spec": {"containers": [{"resources": resources}]}});
        assert_eq!(
            told("", "Pod", &containers(json!({"limits": {"cpu": 1.5, "memory": "1Gi"}}))),
            None
        );
        assert_eq!(
            told("", "Pod", &containers(json!([]))),
            wrong("Pod.spec.containers.resources", "array", "struct")
        );
    }

    #[test]
    fn bytes_and_times_are_read() {
        assert_eq!(
            told("", "Secret", &json!({"data": {"a": "ab%="}})).as_deref(),
            Some("illegal base64 data at input byte 2")
        );
        let time = json!({"spec": {"renewTime": "yesterday"}});
        assert!(
            told("coordination.k8s.io", "Lease", &time)
                .is_some_and(|told| told.starts_with("parsing time \"yesterday\""))
        );
    }
}
