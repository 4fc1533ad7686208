//! What the node knows of a pod that it runs: the raw material of its status.

use std::net::Ipv4Addr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container as Spec, ContainerStatus, Pod};

/// What a container is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Runs to its end before the next one.
    Init,
    /// An init container with `restartPolicy: Always`: it is started in order and goes on.
    Sidecar,
    /// One of those that the pod is for.
    Main,
}

/// When a container is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    Always,
    OnFailure,
    Never,
}

impl Policy {
    /// The pod's policy.
    pub(crate) fn of(pod: &Pod) -> Self {
        match pod.spec.as_ref().and_then(|s| s.restart_policy.as_deref()) {
            Some("Never") => Self::Never,
            Some("OnFailure") => Self::OnFailure,
            _ => Self::Always,
        }
    }

    /// The policy for a container: init containers end once they succeed, sidecars never.
    pub(crate) fn for_role(self, role: Role) -> Self {
        match (role, self) {
            (Role::Sidecar, _) => Self::Always,
            (Role::Init, Self::Always) => Self::OnFailure,
            (_, policy) => policy,
        }
    }

    /// Is a container that ended with this code started again?
    pub(crate) fn restarts(self, code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => code != 0,
            Self::Never => false,
        }
    }
}

/// How a run of a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) reason: String,
    pub(crate) message: Option<String>,
    pub(crate) started: Option<Timestamp>,
    pub(crate) finished: Timestamp,
    pub(crate) id: Option<String>,
}

/// What a container does now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Waiting {
        reason: &'static str,
        message: Option<String>,
    },
    Running {
        since: Timestamp,
    },
    Terminated(Ended),
}

/// A container of the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Container {
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) role: Role,
    pub(crate) state: State,
    pub(crate) last: Option<Ended>,
    pub(crate) restarts: i32,
    /// It may get connections.
    pub(crate) ready: bool,
    /// Its start is over: the startup probe and the hook are.
    pub(crate) started: bool,
    /// Of the run that goes on, or the last one.
    pub(crate) id: Option<String>,
}

impl Container {
    fn new(spec: &Spec, role: Role, before: Option<&ContainerStatus>, reason: &'static str) -> Self {
        let mut container = Self {
            name: spec.name.clone(),
            image: spec.image.clone().unwrap_or_default(),
            role,
            state: State::Waiting { reason, message: None },
            last: None,
            restarts: 0,
            ready: false,
            started: false,
            id: None,
        };
        if let Some(before) = before {
            container.go_on_from(before);
        }
        container
    }

    /// Goes on from what a former run of the node has written: what ran then has ended with it.
    fn go_on_from(&mut self, before: &ContainerStatus) {
        self.restarts = before.restart_count;
        let ended = |status: &k8s_openapi::api::core::v1::ContainerStateTerminated| Ended {
            code: status.exit_code,
            reason: status.reason.clone().unwrap_or_default(),
            message: status.message.clone(),
            started: status.started_at.as_ref().map(|t| t.0),
            finished: status
                .finished_at
                .as_ref()
                .map_or_else(pgop_sandbox_tasks::now, |t| t.0),
            id: status.container_id.clone(),
        };
        self.last = before
            .last_state
            .as_ref()
            .and_then(|s| s.terminated.as_ref())
            .map(ended);
        let Some(state) = &before.state else { return };
        if let Some(terminated) = &state.terminated {
            self.state = State::Terminated(ended(terminated));
            self.id.clone_from(&terminated.container_id);
        } else if let Some(running) = &state.running {
            self.id.clone_from(&before.container_id);
            self.state = State::Terminated(Ended {
                code: 137,
                reason: "ContainerStatusUnknown".to_owned(),
                message: Some(
                    "The container could not be located when the pod was restarted: the sandbox had been stopped, or its work on the pod had failed"
                        .to_owned(),
                ),
                started: running.started_at.as_ref().map(|t| t.0),
                finished: pgop_sandbox_tasks::now(),
                id: before.container_id.clone(),
            });
        }
    }

    /// How it ended, if it has and is not to run again.
    pub(crate) fn ended(&self) -> Option<&Ended> {
        match &self.state {
            State::Terminated(ended) => Some(ended),
            _ => None,
        }
    }

