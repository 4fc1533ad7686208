//! A pod that uses a server as applications do: it knows the server by its Secret.

use serde_json::{Value, json};

use crate::settings::settings;

/// Such a pod, which runs a script with `more` variables.
pub(crate) fn pod(name: &str, server: &str, script: &str, more: &[(&str, &str)]) -> Value {
    let secret = format!("{server}-user");
    let of = |name: &str, key: &str| json!({"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}});
    let known = [
        ("PGHOST", "host"),
        ("PGPORT", "port"),
        ("PGDATABASE", "dbname"),
        ("PGUSER", "username"),
        ("PGPASSWORD", "password"),
    ];
    let known = known.into_iter().map(|(name, key)| of(name, key));
    let more = more.iter().copied().chain([("PGCONNECT_TIMEOUT", "10")]);
    let more = more.map(|(name, value)| json!({"name": name, "value": value}));
    let env: Vec<Value> = known.chain(more).collect();
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 5,
            "containers": [{
                "name": "application", "image": settings().postgres_image, "imagePullPolicy": "IfNotPresent",
                "command": ["bash", "-c", script], "env": env,
            }],
        },
    })
}
