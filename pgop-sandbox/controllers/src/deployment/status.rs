//! What a Deployment says of itself: counts, and the conditions `Available` and `Progressing`. Pure.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::ResourceExt;

use super::{
    plan::{Sets, available, size},
    sizes::Sizes,
};
use crate::pod;

const AVAILABLE: &str = "Available";
const PROGRESSING: &str = "Progressing";
const NEW_AVAILABLE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";

fn condition<'a>(status: &'a DeploymentStatus, type_: &str) -> Option<&'a DeploymentCondition> {
    status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_.as_deref() == Some(type_))
}

fn reason<'a>(status: &'a DeploymentStatus, type_: &str) -> &'a str {
    condition(status, type_)
        .and_then(|condition| condition.reason.as_deref())
        .unwrap_or_default()
}

/// The status as the sets are now, and when to look at the deadline.
pub(crate) fn status(deployment: &Deployment, sets: &Sets, now: Timestamp) -> (DeploymentStatus, Option<Duration>) {
    let old = deployment.status.clone().unwrap_or_default();
    let mut status = counted(deployment, sets, &old);
    let sizes = Sizes::of(deployment);
    let enough = status.available_replicas.unwrap_or(0) >= sizes.least_available();
    if enough {
        set(
            &mut status,
            AVAILABLE,
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
            now,
        );
    } else {
        set(
            &mut status,
            AVAILABLE,
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
            now,
        );
    }
    show_failure(&mut status, sets, now);
    let again = show_progress(deployment, sets, &old, &mut status, now);
    (status, again)
}

fn counted(deployment: &Deployment, sets: &Sets, old: &DeploymentStatus) -> DeploymentStatus {
    let total = |amount: &dyn Fn(&ReplicaSet) -> i32| sets.all().map(|set| amount(set)).sum::<i32>();
    let of_status = |set: &ReplicaSet| set.status.as_ref().map_or(0, |status| status.replicas);
    let ready = |set: &ReplicaSet| {
        set.status
            .as_ref()
            .and_then(|status| status.ready_replicas)
            .unwrap_or(0)
    };
    let some = |count: i32| Some(count).filter(|count| *count > 0);
    DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: some(total(&of_status)),
        updated_replicas: some(sets.new.as_ref().map_or(0, |set| of_status(set))),
        ready_replicas: some(total(&ready)),
        available_replicas: some(total(&available)),
        unavailable_replicas: some(total(&size) - total(&available)),
        ..old.clone()
    }
}

fn remove(status: &mut DeploymentStatus, type_: &str) {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|condition| condition.type_.as_deref() != Some(type_));
    }
}

/// Sets a condition. The time of transition only moves when the status does, the time of update when anything does.
fn set(status: &mut DeploymentStatus, type_: &str, value: &str, reason: &str, message: &str, now: Timestamp) {
    let before = condition(status, type_).cloned();
    let same = |shown: &Option<String>, now: &str| shown.as_deref() == Some(now);
    if before.as_ref().is_some_and(|before| {
        same(&before.status, value) && same(&before.reason, reason) && same(&before.message, message)
    }) {
        return;
    }
    let since = before
        .filter(|before| same(&before.status, value))
        .and_then(|before| before.last_transition_time);
    remove(status, type_);
    status.conditions.get_or_insert_default().push(DeploymentCondition {
        type_: Some(type_.into()),
        status: Some(value.into()),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_update_time: Some(Time(now)),
        last_transition_time: since.or(Some(Time(now))),
    });
}

/// A set that can't make its pods shows on the Deployment.
fn show_failure(status: &mut DeploymentStatus, sets: &Sets, now: Timestamp) {
    const TYPE: &str = "ReplicaFailure";
    let failed = sets.new.iter().chain(&sets.old).find_map(|set| {
        let conditions = set.status.as_ref()?.conditions.as_ref()?;
        conditions
            .iter()
            .find(|condition| condition.type_.as_deref() == Some(TYPE))
            .cloned()
    });
    match failed {
        Some(failed) => set(
            status,
            TYPE,
            "True",
            &failed.reason.unwrap_or_default(),
            &failed.message.unwrap_or_default(),
            now,
        ),
        None => remove(status, TYPE),
    }
}

