//! The operator: what an embedding program builds and runs.

use std::sync::Arc;

use futures::{FutureExt, StreamExt};
use kube::Client;
use kube::api::{Api, DynamicObject, ListParams};
use kube::runtime::controller::{self, Error as ControllerError, applier};
use kube::runtime::reflector::ObjectRef;
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{error, info};

use super::backoff::Backoff;
use super::cache::{Caches, Queues, api_resource};
use super::cluster::{CallError, call};
use super::metrics::Metrics;
use super::reconcile::{Context, on_error, reconcile};
use super::report::Report;
use crate::crd::{PgBackup, PgCluster, PgDatabase};
use crate::managed::Managed;
use crate::owner::ResourceKind;
use crate::registry::Registry;

/// Reconciles at a time, of each kind.
const DEFAULT_CONCURRENCY: u16 = 8;

/// Runs the reconcile engine until it is told to stop.
///
/// ```no_run
/// # async fn embed(registry: pgop_core::Registry) -> Result<(), Box<dyn std::error::Error>> {
/// let client = kube::Client::try_default().await?;
/// let operator = pgop_core::runtime::Operator::builder(client).registry(registry).build();
/// operator.run(async { tokio::signal::ctrl_c().await.unwrap_or_default() }).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Operator {
    settings: OperatorBuilder,
    ready: watch::Sender<bool>,
}

/// Settings of an [`Operator`].
#[derive(Clone)]
pub struct OperatorBuilder {
    client: Client,
    registry: Arc<Registry>,
    namespaces: Vec<String>,
    concurrency: u16,
    metrics: Arc<Metrics>,
}

impl std::fmt::Debug for OperatorBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OperatorBuilder")
            .field("namespaces", &self.namespaces)
            .field("concurrency", &self.concurrency)
            .finish_non_exhaustive()
    }
}

/// Why the operator could not start, or stopped.
#[derive(Debug, Error)]
pub enum OperatorError {
    /// The custom resources are not installed.
    #[error(
        "the API server does not serve {plural}.{}: install the definitions with `pgo install`, or with `pgop-operator crd | kubectl apply -f -`",
        crate::crd::GROUP
    )]
    NotInstalled {
        /// The resource that is missing.
        plural: &'static str,
    },
    /// The account may not list something.
    #[error("this account may not list {plural}{whose}: `pgo install` makes the rights that the operator needs ({source})", whose = scope(namespace.as_deref()))]
    Forbidden {
        /// What can't be listed.
        plural: &'static str,
        /// Where.
        namespace: Option<String>,
        /// The answer.
        source: CallError,
    },
    /// The cluster could not be asked.
    #[error("could not ask the API server for {what}: {source}")]
    Ask {
        /// What was asked for.
        what: &'static str,
        /// The answer.
        source: CallError,
    },
    /// A task of the engine ended by itself.
    #[error("a task of the engine ended: {0}")]
    TaskEnded(String),
}

fn scope(namespace: Option<&str>) -> String {
    namespace.map_or_else(
        || " in all namespaces".to_owned(),
        |namespace| format!(" in namespace {namespace}"),
    )
}

impl Operator {
    /// Starts with the client that everything goes through.
    pub fn builder(client: Client) -> OperatorBuilder {
        OperatorBuilder {
            client,
            registry: Arc::default(),
            namespaces: Vec::new(),
            concurrency: DEFAULT_CONCURRENCY,
            metrics: Arc::default(),
        }
    }

    /// Whether the caches are filled and resources are being reconciled.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// Runs until `shutdown`; reconciles that are under way are finished first.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), OperatorError> {
        let scopes: Vec<Option<String>> = match self.settings.namespaces.as_slice() {
            [] => vec![None],
            namespaces => namespaces.iter().cloned().map(Some).collect(),
        };
        for namespace in &scopes {
            check_access(&self.settings.client, namespace.as_deref()).await?;
        }
        let report = Report::new(self.settings.client.clone());
        let shutdown = shutdown.shared();
        let mut watches = JoinSet::new();
        let mut running = JoinSet::new();
        let mut all_caches = Vec::new();
        for namespace in &scopes {
            let metrics = Arc::clone(&self.settings.metrics);
            let (caches, queues) = Caches::start(&self.settings.client, namespace.as_deref(), metrics, &mut watches);
            all_caches.push(caches.clone());
            let context = Arc::new(Context {
                client: self.settings.client.clone(),
                registry: Arc::clone(&self.settings.registry),
                caches,
                report: report.clone(),
                metrics: Arc::clone(&self.settings.metrics),
                backoff: Backoff::default(),
            });
            self.spawn(&context, queues, &shutdown, &mut running);
        }
        // The one place that waits for the stores: kube wakes only the last of several waiters.
        let mark = async {
            for caches in all_caches {
                caches.wait_until_ready().await;
            }
            info!("the caches are filled");
            self.ready.send_replace(true);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = mark => Ok(()),
            ended = watches.join_next() => Err(OperatorError::TaskEnded(format!("a watch: {ended:?}"))),
            ended = finish(&mut running, shutdown) => ended,
        }
    }

    fn spawn(
        &self,
        context: &Arc<Context>,
        mut queues: Queues,
        shutdown: &(impl Future<Output = ()> + Clone + Send + 'static),
        running: &mut JoinSet<()>,
    ) {
        let mut take = |kind: ResourceKind| queues.remove(&kind).into_iter().map(StreamExt::boxed).next();
        let config = controller::Config::default().concurrency(self.settings.concurrency);
        if let Some(queue) = take(ResourceKind::PgDatabase) {
            running.spawn(drive::<PgDatabase>(
                Arc::clone(context),
                self.ready(),
                queue,
                config.clone(),
                shutdown.clone(),
            ));
        }
        if let Some(queue) = take(ResourceKind::PgCluster) {
            running.spawn(drive::<PgCluster>(
                Arc::clone(context),
                self.ready(),
                queue,
                config.clone(),
                shutdown.clone(),
            ));
        }
        if let Some(queue) = take(ResourceKind::PgBackup) {
            running.spawn(drive::<PgBackup>(
                Arc::clone(context),
                self.ready(),
                queue,
                config,
                shutdown.clone(),
            ));
        }
    }
}

