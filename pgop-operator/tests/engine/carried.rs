//! How a plan is carried out: what is somebody else's stays his, what fails keeps nothing else waiting, what others change is put back.

use std::time::Duration;

use http::Method;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::cluster::{self, Cluster, Death, answer, pass, sends, until};

const PGOP: &str = "pgop.dev/v1alpha1";

fn hippo(spec: &Value) -> Value {
    json!({"apiVersion": PGOP, "kind": "PgCluster", "metadata": {"name": "hippo"}, "spec": spec})
}

/// Somebody else's.
fn service() -> Value {
    let meta = json!({"name": "hippo", "labels": {"team": "billing"}});
    json!({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"ports": [{"port": 80}]}})
}

/// Somebody else's.
fn stateful_set() -> Value {
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let spec =
        json!({"replicas": 0, "serviceName": "x", "selector": {"matchLabels": {"a": "b"}}, "template": template});
    json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "hippo"}, "spec": spec})
}

impl Cluster {
    pub(crate) fn api(&self, api_version: &str, kind: &str) -> Api<DynamicObject> {
        Api::default_namespaced_with(self.client.clone(), &cluster::kind(api_version, kind))
    }

    pub(crate) async fn get(&self, api_version: &str, kind: &str, name: &str) -> Option<Value> {
        let found = self.api(api_version, kind).get_opt(name).await.unwrap();
        found.map(|object| serde_json::to_value(object).unwrap())
    }

    pub(crate) async fn change(&self, api_version: &str, kind: &str, name: &str, change: &Value) {
        let api = self.api(api_version, kind);
        api.patch(name, &PatchParams::default(), &Patch::Merge(change))
            .await
            .unwrap();
    }

    pub(crate) async fn delete(&self, api_version: &str, kind: &str, name: &str) {
        self.api(api_version, kind)
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
    }

