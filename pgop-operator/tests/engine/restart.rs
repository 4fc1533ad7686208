//! An operator that starts where everything is as it should be.

use serde_json::json;

use crate::cluster::{Cluster, Death};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_with_forty_ready_resources_writes_nothing() {
    let cluster = Cluster::start().await;
    for number in 0..20 {
        for (kind, spec) in [
            ("PgDatabase", json!({})),
            ("PgCluster", json!({"replicas": number % 3})),
        ] {
            let name = format!("{}-{number}", kind.to_lowercase());
            let meta = json!({"name": name});
            cluster
                .create(json!({"apiVersion": "pgop.dev/v1alpha1", "kind": kind, "metadata": meta, "spec": spec}))
                .await;
        }
    }
    let first = cluster.operator(usize::MAX, Death::BeforeTheServerHasIt);
    cluster.all_ready().await;
    first.is_quiet(40).await;
    assert!(first.writes().len() > 40 * 5, "{:?}", first.writes());
    drop(first);

    let second = cluster.operator(usize::MAX, Death::BeforeTheServerHasIt);
    second.is_quiet(40).await;
    assert_eq!(second.writes(), Vec::<String>::new());
}
