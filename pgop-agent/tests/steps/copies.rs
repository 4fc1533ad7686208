//! What an agent copies: a primary for a replica, a primary to a snapshot, a snapshot to a primary.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::ground::{self, folder, names, postgres};
use crate::network::{HERE, Network};
use crate::pod::{Init, Pod, wait_until};
use crate::server::{ask, value};
use crate::servers::Primary;
use crate::walk::walk;

fn copy(from: &Path, into: &Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(into).status().unwrap();
    assert!(done.success());
}

fn clear(directory: &Path) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        if entry.path().is_dir() {
            fs::remove_dir_all(entry.path()).unwrap();
        } else {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}

/// A replica copies a primary that is written to, or copies it again, and follows.
pub fn walk_copy(init: Init, again: bool) {
    let Some(network) = Network::enter() else { return };
    let primary = Primary::start(Init::Agent);
    let (claim, kept) = (folder(postgres()), folder(postgres()));
    let mut replica = Pod::replica(claim.path(), HERE, network.there(), init);
    replica.set("max_slot_wal_keep_size = -1");
    primary.pod.set("max_slot_wal_keep_size = 1MB");
    if again {
        // What it has is older than anything that the primary still has.
        let mut container = replica.start();
        replica.keep(&mut container, "the replica follows", || follows(&replica));
        container.terminate();
        container.end();
        copy(&claim.path().join("hippo-replica-0"), kept.path());
    }
    let work = if again { "copy again" } else { "copy" };
    walk(&format!("{work}, {init:?} is process 1"), |at| {
        clear(claim.path());
        if again {
            copy(&kept.path().join("hippo-replica-0"), claim.path());
            primary.forget();
        }
        let (mut container, tracer) = replica.follow(at);
        wait_until("it follows, or is killed", || tracer.is_over() || follows(&replica));
        if !tracer.is_over() {
            container.kill();
        }
        let run = tracer.end();
        container.end();
        container = replica.start();
        replica.keep(&mut container, "the replica follows", || follows(&replica));
        primary.agrees(&replica);
        let left = names(&claim.path().join("hippo-replica-0"));
        let usual = |name: &String| ["data", "lock", "owner", "settings.kept", "settings.new"].contains(&name.as_str());
        assert!(left.iter().all(usual), "{left:?}");
        replica.check_for_a_second();
        container.kill();
        replica.end_what_is_left();
        run
    });
}

pub fn follows(replica: &Pod) -> bool {
    replica.is_ready()
        && replica
            .condition("Following")
            .is_some_and(|(holds, _)| holds == Some(true))
}

impl Primary {
    /// Gives up the WAL that the replica needs.
    fn forget(&self) {
        let run = self.pod.run();
        wait_until("the slot has lost its WAL", || {
            for _ in 0..4 {
                ask(&run, "select pg_switch_wal()");
                ask(
                    &run,
                    "create table filler as select generate_series(1, 20000); drop table filler",
                );
            }
            ask(&run, "checkpoint");
            let slot = ask(
                &run,
                "select wal_status from pg_replication_slots where slot_name = 'hippo_replica_0'",
            );
            slot.is_none_or(|status| status == "lost" || status.is_empty())
        });
    }

    /// A replica has all that was acknowledged, and as the primary has it.
    pub fn agrees(&self, replica: &Pod) {
        let count = self.writer.count();
        let query = format!(
            "select count(*) || ' ' || coalesce(md5(string_agg(id::text, ',' order by id)), '') from journal where id <= {count}"
        );
        let here = value(&self.pod.run(), &query);
        assert!(
            here.starts_with(&format!("{count} ")),
            "{here}: acknowledged rows are lost"
        );
        wait_until("the replica has what was acknowledged", || {
            ask(&replica.run(), &query).is_some_and(|there| there == here)
        });
    }
}

/// A snapshot is made of a primary that is written to.
pub fn walk_backup(init: Init) {
    let Some(_network) = Network::enter() else { return };
    let primary = Primary::start(Init::Agent);
    let shelf = folder(postgres());
    walk(&format!("backup, {init:?} is process 1"), |at| {
        clear(shelf.path());
        let before = primary.writer.count();
        let path = "hippo-backups/one";
        let job = Pod::backup(shelf.path(), path, "uid", init);
        let (mut container, tracer) = job.follow(at);
        let run = tracer.end();
        let mut code = container.end();
        if run.killed {
            assert_ne!(code, Some(0), "a Job that was killed has succeeded");
            // A snapshot that has its name is whole: nobody asks who made it.
            if shelf.path().join(path).exists() {
                check_snapshot(&shelf.path().join(path));
            }
            code = job.start().end();
        }
        assert_eq!(code, Some(0), "{}: {}", job.message(), job.log());
        let left = names(&shelf.path().join("hippo-backups"));
        assert!(left.iter().all(|name| !name.starts_with(".partial")), "{left:?}");
        check_snapshot(&shelf.path().join(path));
        let claim = folder(postgres());
        copy(&shelf.path().join(path), claim.path());
        let restored = ground::Server::restored(&claim.path().join("one"));
        let there = restored.sql(&format!("select count(*) from journal where id <= {before}"));
        assert_eq!(there, before.to_string(), "a snapshot lacks what was committed before");
        drop(restored);
        run
    });
}

fn check_snapshot(path: &Path) {
    let program = Path::new(&ground::programs()).join("pg_verifybackup");
    let done = Command::new(program).arg("--quiet").arg(path).output().unwrap();
    assert!(
        done.status.success(),
        "{}: {}",
        path.display(),
        String::from_utf8_lossy(&done.stderr)
    );
}

/// A server's data is made of a snapshot, and served.
pub fn walk_restore(init: Init) {
    let Some(_network) = Network::enter() else { return };
    let shelf = folder(postgres());
    let count = {
        let primary = Primary::start(Init::Agent);
        let count = primary.writer.count();
        let code = Pod::backup(shelf.path(), "hippo-backups/one", "uid", Init::Agent)
            .start()
            .end();
        assert_eq!(code, Some(0));
        count
    };
    walk(&format!("restore, {init:?} is process 1"), |at| {
        let claim = folder(postgres());
        let job = Pod::restore(shelf.path(), "hippo-backups/one", claim.path(), init);
        let (mut container, tracer) = job.follow(at);
        let run = tracer.end();
        let mut code = container.end();
        let server = Pod::primary(claim.path(), Init::Agent);
        server.file("config/init", "restore");
        if run.killed {
            assert_ne!(code, Some(0), "a Job that was killed has succeeded");
            code = job.start().end();
        }
        assert_eq!(code, Some(0), "{}: {}", job.message(), job.log());
        let left = names(&claim.path().join("hippo"));
        assert_eq!(left, ["data", "lock", "owner", "restored"]);
        let mut container = server.start();
        server.keep(&mut container, "what was restored is served", || server.is_ready());
        let there = value(
            &server.run(),
            &format!("select count(*) from journal where id <= {count}"),
        );
        assert_eq!(there, count.to_string());
        container.kill();
        run
    });
}

pub fn walk_first_copy(init: Init) {
    walk_copy(init, false);
}

pub fn walk_copy_again(init: Init) {
    walk_copy(init, true);
}
