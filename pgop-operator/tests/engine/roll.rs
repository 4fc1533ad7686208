//! Servers are restarted in order, whenever the operator dies.

use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::cluster::{Cluster, Death, Running, until};

const IN_ORDER: [&str; 3] = ["hippo-replica-1", "hippo-replica-0", "hippo-0"];

async fn hippo() -> Cluster {
    let cluster = Cluster::start().await;
    let meta = json!({"name": "hippo"});
    let hippo =
        json!({"apiVersion": "pgop.dev/v1alpha1", "kind": "PgCluster", "metadata": meta, "spec": {"replicas": 2}});
    cluster.create(hippo).await;
    cluster
}

async fn ask_for(cluster: &Cluster, parameters: Value) {
    let change = Patch::Merge(json!({"spec": {"postgres": {"parameters": parameters}}}));
    let api = cluster.api("pgop.dev/v1alpha1", "PgCluster");
    api.patch("hippo", &PatchParams::default(), &change).await.unwrap();
}

/// The pods that an operator restarted, one after the other.
fn restarted(operator: &Running) -> Vec<String> {
    let deleted = operator
        .writes()
        .into_iter()
        .filter(|it| it.starts_with("DELETE") && it.contains("/pods/"));
    deleted.map(|it| it.rsplit('/').next().unwrap().to_owned()).collect()
}

/// Whether all pods are there, ready, and as the spec asks for them.
async fn is_rolled_out(cluster: &Cluster) -> bool {
    let sets = cluster.list("apps/v1", "StatefulSet", &ListParams::default()).await;
    let pods = cluster.list("v1", "Pod", &ListParams::default()).await;
    let asked =
        |set: &DynamicObject| set.data["spec"]["template"]["metadata"]["annotations"]["pgop.dev/requested"].clone();
    let wanted: Vec<Value> = sets.iter().map(asked).collect();
    let is_new = |pod: &DynamicObject| {
        let has = pod
            .metadata
            .annotations
            .as_ref()
            .and_then(|all| all.get("pgop.dev/requested"));
        pod.metadata.deletion_timestamp.is_none() && has.is_some_and(|has| wanted.contains(&json!(has)))
    };
    pods.len() == 3 && pods.iter().all(is_new)
}

#[tokio::test(start_paused = true)]
async fn a_change_that_needs_it_restarts_replicas_first_and_the_primary_last_and_no_other_does() {
    let cluster = hippo().await;
    let operator = cluster.operator(usize::MAX, Death::BeforeTheServerHasIt);
    cluster.all_ready().await;
    ask_for(
        &cluster,
        json!({"work_mem": "16MB", "auto_explain.log_min_duration": "1s"}),
    )
    .await;
    operator.is_quiet(1).await;
    assert_eq!(restarted(&operator), [""; 0]);
    ask_for(&cluster, json!({"max_connections": "150"})).await;
    until(async || restarted(&operator).len() == 3 && is_rolled_out(&cluster).await).await;
    cluster.all_ready().await;
    assert_eq!(restarted(&operator), IN_ORDER);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_settings_is_told_to_each_pod_once_so_that_its_kubelet_brings_it() {
    let cluster = hippo().await;
    let operator = cluster.operator(usize::MAX, Death::BeforeTheServerHasIt);
    cluster.all_ready().await;
    operator.is_quiet(1).await;
    let told = || {
        let writes = operator.writes().into_iter();
        writes
            .filter(|it| it.starts_with("PATCH") && it.contains("/pods/"))
            .count()
    };
    let before = told();
    ask_for(&cluster, json!({"work_mem": "16MB"})).await;
    until(async || told() == before + 3).await;
    operator.is_quiet(1).await;
    assert_eq!(told(), before + 3);
}

#[tokio::test(start_paused = true)]
async fn an_operator_that_dies_within_a_roll_leaves_the_rest_to_the_next() {
    let writes = {
        let cluster = hippo().await;
        drop(until_ready(&cluster).await);
        let operator = cluster.operator(usize::MAX, Death::BeforeTheServerHasIt);
        ask_for(&cluster, json!({"max_connections": "150"})).await;
        until(async || restarted(&operator).len() == 3 && is_rolled_out(&cluster).await).await;
        cluster.all_ready().await;
        operator.writes().len()
    };
    for death in [Death::BeforeTheServerHasIt, Death::BeforeTheAnswerIsSeen] {
        for last in 1..=writes {
            let cluster = hippo().await;
            drop(until_ready(&cluster).await);
            let mut first = cluster.operator(last, death);
            ask_for(&cluster, json!({"max_connections": "150"})).await;
            tokio::select! {
                () = first.died() => {}
                () = until(async || is_rolled_out(&cluster).await) => {}
            }
            let mut all = restarted(&first);
            drop(first);
            let second = cluster.operator(usize::MAX, death);
            until(async || is_rolled_out(&cluster).await).await;
            cluster.all_ready().await;
            all.extend(restarted(&second));
            // One whose deletion never arrived is asked for again.
            all.dedup();
            assert_eq!(all, IN_ORDER, "request {last} was the last, {death:?}");
        }
    }
}

/// An older pgop left the order to Kubernetes, and did not note what it asked for.
#[tokio::test(start_paused = true)]
async fn servers_of_an_older_pgop_are_taken_over_as_they_run() {
    let cluster = hippo().await;
    drop(until_ready(&cluster).await);
    let sets = cluster.api("apps/v1", "StatefulSet");
    for name in ["hippo", "hippo-replica"] {
        let older = json!({"metadata": {"annotations": {"pgop.dev/template": null, "pgop.dev/applied": "of another"}},
            "spec": {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}}});
        sets.patch(name, &PatchParams::default(), &Patch::Merge(older))
            .await
            .unwrap();
    }
    let operator = cluster.operator(usize::MAX, Death::BeforeTheServerHasIt);
    until(async || {
        let sets = cluster.list("apps/v1", "StatefulSet", &ListParams::default()).await;
        sets.iter()
            .all(|set| set.data["spec"]["updateStrategy"] == json!({"type": "OnDelete"}))
    })
    .await;
    operator.is_quiet(1).await;
    assert_eq!(restarted(&operator), [""; 0]);
    cluster.all_ready().await;
}

async fn until_ready(cluster: &Cluster) -> Running {
    let operator = cluster.operator(usize::MAX, Death::BeforeTheServerHasIt);
    cluster.all_ready().await;
    operator.is_quiet(1).await;
    operator
}
