//! Events about objects, as `kubectl describe` shows them: core/v1, the same one counted up when it is repeated.

use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::verbs;

/// How many different events are remembered for counting.
const REMEMBERED: usize = 4096;
/// The longest message that Kubernetes takes.
const LONGEST_MESSAGE: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Severity {
    Normal,
    Warning,
}

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// What happened, to which object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Occurrence {
    component: &'static str,
    about: ObjectReference,
    severity: Severity,
    reason: &'static str,
    message: String,
}

/// Takes events and never makes its caller wait: a controller's work doesn't depend on them.
#[derive(Clone)]
pub(crate) struct Recorder {
    component: &'static str,
    sender: mpsc::UnboundedSender<Occurrence>,
}

impl Recorder {
    /// The recorder and the end of its line, for [`write`].
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Occurrence>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (
            Self {
                component: "sandbox-controllers",
                sender,
            },
            receiver,
        )
    }

    /// The same recorder, speaking for the named component.
    pub(crate) fn speaking_for(&self, component: &'static str) -> Self {
        Self {
            component,
            sender: self.sender.clone(),
        }
    }

    pub(crate) fn normal<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        self.record(object.object_ref(&()), Severity::Normal, reason, message.into());
    }

    pub(crate) fn warning<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        self.record(object.object_ref(&()), Severity::Warning, reason, message.into());
    }

    fn record(&self, about: ObjectReference, severity: Severity, reason: &'static str, mut message: String) {
        if message.len() > LONGEST_MESSAGE {
            let end = (0..=LONGEST_MESSAGE - 3)
                .rev()
                .find(|&at| message.is_char_boundary(at))
                .unwrap_or(0);
            message.truncate(end);
            message.push_str("...");
        }
        let _ = self.sender.send(Occurrence {
            component: self.component,
            about,
            severity,
            reason,
            message,
        });
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Same {
    component: &'static str,
    uid: String,
    severity: Severity,
    reason: &'static str,
    message: String,
}

/// Writes what the recorders send, until `stop`.
pub(crate) async fn write(
    client: Client,
    mut occurrences: mpsc::UnboundedReceiver<Occurrence>,
    stop: CancellationToken,
) {
    let mut known: HashMap<Same, (String, i32)> = HashMap::new();
    loop {
        let occurrence = tokio::select! {
            () = stop.cancelled() => return,
            Some(occurrence) = occurrences.recv() => occurrence,
            else => return,
        };
        if known.len() > REMEMBERED {
            known.clear();
        }
        write_one(&client, &mut known, occurrence, pgop_sandbox_tasks::now()).await;
    }
}

async fn write_one(client: &Client, known: &mut HashMap<Same, (String, i32)>, occurrence: Occurrence, now: Timestamp) {
    let namespace = occurrence.about.namespace.clone().unwrap_or_else(|| "default".into());
    let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
    let same = Same {
        component: occurrence.component,
        uid: occurrence.about.uid.clone().unwrap_or_default(),
        severity: occurrence.severity,
        reason: occurrence.reason,
        message: occurrence.message.clone(),
    };
    if let Some((name, count)) = known.get_mut(&same) {
        *count = count.saturating_add(1);
        let (params, patch) = (
            PatchParams::default(),
            Patch::Merge(json!({ "count": *count, "lastTimestamp": Time(now) })),
        );
        let patched = api.patch(name, &params, &patch);
        match verbs::request("patch", || format!("event {name}"), patched).await {
            Ok(_) => return,
            // It has been cleaned away since: it is written as a new one below.
            Err(error) if error.is_not_found() => {}
            Err(error) => {
                debug!(error = error.message(), "an event was not counted");
                return;
            }
        }
    }
    let event = event(occurrence, namespace, now);
    let name = event.metadata.name.clone().unwrap_or_default();
    match verbs::create(&api, &event).await {
        Ok(_) => {
            known.insert(same, (name, 1));
        }
        Err(error) => debug!(error = error.message(), "an event was not recorded"),
    }
}

fn event(occurrence: Occurrence, namespace: String, now: Timestamp) -> Event {
    let subject = occurrence.about.name.clone().unwrap_or_default();
    Event {
        metadata: ObjectMeta {
            // As in Kubernetes: the names of an object's events are in the order of their times.
            name: Some(format!("{subject}.{:016x}", now.as_nanosecond())),
            namespace: Some(namespace),
            ..ObjectMeta::default()
        },
        involved_object: occurrence.about,
        type_: Some(occurrence.severity.as_str().into()),
        reason: Some(occurrence.reason.into()),
        message: Some(occurrence.message),
        source: Some(EventSource {
            component: Some(occurrence.component.into()),
            host: None,
        }),
        reporting_component: Some(occurrence.component.into()),
        reporting_instance: Some(String::new()),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        count: Some(1),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{Node, Pod};

    fn recorded(act: impl FnOnce(&Recorder)) -> Occurrence {
        let (recorder, mut receiver) = Recorder::new();
        act(&recorder.speaking_for("job-controller"));
        receiver.try_recv().unwrap()
    }

    #[test]
    fn an_event_names_its_object_and_component() {
        let pod: Pod =
            serde_json::from_value(json!({ "metadata": { "name": "a", "namespace": "shop", "uid": "u" } })).unwrap();
        let occurrence =
            recorded(|recorder| recorder.normal(&pod, "Scheduled", "Successfully assigned shop/a to sandbox"));
        let event = event(occurrence, "shop".into(), Timestamp::UNIX_EPOCH);
        assert_eq!(event.involved_object.kind.as_deref(), Some("Pod"));
        assert_eq!(event.involved_object.uid.as_deref(), Some("u"));
        assert_eq!(event.source.unwrap().component.as_deref(), Some("job-controller"));
        assert!(event.metadata.name.unwrap().starts_with("a."));
        assert_eq!(event.type_.as_deref(), Some("Normal"));
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let node: Node = serde_json::from_value(json!({ "metadata": { "name": "n" } })).unwrap();
        let occurrence = recorded(|recorder| recorder.warning(&node, "Failed", "ä".repeat(900)));
        assert!(occurrence.message.len() <= LONGEST_MESSAGE);
        assert!(occurrence.message.ends_with("ä..."));
    }
}
