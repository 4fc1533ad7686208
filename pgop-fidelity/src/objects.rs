//! Objects that many assertions start from, and looking into objects.

use serde_json::{Value, json};

/// The image of every container: `FIDELITY_IMAGE`, or `lab/postgres:15`. It needs bash and coreutils.
pub fn image() -> String {
    std::env::var("FIDELITY_IMAGE").unwrap_or_else(|_| "lab/postgres:15".to_owned())
}

/// A `ConfigMap` with one entry, `key: value`.
pub fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"key": "value"}})
}

/// A pod with one container `main` that runs `script` in bash, once, and is killed without grace.
pub fn pod(name: &str, script: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": pod_spec(script)})
}

fn pod_spec(script: &str) -> Value {
    json!({
        "restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": false,
        "containers": [{"name": "main", "image": image(), "imagePullPolicy": "IfNotPresent", "command": ["bash", "-c", script]}],
    })
}

fn template(name: &str, script: &str) -> Value {
    let mut spec = pod_spec(script);
    spec["restartPolicy"] = json!("Always");
    json!({"metadata": {"labels": {"app": name}}, "spec": spec})
}

/// A Deployment of pods that run `script` and have the label `app: name`.
pub fn deployment(name: &str, replicas: u32, script: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template(name, script)}})
}

/// A `StatefulSet` of pods that run `script` and have the label `app: name`; its service is called `name` too.
pub fn stateful_set(name: &str, replicas: u32, script: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name}, "spec": {
        "replicas": replicas, "serviceName": name, "selector": {"matchLabels": {"app": name}},
        "template": template(name, script)}})
}

/// A Job whose pods run `script` and are not restarted in place.
pub fn job(name: &str, script: &str) -> Value {
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"backoffLimit": 0,
        "template": {"spec": pod_spec(script)}}})
}

/// A Service on port 80 for the pods with the label `app: name`.
pub fn service(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {
        "selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]}})
}

/// `base` with `changes` merged in: objects field by field, anything else as a whole, null removes.
pub fn with(mut base: Value, changes: Value) -> Value {
    merge(&mut base, changes);
    base
}

fn merge(base: &mut Value, changes: Value) {
    match changes {
        Value::Object(changes) => {
            if !base.is_object() {
                *base = json!({});
            }
            for (key, change) in changes {
                if change.is_null() {
                    base.as_object_mut().unwrap().remove(&key);
                } else {
                    merge(&mut base[key], change);
                }
            }
        }
        other => *base = other,
    }
}

/// `metadata.resourceVersion`
pub fn version(object: &Value) -> String {
    object["metadata"]["resourceVersion"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// `metadata.uid`
pub fn uid(object: &Value) -> String {
    object["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
}

/// The names of a list's items, sorted.
pub fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut names: Vec<_> = items
        .iter()
        .map(|i| i["metadata"]["name"].as_str().unwrap_or_default().to_owned())
        .collect();
    names.sort();
    names
}
