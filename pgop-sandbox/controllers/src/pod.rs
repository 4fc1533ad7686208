//! What controllers ask of a pod, and how they make one from a template.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::core::v1::{Pod, PodCondition, PodTemplateSpec},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// The letters that Kubernetes puts in generated names: no vowels, so no words.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .unwrap_or("Pending")
}

pub(crate) fn is_failed(pod: &Pod) -> bool {
    phase(pod) == "Failed"
}

pub(crate) fn is_succeeded(pod: &Pod) -> bool {
    phase(pod) == "Succeeded"
}

/// Its containers have ended for good.
pub(crate) fn is_finished(pod: &Pod) -> bool {
    is_failed(pod) || is_succeeded(pod)
}

pub(crate) fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Neither ended nor told to go.
pub(crate) fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && !is_terminating(pod)
}

pub(crate) fn node_name(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}

pub(crate) fn condition<'a>(pod: &'a Pod, type_: &str) -> Option<&'a PodCondition> {
    pod.status
        .as_ref()?
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == type_)
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|condition| condition.status == "True")
}

/// Since when the pod is ready, if it is.
pub(crate) fn ready_since(pod: &Pod) -> Option<Timestamp> {
    condition(pod, "Ready")
        .filter(|condition| condition.status == "True")
        .map(|condition| {
            condition
                .last_transition_time
                .as_ref()
                .map_or(Timestamp::UNIX_EPOCH, |time| time.0)
        })
}

/// Ready for at least `min_ready_seconds`.
pub(crate) fn is_available(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> bool {
    available_in(pod, min_ready_seconds, now) == Some(Duration::ZERO)
}

/// How long a ready pod still has to stay so until it counts as available.
pub(crate) fn available_in(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> Option<Duration> {
    let since = ready_since(pod)?;
    if min_ready_seconds <= 0 {
        return Some(Duration::ZERO);
    }
    Some(until(now, later(since, i64::from(min_ready_seconds))))
}

/// So many seconds later, but no later than times go: what is asked for may be any number.
pub(crate) fn later(time: Timestamp, seconds: i64) -> Timestamp {
    time.saturating_add(SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX)
}

/// The time from `now` to `due`, zero when that has passed.
pub(crate) fn until(now: Timestamp, due: Timestamp) -> Duration {
    Duration::try_from(due.duration_since(now)).unwrap_or(Duration::ZERO)
}

/// How often the containers of the pod were started again.
pub(crate) fn restarts(pod: &Pod) -> i32 {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_ref());
    let init = status.and_then(|status| status.init_container_statuses.as_ref());
    containers
        .into_iter()
        .chain(init)
        .flatten()
        .map(|status| status.restart_count)
        .sum()
}

/// Names of the claims the pod mounts, those of ephemeral volumes too.
pub(crate) fn claim_names(pod: &Pod) -> Vec<String> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes
        .filter_map(|volume| {
            let claim = volume
                .persistent_volume_claim
                .as_ref()
                .map(|source| source.claim_name.clone());
            claim.or_else(|| volume.ephemeral.as_ref().map(|_| format!("{name}-{}", volume.name)))
        })
        .collect()
}

