//! What a fleet costs: `make bench-fleet N=1000`. Makes N clusters of three whose pods no node takes, with the operator as a process of
//! this machine, and once more with a plain client that sends the same objects; then starts the operator anew. Prints a table, with
//! smaller fleets beside it so that growth shows.
//!
//! `KUBECONFIG` leads to the cluster, whose custom resources must be installed; `PGOP_OPERATOR` is the program. Everything happens in
//! namespaces `fleet-…`, which are deleted at the end.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_precision_loss
)] // a program for developers

mod operator;
mod plain;
mod space;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pgop_e2e::metrics::Samples;

use operator::Process;
use space::Space;

/// Requests at one time, of the plain client and, by its default, of the operator.
pub const SIDE_BY_SIDE: usize = 8;
/// `StatefulSets` and pods of a cluster of three.
const SETS: usize = 2;
const PODS: usize = 3;

/// What was measured of one fleet, in the order of the table.
type Column = Vec<(String, String)>;

fn main() {
    let sizes: Vec<usize> = std::env::args()
        .skip(1)
        .map(|n| n.parse().expect("sizes are numbers"))
        .collect();
    assert!(!sizes.is_empty(), "usage: bench-fleet SIZE …");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let columns: Vec<Column> = sizes.iter().map(|size| runtime.block_on(measure(*size))).collect();
    print(&sizes, &columns);
}

async fn measure(size: usize) -> Column {
    let mut column = Column::new();
    let mut row = |what: &str, value: String| {
        eprintln!("{size}: {what}: {value}");
        column.push((what.to_owned(), value));
    };
    let plain = Space::new(&format!("fleet-plain-{size}")).await;
    let by_client = plain::send(&plain, size).await;
    let objects = plain.objects().await;
    // Its pods would keep the controllers and the scheduler busy while the operator is measured.
    plain.delete().await;
    row("plain client: all objects sent", seconds(by_client));

    let space = Space::new(&format!("fleet-{size}")).await;
    let process = Process::start(space.name()).await;
    let idle = process.facts();
    row("operator, idle: resident", megabytes(idle.resident));
    let started = Instant::now();
    plain::create_resources(&space, size).await;
    row(
        "creates sent",
        format!("{:.0}/s", size as f64 / started.elapsed().as_secs_f64()),
    );
    process.has_sent("statefulsets", size * SETS).await;
    space.has("StatefulSet", size * SETS).await;
    let by_operator = started.elapsed();
    assert_eq!(
        space.objects().await,
        objects,
        "what the operator and the plain client made"
    );
    let busy = process.facts();
    row("operator: all objects exist", seconds(by_operator));
    row(
        "ratio to the plain client",
        format!("{:.2}", by_client.as_secs_f64() / by_operator.as_secs_f64()),
    );
    row("operator: CPU until then", format!("{:.1} s", busy.cpu - idle.cpu));
    row(
        "operator: CPU a cluster",
        format!("{:.1} ms", (busy.cpu - idle.cpu) * 1e3 / size as f64),
    );
    for (what, count) in writes(&process.metrics().await) {
        row(&format!("  {what}"), format!("{count:.0}"));
    }
    space.settled(size * PODS).await;
    process.is_quiet().await;
    let settled = process.facts();
    let metrics = process.metrics().await;
    row(
        "operator: CPU until all pods are told of",
        format!("{:.1} s", settled.cpu - idle.cpu),
    );
    row(
        "  of that, a cluster",
        format!("{:.1} ms", (settled.cpu - idle.cpu) * 1e3 / size as f64),
    );
    row(
        "operator: writes until then, a cluster",
        format!("{:.1}", total(&writes(&metrics)) / size as f64),
    );
    row("operator: resident, peak", megabytes(settled.peak));
    row("operator: resident, at rest", megabytes(settled.resident));
    for (name, part) in [("p50", 0.5), ("p99", 0.99)] {
        row(
            &format!("reconcile {name}"),
            format!("{:.0} ms", quantile(&metrics, part) * 1e3),
        );
    }
    row(
        "admin server: slowest answer",
        format!("{:.0} ms", process.slowest_answer().as_secs_f64() * 1e3),
    );
    process.stop().await;

    let process = Process::start(space.name()).await;
    row("restart: until ready", seconds(process.ready_after()));
    process.has_reconciled(size).await;
    process.is_quiet().await;
    let again = process.facts();
    row("restart: CPU until all are looked at", format!("{:.1} s", again.cpu));
    row("restart: resident, peak", megabytes(again.peak));
    row("restart: resident, at rest", megabytes(again.resident));
    row(
        "restart: writes",
        format!("{:.0}", total(&writes(&process.metrics().await))),
    );
    process.stop().await;
    space.delete().await;
    column
}

fn print(sizes: &[usize], columns: &[Column]) {
    let head: Vec<String> = sizes.iter().map(|size| format!("{size:>10}")).collect();
    println!("{:<48}{}", "clusters of three", head.concat());
    let mut rows: Vec<&str> = Vec::new();
    for (what, _) in columns.iter().flatten() {
        if !rows.contains(&what.as_str()) {
            rows.push(what);
        }
    }
    for what in rows {
        let of = |column: &Column| {
            column
                .iter()
                .find(|(name, _)| name == what)
                .map_or("-", |(_, value)| value)
                .to_owned()
        };
        let values: Vec<String> = columns.iter().map(|column| format!("{:>10}", of(column))).collect();
        println!("{what:<48}{}", values.concat());
    }
}

/// Requests that wrote, by verb and resource; events only tell and are counted too.
fn writes(metrics: &Samples) -> BTreeMap<String, f64> {
    metrics
        .of("pgop_api_requests_total")
        .filter(|(labels, _)| pgop_e2e::operator::WRITES.contains(&labels["verb"].as_str()))
        .map(|(labels, count)| (format!("{} {}", labels["verb"], labels["resource"]), count))
        .collect()
}

fn total(writes: &BTreeMap<String, f64>) -> f64 {
    // From 0.0 on: the sum of no numbers is -0.0.
    writes.values().fold(0.0, |sum, count| sum + count)
}

/// From the histogram's buckets, as Prometheus' `histogram_quantile` has it.
fn quantile(metrics: &Samples, part: f64) -> f64 {
    let buckets = metrics
        .of("pgop_reconcile_seconds_bucket")
        .filter(|(labels, _)| labels["kind"] == "PgCluster")
        .map(|(labels, count)| (labels["le"].parse().unwrap_or(f64::INFINITY), count));
    let mut buckets: Vec<(f64, f64)> = buckets.collect();
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let rank = buckets.last().map_or(0.0, |last| last.1) * part;
    let (mut lower, mut below) = (0.0, 0.0);
    for (bound, count) in buckets {
        if count >= rank && bound.is_finite() {
            return lower + (bound - lower) * (rank - below) / (count - below).max(1.0);
        }
        (lower, below) = (bound, count);
    }
    lower
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
