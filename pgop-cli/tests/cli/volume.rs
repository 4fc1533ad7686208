//! Looking into claims. No kubelet is there; the tests play it.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim, Pod, ServiceAccount};
use kube::api::{Api as Resources, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::api::{Answer, Api};
use crate::harness::{Ran, Test};
use crate::server::ApiServer;

/// Creates an object from JSON.
macro_rules! create {
    ($server:expr, $kind:ty, $api:expr, $object:expr) => {
        $server.ask(async |client| {
            let object = serde_json::from_value::<$kind>($object).unwrap();
            let api: Resources<$kind> = $api(client);
            api.create(&PostParams::default(), &object).await.unwrap();
        })
    };
}

/// An API server with the definitions, namespace `shop`, and claim `orders-backup-pvc` in it.
fn server() -> ApiServer {
    let server = ApiServer::start();
    create!(server, Namespace, Resources::all, json!({"metadata": {"name": "shop"}}));
    // No controller is there to make it, and no pod is without one.
    create!(
        server,
        ServiceAccount,
        in_shop,
        json!({"metadata": {"name": "default"}})
    );
    server.pgo("install --image registry.test/pgop:1").run().code(0);
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    create!(
        server,
        PersistentVolumeClaim,
        in_shop,
        json!({"metadata": {"name": "orders-backup-pvc", "labels": {"pgop.dev/backups-of": "orders"}}, "spec": spec})
    );
    server
}

fn in_shop<K>(client: kube::Client) -> Resources<K>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    Resources::namespaced(client, "shop")
}

