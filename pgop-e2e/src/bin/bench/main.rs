//! What things cost: `make bench`. Prints a table.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_precision_loss
)] // a program for developers

mod idle;
mod sandbox;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pgop_core::managed::Managed;
use pgop_core::observed::Observed;
use pgop_core::{Registry, crd, plan};
use pgop_e2e::metrics::Samples;
use pgop_e2e::{Space, api, operator, until};
use serde_json::json;

/// Resources of each kind in the measurement of many.
const MANY: usize = 20;

fn main() {
    println!("{:<72} {:>10}", "what", "cost");
    planning();
    sandbox::measure();
    if std::env::var_os("KUBECONFIG").is_none() {
        println!("(no KUBECONFIG: the rest was not measured)");
        return;
    }
    let space = Space::new("bench");
    let idle = resident();
    making(&space);
    idle::measure(&space);
    many(&space, idle);
}

fn row(what: &str, cost: &str) {
    println!("{what:<72} {cost:>10}");
}

/// The pure steps, in this process.
fn planning() {
    let registry = pgop_strategies::builtin().unwrap();
    let mut database = crd::PgDatabase::new("orders", crd::PgDatabaseSpec::default());
    let mut cluster = crd::PgCluster::new(
        "hippo",
        crd::PgClusterSpec {
            replicas: 2,
            ..crd::PgClusterSpec::default()
        },
    );
    for meta in [&mut database.metadata, &mut cluster.metadata] {
        meta.namespace = Some("bench".to_owned());
        meta.uid = Some("3b241101-e2bb-4255-8caf-4136c566a962".to_owned());
    }
    of_one("database", &database, "standalone", &registry);
    of_one("cluster of three", &cluster, "streaming", &registry);
}

fn of_one<R: Managed>(what: &str, resource: &R, strategy: &str, registry: &Registry) {
    let strategy = R::family(registry).get(strategy).unwrap();
    let nothing = Observed::default();
    let once = |observed: &Observed| {
        let validated = resource.validate(observed, strategy.description()).unwrap();
        plan::plan(strategy.as_ref(), &validated, observed).unwrap()
    };
    let micros = |observed: &Observed| {
        for _ in 0..20 {
            once(observed);
        }
        let runs = 300;
        let started = Instant::now();
        for _ in 0..runs {
            std::hint::black_box(once(observed));
        }
        format!("{:.0} µs", started.elapsed().as_secs_f64() * 1e6 / f64::from(runs))
    };
    row(&format!("validate and plan a {what} that is new"), &micros(&nothing));
    let mut there = nothing.clone();
    for apply in once(&nothing).apply {
        let manifest = apply.manifest;
        there
            .live
            .objects
            .insert((manifest.kind(), manifest.name().to_owned()), manifest.value().clone());
    }
    let left = once(&there).apply.len();
    row(
        &format!("validate and plan a {what} that is as it should be ({left} to send)"),
        &micros(&there),
    );
}

/// From `pgo create` to Ready, and what the operator asked of the API server for it.
fn making(space: &Space) {
    for (what, line, kind, name) in [
        ("a database", "create database orders", "PgDatabase", "orders"),
        (
            "a cluster of three",
            "create cluster hippo --replicas=2",
            "PgCluster",
            "hippo",
        ),
    ] {
        let leader = operator::leader();
        let before = operator::metrics(&leader).unwrap();
        let started = Instant::now();
        space.pgo(line).ok();
        space.phase_becomes(kind, name, "Ready", 300);
        let took = started.elapsed();
        let after = operator::metrics(&leader).unwrap();
        row(&format!("{what}: create to Ready"), &seconds(took));
        let writes = operator::writes(&after) - operator::writes(&before);
        row(&format!("{what}: requests that write"), &format!("{writes:.0}"));
        for (request, count) in written(&before, &after) {
            row(&format!("  {request}"), &format!("{count:.0}"));
        }
        row(
            &format!("{what}: requests that read"),
            &format!("{:.0}", requests(&after) - requests(&before) - writes),
        );
    }
}

/// Twenty databases and twenty clusters, whose pods no node takes: the cost is the operator's, not the servers'.
fn many(space: &Space, idle: f64) {
    let started = Instant::now();
    for i in 0..MANY {
        for (kind, letter) in [("PgCluster", "c"), ("PgDatabase", "d")] {
            let spec = json!({"storage": {"size": "64Mi"}, "pod": {"nodeSelector": {"pgop-e2e": "nowhere"}}});
            let meta = json!({"name": format!("{letter}{i}")});
            api::create(
                space.name(),
                json!({"apiVersion": "pgop.dev/v1alpha1", "kind": kind, "metadata": meta, "spec": spec}),
            )
            .unwrap();
        }
    }
    let sets = MANY * 3 + 3;
    until(300, "all StatefulSets", || {
        match space.names("apps/v1", "StatefulSet").len() {
            n if n >= sets => Ok(()),
            n => Err(format!("{n} of {sets}")),
        }
    });
    row(
        &format!("{} more resources: create to all objects", 2 * MANY),
        &seconds(started.elapsed()),
    );
    std::thread::sleep(Duration::from_secs(20));
    row("operator, resident memory, nothing to do", &megabytes(idle));
    row(
        &format!("operator, resident memory, {} resources", 2 * MANY + 2),
        &megabytes(resident()),
    );

    row(
        "pgo show cluster all (21 clusters)",
        &seconds(best(|| space.pgo("show cluster all").took)),
    );
    row(
        "pgo show cluster all -o wide",
        &seconds(best(|| space.pgo("show cluster all -o wide").took)),
    );
    if Command::new("kubectl")
        .arg("version")
        .arg("--client")
        .stdout(Stdio::null())
        .status()
        .is_ok()
    {
        let get = || {
            let started = Instant::now();
            Command::new("kubectl")
                .args(["-n", space.name(), "get", "pgclusters.pgop.dev"])
                .stdout(Stdio::null())
                .status()
                .unwrap();
            started.elapsed()
        };
        row("kubectl get pgclusters", &seconds(best(get)));
    }
}

fn best(run: impl Fn() -> Duration) -> Duration {
    (0..3).map(|_| run()).min().unwrap_or_default()
}

/// Which requests wrote, and how many of each.
fn written(before: &Samples, after: &Samples) -> Vec<(String, f64)> {
    let count = |samples: &Samples, wanted: &BTreeMap<String, String>| {
        samples.sum("pgop_api_requests_total", |labels| {
            ["verb", "resource"]
                .iter()
                .all(|key| labels.get(*key) == wanted.get(*key))
        })
    };
    let kinds: BTreeMap<(String, String), f64> = after
        .of("pgop_api_requests_total")
        .filter(|(labels, _)| operator::WRITES.contains(&labels["verb"].as_str()))
        .map(|(labels, _)| {
            let more = count(after, labels) - count(before, labels);
            ((labels["verb"].clone(), labels["resource"].clone()), more)
        })
        .collect();
    kinds
        .into_iter()
        .filter(|(_, more)| *more > 0.0)
        .map(|((verb, resource), more)| (format!("{verb} {resource}"), more))
        .collect()
}

fn requests(samples: &Samples) -> f64 {
    samples.sum("pgop_api_requests_total", |_| true)
}

fn resident() -> f64 {
    operator::metrics(&operator::leader())
        .unwrap()
        .sum("process_resident_memory_bytes", |_| true)
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

fn megabytes(bytes: f64) -> String {
    format!("{:.1} MB", bytes / 1e6)
}
