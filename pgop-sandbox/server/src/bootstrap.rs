//! The objects that every cluster has from its start.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::call::Call;
use crate::state::State;
use crate::status::Result;
use crate::store::Key;
use crate::write::{Options, Owners, UnknownFields, create_object};

const RBAC: &str = "rbac.authorization.k8s.io";

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
    ensure(state, "", "services", "default", service)?;
    for role in cluster_roles() {
        ensure(state, RBAC, "clusterroles", "", role)?;
    }
    let binding = json!({
        "metadata": {"name": "cluster-admin"},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": RBAC, "kind": "Group", "name": "system:masters"}],
    });
    ensure(state, RBAC, "clusterrolebindings", "", binding)
}

/// The roles for people that bindings everywhere refer to:
/// <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#user-facing-roles>.
fn cluster_roles() -> Vec<Value> {
    let groups = [
        "",
        "apps",
        "batch",
        "policy",
        "networking.k8s.io",
        "discovery.k8s.io",
        "coordination.k8s.io",
    ];
    let read = ["get", "list", "watch"];
    let write = [
        "get",
        "list",
        "watch",
        "create",
        "update",
        "patch",
        "delete",
        "deletecollection",
    ];
    let resources = [
        "configmaps",
        "endpoints",
        "endpointslices",
        "events",
        "persistentvolumeclaims",
        "pods",
        "pods/log",
        "pods/status",
        "replicasets",
        "serviceaccounts",
        "services",
        "daemonsets",
        "deployments",
        "deployments/scale",
        "statefulsets",
        "statefulsets/scale",
        "cronjobs",
        "jobs",
        "poddisruptionbudgets",
        "ingresses",
        "networkpolicies",
        "limitranges",
        "resourcequotas",
        "controllerrevisions",
    ];
    let view = json!({"apiGroups": groups, "resources": resources, "verbs": read});
    let inside = [
        "pods/exec",
        "pods/attach",
        "pods/portforward",
        "pods/eviction",
        "secrets",
        "leases",
    ];
    let edit = [
        json!({"apiGroups": groups, "resources": resources, "verbs": write}),
        json!({"apiGroups": groups, "resources": inside, "verbs": write}),
    ];
    let roles = json!({"apiGroups": [RBAC], "resources": ["roles", "rolebindings"], "verbs": write});
    vec![
        json!({"metadata": {"name": "cluster-admin"}, "rules": [
            {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, {"nonResourceURLs": ["*"], "verbs": ["*"]}]}),
        json!({"metadata": {"name": "view"}, "rules": [view]}),
        json!({"metadata": {"name": "edit"}, "rules": edit}),
        json!({"metadata": {"name": "admin"}, "rules": [edit[0], edit[1], roles]}),
    ]
}

fn ensure(state: &Arc<State>, group: &str, plural: &str, namespace: &str, object: Value) -> Result<()> {
    let call = Call::internal(state, group, plural, namespace)?;
    let key = Key::new(namespace, object["metadata"]["name"].as_str().unwrap_or_default());
    if state.store.get(&call.resource.table, &key).is_some() {
        return Ok(());
    }
    let options = Options {
        dry_run: false,
        manager: "kube-apiserver".into(),
        unknown_fields: UnknownFields::Refuse,
    };
    create_object(&call, object, &options, Owners::Track).map(drop)
}
