//! What `pgo` says of data on an API server: what is served again, what goes, what a restore needs. No operator is there; the tests play it.

use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use pgop_core::crd::{PgBackup, PgCluster, PgDatabase};
use serde_json::{Value, json};

use crate::server::ApiServer;

/// The namespace of the tests' kubeconfig.
const NAMESPACE: &str = "shop";

/// One that has the definitions.
fn server() -> ApiServer {
    let server = ApiServer::start();
    server.ask(async |client| {
        let namespace = serde_json::from_value(json!({"metadata": {"name": NAMESPACE}})).unwrap();
        let api: Api<Namespace> = Api::all(client);
        api.create(&PostParams::default(), &namespace).await.unwrap();
    });
    server.pgo("install").run().code(0);
    server
}

/// A claim with the data of the database or cluster `of`.
fn claim(server: &ApiServer, name: &str, label: &str, of: &str, owners: &Value) {
    let metadata = json!({"name": name, "labels": {label: of}, "ownerReferences": owners, "finalizers": ["kubernetes.io/pvc-protection"]});
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    let claim = serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap();
    server.ask(async |client| {
        let api: Api<PersistentVolumeClaim> = Api::namespaced(client, NAMESPACE);
        api.create(&PostParams::default(), &claim).await.unwrap();
    });
}

/// A pod uses it, so that it stays for now.
fn delete_claim(server: &ApiServer, name: &str) {
    server.ask(async |client| {
        let api: Api<PersistentVolumeClaim> = Api::namespaced(client, NAMESPACE);
        api.delete(name, &DeleteParams::default()).await.unwrap();
    });
}

#[test]
fn data_that_is_being_deleted_is_not_said_to_be_served_again() {
    let server = server();
    claim(&server, "hippo-pvc", "pgop.dev/database", "hippo", &json!([]));
    delete_claim(&server, "hippo-pvc");
    let ran = server.pgo("create database hippo").run().code(0);
    assert!(!ran.err.contains("served again"), "{}", ran.err);
    ran.err_has("claim hippo-pvc is that of the former hippo and is being deleted, with its data");
    server
        .pgo("delete database hippo --yes")
        .run()
        .code(0)
        .out_has("; claim hippo-pvc was being deleted already, with its data");
}

#[test]
fn a_restore_under_other_names_is_told_and_the_hint_of_a_backup_has_the_names() {
    let server = server();
    server
        .pgo("create database src --database shop --user shop")
        .run()
        .code(0);
    claim(&server, "vault", "pgop.dev/backups-of", "src", &json!([]));
    let hint = std::thread::scope(|scope| {
        let waits = scope.spawn(|| server.pgo("create backup src --wait --timeout 60s").run().code(0));
        server.ask(async |client| {
            let api: Api<PgBackup> = Api::namespaced(client, NAMESPACE);
            let made = loop {
                match api.list(&ListParams::default()).await.unwrap().items.pop() {
                    Some(backup) => break backup.metadata.name.unwrap(),
                    None => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
                }
            };
            let status = json!({"status": {"phase": "Succeeded", "claim": "vault", "path": "src-backups/x", "finishedAt": "2026-11-22T12:00:00Z"}});
            api.patch_status(&made, &PatchParams::default(), &Patch::Merge(status))
                .await
                .unwrap();
        });
        waits.join().unwrap()
    });
    hint.err_has("--backup-pvc=vault --backup-path=src-backups/x --database=shop --user=shop");
    server
        .pgo("create database dst --backup-pvc=vault --backup-path=src-backups/x")
        .run()
        .code(0)
        .err_has("database `shop` and not `app` and role `shop` and not `app`");
}

#[test]
fn uninstalling_tells_whose_data_goes_by_what_the_claims_say() {
    let server = server();
    for (kind, name) in [("cluster", "hippo"), ("cluster", "rhino"), ("database", "orders")] {
        server.pgo(&format!("create {kind} {name}")).run().code(0);
    }
    let uids = server.ask(async |client| {
        let clusters: Api<PgCluster> = Api::namespaced(client.clone(), NAMESPACE);
        let databases: Api<PgDatabase> = Api::namespaced(client, NAMESPACE);
        let hippo = clusters.get("hippo").await.unwrap().metadata.uid;
        (hippo, databases.get("orders").await.unwrap().metadata.uid)
    });
    let owner = |kind: &str, name: &str, uid: &Option<String>| json!([{"apiVersion": "pgop.dev/v1alpha1", "kind": kind, "name": name, "uid": uid}]);
    // As an operator leaves it that was not there when `Delete` became `Retain`.
    let owners = owner("PgCluster", "hippo", &uids.0);
    claim(&server, "data-hippo-replica-0", "pgop.dev/cluster", "hippo", &owners);
    claim(&server, "rhino-pvc", "pgop.dev/cluster", "rhino", &json!([]));
    let owners = owner("PgDatabase", "orders", &uids.1);
    claim(&server, "orders-pvc", "pgop.dev/database", "orders", &owners);
    let ran = server.pgo("uninstall --crds --yes").run().code(0);
    let told = |what: &str| ran.err.lines().find(|line| line.contains(what)).unwrap_or_default();
    for lost in ["PgCluster hippo", "PgDatabase orders"] {
        assert!(told(lost).contains("AND ITS DATA IS DELETED"), "{}", ran.err);
    }
    assert!(told("PgCluster rhino").contains("its claims stay"), "{}", ran.err);
}
