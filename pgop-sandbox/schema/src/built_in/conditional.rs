//! Defaults of built-in types that depend on other fields.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

/// Fills the conditional defaults of an object in place. Fields of an unexpected type are left to validation.
pub(crate) fn default(group: &str, kind: &str, object: &mut Value) {
    match (group, kind) {
        ("", "Pod") => pod(object),
        ("", "PodTemplate") => template(object.get_mut("template")),
        ("", "Service") => service(object.get_mut("spec")),
        ("", "Namespace") => namespace(object),
        ("", "Secret") => secret(object),
        ("", "Node") => node(object.get_mut("status")),
        ("", "LimitRange") => limits(object),
        ("apps", "Deployment") => workload(object, "strategy", &json!({"maxSurge": "25%", "maxUnavailable": "25%"})),
        ("apps", "DaemonSet") => workload(object, "updateStrategy", &json!({"maxSurge": 0, "maxUnavailable": 1})),
        ("apps", "StatefulSet") => {
            workload(object, "updateStrategy", &json!({"partition": 0}));
            claim_templates(object);
        }
        ("apps", "ReplicaSet") => template(object.pointer_mut("/spec/template")),
        ("batch", "Job") => job(object),
        ("batch", "CronJob") => template(object.pointer_mut("/spec/jobTemplate/spec/template")),
        ("networking.k8s.io", "NetworkPolicy") => network_policy(object.get_mut("spec")),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => subjects(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => names(object),
        _ => {}
    }
}

/// Sets a field that is missing or empty text.
fn set(fields: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    if fields
        .get(name)
        .is_none_or(|present| present.is_null() || present == "")
    {
        fields.insert(name.to_owned(), value.into());
    }
}

fn fields<'a>(object: &'a mut Value, name: &str) -> Option<&'a mut Map<String, Value>> {
    object.get_mut(name)?.as_object_mut()
}

fn objects<'a>(fields: &'a mut Map<String, Value>, list: &str) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    let items = fields.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
    items.filter_map(Value::as_object_mut)
}

// ---- pods

fn pod(pod: &mut Value) {
    let Some(spec) = fields(pod, "spec") else { return };
    pod_spec(spec);
    set(spec, "enableServiceLinks", true); // of pods only, not of templates
    for list in ["containers", "initContainers"] {
        objects(spec, list).for_each(requests_from_limits);
    }
}

fn template(template: Option<&mut Value>) {
    if let Some(spec) = template.and_then(|template| fields(template, "spec")) {
        pod_spec(spec);
    }
}

fn pod_spec(spec: &mut Map<String, Value>) {
    // `serviceAccount` is the field's old name; Kubernetes keeps both.
    if let Some(name) = spec
        .get("serviceAccountName")
        .or_else(|| spec.get("serviceAccount"))
        .cloned()
    {
        set(spec, "serviceAccountName", name.clone());
        set(spec, "serviceAccount", name);
    }
    let on_host = spec.get("hostNetwork") == Some(&json!(true));
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        objects(spec, list).for_each(|container| self::container(container, on_host));
    }
    for volume in objects(spec, "volumes") {
        if volume.keys().all(|name| name == "name") {
            volume.insert("emptyDir".to_owned(), json!({}));
        }
    }
}

fn container(container: &mut Map<String, Value>, on_host: bool) {
    if let Some(image) = container.get("image").and_then(Value::as_str) {
        let policy = if is_latest(image) { "Always" } else { "IfNotPresent" };
        set(container, "imagePullPolicy", policy);
    }
    if on_host {
        for port in objects(container, "ports") {
            if let Some(number) = port.get("containerPort").cloned() {
                set(port, "hostPort", number);
            }
        }
    }
}

