//! The operator is killed again and again while it has much to do; two operators; none.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

use pgop_e2e::operator::{self, Killer};
use pgop_e2e::{Space, api, until};
use rand::RngExt;
use serde_json::{Value, json};

const KILLS: usize = 30;

#[test]
#[ignore = "needs cluster (kills the operator with a privileged pod)"]
fn an_operator_that_is_killed_at_any_moment_leaves_nothing_undone() {
    let space = Space::new("killed");
    let _mended = Several::start();
    only_one_works();
    let killer = Killer::start();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        // The script has to end when this fails, too.
        let end = Raise(&done);
        let script = scope.spawn(|| {
            let mut round = 0;
            while !done.load(Ordering::Relaxed) {
                round += 1;
                busy(&space, round);
            }
            round
        });
        for kill in 1..=KILLS {
            let leader = operator::leader();
            // From the first list after a start to the last write of a reconcile: any of them may be the last.
            sleep(Duration::from_millis(rand::rng().random_range(0..3000)));
            killer.kill(&leader);
            eprintln!("kill {kill}: {leader}");
        }
        drop(end);
        eprintln!("{} rounds of the script went by", script.join().unwrap());
    });
    everything_is_there(&space);
    nothing_is_left(&space);
}

struct Raise<'a>(&'a AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One round of what people do, without waiting for any of it.
fn busy(space: &Space, round: usize) {
    let replicas = 1 + round % 2;
    let run = |line: String| {
        let done = space.pgo(&line);
        assert!(done.code == 0 || done.stderr.contains("exist"), "{done}");
    };
    run(format!("create cluster hippo --replicas={replicas}"));
    run("create database orders".to_owned());
    run(format!("scale cluster hippo --replicas={}", 2 - round % 2));
    // Not in every round: each copies the whole server, and snapshots are named after the second.
    let load = "create table if not exists o (i int); insert into o values (1)";
    if space.try_sql("orders", load).is_ok() && round.is_multiple_of(6) {
        run(format!("create backup orders --name orders-{round}"));
    }
    run(format!("create database passing-{round}"));
    run(format!("delete database passing-{round} --yes"));
    if round.is_multiple_of(4) {
        run("delete cluster hippo --yes --wait --timeout 3m".to_owned());
    }
}

/// Everything converges to what was asked for last.
fn everything_is_there(space: &Space) {
    space.pgo("create cluster hippo --replicas=1").ok_or_exists();
    space.pgo("scale cluster hippo --replicas=1 --wait --timeout 4m").ok();
    space.phase_becomes("PgDatabase", "orders", "Ready", 120);
    assert!(space.sql("orders", "select count(*) from o").parse::<u32>().unwrap() > 0);
    until(180, "every backup to end well", || {
        let phases: BTreeSet<String> = api::list(space.name(), &api::pgop("PgBackup"), "")?
            .iter()
            .map(|b| api::text(b, "/status/phase"))
            .collect();
        if phases == BTreeSet::from(["Succeeded".to_owned()]) {
            Ok(())
        } else {
            Err(format!("{phases:?}"))
        }
    });
    until(60, "no object but those of resources that exist", || {
        match orphans(space) {
            left if left.is_empty() => Ok(()),
            left => Err(format!("{left:?}")),
        }
    });
}

/// Objects whose owner is gone; claims outlive theirs.
fn orphans(space: &Space) -> Vec<String> {
    let uids: BTreeSet<String> = ["PgDatabase", "PgCluster", "PgBackup"]
        .iter()
        .flat_map(|kind| api::list(space.name(), &api::pgop(kind), "").unwrap_or_default())
        .map(|resource| api::text(&resource, "/metadata/uid"))
        .collect();
    let kinds = [
        ("v1", "ConfigMap"),
        ("v1", "Secret"),
        ("v1", "Service"),
        ("batch/v1", "Job"),
        ("apps/v1", "StatefulSet"),
    ];
    let all = kinds.iter().flat_map(|(version, kind)| {
        let objects = api::list(
            space.name(),
            &api::kind(version, kind),
            "app.kubernetes.io/managed-by=pgop",
        );
        objects
            .unwrap_or_default()
            .into_iter()
            .map(move |object| (kind, object))
    });
    all.filter(|(_, object)| {
        let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
        !owners
            .into_iter()
            .flatten()
            .any(|owner| uids.contains(&api::text(owner, "/uid")))
    })
    .map(|(kind, object)| format!("{kind}/{}", api::text(&object, "/metadata/name")))
    .collect()
}

/// When all resources are deleted nothing is left but claims, even while no operator is there.
fn nothing_is_left(space: &Space) {
    operator::scale(0);
    for kind in ["database", "cluster", "backup"] {
        space.pgo(&format!("delete {kind} all --yes")).ok();
    }
    until(180, "everything but the claims to go", || match space.made() {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    });
    let claims = space.names("v1", "PersistentVolumeClaim");
    for claim in ["hippo-pvc", "orders-pvc", "orders-backup-pvc"] {
        assert!(claims.contains(&claim.to_owned()), "no {claim} in {claims:?}");
    }
}

/// One has the lease; the others are ready to follow and do nothing.
fn only_one_works() {
    let leader = operator::leader();
    for pod in operator::pods().iter().filter(|pod| **pod != leader) {
        until(30, "a standby that knows whom it waits for", || {
            match operator::ask(pod, "/readyz")? {
                says if says.starts_with("standby: ") && says.contains(&leader) => Ok(()),
                says => Err(format!("{pod}: {says}")),
            }
        });
        let samples = operator::metrics(pod).unwrap();
        let (leads, writes) = (samples.sum("pgop_leader", |_| true), operator::writes(&samples));
        assert!(
            leads < 0.5 && writes < 0.5,
            "a standby leads ({leads}) or writes ({writes})"
        );
    }
    let leads = operator::metrics(&leader).unwrap().sum("pgop_leader", |_| true);
    assert!(leads > 0.5, "the one that works says that it does not lead");
}

/// Two operators and a short lease, for as long as this lives: thirty kills would take ten minutes otherwise.
struct Several(());

impl Several {
    fn start() -> Self {
        operator::set(&Self::deployment(2, Some("3")));
        Self(())
    }

    fn deployment(replicas: u32, seconds: Option<&str>) -> Value {
        let deployment = api::find(
            operator::NAMESPACE,
            &api::kind("apps/v1", "Deployment"),
            "pgop-operator",
        )
        .unwrap();
        let mut containers = deployment["spec"]["template"]["spec"]["containers"].clone();
        let variables = containers[0]["env"].as_array_mut().unwrap();
        variables.retain(|variable| variable["name"] != "PGOP_LEASE_DURATION");
        variables.extend(seconds.map(|seconds| json!({"name": "PGOP_LEASE_DURATION", "value": seconds})));
        json!({"spec": {"replicas": replicas, "template": {"spec": {"containers": containers}}}})
    }
}

impl Drop for Several {
    fn drop(&mut self) {
        operator::set(&Self::deployment(1, None));
        operator::leader();
    }
}
