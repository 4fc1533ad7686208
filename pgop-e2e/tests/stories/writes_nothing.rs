//! An operator that starts where everything is as it should be writes nothing.

use std::thread::sleep;
use std::time::Duration;

use pgop_e2e::metrics::Samples;
use pgop_e2e::{Space, api, operator, until};
use serde_json::json;

/// Of each kind. Their pods are never scheduled, except for one of each: forty servers and their probes are too much for two cores.
const RESOURCES: usize = 20;

#[test]
#[ignore = "needs cluster (restarts the operator)"]
fn a_restart_with_forty_resources_writes_nothing() {
    let space = Space::new("restart");
    many(&space);
    space.pgo("create cluster hippo --replicas=1 --wait --timeout 4m").ok();
    space.pgo("create database orders --wait --timeout 4m").ok();
    let total = 2 * RESOURCES + 2;
    until(180, "every resource to have its servers", || {
        let sets = space.names("apps/v1", "StatefulSet").len();
        if sets >= total {
            Ok(())
        } else {
            Err(format!("{sets} StatefulSets"))
        }
    });
    let before = quiet();

    let server = server_writes();
    api::delete(operator::NAMESPACE, &api::kind("v1", "Pod"), &before, false);
    let leader = until(90, "another operator", || {
        match operator::pods()
            .iter()
            .find(|pod| **pod != before && operator::works(pod))
        {
            Some(pod) => Ok(pod.clone()),
            None => Err(format!("{:?}", operator::pods())),
        }
    });
    until(60, "every resource to be looked at", || {
        let seen = operator::metrics(&leader)?.sum("pgop_reconciles_total", |_| true);
        if seen >= f64::from(u32::try_from(total).unwrap()) {
            Ok(())
        } else {
            Err(format!("{seen} reconciles"))
        }
    });
    // Whatever it might still write for what it has seen, it would write now.
    sleep(Duration::from_secs(10));
    let samples = operator::metrics(&leader).unwrap();
    let own: Vec<_> = samples
        .of("pgop_api_requests_total")
        .filter(|(labels, count)| operator::WRITES.contains(&labels["verb"].as_str()) && *count > 0.0)
        .map(|(labels, count)| format!("{count} {} {}", labels["verb"], labels["resource"]))
        .collect();
    assert!(own.is_empty(), "the operator wrote: {own:?}");
    if let (Some(before), Some(after)) = (server, server_writes()) {
        let written: Vec<_> = after
            .iter()
            .filter(|(what, count)| before.get(*what) != Some(count))
            .collect();
        assert!(
            written.is_empty(),
            "the API server counted writes: {written:?} after {before:?}"
        );
    }
}

/// Resources whose pods no node takes.
fn many(space: &Space) {
    for i in 0..RESOURCES {
        for kind in ["PgCluster", "PgDatabase"] {
            let mut spec = json!({"storage": {"size": "64Mi"}, "pod": {"nodeSelector": {"pgop-e2e": "nowhere"}}});
            if kind == "PgCluster" {
                spec["replicas"] = json!(i % 2);
            }
            let name = format!("{}{i}", if kind == "PgCluster" { "c" } else { "d" });
            let resource =
                json!({"apiVersion": "pgop.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
            api::create(space.name(), resource).unwrap_or_else(|error| panic!("{error}"));
        }
    }
}

/// Waits until the operator has written nothing for some seconds; the name of its pod.
fn quiet() -> String {
    let leader = operator::leader();
    let mut last = (f64::NAN, 0);
    until(180, "the operator to have nothing to do", || {
        let writes = operator::writes(&operator::metrics(&leader)?);
        last = if last.0.to_bits() == writes.to_bits() {
            (writes, last.1 + 1)
        } else {
            (writes, 0)
        };
        if last.1 > 20 {
            Ok(())
        } else {
            Err(format!("{writes} writes so far"))
        }
    });
    leader
}

/// Writes that the API server has counted, of what only the operator writes. `None` where its metrics may not be read.
fn server_writes() -> Option<std::collections::BTreeMap<String, u64>> {
    let samples = Samples::read(&api::raw("/metrics").ok()?);
    let ours = [
        "configmaps",
        "secrets",
        "services",
        "persistentvolumeclaims",
        "statefulsets",
        "pgdatabases",
        "pgclusters",
        "pgbackups",
    ];
    let mut counts = std::collections::BTreeMap::new();
    for (labels, count) in samples.of("apiserver_request_total") {
        let of = |key: &str| labels.get(key).cloned().unwrap_or_default();
        let writes = ["POST", "PUT", "PATCH", "APPLY", "DELETE"].contains(&of("verb").as_str());
        // The status of StatefulSets and claims is written by Kubernetes.
        let is_ours =
            ours.contains(&of("resource").as_str()) && (of("subresource").is_empty() || of("group") == "pgop.dev");
        if writes && is_ours {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a count
            let count = count as u64;
            *counts
                .entry(format!("{} {}/{}", of("verb"), of("resource"), of("subresource")))
                .or_default() += count;
        }
    }
    Some(counts)
}
