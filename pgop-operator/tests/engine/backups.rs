//! Whose a backup is, and what a backup that was refused waits for.

use kube::ResourceExt as _;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::cluster::{Cluster, Death, Running, until};

const PGOP: &str = "pgop.dev/v1alpha1";

impl Cluster {
    async fn backup(&self, name: &str, storage: &Value) {
        let spec = json!({"source": {"kind": "PgCluster", "name": "hippo"}, "storage": storage});
        let meta = json!({"name": name});
        self.create(json!({"apiVersion": PGOP, "kind": "PgBackup", "metadata": meta, "spec": spec}))
            .await;
    }

    /// The container of the Job's pod ends so, as soon as there is one that runs; whether there is.
    async fn end(&self, code: i32, words: &str) -> bool {
        let jobs = ListParams::default().labels("job-name=copy");
        let pods = self.list("v1", "Pod", &jobs).await;
        let runs = |pod: &&kube::api::DynamicObject| pod.data["status"]["phase"] == "Running";
        let Some(pod) = pods.iter().find(runs) else {
            return false;
        };
        let at = "2026-11-22T12:00:00Z";
        let state = json!({"terminated": {"exitCode": code, "message": words, "startedAt": at, "finishedAt": at}});
        let container =
            json!({"name": "backup", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state});
        let phase = if code == 0 { "Succeeded" } else { "Failed" };
        let status = Patch::Merge(json!({"status": {"phase": phase, "containerStatuses": [container]}}));
        let api = self.api("v1", "Pod");
        api.patch_status(&pod.name_any(), &PatchParams::default(), &status)
            .await
            .unwrap();
        true
    }

    async fn copy(&self) -> Value {
        self.get(PGOP, "PgBackup", "copy").await.unwrap()
    }

    /// For how long the Job `copy` stays after it has ended; none when it stays for good, or is gone.
    async fn stays(&self) -> Option<i64> {
        self.get("batch/v1", "Job", "copy").await?["spec"]["ttlSecondsAfterFinished"].as_i64()
    }

    /// A backup that has ended, of the cluster `hippo` that has or had that uid.
    async fn snapshot(&self, name: &str, source_uid: &Value, finished: &str) {
        self.backup(name, &json!({})).await;
        let status = json!({"status": {"phase": "Succeeded", "sourceUid": source_uid, "claim": "hippo-backup-pvc",
            "path": format!("hippo-backups/{name}"), "finishedAt": finished}});
        let api = self.api(PGOP, "PgBackup");
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(status))
            .await
            .unwrap();
    }
}

/// Cluster `hippo`, which serves, and backup `copy` of it, whose Job nobody has made yet.
async fn about_to_copy() -> Cluster {
    let cluster = Cluster::start().await;
    let meta = json!({"name": "hippo"});
    let hippo = json!({"apiVersion": PGOP, "kind": "PgCluster", "metadata": meta, "spec": {"replicas": 0}});
    cluster.create(hippo).await;
    let operator = cluster.operator(usize::MAX, Death::BeforeTheServerHasIt);
    cluster.all_ready().await;
    operator.is_quiet(1).await;
    drop(operator);
    cluster.backup("copy", &json!({})).await;
    cluster
}

const DONE: &str = r#"{"path": "hippo-backups/it", "bytes": 42}"#;

/// Which of the requests that wrote changed that, in their order.
fn changed(operator: &Running, what: &str) -> Vec<usize> {
    let writes = operator.writes().into_iter().enumerate();
    let of_it = writes.filter(|(_, it)| it.starts_with("PATCH") && it.ends_with(what));
    of_it.map(|(at, _)| at).collect()
}

