//! What a pod's status says, in words for people.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition};

use crate::name::AGENT_CONTAINER;

/// Image that a pod has its agent from.
pub(crate) fn agent_image(pod: &Pod) -> Option<&str> {
    let mut containers = pod.spec.as_ref()?.init_containers.iter().flatten();
    let agent = containers.find(|container| container.name == AGENT_CONTAINER)?;
    agent.image.as_deref()
}

/// The claims that a pod mounts.
pub(crate) fn claims_of(pod: &Pod) -> impl Iterator<Item = &str> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.as_str()))
}

/// The condition of that type.
pub(crate) fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind)
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready.status == "True")
}

/// Whether it is or has been ready, in whichever run of its containers. What never was is not ready since the kubelet saw it, so that the condition
/// is no younger than that; the second sign is a container that is still in its first start.
pub(crate) fn has_served(pod: &Pod) -> bool {
    let (Some(ready), Some(status)) = (condition(pod, "Ready"), &pod.status) else {
        return false;
    };
    if ready.status == "True" {
        return true;
    }
    let is_younger = match (&ready.last_transition_time, &status.start_time) {
        (Some(turned), Some(started)) => turned.0 > started.0,
        _ => false,
    };
    let mut containers = status.container_statuses.iter().flatten();
    let has_ended = |container: &ContainerStatus| {
        let runs = [&container.state, &container.last_state];
        runs.into_iter().flatten().any(|state| state.terminated.is_some())
    };
    let is_starting = |container: &ContainerStatus| {
        container.restart_count == 0 && container.started != Some(true) && !has_ended(container)
    };
    is_younger && !containers.any(is_starting)
}

/// Whether it does not come up by itself: it can't be scheduled, or a container waits for what does not pass, such as an image or the end of its back-off.
pub(crate) fn is_stuck(pod: &Pod) -> bool {
    let status = pod.status.iter();
    let mut containers = status.flat_map(|s| s.init_container_statuses.iter().chain(&s.container_statuses).flatten());
    containers.any(|container| waiting(container).is_some()) || unscheduled(pod).is_some()
}

/// Why a pod does not serve, in the best words there are: the container's own, the kubelet's, the scheduler's.
pub(crate) fn trouble(pod: &Pod) -> Option<String> {
    if pod.metadata.deletion_timestamp.is_some() {
        return Some("is being stopped".to_owned());
    }
    failure(pod).or_else(|| unscheduled(pod))
}

/// What went wrong in its containers.
pub(crate) fn failure(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let containers = || {
        status
            .init_container_statuses
            .iter()
            .chain(&status.container_statuses)
            .flatten()
    };
    containers()
        .find_map(last_words)
        .or_else(|| containers().find_map(waiting))
}

/// What a container that failed left in its termination log.
fn last_words(container: &ContainerStatus) -> Option<String> {
    let state = container.state.as_ref().and_then(|s| s.terminated.as_ref());
    let last = container.last_state.as_ref().and_then(|s| s.terminated.as_ref());
    // Of a container that runs again, the last failure is history.
    let running = container.state.as_ref().is_some_and(|s| s.running.is_some());
    let ended = state
        .or(last.filter(|_| !running))
        .filter(|ended| ended.exit_code != 0)?;
    let words = ended.message.as_deref().map(str::trim).filter(|m| !m.is_empty());
    Some(words.map_or_else(
        || {
            format!(
                "container {} ended with exit code {}{}",
                container.name,
                ended.exit_code,
                reason(ended.reason.as_deref())
            )
        },
        str::to_owned,
    ))
}

fn reason(reason: Option<&str>) -> String {
    reason
        .filter(|r| *r != "Error")
        .map(|r| format!(" ({r})"))
        .unwrap_or_default()
}

