//! The status of a pod, as a kubelet writes it, from what is known of it. Pure:
//! <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/>.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, HostIP,
    Pod, PodCondition, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::state::{Container, Ended, PodState, Policy, Role, State};
use crate::network::GATEWAY;

/// Kubernetes keeps whole seconds.
fn time(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}

/// The phase.
pub(crate) fn phase(state: &PodState, policy: Policy) -> &'static str {
    if state.failed.is_some()
        && (state.over
            || state
                .containers
                .iter()
                .all(|c| !matches!(c.state, State::Running { .. })))
    {
        return "Failed";
    }
    let final_end = |c: &&Container| {
        c.ended()
            .is_some_and(|e| state.over || !policy.for_role(c.role).restarts(e.code))
    };
    let mut inits = state.containers.iter().filter(|c| c.role == Role::Init);
    if !state.initialized {
        let broken = inits.any(|c| final_end(&c) && c.ended().is_some_and(|e| e.code != 0));
        return if broken || state.over && state.containers.iter().any(Container::has_run) {
            "Failed"
        } else {
            "Pending"
        };
    }
    let mains: Vec<_> = state.containers.iter().filter(|c| c.role == Role::Main).collect();
    let fresh = mains
        .iter()
        .any(|c| matches!(c.state, State::Waiting { .. }) && c.last.is_none());
    if fresh && !state.over {
        return "Pending";
    }
    if mains.iter().all(final_end) {
        let good = mains.iter().all(|c| c.ended().is_some_and(|e| e.code == 0));
        return if good { "Succeeded" } else { "Failed" };
    }
    if state.over { "Failed" } else { "Running" }
}

/// The whole status. `pod` is the object as it is now: what others have written to its status is kept.
pub(crate) fn status(pod: &Pod, state: &PodState, now: Timestamp) -> PodStatus {
    let before = pod.status.clone().unwrap_or_default();
    let policy = Policy::of(pod);
    let phase = phase(state, policy);
    let statuses = |init: bool| {
        let wanted = state.containers.iter().filter(|c| (c.role == Role::Main) != init);
        wanted.map(|c| container_status(c, phase)).collect::<Vec<_>>()
    };
    let inits = statuses(true);
    let mut mains = statuses(false);
    mains.sort_by(|a, b| a.name.cmp(&b.name));
    PodStatus {
        phase: Some(phase.to_owned()),
        conditions: Some(conditions(pod, state, phase, now)),
        reason: state.failed.as_ref().map(|f| f.0.to_owned()),
        message: state.failed.as_ref().map(|f| f.1.clone()),
        host_ip: Some(GATEWAY.to_string()),
        host_ips: Some(vec![HostIP {
            ip: GATEWAY.to_string(),
        }]),
        pod_ip: state.address.map(|ip| ip.to_string()),
        pod_ips: state.address.map(|ip| vec![PodIP { ip: ip.to_string() }]),
        start_time: Some(time(state.since)),
        init_container_statuses: (!inits.is_empty()).then_some(inits),
        container_statuses: Some(mains),
        ..before
    }
}

fn container_status(container: &Container, phase: &str) -> ContainerStatus {
    let over = phase == "Succeeded" || phase == "Failed";
    let started = match container.role {
        Role::Init => container.started && container.ended().is_none(),
        _ => container.started,
    };
    // An init container counts as ready once it has done its work.
    let done = container.role == Role::Init && container.ended().is_some_and(|e| e.code == 0);
    let last = container.last.as_ref().map(|ended| ContainerState {
        terminated: Some(terminated(ended)),
        ..ContainerState::default()
    });
    ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone(),
        image_id: if container.id.is_some() {
            format!("sandbox://{}", container.image)
        } else {
            String::new()
        },
        container_id: container.id.clone(),
        ready: (container.ready || done) && !(over && container.role == Role::Main),
        started: Some(started),
        restart_count: container.restarts,
        state: Some(container_state(&container.state)),
        last_state: Some(last.unwrap_or_default()),
        ..ContainerStatus::default()
    }
}

fn container_state(state: &State) -> ContainerState {
    match state {
        State::Waiting { reason, message } => ContainerState {
            waiting: Some(ContainerStateWaiting {
                reason: Some((*reason).to_owned()),
                message: message.clone(),
            }),
            ..ContainerState::default()
        },
        State::Running { since } => ContainerState {
            running: Some(ContainerStateRunning {
                started_at: Some(time(*since)),
            }),
            ..ContainerState::default()
        },
        State::Terminated(ended) => ContainerState {
            terminated: Some(terminated(ended)),
            ..ContainerState::default()
        },
    }
}