/// A pod made from a template. Only labels, annotations and finalizers of the template's metadata are taken.
pub(crate) fn from_template(template: &PodTemplateSpec, namespace: &str, name: String, owner: OwnerReference) -> Pod {
    let meta = template.metadata.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(namespace.to_owned()),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// Five letters that make a name unique among its siblings.
fn random_suffix() -> String {
    (0..5)
        .map(|_| char::from(LETTERS[usize::from(rand::random::<u8>()) % LETTERS.len()]))
        .collect()
}

/// A name that begins with `base`, cut as Kubernetes cuts it so that it fits where names of 63 letters do.
pub(crate) fn generated_name(base: &str) -> String {
    let end = (0..=base.len().min(58))
        .rev()
        .find(|&at| base.is_char_boundary(at))
        .unwrap_or(0);
    format!("{}{}", &base[..end], random_suffix())
}

/// Short text that is the same for the same value, for names and labels. `collisions` changes it when another value has taken it.
pub(crate) fn hash<T: Serialize>(value: &T, collisions: Option<i32>) -> String {
    let mut hash = Sha256::new();
    // Types of the API always have a JSON form.
    hash.update(serde_json::to_vec(value).unwrap_or_default());
    if let Some(collisions) = collisions {
        hash.update(collisions.to_le_bytes());
    }
    hash.finalize()
        .iter()
        .take(10)
        .map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(status: &serde_json::Value) -> Pod {
        serde_json::from_value(json!({ "metadata": { "name": "db-0" }, "status": status })).unwrap()
    }

    fn ready(since: &str) -> Pod {
        pod(
            &json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True", "lastTransitionTime": since }] }),
        )
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_ready_pod_becomes_available_after_the_time_asked_for() {
        let pod = ready("2026-11-01T10:00:00Z");
        assert!(is_available(&pod, 0, at("2026-11-01T10:00:00Z")));
        assert_eq!(
            available_in(&pod, 10, at("2026-11-01T10:00:04Z")),
            Some(Duration::from_secs(6))
        );
        assert!(!is_available(&pod, 10, at("2026-11-01T10:00:09Z")));
        assert!(is_available(&pod, 10, at("2026-11-01T10:00:10Z")));
        assert_eq!(available_in(&Pod::default(), 10, at("2026-11-01T10:00:10Z")), None);
    }

    #[test]
    fn a_pod_without_status_is_pending_and_active() {
        let pod = Pod::default();
        assert_eq!(phase(&pod), "Pending");
        assert!(is_active(&pod) && !is_ready(&pod));
    }

    #[test]
    fn claims_of_claim_volumes_and_of_ephemeral_ones() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "db-0" },
            "spec": { "containers": [], "volumes": [
                { "name": "data", "persistentVolumeClaim": { "claimName": "data-db-0" } },
                { "name": "scratch", "ephemeral": { "volumeClaimTemplate": { "spec": {} } } },
                { "name": "tmp", "emptyDir": {} },
            ] },
        }))
        .unwrap();
        assert_eq!(claim_names(&pod), ["data-db-0", "db-0-scratch"]);
    }

    #[test]
    fn a_hash_is_stable_and_differs_by_content_and_collisions() {
        let template = json!({ "spec": { "image": "a" } });
        assert_eq!(hash(&template, None), hash(&template.clone(), None));
        assert_ne!(hash(&template, None), hash(&json!({ "spec": { "image": "b" } }), None));
        assert_ne!(hash(&template, None), hash(&template, Some(1)));
        assert_eq!(hash(&template, None).len(), 10);
    }

    #[test]
    fn times_hold_for_any_number_of_seconds() {
        let now = pgop_sandbox_tasks::now();
        assert_eq!(later(now, 60).duration_since(now).as_secs(), 60);
        assert_eq!(until(now, later(now, i64::MIN)), Duration::ZERO);
        assert_eq!(later(now, i64::MAX), Timestamp::MAX);
    }

    #[test]
    fn a_generated_name_fits_into_a_label() {
        assert_eq!(generated_name("web-").len(), 9);
        assert_eq!(generated_name(&"x".repeat(80)).len(), 63);
        assert_ne!(generated_name("web-"), generated_name("web-"));
    }

    #[test]
    fn only_what_is_meant_for_pods_is_taken_from_a_templates_metadata() {
        let template: PodTemplateSpec = serde_json::from_value(json!({
            "metadata": { "name": "ignored", "labels": { "app": "db" }, "annotations": { "note": "x" } },
            "spec": { "containers": [] },
        }))
        .unwrap();
        let owner = OwnerReference {
            uid: "u".into(),
            ..OwnerReference::default()
        };
        let pod = from_template(&template, "shop", "db-0".into(), owner);
        assert_eq!(pod.metadata.name.as_deref(), Some("db-0"));
        assert_eq!(pod.metadata.labels.unwrap()["app"], "db");
        assert_eq!(pod.metadata.owner_references.unwrap()[0].uid, "u");
    }
}
