//! Why a pod does not run, in words.

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::ListParams;
use pgop_core::name::AGENT_CONTAINER;

use crate::cluster::Cluster;
use crate::screen::one_line;

/// The reason, where waiting is of no use.
pub fn hopeless(pod: &Pod) -> Option<String> {
    if let Some((_, "InvalidImageName" | "ErrImageNeverPull" | "ImageInspectError" | "CreateContainerConfigError", _)) =
        waiting_state(pod)
    {
        return Some(waiting(pod, &[]));
    }
    let status = pod.status.as_ref()?;
    if status.phase.as_deref() == Some("Failed") {
        let told = [status.reason.clone(), status.message.clone()];
        let words: Vec<String> = told.into_iter().flatten().chain(init_words(pod)).collect();
        return Some(format!(
            "its pod failed: {}",
            if words.is_empty() {
                "no reason was given".to_owned()
            } else {
                words.join(": ")
            }
        ));
    }
    None
}

/// What an init container says that failed: the others are not even started.
fn init_words(pod: &Pod) -> Option<String> {
    let statuses = pod.status.as_ref()?.init_container_statuses.as_ref()?;
    statuses.iter().find_map(|status| {
        let ended = status.state.as_ref()?.terminated.as_ref()?;
        let message = ended.message.as_deref().unwrap_or_default().trim();
        let reason = ended.reason.as_deref().filter(|reason| *reason != "Error");
        (ended.exit_code != 0).then(|| {
            format!(
                "container {}{} ended with code {}{}{}",
                status.name,
                image(pod, &status.name),
                ended.exit_code,
                reason.map(|reason| format!(" ({reason})")).unwrap_or_default(),
                colon(message)
            )
        })
    })
}

/// Why a pod waits: the scheduler's words, the container's, or the last warnings.
pub fn waiting(pod: &Pod, warnings: &[String]) -> String {
    let status = pod.status.clone().unwrap_or_default();
    let scheduled = status
        .conditions
        .iter()
        .flatten()
        .find(|c| c.type_ == "PodScheduled" && c.status == "False");
    let mut reasons = Vec::new();
    if let Some(condition) = scheduled {
        reasons.push(format!(
            "its pod can't be scheduled: {}",
            condition.message.clone().unwrap_or_default()
        ));
    }
    match waiting_state(pod) {
        Some((_, "ContainerCreating" | "PodInitializing", _)) if !warnings.is_empty() => {}
        Some((container, reason, message)) => {
            let about = if reason.contains("Image") {
                image(pod, container)
            } else {
                String::new()
            };
            reasons.push(format!("its container waits: {reason}{about}{}", colon(message)));
        }
        None => {}
    }
    if let Some(warning) = warnings
        .last()
        .filter(|w| !reasons.iter().any(|r| r.contains(w.as_str())))
    {
        reasons.push(warning.clone());
    }
    match (reasons.is_empty(), status.phase.as_deref()) {
        (false, _) => reasons.join("; "),
        (true, Some("Running")) => "its pod is still running".to_owned(),
        (true, phase) => format!("its pod is {}", phase.unwrap_or("unknown")),
    }
}

fn colon(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(": {message}")
    }
}

/// Which container waits, as what, and the kubelet's words: the first that waits for something of its own.
fn waiting_state(pod: &Pod) -> Option<(&str, &str, &str)> {
    let status = pod.status.as_ref()?;
    let statuses = [&status.init_container_statuses, &status.container_statuses];
    let statuses = statuses.into_iter().flatten().flatten();
    let waiting: Vec<_> = statuses
        .filter_map(|container| {
            let waiting = container.state.as_ref()?.waiting.as_ref()?;
            let reason = waiting.reason.as_deref().unwrap_or_default();
            let message = waiting.message.as_deref().unwrap_or_default();
            Some((container.name.as_str(), reason, message))
        })
        .collect();
    let own = waiting.iter().find(|(_, reason, _)| *reason != "PodInitializing");
    own.or(waiting.first()).copied()
}