/// No tag and no digest means `latest`.
fn is_latest(image: &str) -> bool {
    let name = image.rsplit('/').next().unwrap_or(image);
    !image.contains('@') && name.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

/// What a container may use at most it also asks for, if it asks for nothing.
fn requests_from_limits(container: &mut Map<String, Value>) {
    let Some(resources) = container.get_mut("resources").and_then(Value::as_object_mut) else {
        return;
    };
    let Some(limits) = resources
        .get("limits")
        .and_then(Value::as_object)
        .filter(|limits| !limits.is_empty())
        .cloned()
    else {
        return;
    };
    if let Some(requests) = resources.entry("requests").or_insert_with(|| json!({})).as_object_mut() {
        for (resource, limit) in limits {
            requests.entry(resource).or_insert(limit);
        }
    }
}

// ---- workloads

/// Fills the strategy's parameters, if it rolls, and the template.
fn workload(object: &mut Value, strategy: &str, rolling: &Value) {
    let Some(spec) = object.get_mut("spec") else { return };
    if let Some(strategy) = fields(spec, strategy)
        && strategy.get("type") == Some(&json!("RollingUpdate"))
    {
        set(strategy, "rollingUpdate", json!({}));
        let parameters = strategy.get_mut("rollingUpdate").and_then(Value::as_object_mut);
        if let (Some(parameters), Some(rolling)) = (parameters, rolling.as_object()) {
            for (name, value) in rolling {
                set(parameters, name, value.clone());
            }
        }
    }
    template(spec.get_mut("template"));
}

fn claim_templates(stateful_set: &mut Value) {
    let Some(spec) = fields(stateful_set, "spec") else {
        return;
    };
    for claim in objects(spec, "volumeClaimTemplates") {
        set(claim, "apiVersion", "v1");
        set(claim, "kind", "PersistentVolumeClaim");
    }
}

fn job(job: &mut Value) {
    let Some(spec) = fields(job, "spec") else { return };
    if !spec.contains_key("completions") && !spec.contains_key("parallelism") {
        set(spec, "completions", 1);
    }
    set(spec, "parallelism", 1);
    set(
        spec,
        "backoffLimit",
        if spec.contains_key("backoffLimitPerIndex") {
            i32::MAX
        } else {
            6
        },
    );
    set(spec, "completionMode", "NonIndexed");
    set(spec, "suspend", false);
    let failures_count = spec.contains_key("podFailurePolicy");
    set(
        spec,
        "podReplacementPolicy",
        if failures_count {
            "Failed"
        } else {
            "TerminatingOrFailed"
        },
    );
    template(spec.get_mut("template"));
}

// ---- the rest

fn service(spec: Option<&mut Value>) {
    let Some(spec) = spec.and_then(Value::as_object_mut) else {
        return;
    };
    let kind = spec.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    for port in objects(spec, "ports") {
        if port.get("targetPort").is_none_or(|target| target == 0 || target == "")
            && let Some(number) = port.get("port").cloned()
        {
            port.insert("targetPort".to_owned(), number);
        }
    }
    if spec.get("sessionAffinity") == Some(&json!("ClientIP")) {
        set(
            spec,
            "sessionAffinityConfig",
            json!({"clientIP": {"timeoutSeconds": 10800}}),
        );
    }
    if kind == "NodePort" || kind == "LoadBalancer" {
        set(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        set(spec, "allocateLoadBalancerNodePorts", true);
    }
    if kind != "ExternalName" {
        set(spec, "internalTrafficPolicy", "Cluster");
    }
}

fn namespace(namespace: &mut Value) {
    let Some(metadata) = fields(namespace, "metadata") else {
        return;
    };
    let Some(name) = metadata.get("name").cloned() else {
        return;
    };
    if let Some(labels) = metadata.entry("labels").or_insert_with(|| json!({})).as_object_mut() {
        labels.insert("kubernetes.io/metadata.name".to_owned(), name);
    }
}

/// `stringData` is a way to write `data`, and is never stored.
fn secret(secret: &mut Value) {
    let Some(secret) = secret.as_object_mut() else { return };
    let texts = secret.get("stringData").and_then(Value::as_object);
    if !texts.is_some_and(|texts| texts.values().all(Value::is_string)) {
        return; // validation says what is wrong
    }
    let Some(Value::Object(texts)) = secret.remove("stringData") else {
        return;
    };
    if let Some(data) = secret.entry("data").or_insert_with(|| json!({})).as_object_mut() {
        for (key, text) in &texts {
            data.insert(key.clone(), STANDARD.encode(text.as_str().unwrap_or_default()).into());
        }
    }
}

fn node(status: Option<&mut Value>) {
    if let Some(status) = status.and_then(Value::as_object_mut)
        && let Some(capacity) = status.get("capacity").cloned()
    {
        set(status, "allocatable", capacity);
    }
}

/// Of containers: what is not said follows from the next stricter value.
fn limits(range: &mut Value) {
    let Some(spec) = fields(range, "spec") else { return };
    for limit in objects(spec, "limits").filter(|limit| limit.get("type") == Some(&json!("Container"))) {
        for (from, to) in [
            ("max", "default"),
            ("default", "defaultRequest"),
            ("min", "defaultRequest"),
        ] {
            let Some(values) = limit.get(from).and_then(Value::as_object).cloned() else {
                continue;
            };
            if let Some(target) = limit.entry(to).or_insert_with(|| json!({})).as_object_mut() {
                for (resource, value) in values {
                    target.entry(resource).or_insert(value);
                }
            }
        }
    }
}

fn network_policy(spec: Option<&mut Value>) {
    let Some(spec) = spec.and_then(Value::as_object_mut) else {
        return;
    };
    let egress = spec
        .get("egress")
        .and_then(Value::as_array)
        .is_some_and(|rules| !rules.is_empty());
    set(
        spec,
        "policyTypes",
        if egress {
            json!(["Ingress", "Egress"])
        } else {
            json!(["Ingress"])
        },
    );
}

fn subjects(binding: &mut Value) {
    let Some(binding) = binding.as_object_mut() else { return };
    for subject in objects(binding, "subjects") {
        if matches!(subject.get("kind").and_then(Value::as_str), Some("User" | "Group")) {
            set(subject, "apiGroup", "rbac.authorization.k8s.io");
        }
    }
}

fn names(definition: &mut Value) {
    let Some(names) = definition.get_mut("spec").and_then(|spec| fields(spec, "names")) else {
        return;
    };
    if let Some(kind) = names.get("kind").and_then(Value::as_str).map(str::to_owned) {
        set(names, "singular", kind.to_lowercase());
        set(names, "listKind", format!("{kind}List"));
    }
}

#[cfg(test)]
mod tests;
