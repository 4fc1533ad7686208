//! A week of the controllers, in seconds: time is virtual, pods are played.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet, StatefulSet},
    batch::v1::{CronJob, Job},
    core::v1::{ConfigMap, Event, Pod},
    policy::v1::PodDisruptionBudget,
};
use kube::{Api, ResourceExt, api::DeleteParams, api::ListParams};
use pgop_sandbox_tasks::{now, virtual_time};
use serde_json::json;
use tokio::time::sleep;

use crate::play::{Cluster, template};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Uids of the pods that are to stay, by name.
async fn kept(cluster: &Cluster) -> BTreeMap<String, String> {
    let pods = cluster.api::<Pod>().list(&ListParams::default()).await.unwrap();
    let kept = pods
        .items
        .into_iter()
        .filter(|pod| !pod.labels().contains_key("job-name"));
    kept.map(|pod| (pod.name_any(), pod.uid().unwrap())).collect()
}

/// How many tasks and objects there are.
async fn counted(cluster: &Cluster) -> BTreeMap<&'static str, usize> {
    let all = ListParams::default();
    BTreeMap::from([
        ("tasks", tokio::runtime::Handle::current().metrics().num_alive_tasks()),
        ("pods", cluster.api::<Pod>().list(&all).await.unwrap().items.len()),
        ("jobs", cluster.api::<Job>().list(&all).await.unwrap().items.len()),
        (
            "replica sets",
            cluster.api::<ReplicaSet>().list(&all).await.unwrap().items.len(),
        ),
    ])
}

async fn events(cluster: &Cluster) -> usize {
    let events: Api<Event> = Api::all(cluster.client.clone());
    events.list(&ListParams::default()).await.unwrap().items.len()
}

async fn make(cluster: &Cluster) {
    let set = |replicas: u8, app: &str| {
        json!({ "metadata": { "name": app }, "spec": {
            "replicas": replicas, "serviceName": app, "selector": { "matchLabels": { "app": app } }, "template": template(app, json!({})),
        } })
    };
    let mut web = set(2, "web");
    web["spec"].as_object_mut().unwrap().remove("serviceName");
    cluster.create::<Deployment>(web).await;
    cluster.create::<StatefulSet>(set(2, "db")).await;
    let job = |end: &str| {
        let mut template = template("job", json!({ "end": end }));
        template["spec"]["restartPolicy"] = json!("Never");
        json!({ "backoffLimit": 6, "template": template })
    };
    let hourly = json!({ "schedule": "0 * * * *", "jobTemplate": { "spec": job("Succeeded") } });
    cluster
        .create::<CronJob>(json!({ "metadata": { "name": "hourly" }, "spec": hourly }))
        .await;
    let rare = json!({ "schedule": "0 0 29 2 *", "jobTemplate": { "spec": job("Succeeded") } });
    cluster
        .create::<CronJob>(json!({ "metadata": { "name": "leap-day" }, "spec": rare }))
        .await;
    cluster
        .create::<Job>(json!({ "metadata": { "name": "hopeless" }, "spec": job("Failed") }))
        .await;
    let mut endless = job("");
    endless["activeDeadlineSeconds"] = json!(i64::MAX);
    endless["template"]["metadata"]["annotations"] = json!({});
    cluster
        .create::<Job>(json!({ "metadata": { "name": "endless" }, "spec": endless }))
        .await;
    let budget = json!({ "minAvailable": 1, "selector": { "matchLabels": { "app": "web" } } });
    cluster
        .create::<PodDisruptionBudget>(json!({ "metadata": { "name": "web" }, "spec": budget }))
        .await;
}

/// An owner that is deleted takes what it owns along, on the last day as on the first.
async fn collect(cluster: &Cluster, day: u32) {
    let name = |what: &str| format!("{what}-{day}");
    let owner = cluster
        .create::<ConfigMap>(json!({ "metadata": { "name": name("owner") } }))
        .await;
    let reference = json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": name("owner"), "uid": owner.uid() });
    cluster
        .create::<ConfigMap>(json!({ "metadata": { "name": name("child"), "ownerReferences": [reference] } }))
        .await;
    cluster
        .delete::<ConfigMap>(&name("owner"), DeleteParams::background())
        .await;
    cluster.until_gone::<ConfigMap>(&name("child")).await;
}

#[tokio::test(start_paused = true)]
async fn the_controllers_live_a_week() {
    let _clock = virtual_time("2024-03-05T10:20:00Z".parse().unwrap()); // the next leap day is four years away
    let cluster = Cluster::start().await;
    let begin = now();
    make(&cluster).await;
    sleep(2 * HOUR).await;
    let pods = kept(&cluster).await;
    assert_eq!(pods.len(), 4, "{pods:?}");
    sleep(4 * HOUR).await;
    let (early, some) = (counted(&cluster).await, events(&cluster).await);
    for day in 0..7 {
        sleep(DAY.saturating_sub(HOUR)).await;
        collect(&cluster, day).await;
        sleep(HOUR).await;
    }
    assert!(now().duration_since(begin).unsigned_abs() >= 7 * DAY);
    assert_eq!(kept(&cluster).await, pods, "no pod was made anew without a cause");
    assert_eq!(
        counted(&cluster).await,
        early,
        "tasks and objects are as many as on the first day"
    );
    assert!(events(&cluster).await <= 2 * some, "old events go");

    let hourly = cluster.api::<CronJob>().get("hourly").await.unwrap().status.unwrap();
    let last = hourly.last_schedule_time.unwrap().0;
    assert!(
        now().duration_since(last).unsigned_abs() < HOUR + Duration::from_secs(60),
        "{last}"
    );
    let leap_day = cluster.api::<CronJob>().get("leap-day").await.unwrap().status;
    assert!(leap_day.is_none_or(|status| status.last_schedule_time.is_none()));
    let hopeless = cluster.api::<Job>().get("hopeless").await.unwrap().status.unwrap();
    assert_eq!(hopeless.failed, Some(7), "{hopeless:?}");
    let endless = cluster.api::<Job>().get("endless").await.unwrap().status.unwrap();
    assert_eq!(
        (endless.active, endless.failed.unwrap_or(0)),
        (Some(1), 0),
        "{endless:?}"
    );
    // They still work: what is asked for now is done now.
    cluster
        .merge::<Deployment>("web", json!({ "spec": { "replicas": 3 } }))
        .await;
    cluster
        .until::<Deployment>("web", "three are ready", |web| {
            web.status.as_ref().and_then(|status| status.ready_replicas) == Some(3)
        })
        .await;
    cluster.stop().await;
}
