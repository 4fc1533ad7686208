//! The objects that every cluster has from its start.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::call::Call;
use crate::state::State;
use crate::status::Result;
use crate::write::{Options, Owners, UnknownFields, create_object};

/// Makes what is missing of them.
pub(crate) fn bootstrap(state: &Arc<State>) -> Result<()> {
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        ensure(state, "", "namespaces", "", json!({"metadata": {"name": name}}))?;
    }
    let labels = json!({"component": "apiserver", "provider": "kubernetes"});
    let service = json!({
        "metadata": {"name": "kubernetes", "labels": labels},
        "spec": {
            "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"],
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
        },
    });
    ensure(state, "", "services", "default", service)
}

fn ensure(state: &Arc<State>, group: &str, plural: &str, namespace: &str, object: Value) -> Result<()> {
    let call = Call::internal(state, group, plural, namespace)?;
    let options = Options { dry_run: false, manager: "kube-apiserver".into(), unknown_fields: UnknownFields::Refuse };
    match create_object(&call, object, &options, Owners::Track) {
        Err(error) if !error.is_exists() => Err(error),
        _ => Ok(()),
    }
}
