//! The agent in an image with next to nothing: `PostgreSQL`'s programs, what they load, and the line of `/etc/passwd` that they ask for. No bash, no
//! coreutils, no locales, no time zones, no names of hosts.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "clippy knows the tests, not what they share")]

use machine::{folder, postgres, programs};
use network::Network;
use pod::{Pod, wait_until};
use root::{PROGRAMS, Root, Shell};
use server::{ask, value};

#[path = "../kubelet/mod.rs"]
mod kubelet;
#[allow(dead_code, reason = "containers of this test get no environment of the test's")]
#[path = "../machine/mod.rs"]
mod machine;
#[allow(dead_code, reason = "names are resolved in another test")]
#[path = "../steps/network.rs"]
mod network;
mod pod;
mod root;
#[allow(dead_code, reason = "nobody writes all the time here")]
#[path = "../steps/server.rs"]
mod server;

const SNAPSHOT: &str = "hippo-backups/one";

/// What its server finds in the root.
fn check_root(pod: &Pod, shell: Shell) {
    let list = |directory: &str| {
        let query =
            format!("select string_agg(name, ' ' order by name collate \"C\") from pg_ls_dir('{directory}') name");
        value(&pod.run(), &query)
    };
    assert_eq!(list(&programs()), PROGRAMS.join(" "));
    assert_eq!(list("/etc"), "passwd");
    let bin = if shell == Shell::Dash { "bin " } else { "" };
    assert_eq!(list("/"), format!("{bin}dev etc lib lib64 proc tmp usr"));
    assert_eq!(list("/usr"), "lib share");
    assert_eq!(list("/usr/share"), "postgresql");
    if shell == Shell::Dash {
        assert_eq!(list("/bin"), "sh");
    }
}

#[test]
fn postgresqls_programs_are_all_that_an_image_needs() {
    let Some(network) = Network::enter() else { return };
    let root = Root::new();
    let [claim, copy, shelf, restored] = [(); 4].map(|()| folder(postgres()));

    // Made with a shell, which is told where there is none. From then on nothing needs it.
    let primary = Pod::primary(&root, claim.path(), "initdb");
    assert_eq!(primary.start(Shell::None).end(), Some(1));
    assert_eq!(
        primary.message(),
        "the image has no /bin/sh, which PostgreSQL needs to make a database: use an image that has one, of any kind\n"
    );
    let mut container = primary.serve(Shell::Dash);
    check_root(&primary, Shell::Dash);
    assert_eq!(container.terminate(), Some(0));
    let mut container = primary.serve(Shell::None);
    check_root(&primary, Shell::None);
    wait_until("roles are set", || primary.holds("RolesInForce"));

    primary.set("work_mem = 5000");
    wait_until("the setting is in force", || {
        ask(&primary.run(), "show work_mem").as_deref() == Some("5000kB") && primary.holds("SettingsInForce")
    });
    value(
        &primary.run(),
        "create table item as select generate_series(1, 1000) as id",
    );

    let replica = Pod::replica(&root, copy.path(), network.there());
    let mut follower = replica.serve(Shell::None);
    wait_until("it follows", || replica.holds("Following"));
    let count = "select count(*) from item";
    wait_until("it has what the primary has", || {
        ask(&replica.run(), count).as_deref() == Some("1000")
    });
    check_root(&replica, Shell::None);
    assert_eq!(follower.terminate(), Some(0));

    let job = Pod::backup(&root, shelf.path(), SNAPSHOT);
    assert_eq!(job.start(Shell::None).end(), Some(0), "{}", job.message());
    value(&primary.run(), "delete from item");
    assert_eq!(container.terminate(), Some(0));

    let job = Pod::restore(&root, shelf.path(), SNAPSHOT, restored.path());
    assert_eq!(job.start(Shell::None).end(), Some(0), "{}", job.message());
    let browse = Pod::browse(&root, shelf.path());
    assert_eq!(browse.start(Shell::None).end(), Some(0), "{}", browse.message());
    assert!(browse.log().contains("hippo-backups"), "{}", browse.log());

    // The first start replays the snapshot's WAL.
    let primary = Pod::primary(&root, restored.path(), "restore");
    assert_eq!(primary.start(Shell::None).end(), Some(1));
    assert_eq!(
        primary.message(),
        "the image has no /bin/sh, which PostgreSQL needs to start from a backup: use an image that has one, of any kind\n"
    );
    let mut container = primary.serve(Shell::Dash);
    assert_eq!(value(&primary.run(), count), "1000");
    assert_eq!(container.terminate(), Some(0));
    let _container = primary.serve(Shell::None);
    assert_eq!(value(&primary.run(), count), "1000");
}
