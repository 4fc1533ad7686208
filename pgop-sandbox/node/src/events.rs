//! Events about pods, as the kubelet writes them. They are told to a task, so that nothing waits for them;
//! the same event again only counts up.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use pgop_sandbox_tasks::{spawn_tracked, supervise};
use serde_json::json;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// So many are remembered, to count them up.
const REMEMBERED: usize = 2000;

/// Takes events.
#[derive(Clone)]
pub(crate) struct Events {
    sender: mpsc::UnboundedSender<Told>,
}

struct Told {
    about: ObjectReference,
    kind: &'static str,
    reason: &'static str,
    message: String,
}

impl Events {
    /// Starts the task.
    pub(crate) fn start(client: Client, node: String, tasks: &TaskTracker, stop: CancellationToken) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let receiver = Arc::new(Mutex::new(receiver));
        spawn_tracked(tasks, "events", async move {
            let written = supervise("events", || write(client.clone(), node.clone(), receiver.clone()));
            stop.run_until_cancelled(written).await;
        });
        Self { sender }
    }

    /// All is as it should be.
    pub(crate) fn normal(&self, pod: &Pod, container: Option<&str>, reason: &'static str, message: impl Into<String>) {
        self.tell(pod, container, "Normal", reason, message.into());
    }

    /// Somebody should look at it.
    pub(crate) fn warning(&self, pod: &Pod, container: Option<&str>, reason: &'static str, message: impl Into<String>) {
        self.tell(pod, container, "Warning", reason, message.into());
    }

    fn tell(&self, pod: &Pod, container: Option<&str>, kind: &'static str, reason: &'static str, mut message: String) {
        let spec = pod.spec.as_ref();
        let init = |name: &str| spec.is_some_and(|s| s.init_containers.iter().flatten().any(|c| c.name == name));
        let field = container.map(|name| {
            let list = if init(name) { "initContainers" } else { "containers" };
            format!("spec.{list}{{{name}}}")
        });
        let about = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
            resource_version: pod.metadata.resource_version.clone(),
            field_path: field,
        };
        if message.len() > 1024 {
            let end = (0..=1020).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
            message.truncate(end);
            message.push_str("...");
        }
        let _ = self.sender.send(Told {
            about,
            kind,
            reason,
            message,
        }); // fails only when the node has stopped
    }
}

type Key = (Option<String>, Option<String>, &'static str, String);

async fn write(client: Client, node: String, receiver: Arc<Mutex<mpsc::UnboundedReceiver<Told>>>) {
    let mut receiver = receiver.lock().await;
    let mut known: HashMap<Key, (String, i32)> = HashMap::new();
    while let Some(told) = receiver.recv().await {
        let namespace = told.about.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
        let key = (
            told.about.uid.clone(),
            told.about.field_path.clone(),
            told.reason,
            told.message.clone(),
        );
        if known.len() > REMEMBERED {
            known.clear();
        }
        if let Some((name, count)) = known.get_mut(&key) {
            *count = count.saturating_add(1);
            let again = json!({"count": *count, "lastTimestamp": Time(pgop_sandbox_tasks::now())});
            if api
                .patch(name, &PatchParams::default(), &Patch::Merge(again))
                .await
                .is_ok()
            {
                continue;
            }
            known.remove(&key); // it has been removed in the meantime: made anew
        }
        let event = event(told, &namespace, &node);
        let name = event.metadata.name.clone().unwrap_or_default();
        match api.create(&PostParams::default(), &event).await {
            Ok(_) => {
                known.insert(key, (name, 1));
            }
            Err(error) => tracing::debug!(%error, event = name, "event could not be written"),
        }
    }
}

fn event(told: Told, namespace: &str, node: &str) -> Event {
    let now = pgop_sandbox_tasks::now();
    let subject = told.about.name.as_deref().unwrap_or("pod");
    // As in Kubernetes: the names of an object's events are in the order of their times.
    let name = format!("{subject}.{:016x}", now.as_nanosecond());
    let now = Time(now);
    Event {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        involved_object: told.about,
        reason: Some(told.reason.to_owned()),
        message: Some(told.message),
        type_: Some(told.kind.to_owned()),
        source: Some(EventSource {
            component: Some("kubelet".to_owned()),
            host: Some(node.to_owned()),
        }),
        first_timestamp: Some(now.clone()),
        last_timestamp: Some(now),
        count: Some(1),
        reporting_component: Some("kubelet".to_owned()),
        reporting_instance: Some(node.to_owned()),
        ..Event::default()
    }
}
