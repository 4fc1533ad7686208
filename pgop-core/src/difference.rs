//! Does a live object have all that is desired? Compared by meaning, so that what the server fills in or rewrites is no difference.

use serde_json::Value;

use crate::quantity::milli;

/// Lists that server-side apply merges item by item, and the keys that tell their items apart: what others add to them stays, whatever is
/// sent. All other lists are one value, also the `ports` of a `NetworkPolicy`'s rules. See the `x-kubernetes-list-map-keys` of the API's schema.
const MERGED: &[(&str, &[&str])] = &[
    ("containers", &["name"]),
    ("env", &["name"]),
    ("ephemeralContainers", &["name"]),
    ("hostAliases", &["ip"]),
    ("imagePullSecrets", &["name"]),
    ("initContainers", &["name"]),
    ("ownerReferences", &["uid"]),
    ("ports", &["containerPort", "port", "protocol"]),
    ("secrets", &["name"]),
    ("topologySpreadConstraints", &["topologyKey", "whenUnsatisfiable"]),
    ("volumeDevices", &["devicePath"]),
    ("volumeMounts", &["mountPath"]),
    ("volumes", &["name"]),
];

fn merge_keys(parent: &str, field: &str) -> Option<&'static [&'static str]> {
    let is_rule = matches!(parent, "ingress" | "egress");
    let (_, keys) = MERGED.iter().find(|(merged, _)| *merged == field && !is_rule)?;
    Some(keys)
}

/// Path of the first thing that `desired` asks for and `live` lacks.
///
/// ```
/// use pgop_core::difference::lacks;
/// use serde_json::json;
/// let live = json!({"cpu": "500m", "filled": "by the server", "ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2}]});
/// assert_eq!(lacks(&json!({"cpu": "0.5", "ports": [{"name": "b", "port": 2}, {"name": "a", "port": 1}]}), &live), None);
/// assert_eq!(lacks(&json!({"ports": [{"name": "b", "port": 1}, {"name": "b", "port": 2}]}), &live), Some("ports[0].name".into()));
/// ```
pub fn lacks(desired: &Value, live: &Value) -> Option<String> {
    find(desired, live, ("", ""), String::new())
}

/// `at` is the key that both are at, or that the list is at which they are items of, and before it the same of what holds them.
fn find(desired: &Value, live: &Value, at: (&str, &str), path: String) -> Option<String> {
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => desired.iter().find_map(|(key, value)| {
            let path = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            match live.get(key) {
                Some(other) => find(value, other, (at.1, key), path),
                None if is_nothing(value) => None,
                None => Some(path),
            }
        }),
        (Value::Array(desired), Value::Array(live)) => {
            let keys = merge_keys(at.0, at.1);
            if keys.is_none() && desired.len() != live.len() {
                return Some(path);
            }
            desired.iter().enumerate().find_map(|(i, item)| {
                let path = format!("{path}[{i}]");
                match keys {
                    Some(keys) => lacks_item(item, live, keys, at, &path),
                    None => find(item, &live[i], at, path),
                }
            })
        }
        _ if same_scalar(desired, live) => None,
        _ => Some(path),
    }
}

/// What the live item with the keys of `desired` lacks of it. A key that is left out is any: the server fills it in.
fn lacks_item(desired: &Value, live: &[Value], keys: &[&str], at: (&str, &str), path: &str) -> Option<String> {
    let has_key = |other: &Value, key: &str| desired.get(key).is_none_or(|value| other.get(key) == Some(value));
    let same = live.iter().filter(|other| keys.iter().all(|key| has_key(other, key)));
    let mut lacking = same.map(|other| find(desired, other, at, path.to_owned()));
    // None lacks anything; else what the first one lacks; and without any, the item itself.
    let first = lacking.next().unwrap_or_else(|| Some(path.to_owned()))?;
    lacking.all(|other| other.is_some()).then_some(first)
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
    fn what_others_add_to_a_list_that_apply_merges_is_no_difference() {
        let pod = |containers: Value| json!({"spec": {"template": {"spec": {"containers": containers}}}});
        let ours = json!({"name": "postgres", "env": [{"name": "PGOP_ROLE", "value": "primary"}]});
        let with_reloader = json!({"name": "postgres", "env": [{"name": "RELOADER", "value": "1"}, {"name": "PGOP_ROLE", "value": "primary"}]});
        let sidecar = json!({"name": "sidecar", "image": "x"});
        assert_eq!(lacks(&pod(json!([ours])), &pod(json!([sidecar, with_reloader]))), None);
        let port = |number: u16| json!({"name": "postgres", "port": number, "protocol": "TCP", "targetPort": 5432});
        let service = |ports: Value| json!({"spec": {"ports": ports}});
        assert_eq!(
            lacks(&service(json!([port(5432)])), &service(json!([port(9187), port(5432)]))),
            None
        );
        assert_eq!(
            lacks(&service(json!([port(5432)])), &service(json!([port(9187)]))),
            Some("spec.ports[0]".into()),
            "ours is gone"
        );
        let changed = json!({"name": "postgres", "env": [{"name": "PGOP_ROLE", "value": "replica"}]});
        assert_eq!(
            lacks(&pod(json!([ours])), &pod(json!([sidecar, changed]))),
            Some("spec.template.spec.containers[0].env[0].value".into())
        );
        // A list that apply sets as a whole is put right by it.
        let policy = |ports: Value| json!({"spec": {"ingress": [{"ports": ports}]}});
        let open = json!([{"port": 5432}, {"port": 22}]);
        assert!(lacks(&policy(json!([{"port": 5432}])), &policy(open)).is_some());
        let tolerations = |list: Value| json!({"tolerations": list});
        let (one, other) = (
            json!({"key": "a", "operator": "Exists"}),
            json!({"key": "b", "operator": "Exists"}),
        );
        assert_eq!(
            lacks(&tolerations(json!([one])), &tolerations(json!([one, other]))),
            Some("tolerations".into())
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
