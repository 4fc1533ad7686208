//! A server in memory and a node: what the tests need to run pods for real.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)] // each test file uses a part; a test ends where it can not go on

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Event, Pod, ServiceAccount};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::runtime::wait::{Condition, await_condition};
use kube::{Api, Client};
use pgop_sandbox_kubelet::{Kubelet, LogOptions, Session, Streams, Target};
use pgop_sandbox_node::{ApiAccess, Config, Node};
use pgop_sandbox_server::Server;
use serde_json::{Value, from_value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Nothing takes nearly that long, on a busy machine either.
pub const PATIENCE: Duration = Duration::from_secs(180);

pub struct Cluster {
    pub client: Client,
    pub node: Arc<Node>,
    pub stop: CancellationToken,
    pub folder: TempDir,
    pub server: Server,
}

pub fn config(folder: &TempDir) -> Config {
    Config {
        name: "sandbox".into(),
        folder: folder.path().join("node"),
        api: ApiAccess {
            address: SocketAddr::from(([127, 0, 0, 1], 9)),
        },
        images: BTreeMap::new(),
        path: vec![PathBuf::from("/usr/lib/postgresql/15/bin")],
    }
}

impl Cluster {
    pub async fn start() -> Self {
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        let server = Server::open(pgop_sandbox_server::Config::default()).unwrap();
        let (folder, stop) = (tempfile::tempdir().unwrap(), CancellationToken::new());
        let client = server.client();
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
        accounts
            .create(
                &PostParams::default(),
                &from_value(json!({"metadata": {"name": "default"}})).unwrap(),
            )
            .await
            .unwrap();
        let node = Node::start(config(&folder), client.clone(), stop.clone())
            .await
            .unwrap();
        Self {
            client,
            node,
            stop,
            folder,
            server,
        }
    }

    /// Stops the node and starts another one in its folder.
    pub async fn restart(&mut self) {
        self.stop.cancel();
        timeout(PATIENCE, self.node.stopped()).await.unwrap();
        self.stop = CancellationToken::new();
        self.node = Node::start(config(&self.folder), self.client.clone(), self.stop.clone())
            .await
            .unwrap();
    }

    pub async fn end(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.node.stopped()).await.unwrap();
    }

    pub fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), "default")
    }

    /// A pod on the node.
    pub async fn pod(&self, name: &str, spec: Value) -> Pod {
        self.labelled(name, json!({}), spec).await
    }

    pub async fn labelled(&self, name: &str, labels: Value, mut spec: Value) -> Pod {
        spec["nodeName"] = json!("sandbox");
        spec["automountServiceAccountToken"] = json!(false);
        if spec["terminationGracePeriodSeconds"].is_null() {
            spec["terminationGracePeriodSeconds"] = json!(1); // the first process of a container only hears the signals it listens to
        }
        let pod = from_value(json!({"metadata": {"name": name, "labels": labels}, "spec": spec})).unwrap();
        self.pods().create(&PostParams::default(), &pod).await.unwrap()
    }

    /// A pod with one container that runs this script.
    pub async fn script(&self, name: &str, script: &str) -> Pod {
        self.pod(name, json!({"restartPolicy": "Never", "containers": [{"name": "main", "image": "x", "command": ["sh", "-c", script]}]})).await
    }

    pub async fn create<K>(&self, object: Value) -> K
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + serde::Serialize
            + serde::de::DeserializeOwned
            + std::fmt::Debug,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), "default");
        api.create(&PostParams::default(), &from_value(object).unwrap())
            .await
            .unwrap()
    }

    pub async fn wait(&self, name: &str, what: &str, condition: impl Condition<Pod>) -> Pod {
        if let Ok(pod) = timeout(PATIENCE, await_condition(self.pods(), name, condition)).await {
            return pod.unwrap().unwrap();
        }
        let (pod, events) = (self.pods().get(name).await.unwrap(), self.events(name).await);
        panic!("{name} is not {what}: {:#}\n{events:?}", json!(pod.status));
    }

    pub async fn phase(&self, name: &str, phase: &'static str) -> Pod {
        self.wait(name, phase, move |pod: Option<&Pod>| self::phase(pod) == Some(phase))
            .await
    }

    pub async fn ready(&self, name: &str) -> Pod {
        self.wait(name, "ready", |pod: Option<&Pod>| pod.is_some_and(is_ready))
            .await
    }

    pub async fn delete(&self, name: &str, grace: u32) {
        let params = DeleteParams {
            grace_period_seconds: Some(grace),
            ..DeleteParams::default()
        };
        self.pods().delete(name, &params).await.unwrap();
    }

    pub async fn gone(&self, name: &str) {
        let gone = await_condition(self.pods(), name, |pod: Option<&Pod>| pod.is_none());
        timeout(PATIENCE, gone).await.expect("the pod goes").unwrap();
    }

    /// Reasons and messages of the events about a pod.
    pub async fn events(&self, name: &str) -> Vec<(String, String)> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), "default");
        let all = events.list(&ListParams::default()).await.unwrap().items;
        let about = all
            .into_iter()
            .filter(|e| e.involved_object.name.as_deref() == Some(name));
        about
            .map(|e| (e.reason.unwrap_or_default(), e.message.unwrap_or_default()))
            .collect()
    }

    /// Waits for an event; it comes after the status.
    pub async fn event(&self, name: &str, reason: &str) -> String {
        let found = async {
            loop {
                if let Some((_, message)) = self.events(name).await.into_iter().find(|(r, _)| r == reason) {
                    return message;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, found)
            .await
            .unwrap_or_else(|_| panic!("no event {reason}"))
    }

    pub async fn target(&self, pod: &str, container: &str) -> Target {
        let uid = self.pods().get(pod).await.unwrap().metadata.uid.unwrap();
        Target {
            namespace: "default".into(),
            pod: pod.into(),
            uid,
            container: container.into(),
        }
    }

    pub async fn logs(&self, pod: &str, options: LogOptions) -> String {
        let mut stream = self.node.logs(&self.target(pod, "main").await, options).await.unwrap();
        let mut text = String::new();
        while let Some(piece) = timeout(PATIENCE, stream.next()).await.expect("the log ends") {
            text += std::str::from_utf8(&piece.unwrap()).unwrap();
        }
        text
    }

    /// Runs a command again and again until it says that. A container is ready when its program has begun, not when it has done something.
    pub async fn exec_until(&self, pod: &str, command: &[&str], wanted: &str) {
        let begin = std::time::Instant::now();
        loop {
            let said = self.exec(pod, command).await;
            if said.1 == wanted {
                return;
            }
            assert!(
                begin.elapsed() < PATIENCE,
                "{command:?} in {pod} does not say {wanted:?}: {said:?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn exec(&self, pod: &str, command: &[&str]) -> (i32, String, String) {
        self.exec_with(pod, command, "").await
    }

    /// Exit code, output, errors.
    pub async fn exec_with(&self, pod: &str, command: &[&str], input: &str) -> (i32, String, String) {
        let streams = Streams {
            stdin: true,
            stdout: true,
            stderr: true,
            tty: false,
        };
        let words = command.iter().map(ToString::to_string).collect();
        let session = self
            .node
            .exec(&self.target(pod, "main").await, words, streams)
            .await
            .unwrap();
        let Session {
            stdin,
            stdout,
            stderr,
            exit,
            ..
        } = session;
        let mut stdin = stdin.unwrap();
        stdin.write_all(input.as_bytes()).await.unwrap();
        stdin.shutdown().await.unwrap();
        drop(stdin);
        let (mut out, mut err) = (String::new(), String::new());
        let (mut stdout, mut stderr) = (stdout.unwrap(), stderr.unwrap());
        let (a, b) = tokio::join!(stdout.read_to_string(&mut out), stderr.read_to_string(&mut err));
        a.unwrap();
        b.unwrap();
        (timeout(PATIENCE, exit).await.unwrap().unwrap(), out, err)
    }
}

pub fn phase(pod: Option<&Pod>) -> Option<&str> {
    pod?.status.as_ref()?.phase.as_deref()
}

pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
    conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

/// Where something is in the status.
pub fn at(pod: &Pod, pointer: &str) -> Value {
    json!(pod.status).pointer(pointer).cloned().unwrap_or(Value::Null)
}
