//! The operator's Deployment.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{ADMIN_PORT, NAME, Options, USER, labels, metadata, selector};

/// Name of its container.
pub(super) const CONTAINER: &str = "operator";
/// Where the bundles of [`Options::strategies`] are mounted.
pub(super) const STRATEGIES: &str = "/etc/pgop/strategies";
/// Annotation with what this version chose itself where nobody told: a later version tells by it what was chosen by a person.
pub(super) const DEFAULTS: &str = "pgop.dev/defaults";

pub(super) fn deployment(options: &Options) -> Value {
    // A ConfigMap's name may have dots and 253 characters, a volume's may not.
    let volumes = || {
        options
            .strategies
            .iter()
            .enumerate()
            .map(|(i, name)| (format!("strategy-{i}"), name))
    };
    let mounts: Vec<_> = volumes()
        .map(|(volume, name)| json!({"name": volume, "mountPath": format!("{STRATEGIES}/{name}"), "readOnly": true}))
        .collect();
    let volumes: Vec<_> = volumes()
        .map(|(volume, name)| json!({"name": volume, "configMap": {"name": name}}))
        .collect();
    let probe = |path: &str, period: u32| json!({"httpGet": {"path": path, "port": "admin"}, "periodSeconds": period, "timeoutSeconds": 5, "failureThreshold": 3});
    let Options { image, resources, .. } = Options::default();
    let mut annotated = metadata(NAME, Some(&options.namespace));
    annotated["annotations"] = json!({DEFAULTS: json!({"image": image, "resources": resources}).to_string()});
    let mut deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": annotated,
        "spec": {
            "replicas": options.replicas,
            "selector": {"matchLabels": selector()},
            "template": {
                "metadata": {
                    "labels": with(&options.pod_labels, json!(labels())),
                    "annotations": with(&options.pod_annotations, json!({
                        "prometheus.io/scrape": "true",
                        "prometheus.io/port": ADMIN_PORT.to_string(),
                        "prometheus.io/path": "/metrics",
                    })),
                },
                "spec": {
                    "serviceAccountName": NAME,
                    "terminationGracePeriodSeconds": 15,
                    "securityContext": {
                        "runAsNonRoot": true,
                        "runAsUser": USER,
                        "runAsGroup": USER,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    // Two operators on one node are gone together.
                    "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
                        "weight": 100,
                        "podAffinityTerm": {"labelSelector": {"matchLabels": selector()}, "topologyKey": "kubernetes.io/hostname"},
                    }]}},
                    "containers": [{
                        "name": CONTAINER,
                        "image": options.image,
                        "imagePullPolicy": options.image_pull_policy,
                        "command": ["pgop-operator"],
                        "args": ["run"],
                        "env": environment(options),
                        "ports": [{"name": "admin", "containerPort": ADMIN_PORT, "protocol": "TCP"}],
                        "livenessProbe": probe("/healthz", 10),
                        "readinessProbe": probe("/readyz", 5),
                        "resources": options.resources,
                        "securityContext": {
                            "allowPrivilegeEscalation": false,
                            "readOnlyRootFilesystem": true,
                            "capabilities": {"drop": ["ALL"]},
                        },
                    }],
                },
            },
        },
    });
    let pod = &mut deployment["spec"]["template"]["spec"];
    if !mounts.is_empty() {
        pod["volumes"] = volumes.into();
        pod["containers"][0]["volumeMounts"] = mounts.into();
    }
    let secrets: Vec<_> = (options.image_pull_secrets.iter())
        .map(|name| json!({"name": name}))
        .collect();
    for (field, value, is_set) in [
        ("imagePullSecrets", json!(secrets), !secrets.is_empty()),
        (
            "nodeSelector",
            json!(options.node_selector),
            !options.node_selector.is_empty(),
        ),
        (
            "tolerations",
            json!(options.tolerations),
            !options.tolerations.is_empty(),
        ),
        (
            "priorityClassName",
            json!(options.priority_class),
            options.priority_class.is_some(),
        ),
    ] {
        if is_set {
            pod[field] = value;
        }
    }
    deployment
}

/// What people add, and ours, which can't be replaced.
fn with(added: &BTreeMap<String, String>, ours: Value) -> Value {
    let mut all = json!(added);
    if let (Some(all), Value::Object(ours)) = (all.as_object_mut(), ours) {
        all.extend(ours);
    }
    all
}

/// The operator's flags: each has a variable.
fn environment(options: &Options) -> Vec<Value> {
    let from_pod = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let names: Vec<&str> = options.watch_namespaces.iter().map(String::as_str).collect();
    let mut environment = vec![
        from_pod("PGOP_IDENTITY", "metadata.name"),
        from_pod("PGOP_LEASE_NAMESPACE", "metadata.namespace"),
        json!({"name": "PGOP_LOG_FORMAT", "value": options.log_format}),
        json!({"name": "PGOP_ADMIN_ADDRESS", "value": format!("0.0.0.0:{ADMIN_PORT}")}),
        // It carries the agent that runs in the pods.
        json!({"name": "PGOP_AGENT_IMAGE", "value": options.image}),
        // Empty for all, and never left out: what somebody else had set on the Deployment would stay.
        json!({"name": "PGOP_NAMESPACES", "value": names.join(",")}),
    ];
    if !options.strategies.is_empty() {
        environment.push(json!({"name": "PGOP_STRATEGIES", "value": STRATEGIES}));
    }
    if !options.crds {
        environment.push(json!({"name": "PGOP_NO_CRDS", "value": "true"}));
    }
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_map_whose_name_has_dots_makes_a_volume_that_kubernetes_takes() {
        let long = format!("{}.blue", "a".repeat(200));
        let strategies = ["exposed", "team.blue", long.as_str()].map(str::to_owned).into();
        let deployment = deployment(&Options {
            strategies,
            ..Options::default()
        });
        let pod = &deployment["spec"]["template"]["spec"];
        let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
        let volumes = pod["volumes"].as_array().unwrap();
        assert_eq!((volumes.len(), mounts.len()), (3, 3));
        for (volume, mount) in volumes.iter().zip(mounts) {
            let name = volume["name"].as_str().unwrap();
            assert!(name.len() <= 63 && !name.contains('.'), "{name}");
            assert_eq!(mount["name"], name);
            let config_map = volume["configMap"]["name"].as_str().unwrap();
            assert_eq!(mount["mountPath"], format!("{STRATEGIES}/{config_map}"));
        }
    }

    #[test]
    fn labels_of_people_never_replace_those_that_select_the_pods() {
        let added = [("team", "blue"), ("app.kubernetes.io/name", "other")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let deployment = deployment(&Options {
            pod_labels: added.into(),
            ..Options::default()
        });
        let labels = &deployment["spec"]["template"]["metadata"]["labels"];
        assert_eq!(labels["team"], "blue");
        assert_eq!(labels["app.kubernetes.io/name"], "pgop");
    }
}
