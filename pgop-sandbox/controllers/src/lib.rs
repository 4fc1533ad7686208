//! The controllers of an embedded Kubernetes: from Deployments to garbage collection.
//!
//! They speak only [`kube::Client`], so they would run on any API server. Each controller listens to the shared
//! reflectors, puts keys in its queue, and plans in a pure function from objects to actions; a thin loop carries the actions out
//! with preconditions. On another API server they take the place of kube-controller-manager and kube-scheduler, from Kubernetes 1.25 on:
//! nothing starts before all kinds they watch are served.
//!
//! ```text
//!   cache      one reflector per kind ──changes──▶ queue ──key──▶ plan (pure) ──actions──▶ verbs ──▶ API server
//!     ▲                                                                                                 │
//!     └─────────────────────────────────────── watches ◀────────────────────────────────────────────────┘
//! ```
// A `json!` value given as an argument reads better without a `&`.
#![cfg_attr(test, allow(clippy::needless_pass_by_value))]

mod cache;
mod context;
mod cron_job;
mod daemon_set;
mod deployment;
mod disruption;
mod endpoints;
mod expectations;
mod garbage;
mod job;
mod namespace;
mod node_fit;
mod ownership;
mod pod;
mod pod_control;
mod pod_garbage;
mod quantity;
mod queue;
mod record;
mod replica_set;
mod resources;
mod revision;
mod scheduler;
mod service_account;
mod stateful_set;
mod verbs;
mod volume;

use std::{path::PathBuf, sync::Arc};

use futures::future::BoxFuture;
use kube::Client;
use tokio::{sync::watch, task::JoinSet};
pub use tokio_util::sync::CancellationToken;

use cache::Cache;
use context::Context;
use record::Recorder;
use resources::Resources;
use volume::Place;

/// All controllers, and what they need to know of the machine.
#[derive(Clone, Debug)]
pub struct Controllers {
    /// Folder under which the folders of volumes are made. It is created when the first volume is.
    pub volumes: PathBuf,
    /// Name of the only node (its label `kubernetes.io/hostname`): volumes are on it, and pods that use them go there.
    pub node: String,
    /// Certificates (PEM) by which pods trust the API server: the content of `kube-root-ca.crt` in every namespace.
    pub ca_pem: String,
}

impl Controllers {
    /// Runs all controllers until `stop` is cancelled. Returns when all have ended.
    ///
    /// Nothing is decided before the first lists of all kinds are in. A server that is not there yet is waited for.
    pub async fn run(self, client: Client, stop: CancellationToken) {
        let Self { volumes, node, ca_pem } = self;
        let (recorder, occurrences) = Recorder::new();
        let (filled_sender, filled) = watch::channel(false);
        let context = Context {
            cache: Arc::new(Cache::new()),
            resources: Arc::new(Resources::new(client.clone())),
            recorder,
            stop: stop.clone(),
            client: client.clone(),
            filled,
        };
        // Listeners are registered here, before the watches start: else they would miss what the first lists bring.
        let controllers: Vec<BoxFuture<'static, ()>> = vec![
            cron_job::run(&context),
            daemon_set::run(&context),
            deployment::run(&context),
            disruption::run(&context),
            endpoints::run(&context),
            garbage::run(&context),
            job::run(&context),
            namespace::run(&context),
            pod_garbage::run(&context),
            replica_set::run(&context),
            scheduler::run(&context),
            service_account::run(&context, ca_pem),
            stateful_set::run(&context),
            volume::run(&context, Place { folder: volumes, node }),
        ];
        let mut tasks = JoinSet::new();
        tasks.spawn(record::write(client.clone(), occurrences, stop.clone()));
        let (cache, stopped) = (context.cache.clone(), stop.clone());
        tasks.spawn(async move {
            stopped.run_until_cancelled(cache.fill(filled_sender)).await;
        });
        for task in controllers.into_iter().chain(context.cache.watches(&client, &stop)) {
            tasks.spawn(task);
        }
        while tasks.join_next().await.is_some() {}
    }
}
