//! Pods: their first status, and what admission adds to them.

use pgop_sandbox_schema::quantity;
use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::status::{ApiError, Result};
use crate::store::Key;
use crate::write::{put, random_suffix};

/// Where a pod finds the credentials of its service account.
const CREDENTIALS: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

pub(super) fn create(call: &Call, pod: &mut Value, name: &str) -> Result<()> {
    service_account(call, pod, name)?;
    tolerate(pod);
    prioritize(call, pod, name)?;
    pod["status"] = json!({"phase": "Pending", "qosClass": quality_of_service(pod)});
    Ok(())
}

pub(super) fn update(subresource: &str, old: &Value, new: &mut Value) {
    if subresource == "status" {
        put(&mut new["status"], "qosClass", old["status"].get("qosClass").cloned());
    }
}

/// <https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#serviceaccount-admission-controller>
fn service_account(call: &Call, pod: &mut Value, name: &str) -> Result<()> {
    let spec = &mut pod["spec"];
    let account = match spec["serviceAccountName"].as_str() {
        Some(account) if !account.is_empty() => account.to_owned(),
        _ => "default".to_owned(),
    };
    spec["serviceAccountName"] = account.as_str().into();
    spec["serviceAccount"] = account.as_str().into();
    let namespace = &call.path.namespace;
    let stored = call
        .state
        .store
        .get("serviceaccounts", &Key::new(namespace.as_str(), account.as_str()))
        .ok_or_else(|| {
            let why = format!(
                "error looking up service account {namespace}/{account}: serviceaccount \"{account}\" not found"
            );
            ApiError::forbidden(&call.resource, name, &why)
        })?;
    let wanted = spec["automountServiceAccountToken"]
        .as_bool()
        .or_else(|| stored.value()["automountServiceAccountToken"].as_bool())
        .unwrap_or(true);
    if wanted {
        mount_credentials(spec);
    }
    if spec["imagePullSecrets"].as_array().is_none_or(Vec::is_empty) {
        put(
            spec,
            "imagePullSecrets",
            stored.value().get("imagePullSecrets").cloned(),
        );
    }
    Ok(())
}

fn mount_credentials(spec: &mut Value) {
    let existing = spec["volumes"].as_array().into_iter().flatten();
    let existing = existing
        .filter_map(|volume| volume["name"].as_str())
        .find(|name| name.starts_with("kube-api-access-"));
    let (volume, is_new) = match existing {
        Some(name) => (name.to_owned(), false),
        None => (format!("kube-api-access-{}", random_suffix()), true),
    };
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            mounted |= mount(container, &volume);
        }
    }
    if !(mounted && is_new) {
        return;
    }
    let volume = json!({"name": volume, "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ]}});
    append(spec, "volumes", volume);
}

/// Whether the container had nothing mounted there.
fn mount(container: &mut Value, volume: &str) -> bool {
    let mut mounts = container["volumeMounts"].as_array().into_iter().flatten();
    if mounts.any(|mount| mount["mountPath"] == CREDENTIALS) {
        return false;
    }
    append(
        container,
        "volumeMounts",
        json!({"name": volume, "readOnly": true, "mountPath": CREDENTIALS}),
    );
    true
}

fn append(object: &mut Value, list: &str, item: Value) {
    match object.get_mut(list).and_then(Value::as_array_mut) {
        Some(items) => items.push(item),
        None => object[list] = json!([item]),
    }
}

/// Pods stay five minutes on a node that went away.
fn tolerate(pod: &mut Value) {
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let mut there = pod["spec"]["tolerations"].as_array().into_iter().flatten();
        let covers = |toleration: &Value| {
            (toleration["key"] == key || toleration["key"].as_str().unwrap_or_default().is_empty())
                && matches!(toleration["effect"].as_str(), None | Some("" | "NoExecute"))
        };
        if !there.any(covers) {
            let toleration = json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300});
            append(&mut pod["spec"], "tolerations", toleration);
        }
    }
}

/// <https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/>
fn prioritize(call: &Call, pod: &mut Value, name: &str) -> Result<()> {
    let class = pod["spec"]["priorityClassName"].as_str().unwrap_or_default().to_owned();
    let (value, policy) = match class.as_str() {
        "system-node-critical" => (json!(2_000_001_000), json!("PreemptLowerPriority")),
        "system-cluster-critical" => (json!(2_000_000_000), json!("PreemptLowerPriority")),
        _ => {
            let (_, classes) = call.state.store.list("priorityclasses.scheduling.k8s.io");
            let chosen = classes.values().find(|stored| {
                if class.is_empty() {
                    stored.value()["globalDefault"] == true
                } else {
                    stored.value()["metadata"]["name"] == class
                }
            });
            match chosen {
                Some(stored) => {
                    pod["spec"]["priorityClassName"] = stored.value()["metadata"]["name"].clone();
                    (
                        stored.value()["value"].clone(),
                        stored.value()["preemptionPolicy"].clone(),
                    )
                }
                None if class.is_empty() => (json!(0), json!("PreemptLowerPriority")),
                None => {
                    let why = format!("no PriorityClass with name {class} was found");
                    return Err(ApiError::forbidden(&call.resource, name, &why));
                }
            }
        }
    };
    pod["spec"]["priority"] = value;
    pod["spec"]["preemptionPolicy"] = policy;
    Ok(())
}

/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/>
fn quality_of_service(pod: &Value) -> &'static str {
    let containers = ["containers", "initContainers"]
        .into_iter()
        .flat_map(|list| pod["spec"][list].as_array().into_iter().flatten());
    let (mut any, mut guaranteed) = (false, true);
    for container in containers {
        let resources = &container["resources"];
        let counted = |list: &str| -> Map<String, Value> {
            let amounts = resources[list].as_object().into_iter().flatten();
            let counted = amounts.filter(|(name, amount)| {
                matches!(name.as_str(), "cpu" | "memory")
                    && quantity::thousandths(amount).is_some_and(|amount| amount > 0)
            });
            counted.map(|(name, amount)| (name.clone(), amount.clone())).collect()
        };
        let (requests, limits) = (counted("requests"), counted("limits"));
        any |= !requests.is_empty() || !limits.is_empty();
        let amount = |amounts: &Map<String, Value>, name: &str| amounts.get(name).and_then(quantity::thousandths);
        guaranteed &= limits.len() == 2
            && limits
                .keys()
                .all(|name| amount(&requests, name).is_none_or(|asked| Some(asked) == amount(&limits, name)));
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::quality_of_service;

    #[test]
    fn quality_follows_from_requests_and_limits() {
        let pod = |resources| json!({"spec": {"containers": [{"name": "a", "resources": resources}]}});
        assert_eq!(quality_of_service(&pod(json!({}))), "BestEffort");
        assert_eq!(
            quality_of_service(&pod(json!({"requests": {"cpu": "0"}}))),
            "BestEffort"
        );
        assert_eq!(quality_of_service(&pod(json!({"requests": {"cpu": "1"}}))), "Burstable");
        let both = json!({"cpu": "500m", "memory": "1Gi"});
        assert_eq!(
            quality_of_service(&pod(
                json!({"requests": {"cpu": "0.5", "memory": "1024Mi"}, "limits": both})
            )),
            "Guaranteed"
        );
        assert_eq!(
            quality_of_service(&pod(json!({"requests": {"cpu": "0.4"}, "limits": both}))),
            "Burstable"
        );
    }
}