    /// Status and reason of a condition of the cluster `hippo`.
    pub(crate) async fn condition(&self, kind: &str) -> (String, String) {
        let hippo = self.get(PGOP, "PgCluster", "hippo").await.unwrap();
        let conditions = hippo["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.into_iter().find(|c| c["type"] == kind).unwrap_or_default();
        let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
        (text("status"), text("reason"))
    }

    /// Replaces a definition by a newer pgop's, whose field `spec.<field>` has values that this one does not know.
    async fn takes_any_word(&self, definition: &str, field: &str) {
        let definitions: Api<DynamicObject> = Api::all_with(
            self.client.clone(),
            &cluster::kind("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        );
        let mut newer = definitions.get(definition).await.unwrap();
        let at = format!("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/{field}");
        *newer.data.pointer_mut(&at).unwrap() = json!({"type": "string"});
        definitions
            .replace(definition, &PostParams::default(), &newer)
            .await
            .unwrap();
    }

    /// Makes the cluster `hippo`, of whose names this one is somebody else's already.
    async fn name_is_taken(&self, stranger: Value) -> Option<Value> {
        let text = |at: &str| stranger.pointer(at).unwrap().as_str().unwrap().to_owned();
        let (version, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
        self.create(stranger).await;
        self.create(hippo(&json!({"replicas": 0}))).await;
        self.get(&version, &kind, &name).await
    }

    async fn is(&self, kind: &str, status: &str, reason: &str) {
        until(async || self.condition(kind).await == (status.to_owned(), reason.to_owned())).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_strangers_object_is_never_taken_over_and_no_data_is_made_beside_it() {
    let cluster = Cluster::start().await;
    let before = cluster.name_is_taken(service()).await;
    let _operator = cluster.operator(usize::MAX, Death::BeforeTheServerHasIt);
    cluster.is("Degraded", "True", "NameTaken").await;
    // Also not by a later look, when some of it is there.
    sleep(Duration::from_secs(20)).await;
    let made = cluster.made().await;
    let is_data = |name: &&String| name.starts_with("PersistentVolumeClaim/") || name.starts_with("StatefulSet/");
    assert_eq!(made.iter().find(is_data), None, "{made:?}");
    assert_eq!(cluster.get("v1", "Service", "hippo").await, before);
    cluster.delete("v1", "Service", "hippo").await;
    cluster.all_ready().await;
}

/// A claim that was made before would stay when its owner gives up.
#[tokio::test(start_paused = true)]
async fn nothing_is_made_for_a_server_whose_name_is_taken() {
    let cluster = Cluster::start().await;
    cluster.name_is_taken(stateful_set()).await;
    let _operator = cluster.operator(usize::MAX, Death::BeforeTheServerHasIt);
    cluster.is("Degraded", "True", "NameTaken").await;
    assert_eq!(cluster.made().await.into_iter().collect::<Vec<_>>(), [""; 0]);
    cluster.delete("apps/v1", "StatefulSet", "hippo").await;
    cluster.all_ready().await;
}

/// Look-ups may be answered from a cache of the API server, which does not know what is a moment old.
#[tokio::test(start_paused = true)]
async fn what_a_stranger_made_a_moment_ago_is_not_taken_over_either() {
    let cluster = Cluster::start().await;
    let before = cluster.name_is_taken(stateful_set()).await;
    let _operator = cluster.operator_behind(|request, service| async move {
        let is_cached = request
            .uri()
            .query()
            .is_some_and(|query| query.contains("resourceVersion=0"));
        if request.method() != Method::GET || !is_cached || !request.uri().path().ends_with("/statefulsets/hippo") {
            return pass(request, service).await;
        }
        let status =
            json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound"});
        answer(404, &status)
    });
    cluster.is("Degraded", "True", "NameTaken").await;
    assert_eq!(cluster.get("apps/v1", "StatefulSet", "hippo").await, before);
}

/// Objects are created, and applied when they change.
#[tokio::test(start_paused = true)]
async fn what_a_spec_no_longer_has_goes_from_what_was_created() {
    let cluster = Cluster::start().await;
    let service = json!({"annotations": {"example.com/zone": "blue", "example.com/team": "billing"}});
    cluster.create(hippo(&json!({"replicas": 0, "service": service}))).await;
    let _operator = cluster.operator(usize::MAX, Death::BeforeTheServerHasIt);
    cluster.all_ready().await;
    let theirs = json!({"metadata": {"annotations": {"example.com/mesh": "on"}}});
    cluster.change("v1", "Service", "hippo", &theirs).await;
    let change = json!({"spec": {"service": {"annotations": {"example.com/zone": null}}}});
    cluster.change(PGOP, "PgCluster", "hippo", &change).await;
    until(async || {
        let service = cluster.get("v1", "Service", "hippo").await.unwrap();
        let has = |key: &str| service["metadata"]["annotations"].get(key).is_some();
        !has("example.com/zone") && has("example.com/team") && has("example.com/mesh")
    })
    .await;
    let service = cluster.get("v1", "Service", "hippo").await.unwrap();
    let managers = service["metadata"]["managedFields"].as_array().unwrap();
    let ours: Vec<_> = managers
        .iter()
        .filter(|entry| entry["manager"].as_str().unwrap().starts_with("pgop"))
        .map(|entry| (entry["manager"].as_str().unwrap(), entry["operation"].as_str().unwrap()))
        .collect();
    assert_eq!(ours, [("pgop", "Apply")]);
    assert_eq!(service["spec"]["ports"][0]["port"], 5432);
}

/// A label policy may overwrite what marks an object as ours; whose it is, its owner reference tells.
#[tokio::test(start_paused = true)]
async fn an_object_that_lost_its_labels_is_still_the_resources_own() {
    let cluster = Cluster::start().await;
    cluster.create(hippo(&json!({"replicas": 0}))).await;
    let _operator = cluster.operator(usize::MAX, Death::BeforeTheServerHasIt);
    cluster.all_ready().await;
    let labels = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "policy"}}});
    cluster.change("v1", "Service", "hippo", &labels).await;
    until(async || {
        let service = cluster.get("v1", "Service", "hippo").await.unwrap();
        service["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "pgop"
    })
    .await;
    cluster.all_ready().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_keeps_nothing_waiting_that_does_not_need_it_and_what_runs_is_told() {
    let cluster = Cluster::start().await;
    cluster.create(hippo(&json!({"replicas": 1}))).await;
    let _operator = cluster.operator_behind(|request, service| async move {
        let (is_claim, request) = sends(request, "persistentvolumeclaims", "data-hippo-replica-0").await;
        if !is_claim {
            return pass(request, service).await;
        }
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "reason": "Forbidden", "message": "exceeded quota"});
        answer(403, &status)
    });
    cluster.is("Degraded", "True", "ApplyFailed").await;
    until(async || {
        let hippo = cluster.get(PGOP, "PgCluster", "hippo").await.unwrap();
        hippo["status"]["members"][0]["ready"] == true && hippo["status"]["initialized"] == true
    })
    .await;
    let sets = cluster.list("apps/v1", "StatefulSet", &ListParams::default()).await;
    let names: Vec<String> = sets.iter().map(ResourceExt::name_any).collect();
    assert_eq!(
        names,
        ["hippo"],
        "the replicas wait for their claim, and the primary does not"
    );
}

#[tokio::test(start_paused = true)]
async fn drift_is_put_back_claims_only_grow_and_a_password_is_made_once() {
    let cluster = Cluster::start().await;
    cluster
        .create(hippo(&json!({"replicas": 0, "storage": {"size": "7Gi"}})))
        .await;
    let _operator = cluster.operator(usize::MAX, Death::BeforeTheServerHasIt);
    cluster.all_ready().await;
    let secret = async || cluster.get("v1", "Secret", "hippo-user").await.unwrap()["data"].clone();
    let password = secret().await["password"].clone();
    let size = async || {
        let claim = cluster.get("v1", "PersistentVolumeClaim", "hippo-pvc").await.unwrap();
        claim["spec"]["resources"]["requests"]["storage"].clone()
    };
    let grown = json!({"spec": {"resources": {"requests": {"storage": "9Gi"}}}});
    cluster.change("v1", "PersistentVolumeClaim", "hippo-pvc", &grown).await;
    // What somebody else has put beside it stays: server-side apply takes out nothing of another manager's.
    let serves = async |port: u16| {
        let service = cluster.get("v1", "Service", "hippo").await.unwrap();
        let ports = service["spec"]["ports"].as_array().unwrap();
        ports.iter().any(|there| there["port"] == port)
    };
    let drifted = json!({"spec": {"ports": [{"name": "postgresql", "port": 1, "protocol": "TCP"}]}});
    cluster.change("v1", "Service", "hippo", &drifted).await;
    until(async || serves(5432).await).await;
    assert_eq!(size().await, "9Gi", "a bigger claim is left alone");

    let change = json!({"spec": {"postgres": {"port": 7777}, "storage": {"size": "11Gi"}}});
    cluster.change(PGOP, "PgCluster", "hippo", &change).await;
    until(async || serves(7777).await && !serves(5432).await && size().await == "11Gi").await;
    let encoded = "Nzc3Nw=="; // 7777
    until(async || secret().await["port"] == encoded).await;
    assert_eq!(secret().await["password"], password);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_wanted_any_more_goes_but_for_claims() {
    let cluster = Cluster::start().await;
    cluster.create(hippo(&json!({"replicas": 1}))).await;
    let _operator = cluster.operator(usize::MAX, Death::BeforeTheServerHasIt);
    cluster.all_ready().await;
    let owner = cluster.get("v1", "Service", "hippo").await.unwrap()["metadata"]["ownerReferences"].clone();
    let labels = json!({"app.kubernetes.io/managed-by": "pgop", "pgop.dev/cluster": "hippo"});
    let map = |name: &str, owners: &Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels, "ownerReferences": owners}});
    cluster.create(map("nobodys", &json!([]))).await;
    cluster.create(map("old", &owner)).await;
    until(async || cluster.get("v1", "ConfigMap", "old").await.is_none()).await;
    cluster
        .change(PGOP, "PgCluster", "hippo", &json!({"spec": {"replicas": 0}}))
        .await;
    cluster.all_ready().await;
    assert!(cluster.get("v1", "ConfigMap", "nobodys").await.is_some());
    let claim = cluster.get("v1", "PersistentVolumeClaim", "data-hippo-replica-0").await;
    assert!(claim.is_some(), "it holds data");
}

