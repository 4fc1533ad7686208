//! How a pod is, in the words of `kubectl get pods`.

use serde_json::Value;

use super::cell::{condition, count, list, number, text};
use super::time;

pub(super) fn ready_containers(pod: &Value) -> usize {
    list(&pod["status"]["containerStatuses"])
        .iter()
        .filter(|status| status["ready"] == true)
        .count()
}

pub(super) fn restarts(pod: &Value) -> String {
    let statuses = list(&pod["status"]["containerStatuses"]);
    let total: i64 = statuses.iter().map(|status| number(&status["restartCount"])).sum();
    let last = statuses
        .iter()
        .map(|status| &status["lastState"]["terminated"]["finishedAt"])
        .filter_map(Value::as_str)
        .max();
    match last.filter(|_| total > 0) {
        Some(time) => format!("{total} ({} ago)", time::since(&time.into())),
        None => total.to_string(),
    }
}

/// The one word for how a pod is: its phase, unless a container says more.
pub(super) fn pod_status(pod: &Value) -> String {
    let status = &pod["status"];
    let mut told = match text(&status["reason"]) {
        "" => text(&status["phase"]).to_owned(),
        reason => reason.to_owned(),
    };
    let init = list(&status["initContainerStatuses"]);
    let waiting = init
        .iter()
        .enumerate()
        .find_map(|(index, container)| Some((index, init_status(pod, container)?)));
    let initializing = waiting.is_some();
    if let Some((index, reason)) = waiting {
        told = match reason {
            Some(reason) => format!("Init:{reason}"),
            None => format!("Init:{index}/{}", count(&pod["spec"]["initContainers"])),
        };
    }
    if !initializing {
        let mut running = false;
        for container in list(&status["containerStatuses"]).iter().rev() {
            match container_reason(container) {
                Some(reason) => told = reason,
                None => running |= container["ready"] == true && container["state"]["running"].is_object(),
            }
        }
        if told == "Completed" && running {
            told = if is_ready(status) {
                "Running".into()
            } else {
                "NotReady".into()
            };
        }
    }
    if pod["metadata"].get("deletionTimestamp").is_some() {
        told = if status["reason"] == "NodeLost" {
            "Unknown".into()
        } else {
            "Terminating".into()
        };
    }
    told
}

/// Why the pod waits for an init container, as far as that has a name. Nothing of one that is done.
#[allow(clippy::option_option)] // whether it waits, and for what
fn init_status(pod: &Value, status: &Value) -> Option<Option<String>> {
    let restartable = list(&pod["spec"]["initContainers"])
        .iter()
        .any(|container| container["name"] == status["name"] && container["restartPolicy"] == "Always");
    let state = &status["state"];
    if (state["terminated"].is_object() && number(&state["terminated"]["exitCode"]) == 0)
        || (restartable && status["started"] == true)
    {
        return None;
    }
    Some(container_reason(status).filter(|reason| reason != "PodInitializing"))
}

fn container_reason(status: &Value) -> Option<String> {
    let state = &status["state"];
    if !text(&state["waiting"]["reason"]).is_empty() {
        return Some(text(&state["waiting"]["reason"]).into());
    }
    let terminated = state["terminated"].as_object()?;
    let reason = terminated.get("reason").map(text).unwrap_or_default();
    let signal = terminated.get("signal").map(number).unwrap_or_default();
    Some(match (reason, signal) {
        ("", 0) => format!(
            "ExitCode:{}",
            terminated.get("exitCode").map(number).unwrap_or_default()
        ),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.into(),
    })
}

fn is_ready(status: &Value) -> bool {
    condition(status, "Ready") == Some("True")
}
