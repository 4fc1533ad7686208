//! A week of an operator with its lease, on a clock that runs as fast as nothing happens.

use std::time::Duration;

use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use pgop_operator::lease::Candidate;
use serde_json::json;

use crate::cluster::{Cluster, Death, kind, until};

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
/// Renewed every two minutes: the week is one of the operator's, not of its requests.
const LEASE: Duration = Duration::from_secs(900);

#[tokio::test(start_paused = true)]
async fn after_a_week_of_nothing_the_lease_is_held_nothing_was_written_and_a_change_is_heard() {
    let mut cluster = Cluster::start().await;
    let meta = json!({"name": "hippo"});
    let hippo =
        json!({"apiVersion": "pgop.dev/v1alpha1", "kind": "PgCluster", "metadata": meta, "spec": {"replicas": 1}});
    cluster.create(hippo).await;
    let candidate = Candidate::new(cluster.client.clone(), "default", "pgop-operator", "a", LEASE);
    let mut held = candidate.acquire(|_| {}).await.unwrap();
    let operator = cluster.operator(usize::MAX, Death::BeforeTheServerHasIt);
    cluster.all_ready().await;
    operator.is_quiet(1).await;
    let (writes, looks) = (operator.writes(), operator.reconciles());

    cluster.stop_controllers();
    let leases: Api<DynamicObject> =
        Api::default_namespaced_with(cluster.client.clone(), &kind("coordination.k8s.io/v1", "Lease"));
    let version = async || leases.get("pgop-operator").await.unwrap().metadata.resource_version;
    let lost = tokio::time::timeout(WEEK.saturating_sub(LEASE), held.lost()).await;
    assert!(lost.is_err(), "{lost:?}");
    // Not only does the holder believe that it holds it.
    let before = version().await;
    let lost = tokio::time::timeout(LEASE, held.lost()).await;
    assert!(lost.is_err(), "{lost:?}");
    assert_ne!(version().await, before, "the lease is renewed");
    assert!(operator.is_at_work());
    assert_eq!(operator.writes(), writes);
    let looks = operator.reconciles() - looks;
    assert!(looks > 900, "it is looked at every ten minutes: {looks}");

    let clusters: Api<DynamicObject> =
        Api::default_namespaced_with(cluster.client.clone(), &kind("pgop.dev/v1alpha1", "PgCluster"));
    let change = Patch::Merge(json!({"spec": {"replicas": 2}}));
    clusters.patch("hippo", &PatchParams::default(), &change).await.unwrap();
    until(async || {
        let ours = ListParams::default().labels("pgop.dev/cluster=hippo");
        let sets = cluster.list("apps/v1", "StatefulSet", &ours).await;
        sets.iter().any(|set| set.data["spec"]["replicas"] == 2)
    })
    .await;
    held.release().await.unwrap();
}