#[tokio::test(start_paused = true)]
async fn retain_is_in_force_at_once_though_the_spec_is_refused() {
    let cluster = Cluster::start().await;
    let spec = json!({"replicas": 1, "deletionPolicy": "Delete"});
    cluster.create(hippo(&spec)).await;
    let _operator = cluster.operator(usize::MAX, Death::BeforeTheServerHasIt);
    cluster.all_ready().await;
    let owners = async |claim: &str| {
        let claim = cluster.get("v1", "PersistentVolumeClaim", claim).await.unwrap();
        claim["metadata"]["ownerReferences"].as_array().map_or(0, Vec::len)
    };
    // One that no replica uses any more keeps its owner, and is not in any plan.
    cluster
        .change(PGOP, "PgCluster", "hippo", &json!({"spec": {"replicas": 0}}))
        .await;
    cluster.all_ready().await;
    assert_eq!(
        (owners("hippo-pvc").await, owners("data-hippo-replica-0").await),
        (1, 1)
    );
    let refused = json!({"spec": {"deletionPolicy": "Retain", "credentials": {"user": "gone"}}});
    cluster.change(PGOP, "PgCluster", "hippo", &refused).await;
    cluster.is("Accepted", "False", "Invalid").await;
    until(async || owners("hippo-pvc").await + owners("data-hippo-replica-0").await == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_spec_does_not_stop_healing() {
    let cluster = Cluster::start().await;
    let spec = json!({"replicas": 0, "postgres": {"version": "17"}});
    cluster.create(hippo(&spec)).await;
    let _operator = cluster.operator(usize::MAX, Death::BeforeTheServerHasIt);
    cluster.all_ready().await;
    let refused = json!({"spec": {"credentials": {"user": "gone"}, "postgres": {"version": "16"}}});
    cluster.change(PGOP, "PgCluster", "hippo", &refused).await;
    cluster.is("Accepted", "False", "Invalid").await;
    cluster.delete("v1", "Service", "hippo").await;
    until(async || cluster.get("v1", "Service", "hippo").await.is_some()).await;
    assert_eq!(cluster.condition("Ready").await.0, "True");
    let set = cluster.get("apps/v1", "StatefulSet", "hippo").await.unwrap();
    assert_eq!(set["spec"]["template"]["spec"]["containers"][0]["image"], "postgres:17");
}

#[tokio::test(start_paused = true)]
async fn with_delete_also_the_claims_of_replicas_that_were_scaled_away_go_with_their_cluster() {
    let cluster = Cluster::start().await;
    cluster.create(hippo(&json!({"replicas": 1}))).await;
    let operator = cluster.operator(usize::MAX, Death::BeforeTheServerHasIt);
    cluster.all_ready().await;
    let owner = async |claim: &str| {
        let claim = cluster.get("v1", "PersistentVolumeClaim", claim).await.unwrap();
        claim["metadata"]["ownerReferences"][0]["name"].clone()
    };
    cluster
        .change(PGOP, "PgCluster", "hippo", &json!({"spec": {"replicas": 0}}))
        .await;
    cluster.all_ready().await;
    for (policy, expected) in [
        ("Delete", json!("hippo")),
        ("Retain", Value::Null),
        ("Delete", json!("hippo")),
    ] {
        cluster
            .change(PGOP, "PgCluster", "hippo", &json!({"spec": {"deletionPolicy": policy}}))
            .await;
        for claim in ["hippo-pvc", "data-hippo-replica-0"] {
            until(async || owner(claim).await == expected).await;
        }
    }
    operator.is_quiet(1).await;
    cluster.delete(PGOP, "PgCluster", "hippo").await;
    until(async || {
        let all = ListParams::default();
        cluster.list("v1", "PersistentVolumeClaim", &all).await.is_empty()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_cant_be_read_says_so_keeps_its_claims_and_is_looked_after_again_when_it_can() {
    let cluster = Cluster::start().await;
    cluster.takes_any_word("pgclusters.pgop.dev", "deletionPolicy").await;
    cluster
        .create(hippo(&json!({"replicas": 0, "deletionPolicy": "Archive"})))
        .await;
    let _operator = cluster.operator(usize::MAX, Death::BeforeTheServerHasIt);
    cluster.is("Accepted", "False", "Unreadable").await;
    let set_policy = async |policy: &str| {
        let change = json!({"spec": {"deletionPolicy": policy}});
        cluster.change(PGOP, "PgCluster", "hippo", &change).await;
    };
    set_policy("Delete").await;
    cluster.all_ready().await;
    let owners = async || {
        let claim = cluster.get("v1", "PersistentVolumeClaim", "hippo-pvc").await.unwrap();
        claim["metadata"]["ownerReferences"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(owners().await, 1);
    set_policy("Archive").await;
    cluster.is("Accepted", "False", "Unreadable").await;
    until(async || owners().await == 0).await;
    cluster.delete("v1", "Service", "hippo").await;
    set_policy("Retain").await;
    cluster.all_ready().await;
    assert!(cluster.get("v1", "Service", "hippo").await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_backup_that_has_ended_keeps_its_status_also_where_it_cant_be_read() {
    let cluster = Cluster::start().await;
    cluster
        .takes_any_word("pgbackups.pgop.dev", "source/properties/kind")
        .await;
    let source = json!({"source": {"kind": "PgFleet", "name": "hippo"}});
    for name in ["done", "new"] {
        let meta = json!({"name": name});
        cluster
            .create(json!({"apiVersion": PGOP, "kind": "PgBackup", "metadata": meta, "spec": source}))
            .await;
    }
    let told = json!({"phase": "Succeeded", "path": "hippo-backups/x", "finishedAt": "2026-11-22T10:00:00Z"});
    cluster
        .api(PGOP, "PgBackup")
        .patch_status("done", &PatchParams::default(), &Patch::Merge(json!({"status": told})))
        .await
        .unwrap();
    let operator = cluster.operator(usize::MAX, Death::BeforeTheServerHasIt);
    let status = async |name: &str| cluster.get(PGOP, "PgBackup", name).await.unwrap()["status"].clone();
    until(async || status("new").await["phase"] == "Invalid").await;
    operator.is_quiet(2).await;
    assert_eq!(status("done").await, told);
}