fn waiting(container: &ContainerStatus) -> Option<String> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().unwrap_or("waiting");
    // These pass by themselves and say nothing.
    if matches!(reason, "ContainerCreating" | "PodInitializing") {
        return None;
    }
    // The kubelet's message of a back-off holds a pod id and a delay that changes each time.
    let message = waiting
        .message
        .as_deref()
        .filter(|_| reason != "CrashLoopBackOff")
        .unwrap_or_default();
    Some(if message.is_empty() {
        reason.to_owned()
    } else {
        format!("{reason}: {message}")
    })
}

fn unscheduled(pod: &Pod) -> Option<String> {
    let scheduled = condition(pod, "PodScheduled").filter(|it| it.status == "False")?;
    Some(format!(
        "can't be scheduled: {}",
        scheduled.message.as_deref().unwrap_or("no reason given")
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(status: &Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "hippo-0"}, "status": status})).unwrap()
    }

    #[test]
    fn the_containers_own_words_come_first() {
        let crashed = pod(
            &json!({"containerStatuses": [{"name": "postgres", "image": "", "imageID": "", "ready": false, "restartCount": 3,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting"}},
            "lastState": {"terminated": {"exitCode": 1, "message": "snapshot x is missing\n"}}}]}),
        );
        assert_eq!(trouble(&crashed).as_deref(), Some("snapshot x is missing"));
        let again = pod(
            &json!({"containerStatuses": [{"name": "postgres", "image": "", "imageID": "", "ready": false, "restartCount": 3,
            "state": {"running": {}}, "lastState": {"terminated": {"exitCode": 1, "message": "old"}}}]}),
        );
        assert_eq!(trouble(&again), None);
    }

    #[test]
    fn image_and_scheduling_troubles_are_told() {
        let image = pod(
            &json!({"containerStatuses": [{"name": "postgres", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}}]}),
        );
        assert_eq!(trouble(&image).as_deref(), Some("ErrImagePull: no such image"));
        let pending = pod(
            &json!({"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}]}),
        );
        assert_eq!(
            trouble(&pending).as_deref(),
            Some("can't be scheduled: 0/1 nodes are available")
        );
    }

    #[test]
    fn a_pod_tells_whether_it_ever_served() {
        let (made, later) = ("2026-11-30T06:00:00Z", "2026-11-30T06:00:01Z");
        let of = |ready: &str, turned: &str, restarts: i32, started: bool, state: &Value, last: &Value| {
            pod(
                &json!({"startTime": made, "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": turned}],
                "containerStatuses": [{"name": "postgres", "image": "", "imageID": "", "ready": false, "restartCount": restarts, "started": started,
                    "state": state, "lastState": last}]}),
            )
        };
        let (runs, ended) = (json!({"running": {}}), json!({"terminated": {"exitCode": 1}}));
        let (waits, nothing) = (json!({"waiting": {"reason": "CrashLoopBackOff"}}), json!({}));
        for (why, (ready, turned, restarts, started), run, last, (served, stuck)) in [
            ("serves", ("True", later, 0, true), &runs, &nothing, (true, false)),
            ("wavers", ("False", later, 0, true), &runs, &nothing, (true, false)),
            (
                "its first crash",
                ("False", later, 0, false),
                &ended,
                &nothing,
                (true, false),
            ),
            ("starts again", ("False", later, 1, false), &runs, &ended, (true, false)),
            ("crashes", ("False", later, 3, false), &waits, &ended, (true, true)),
            ("starts", ("False", made, 0, false), &runs, &nothing, (false, false)),
            (
                "starts, told late",
                ("False", later, 0, false),
                &runs,
                &nothing,
                (false, false),
            ),
            (
                "never came up",
                ("False", made, 3, false),
                &waits,
                &ended,
                (false, true),
            ),
        ] {
            let pod = of(ready, turned, restarts, started, run, last);
            assert_eq!((has_served(&pod), is_stuck(&pod)), (served, stuck), "{why}");
        }
        let nowhere =
            pod(&json!({"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes"}]}));
        assert_eq!((has_served(&nowhere), is_stuck(&nowhere)), (false, true));
    }
}
