//! The agent is killed at each of its steps, and comes to the same end.
//!
//! Whatever it was doing, an agent that starts again finishes it: what was acknowledged is there, nothing half-made is used, and no server is started
//! beside another's processes. Each piece of work is walked twice: with the agent as process 1, where all dies with it, and as one of others, where
//! what it has started goes on. `PGOP_STEPS=3` walks all steps, up to three of each name; without it a few are walked.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(clippy::unwrap_used, reason = "clippy knows the tests, not what they share")]

use std::fs;
use std::path::Path;
use std::process::Command;

use ground::{folder, names, postgres, wait_until};
use network::{HERE, Network};
use pod::{Container, Init, Pod};
use server::{Writer, ask, value};
use trace::{Point, Run};
use walk::walk;

#[allow(dead_code, reason = "its other half is for the tests of backups")]
#[path = "../backup/ground.rs"]
mod ground;
mod network;
mod pod;
mod server;
mod trace;
mod walk;

/// A primary that serves, with a client that writes.
struct Primary {
    writer: Writer,
    container: Container,
    pod: Pod,
    claim: tempfile::TempDir,
}

impl Primary {
    fn start(init: Init) -> Self {
        let claim = folder(postgres());
        let pod = Pod::primary(claim.path(), init);
        let mut container = pod.start();
        pod.keep(&mut container, "the primary is ready", || pod.is_ready());
        let writer = Writer::start(&pod.run());
        wait_until("something is written", || writer.count() > 10);
        Self {
            writer,
            container,
            pod,
            claim,
        }
    }

    /// Has the work done that is under way, by an agent that may be killed in it.
    fn finish(&mut self, tracer: trace::Tracer, is_done: impl Fn(&Pod) -> bool) -> Run {
        let pod = &self.pod;
        wait_until("it is done, or killed", || tracer.is_over() || is_done(pod));
        let run = if tracer.is_over() {
            let run = tracer.end();
            self.container.end();
            self.container = pod.start();
            run
        } else {
            self.container.kill();
            let run = tracer.end();
            self.container = pod.start();
            run
        };
        pod.keep(&mut self.container, "the primary is ready, and done", || {
            pod.is_ready() && is_done(pod)
        });
        self.check();
        run
    }

    fn check(&self) {
        self.writer.check();
        self.pod.check_for_a_second();
        let left = names(&self.claim.path().join("hippo"));
        let usual = |name: &String| {
            ["data", "lock", "owner", "settings.kept", "settings.new", "restored"].contains(&name.as_str())
        };
        assert!(left.iter().all(usual), "{left:?}");
    }
}

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

const WAITS: &str = "select count(*) from pg_settings where pending_restart";

/// A database is made, with its roles.
fn walk_init(init: Init) {
    let Some(_network) = Network::enter() else { return };
    walk(&format!("init, {init:?} is process 1"), |at| {
        let claim = folder(postgres());
        let pod = Pod::primary(claim.path(), init);
        let (mut container, tracer) = pod.follow(at);
        wait_until("it is made, or killed", || tracer.is_over() || pod.is_ready());
        if !tracer.is_over() {
            container.kill();
        }
        let run = tracer.end();
        container.end();
        container = pod.start();
        pod.keep(&mut container, "the primary is ready", || pod.is_ready());
        let roles = value(
            &pod.run(),
            "select count(*) from pg_roles where rolname in ('app', 'replicator') and rolcanlogin",
        );
        let database = value(
            &pod.run(),
            "select pg_get_userbyid(datdba) from pg_database where datname = 'app'",
        );
        assert_eq!((roles.as_str(), database.as_str()), ("2", "app"));
        let mut left = names(&claim.path().join("hippo"));
        left.retain(|name| name != "settings.new");
        wait_until("settings are kept", || {
            claim.path().join("hippo/settings.kept").exists()
        });
        pod.check_for_a_second();
        run
    });
}

/// Settings change on a server that runs.
fn walk_reload(init: Init) {
    let Some(_network) = Network::enter() else { return };
    let mut primary = Primary::start(init);
    let mut memory = 1000;
    walk(&format!("reload, {init:?} is process 1"), |at| {
        memory += 1;
        let tracer = primary.pod.trace(&primary.container, at);
        primary.pod.set(&format!("work_mem = {memory}"));
        primary.finish(tracer, |pod| {
            ask(&pod.run(), "show work_mem").is_some_and(|shown| shown == format!("{memory}kB"))
                && pod
                    .condition("SettingsInForce")
                    .is_some_and(|(holds, _)| holds == Some(true))
        })
    });
}

/// A server is asked to end, and started again with a setting that waits for it.
fn walk_restart(init: Init) {
    let Some(_network) = Network::enter() else { return };
    let mut primary = Primary::start(init);
    let mut connections = 20;
    walk(&format!("stop, {init:?} is process 1"), |at| {
        let tracer = primary.pod.trace(&primary.container, at);
        primary.container.terminate();
        let run = tracer.end();
        primary.container.end();
        primary.container = primary.pod.start();
        primary.pod.keep(&mut primary.container, "the primary is ready", || {
            primary.pod.is_ready()
        });
        primary.check();
        run
    });
    walk(&format!("start, {init:?} is process 1"), |at| {
        connections = 41 - connections;
        primary.pod.set(&format!("max_connections = {connections}"));
        primary.container.terminate();
        primary.container.end();
        let (container, tracer) = primary.pod.follow(at);
        primary.container = container;
        primary.finish(tracer, |pod| {
            pod.is_ready()
                && ask(&pod.run(), "show max_connections").is_some_and(|shown| shown == connections.to_string())
                && ask(&pod.run(), WAITS).as_deref() == Some("0")
                && pod
                    .condition("RolesInForce")
                    .is_some_and(|(holds, _)| holds == Some(true))
        })
    });
}

