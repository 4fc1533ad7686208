//! Events and log lines: what changed in the conditions, told once.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use serde_json::Value;
use tracing::{info, warn};

use super::cache::api_resource;
use crate::applied::Taken;
use crate::label::MANAGER;
use crate::owner::Owner;
use crate::status::is_told;

/// Longest note of an event, in bytes: <https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>.
const NOTE_LIMIT: usize = 1000;

/// Publishes events. One for the whole process, or they are not aggregated.
#[derive(Clone)]
pub(crate) struct Report(Recorder);

impl Report {
    pub(crate) fn new(client: Client) -> Self {
        let reporter = Reporter {
            controller: MANAGER.to_owned(),
            instance: std::env::var("HOSTNAME").ok(),
        };
        Self(Recorder::new(client, reporter))
    }

    /// Tells which conditions turned, on the resource and in the log.
    pub(crate) async fn turned(&self, owner: &Owner, old: &[Condition], new: &[Condition]) {
        for condition in turned(old, new) {
            let (kind, namespace, name) = (owner.kind.as_str(), &owner.namespace, &owner.name);
            let (reason, message) = (&condition.reason, &condition.message);
            let is_bad = is_bad(condition);
            if is_bad {
                warn!(kind, namespace, name, reason, "{message}");
            } else {
                info!(kind, namespace, name, reason, "{message}");
            }
            let type_ = if is_bad { EventType::Warning } else { EventType::Normal };
            self.publish(owner, type_, reason, &condition.type_, message).await;
        }
    }

    /// Tells which step was taken.
    pub(crate) async fn stepped(&self, owner: &Owner, step: &Taken) {
        self.publish(owner, EventType::Normal, step.reason, "Step", &step.why)
            .await;
    }

    async fn publish(&self, owner: &Owner, type_: EventType, reason: &str, action: &str, message: &str) {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(shorten(message, NOTE_LIMIT)),
            action: action.to_owned(),
            secondary: None,
        };
        if let Err(error) = self.0.publish(&event, &reference(owner)).await {
            let (kind, namespace, name) = (owner.kind.as_str(), &owner.namespace, &owner.name);
            warn!(kind, namespace, name, %error, "could not publish an event");
        }
    }
}

fn reference(owner: &Owner) -> k8s_openapi::api::core::v1::ObjectReference {
    let resource = api_resource(owner.kind);
    k8s_openapi::api::core::v1::ObjectReference {
        api_version: Some(resource.api_version),
        kind: Some(resource.kind),
        name: Some(owner.name.clone()),
        namespace: Some(owner.namespace.clone()),
        uid: Some(owner.uid.clone()),
        ..Default::default()
    }
}

/// Conditions that people want to hear of and that are other than before.
fn turned<'a>(old: &'a [Condition], new: &'a [Condition]) -> impl Iterator<Item = &'a Condition> {
    new.iter().filter(move |condition| {
        let before = old.iter().find(|c| c.type_ == condition.type_);
        let same = before.is_some_and(|b| b.status == condition.status && b.reason == condition.reason);
        let was = |status: &str| before.is_some_and(|b| b.status == status);
        !same
            && match (condition.type_.as_str(), condition.status.as_str()) {
                // It comes and goes, and says nothing that the others do not.
                ("Progressing", _) | ("Ready", "False") => false,
                // What servers tell passes through "nobody knows yet" with each change, and is well at first.
                (kind, "Unknown") if is_told(kind) => false,
                (kind, "True") if is_told(kind) => before.is_some(),
                ("Accepted", "True") => was("False") || condition.reason != "Valid",
                ("Degraded", "False") => was("True"),
                // `Restored` tells of the failure, with the mend.
                ("Degraded", _) => condition.reason != "RestoreFailed",
                ("Complete", _) => condition.reason != "Pending",
                _ => true,
            }
    })
}

fn is_bad(condition: &Condition) -> bool {
    match condition.type_.as_str() {
        "Degraded" => condition.status == "True",
        "Accepted" => condition.status != "True",
        kind if is_told(kind) => condition.status == "False",
        _ => condition.reason.ends_with("Failed"),
    }
}

/// At most `limit` bytes, cut between characters.
fn shorten(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = (0..=limit - '…'.len_utf8())
        .rev()
        .find(|i| text.is_char_boundary(*i))
        .unwrap_or(0);
    format!("{}…", &text[..end])
}

/// The conditions in the status of a resource.
pub(crate) fn conditions(resource: &Value) -> Vec<Condition> {
    resource
        .pointer("/status/conditions")
        .and_then(|conditions| serde_json::from_value(conditions.clone()).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::condition::{Fact, merge};

    #[test]
    fn only_what_turned_is_told() {
        let at = jiff::Timestamp::UNIX_EPOCH;
        let old = merge(
            &[],
            vec![
                Fact::new("Ready", true, "Serving", "a"),
                Fact::new("Degraded", false, "Healthy", ""),
            ],
            None,
            at,
        );
        let new = merge(
            &old,
            vec![
                Fact::new("Ready", true, "Serving", "b"),
                Fact::new("Degraded", true, "MemberFails", "c"),
            ],
            None,
            at,
        );
        let told: Vec<&str> = turned(&old, &new).map(|c| c.reason.as_str()).collect();
        assert_eq!(told, ["MemberFails"]);
        assert_eq!(turned(&new, &new).count(), 0);
    }

    #[test]
    fn what_servers_tell_is_news_when_it_is_not_well_and_when_it_is_again() {
        let said = |status, reason: &str| Fact {
            kind: "SettingsInForce",
            status,
            reason: reason.to_owned(),
            message: "hippo-0".to_owned(),
        };
        let mut before = Vec::new();
        let mut news = |fact| {
            let now = merge(&before, vec![fact], None, jiff::Timestamp::UNIX_EPOCH);
            let told = turned(&before, &now).map(|c| (c.reason.clone(), is_bad(c))).next();
            before = now;
            told
        };
        assert_eq!(news(said(Some(true), "InForce")), None, "as it should be");
        assert_eq!(news(said(None, "Checking")), None);
        assert_eq!(news(said(Some(false), "Refused")), Some(("Refused".to_owned(), true)));
        assert_eq!(news(said(None, "Checking")), None);
        assert_eq!(news(said(Some(true), "InForce")), Some(("InForce".to_owned(), false)));
    }

    #[test]
    fn notes_are_cut_between_characters() {
        assert_eq!(shorten("short", 10), "short");
        let cut = shorten(&"é".repeat(100), 20);
        assert!(cut.len() <= 20 && cut.ends_with('…'));
    }
}