fn show_progress(
    deployment: &Deployment,
    sets: &Sets,
    old: &DeploymentStatus,
    status: &mut DeploymentStatus,
    now: Timestamp,
) -> Option<Duration> {
    let spec = &deployment.spec;
    // The greatest number stands for no deadline.
    let Some(deadline) = spec
        .progress_deadline_seconds
        .or(Some(600))
        .filter(|seconds| *seconds != i32::MAX)
    else {
        remove(status, PROGRESSING);
        return None;
    };
    let paused = spec.paused == Some(true);
    let shown_paused = reason(status, PROGRESSING) == "DeploymentPaused";
    if paused && !shown_paused && reason(status, PROGRESSING) != TIMED_OUT {
        set(
            status,
            PROGRESSING,
            "Unknown",
            "DeploymentPaused",
            "Deployment is paused",
            now,
        );
    } else if !paused && shown_paused {
        set(
            status,
            PROGRESSING,
            "Unknown",
            "DeploymentResumed",
            "Deployment is resumed",
            now,
        );
    }
    let who = sets.new.as_ref().map_or_else(
        || format!("Deployment \"{}\"", deployment.name_any()),
        |set| format!("ReplicaSet \"{}\"", set.name_any()),
    );
    let done = status.replicas == status.updated_replicas && reason(status, PROGRESSING) == NEW_AVAILABLE;
    if paused || done {
        return None;
    }
    if is_complete(deployment, status) {
        set(
            status,
            PROGRESSING,
            "True",
            NEW_AVAILABLE,
            &format!("{who} has successfully progressed."),
            now,
        );
        return None;
    }
    if condition(status, PROGRESSING).is_none() || progressed(old, status) {
        // The deadline counts from the last progress, so its time is set even when the words stay.
        status
            .conditions
            .iter_mut()
            .flatten()
            .filter(|condition| condition.type_.as_deref() == Some(PROGRESSING))
            .for_each(|condition| condition.message = None);
        set(
            status,
            PROGRESSING,
            "True",
            "ReplicaSetUpdated",
            &format!("{who} is progressing."),
            now,
        );
    }
    if reason(status, PROGRESSING) == TIMED_OUT {
        return None;
    }
    let since = condition(status, PROGRESSING)
        .and_then(|condition| condition.last_update_time.as_ref())
        .map_or(now, |time| time.0);
    let due = pod::later(since, i64::from(deadline));
    if due <= now {
        set(
            status,
            PROGRESSING,
            "False",
            TIMED_OUT,
            &format!("{who} has timed out progressing."),
            now,
        );
        return None;
    }
    Some(pod::until(now, due))
}

/// All pods are new and available, and no others are left.
pub(crate) fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = deployment.spec.replicas.unwrap_or(1);
    let all = |count: Option<i32>| count.unwrap_or(0) == wanted;
    all(status.updated_replicas) && all(status.replicas) && all(status.available_replicas)
}

