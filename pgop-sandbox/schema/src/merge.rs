//! JSON merge patch. <https://www.rfc-editor.org/rfc/rfc7386>

use serde_json::Value;

/// `live` with `patch` merged into it: objects merge, `null` removes, everything else replaces.
#[must_use]
pub fn merge(live: &Value, patch: &Value) -> Value {
    let mut merged = live.clone();
    json_patch::merge(&mut merged, patch);
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_merge_null_removes_lists_are_replaced() {
        let live = json!({"metadata": {"labels": {"app": "web", "tier": "front"}}, "spec": {"args": ["a", "b"]}});
        let patch = json!({"metadata": {"labels": {"tier": null, "env": "test"}}, "spec": {"args": ["c"]}});
        let merged = json!({"metadata": {"labels": {"app": "web", "env": "test"}}, "spec": {"args": ["c"]}});
        assert_eq!(merge(&live, &patch), merged);
    }

    #[test]
    fn nulls_inside_a_new_object_do_not_arrive() {
        assert_eq!(
            merge(&json!({}), &json!({"a": {"b": null, "c": 1}})),
            json!({"a": {"c": 1}})
        );
    }
}
