//! The sandbox: how fast it starts, writes and tells. Needs no cluster; pods need bubblewrap and `PostgreSQL` (`make pods`).

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::{Client, ResourceExt};
use pgop_e2e::settings::settings;
use pgop_e2e::until;
use pgop_sandbox::{Options, Sandbox};
use serde_json::json;
use tokio::sync::Mutex;

use super::{row, seconds};

const WRITES: usize = 4_000;
const WRITERS: usize = 4;
/// Changes whose way to a watcher is timed, and the pause between two of them: the server is at work, not overwhelmed.
const TOLD: usize = 2_000;
const PAUSE: Duration = Duration::from_millis(2);

pub(super) fn measure() {
    let home = tempfile::tempdir().unwrap();
    by_pgo(home.path());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(by_client(home.path()));
}

/// What a person waits for.
fn by_pgo(home: &Path) {
    let pgo = |line: &str| {
        let mut command = Command::new(&settings().pgo);
        command.args(line.split(' ')).env("PGOP_SANDBOX_HOME", home);
        command.env_remove("KUBECONFIG").stdin(Stdio::null());
        let started = Instant::now();
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            Ok(started.elapsed())
        } else {
            Err(said)
        }
    };
    let took = |line: &str| pgo(line).unwrap_or_else(|error| panic!("pgo {line}: {error}"));
    row(
        "pgo sandbox start --without-operator",
        &seconds(took("sandbox start --without-operator")),
    );
    row("pgo sandbox start: then the operator", &seconds(took("sandbox start")));
    let started = Instant::now();
    took("create database first --storage-size 64Mi");
    until(60, "select 1", || pgo("psql first -- -Atc select(1)"));
    row(
        "sandbox, a database: create to the first `select 1`",
        &seconds(started.elapsed()),
    );
    row(
        "sandbox, a database: create --wait",
        &seconds(took("create database second --storage-size 64Mi --wait")),
    );
    row("pgo sandbox stop, two databases", &seconds(took("sandbox stop")));
    row(
        "pgo sandbox start, two databases on it",
        &seconds(took("sandbox start --without-operator")),
    );
    took("sandbox delete --yes");
}

/// What a program gets, over TLS on the loopback.
async fn by_client(home: &Path) {
    let options = Options {
        folder: Some(home.join("bench")),
        ..Options::default()
    };
    let started = Instant::now();
    let sandbox = Sandbox::start(options).await.unwrap();
    row(
        "Sandbox::start() in a folder, until it serves",
        &seconds(started.elapsed()),
    );
    let config = kube::config::Kubeconfig::read_from(sandbox.kubeconfig()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(config, &kube::config::KubeConfigOptions::default()).await;
    let client = Client::try_from(config.unwrap()).unwrap();
    writes(&client).await;
    watch_latency(&client).await;
    sandbox.stop().await;
}

/// Creates of small objects, each of which is in the journal before it is answered.
async fn writes(client: &Client) {
    let started = Instant::now();
    let writers = (0..WRITERS).map(|writer| {
        let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
        tokio::spawn(async move {
            for n in (writer..WRITES).step_by(WRITERS) {
                maps.create(&PostParams::default(), &map(&format!("w{n}")))
                    .await
                    .unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let rate = WRITES as f64 / started.elapsed().as_secs_f64();
    row(
        &format!("sandbox, creates of 1 KB with {WRITERS} clients"),
        &format!("{rate:.0}/s"),
    );
}

/// From the moment at which a change is sent to the one at which a watcher has it.
async fn watch_latency(client: &Client) {
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let created = maps.create(&PostParams::default(), &map("told")).await.unwrap();
    let sent: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let watcher = tokio::spawn(told(maps.clone(), created.resource_version().unwrap(), sent.clone()));
    for n in 0..TOLD {
        sent.lock().await.push(Instant::now());
        let patch = Patch::Merge(json!({"data": {"n": n.to_string()}}));
        maps.patch("told", &PatchParams::default(), &patch).await.unwrap();
        tokio::time::sleep(PAUSE).await;
    }
    let mut latencies = watcher.await.unwrap();
    latencies.sort();
    for (what, per_mille) in [("p50", 500), ("p99", 990)] {
        let latency = latencies[TOLD * per_mille / 1000];
        row(
            &format!("sandbox, change sent to change watched, {what}"),
            &format!("{:.2} ms", latency.as_secs_f64() * 1e3),
        );
    }
}

async fn told(maps: Api<ConfigMap>, version: String, sent: Arc<Mutex<Vec<Instant>>>) -> Vec<Duration> {
    use futures::StreamExt as _;
    let watch = maps
        .watch(&WatchParams::default().fields("metadata.name=told"), &version)
        .await
        .unwrap();
    let mut latencies = Vec::new();
    let mut watch = watch.take(TOLD).boxed();
    while let Some(event) = watch.next().await {
        let now = Instant::now();
        let WatchEvent::Modified(map) = event.unwrap() else {
            panic!("only changes are made")
        };
        let n: usize = map.data.unwrap()["n"].parse().unwrap();
        latencies.push(now - sent.lock().await[n]);
    }
    latencies
}

fn map(name: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}, "data": {"text": "x".repeat(1_000)}})).unwrap()
}
