//! No warning is given that the soak has not caused.

use std::collections::BTreeMap;

use jiff::Timestamp;
use pgop_e2e::api;
use serde_json::Value;

use crate::expected::Expected;

/// The events as they were seen last.
#[derive(Debug, Default)]
pub(crate) struct Events {
    /// By uid: when it was told last.
    seen: BTreeMap<String, Timestamp>,
    /// How often each reason was told: warnings, expected or not.
    pub(crate) warnings: BTreeMap<String, u32>,
    /// How many events there were at the last look.
    pub(crate) there: usize,
}

impl Events {
    /// The warnings that are new and not expected.
    pub(crate) fn look(&mut self, events: &[Value], expected: &Expected) -> Vec<String> {
        self.there = events.len();
        let warnings = events.iter().filter(|event| event["type"] == "Warning");
        let told: Vec<(String, Timestamp, &Value)> = warnings
            .map(|event| (api::text(event, "/metadata/uid"), told_last(event), event))
            .collect();
        let mut wrong = Vec::new();
        for (uid, at, event) in &told {
            if self.seen.get(uid).is_some_and(|before| before >= at) {
                continue;
            }
            let of = |pointer: &str| api::text(event, pointer);
            *self.warnings.entry(of("/reason")).or_default() += 1;
            if !expected.allows_warning(&of("/regarding/name"), *at) && !is_passing(&of("/reason"), &of("/note")) {
                let (kind, name) = (of("/regarding/kind"), of("/regarding/name"));
                wrong.push(format!(
                    "warning about {kind} {name}: {}: {}",
                    of("/reason"),
                    of("/note")
                ));
            }
        }
        self.seen = told.into_iter().map(|(uid, at, _)| (uid, at)).collect();
        wrong
    }
}

/// Told of a pod that came with its claim, where the scheduler looks before the claim is bound. One that stays so is never ready, which is found.
fn is_passing(reason: &str, note: &str) -> bool {
    reason == "FailedScheduling" && note.contains("unbound immediate PersistentVolumeClaims")
}

/// Events come with one of several times.
fn told_last(event: &Value) -> Timestamp {
    let places = [
        "/series/lastObservedTime",
        "/deprecatedLastTimestamp",
        "/eventTime",
        "/metadata/creationTimestamp",
    ];
    let times = places
        .iter()
        .filter_map(|place| event.pointer(place)?.as_str()?.parse().ok());
    times.max().unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::expected::Expectation;

    fn event(name: &str, at: &str) -> Value {
        json!({"metadata": {"uid": "e1", "creationTimestamp": "2026-11-29T10:00:00Z"}, "type": "Warning", "reason": "Unhealthy",
               "note": "no", "regarding": {"kind": "Pod", "name": name}, "deprecatedLastTimestamp": at})
    }

    #[test]
    fn a_warning_is_told_again_when_it_is_given_again() {
        let (mut events, expected) = (Events::default(), Expected::default());
        let first = [event("hippo-0", "2026-11-29T10:00:00Z")];
        assert_eq!(
            events.look(&first, &expected),
            ["warning about Pod hippo-0: Unhealthy: no"]
        );
        assert_eq!(events.look(&first, &expected), [""; 0]);
        assert_eq!(
            events
                .look(&[event("hippo-0", "2026-11-29T10:01:00Z")], &expected)
                .len(),
            1
        );
        assert_eq!(events.warnings["Unhealthy"], 2);
    }

    #[test]
    fn a_claim_that_is_not_bound_yet_is_no_finding() {
        let mut early = event("hippo-snapshot-2-vndjk", "2026-11-29T10:00:00Z");
        early["reason"] = json!("FailedScheduling");
        early["note"] = json!("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.");
        let look = |event: &Value| Events::default().look(std::slice::from_ref(event), &Expected::default());
        assert_eq!(look(&early), [""; 0]);
        early["note"] = json!("0/1 nodes are available: Insufficient memory.");
        assert_eq!(look(&early).len(), 1);
    }

    #[test]
    fn a_warning_about_what_was_hit_is_expected() {
        let (mut events, mut expected) = (Events::default(), Expected::default());
        expected.open(
            Expectation::default().troubled("hippo"),
            "2026-11-29T10:00:00Z".parse().unwrap(),
        );
        assert_eq!(
            events.look(&[event("hippo-replica-0", "2026-11-29T10:00:07Z")], &expected),
            [""; 0]
        );
        assert_eq!(events.warnings["Unhealthy"], 1);
    }
}