impl OperatorBuilder {
    /// The strategies it knows.
    #[must_use]
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = Arc::new(registry);
        self
    }

    /// The namespaces it serves; none means all.
    #[must_use]
    pub fn namespaces(mut self, namespaces: Vec<String>) -> Self {
        self.namespaces = namespaces;
        self
    }

    /// How many resources of each kind are reconciled at a time.
    #[must_use]
    pub fn concurrency(mut self, concurrency: u16) -> Self {
        self.concurrency = concurrency.max(1);
        self
    }

    /// Where it counts. Requests are counted where the client has [`Metrics::request_layer`].
    #[must_use]
    pub fn metrics(mut self, metrics: Arc<Metrics>) -> Self {
        self.metrics = metrics;
        self
    }

    /// The operator.
    pub fn build(self) -> Operator {
        Operator {
            settings: self,
            ready: watch::Sender::new(false),
        }
    }
}

/// Reconciles what a queue names, until `shutdown`.
async fn drive<R: Managed>(
    context: Arc<Context>,
    mut ready: watch::Receiver<bool>,
    queue: futures::stream::BoxStream<'static, ObjectRef<DynamicObject>>,
    config: controller::Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    let Some(store) = context.caches.resources.get(&R::KIND).cloned() else {
        return;
    };
    // A reconcile that saw half of the objects would make the other half again.
    if ready.wait_for(|ready| *ready).await.is_err() {
        return;
    }
    let queue = queue.map(Ok::<_, std::convert::Infallible>).take_until(shutdown);
    let metrics = Arc::clone(&context.metrics);
    let backoffs = Arc::clone(&context);
    applier(
        |object, context| reconcile::<R>(object, context).boxed(),
        |object, failure, context: Arc<Context>| on_error::<R>(&object, failure, &context),
        context,
        store,
        queue,
        config,
    )
    .for_each(|result| {
        match result {
            // Deleted since it was queued.
            Err(ControllerError::ObjectNotFound(object)) => {
                let key = (
                    R::KIND,
                    object.namespace.clone().unwrap_or_default(),
                    object.name.clone(),
                );
                metrics.taken(&key);
                backoffs.backoff.forget(&key);
            }
            Err(ControllerError::RunnerError(failure)) => error!(%failure, "the queue broke"),
            // `on_error` told of these.
            Ok(_) | Err(_) => {}
        }
        std::future::ready(())
    })
    .await;
}

/// Waits until every driver has ended: after `shutdown` that is the orderly end, before it is not.
async fn finish(running: &mut JoinSet<()>, shutdown: impl Future<Output = ()>) -> Result<(), OperatorError> {
    tokio::select! {
        () = shutdown => {
            info!("stops when the reconciles that are under way have ended");
            while running.join_next().await.is_some() {}
            Ok(())
        }
        ended = running.join_next() => Err(OperatorError::TaskEnded(format!("a queue: {ended:?}"))),
    }
}

/// Fails at once, with the mend, where a watch would fail again and again.
async fn check_access(client: &Client, namespace: Option<&str>) -> Result<(), OperatorError> {
    for kind in ResourceKind::ALL {
        let resource = api_resource(kind);
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        match call(api.list_metadata(&ListParams::default().limit(1))).await {
            Ok(_) => {}
            Err(error) if error.code() == Some(404) => {
                return Err(OperatorError::NotInstalled { plural: kind.plural() });
            }
            Err(source) if source.code() == Some(403) => {
                return Err(OperatorError::Forbidden {
                    plural: kind.plural(),
                    namespace: namespace.map(str::to_owned),
                    source,
                });
            }
            Err(source) => {
                return Err(OperatorError::Ask {
                    what: "the resources",
                    source,
                });
            }
        }
    }
    Ok(())
}
