//! JSON paths as CRDs have them: `.spec.replicas`, `.status.conditions[?(@.type=="Ready")].status`, `.metadata.labels.a\.b`.

use jsonpath_rust::JsonPath as _;
use serde_json::Value;

/// All that a path finds.
pub(crate) fn all(object: &Value, path: &str) -> Vec<Value> {
    let path = standard(path);
    object
        .query(&path)
        .map(|found| found.into_iter().cloned().collect())
        .unwrap_or_default()
}

/// The first that a path finds, unless that is null.
pub(crate) fn first(object: &Value, path: &str) -> Option<Value> {
    all(object, path).into_iter().next().filter(|value| !value.is_null())
}

/// Sets what a path of plain names leads to.
pub(crate) fn set(object: &mut Value, path: &str, value: Value) {
    let mut place = object;
    for name in path.split('.').filter(|name| !name.is_empty()) {
        if !place.is_object() {
            *place = Value::Object(serde_json::Map::new());
        }
        place = &mut place[name];
    }
    *place = value;
}

/// As RFC 9535 has it: from the root, and with names in brackets where they have dots.
fn standard(path: &str) -> String {
    let path = path.trim().trim_start_matches('{').trim_end_matches('}');
    let mut text = String::from("$");
    let (mut name, mut escaped, mut depth, mut dotted) = (String::new(), false, 0_u32, false);
    let mut letters = path.chars().peekable();
    let flush = |text: &mut String, name: &mut String, dotted: &mut bool| {
        if !name.is_empty() {
            let plain = name
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
            if plain || name == "*" {
                text.push('.');
                text.push_str(name);
            } else {
                let quoted = name.replace('\\', "\\\\").replace('\'', "\\'");
                text.extend(["['", &quoted, "']"]);
            }
            name.clear();
        }
        *dotted = false;
    };
    while let Some(letter) = letters.next() {
        match letter {
            _ if depth > 0 => {
                depth = match letter {
                    '[' => depth + 1,
                    ']' => depth - 1,
                    _ => depth,
                };
                text.push(letter);
            }
            _ if escaped => {
                name.push(letter);
                escaped = false;
            }
            '\\' => escaped = true,
            '.' if dotted && name.is_empty() => text.push('.'),
            '.' => {
                flush(&mut text, &mut name, &mut dotted);
                dotted = true;
                if letters.peek() == Some(&'[') {
                    letters.next();
                    depth = 1;
                    text.push('[');
                }
            }
            '[' => {
                flush(&mut text, &mut name, &mut dotted);
                depth = 1;
                text.push('[');
            }
            '$' | '@' if text == "$" && name.is_empty() => {}
            other => name.push(other),
        }
    }
    flush(&mut text, &mut name, &mut dotted);
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{first, set, standard};

    #[test]
    fn paths_of_crds_are_understood() {
        let object = json!({
            "metadata": {"labels": {"a.b/c": "x"}},
            "spec": {"replicas": 3, "hosts": ["a", "b"]},
            "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]},
        });
        assert_eq!(first(&object, ".spec.replicas"), Some(3.into()));
        assert_eq!(first(&object, r".metadata.labels.a\.b/c"), Some("x".into()));
        assert_eq!(first(&object, ".metadata.labels['a.b/c']"), Some("x".into()));
        assert_eq!(
            first(&object, r#".status.conditions[?(@.type=="Other")].status"#),
            Some("False".into())
        );
        assert_eq!(
            first(&object, r"{.status.conditions[?(@.type=='Ready')].status}"),
            Some("True".into())
        );
        assert_eq!(first(&object, ".spec.hosts[1]"), Some("b".into()));
        assert_eq!(first(&object, ".spec.none.more"), None);
        assert_eq!(first(&object, "]["), None);
    }

    #[test]
    fn a_path_of_names_can_be_set() {
        let mut object = json!({"spec": {"a": 1}});
        set(&mut object, ".spec.size.replicas", 4.into());
        assert_eq!(object, json!({"spec": {"a": 1, "size": {"replicas": 4}}}));
        assert_eq!(standard(".spec.replicas"), "$.spec.replicas");
    }
}
