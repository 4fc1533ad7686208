//! What runs the stock operator in a cluster: its namespace, account, rights and Deployment.
//!
//! Pure, so that `pgo install`, `deploy/operator.yaml`, the Helm chart and the tests hold the same objects. The operator's rights follow from the
//! closed list of kinds that a strategy may create ([`Kind::ALL`](crate::manifest::Kind::ALL)), so that a new kind can't be forgotten here, and are
//! the least that work: no `pods/exec`, no deletion of claims or Secrets, nothing outside of the namespaces when they are named.
//!
//! ```
//! use pgop_core::install::{Options, manifests};
//!
//! let options = Options { watch_namespaces: ["shop".to_owned()].into(), crds: false, ..Options::default() };
//! let kinds: Vec<_> = manifests(&options).iter().map(|m| m["kind"].as_str().unwrap().to_owned()).collect();
//! let rights = ["ClusterRole", "ClusterRole", "Role", "RoleBinding", "Role", "RoleBinding"]; // the first two are people's
//! assert_eq!(kinds, [&["Namespace", "ServiceAccount"], &rights[..], &["Deployment"]].concat());
//! ```

use std::collections::BTreeMap;

use serde_json::{Value, json};

use rights::{Rule, crd_rules, lease_rules, resource_rules};

pub use obsolete::obsolete;
pub use options::{Change, Options};

mod deployment;
mod obsolete;
mod options;
pub mod people;
pub mod rights;

/// Name of everything the operator runs with: account, roles, Deployment, lease.
pub const NAME: &str = "pgop-operator";
/// The namespace it is installed in, unless told otherwise.
pub const NAMESPACE: &str = "pgop-system";
/// Port of `/healthz`, `/readyz` and `/metrics`.
pub const ADMIN_PORT: u16 = 8080;
/// User and group of the process in the operator's image.
pub const USER: i64 = 65532;

const RBAC: &str = "rbac.authorization.k8s.io";

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
    if options.aggregated_roles {
        all.extend(people::roles(&wide));
    }
    if options.watch_namespaces.is_empty() {
        all.extend(role(&wide, None, &resource_rules(), options));
    }
    for namespace in &options.watch_namespaces {
        all.extend(role(&wide, Some(namespace), &resource_rules(), options));
    }
    all.extend(role(
        &format!("{NAME}-lease"),
        Some(&options.namespace),
        &lease_rules(),
        options,
    ));
    all.push(deployment::deployment(options));
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
            "ClusterRole",
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
    fn named_namespaces_take_roles_there_and_no_right_elsewhere() {
        let all = manifests(&Options {
            watch_namespaces: ["shop", "bank", "shop"].map(str::to_owned).into(),
            crds: false,
            ..Options::default()
        });
        assert!(!kinds(&all).contains(&"ClusterRoleBinding"), "{:?}", kinds(&all));
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
                .contains(&json!({"name": "PGOP_NAMESPACES", "value": "bank,shop"}))
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
        let mut all = manifests(&Options {
            image_pull_secrets: vec!["registry".to_owned()],
            watch_namespaces: ["shop".to_owned()].into(),
            strategies: ["exposed".to_owned()].into(),
            pod_labels: BTreeMap::from([("team".to_owned(), "blue".to_owned())]),
            pod_annotations: BTreeMap::from([("team".to_owned(), "blue".to_owned())]),
            node_selector: BTreeMap::from([("disk".to_owned(), "fast".to_owned())]),
            tolerations: serde_json::from_value(json!([{"key": "dedicated", "operator": "Exists"}])).unwrap(),
            priority_class: Some("high".to_owned()),
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
