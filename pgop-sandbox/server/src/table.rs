//! Tables, as `kubectl get` asks for them: <https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables>.

use serde_json::{Value, json};

use crate::read::partial;
use crate::resource::Resource;

/// The table of some objects.
pub(crate) fn table(resource: &Resource, objects: &[&Value], metadata: Value, include: Option<&str>) -> Value {
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let mut row = json!({"cells": [object["metadata"]["name"]]});
            match include {
                Some("None") => {}
                Some("Object") => row["object"] = (*object).clone(),
                _ => row["object"] = partial(object),
            }
            row
        })
        .collect();
    let _ = resource;
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": [{"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0}], "rows": rows})
}
