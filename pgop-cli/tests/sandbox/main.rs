//! The life of a sandbox with the real binary: databases keep their data, and nothing of it is left on the machine when it has ended,
//! however it has ended. As the user who runs this, and when that is root, as an ordinary one too.
//! `PGO` names another binary than that of the build.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)] // a test ends where it can not go on

use std::path::Path;

mod owner;
mod traces;

use owner::{Sandbox, User};
use traces::Traces;

const CLEAN: &str = "database system was shut down at";
const NOT_CLEAN: &str = "not properly shut down";

#[test]
#[ignore = "runs pods: needs bubblewrap, PostgreSQL, pgop-operator and pgop-agent beside pgo"]
fn two_sandboxes_are_two_and_a_stop_leaves_nothing_but_the_data() {
    for user in User::all() {
        let home = user.home();
        let (a, b) = (Sandbox::new(&user, &home, "a"), Sandbox::new(&user, &home, "b"));
        for sandbox in [&a, &b] {
            sandbox.start();
            sandbox.database();
            sandbox.sql(&format!("create table who as select '{}' as name", sandbox.name()));
        }
        let (of_a, of_b) = (Traces::of(&a), Traces::of(&b));
        a.pgo("sandbox stop");
        of_a.assert_gone("a stop");
        of_b.assert_there();
        assert_eq!(b.sql("select name from who"), "b");

        a.start();
        assert_eq!(a.sql_becomes("select name from who"), "a");
        let log = a.pgo("logs orders");
        assert!(log.contains(CLEAN) && !log.contains(NOT_CLEAN), "{log}");

        let of_a = Traces::of(&a);
        for sandbox in [&a, &b] {
            sandbox.pgo("sandbox delete --yes");
            assert!(!sandbox.folder().exists());
        }
        of_a.assert_gone("its deletion");
        of_b.assert_gone("its deletion");
    }
}

#[test]
#[ignore = "runs pods: needs bubblewrap, PostgreSQL, pgop-operator and pgop-agent beside pgo"]
fn after_kill_9_nothing_runs_and_the_data_is_there() {
    for user in User::all() {
        let home = user.home();
        let sandbox = Sandbox::new(&user, &home, "killed");
        sandbox.start();
        sandbox.database();
        sandbox.sql("create table t as select 7 as i");
        let traces = Traces::of(&sandbox);
        sandbox.signal("KILL");
        traces.assert_processes_go("kill -9");
        assert!(sandbox.pgo("sandbox stop").contains("does not run"));
        traces.assert_gone("kill -9 and stop");

        sandbox.start();
        assert_eq!(sandbox.sql_becomes("select i from t"), "7");
        let traces = Traces::of(&sandbox);
        sandbox.signal("KILL");
        sandbox.start(); // which cleans up as well
        traces.assert_processes_go("kill -9 and start");
        assert_eq!(sandbox.sql_becomes("select i from t"), "7");
        let traces = Traces::of(&sandbox);
        sandbox.signal("KILL");
        sandbox.pgo("sandbox delete --yes");
        assert!(!sandbox.folder().exists());
        traces.assert_gone("kill -9 and delete");
    }
}

#[test]
#[ignore = "runs pods: needs bubblewrap, PostgreSQL, pgop-operator and pgop-agent beside pgo"]
fn ctrl_c_stops_pods_in_order_and_a_second_one_at_once() {
    for user in User::all() {
        let home = user.home();
        let sandbox = Sandbox::new(&user, &home, "front");
        sandbox.start();
        sandbox.database();
        sandbox.pgo("sandbox stop");

        let mut front = sandbox.run();
        sandbox.sql_becomes("select 1");
        let traces = Traces::of(&sandbox);
        sandbox.signal("INT");
        assert!(front.wait().unwrap().success());
        traces.assert_gone("Ctrl-C");

        let mut front = sandbox.run();
        sandbox.sql_becomes("select 1");
        let log = sandbox.pgo("logs orders");
        assert!(log.contains(CLEAN) && !log.contains(NOT_CLEAN), "{log}");
        // A pod that hears nothing would have 30 s.
        sandbox.deaf_pod();
        let traces = Traces::of(&sandbox);
        sandbox.signal("INT");
        sandbox.says("pods have up to 30 s to end");
        sandbox.signal("INT");
        assert!(front.wait().unwrap().success());
        sandbox.says("pod default/deaf is ended at once");
        traces.assert_gone("two Ctrl-C");
        sandbox.pgo("sandbox delete --yes");
    }
}

#[test]
#[ignore = "runs pods: needs bubblewrap, PostgreSQL and pgop-operator beside pgo"]
fn a_log_on_a_full_disk_ends_nothing() {
    for user in User::all() {
        let home = user.home();
        let sandbox = Sandbox::new(&user, &home, "full");
        sandbox.start();
        sandbox.pgo("sandbox stop");

        let mut front = sandbox.run_telling("debug", Path::new("/dev/full"));
        sandbox.database();
        assert_eq!(sandbox.sql("select 1"), "1");
        sandbox.signal("INT");
        assert!(front.wait().unwrap().success());
        sandbox.pgo("sandbox delete --yes");
    }
}
