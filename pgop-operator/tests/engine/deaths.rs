//! The operator dies at each of its requests; the next one finishes the work.

use std::collections::BTreeSet;

use serde_json::json;

use crate::cluster::{Cluster, Death};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_request_is_an_operators_last_the_next_one_finishes() {
    let (all, writes) = alone().await;
    for death in [Death::BeforeTheServerHasIt, Death::BeforeTheAnswerIsSeen] {
        for last in 1..=writes {
            let cluster = asked_for().await;
            let mut first = cluster.operator(last, death);
            tokio::select! {
                () = first.died() => {}
                // Requests go out side by side, and a moment decides how many status writes there are.
                () = cluster.all_ready() => {}
            }
            drop(first);
            let _second = cluster.operator(usize::MAX, death);
            cluster.all_ready().await;
            assert_eq!(cluster.made().await, all, "request {last} was the last, {death:?}");
        }
    }
}

/// What one operator makes that is left in peace, and with how many writes.
async fn alone() -> (BTreeSet<String>, usize) {
    let cluster = asked_for().await;
    let operator = cluster.operator(usize::MAX, Death::BeforeTheServerHasIt);
    cluster.all_ready().await;
    let made = cluster.made().await;
    assert!(made.len() > 15, "{made:?}");
    (made, operator.writes().len())
}

async fn asked_for() -> Cluster {
    let cluster = Cluster::start().await;
    for (kind, name, spec) in [
        ("PgDatabase", "orders", json!({})),
        ("PgCluster", "hippo", json!({"replicas": 1})),
    ] {
        let meta = json!({"name": name});
        cluster
            .create(json!({"apiVersion": "pgop.dev/v1alpha1", "kind": kind, "metadata": meta, "spec": spec}))
            .await;
    }
    cluster
}