/// A run that looks into a claim: how it ends when its pod does with that status, and the pod.
fn looks(server: &ApiServer, line: &str, status: &Value) -> (Ran, Pod) {
    std::thread::scope(|scope| {
        let run = scope.spawn(|| server.pgo(line).run());
        let pod = server.ask(async |client| {
            let api: Resources<Pod> = in_shop(client);
            let selector = ListParams::default().labels("app.kubernetes.io/name=pgo-browse");
            while !run.is_finished() {
                if let Some(pod) = api.list(&selector).await.unwrap().items.pop() {
                    let name = pod.metadata.name.clone().unwrap();
                    let patch = Patch::Merge(json!({"status": status}));
                    api.patch_status(&name, &PatchParams::default(), &patch).await.unwrap();
                    return Some(pod);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            None
        });
        let ran = run.join().unwrap();
        assert!(pod.is_some(), "it made no pod: {ran:#?}");
        (ran, pod.unwrap())
    })
}

/// A pod that ended with that code and last words.
fn ended(code: i32, words: &str) -> Value {
    let state = json!({"terminated": {"exitCode": code, "message": words}});
    json!({"phase": "Failed", "containerStatuses": [{"name": "browse", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state}]})
}

/// Images of the pod that looks: of the agent's, and of the one that lists.
fn images(pod: &Pod) -> (String, String) {
    let spec = pod.spec.as_ref().unwrap();
    let agent = &spec.init_containers.as_ref().unwrap()[0];
    (agent.image.clone().unwrap(), spec.containers[0].image.clone().unwrap())
}

#[test]
fn the_agent_that_looks_is_that_of_the_claims_user_and_else_the_operators() {
    let server = server();
    let (ran, pod) = looks(
        &server,
        "show pvc orders-backup-pvc",
        &ended(3, "there is no directory"),
    );
    ran.code(0).out_has("pvc : orders-backup-pvc (").out_has("(empty)");
    assert_eq!(images(&pod), ("registry.test/pgop:1".into(), "postgres:17".into()));

    server
        .pgo("create database orders --image lab/postgres:15")
        .run()
        .code(0);
    let agent = json!({"name": "agent", "image": "registry.test/pgop:0"});
    let postgres = json!({"name": "postgres", "image": "lab/postgres:15"});
    create!(
        server,
        Pod,
        in_shop,
        json!({"metadata": {"name": "orders-0", "labels": {"pgop.dev/database": "orders", "pgop.dev/role": "primary"}},
            "spec": {"initContainers": [agent], "containers": [postgres]}})
    );
    let (_, pod) = looks(&server, "show pvc orders-backup-pvc", &ended(3, ""));
    assert_eq!(images(&pod), ("registry.test/pgop:0".into(), "lab/postgres:15".into()));
    let (ran, pod) = looks(&server, "show backup orders --image any:1", &ended(3, ""));
    ran.code(0).out_has("no snapshot");
    assert_eq!(images(&pod), ("registry.test/pgop:0".into(), "any:1".into()));

    // The pods are deleted, whatever happened.
    let left = server.ask(async |client| {
        let api: Resources<Pod> = in_shop(client);
        api.list(&ListParams::default()).await.unwrap().items.len()
    });
    assert_eq!(left, 1);
}

#[test]
fn where_no_operator_is_found_the_agent_is_that_of_this_version() {
    let server = server();
    server.ask(async |client| {
        let api: Resources<Deployment> = Resources::namespaced(client, "pgop-system");
        api.delete("pgop-operator", &kube::api::DeleteParams::default())
            .await
            .unwrap();
    });
    let (ran, pod) = looks(
        &server,
        "show pvc orders-backup-pvc",
        &ended(1, "could not read `` on the claim"),
    );
    ran.code(1)
        .out_has("pvc : orders-backup-pvc (")
        .err_has("claim orders-backup-pvc could not be listed: could not read `` on the claim");
    let own = concat!("ghcr.io/pgop/operator:", env!("CARGO_PKG_VERSION"));
    assert_eq!(images(&pod).0, own);
}

/// `pgo show pvc vault`, where the pod has ended well and wrote that.
fn shown(log: &'static str) -> Ran {
    let status = json!({"phase": "Succeeded", "containerStatuses": [{"name": "browse", "image": "", "imageID": "", "ready": false,
        "restartCount": 0, "state": {"terminated": {"exitCode": 0}}}]});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pgo-browse-1"}, "spec": {"containers": []}, "status": status});
    let list = |items: &[&Value]| {
        Answer::json(&json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}))
    };
    let api = Api::start(move |line| match line {
        line if line.contains("/log") => Answer::json(&log),
        line if line.starts_with("POST") || line.starts_with("DELETE") => Answer::json(&pod),
        line if line.contains("/pods?") && line.contains("fieldSelector") => list(&[&pod]),
        line if line.contains("/persistentvolumeclaims/vault") => Answer::json(
            &json!({"kind": "PersistentVolumeClaim", "apiVersion": "v1", "metadata": {"name": "vault"}, "status": {"phase": "Bound"}}),
        ),
        _ => list(&[]),
    });
    let ran = Test::new("show pvc vault")
        .file("k", &api.kubeconfig("", ""))
        .env("KUBECONFIG", "k")
        .run();
    assert!(
        api.asked().iter().any(|line| line.starts_with("DELETE")),
        "{:?}",
        api.asked()
    );
    ran
}

#[test]
fn a_listing_says_how_whole_it_and_its_snapshots_are_and_drives_no_terminal() {
    let log = concat!(
        r#"{"name":"a\nb\u001b[31m","raw":null,"kind":"directory","bytes":1024,"modified":0}"#,
        "\n",
        r#"{"name":"c\ufffd","raw":"63ff","kind":"directory","bytes":null,"modified":0,"snapshot":{"label":"","version":"17.2","bytes":1,"complete":false}}"#,
        "\n",
        r#"{"entries":2,"left_out":98}"#,
        "\n",
    );
    shown(log).code(0).out(
        "pvc : vault (no size yet, Bound)\n\
         ├── /a\\nb\\u{1b}[31m (1 kB)\n\
         ├── /c\\xff (snapshot of PostgreSQL 17.2, INCOMPLETE: its manifest is not whole)\n\
         └── 98 more are not listed: only the first 2 by name are\n",
    );
}

#[test]
fn a_listing_that_was_cut_off_is_none() {
    let half = concat!(r#"{"name":"a","kind":"directory","bytes":1,"modified":0}"#, "\n");
    shown(half)
        .code(1)
        .out("pvc : vault (no size yet, Bound)\n")
        .err("pgo: error: claim vault could not be listed: the listing was cut off; try again\n");
}
