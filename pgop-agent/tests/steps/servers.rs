//! What an agent does for a primary.

use std::fs;

use crate::ground::{folder, names, postgres};
use crate::network::Network;
use crate::pod::{Container, Init, Pod, wait_until};
use crate::server::{Writer, ask, value};
use crate::trace::{Run, Tracer};
use crate::walk::walk;

fn has_roles(pod: &Pod) -> bool {
    let holds = || {
        pod.condition("RolesInForce")
            .is_some_and(|(holds, _)| holds == Some(true))
    };
    pod.is_ready() && holds()
}

/// A primary that serves, with a client that writes.
pub struct Primary {
    pub writer: Writer,
    pub container: Container,
    pub pod: Pod,
    pub claim: tempfile::TempDir,
}

impl Primary {
    pub fn start(init: Init) -> Self {
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
    fn finish(&mut self, tracer: Tracer, is_done: impl Fn(&Pod) -> bool) -> Run {
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

    pub fn check(&self) {
        self.writer.check();
        self.pod.check_for_a_second();
        let left = names(&self.claim.path().join("hippo"));
        let usual = |name: &String| {
            ["data", "lock", "owner", "settings.kept", "settings.new", "restored"].contains(&name.as_str())
        };
        assert!(left.iter().all(usual), "{left:?}");
    }
}

const WAITS: &str = "select count(*) from pg_settings where pending_restart";

/// A database is made, with its roles.
pub fn walk_init(init: Init) {
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
        wait_until("settings are kept", || {
            claim.path().join("hippo/settings.kept").exists()
        });
        pod.check_for_a_second();
        run
    });
}

/// Settings change on a server that runs.
pub fn walk_reload(init: Init) {
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
pub fn walk_restart(init: Init) {
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
                && has_roles(pod)
        })
    });
}

/// The server is killed, and started again in place.
pub fn walk_again(init: Init) {
    let Some(_network) = Network::enter() else { return };
    let mut primary = Primary::start(init);
    walk(&format!("start again in place, {init:?} is process 1"), |at| {
        let before = primary.writer.count();
        let tracer = primary.pod.trace(&primary.container, at);
        primary.kill_server();
        let written = &primary.writer;
        wait_until("it serves again, or the agent is killed", || {
            tracer.is_over() || (written.count() > before + 20 && has_roles(&primary.pod))
        });
        primary.finish(tracer, has_roles)
    });
}

impl Primary {
    /// The first line of its file, as the test sees that process.
    fn postmaster(&self) -> i32 {
        let file = self.claim.path().join("hippo/data/postmaster.pid");
        let text = fs::read_to_string(file).unwrap();
        self.container.outside(text.lines().next().unwrap().parse().unwrap())
    }

    pub fn kill_server(&self) {
        use nix::sys::signal::{Signal, kill};
        kill(nix::unistd::Pid::from_raw(self.postmaster()), Signal::SIGKILL).unwrap();
    }
}
