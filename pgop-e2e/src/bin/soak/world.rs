//! What faults act on: the namespace, the writers, the snapshots that were made.

use std::collections::BTreeMap;
use std::sync::Arc;

use pgop_e2e::{Done, Space, api, patiently, pgo};
use serde_json::Value;

use crate::expected::Expectation;
use crate::settle;
use crate::state::{Server, State};
use crate::watch::Watch;
use pgop_e2e::writer::Writer;

/// Words of every `pgo` that waits. A slow machine is no finding.
pub(crate) const WAIT: [&str; 3] = ["--wait", "--timeout", "15m"];

/// A snapshot, and what it must hold.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) claim: String,
    pub(crate) path: String,
    /// Numbers that were acknowledged when it was begun: it has them.
    pub(crate) least: u64,
    /// Numbers that may have been written when it had ended: it has no more.
    pub(crate) most: u64,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) space: Space,
    pub(crate) watch: Arc<Watch>,
    pub(crate) writers: Vec<Writer>,
    /// By server and number.
    pub(crate) snapshots: BTreeMap<(&'static str, u32), Snapshot>,
}

impl World {
    /// Makes the servers and puts them under load.
    pub(crate) fn populate(&mut self, state: &State, per_second: f64) -> Result<(), String> {
        for server in &state.servers {
            let expectation = Expectation::default()
                .troubled(server.name)
                .troubled(format!("writer-{}", server.name));
            self.watch.expect(expectation);
            let replicas = format!("--replicas={}", server.replicas);
            let mut words = vec!["create", server.word(), server.name];
            if server.is_cluster {
                words.push(&replicas);
            }
            self.pgo(&words)?;
        }
        for server in &state.servers {
            let name = server.name;
            patiently(
                &format!("{} {name} to be ready", server.kind()),
                || match settle::resource(&self.space, server)? {
                    resource if api::text(&resource, "/status/phase") == "Ready" => Ok(()),
                    resource => Err(resource["status"].to_string()),
                },
            )?;
            self.writers.push(Writer::start(&self.space, name, per_second)?);
        }
        self.settle(state)
    }

    /// Waits until all servers are as they were asked for, with all that was acknowledged.
    pub(crate) fn settle(&self, state: &State) -> Result<(), String> {
        for server in &state.servers {
            settle::server(&self.space, server, self.writer(server.name)?)?;
        }
        Ok(())
    }

    /// The writer of that server.
    pub(crate) fn writer(&self, server: &str) -> Result<&Writer, String> {
        let found = self.writers.iter().find(|writer| writer.server == server);
        found.ok_or_else(|| format!("nobody writes to {server}"))
    }

    /// Runs `pgo` in the namespace; it has to succeed.
    pub(crate) fn pgo(&self, words: &[&str]) -> Result<String, String> {
        let all: Vec<&str> = ["-n", self.space.name()]
            .into_iter()
            .chain(words.iter().copied())
            .collect();
        let done: Done = pgo::pgo(&all);
        if done.code == 0 {
            Ok(done.stdout)
        } else {
            Err(done.to_string())
        }
    }

    /// Changes the resource of a server.
    pub(crate) fn patch(&self, server: &Server, change: &Value) -> Result<(), String> {
        api::patch(self.space.name(), &api::pgop(server.kind()), server.name, change).map(drop)
    }
}
