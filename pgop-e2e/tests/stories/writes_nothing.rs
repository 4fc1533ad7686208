//! An operator that starts where everything is as it should be writes nothing.

use std::thread::sleep;
use std::time::Duration;

use pgop_e2e::metrics::Samples;
use pgop_e2e::settings::settings;
use pgop_e2e::{Space, api, operator, until};
use serde_json::json;

/// Of each kind. Only some of them run servers (`PGOP_E2E_RUNNING`): forty servers and their probes are much for two cores.
const RESOURCES: usize = 20;

#[test]
#[ignore = "needs cluster (restarts the operator)"]
fn a_restart_with_forty_resources_writes_nothing() {
    let space = Space::new("restart");
    space.alone();
    many(&space);
    let sets = 3 * RESOURCES; // a cluster has two, also where the second is empty
    until(180, "every resource to have its servers", || {
        let found = space.names("apps/v1", "StatefulSet").len();
        if found == sets {
            Ok(())
        } else {
            Err(format!("{found} of {sets} StatefulSets"))
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
        if seen >= f64::from(u32::try_from(2 * RESOURCES).unwrap()) {
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

/// Twenty clusters and twenty databases. No node takes the pods of those that don't run.
fn many(space: &Space) {
    for i in 0..RESOURCES {
        let runs = i < settings().running;
        for (kind, letter) in [("PgCluster", "c"), ("PgDatabase", "d")] {
            let mut spec = json!({"storage": {"size": "200Mi"}, "postgres": {"image": settings().postgres_image}});
            if kind == "PgCluster" {
                spec["replicas"] = json!(replicas(i));
            }
            if !runs {
                spec["pod"] = json!({"nodeSelector": {"pgop-e2e": "nowhere"}});
            }
            let name = format!("{letter}{i}");
            let resource =
                json!({"apiVersion": "pgop.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
            api::create(space.name(), resource).unwrap_or_else(|error| panic!("{error}"));
            if runs {
                space.phase_becomes(kind, &name, "Ready", 240);
            }
        }
    }
}

/// Of the cluster of that number.
fn replicas(i: usize) -> usize {
    usize::from(i.is_multiple_of(4))
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
