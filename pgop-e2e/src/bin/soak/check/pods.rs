//! No pod goes away, starts again or fails that the soak has not caused to.

use std::collections::BTreeMap;

use pgop_e2e::api;
use serde_json::Value;

use crate::expected::Expected;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    name: String,
    restarts: u32,
    failed: bool,
}

/// The pods as they were seen last, by uid.
#[derive(Debug, Default)]
pub(crate) struct Pods {
    seen: BTreeMap<String, Seen>,
    /// Restarts that were seen, expected or not.
    pub(crate) restarts: u32,
}

impl Pods {
    /// What is not as it should be in `pods`.
    pub(crate) fn look(&mut self, pods: &[Value], expected: &mut Expected) -> Vec<String> {
        let now: BTreeMap<String, Seen> = pods
            .iter()
            .map(|pod| (api::text(pod, "/metadata/uid"), seen(pod)))
            .collect();
        let mut wrong = Vec::new();
        for (uid, old) in &self.seen {
            if !now.contains_key(uid) && !expected.takes_gone(&old.name) {
                wrong.push(format!("pod {} went away, and nobody asked it to", old.name));
            }
        }
        for (uid, new) in &now {
            let old = self.seen.get(uid);
            let more = new.restarts.saturating_sub(old.map_or(0, |old| old.restarts));
            self.restarts += more;
            if more > 0 && !expected.takes_restarts(&new.name, more) {
                wrong.push(format!(
                    "pod {} started again, {more} times, and nobody asked it to",
                    new.name
                ));
            }
            let failed_now = new.failed && !old.is_some_and(|old| old.failed);
            if failed_now && !expected.allows_failed(&new.name) {
                wrong.push(format!("pod {} failed", new.name));
            }
        }
        self.seen = now;
        wrong
    }
}

fn seen(pod: &Value) -> Seen {
    let containers = ["/status/containerStatuses", "/status/initContainerStatuses"].into_iter();
    let statuses = containers.filter_map(|list| pod.pointer(list)?.as_array()).flatten();
    let restarts: u64 = statuses.filter_map(|status| status["restartCount"].as_u64()).sum();
    Seen {
        name: api::text(pod, "/metadata/name"),
        restarts: u32::try_from(restarts).unwrap_or(u32::MAX),
        failed: api::text(pod, "/status/phase") == "Failed",
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::expected::Expectation;

    fn pod(name: &str, uid: &str, phase: &str, restarts: u32) -> Value {
        json!({"metadata": {"name": name, "uid": uid}, "status": {"phase": phase, "containerStatuses": [{"restartCount": restarts}]}})
    }

    #[test]
    fn a_pod_that_is_replaced_between_two_looks_is_seen() {
        let (mut pods, mut expected) = (Pods::default(), Expected::default());
        assert_eq!(pods.look(&[pod("hippo-0", "a", "Running", 0)], &mut expected), [""; 0]);
        let found = pods.look(&[pod("hippo-0", "b", "Running", 0)], &mut expected);
        assert_eq!(found, ["pod hippo-0 went away, and nobody asked it to"]);
        expected.open(Expectation::default().gone("hippo-0", 1), Timestamp::UNIX_EPOCH);
        assert_eq!(pods.look(&[pod("hippo-0", "c", "Running", 0)], &mut expected), [""; 0]);
    }

    #[test]
    fn restarts_and_failures_are_told_once() {
        let (mut pods, mut expected) = (Pods::default(), Expected::default());
        pods.look(&[pod("hippo-0", "a", "Running", 1)], &mut expected);
        let twice = pod("hippo-0", "a", "Failed", 3);
        let found = pods.look(std::slice::from_ref(&twice), &mut expected);
        assert_eq!(
            found,
            [
                "pod hippo-0 started again, 2 times, and nobody asked it to",
                "pod hippo-0 failed"
            ]
        );
        assert_eq!(pods.look(&[twice], &mut expected), [""; 0]);
        assert_eq!(pods.restarts, 3);
    }
}
