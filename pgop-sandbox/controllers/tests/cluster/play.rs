//! A server, the controllers, a node, and a kubelet that only writes statuses.
#![allow(clippy::disallowed_methods)] // a test sees a panic of its own tasks

use std::{fmt::Debug, future::Future, time::Duration};

use futures::{StreamExt, pin_mut};
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{Namespace, Node, Pod, ServiceAccount},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use pgop_sandbox_controllers::{CancellationToken, Controllers};
use pgop_sandbox_server::{Config, Server};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

pub const NAMESPACE: &str = "shop";
/// Nothing takes nearly that long, on a busy machine either.
const PATIENCE: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(10);

/// A cluster of one test. It ends with it.
pub struct Cluster {
    pub client: Client,
    pub volumes: TempDir,
    stop: CancellationToken,
    controllers: JoinHandle<()>,
}

impl Cluster {
    pub async fn start() -> Self {
        // RUST_LOG=pgop_sandbox_controllers=debug shows what the controllers do.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_test_writer()
            .try_init();
        let client = Server::open(Config::default()).unwrap().client();
        let volumes = tempfile::tempdir().unwrap();
        let stop = CancellationToken::new();
        let node = json!({
            "metadata": { "name": "sandbox", "labels": { "kubernetes.io/hostname": "sandbox" } },
            "status": { "allocatable": { "cpu": "4", "memory": "8Gi", "pods": "110" }, "capacity": { "cpu": "4", "memory": "8Gi", "pods": "110" } },
        });
        let nodes: Api<Node> = Api::all(client.clone());
        let node: Node = serde_json::from_value(node).unwrap();
        nodes.create(&PostParams::default(), &node).await.unwrap();
        nodes
            .patch_status(
                "sandbox",
                &PatchParams::default(),
                &Patch::Merge(json!({ "status": node.status })),
            )
            .await
            .unwrap();
        let namespace = serde_json::from_value(json!({ "metadata": { "name": NAMESPACE } })).unwrap();
        Api::<Namespace>::all(client.clone())
            .create(&PostParams::default(), &namespace)
            .await
            .unwrap();
        let controllers = Controllers {
            volumes: volumes.path().to_owned(),
            node: "sandbox".into(),
            ca_pem: "PEM".into(),
        };
        let controllers = tokio::spawn(controllers.run(client.clone(), stop.clone()));
        tokio::spawn(stop.clone().run_until_cancelled_owned(kubelet(client.clone())));
        let cluster = Self {
            client,
            volumes,
            stop,
            controllers,
        };
        // Pods are refused before their service account is there.
        cluster.until::<ServiceAccount>("default", "made", |_| true).await;
        cluster
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    pub async fn create<K>(&self, object: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Serialize + DeserializeOwned,
    {
        let object = serde_json::from_value(object).unwrap();
        self.api::<K>().create(&PostParams::default(), &object).await.unwrap()
    }

    pub async fn merge<K>(&self, name: &str, patch: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        self.api::<K>()
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap()
    }

    pub async fn delete<K>(&self, name: &str, params: DeleteParams)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        self.api::<K>().delete(name, &params).await.unwrap();
    }

    /// Waits until the object is as wanted.
    pub async fn until<K>(&self, name: &str, what: &str, wanted: impl Fn(&K) -> bool) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let api = self.api::<K>();
        eventually(&format!("{name}: {what}"), || async {
            api.get_opt(name).await.unwrap().filter(&wanted)
        })
        .await
    }

    /// Waits until no object of that name is left.
    pub async fn until_gone<K>(&self, name: &str)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let api = self.api::<K>();
        eventually(&format!("{name} is gone"), || async {
            api.get_opt(name).await.unwrap().is_none().then_some(())
        })
        .await;
    }

    /// Names of the pods there are, in order.
    pub async fn pods(&self) -> Vec<String> {
        let mut names: Vec<_> = self
            .api::<Pod>()
            .list(&ListParams::default())
            .await
            .unwrap()
            .iter()
            .map(ResourceExt::name_any)
            .collect();
        names.sort();
        names
    }

    /// Ends the controllers, as the sandbox does, and waits for them.
    pub async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.controllers)
            .await
            .expect("the controllers end")
            .unwrap();
    }
}

/// Asks again and again until there is an answer.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, ask: impl Fn() -> F) -> T {
    let asked = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked)
        .await
        .unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

/// Pods run as soon as they have a node, ready unless annotated otherwise; those annotated with `end` end so. Pods told to go are gone.
async fn kubelet(client: Client) {
    let events = watcher(Api::<Pod>::all(client.clone()), watcher::Config::default())
        .default_backoff()
        .applied_objects();
    pin_mut!(events);
    while let Some(Ok(pod)) = events.next().await {
        let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap());
        let name = pod.name_any();
        if pod.metadata.deletion_timestamp.is_some() {
            // The server answers 404 or 409 when it is gone already; that is as good.
            let _ = api.delete(&name, &DeleteParams::default().grace_period(0)).await;
        } else if pod.spec.as_ref().unwrap().node_name.is_some() {
            let status = status(&pod);
            let phase = pod.status.as_ref().and_then(|status| status.phase.clone());
            let ready = pod
                .status
                .as_ref()
                .and_then(|status| status.conditions.clone())
                .unwrap_or_default();
            let same = phase.as_deref() == status["phase"].as_str()
                && ready.iter().any(|condition| {
                    condition.type_ == "Ready" && condition.status == status["conditions"][0]["status"]
                });
            if !same {
                let _ = api
                    .patch_status(
                        &name,
                        &PatchParams::default(),
                        &Patch::Merge(json!({ "status": status })),
                    )
                    .await;
            }
        }
    }
}

fn status(pod: &Pod) -> Value {
    let end = pod.annotations().get("end");
    let unready = end.is_some() || pod.annotations().contains_key("unready");
    let number = pod.uid().unwrap().bytes().map(u32::from).sum::<u32>() % 250 + 2;
    let address = format!("10.244.0.{number}");
    json!({
        "phase": end.map_or("Running", String::as_str),
        "podIP": address, "podIPs": [{ "ip": address }],
        "conditions": [{
            "type": "Ready", "status": if unready { "False" } else { "True" },
            "lastTransitionTime": pgop_sandbox_tasks::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        }],
    })
}

/// A pod template with these annotations.
pub fn template(app: &str, annotations: Value) -> Value {
    json!({
        "metadata": { "labels": { "app": app }, "annotations": annotations },
        "spec": { "containers": [{ "name": "main", "image": "main:1" }] },
    })
}
