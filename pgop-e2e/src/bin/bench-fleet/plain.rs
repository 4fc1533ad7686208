//! A client that sends what the operator would, and knows nothing: what the server can take.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use kube::api::{ApiResource, DynamicObject, PostParams};
use pgop_core::Managed;
use pgop_core::Registry;
use pgop_core::crd::PgCluster;
use pgop_core::label::SECRET_TYPE;
use pgop_core::observed::Observed;
use pgop_core::plan::{Plan, plan};
use pgop_e2e::api::{kind, pgop};
use serde_json::{Value, json};

use crate::SIDE_BY_SIDE;
use crate::space::Space;

/// Stands for the uid of a resource that does not exist yet.
const UNKNOWN: &str = "00000000-0000-0000-0000-000000000000";

/// Clusters of three whose pods no node takes.
fn resource(number: usize) -> Value {
    json!({
        "apiVersion": "pgop.dev/v1alpha1", "kind": "PgCluster", "metadata": {"name": format!("c{number}")},
        "spec": {"replicas": 2, "storage": {"size": "64Mi"}, "pod": {"nodeSelector": {"pgop-fleet": "nowhere"}}},
    })
}

/// Creates the resources alone.
pub async fn create_resources(space: &Space, size: usize) {
    let create = |number| async move { drop(create(space, number).await) };
    stream::iter(0..size).for_each_concurrent(SIDE_BY_SIDE, create).await;
}

/// Creates one, and tells its uid.
async fn create(space: &Space, number: usize) -> String {
    post(space, &pgop("PgCluster"), resource(number))
        .await
        .metadata
        .uid
        .unwrap()
}

/// As the operator makes what is missing. It is what costs the server least: an apply of what does not exist takes it longer.
async fn post(space: &Space, kind: &ApiResource, object: Value) -> DynamicObject {
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    space.api(kind).create(&PostParams::default(), &object).await.unwrap()
}

/// Creates the resources and all that the operator would make for them, several at one time, and tells how long that took. What is to be
/// sent is known before.
pub async fn send(space: &Space, size: usize) -> Duration {
    let registry = pgop_strategies::builtin().unwrap();
    let plans: Vec<Plan> = (0..size).map(|number| plan_of(space, number, &registry)).collect();
    let started = Instant::now();
    let send = |(number, plan)| async move {
        let uid = create(space, number).await;
        send_objects(space, plan, &uid).await;
    };
    let all = plans.iter().enumerate();
    stream::iter(all).for_each_concurrent(SIDE_BY_SIDE, send).await;
    started.elapsed()
}

fn plan_of(space: &Space, number: usize, registry: &Registry) -> Plan {
    let mut cluster: PgCluster = serde_json::from_value(resource(number)).unwrap();
    cluster.metadata.namespace = Some(space.name().to_owned());
    cluster.metadata.uid = Some(UNKNOWN.to_owned());
    let nothing = Observed::default();
    let strategy = PgCluster::family(registry).get(cluster.strategy()).unwrap();
    let validated = cluster.validate(&nothing, strategy.description()).unwrap();
    plan(strategy.as_ref(), &validated, &nothing).unwrap()
}

async fn send_objects(space: &Space, plan: &Plan, uid: &str) {
    let owned = |object: &Value| -> Value { serde_json::from_str(&object.to_string().replace(UNKNOWN, uid)).unwrap() };
    for secret in &plan.secrets {
        let mut data = json!(secret.public);
        data["password"] = json!("0123456789abcdef0123456789abcdef");
        let object = json!({"apiVersion": "v1", "kind": "Secret", "type": SECRET_TYPE, "metadata": secret.metadata, "stringData": data});
        post(space, &kind("v1", "Secret"), owned(&object)).await;
    }
    for apply in &plan.apply {
        let manifest = &apply.manifest;
        let kind = kind(&manifest.kind().api_version(), manifest.kind().as_str());
        post(space, &kind, owned(manifest.value())).await;
    }
}