/// A container's image and where another comes from.
fn image(pod: &Pod, container: &str) -> String {
    let spec = pod.spec.as_ref();
    let all = spec
        .into_iter()
        .flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
    let image = all
        .filter(|one| one.name == container)
        .find_map(|one| one.image.clone());
    let other = if container == AGENT_CONTAINER {
        "the operator's, which brings the agent"
    } else {
        "choose another with --image"
    };
    format!(" (image {}; {other})", image.unwrap_or_default())
}

/// The warnings about a pod, oldest first. They help where they can be read.
pub async fn warnings(cluster: &Cluster, pod: &str) -> Vec<String> {
    let params = ListParams::default().fields(&format!("involvedObject.name={pod},type=Warning"));
    let Ok(events) = cluster.list::<Event>(&params).await else {
        return Vec::new();
    };
    let text = |event: &Event| {
        format!(
            "{}: {}",
            event.reason.as_deref().unwrap_or_default(),
            one_line(event.message.as_deref().unwrap_or_default())
        )
    };
    events.items.iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(status: &str) -> Pod {
        let text = format!(
            r#"{{"metadata": {{}}, "spec": {{"containers": [{{"name": "browse", "image": "img:1"}}]}}, "status": {status}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn an_image_that_never_comes_ends_the_wait() {
        let never = pod(
            r#"{"phase": "Pending", "containerStatuses": [{"name": "browse", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ErrImageNeverPull", "message": "not present"}}}]}"#,
        );
        let reason = hopeless(&never).unwrap();
        assert!(
            reason.contains("ErrImageNeverPull (image img:1; choose another with --image): not present"),
            "{reason}"
        );
        assert_eq!(hopeless(&pod(r#"{"phase": "Pending"}"#)), None);
    }

    #[test]
    fn what_brings_the_agent_has_its_say() {
        let of = |phase: &str, state: &str| -> Pod {
            let text = format!(
                r#"{{"metadata": {{}},
                "spec": {{"initContainers": [{{"name": "agent", "image": "op:1"}}], "containers": [{{"name": "browse", "image": "img:1"}}]}},
                "status": {{"phase": "{phase}",
                    "initContainerStatuses": [{{"name": "agent", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {state}}}],
                    "containerStatuses": [{{"name": "browse", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                        "state": {{"waiting": {{"reason": "PodInitializing"}}}}}}]}}}}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        let pulled = of(
            "Pending",
            r#"{"waiting": {"reason": "ErrImagePull", "message": "no such image"}}"#,
        );
        assert_eq!(
            waiting(&pulled, &[]),
            "its container waits: ErrImagePull (image op:1; the operator's, which brings the agent): no such image"
        );
        assert_eq!(hopeless(&pulled), None);
        let never = of("Pending", r#"{"waiting": {"reason": "ErrImageNeverPull"}}"#);
        assert!(hopeless(&never).unwrap().contains("ErrImageNeverPull (image op:1;"));
        let without = of(
            "Failed",
            r#"{"terminated": {"exitCode": 128, "reason": "StartError", "message": "pgop-agent: not found\n"}}"#,
        );
        assert_eq!(
            hopeless(&without).unwrap(),
            "its pod failed: container agent (image op:1; the operator's, which brings the agent) ended with code 128 (StartError): \
             pgop-agent: not found"
        );
        let copied = of("Running", r#"{"terminated": {"exitCode": 0}}"#);
        assert_eq!(waiting(&copied, &[]), "its container waits: PodInitializing");
    }

    #[test]
    fn the_scheduler_and_the_kubelet_have_their_say() {
        let unscheduled = pod(
            r#"{"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}]}"#,
        );
        assert_eq!(
            waiting(&unscheduled, &[]),
            "its pod can't be scheduled: 0/3 nodes are available"
        );
        let creating = pod(
            r#"{"phase": "Pending", "containerStatuses": [{"name": "browse", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ContainerCreating"}}}]}"#,
        );
        assert_eq!(
            waiting(&creating, &["FailedMount: no such volume".into()]),
            "FailedMount: no such volume"
        );
        assert_eq!(waiting(&creating, &[]), "its container waits: ContainerCreating");
        let deadline = pod(r#"{"phase": "Failed", "reason": "DeadlineExceeded", "message": "too long"}"#);
        assert_eq!(
            hopeless(&deadline).unwrap(),
            "its pod failed: DeadlineExceeded: too long"
        );
    }
}
