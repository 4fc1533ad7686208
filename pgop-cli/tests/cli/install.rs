//! `pgo install` and `pgo uninstall` on an API server: what is there afterwards.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use crate::server::ApiServer;

const WIDE: &str = "pgop-operator-pgop-system";

/// A cluster with namespaces for databases.
fn cluster() -> ApiServer {
    let server = ApiServer::start();
    server.ask(async |client| {
        let api: Api<Namespace> = Api::all(client);
        for name in ["bank", "shop", "zoo"] {
            let namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
            api.create(&PostParams::default(), &namespace).await.unwrap();
        }
    });
    server
}

/// Where the operator may do its work: `*` is everywhere.
fn rights(server: &ApiServer) -> Vec<String> {
    async fn named<K>(client: Client) -> Vec<String>
    where
        K: kube::Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
    {
        let all: Api<K> = Api::all(client);
        let found = all.list(&ListParams::default()).await.unwrap();
        let wide = found.into_iter().filter(|object| object.name_any() == WIDE);
        wide.map(|object| object.namespace().unwrap_or("*".to_owned()))
            .collect()
    }
    server.ask(async |client| {
        let mut roles = named::<ClusterRole>(client.clone()).await;
        roles.extend(named::<Role>(client.clone()).await);
        let mut bindings = named::<ClusterRoleBinding>(client.clone()).await;
        bindings.extend(named::<RoleBinding>(client).await);
        assert_eq!(roles, bindings);
        roles
    })
}

fn deployment(server: &ApiServer) -> Value {
    server.ask(async |client| {
        let api: Api<Deployment> = Api::namespaced(client, "pgop-system");
        serde_json::to_value(api.get("pgop-operator").await.unwrap()).unwrap()
    })
}

fn container(server: &ApiServer) -> Value {
    deployment(server)["spec"]["template"]["spec"]["containers"][0].clone()
}

fn change(server: &ApiServer, change: &Value) {
    server.ask(async |client| {
        let api: Api<Deployment> = Api::namespaced(client, "pgop-system");
        let params = PatchParams {
            field_manager: Some("kubectl-edit".to_owned()),
            ..PatchParams::default()
        };
        api.patch("pgop-operator", &params, &Patch::Strategic(change))
            .await
            .unwrap();
    });
}

#[test]
fn a_change_of_the_namespaces_takes_rights_away_that_are_no_longer_needed() {
    let server = cluster();
    server.pgo("install").run().code(0);
    assert_eq!(rights(&server), ["*"]);

    let ran = server.pgo("install --watch-namespaces shop,bank,shop").run().code(0);
    assert_eq!(rights(&server), ["bank", "shop"]);
    ran.out_has("clusterrole.rbac.authorization.k8s.io/pgop-operator-pgop-system deleted\n")
        .err_has("watch-namespaces changes from all namespaces to bank,shop");
    let variables = container(&server)["env"].clone();
    assert!(
        variables
            .as_array()
            .unwrap()
            .contains(&json!({"name": "PGOP_NAMESPACES", "value": "bank,shop"}))
    );

    server
        .pgo("install --watch-namespaces shop,zoo")
        .run()
        .code(0)
        .out_has("role.rbac.authorization.k8s.io/pgop-operator-pgop-system in namespace bank deleted\n");
    assert_eq!(rights(&server), ["shop", "zoo"]);

    server
        .pgo("install --watch-namespaces=")
        .run()
        .code(0)
        .err_has("watch-namespaces changes from shop,zoo to all namespaces");
    assert_eq!(rights(&server), ["*"]);
}

#[test]
fn rights_that_an_interrupted_change_left_are_taken_away_by_the_next_installation() {
    let server = cluster();
    server.pgo("install").run().code(0);
    // As if the change had been stopped before it deleted anything.
    change(
        &server,
        &json!({"spec": {"template": {"spec": {"containers": [
        {"name": "operator", "env": [{"name": "PGOP_NAMESPACES", "value": "shop"}]}]}}}}),
    );
    server.pgo("install").run().code(0);
    assert_eq!(rights(&server), ["shop"]);
    // Whoever set it, it goes when it is told to.
    server.pgo("install --watch-namespaces=").run().code(0);
    assert_eq!(rights(&server), ["*"]);
    let variables = container(&server)["env"].clone();
    let namespaces = (variables.as_array().unwrap().iter()).find(|v| v["name"] == "PGOP_NAMESPACES");
    assert_eq!(namespaces.unwrap()["value"].as_str().unwrap_or_default(), "");
}

