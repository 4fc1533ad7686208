//! What goes through to the containers of a pod: logs, exec, attach, port-forward and requests.

pub(crate) mod exec;
mod forward;
mod log;
mod proxy;
mod upgrade;

use std::sync::Arc;

use http::Response;
use hyper::upgrade::OnUpgrade;
use pgop_sandbox_kubelet::{Kubelet, KubeletError, Target};
use serde_json::Value;

pub(crate) use self::proxy::proxy;
use crate::call::Call;
use crate::response::Body;
use crate::status::{ApiError, Result};

/// Answers the request for such a subresource. `upgrade` is the connection, if the request asks to use it otherwise.
pub(crate) async fn connect(call: &Call, upgrade: Option<OnUpgrade>) -> Result<Response<Body>> {
    match call.path.subresource.as_str() {
        "log" => log::log(call).await,
        "exec" | "attach" => exec::exec(call, upgrade).await,
        _ => forward::forward(call, upgrade),
    }
}

fn kubelet(call: &Call) -> Result<Arc<dyn Kubelet>> {
    let kubelet = call.state.kubelet.read().clone();
    kubelet.ok_or_else(|| ApiError::unavailable("no node is there that could reach into containers"))
}

/// The pod of the path, which must be on a node.
fn pod(call: &Call) -> Result<Value> {
    let pod = call.stored()?.value().clone();
    if !is_assigned(&pod) {
        return Err(ApiError::bad_request(format!(
            "pod {} does not have a host assigned",
            call.path.name
        )));
    }
    Ok(pod)
}

fn is_assigned(pod: &Value) -> bool {
    pod["spec"]["nodeName"].as_str().is_some_and(|node| !node.is_empty())
}

/// The container that is asked for; a pod with only one needs no asking.
fn target(call: &Call, pod: &Value) -> Result<Target> {
    let named = |list: &str| -> Vec<String> {
        let containers = pod["spec"][list].as_array().into_iter().flatten();
        containers
            .filter_map(|container| container["name"].as_str().map(str::to_owned))
            .collect()
    };
    let (containers, others) = (named("containers"), named("initContainers"));
    let name = &call.path.name;
    let container = match (call.query.get("container"), containers.as_slice()) {
        (Some(asked), _) if containers.iter().chain(&others).any(|known| known == asked) => asked.to_owned(),
        (Some(asked), _) => {
            return Err(ApiError::bad_request(format!(
                "container {asked} is not valid for pod {name}"
            )));
        }
        (None, [only]) => only.clone(),
        (None, _) => {
            let default = pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"].as_str();
            let default = default.filter(|default| containers.iter().any(|known| known == default));
            let choice = choice(&containers, &others);
            let why = || ApiError::bad_request(format!("a container name must be specified for pod {name}, {choice}"));
            default.ok_or_else(why)?.to_owned()
        }
    };
    Ok(Target {
        container,
        ..target_pod(call, pod)
    })
}

fn choice(containers: &[String], others: &[String]) -> String {
    let first = format!("choose one of: [{}]", containers.join(" "));
    if others.is_empty() {
        first
    } else {
        format!("{first} or one of the init containers: [{}]", others.join(" "))
    }
}

/// The pod itself, no container of it.
fn target_pod(call: &Call, pod: &Value) -> Target {
    Target {
        namespace: call.path.namespace.clone(),
        pod: call.path.name.clone(),
        uid: pod["metadata"]["uid"].as_str().unwrap_or_default().into(),
        container: String::new(),
    }
}

/// What the node says when it can't.
fn refused(error: &KubeletError) -> Box<ApiError> {
    match error {
        KubeletError::NotRunning { container, pod, why } => ApiError::bad_request(format!(
            "container \"{container}\" in pod \"{pod}\" is waiting to start: {why}"
        )),
        KubeletError::NoPreviousRun { .. } => ApiError::bad_request(error.to_string()),
        KubeletError::Start { command, source } => {
            let why = reason(source);
            ApiError::internal(&format!(
                "error executing command in container: failed to exec in container: exec {command:?}: {why}"
            ))
        }
        KubeletError::Connect { .. } | KubeletError::Open { .. } => ApiError::internal(error),
    }
}

/// Why the system refused, as programs in Go word it: clients look for `no such file or directory` and `connection refused`.
fn reason(error: &std::io::Error) -> String {
    let mut text = error.to_string();
    if let Some(number) = error.raw_os_error() {
        text = text.trim_end_matches(&format!(" (os error {number})")).to_lowercase();
    }
    text
}
