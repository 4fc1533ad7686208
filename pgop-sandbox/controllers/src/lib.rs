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
mod event_age;
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

use std::{panic::resume_unwind, path::PathBuf, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use kube::Client;
use pgop_sandbox_tasks::{Name, spawn_essential};
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
    ///
    /// A reconcile that panics is logged and tried again, a watch begins again. When another part panics, so does this: without it the rest
    /// would go on as if all were well.
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
        let mut parts: Vec<(Name, BoxFuture<'static, ()>)> = vec![
            ("cronjob-controller".into(), cron_job::run(&context)),
            ("daemonset-controller".into(), daemon_set::run(&context)),
            ("deployment-controller".into(), deployment::run(&context)),
            ("disruption-controller".into(), disruption::run(&context)),
            ("endpoint-controller".into(), endpoints::run(&context)),
            ("event-age".into(), event_age::run(&context)),
            ("garbage-collector".into(), garbage::run(&context)),
            ("job-controller".into(), job::run(&context)),
            ("namespace-controller".into(), namespace::run(&context)),
            ("pod-garbage-collector".into(), pod_garbage::run(&context)),
            ("replicaset-controller".into(), replica_set::run(&context)),
            ("default-scheduler".into(), scheduler::run(&context)),
            (
                "service-account-controller".into(),
                service_account::run(&context, ca_pem),
            ),
            ("statefulset-controller".into(), stateful_set::run(&context)),
            (
                "persistentvolume-controller".into(),
                volume::run(&context, Place { folder: volumes, node }),
            ),
        ];
        parts.push((
            "events".into(),
            record::write(client.clone(), occurrences, stop.clone()).boxed(),
        ));
        let (cache, stopped) = (context.cache.clone(), stop.clone());
        let filled = async move {
            stopped.run_until_cancelled(cache.fill(filled_sender)).await;
        };
        parts.push(("first lists".into(), filled.boxed()));
        parts.extend(context.cache.watches(&client, &stop));
        let (mut tasks, broken) = (JoinSet::new(), CancellationToken::new());
        for (name, part) in parts {
            spawn_essential(&mut tasks, name, &broken, part);
        }
        let ended = async { while tasks.join_next().await.is_some() {} };
        if broken.run_until_cancelled(ended).await.is_none() {
            resume_unwind(Box::new("a controller panicked"));
        }
    }
}