fn terminated(ended: &Ended) -> ContainerStateTerminated {
    ContainerStateTerminated {
        exit_code: ended.code,
        reason: Some(ended.reason.clone()),
        message: ended.message.clone(),
        started_at: Some(time(ended.started.unwrap_or(ended.finished))),
        finished_at: Some(time(ended.finished)),
        container_id: ended.id.clone(),
        ..ContainerStateTerminated::default()
    }
}

struct Verdict {
    kind: &'static str,
    holds: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Verdict {
    fn yes(kind: &'static str) -> Self {
        Self {
            kind,
            holds: true,
            reason: None,
            message: None,
        }
    }

    fn no(kind: &'static str, reason: &'static str, message: Option<String>) -> Self {
        Self {
            kind,
            holds: false,
            reason: Some(reason),
            message,
        }
    }
}

fn conditions(pod: &Pod, state: &PodState, phase: &str, now: Timestamp) -> Vec<PodCondition> {
    let mut all = pod
        .status
        .as_ref()
        .and_then(|s| s.conditions.clone())
        .unwrap_or_default();
    let containers = containers_ready(state, phase);
    let ready = ready(&all, pod, &containers);
    let start = if state.can_start {
        Verdict::yes("PodReadyToStartContainers")
    } else {
        Verdict {
            holds: false,
            ..Verdict::yes("PodReadyToStartContainers")
        }
    };
    let scheduled = !all.iter().any(|c| c.type_ == "PodScheduled");
    let verdicts = [
        Some(start),
        Some(initialized(state, phase)),
        Some(ready),
        Some(containers),
        scheduled.then(|| Verdict::yes("PodScheduled")),
    ];
    for verdict in verdicts.into_iter().flatten() {
        let status = if verdict.holds { "True" } else { "False" };
        let old = all.iter().position(|c| c.type_ == verdict.kind);
        let since = old
            .and_then(|at| all.get(at))
            .filter(|c| c.status == status)
            .and_then(|c| c.last_transition_time.clone());
        let condition = PodCondition {
            type_: verdict.kind.to_owned(),
            status: status.to_owned(),
            reason: verdict.reason.map(str::to_owned),
            message: verdict.message,
            last_transition_time: Some(since.unwrap_or_else(|| time(now))),
            ..PodCondition::default()
        };
        match old.and_then(|at| all.get_mut(at)) {
            Some(place) => *place = condition,
            None => all.push(condition),
        }
    }
    all
}

fn names(containers: &[&Container]) -> String {
    containers.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(" ")
}

fn initialized(state: &PodState, phase: &str) -> Verdict {
    if phase == "Succeeded" {
        return Verdict {
            reason: Some("PodCompleted"),
            ..Verdict::yes("Initialized")
        };
    }
    if state.initialized {
        return Verdict::yes("Initialized");
    }
    let open = |c: &&Container| match c.role {
        Role::Init => c.ended().is_none_or(|e| e.code != 0),
        Role::Sidecar => !c.started,
        Role::Main => false,
    };
    let open: Vec<_> = state.containers.iter().filter(open).collect();
    Verdict::no(
        "Initialized",
        "ContainersNotInitialized",
        Some(format!("containers with incomplete status: [{}]", names(&open))),
    )
}

fn containers_ready(state: &PodState, phase: &str) -> Verdict {
    match phase {
        "Succeeded" => return Verdict::no("ContainersReady", "PodCompleted", None),
        "Failed" => return Verdict::no("ContainersReady", "PodFailed", None),
        _ => {}
    }
    let unready: Vec<_> = state
        .containers
        .iter()
        .filter(|c| c.role != Role::Init && !c.ready)
        .collect();
    if unready.is_empty() {
        return Verdict::yes("ContainersReady");
    }
    Verdict::no(
        "ContainersReady",
        "ContainersNotReady",
        Some(format!("containers with unready status: [{}]", names(&unready))),
    )
}

fn ready(now: &[PodCondition], pod: &Pod, containers: &Verdict) -> Verdict {
    if !containers.holds {
        return Verdict {
            kind: "Ready",
            holds: false,
            reason: containers.reason,
            message: containers.message.clone(),
        };
    }
    let gates = pod.spec.iter().flat_map(|s| s.readiness_gates.iter().flatten());
    let mut open = Vec::new();
    for gate in gates.map(|g| &g.condition_type) {
        match now.iter().find(|c| c.type_ == *gate) {
            None => open.push(format!(
                "corresponding condition of pod readiness gate \"{gate}\" does not exist."
            )),
            Some(condition) if condition.status != "True" => {
                open.push(format!(
                    "the status of pod readiness gate \"{gate}\" is not \"True\", but {}",
                    condition.status
                ));
            }
            Some(_) => {}
        }
    }
    if open.is_empty() {
        Verdict::yes("Ready")
    } else {
        Verdict::no("Ready", "ReadinessGatesNotReady", Some(open.join(", ")))
    }
}

#[cfg(test)]
mod tests;
