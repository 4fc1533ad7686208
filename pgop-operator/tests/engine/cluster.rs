//! A cluster without machines: API server, controllers, and a kubelet that only says that pods run.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::client::Body;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, ResourceExt};
use parking_lot::Mutex;
use pgop_core::Registry;
use pgop_core::runtime::metrics::Metrics;
use pgop_core::runtime::{Operator, crds};
use pgop_sandbox_controllers::Controllers;
use pgop_sandbox_server::{Body as Answer, Config, Identity, Server, Service};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::{ServiceExt as _, service_fn};

const NODE: &str = "node-of-the-test";
/// Many times what a reconcile takes here.
const WHILE: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(60);

/// One that ends with this value.
pub(crate) struct Cluster {
    server: Server,
    pub(crate) client: Client,
    stop: DropGuard,
    _volumes: tempfile::TempDir,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let server = Server::open(Config::default()).unwrap();
        let client = server.client();
        let stop = CancellationToken::new();
        let volumes = tempfile::tempdir().unwrap();
        let controllers = Controllers {
            volumes: volumes.path().to_owned(),
            node: NODE.to_owned(),
            ca_pem: String::new(),
        };
        tokio::spawn(controllers.run(client.clone(), stop.clone()));
        let nodes: Api<Node> = Api::all(client.clone());
        let room = json!({"cpu": "100", "memory": "100Gi", "pods": "1000", "ephemeral-storage": "100Gi"});
        let ready = json!([{"type": "Ready", "status": "True"}]);
        let node = json!({"metadata": {"name": NODE, "labels": {"kubernetes.io/hostname": NODE}}});
        nodes
            .create(&PostParams::default(), &serde_json::from_value(node).unwrap())
            .await
            .unwrap();
        let status = Patch::Merge(json!({"status": {"capacity": room, "allocatable": room, "conditions": ready}}));
        nodes
            .patch_status(NODE, &PatchParams::default(), &status)
            .await
            .unwrap();
        tokio::spawn(kubelet(client.clone()));
        crds::ensure(client.clone()).await.unwrap();
        Self {
            server,
            client,
            stop: stop.drop_guard(),
            _volumes: volumes,
        }
    }

    /// From now on only the operator does something.
    pub(crate) fn stop_controllers(&mut self) {
        self.stop = CancellationToken::new().drop_guard();
    }

    /// An operator at work. It sends at most `last` requests that write: then the process "dies", before or after the server has the last one.
    pub(crate) fn operator(&self, last: usize, death: Death) -> Running {
        let (writes, dead) = (Arc::new(Mutex::new(Vec::new())), watch::Sender::new(false));
        let service = self.server.service(Some(Identity::admin()));
        let (counted, died) = (writes.clone(), dead.clone());
        let transport = service_fn(move |request: Request<Body>| {
            let (service, counted, died) = (service.clone(), counted.clone(), died.clone());
            async move {
                let is_write = writes_object(&request);
                let number = {
                    let mut writes = counted.lock();
                    if is_write {
                        writes.push(format!("{} {}", request.method(), request.uri().path()));
                    }
                    writes.len()
                };
                let is_last = is_write && number == last;
                if number <= last && !(is_last && death == Death::BeforeTheServerHasIt) {
                    let answer = service.oneshot(request).await;
                    if !is_last {
                        return answer;
                    }
                }
                died.send_replace(true);
                std::future::pending().await
            }
        });
        let client = Client::new(transport, "default");
        let mut running = Running::start(client, pgop_strategies::builtin().unwrap());
        (running.writes, running.dead) = (writes, dead.subscribe());
        running
    }

    /// An operator at work whose requests and their answers pass through `between`.
    pub(crate) fn operator_behind<F>(
        &self,
        between: impl Fn(Request<Body>, Service) -> F + Clone + Send + 'static,
    ) -> Running
    where
        F: Future<Output = Response<Answer>> + Send + 'static,
    {
        let service = self.server.service(Some(Identity::admin()));
        let transport = service_fn(move |request| {
            let answer = between(request, service.clone());
            async move { Ok::<_, Infallible>(answer.await) }
        });
        Running::start(Client::new(transport, "default"), pgop_strategies::builtin().unwrap())
    }

    /// A client of somebody with the rights that the cluster's roles give.
    pub(crate) fn client_of(&self, identity: Identity) -> Client {
        let service = self.server.service(Some(identity));
        Client::new(
            service_fn(move |request: Request<Body>| service.clone().oneshot(request)),
            "default",
        )
    }

    pub(crate) async fn create(&self, object: Value) {
        let of = kind(object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
        let api: Api<DynamicObject> = Api::default_namespaced_with(self.client.clone(), &of);
        let object = serde_json::from_value(object).unwrap();
        api.create(&PostParams::default(), &object).await.unwrap();
    }

    /// Waits until every database and cluster is ready.
    pub(crate) async fn all_ready(&self) {
        until(async || {
            for kind in ["PgDatabase", "PgCluster"] {
                let resources = self.list("pgop.dev/v1alpha1", kind, &ListParams::default()).await;
                if resources.iter().any(|it| it.data["status"]["phase"] != "Ready") {
                    return false;
                }
            }
            true
        })
        .await;
    }

    pub(crate) async fn list(&self, api_version: &str, of: &str, which: &ListParams) -> Vec<DynamicObject> {
        let api: Api<DynamicObject> = Api::default_namespaced_with(self.client.clone(), &kind(api_version, of));
        api.list(which).await.unwrap().items
    }

    /// `kind/name` of everything that the operator made.
    pub(crate) async fn made(&self) -> BTreeSet<String> {
        let kinds = [
            ("apps/v1", "StatefulSet"),
            ("v1", "ConfigMap"),
            ("v1", "Secret"),
            ("v1", "Service"),
            ("v1", "PersistentVolumeClaim"),
            ("v1", "ServiceAccount"),
            ("rbac.authorization.k8s.io/v1", "Role"),
            ("rbac.authorization.k8s.io/v1", "RoleBinding"),
        ];
        let mut made = BTreeSet::new();
        for (version, name) in kinds {
            let ours = ListParams::default().labels("app.kubernetes.io/managed-by=pgop");
            let objects = self.list(version, name, &ours).await;
            made.extend(objects.iter().map(|object| format!("{name}/{}", object.name_any())));
        }
        made
    }
}