    /// It ran before this run of the node.
    pub(crate) fn has_run(&self) -> bool {
        self.ended().is_some() || self.last.is_some()
    }
}

/// What the node knows of a pod.
#[derive(Clone, Debug)]
pub(crate) struct PodState {
    /// When the node first saw it.
    pub(crate) since: Timestamp,
    /// Its address, once it has one.
    pub(crate) address: Option<Ipv4Addr>,
    /// Its network is there, and its volumes: containers can start.
    pub(crate) can_start: bool,
    /// All init containers are done.
    pub(crate) initialized: bool,
    /// The node has ended it: reason and message.
    pub(crate) failed: Option<(&'static str, String)>,
    /// All its containers have been ended, none will run again.
    pub(crate) over: bool,
    /// Init containers first, each list in its order.
    pub(crate) containers: Vec<Container>,
}

impl PodState {
    /// At the beginning: nothing runs. A status that is there is gone on from.
    pub(crate) fn new(pod: &Pod) -> Self {
        let (spec, status) = (pod.spec.as_ref(), pod.status.as_ref());
        let inits: Vec<_> = spec
            .into_iter()
            .flat_map(|s| s.init_containers.iter().flatten())
            .collect();
        let reason = if inits.is_empty() {
            "ContainerCreating"
        } else {
            "PodInitializing"
        };
        let before = |name: &str, init: bool| {
            let list = status.and_then(|s| {
                if init {
                    s.init_container_statuses.as_ref()
                } else {
                    s.container_statuses.as_ref()
                }
            });
            list.into_iter().flatten().find(|c| c.name == name)
        };
        let role = |c: &Spec| {
            if c.restart_policy.as_deref() == Some("Always") {
                Role::Sidecar
            } else {
                Role::Init
            }
        };
        let mut containers: Vec<_> = inits
            .iter()
            .map(|c| Container::new(c, role(c), before(&c.name, true), "PodInitializing"))
            .collect();
        let mains = spec.into_iter().flat_map(|s| &s.containers);
        containers.extend(mains.map(|c| Container::new(c, Role::Main, before(&c.name, false), reason)));
        Self {
            since: status
                .and_then(|s| s.start_time.as_ref())
                .map_or_else(pgop_sandbox_tasks::now, |t| t.0),
            address: None,
            can_start: false,
            initialized: inits.is_empty(),
            failed: None,
            over: false,
            containers,
        }
    }

    /// The container of that name.
    pub(crate) fn container(&mut self, name: &str) -> Option<&mut Container> {
        self.containers.iter_mut().find(|c| c.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::{PodState, Policy, Role};
    use serde_json::{from_value, json};

    #[test]
    fn init_containers_end_and_sidecars_do_not() {
        assert!(!Policy::Always.for_role(Role::Init).restarts(0));
        assert!(Policy::Always.for_role(Role::Init).restarts(1));
        assert!(!Policy::Never.for_role(Role::Init).restarts(1));
        assert!(Policy::Never.for_role(Role::Sidecar).restarts(0));
        assert!(Policy::OnFailure.for_role(Role::Main).restarts(3));
        assert!(!Policy::Never.for_role(Role::Main).restarts(3));
    }

    #[test]
    fn after_a_restart_what_ran_has_ended_and_counts_go_on() {
        let pod = from_value(json!({
            "metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}, {"name": "b"}]},
            "status": {"startTime": "2026-11-22T10:00:00Z", "containerStatuses": [
                {"name": "a", "image": "", "imageID": "", "ready": true, "restartCount": 4, "containerID": "sandbox://1",
                 "state": {"running": {"startedAt": "2026-11-22T10:00:01Z"}}},
                {"name": "b", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                 "state": {"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": "2026-11-22T10:00:02Z"}}}]},
        }))
        .unwrap();
        let state = PodState::new(&pod);
        assert_eq!(state.since.to_string(), "2026-11-22T10:00:00Z");
        let [a, b] = &state.containers[..] else { panic!("two") };
        assert_eq!(
            (a.restarts, a.ended().unwrap().code, a.id.as_deref()),
            (4, 137, Some("sandbox://1"))
        );
        assert_eq!(b.ended().unwrap().reason, "Completed");
        assert!(a.has_run() && b.has_run());
    }
}
