//! A server that refuses what the operator sends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Method;
use kube::api::ListParams;
use serde_json::json;

use crate::cluster::{Cluster, answer, pass, until};

/// So often would not be tried with any pause.
const TIGHT: usize = 500;

/// Admission webhooks put the time or a number into what they say.
#[tokio::test(start_paused = true)]
async fn a_refusal_in_ever_new_words_is_tried_again_with_pauses() {
    let cluster = Cluster::start().await;
    let meta = json!({"name": "orders"});
    let database = json!({"apiVersion": "pgop.dev/v1alpha1", "kind": "PgDatabase", "metadata": meta, "spec": {}});
    cluster.create(database).await;
    let tries = Arc::new(AtomicUsize::new(0));
    let count = tries.clone();
    let operator = cluster.operator_behind(move |request, service| {
        let count = count.clone();
        async move {
            if !matches!(*request.method(), Method::POST | Method::PATCH) || !request.uri().path().contains("/statefulsets") {
                return pass(request, service).await;
            }
            let number = count.fetch_add(1, Ordering::SeqCst);
            if number > TIGHT {
                // Time goes on only when nobody is busy.
                std::future::pending::<()>().await;
            }
            let message = format!("admission webhook \"guard\" denied the request {number}");
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "reason": "Forbidden", "message": message});
            answer(403, &status)
        }
    });
    until(async || tries.load(Ordering::SeqCst) > 0).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let number = tries.load(Ordering::SeqCst);
    // 1, 2, 4 … 256, 300 s.
    assert!((8..=14).contains(&number), "{number} tries in ten minutes");
    assert!(operator.is_at_work());
    let databases = cluster
        .list("pgop.dev/v1alpha1", "PgDatabase", &ListParams::default())
        .await;
    let told = databases[0].data["status"].to_string();
    assert!(told.contains(&format!("denied the request {}", number - 1)), "{told}");
}
