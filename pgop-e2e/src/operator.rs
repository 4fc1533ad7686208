//! The operator: a pod under the rights that `pgo install` makes.

use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::metrics::Samples;
use crate::settings::settings;
use crate::{api, pgo, until};

/// Where it is installed.
pub const NAMESPACE: &str = pgop_core::install::NAMESPACE;
const SELECTOR: &str = "app.kubernetes.io/name=pgop,app.kubernetes.io/component=operator";

/// Verbs that change something.
pub const WRITES: [&str; 4] = ["create", "update", "patch", "delete"];

/// Installs it, once a run. What an earlier run left is replaced: its image may have had the same name, and other settings.
pub fn ensure() {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        api::delete(
            NAMESPACE,
            &api::kind("apps/v1", "Deployment"),
            pgop_core::install::NAME,
            false,
        );
        until(60, "the operator of an earlier run to go", || match pods() {
            none if none.is_empty() => Ok(()),
            left => Err(format!("{left:?}")),
        });
        pgo::pgo(&[
            "install",
            "--image",
            &settings().operator_image,
            "--wait",
            "--timeout",
            "3m",
        ])
        .ok();
        leader();
    });
}

/// Its pods that are not on their way out.
pub fn pods() -> Vec<String> {
    let all = api::list(NAMESPACE, &api::kind("v1", "Pod"), SELECTOR).unwrap_or_default();
    let alive = all
        .iter()
        .filter(|pod| pod.pointer("/metadata/deletionTimestamp").is_none());
    alive.map(|pod| api::text(pod, "/metadata/name")).collect()
}

/// How many of it there are.
pub fn scale(replicas: u32) {
    set(&json!({"spec": {"replicas": replicas}}));
}

/// Changes its Deployment, and waits until that is done.
pub fn set(change: &Value) {
    let deployment = api::kind("apps/v1", "Deployment");
    api::patch(NAMESPACE, &deployment, pgop_core::install::NAME, change).unwrap_or_else(|error| panic!("{error}"));
    settle();
}

/// Waits until its pods are as its Deployment says, all ready.
pub fn settle() {
    until(120, "the operator's pods", || {
        let deployment = api::find(NAMESPACE, &api::kind("apps/v1", "Deployment"), pgop_core::install::NAME)
            .ok_or("no Deployment")?;
        let number = |pointer: &str| deployment.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
        let wanted = number("/spec/replicas");
        let seen = number("/status/observedGeneration") == number("/metadata/generation");
        let all = [
            number("/status/replicas"),
            number("/status/updatedReplicas"),
            number("/status/readyReplicas"),
        ];
        let pods = i64::try_from(pods().len()).unwrap_or(0);
        let done = seen && all == [wanted; 3] && pods == wanted;
        if done {
            Ok(())
        } else {
            Err(deployment["status"].to_string())
        }
    });
}

/// The admin server's answer in one pod.
pub fn ask(pod: &str, path: &str) -> Result<String, String> {
    api::raw(&format!(
        "/api/v1/namespaces/{NAMESPACE}/pods/{pod}:{}/proxy{path}",
        pgop_core::install::ADMIN_PORT
    ))
}

/// Its metrics in one pod.
pub fn metrics(pod: &str) -> Result<Samples, String> {
    ask(pod, "/metrics").map(|text| Samples::read(&text))
}

/// The one that works.
pub fn leader() -> String {
    until(90, "an operator that works", || {
        let working: Vec<String> = pods().into_iter().filter(|pod| works(pod)).collect();
        match working.as_slice() {
            [one] => Ok(one.clone()),
            other => Err(format!("{other:?} of {:?} work", pods())),
        }
    })
}

/// Whether that one holds the lease and has filled its caches.
pub fn works(pod: &str) -> bool {
    ask(pod, "/readyz").is_ok_and(|text| text.trim() == "working")
}

/// Requests that changed something, by its own count. Those for the lease are not counted.
pub fn writes(samples: &Samples) -> f64 {
    samples.sum("pgop_api_requests_total", |labels| {
        WRITES.contains(&labels["verb"].as_str())
    })
}

/// A pod that may do anything on its node.
pub struct Killer {
    /// Where it is.
    pub node: String,
}

const KILLER: &str = "pgop-e2e-killer";

impl Killer {
    /// Starts it, beside the operator.
    pub fn start() -> Self {
        Self::on(None)
    }

    /// Starts it on a node.
    pub fn on(node: Option<&str>) -> Self {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": KILLER},
            "spec": {
                "nodeName": node,
                "hostPID": true,
                "terminationGracePeriodSeconds": 0,
                "containers": [{
                    "name": "killer", "image": settings().postgres_image, "imagePullPolicy": "IfNotPresent",
                    "command": ["sleep", "infinity"], "securityContext": {"runAsUser": 0, "privileged": true},
                }],
            },
        });
        let pods = api::kind("v1", "Pod");
        api::delete(NAMESPACE, &pods, KILLER, true);
        until(60, "a pod that can kill", || api::create(NAMESPACE, pod.clone()));
        until(60, "a pod that can kill", || api::exec(NAMESPACE, KILLER, &["true"]));
        let pod = api::find(NAMESPACE, &pods, KILLER).unwrap_or_default();
        let node = api::text(&pod, "/spec/nodeName");
        Self { node }
    }

    /// SIGKILL for one operator: no handler runs, nothing is released. Then its pod goes, so that no back-off delays the next one.
    pub fn kill(&self, pod: &str) {
        self.end("pgop-operator", pod).unwrap_or_else(|error| panic!("{error}"));
        api::delete(NAMESPACE, &api::kind("v1", "Pod"), pod, true);
    }

    /// SIGKILL for all processes of that program in a pod on this node, also for the first one, which a process beside it could not kill. How many there were.
    pub fn end(&self, program: &str, pod: &str) -> Result<usize, String> {
        // The processes of a pod have its host name. Only builtins where there are many processes: the machine is busy.
        let script = format!(
            "for p in /proc/[0-9]*; do {{ read -r name <$p/comm; }} 2>/dev/null; [ \"$name\" = {program} ] || continue
             if grep -qz '^HOSTNAME={pod}$' $p/environ; then kill -9 ${{p#/proc/}} && echo killed; fi; done; true"
        );
        api::exec(NAMESPACE, KILLER, &["bash", "-c", &script]).map(|killed| killed.lines().count())
    }

    /// Runs a script where the node's kubelet sees what it mounts.
    pub fn on_node(&self, script: &str) -> Result<String, String> {
        let command = ["nsenter", "--target", "1", "--mount", "sh", "-ec", script];
        api::exec(NAMESPACE, KILLER, &command)
    }
}

impl Drop for Killer {
    fn drop(&mut self) {
        api::delete(NAMESPACE, &api::kind("v1", "Pod"), KILLER, true);
    }
}