#[tokio::test(start_paused = true)]
async fn a_job_goes_after_its_result_is_in_the_status_and_then_nothing_is_done_again() {
    for (code, words, phase) in [(0, DONE, "Succeeded"), (3, "the claim is full", "Failed")] {
        let cluster = about_to_copy().await;
        let operator = cluster.operator(usize::MAX, Death::BeforeTheServerHasIt);
        until(async || cluster.end(code, words).await).await;
        until(async || cluster.stays().await == Some(86_400)).await;
        let told = cluster.copy().await;
        assert_eq!(told["status"]["phase"], phase);
        let is_told = |key: &str, value: Value| assert_eq!(told["status"][key], value, "{phase}");
        if code == 0 {
            is_told("path", json!("hippo-backups/it"));
            is_told("sizeBytes", json!(42));
        } else {
            let conditions = told["status"]["conditions"].to_string();
            assert!(conditions.contains(words), "{conditions}");
        }
        let status = changed(&operator, "/pgbackups/copy/status");
        let [job] = changed(&operator, "/jobs/copy")[..] else {
            panic!("{:?}", operator.writes())
        };
        assert!(status.last() < Some(&job), "{:?}", operator.writes());
        // The day is over.
        let now = Patch::Merge(json!({"spec": {"ttlSecondsAfterFinished": 0}}));
        cluster
            .api("batch/v1", "Job")
            .patch("copy", &PatchParams::default(), &now)
            .await
            .unwrap();
        let pods = ListParams::default().labels("job-name=copy");
        until(async || {
            cluster.get("batch/v1", "Job", "copy").await.is_none() && cluster.list("v1", "Pod", &pods).await.is_empty()
        })
        .await;
        operator.is_quiet(1).await;
        assert_eq!(cluster.copy().await["status"], told["status"]);
        assert!(
            cluster.get("batch/v1", "Job", "copy").await.is_none(),
            "it is made again"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn whenever_the_operator_dies_no_job_is_let_go_whose_result_nobody_knows() {
    let ends = async |cluster: &Cluster, operator: &Running| {
        until(async || {
            cluster.end(0, DONE).await;
            cluster.stays().await.is_some() || operator.is_dead()
        })
        .await;
    };
    let writes = {
        let cluster = about_to_copy().await;
        let operator = cluster.operator(usize::MAX, Death::BeforeTheServerHasIt);
        ends(&cluster, &operator).await;
        operator.writes().len()
    };
    assert!(writes > 3);
    for death in [Death::BeforeTheServerHasIt, Death::BeforeTheAnswerIsSeen] {
        for last in 1..=writes {
            let cluster = about_to_copy().await;
            let first = cluster.operator(last, death);
            ends(&cluster, &first).await;
            drop(first);
            if cluster.stays().await.is_some() {
                assert_eq!(
                    cluster.copy().await["status"]["phase"],
                    "Succeeded",
                    "request {last}, {death:?}"
                );
            }
            let second = cluster.operator(usize::MAX, death);
            ends(&cluster, &second).await;
            let told = cluster.copy().await;
            assert_eq!(told["status"]["path"], "hippo-backups/it", "request {last}, {death:?}");
            assert_eq!(cluster.stays().await, Some(86_400), "request {last}, {death:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_of_a_former_cluster_is_none_of_the_one_that_has_its_name_now() {
    let cluster = Cluster::start().await;
    let meta = json!({"name": "hippo"});
    let hippo = json!({"apiVersion": PGOP, "kind": "PgCluster", "metadata": meta, "spec": {"replicas": 0}});
    cluster.create(hippo).await;
    let find = async || cluster.get(PGOP, "PgCluster", "hippo").await.unwrap();
    let uid = find().await["metadata"]["uid"].clone();
    cluster.snapshot("own", &uid, "2026-11-22T12:00:00Z").await;
    cluster.snapshot("former", &json!("u1"), "2026-11-22T13:00:00Z").await;
    let _operator = cluster.operator(usize::MAX, Death::BeforeTheServerHasIt);
    cluster.all_ready().await;
    assert_eq!(find().await["status"]["lastBackup"]["name"], "own");
}

#[tokio::test(start_paused = true)]
async fn a_backup_that_a_claim_refused_is_looked_at_again_when_that_claim_is_gone() {
    let cluster = Cluster::start().await;
    let meta = json!({"name": "hippo"});
    let hippo = json!({"apiVersion": PGOP, "kind": "PgCluster", "metadata": meta, "spec": {"replicas": 0}});
    cluster.create(hippo).await;
    let labels = json!({"app.kubernetes.io/managed-by": "pgop", "pgop.dev/backups-of": "hippo"});
    let claim = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "slow", "resources": {"requests": {"storage": "1Gi"}}});
    let meta = json!({"name": "hippo-backup-pvc", "labels": labels});
    cluster
        .create(json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": claim}))
        .await;
    cluster.backup("copy", &json!({"className": "fast"})).await;
    let _operator = cluster.operator(usize::MAX, Death::BeforeTheServerHasIt);
    let phase = async || cluster.get(PGOP, "PgBackup", "copy").await.unwrap()["status"]["phase"].clone();
    until(async || phase().await == "Invalid").await;
    cluster.all_ready().await;
    cluster.delete("v1", "PersistentVolumeClaim", "hippo-backup-pvc").await;
    until(async || phase().await != "Invalid").await;
}