fn progressed(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    let left = |status: &DeploymentStatus| status.replicas.unwrap_or(0) - status.updated_replicas.unwrap_or(0);
    new.updated_replicas.unwrap_or(0) > old.updated_replicas.unwrap_or(0)
        || left(new) < left(old)
        || new.ready_replicas.unwrap_or(0) > old.ready_replicas.unwrap_or(0)
        || new.available_replicas.unwrap_or(0) > old.available_replicas.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::sync::Arc;

    const NOW: &str = "2026-11-01T10:00:00Z";

    fn deployment(status: Value, change: impl FnOnce(&mut Value)) -> Deployment {
        let mut deployment = json!({
            "metadata": { "name": "web", "generation": 2 },
            "spec": { "replicas": 2, "selector": {}, "template": {}, "progressDeadlineSeconds": 60 },
            "status": status,
        });
        change(&mut deployment);
        serde_json::from_value(deployment).unwrap()
    }

    fn sets(new: (i32, i32), old: (i32, i32)) -> Sets {
        let set = |name: &str, (size, available): (i32, i32)| {
            let set = json!({
                "metadata": { "name": name }, "spec": { "replicas": size, "selector": {} },
                "status": { "replicas": size, "readyReplicas": available, "availableReplicas": available },
            });
            Arc::new(serde_json::from_value(set).unwrap())
        };
        Sets {
            new: Some(set("web-b", new)),
            old: vec![set("web-a", old)],
        }
    }

    fn shown(deployment: &Deployment, sets: &Sets) -> (DeploymentStatus, Option<Duration>) {
        status(deployment, sets, NOW.parse().unwrap())
    }

    fn progressing(status: &DeploymentStatus) -> (&str, &str) {
        let condition = condition(status, PROGRESSING).unwrap();
        (
            condition.status.as_deref().unwrap(),
            condition.reason.as_deref().unwrap(),
        )
    }

    #[test]
    fn counts_and_availability() {
        let (status, again) = shown(&deployment(json!({}), |_| {}), &sets((1, 0), (2, 2)));
        assert_eq!((status.replicas, status.updated_replicas), (Some(3), Some(1)));
        assert_eq!(
            (status.available_replicas, status.unavailable_replicas),
            (Some(2), Some(1))
        );
        assert_eq!(
            (
                status.observed_generation,
                condition(&status, AVAILABLE).unwrap().status.as_deref()
            ),
            (Some(2), Some("True"))
        );
        assert_eq!(progressing(&status), ("True", "ReplicaSetUpdated"));
        assert_eq!(again, Some(Duration::from_secs(60)));
        let (status, _) = shown(&deployment(json!({}), |_| {}), &sets((2, 0), (0, 0)));
        assert_eq!(reason(&status, AVAILABLE), "MinimumReplicasUnavailable");
    }

    #[test]
    fn completion_is_told_and_stays() {
        let (status, again) = shown(&deployment(json!({}), |_| {}), &sets((2, 2), (0, 0)));
        assert_eq!((progressing(&status), again), (("True", NEW_AVAILABLE), None));
        let later = status.clone();
        let fallen = deployment(json!(later), |_| {});
        let (status, _) = shown(&fallen, &sets((2, 1), (0, 0)));
        assert_eq!(
            progressing(&status),
            ("True", NEW_AVAILABLE),
            "a pod that falls later is no new rollout"
        );
    }

    #[test]
    fn without_progress_the_deadline_passes() {
        let stuck = |updated: &str| {
            json!({
                "replicas": 2, "updatedReplicas": 2,
                "conditions": [{ "type": PROGRESSING, "status": "True", "reason": "ReplicaSetUpdated", "lastUpdateTime": updated, "lastTransitionTime": updated }],
            })
        };
        let (status, again) = shown(
            &deployment(stuck("2026-11-01T09:59:30Z"), |_| {}),
            &sets((2, 0), (0, 0)),
        );
        assert_eq!(
            (progressing(&status), again),
            (("True", "ReplicaSetUpdated"), Some(Duration::from_secs(30)))
        );
        let (status, _) = shown(
            &deployment(stuck("2026-11-01T09:58:00Z"), |_| {}),
            &sets((2, 0), (0, 0)),
        );
        assert_eq!(progressing(&status), ("False", TIMED_OUT));
        let (status, _) = shown(&deployment(json!(status), |_| {}), &sets((2, 1), (0, 0)));
        assert_eq!(
            progressing(&status),
            ("True", "ReplicaSetUpdated"),
            "progress is still possible"
        );
    }

    #[test]
    fn pausing_and_resuming_are_shown() {
        let pause = |paused: bool| move |deployment: &mut Value| deployment["spec"]["paused"] = json!(paused);
        let (status, again) = shown(&deployment(json!({}), pause(true)), &sets((1, 0), (2, 2)));
        assert_eq!((progressing(&status), again), (("Unknown", "DeploymentPaused"), None));
        let (status, _) = shown(&deployment(json!(status), pause(false)), &sets((1, 0), (2, 2)));
        assert_eq!(progressing(&status), ("Unknown", "DeploymentResumed"));
    }

    #[test]
    fn an_unchanged_deployment_has_an_unchanged_status() {
        let (first, _) = shown(&deployment(json!({}), |_| {}), &sets((2, 2), (0, 0)));
        let (second, _) = status(
            &deployment(json!(first), |_| {}),
            &sets((2, 2), (0, 0)),
            "2026-11-01T11:00:00Z".parse().unwrap(),
        );
        assert_eq!(first, second);
    }
}