/// When an operator dies, seen from its last request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Death {
    BeforeTheServerHasIt,
    BeforeTheAnswerIsSeen,
}

/// An operator at work; it ends without a word when this is dropped.
pub(crate) struct Running {
    task: JoinHandle<()>,
    metrics: Arc<Metrics>,
    writes: Arc<Mutex<Vec<String>>>,
    dead: watch::Receiver<bool>,
}

impl Running {
    pub(crate) fn start(client: Client, registry: Registry) -> Self {
        let metrics = Arc::<Metrics>::default();
        let operator = Operator::builder(client)
            .metrics(metrics.clone())
            .registry(registry)
            .build();
        let task = tokio::spawn(async move {
            operator.run(std::future::pending()).await.unwrap();
        });
        Self {
            task,
            metrics,
            writes: Arc::default(),
            dead: watch::Sender::new(false).subscribe(),
        }
    }

    /// Whether nothing has ended it.
    pub(crate) fn is_at_work(&self) -> bool {
        !self.task.is_finished()
    }

    /// Method and path of each request that wrote.
    pub(crate) fn writes(&self) -> Vec<String> {
        self.writes.lock().clone()
    }

    /// Completes when it has looked at that many resources and then written nothing for a while.
    pub(crate) async fn is_quiet(&self, resources: usize) {
        until(async || self.reconciles() >= resources).await;
        let mut before = usize::MAX;
        while before != self.writes().len() {
            before = self.writes().len();
            tokio::time::sleep(WHILE).await;
        }
    }

    pub(crate) fn reconciles(&self) -> usize {
        self.count("pgop_reconciles_total{", "")
    }

    /// Reconciles that panicked.
    pub(crate) fn panics(&self) -> usize {
        self.count("pgop_reconcile_errors_total{", "reason=\"Panicked\"")
    }

    fn count(&self, name: &str, label: &str) -> usize {
        let text = self.metrics.encode();
        let counts = text
            .lines()
            .filter(|line| line.starts_with(name) && line.contains(label));
        counts
            .map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap())
            .sum()
    }

    /// Whether it has sent its last request.
    pub(crate) fn is_dead(&self) -> bool {
        *self.dead.borrow()
    }

    /// Completes when it has sent its last request.
    pub(crate) async fn died(&mut self) {
        self.dead.wait_for(|dead| *dead).await.unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The server's answer.
pub(crate) async fn pass(request: Request<Body>, service: Service) -> Response<Answer> {
    service.oneshot(request).await.unwrap()
}

/// Whether a request creates or changes that object; with the request, whose body was read.
pub(crate) async fn sends(request: Request<Body>, plural: &str, name: &str) -> (bool, Request<Body>) {
    let (parts, body) = request.into_parts();
    let body = body.collect_bytes().await.unwrap();
    let path = parts.uri.path();
    let named = |object: Value| object["metadata"]["name"] == name;
    let is_it = match parts.method {
        Method::POST => path.ends_with(&format!("/{plural}")) && serde_json::from_slice(&body).is_ok_and(named),
        Method::PATCH => path.ends_with(&format!("/{plural}/{name}")),
        _ => false,
    };
    (is_it, Request::from_parts(parts, body.to_vec().into()))
}

/// An answer that the server did not give.
pub(crate) fn answer(code: u16, body: &Value) -> Response<Answer> {
    let body = Full::new(format!("{body}\n").into()).map_err(|never: Infallible| match never {});
    Response::builder().status(code).body(body.boxed_unsync()).unwrap()
}

/// Events only tell; losing one is no harm.
fn writes_object(request: &Request<Body>) -> bool {
    request.method() != Method::GET && !request.uri().path().contains("/events")
}

pub(crate) fn kind(api_version: &str, kind: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk(&kube::core::GroupVersionKind::gvk(group, version, kind))
}

/// Probes until it is so.
pub(crate) async fn until(mut probe: impl AsyncFnMut() -> bool) {
    let poll = async {
        while !probe().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, poll)
        .await
        .unwrap_or_else(|_| panic!("waited {} s in vain", PATIENCE.as_secs()));
}

/// Says of every pod that it runs and is ready, and lets go those that are deleted.
async fn kubelet(client: Client) {
    let pods: Api<Pod> = Api::all(client.clone());
    let mut changes = watcher(pods, watcher::Config::default())
        .default_backoff()
        .applied_objects()
        .boxed();
    while let Ok(Some(pod)) = changes.try_next().await {
        let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap());
        if pod.metadata.deletion_timestamp.is_some() {
            let _ = api
                .delete(&pod.name_any(), &DeleteParams::default().grace_period(0))
                .await;
            continue;
        }
        let placed = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if placed && !matches!(phase, Some("Running" | "Succeeded" | "Failed")) {
            let yes = |kind: &str| json!({"type": kind, "status": "True"});
            let conditions = [
                yes("PodScheduled"),
                yes("Initialized"),
                yes("ContainersReady"),
                yes("Ready"),
            ];
            let status = json!({"status": {"phase": "Running", "podIP": "10.244.0.7", "conditions": conditions}});
            let _ = api
                .patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(status))
                .await;
        }
    }
}
