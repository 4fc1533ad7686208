//! Why a pod does not run, in words.

use k8s_openapi::api::core::v1::{ContainerState, Event, Pod};
use kube::api::ListParams;

use crate::cluster::Cluster;
use crate::screen::one_line;

/// The reason, where waiting is of no use.
pub fn hopeless(pod: &Pod) -> Option<String> {
    if let Some(("InvalidImageName" | "ErrImageNeverPull" | "ImageInspectError" | "CreateContainerConfigError", _)) =
        waiting_state(pod)
    {
        return Some(waiting(pod, &[]));
    }
    let status = pod.status.as_ref()?;
    if status.phase.as_deref() == Some("Failed") {
        let words = [status.reason.as_deref(), status.message.as_deref()];
        let words: Vec<&str> = words.into_iter().flatten().collect();
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
        Some(("ContainerCreating" | "PodInitializing", _)) if !warnings.is_empty() => {}
        Some((reason, message)) => {
            let image = pod
                .spec
                .as_ref()
                .and_then(|s| s.containers.first())
                .and_then(|c| c.image.clone())
                .unwrap_or_default();
            let about = if reason.contains("Image") {
                format!(" (image {image}; choose another with --image)")
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

fn waiting_state(pod: &Pod) -> Option<(&str, &str)> {
    let state: &ContainerState = pod
        .status
        .as_ref()?
        .container_statuses
        .as_ref()?
        .first()?
        .state
        .as_ref()?;
    let waiting = state.waiting.as_ref()?;
    Some((
        waiting.reason.as_deref().unwrap_or_default(),
        waiting.message.as_deref().unwrap_or_default(),
    ))
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
