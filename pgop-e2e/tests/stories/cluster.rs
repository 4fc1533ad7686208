//! A cluster: made, written to, read from, scaled, its primary lost, deleted.

use std::time::Instant;

use pgop_e2e::reader::Reader;
use pgop_e2e::{Space, api, hold, leak, until};
use serde_json::{Value, json};

/// How long the primary is gone, in seconds: longer than any of Kubernetes' patience with a server that is not ready.
const GONE: u64 = 60;

#[test]
#[ignore = "needs cluster (makes a namespace)"]
fn a_cluster_streams_scales_and_survives_its_primary() {
    let space = Space::new("cluster");
    space.pgo("create cluster hippo --wait --timeout 4m").ok();
    space.sql(
        "hippo",
        "create table t (i int); insert into t values (1); grant select on t to public",
    );
    for pod in ["hippo-replica-0", "hippo-replica-1"] {
        space.sql_becomes(pod, "select i from t", "1");
    }

    let shown = space.pgo("show cluster hippo").ok();
    assert!(shown.starts_with("cluster : hippo (Ready)"), "{shown}");
    for line in [
        "pod : hippo-0 (primary, ready",
        "pod : hippo-replica-0 (replica, ready",
        "claim : hippo-pvc",
    ] {
        assert!(shown.contains(line), "no `{line}` in\n{shown}");
    }

    space.pgo("scale cluster hippo --replicas=3 --wait --timeout 4m").ok();
    space.sql_becomes("hippo-replica-2", "select i from t", "1");
    assert_eq!(
        api::text(&space.resource("PgCluster", "hippo"), "/status/phase"),
        "Ready"
    );

    set_what_is_reloaded(&space);
    lose_the_primary(&space);
    lose_the_postmaster(&space);

    space.pgo("scale cluster hippo --replicas=1 --wait --timeout 4m").ok();
    until(120, "one replica, and slots for it alone", || {
        let pods = space.names("v1", "Pod");
        let slots = space.try_sql("hippo", "select count(*) from pg_replication_slots")?;
        if pods == ["hippo-0", "hippo-replica-0"] && slots == "1" {
            Ok(())
        } else {
            Err(format!("{pods:?}, {slots} slots"))
        }
    });
    assert_eq!(
        space.names("v1", "PersistentVolumeClaim").len(),
        4,
        "the claims of replicas that were scaled away stay"
    );
    miss_a_higher_limit(&space);
    leak::assert_none(&space);

    space.pgo("delete cluster hippo --yes --wait --timeout 3m").ok();
    until(120, "everything but the claims to go", || match space.made() {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    });
    assert!(
        space
            .names("v1", "PersistentVolumeClaim")
            .contains(&"hippo-pvc".to_owned())
    );
}

/// It is in force on every server long before a kubelet would look by itself, which takes a minute or more.
fn set_what_is_reloaded(space: &Space) {
    let change = json!({"spec": {"postgres": {"parameters": {"work_mem": "17MB"}}}});
    api::patch(space.name(), &api::pgop("PgCluster"), "hippo", &change).unwrap();
    let since = Instant::now();
    for pod in ["hippo-0", "hippo-replica-0", "hippo-replica-1", "hippo-replica-2"] {
        until(20, "the setting to be in force", || {
            match space.sql_in(pod, "show work_mem")? {
                shown if shown == "17MB" => Ok(()),
                shown => Err(shown),
            }
        });
    }
    eprintln!(
        "a setting was in force on four servers after {:.1} s",
        since.elapsed().as_secs_f64()
    );
}

/// Its pod is deleted, and for a minute nobody may make another; whoever reads through the Service for that notices nothing. It comes back with its
/// data, and the replicas follow what is written then.
fn lose_the_primary(space: &Space) {
    let query = "select pg_is_in_recovery() and count(*) > 0 from t";
    let reader = Reader::start(space, "hippo", query).unwrap();
    let reads = || match reader.reads(space)? {
        reads if reads.failed == 0 => Ok(reads),
        reads => Err(format!("{reads:?}")),
    };
    let gone = Gone::delete(space, "hippo-0");
    let before = reads().unwrap();
    hold(GONE, "a primary that is gone, and no read that fails", || {
        reads()?;
        gone.check()
    });
    let after = reads().unwrap();
    assert!(after.done > before.done, "nobody has read: {after:?}");
    eprintln!(
        "{} reads while the primary was gone, {after:?}",
        after.done - before.done
    );
    drop(gone);

    until(120, "the data", || {
        match space.sql_in("hippo-0", "select i from t")? {
            rows if rows == "1" => Ok(()),
            rows => Err(rows),
        }
    });
    space.sql("hippo", "insert into t values (2)");
    for pod in ["hippo-replica-0", "hippo-replica-1", "hippo-replica-2"] {
        space.sql_becomes(pod, "select count(*) from t", "2");
    }
    space.phase_becomes("PgCluster", "hippo", "Ready", 90);
    reads().unwrap();
    reader.end(space);
}

