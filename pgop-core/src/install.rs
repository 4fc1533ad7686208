//! What runs the stock operator in a cluster: its namespace, account, rights and Deployment.
//!
//! Pure, so that `pgo install`, `deploy/operator.yaml` and the tests hold the same objects. The rights follow from the closed list of
//! kinds that a strategy may create ([`Kind::ALL`](crate::manifest::Kind::ALL)), so that a new kind can't be forgotten here, and are the least that work: no
//! `pods/exec`, no deletion of claims or Secrets, nothing cluster-wide when the namespaces are named.
//!
//! ```
//! use pgop_core::install::{Options, manifests};
//!
//! let options = Options { watch_namespaces: vec!["shop".to_owned()], crds: false, ..Options::default() };
//! let kinds: Vec<_> = manifests(&options).iter().map(|m| m["kind"].as_str().unwrap().to_owned()).collect();
//! assert_eq!(kinds, ["Namespace", "ServiceAccount", "Role", "RoleBinding", "Role", "RoleBinding", "Deployment"]);
//! ```

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use rights::{Rule, crd_rules, lease_rules, resource_rules};

pub mod rights;

/// Name of everything the operator runs with: account, roles, Deployment, lease.
pub const NAME: &str = "pgop-operator";
/// The namespace it is installed in, unless told otherwise.
pub const NAMESPACE: &str = "pgop-system";
/// Port of `/healthz`, `/readyz` and `/metrics`.
pub const ADMIN_PORT: u16 = 8080;
/// User and group of the process in the operator's image.
pub const USER: i64 = 65532;

/// Where the bundles of [`Options::strategies`] are mounted.
const STRATEGIES: &str = "/etc/pgop/strategies";
const RBAC: &str = "rbac.authorization.k8s.io";

/// How the operator is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The operator's own namespace.
    pub namespace: String,
    /// Its image.
    pub image: String,
    /// When the image is pulled: `Always`, `IfNotPresent` or `Never`.
    pub image_pull_policy: String,
    /// Number of operators. One works, the others wait for its lease.
    pub replicas: i32,
    /// The namespaces it looks after; empty for all of them.
    pub watch_namespaces: Vec<String>,
    /// `text` or `json`.
    pub log_format: String,
    /// `ConfigMap`s in its namespace with further strategies, one bundle each.
    pub strategies: Vec<String>,
    /// Whether it creates and updates the custom resource definitions when it starts. Whoever installs does it otherwise.
    pub crds: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            namespace: NAMESPACE.to_owned(),
            image: format!("ghcr.io/pgop/operator:{}", env!("CARGO_PKG_VERSION")),
            image_pull_policy: "IfNotPresent".to_owned(),
            replicas: 1,
            watch_namespaces: Vec::new(),
            log_format: "json".to_owned(),
            strategies: Vec::new(),
            crds: true,
        }
    }
}

/// Every object of the installation in the order in which it is applied. The definitions are apart: [`crd::all`](crate::crd::all).
pub fn manifests(options: &Options) -> Vec<Value> {
    let mut all = vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": options.namespace, "labels": labels()}}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(NAME, Some(&options.namespace))}),
    ];
    // The names of cluster-wide objects hold the namespace, so that two installations don't take them from each other.
    let wide = format!("{NAME}-{}", options.namespace);
    if options.crds {
        all.extend(role(&format!("{wide}-crds"), None, &crd_rules(), options));
    }
    if options.watch_namespaces.is_empty() {
        all.extend(role(&wide, None, &resource_rules(), options));
    }
    for namespace in options.watch_namespaces.iter().collect::<BTreeSet<_>>() {
        all.extend(role(&wide, Some(namespace), &resource_rules(), options));
    }
    all.extend(role(
        &format!("{NAME}-lease"),
        Some(&options.namespace),
        &lease_rules(),
        options,
    ));
    all.push(deployment(options));
    all
}

