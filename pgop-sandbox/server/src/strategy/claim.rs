//! Claims and volumes: the default class, protection while in use, and which claims may grow.

use pgop_sandbox_schema::quantity;
use serde_json::{Value, json};

use crate::call::Call;
use crate::status::{ApiError, Result};
use crate::store::Key;

const CLASSES: &str = "storageclasses.storage.k8s.io";
const IS_DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";

pub(super) fn create(call: &Call, claim: &mut Value) {
    claim["status"] = json!({"phase": "Pending"});
    protect(claim, "kubernetes.io/pvc-protection");
    let annotated = claim["metadata"]["annotations"]
        .get("volume.beta.kubernetes.io/storage-class")
        .is_some();
    if claim["spec"]["storageClassName"].is_null() && !annotated {
        let (_, classes) = call.state.store.list(CLASSES);
        let defaults = classes
            .values()
            .filter(|class| class.value()["metadata"]["annotations"][IS_DEFAULT] == "true");
        // Of several the newest, as in Kubernetes.
        let newest = defaults.max_by_key(|class| {
            class.value()["metadata"]["creationTimestamp"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        });
        if let Some(class) = newest {
            claim["spec"]["storageClassName"] = class.value()["metadata"]["name"].clone();
        }
    }
}

/// It stays as long as something uses it: <https://kubernetes.io/docs/concepts/storage/persistent-volumes/#storage-object-in-use-protection>.
pub(super) fn protect(object: &mut Value, finalizer: &str) {
    match object["metadata"].get_mut("finalizers").and_then(Value::as_array_mut) {
        Some(list) if list.iter().any(|name| name == finalizer) => {}
        Some(list) => list.push(finalizer.into()),
        None => object["metadata"]["finalizers"] = json!([finalizer]),
    }
}

/// A claim may ask for more only where its class can give more.
pub(super) fn update(call: &Call, old: &Value, new: &Value, name: &str) -> Result<()> {
    let asked = |claim: &Value| quantity::thousandths(&claim["spec"]["resources"]["requests"]["storage"]);
    if asked(new) <= asked(old) {
        return Ok(());
    }
    let class = new["spec"]["storageClassName"].as_str().unwrap_or_default();
    let expands = call
        .state
        .store
        .get(CLASSES, &Key::new("", class))
        .is_some_and(|class| class.value()["allowVolumeExpansion"] == true);
    if expands {
        return Ok(());
    }
    let why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";
    Err(ApiError::forbidden(&call.resource, name, why))
}
