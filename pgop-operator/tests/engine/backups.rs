//! Whose a backup is, and what a backup that was refused waits for.

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::cluster::{Cluster, Death, until};

const PGOP: &str = "pgop.dev/v1alpha1";

impl Cluster {
    async fn backup(&self, name: &str, storage: &Value) {
        let spec = json!({"source": {"kind": "PgCluster", "name": "hippo"}, "storage": storage});
        let meta = json!({"name": name});
        self.create(json!({"apiVersion": PGOP, "kind": "PgBackup", "metadata": meta, "spec": spec}))
            .await;
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