/// A pod whose containers have ended, and whose name is not free until this goes.
struct Gone<'a> {
    space: &'a Space,
    pod: &'static str,
    uid: String,
}

impl<'a> Gone<'a> {
    fn delete(space: &'a Space, pod: &'static str) -> Self {
        let held = json!({"metadata": {"finalizers": ["pgop.dev/e2e"]}});
        let held = api::patch(space.name(), &api::kind("v1", "Pod"), pod, &held).unwrap();
        let uid = api::text(&held, "/metadata/uid");
        let gone = Self { space, pod, uid };
        api::delete(space.name(), &api::kind("v1", "Pod"), pod, false);
        until(120, &format!("the end of {pod}"), || gone.check());
        gone
    }

    fn check(&self) -> Result<(), String> {
        let pod = api::find(self.space.name(), &api::kind("v1", "Pod"), self.pod).ok_or("it is not held")?;
        let ended = pod.pointer("/status/containerStatuses/0/state/terminated");
        if api::text(&pod, "/metadata/uid") == self.uid && ended.is_some_and(Value::is_object) {
            Ok(())
        } else {
            Err(pod["status"].to_string())
        }
    }
}

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        let free = json!({"metadata": {"finalizers": null}});
        let freed = api::patch(self.space.name(), &api::kind("v1", "Pod"), self.pod, &free);
        // A namespace with it would never go.
        if let (Err(error), false) = (freed, std::thread::panicking()) {
            panic!("{} stays: {error}", self.pod);
        }
    }
}

/// The number in the lock file of its socket may be anybody's in the container that comes next. An empty file stands for that here:
/// `PostgreSQL` starts beside neither.
fn lose_the_postmaster(space: &Space) {
    let since = || space.sql_in("hippo-0", "select pg_postmaster_start_time()");
    let before = since().unwrap();
    let crash = ": >/pgop/run/.s.PGSQL.5432.lock && kill -9 \"$(head -n 1 /pgdata/hippo/data/postmaster.pid)\"";
    api::exec(space.name(), "hippo-0", &["bash", "-c", crash]).unwrap();
    until(120, "another postmaster", || match since()? {
        now if now != before => Ok(()),
        _ => Err("the old one".to_owned()),
    });
    let pod = api::find(space.name(), &api::kind("v1", "Pod"), "hippo-0").unwrap();
    // In place: the container lives on, and no back-off of the kubelet's comes between.
    assert_eq!(pod.pointer("/status/containerStatuses/0/restartCount"), Some(&json!(0)));
    space.phase_becomes("PgCluster", "hippo", "Ready", 90);
}

/// A limit is raised and lowered again while the replica is away. On its way through the WAL it needs the higher one.
fn miss_a_higher_limit(space: &Space) {
    space.pgo("scale cluster hippo --replicas=0 --wait --timeout 4m").ok();
    for (change, in_force) in [(json!("130"), "130"), (json!(null), "100")] {
        let change = json!({"spec": {"postgres": {"parameters": {"max_connections": change}}}});
        api::patch(space.name(), &api::pgop("PgCluster"), "hippo", &change).unwrap();
        until(120, "the limit to be in force", || {
            match space.sql_in("hippo-0", "show max_connections")? {
                shown if shown == in_force => Ok(()),
                shown => Err(shown),
            }
        });
    }
    space.sql("hippo", "insert into t values (3)");
    space.pgo("scale cluster hippo --replicas=1 --wait --timeout 4m").ok();
    space.sql_becomes("hippo-replica-0", "select count(*) from t", "3");

    // It begins before that record once more, and knows of the lower limit by now.
    let pod = || api::find(space.name(), &api::kind("v1", "Pod"), "hippo-replica-0");
    let old = pod().map(|pod| api::text(&pod, "/metadata/uid"));
    api::delete(space.name(), &api::kind("v1", "Pod"), "hippo-replica-0", true);
    until(120, "another replica that serves", || {
        let new = pod().ok_or("there is no pod")?;
        let ready = new.pointer("/status/containerStatuses/0/ready") == Some(&json!(true));
        if Some(api::text(&new, "/metadata/uid")) == old || !ready {
            return Err(new["status"].to_string());
        }
        assert_eq!(new.pointer("/status/containerStatuses/0/restartCount"), Some(&json!(0)));
        Ok(())
    });
    space.sql_becomes("hippo-replica-0", "select count(*) from t", "3");
}