#[test]
fn an_installation_keeps_what_it_is_not_told_to_change() {
    let server = cluster();
    let first = "install --image registry.test/pgop:1 --watch-namespaces shop --strategies team.blue,exposed";
    server.pgo(first).run().code(0);
    change(
        &server,
        &json!({"spec": {"replicas": 2, "template": {"spec": {
        "nodeSelector": {"disk": "fast"}, "priorityClassName": "system-cluster-critical",
        "containers": [{"name": "operator", "resources": {"limits": {"memory": "1Gi"}}}]}}}}),
    );
    let before = deployment(&server)["spec"].clone();

    let ran = server.pgo("install").run().code(0);
    assert_eq!(deployment(&server)["spec"], before);
    assert!(!ran.err.contains("changes"), "{}", ran.err);
    ran.err_has("the operator's image is registry.test/pgop:1, as before; --image names another");
    assert_eq!(rights(&server), ["shop"]);

    let ran = server.pgo("install --image registry.test/pgop:2").run().code(0);
    let mut expected = before;
    let operator = &mut expected["template"]["spec"]["containers"][0];
    operator["image"] = "registry.test/pgop:2".into();
    // It carries the agent, too.
    let mut variables = operator["env"].as_array_mut().unwrap().iter_mut();
    let agent = variables
        .find(|variable| variable["name"] == "PGOP_AGENT_IMAGE")
        .unwrap();
    agent["value"] = "registry.test/pgop:2".into();
    assert_eq!(deployment(&server)["spec"], expected);
    ran.err_has("pgo: image changes from registry.test/pgop:1 to registry.test/pgop:2\n");
}

#[test]
fn an_operator_of_helm_is_left_to_helm() {
    let server = cluster();
    server.pgo("install").run().code(0);
    change(
        &server,
        &json!({"metadata": {"annotations": {"meta.helm.sh/release-name": "blue"}}}),
    );
    let hint = |verb: &str| format!("was installed by helm, as release blue: use `helm {verb} blue -n pgop-system`");
    server
        .pgo("install --image other:1")
        .run()
        .code(1)
        .out("")
        .err_has(&hint("upgrade"));
    server
        .pgo("uninstall --yes")
        .run()
        .code(1)
        .out("")
        .err_has(&hint("uninstall"));
    assert_ne!(container(&server)["image"], "other:1");
}

#[test]
fn namespaces_that_do_not_exist_are_refused_before_anything_is_changed() {
    let server = cluster();
    server
        .pgo("install --watch-namespaces shop,nowhere")
        .run()
        .code(1)
        .out("")
        .err_has("namespace nowhere does not exist: create it first");
    assert_eq!(rights(&server), [""; 0]);
    server
        .pgo("install --watch-namespaces Shop")
        .run()
        .code(2)
        .out("")
        .err_has("--watch-namespaces Shop: the name");
}

#[test]
fn uninstall_takes_every_right_away_whatever_the_operator_watched_before() {
    let server = cluster();
    server.pgo("install --watch-namespaces bank,shop").run().code(0);
    server.ask(async |client| {
        let api: Api<Deployment> = Api::namespaced(client, "pgop-system");
        api.delete("pgop-operator", &kube::api::DeleteParams::default())
            .await
            .unwrap();
    });
    server.pgo("uninstall --yes").run().code(0);
    assert_eq!(rights(&server), [""; 0]);
    let left = server.ask(async |client| {
        let all: Api<ClusterRole> = Api::all(client);
        let found = all.list(&ListParams::default()).await.unwrap();
        found
            .into_iter()
            .map(|role| role.name_any())
            .filter(|name| name.contains("pgop"))
            .collect::<Vec<_>>()
    });
    assert_eq!(left, [""; 0]);
}
