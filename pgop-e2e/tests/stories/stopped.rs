//! Pods that are deleted while they start.

use std::thread::sleep;
use std::time::Duration;

use pgop_e2e::{Space, api, until};

/// The grace period of a server's pod is 300 s: one that has not heard is still there long after this.
const HEARD: u64 = 120;

#[test]
#[ignore = "needs cluster"]
fn a_server_that_is_deleted_while_it_starts_hears_it() {
    let space = Space::new("stopped");
    space.pgo("create cluster hippo --replicas=1 --wait --timeout 4m").ok();
    // From before its process runs to after it has set its handler; a replica waits for nothing but its primary.
    for pause in [0, 150, 300, 450, 600, 800, 1200] {
        let uid = until(HEARD, "a pod hippo-replica-0 that is not being deleted", || {
            living(&space, "hippo-replica-0")
        });
        sleep(Duration::from_millis(pause));
        api::delete(space.name(), &api::kind("v1", "Pod"), "hippo-replica-0", false);
        until(
            HEARD,
            &format!("the end of a pod deleted after {pause} ms"),
            || match api::find(space.name(), &api::kind("v1", "Pod"), "hippo-replica-0") {
                Some(pod) if api::text(&pod, "/metadata/uid") == uid => Err(pod["status"].to_string()),
                _ => Ok(()),
            },
        );
    }
    space.phase_becomes("PgCluster", "hippo", "Ready", 240);
}

/// Uid of a pod that nobody has deleted yet.
fn living(space: &Space, name: &str) -> Result<String, String> {
    let pod = api::find(space.name(), &api::kind("v1", "Pod"), name).ok_or("not there")?;
    match api::text(&pod, "/metadata/deletionTimestamp").as_str() {
        "" => Ok(api::text(&pod, "/metadata/uid")),
        since => Err(format!("deleted since {since}")),
    }
}
