//! Namespaces: <https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/>.

use serde_json::{Value, json};

use crate::write::put;

pub(super) fn create(namespace: &mut Value) {
    namespace["status"] = json!({"phase": "Active"});
    let finalizers = &mut namespace["spec"]["finalizers"];
    if finalizers
        .as_array()
        .is_none_or(|list| !list.iter().any(|name| name == "kubernetes"))
    {
        *finalizers = json!(["kubernetes"]);
    }
    label(namespace);
}

pub(super) fn update(subresource: &str, old: &Value, new: &mut Value) {
    if subresource == "finalize" {
        // Nothing else changes with it.
        let finalizers = new["spec"].get("finalizers").cloned();
        let managed = new["metadata"].get("managedFields").cloned();
        *new = old.clone();
        put(&mut new["metadata"], "managedFields", managed);
        put(&mut new["spec"], "finalizers", finalizers);
    } else {
        put(new, "spec", old.get("spec").cloned());
        label(new);
    }
}

fn label(namespace: &mut Value) {
    let name = namespace["metadata"]["name"].clone();
    namespace["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
}
