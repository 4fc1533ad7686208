//! The operator: what an embedding program builds and runs.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::Client;
use kube::api::{Api, DynamicObject, ListParams};
use thiserror::Error;
use tokio::sync::watch;
use tracing::info;

use super::backoff::Backoff;
use super::cache::{Caches, api_resource};
use super::cluster::{CallError, call};
use super::metrics::Metrics;
use super::queue::Queue;
use super::reconcile::Context;
use super::report::Report;
use super::tasks::Tasks;
use super::worker::work;
use crate::owner::ResourceKind;
use crate::registry::Registry;

/// Reconciles at a time, of all kinds together.
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
        let Self { settings, ready } = self;
        let scopes = scopes(&settings.namespaces);
        for namespace in &scopes {
            check_access(&settings.client, namespace.as_deref()).await?;
        }
        let backoff = Backoff::default();
        let queue = Queue::new(backoff.clone(), Arc::clone(&settings.metrics));
        let mut watches = Tasks::default();
        let caches = Caches::start(&settings.client, &scopes, &queue, &mut watches);
        let context = Arc::new(Context {
            report: Report::new(settings.client.clone()),
            client: settings.client,
            registry: settings.registry,
            caches: caches.clone(),
            metrics: settings.metrics,
            backoff,
        });
        futures::pin_mut!(shutdown);
        tokio::select! {
            () = caches.wait_until_ready() => {}
            Some(ended) = watches.ended() => return Err(OperatorError::TaskEnded(ended.to_string())),
            () = &mut shutdown => return Ok(()),
        }
        // Only now: a reconcile that saw half of the objects would make the other half again.
        info!("the caches are filled");
        ready.send_replace(true);
        let mut workers = Tasks::default();
        for number in 1..=settings.concurrency {
            workers.spawn(format!("worker {number}"), work(queue.clone(), Arc::clone(&context)));
        }
        tokio::select! {
            Some(ended) = watches.ended() => Err(OperatorError::TaskEnded(ended.to_string())),
            Some(ended) = workers.ended() => Err(OperatorError::TaskEnded(ended.to_string())),
            () = shutdown => {
                info!("stops when the reconciles that are under way have ended");
                queue.close();
                while workers.ended().await.is_some() {}
                Ok(())
            }
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

    /// How many resources are reconciled at a time.
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

/// The namespaces that are watched, each once; `None` is all of them.
fn scopes(namespaces: &[String]) -> Vec<Option<String>> {
    let unique: BTreeSet<&String> = namespaces.iter().collect();
    if unique.is_empty() {
        return vec![None];
    }
    unique.into_iter().cloned().map(Some).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_that_is_named_twice_is_watched_once() {
        let names = ["b", "a", "b"].map(str::to_owned);
        assert_eq!(scopes(&names), [Some("a".to_owned()), Some("b".to_owned())]);
        assert_eq!(scopes(&[]), [None]);
    }
}