/// A role and its binding to the operator's account: of the cluster, or of one namespace.
fn role(name: &str, namespace: Option<&str>, rules: &[Rule], options: &Options) -> [Value; 2] {
    let kind = if namespace.is_some() { "Role" } else { "ClusterRole" };
    let api_version = format!("{RBAC}/v1");
    [
        json!({"apiVersion": api_version, "kind": kind, "metadata": metadata(name, namespace), "rules": rules}),
        json!({
            "apiVersion": api_version,
            "kind": format!("{kind}Binding"),
            "metadata": metadata(name, namespace),
            "roleRef": {"apiGroup": RBAC, "kind": kind, "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": options.namespace}],
        }),
    ]
}

fn deployment(options: &Options) -> Value {
    let mounts: Vec<_> = (options.strategies.iter())
        .map(|name| json!({"name": name, "mountPath": format!("{STRATEGIES}/{name}"), "readOnly": true}))
        .collect();
    let volumes: Vec<_> = (options.strategies.iter())
        .map(|name| json!({"name": name, "configMap": {"name": name}}))
        .collect();
    let probe = |path: &str, period: u32| json!({"httpGet": {"path": path, "port": "admin"}, "periodSeconds": period, "timeoutSeconds": 5, "failureThreshold": 3});
    let mut deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(NAME, Some(&options.namespace)),
        "spec": {
            "replicas": options.replicas,
            "selector": {"matchLabels": selector()},
            "template": {
                "metadata": {
                    "labels": labels(),
                    "annotations": {
                        "prometheus.io/scrape": "true",
                        "prometheus.io/port": ADMIN_PORT.to_string(),
                        "prometheus.io/path": "/metrics",
                    },
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
                        "name": "operator",
                        "image": options.image,
                        "imagePullPolicy": options.image_pull_policy,
                        "command": ["pgop-operator"],
                        "args": ["run"],
                        "env": environment(options),
                        "ports": [{"name": "admin", "containerPort": ADMIN_PORT, "protocol": "TCP"}],
                        "livenessProbe": probe("/healthz", 10),
                        "readinessProbe": probe("/readyz", 5),
                        "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}},
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
    if !mounts.is_empty() {
        deployment["spec"]["template"]["spec"]["volumes"] = volumes.into();
        deployment["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = mounts.into();
    }
    deployment
}

/// The operator's flags: each has a variable.
fn environment(options: &Options) -> Vec<Value> {
    let from_pod = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let mut environment = vec![
        from_pod("PGOP_IDENTITY", "metadata.name"),
        from_pod("PGOP_LEASE_NAMESPACE", "metadata.namespace"),
        json!({"name": "PGOP_LOG_FORMAT", "value": options.log_format}),
        json!({"name": "PGOP_ADMIN_ADDRESS", "value": format!("0.0.0.0:{ADMIN_PORT}")}),
    ];
    if !options.watch_namespaces.is_empty() {
        environment.push(json!({"name": "PGOP_NAMESPACES", "value": options.watch_namespaces.join(",")}));
    }
    if !options.strategies.is_empty() {
        environment.push(json!({"name": "PGOP_STRATEGIES", "value": STRATEGIES}));
    }
    if !options.crds {
        environment.push(json!({"name": "PGOP_NO_CRDS", "value": "true"}));
    }
    environment
}

fn metadata(name: &str, namespace: Option<&str>) -> Value {
    match namespace {
        Some(namespace) => json!({"name": name, "namespace": namespace, "labels": labels()}),
        None => json!({"name": name, "labels": labels()}),
    }
}

/// Selects everything that belongs to the installation.
pub fn selector() -> BTreeMap<&'static str, &'static str> {
    BTreeMap::from([
        ("app.kubernetes.io/name", "pgop"),
        ("app.kubernetes.io/component", "operator"),
    ])
}

/// Not `managed-by: pgop`: that marks what the operator makes, and it would watch itself.
fn labels() -> BTreeMap<&'static str, &'static str> {
    let mut labels = selector();
    labels.insert("app.kubernetes.io/part-of", "pgop");
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named<'a>(all: &'a [Value], kind: &str, name: &str) -> &'a Value {
        all.iter()
            .find(|m| m["kind"] == kind && m["metadata"]["name"] == name)
            .unwrap_or_else(|| panic!("no {kind} {name}"))
    }

    fn kinds(all: &[Value]) -> Vec<&str> {
        all.iter().map(|m| m["kind"].as_str().unwrap()).collect()
    }

    #[test]
    fn all_namespaces_take_a_cluster_role() {
        let all = manifests(&Options::default());
        let expected = [
            "Namespace",
            "ServiceAccount",
            "ClusterRole",
            "ClusterRoleBinding",
            "ClusterRole",
            "ClusterRoleBinding",
            "Role",
            "RoleBinding",
            "Deployment",
        ];
        assert_eq!(kinds(&all), expected);
        let binding = named(&all, "ClusterRoleBinding", "pgop-operator-pgop-system");
        assert_eq!(binding["roleRef"]["name"], "pgop-operator-pgop-system");
        assert_eq!(
            binding["subjects"][0],
            json!({"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE})
        );
    }

    #[test]
    fn named_namespaces_take_roles_there_and_nothing_of_the_cluster() {
        let watch_namespaces = ["shop", "bank", "shop"].map(str::to_owned).to_vec();
        let all = manifests(&Options {
            watch_namespaces,
            crds: false,
            ..Options::default()
        });
        assert!(
            !kinds(&all).iter().any(|kind| kind.starts_with("Cluster")),
            "{:?}",
            kinds(&all)
        );
        let in_namespaces: Vec<_> = all
            .iter()
            .filter(|m| m["kind"] == "Role")
            .map(|m| m["metadata"]["namespace"].as_str().unwrap())
            .collect();
        assert_eq!(in_namespaces, ["bank", "shop", NAMESPACE]);
        let env = &named(&all, "Deployment", NAME)["spec"]["template"]["spec"]["containers"][0]["env"];
        assert!(
            env.as_array()
                .unwrap()
                .contains(&json!({"name": "PGOP_NO_CRDS", "value": "true"}))
        );
        assert!(
            env.as_array()
                .unwrap()
                .contains(&json!({"name": "PGOP_NAMESPACES", "value": "shop,bank,shop"}))
        );
    }

    #[test]
    fn the_pod_meets_the_restricted_standard() {
        let all = manifests(&Options {
            replicas: 2,
            image: "registry.test/pgop:1".to_owned(),
            ..Options::default()
        });
        let deployment = named(&all, "Deployment", NAME);
        assert_eq!(deployment["spec"]["replicas"], 2);
        let pod = &deployment["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        let container = &pod["containers"][0];
        assert_eq!(container["image"], "registry.test/pgop:1");
        assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
        assert_eq!(container["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
        assert_eq!(
            container["readinessProbe"]["httpGet"],
            json!({"path": "/readyz", "port": "admin"})
        );
    }

    #[test]
    fn the_operator_never_watches_itself() {
        for manifest in manifests(&Options::default()) {
            assert!(manifest["metadata"]["labels"].get(crate::label::MANAGED_BY).is_none());
        }
    }

    #[test]
    fn typed_kubernetes_objects_hold_every_field() {
        fn through<T: serde::de::DeserializeOwned + serde::Serialize>(value: &Value) {
            let typed: T = serde_json::from_value(value.clone()).unwrap();
            assert_eq!(&serde_json::to_value(typed).unwrap(), value);
        }
        use k8s_openapi::api::{apps::v1::Deployment, core::v1::*, rbac::v1::*};
        let watch_namespaces = vec!["shop".to_owned()];
        let mut all = manifests(&Options {
            watch_namespaces,
            ..Options::default()
        });
        all.extend(manifests(&Options::default()));
        for manifest in &all {
            match manifest["kind"].as_str().unwrap() {
                "Namespace" => through::<Namespace>(manifest),
                "ServiceAccount" => through::<ServiceAccount>(manifest),
                "Role" => through::<Role>(manifest),
                "RoleBinding" => through::<RoleBinding>(manifest),
                "ClusterRole" => through::<ClusterRole>(manifest),
                "ClusterRoleBinding" => through::<ClusterRoleBinding>(manifest),
                "Deployment" => through::<Deployment>(manifest),
                other => panic!("{other}"),
            }
        }
    }
}
