//! Objects that go while nobody watches.

use kube::api::{Api, DeleteParams, ListParams};
use kube::{ResourceExt as _, core::DynamicObject};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::cluster::{self, Cluster, answer, pass, until};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Watch {
    Works,
    /// It is to break as soon as it ends.
    Breaks,
    /// The server has it, and does not answer.
    Broken,
    /// It is answered that what happened meanwhile is forgotten.
    Expired,
}

#[tokio::test(start_paused = true)]
async fn what_went_while_the_watch_was_broken_is_made_again_at_once() {
    let cluster = Cluster::start().await;
    let meta = json!({"name": "orders"});
    let database = json!({"apiVersion": "pgop.dev/v1alpha1", "kind": "PgDatabase", "metadata": meta, "spec": {}});
    cluster.create(database).await;
    let state = watch::Sender::new(Watch::Works);
    let shared = state.clone();
    let _operator = cluster.operator_behind(move |request, service| {
        let state = shared.clone();
        async move {
            let query = request.uri().query().unwrap_or_default();
            // Of one kind only: what is listed anew with the others says nothing of it.
            if !request.uri().path().ends_with("/configmaps") || !query.contains("watch=true") {
                return pass(request, service).await;
            }
            if *state.borrow() != Watch::Works {
                state.send_if_modified(|state| std::mem::replace(state, Watch::Broken) != Watch::Broken);
                let _ = state.subscribe().wait_for(|state| *state == Watch::Expired).await;
                state.send_replace(Watch::Works);
                return answer(200, &expired());
            }
            pass(request, service).await
        }
    });
    cluster.all_ready().await;
    let made = cluster.made().await;

    state.send_replace(Watch::Breaks);
    let broken = state
        .subscribe()
        .wait_for(|state| *state == Watch::Broken)
        .await
        .is_ok();
    assert!(broken);
    let kind = cluster::kind("v1", "ConfigMap");
    let maps: Api<DynamicObject> = Api::default_namespaced_with(cluster.client.clone(), &kind);
    let ours = ListParams::default().labels("pgop.dev/database=orders");
    let [map] = &maps.list(&ours).await.unwrap().items[..] else {
        panic!("one ConfigMap")
    };
    maps.delete(&map.name_any(), &DeleteParams::default()).await.unwrap();
    until(async || cluster.made().await.len() == made.len() - 1).await;
    state.send_replace(Watch::Expired);
    until(async || cluster.made().await == made).await;
}

fn expired() -> Value {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old"});
    json!({"type": "ERROR", "object": status})
}
