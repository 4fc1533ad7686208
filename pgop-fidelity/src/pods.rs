//! Into running pods: states, logs, exec, port-forward.

use crate::Space;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{AttachParams, Portforwarder},
};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// What a program that ran in a pod left.
#[derive(Debug)]
pub struct Finished {
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
    /// The Status that ended it.
    pub status: Value,
}

impl Finished {
    /// Its exit code, as the Status tells it.
    pub fn code(&self) -> i32 {
        if self.status["status"] == "Success" {
            return 0;
        }
        let causes = self.status["details"]["causes"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let code = causes
            .iter()
            .find(|c| c["reason"] == "ExitCode")
            .and_then(|c| c["message"].as_str());
        code.and_then(|c| c.parse().ok())
            .unwrap_or_else(|| panic!("no exit code: {self:?}"))
    }
}

impl Space {
    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client(), self.name())
    }

    /// Creates a pod; the namespace's account is waited for.
    pub async fn create_pod(&self, pod: &Value) -> Value {
        self.account().await;
        self.post("pods", pod).await.is(201)
    }

    /// Creates a pod and waits until it is ready.
    pub async fn start(&self, pod: &Value) -> Value {
        let created = self.create_pod(pod).await;
        self.ready(created["metadata"]["name"].as_str().unwrap_or_default())
            .await
    }

    /// Waits until the pod is ready.
    pub async fn ready(&self, pod: &str) -> Value {
        self.until("the pod is ready", &format!("pods/{pod}"), is_ready).await
    }

    /// Creates a pod and waits until it has ended, well or not.
    pub async fn finish(&self, pod: &Value) -> Value {
        let created = self.create_pod(pod).await;
        let path = format!("pods/{}", created["metadata"]["name"].as_str().unwrap_or_default());
        self.until("the pod has ended", &path, |p| {
            p["status"]["phase"] == "Succeeded" || p["status"]["phase"] == "Failed"
        })
        .await
    }

    /// Creates a pod, waits until it has ended, and takes its log.
    pub async fn output(&self, pod: &Value) -> String {
        let ended = self.finish(pod).await;
        let name = ended["metadata"]["name"].as_str().unwrap_or_default();
        self.logs(name, "").await
    }

    /// The log of a pod, with parameters of the log subresource.
    pub async fn logs(&self, pod: &str, parameters: &str) -> String {
        let reply = self.get(&format!("pods/{pod}/log?{parameters}")).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.text
    }

    /// Runs a program in the container `main` of a pod. Only from 1.30 on can a websocket tell the end of the input: before,
    /// the input stays open until the program has ended.
    pub async fn exec(&self, pod: &str, command: &[&str], input: Option<&str>) -> Finished {
        let params = AttachParams::default()
            .container("main")
            .stdin(input.is_some())
            .stdout(true)
            .stderr(true);
        let mut run = self
            .pods()
            .exec(pod, command.to_vec(), &params)
            .await
            .unwrap_or_else(|e| panic!("exec {command:?}: {e}"));
        let ended = run.take_status().expect("a status");
        let (mut out, mut err) = (String::new(), String::new());
        let (mut stdout, mut stderr) = (run.stdout().expect("stdout"), run.stderr().expect("stderr"));
        let feed = async {
            if let (Some(mut stdin), Some(input)) = (run.stdin(), input) {
                stdin.write_all(input.as_bytes()).await.expect("writing to the program");
                stdin.flush().await.expect("writing to the program");
                if self.minor() >= 30 {
                    stdin.shutdown().await.expect("ending its input");
                }
                return Some(stdin);
            }
            None
        };
        let (_input, o, e) = tokio::join!(feed, stdout.read_to_string(&mut out), stderr.read_to_string(&mut err));
        o.expect("its output is text");
        e.expect("its errors are text");
        let status = serde_json::to_value(ended.await).expect("a status as JSON");
        Finished { out, err, status }
    }

    /// Opens a port of a pod.
    pub async fn forward(&self, pod: &str, port: u16) -> Portforwarder {
        self.pods()
            .portforward(pod, &[port])
            .await
            .unwrap_or_else(|e| panic!("port-forward to {pod}: {e}"))
    }
}

/// Whether the pod's condition `Ready` is true.
pub(crate) fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
}
