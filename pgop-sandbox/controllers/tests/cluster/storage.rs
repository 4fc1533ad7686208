//! Claims, volumes, and their folders.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::play::{Cluster, eventually};

fn claim(change: impl FnOnce(&mut Value)) -> Value {
    let mut claim = json!({
        "metadata": { "name": "data" },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
    });
    change(&mut claim);
    claim
}

fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    claim
        .status
        .as_ref()
        .is_some_and(|status| status.phase.as_deref() == Some("Bound"))
}

fn volume_name(claim: &PersistentVolumeClaim) -> String {
    claim.spec.as_ref().unwrap().volume_name.clone().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_gets_a_folder_grows_and_takes_it_along() {
    let cluster = Cluster::start().await;
    cluster.create::<PersistentVolumeClaim>(claim(|_| {})).await;
    let bound = cluster.until::<PersistentVolumeClaim>("data", "bound", is_bound).await;
    assert_eq!(
        bound.spec.as_ref().unwrap().storage_class_name.as_deref(),
        Some("standard")
    );
    let volumes: Api<PersistentVolume> = Api::all(cluster.client.clone());
    let volume = volumes.get(&volume_name(&bound)).await.unwrap();
    let folder = std::path::PathBuf::from(volume.spec.unwrap().host_path.unwrap().path);
    assert!(folder.is_dir() && folder.starts_with(cluster.volumes.path()));
    cluster
        .merge::<PersistentVolumeClaim>(
            "data",
            json!({ "spec": { "resources": { "requests": { "storage": "3Gi" } } } }),
        )
        .await;
    let grown = |claim: &PersistentVolumeClaim| {
        let capacity = claim
            .status
            .as_ref()
            .and_then(|status| status.capacity.clone())
            .unwrap_or_default();
        capacity.get("storage").is_some_and(|size| size.0 == "3Gi")
    };
    cluster.until::<PersistentVolumeClaim>("data", "grown", grown).await;
    std::fs::write(folder.join("PG_VERSION"), "17").unwrap();
    cluster
        .delete::<PersistentVolumeClaim>("data", DeleteParams::default())
        .await;
    cluster.until_gone::<PersistentVolumeClaim>("data").await;
    let name = volume.metadata.name.unwrap();
    eventually("the volume is gone", || async {
        volumes.get_opt(&name).await.unwrap().is_none().then_some(())
    })
    .await;
    assert!(!folder.exists());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_in_use_stays_until_its_pod_is_gone() {
    let cluster = Cluster::start().await;
    cluster.create::<PersistentVolumeClaim>(claim(|_| {})).await;
    cluster
        .create::<Pod>(json!({
            "metadata": { "name": "db" },
            "spec": {
                "containers": [{ "name": "main", "image": "main:1" }],
                "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": "data" } }],
            },
        }))
        .await;
    let runs = |pod: &Pod| {
        pod.status
            .as_ref()
            .is_some_and(|status| status.phase.as_deref() == Some("Running"))
    };
    cluster.until::<Pod>("db", "running", runs).await;
    cluster
        .delete::<PersistentVolumeClaim>("data", DeleteParams::default())
        .await;
    // Another claim has gone all the way by the time this one would have been let go.
    cluster
        .create::<PersistentVolumeClaim>(claim(|claim| claim["metadata"]["name"] = json!("other")))
        .await;
    cluster.until::<PersistentVolumeClaim>("other", "bound", is_bound).await;
    assert!(
        cluster
            .api::<PersistentVolumeClaim>()
            .get("data")
            .await
            .unwrap()
            .metadata
            .deletion_timestamp
            .is_some()
    );
    cluster.delete::<Pod>("db", DeleteParams::default()).await;
    cluster.until_gone::<PersistentVolumeClaim>("data").await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_made_by_hand_is_bound_and_kept() {
    let cluster = Cluster::start().await;
    let volumes: Api<PersistentVolume> = Api::all(cluster.client.clone());
    let volume = json!({
        "metadata": { "name": "disk-1" },
        "spec": {
            "accessModes": ["ReadWriteOnce"], "capacity": { "storage": "5Gi" }, "storageClassName": "manual",
            "persistentVolumeReclaimPolicy": "Retain", "hostPath": { "path": "/tmp" },
        },
    });
    volumes
        .create(&PostParams::default(), &serde_json::from_value(volume).unwrap())
        .await
        .unwrap();
    cluster
        .create::<PersistentVolumeClaim>(claim(|claim| claim["spec"]["storageClassName"] = json!("manual")))
        .await;
    let bound = cluster.until::<PersistentVolumeClaim>("data", "bound", is_bound).await;
    assert_eq!(volume_name(&bound), "disk-1");
    cluster
        .delete::<PersistentVolumeClaim>("data", DeleteParams::default())
        .await;
    let phase = |wanted: &'static str| {
        let volumes = volumes.clone();
        async move {
            eventually(wanted, || async {
                let volume = volumes.get("disk-1").await.unwrap();
                (volume.status.unwrap_or_default().phase.as_deref() == Some(wanted)).then_some(())
            })
            .await;
        }
    };
    phase("Released").await;
    volumes
        .patch(
            "disk-1",
            &PatchParams::default(),
            &Patch::Merge(json!({ "spec": { "claimRef": null } })),
        )
        .await
        .unwrap();
    phase("Available").await;
    assert!(
        volumes
            .get("disk-1")
            .await
            .unwrap()
            .finalizers()
            .iter()
            .any(|name| name == "kubernetes.io/pv-protection")
    );
    cluster.stop().await;
}
