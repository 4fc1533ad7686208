use super::{phase, status};
use crate::pod::state::{Ended, PodState, Policy, State};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use serde_json::{Value, from_value, json};

fn now() -> Timestamp {
    "2026-11-22T10:00:30.7Z".parse().unwrap()
}

fn pod(spec: &Value) -> Pod {
    from_value(json!({"metadata": {"name": "orders-0", "namespace": "shop"}, "spec": spec})).unwrap()
}

fn ended(code: i32) -> State {
    State::Terminated(Ended {
        code,
        reason: if code == 0 { "Completed" } else { "Error" }.into(),
        message: None,
        started: Some(now()),
        finished: now(),
        id: Some("sandbox://1".into()),
    })
}

fn running() -> State {
    State::Running { since: now() }
}

fn condition<'a>(status: &'a PodStatus, kind: &str) -> (&'a str, Option<&'a str>, Option<&'a str>) {
    let found = status.conditions.iter().flatten().find(|c| c.type_ == kind).unwrap();
    (&found.status, found.reason.as_deref(), found.message.as_deref())
}

#[test]
fn a_pod_begins_as_pending() {
    let pod = pod(&json!({"containers": [{"name": "a", "image": "x:1"}]}));
    let status = status(&pod, &PodState::new(&pod), now());
    assert_eq!(status.phase.as_deref(), Some("Pending"));
    assert_eq!(
        condition(&status, "Ready"),
        (
            "False",
            Some("ContainersNotReady"),
            Some("containers with unready status: [a]")
        )
    );
    assert_eq!(condition(&status, "Initialized").0, "True");
    assert_eq!(condition(&status, "PodReadyToStartContainers").0, "False");
    let container = &status.container_statuses.unwrap()[0];
    assert_eq!(
        container
            .state
            .as_ref()
            .unwrap()
            .waiting
            .as_ref()
            .unwrap()
            .reason
            .as_deref(),
        Some("ContainerCreating")
    );
    assert_eq!(
        (container.image_id.as_str(), container.ready, container.started),
        ("", false, Some(false))
    );
}

#[test]
fn phases_follow_policy_and_exit_codes() {
    for (policy, codes, want) in [
        ("Always", [Some(0), Some(0)], "Running"),
        ("Never", [Some(0), Some(0)], "Succeeded"),
        ("Never", [Some(0), Some(1)], "Failed"),
        ("Never", [Some(1), None], "Running"),
        ("OnFailure", [Some(0), Some(0)], "Succeeded"),
        ("OnFailure", [Some(1), Some(0)], "Running"),
    ] {
        let pod = pod(&json!({"restartPolicy": policy, "containers": [{"name": "a"}, {"name": "b"}]}));
        let mut state = PodState::new(&pod);
        for (container, code) in state.containers.iter_mut().zip(codes) {
            container.state = code.map_or_else(running, ended);
        }
        assert_eq!(phase(&state, Policy::of(&pod)), want, "{policy} {codes:?}");
    }
}

#[test]
fn a_container_that_waits_to_be_started_again_does_not_make_the_pod_pending() {
    let pod = pod(&json!({"containers": [{"name": "a"}]}));
    let mut state = PodState::new(&pod);
    let State::Terminated(last) = ended(1) else {
        unreachable!()
    };
    state.containers[0].last = Some(last);
    state.containers[0].state = State::Waiting {
        reason: "CrashLoopBackOff",
        message: None,
    };
    assert_eq!(phase(&state, Policy::Always), "Running");
}

#[test]
fn init_containers_come_first() {
    let pod = pod(&json!({"restartPolicy": "Never", "initContainers": [{"name": "i"}], "containers": [{"name": "a"}]}));
    let mut state = PodState::new(&pod);
    assert_eq!(phase(&state, Policy::Never), "Pending");
    let first = status(&pod, &state, now());
    assert_eq!(
        condition(&first, "Initialized"),
        (
            "False",
            Some("ContainersNotInitialized"),
            Some("containers with incomplete status: [i]")
        )
    );
    state.containers[0].state = ended(0);
    let second = status(&pod, &state, now());
    assert!(second.init_container_statuses.unwrap()[0].ready);
    state.containers[0].state = ended(3);
    assert_eq!(phase(&state, Policy::Never), "Failed");
    assert_eq!(phase(&state, Policy::Always), "Pending");
}

#[test]
fn readiness_is_that_of_all_containers_and_gates() {
    let mut pod = pod(&json!({"containers": [{"name": "a"}], "readinessGates": [{"conditionType": "x.dev/open"}]}));
    let mut state = PodState::new(&pod);
    state.containers[0].state = running();
    state.containers[0].ready = true;
    let first = status(&pod, &state, now());
    assert_eq!(condition(&first, "ContainersReady").0, "True");
    let (holds, reason, message) = condition(&first, "Ready");
    assert_eq!((holds, reason), ("False", Some("ReadinessGatesNotReady")));
    assert_eq!(
        message,
        Some("corresponding condition of pod readiness gate \"x.dev/open\" does not exist.")
    );
    pod.status = from_value(json!({"conditions": [{"type": "x.dev/open", "status": "True"}]})).unwrap();
    let second = status(&pod, &state, now());
    assert_eq!(condition(&second, "Ready").0, "True");
    assert_eq!(condition(&second, "x.dev/open").0, "True", "what others wrote is kept");
}

#[test]
fn a_condition_keeps_its_time_while_it_holds_and_times_are_whole_seconds() {
    let mut pod = pod(&json!({"containers": [{"name": "a"}]}));
    let mut state = PodState::new(&pod);
    pod.status = Some(status(&pod, &state, "2026-11-22T10:00:00Z".parse().unwrap()));
    state.containers[0].state = running();
    state.containers[0].ready = true;
    let later = status(&pod, &state, now());
    let at = |kind: &str| {
        let found = later
            .conditions
            .as_ref()
            .unwrap()
            .iter()
            .find(|c| c.type_ == kind)
            .unwrap();
        found.last_transition_time.as_ref().unwrap().0.to_string()
    };
    assert_eq!(at("Initialized"), "2026-11-22T10:00:00Z");
    assert_eq!(at("Ready"), "2026-11-22T10:00:30Z");
}

#[test]
fn a_pod_that_the_node_ended_says_why() {
    let pod = pod(&json!({"containers": [{"name": "a"}]}));
    let mut state = PodState::new(&pod);
    state.containers[0].state = ended(137);
    state.failed = Some((
        "DeadlineExceeded",
        "Pod was active on the node longer than the specified deadline".into(),
    ));
    state.over = true;
    let status = status(&pod, &state, now());
    assert_eq!(
        (status.phase.as_deref(), status.reason.as_deref()),
        (Some("Failed"), Some("DeadlineExceeded"))
    );
    assert_eq!(
        condition(&status, "ContainersReady"),
        ("False", Some("PodFailed"), None)
    );
}