/// The server is killed, and started again in place.
fn walk_again(init: Init) {
    let Some(_network) = Network::enter() else { return };
    let mut primary = Primary::start(init);
    walk(&format!("start again in place, {init:?} is process 1"), |at| {
        let before = primary.writer.count();
        let tracer = primary.pod.trace(&primary.container, at);
        primary.kill_server();
        let written = &primary.writer;
        wait_until("it serves again, or the agent is killed", || {
            tracer.is_over() || written.count() > before + 20
        });
        primary.finish(tracer, Pod::is_ready)
    });
}

impl Primary {
    /// The first line of its file, as the test sees that process.
    fn postmaster(&self) -> i32 {
        let data = self.claim.path().join("hippo/data").canonicalize().unwrap();
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let mut found: Vec<i32> = processes
            .filter(|process| fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd == data))
            .filter_map(|process| process.file_name().to_str()?.parse().ok())
            .collect();
        // Its children have it for a parent.
        let is_child = |pid: &i32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
            parent
                .and_then(|parent| parent.trim().parse().ok())
                .is_some_and(|parent: i32| found.contains(&parent))
        };
        let children: Vec<i32> = found.iter().copied().filter(is_child).collect();
        found.retain(|pid| !children.contains(pid));
        assert_eq!(found.len(), 1, "one postmaster");
        found[0]
    }

    fn kill_server(&self) {
        use nix::sys::signal::{Signal, kill};
        kill(nix::unistd::Pid::from_raw(self.postmaster()), Signal::SIGKILL).unwrap();
    }
}

macro_rules! twice {
    ($($work:ident: $whole:ident, $alone:ident;)*) => {$(
        #[test]
        fn $whole() {
            $work(Init::Agent);
        }

        #[test]
        fn $alone() {
            $work(Init::Other);
        }
    )*};
}

twice! {
    walk_init: a_database_that_is_being_made, a_database_that_is_being_made_alone;
    walk_reload: settings_that_are_being_reloaded, settings_that_are_being_reloaded_alone;
    walk_restart: a_server_that_stops_and_starts, a_server_that_stops_and_starts_alone;
    walk_again: a_server_that_was_killed, a_server_that_was_killed_alone;
}

/// A replica copies a primary that is written to, or copies it again, and follows.
fn walk_copy(init: Init, again: bool) {
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

fn follows(replica: &Pod) -> bool {
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
    fn agrees(&self, replica: &Pod) {
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
fn walk_backup(init: Init) {
    let Some(_network) = Network::enter() else { return };
    let primary = Primary::start(Init::Agent);
    let shelf = folder(postgres());
    let mut made = 0;
    walk(&format!("backup, {init:?} is process 1"), |at| {
        made += 1;
        let before = primary.writer.count();
        let path = format!("hippo-backups/{made}");
        let job = Pod::backup(shelf.path(), &path, &format!("uid-{made}"), init);
        let (mut container, tracer) = job.follow(at);
        let run = tracer.end();
        let mut code = container.end();
        if run.killed {
            assert_ne!(code, Some(0), "a Job that was killed has succeeded");
            // A snapshot that has its name is whole: nobody asks who made it.
            if shelf.path().join(&path).exists() {
                check_snapshot(&shelf.path().join(&path));
            }
            code = job.start().end();
        }
        assert_eq!(code, Some(0), "{}: {}", job.message(), job.log());
        let left = names(&shelf.path().join("hippo-backups"));
        assert!(left.iter().all(|name| !name.starts_with(".partial")), "{left:?}");
        check_snapshot(&shelf.path().join(&path));
        let claim = folder(postgres());
        copy(&shelf.path().join(&path), claim.path());
        let restored = ground::Server::restored(&claim.path().join(made.to_string()));
        let there = restored.sql(&format!("select count(*) from journal where id <= {before}"));
        assert_eq!(there, before.to_string(), "a snapshot lacks what was committed before");
        drop(restored);
        fs::remove_dir_all(shelf.path().join(&path)).unwrap();
        run
    });
}

fn check_snapshot(path: &Path) {
    let program = Path::new(&pod::programs()).join("pg_verifybackup");
    let done = Command::new(program).arg("--quiet").arg(path).output().unwrap();
    assert!(
        done.status.success(),
        "{}: {}",
        path.display(),
        String::from_utf8_lossy(&done.stderr)
    );
}

/// A server's data is made of a snapshot, and served.
fn walk_restore(init: Init) {
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

fn walk_first_copy(init: Init) {
    walk_copy(init, false);
}

fn walk_copy_again(init: Init) {
    walk_copy(init, true);
}

twice! {
    walk_first_copy: a_replica_that_copies, a_replica_that_copies_alone;
    walk_copy_again: a_replica_that_copies_again, a_replica_that_copies_again_alone;
    walk_backup: a_snapshot_that_is_being_made, a_snapshot_that_is_being_made_alone;
    walk_restore: data_that_is_being_restored, data_that_is_being_restored_alone;
}
