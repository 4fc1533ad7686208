//! Does a live object have all that is desired? Compared by meaning, so that what the server fills in or rewrites is no difference.

use serde_json::Value;

use crate::quantity::milli;

/// Keys that tell the items of a list apart, in the order in which they are tried.
const LIST_KEYS: [&str; 9] = [
    "name",
    "uid",
    "containerPort",
    "mountPath",
    "port",
    "key",
    "ip",
    "topologyKey",
    "type",
];

/// Path of the first thing that `desired` asks for and `live` lacks.
///
/// ```
/// use pgop_core::difference::lacks;
/// use serde_json::json;
/// let live = json!({"cpu": "500m", "filled": "by the server", "ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2}]});
/// assert_eq!(lacks(&json!({"cpu": "0.5", "ports": [{"name": "b", "port": 2}, {"name": "a", "port": 1}]}), &live), None);
/// assert_eq!(lacks(&json!({"ports": [{"name": "a", "port": 9}, {"name": "b", "port": 2}]}), &live), Some("ports[0].port".into()));
/// ```
pub fn lacks(desired: &Value, live: &Value) -> Option<String> {
    find(desired, live, String::new())
}

fn find(desired: &Value, live: &Value, path: String) -> Option<String> {
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => desired.iter().find_map(|(key, value)| {
            let path = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            match live.get(key) {
                Some(other) => find(value, other, path),
                None if is_nothing(value) => None,
                None => Some(path),
            }
        }),
        (Value::Array(desired), Value::Array(live)) => {
            if desired.len() != live.len() {
                return Some(path);
            }
            desired.iter().enumerate().find_map(|(i, item)| {
                let path = format!("{path}[{i}]");
                match partner(item, i, desired, live) {
                    Some(other) => find(item, other, path),
                    None => Some(path),
                }
            })
        }
        _ if same_scalar(desired, live) => None,
        _ => Some(path),
    }
}

/// The live item that a desired one is about: by its key where the list has one, else by position.
fn partner<'a>(item: &Value, i: usize, desired: &[Value], live: &'a [Value]) -> Option<&'a Value> {
    let key = LIST_KEYS.into_iter().find(|key| {
        let distinct = |list: &[Value]| {
            let mut seen: Vec<&Value> = Vec::new();
            list.iter().all(|item| match item.get(key) {
                Some(value) if !seen.contains(&value) => {
                    seen.push(value);
                    true
                }
                _ => false,
            })
        };
        distinct(desired) && distinct(live)
    });
    match key {
        Some(key) => live.iter().find(|other| other.get(key) == item.get(key)),
        None => live.get(i),
    }
}

/// The server leaves out what is empty.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.values().all(is_nothing),
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

/// Equal, or two quantities of one size: `1000m` is written back as `1`.
fn same_scalar(desired: &Value, live: &Value) -> bool {
    if desired == live {
        return true;
    }
    let quantity = |value: &Value| match value {
        Value::String(text) => milli(text),
        Value::Number(number) => milli(&number.to_string()),
        _ => None,
    };
    matches!((quantity(desired), quantity(live)), (Some(a), Some(b)) if a == b)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_missing_or_other_value_is_named() {
        let live = json!({"spec": {"replicas": 2, "template": {"spec": {"containers": [
            {"name": "postgres", "image": "postgres:17", "imagePullPolicy": "Always"}]}}}});
        let image = |image: &str| json!({"spec": {"template": {"spec": {"containers": [{"name": "postgres", "image": image}]}}}});
        assert_eq!(lacks(&image("postgres:17"), &live), None);
        assert_eq!(
            lacks(&image("postgres:18"), &live),
            Some("spec.template.spec.containers[0].image".into())
        );
        assert_eq!(
            lacks(&json!({"spec": {"paused": true}}), &live),
            Some("spec.paused".into())
        );
    }

    #[test]
    fn lists_of_another_length_differ() {
        assert_eq!(lacks(&json!({"a": [1]}), &json!({"a": [1, 2]})), Some("a".into()));
        assert_eq!(
            lacks(&json!({"a": ["x", "y"]}), &json!({"a": ["y", "x"]})),
            Some("a[0]".into())
        );
    }

    #[test]
    fn nothing_is_no_difference() {
        assert_eq!(
            lacks(
                &json!({"a": {}, "b": [], "c": null, "d": {"e": {}}, "f": ""}),
                &json!({})
            ),
            None
        );
        assert_eq!(lacks(&json!({"a": 0}), &json!({})), Some("a".into()));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z]{1,5}", inner, 0..4)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn an_object_lacks_nothing_of_itself(value in any_json()) {
            prop_assert_eq!(lacks(&value, &value), None);
        }
    }
}
