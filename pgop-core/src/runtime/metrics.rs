//! Metrics of the engine, in the Prometheus text format.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use http::{Method, Request};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tower::{Layer, Service};

use super::backoff::Key;
use crate::owner::ResourceKind;

/// The engine's metrics. One value serves a whole process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    reconciles: Family<ReconcileLabels, Counter>,
    errors: Family<ErrorLabels, Counter>,
    seconds: Family<KindLabels, Histogram, fn() -> Histogram>,
    depth: Family<KindLabels, Gauge>,
    time_to_ready: Family<KindLabels, Histogram, fn() -> Histogram>,
    waiting: Mutex<HashSet<Key>>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    verb: &'static str,
    resource: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReconcileLabels {
    kind: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ErrorLabels {
    kind: &'static str,
    reason: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let short: fn() -> Histogram = || Histogram::new(exponential_buckets(0.001, 2.0, 14));
        let long: fn() -> Histogram = || Histogram::new(exponential_buckets(1.0, 1.6, 14));
        let mut metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            reconciles: Family::default(),
            errors: Family::default(),
            seconds: Family::new_with_constructor(short),
            depth: Family::default(),
            time_to_ready: Family::new_with_constructor(long),
            waiting: Mutex::default(),
        };
        let registry = &mut metrics.registry;
        registry.register(
            "pgop_api_requests",
            "Requests to the Kubernetes API",
            metrics.requests.clone(),
        );
        registry.register(
            "pgop_reconciles",
            "Reconciles by kind and result",
            metrics.reconciles.clone(),
        );
        registry.register(
            "pgop_reconcile_errors",
            "Failed reconciles by kind and reason",
            metrics.errors.clone(),
        );
        registry.register(
            "pgop_reconcile_seconds",
            "Duration of a reconcile",
            metrics.seconds.clone(),
        );
        registry.register(
            "pgop_queue_depth",
            "Resources that wait for a reconcile",
            metrics.depth.clone(),
        );
        registry.register(
            "pgop_time_to_ready_seconds",
            "Time from the creation of a resource until it was ready",
            metrics.time_to_ready.clone(),
        );
        for kind in ResourceKind::ALL {
            metrics.depth.get_or_create(&KindLabels { kind: kind.as_str() }).set(0);
        }
        metrics
    }
}

impl Metrics {
    /// All metrics as text.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String can't fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// A layer that counts the requests of a client, for `kube::client::ClientBuilder::with_layer`.
    pub fn request_layer(self: &Arc<Self>) -> CountRequests {
        CountRequests(Arc::clone(self))
    }

    pub(crate) fn queued(&self, key: Key) {
        let kind = key.0;
        if self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(key) {
            self.depth.get_or_create(&KindLabels { kind: kind.as_str() }).inc();
        }
    }

    pub(crate) fn taken(&self, key: &Key) {
        if self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(key) {
            self.depth.get_or_create(&KindLabels { kind: key.0.as_str() }).dec();
        }
    }

    pub(crate) fn reconciled(&self, kind: ResourceKind, result: &'static str, seconds: f64) {
        let kind = kind.as_str();
        self.reconciles.get_or_create(&ReconcileLabels { kind, result }).inc();
        self.seconds.get_or_create(&KindLabels { kind }).observe(seconds);
    }

    pub(crate) fn failed(&self, kind: ResourceKind, reason: &'static str) {
        self.errors
            .get_or_create(&ErrorLabels {
                kind: kind.as_str(),
                reason,
            })
            .inc();
    }

    pub(crate) fn became_ready(&self, kind: ResourceKind, seconds: f64) {
        self.time_to_ready
            .get_or_create(&KindLabels { kind: kind.as_str() })
            .observe(seconds);
    }
}

/// Counts requests by verb and resource.
#[derive(Clone, Debug)]
pub struct CountRequests(Arc<Metrics>);

impl<S> Layer<S> for CountRequests {
    type Service = Counting<S>;

    fn layer(&self, inner: S) -> Counting<S> {
        Counting {
            inner,
            metrics: Arc::clone(&self.0),
        }
    }
}

/// The service that [`CountRequests`] makes.
#[derive(Clone, Debug)]
pub struct Counting<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Counting<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        let (verb, resource) = describe(request.method(), request.uri());
        self.metrics
            .requests
            .get_or_create(&RequestLabels { verb, resource })
            .inc();
        self.inner.call(request)
    }
}

/// Verb and resource of a request, as RBAC names them.
fn describe(method: &Method, uri: &http::Uri) -> (&'static str, String) {
    let parts: Vec<&str> = uri.path().split('/').filter(|part| !part.is_empty()).collect();
    let after_version = match parts.first() {
        Some(&"api") => parts.get(2..),
        Some(&"apis") => parts.get(3..),
        _ => None,
    };
    let rest = match after_version.unwrap_or_default() {
        ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
        rest => rest,
    };
    let resource = match rest {
        [] => "discovery".to_owned(),
        [resource] | [resource, _] => (*resource).to_owned(),
        [resource, _, sub, ..] => format!("{resource}/{sub}"),
    };
    let query = uri.query().unwrap_or_default();
    let verb = match *method {
        Method::GET if query.split('&').any(|pair| pair == "watch=true" || pair == "watch=1") => "watch",
        Method::GET if rest.len() == 1 => "list",
        Method::GET => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "other",
    };
    (verb, resource)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_named_as_rbac_names_them() {
        let named = |method: Method, uri: &str| {
            let (verb, resource) = describe(&method, &uri.parse().unwrap());
            format!("{verb} {resource}")
        };
        assert_eq!(
            named(Method::GET, "/api/v1/pods?labelSelector=x&watch=true"),
            "watch pods"
        );
        assert_eq!(named(Method::GET, "/api/v1/namespaces/default/pods"), "list pods");
        assert_eq!(named(Method::GET, "/api/v1/namespaces/default"), "get namespaces");
        assert_eq!(
            named(Method::PATCH, "/apis/apps/v1/namespaces/a/statefulsets/x?force=true"),
            "patch statefulsets"
        );
        assert_eq!(
            named(Method::PUT, "/apis/pgop.dev/v1alpha1/namespaces/a/pgclusters/x/status"),
            "update pgclusters/status"
        );
        assert_eq!(named(Method::GET, "/version"), "get discovery");
    }

    #[test]
    fn the_depth_counts_each_resource_once() {
        let metrics = Metrics::default();
        let key = (ResourceKind::PgCluster, "ns".to_owned(), "hippo".to_owned());
        metrics.queued(key.clone());
        metrics.queued(key.clone());
        assert!(metrics.encode().contains("pgop_queue_depth{kind=\"PgCluster\"} 1"));
        metrics.taken(&key);
        metrics.taken(&key);
        assert!(metrics.encode().contains("pgop_queue_depth{kind=\"PgCluster\"} 0"));
    }
}
