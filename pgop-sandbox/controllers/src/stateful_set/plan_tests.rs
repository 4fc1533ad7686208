use super::*;
use serde_json::{Value, json};

const NOW: &str = "2026-11-01T10:00:00Z";

fn set(change: impl FnOnce(&mut Value)) -> StatefulSet {
    let mut set = json!({
        "metadata": { "name": "db", "namespace": "shop", "uid": "set-1", "generation": 3 },
        "spec": {
            "replicas": 3, "serviceName": "db-pods",
            "selector": { "matchLabels": { "app": "db" } },
            "template": { "metadata": { "labels": { "app": "db" } }, "spec": { "containers": [{ "name": "db" }] } },
            "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "partition": 0 } },
        },
    });
    change(&mut set);
    serde_json::from_value(set).unwrap()
}

#[derive(Clone, Copy)]
enum State {
    Ready,
    Starting,
    Going,
    Failed,
}
use State::{Failed, Going, Ready, Starting};

fn pod_of(ordinal: i32, revision: &str, state: State) -> Arc<Pod> {
    let name = format!("db-{ordinal}");
    let ready = matches!(state, Ready | Going);
    let mut pod = json!({
        "metadata": {
            "name": name, "namespace": "shop", "uid": format!("pod-{ordinal}"),
            "labels": { "app": "db", (REVISION_LABEL): revision, "statefulset.kubernetes.io/pod-name": name },
        },
        "status": {
            "phase": match state { Ready | Going => "Running", Starting => "Pending", Failed => "Failed" },
            "conditions": [{ "type": "Ready", "status": if ready { "True" } else { "False" }, "lastTransitionTime": "2026-11-01T09:59:50Z" }],
        },
    });
    if matches!(state, Going) {
        pod["metadata"]["deletionTimestamp"] = json!(NOW);
    }
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn pods(states: &[State]) -> Vec<Arc<Pod>> {
    (0..)
        .zip(states)
        .map(|(ordinal, state)| pod_of(ordinal, "db-old", *state))
        .collect()
}

const SAME: Revisions<'_> = Revisions {
    current: "db-old",
    update: "db-old",
};
const UPDATE: Revisions<'_> = Revisions {
    current: "db-old",
    update: "db-new",
};

fn planned(set: &StatefulSet, pods: &[Arc<Pod>], revisions: Revisions<'_>) -> Plan {
    plan(set, pods, revisions, NOW.parse().unwrap())
}

/// `+2` for a creation of ordinal 2, `-2` for its deletion.
fn steps(set: &StatefulSet, pods: &[Arc<Pod>], revisions: Revisions<'_>) -> Vec<String> {
    planned(set, pods, revisions)
        .actions
        .iter()
        .map(|action| match action {
            Action::Create { ordinal, revision } if revision == revisions.update => format!("+{ordinal}"),
            Action::Create { ordinal, revision } => format!("+{ordinal} of {revision}"),
            Action::Delete(pod) => pod.name_any().replace("db", ""),
            Action::Identify(_, ordinal) => format!("={ordinal}"),
        })
        .collect()
}

fn parallel(set: &mut Value) {
    set["spec"]["podManagementPolicy"] = json!("Parallel");
}

fn sized(replicas: i32) -> impl FnOnce(&mut Value) {
    move |set| set["spec"]["replicas"] = json!(replicas)
}

#[test]
fn pods_come_one_after_the_other() {
    let set = set(|_| {});
    assert_eq!(steps(&set, &[], SAME), ["+0"]);
    assert!(steps(&set, &pods(&[Starting]), SAME).is_empty());
    assert_eq!(steps(&set, &pods(&[Ready]), SAME), ["+1"]);
    assert_eq!(steps(&set, &pods(&[Ready, Ready]), SAME), ["+2"]);
    assert!(steps(&set, &pods(&[Ready, Ready, Ready]), SAME).is_empty());
}

#[test]
fn a_hole_is_filled_before_the_next_comes() {
    let holed = vec![pod_of(0, "db-old", Ready), pod_of(2, "db-old", Ready)];
    assert_eq!(steps(&set(|_| {}), &holed, SAME), ["+1"]);
}

#[test]
fn in_parallel_all_come_and_go_at_once() {
    assert_eq!(steps(&set(parallel), &[], SAME), ["+0", "+1", "+2"]);
    let smaller = set(|set| {
        parallel(set);
        sized(1)(set);
    });
    assert_eq!(steps(&smaller, &pods(&[Ready, Starting, Ready]), SAME), ["-2", "-1"]);
}

#[test]
fn pods_go_one_by_one_from_the_highest() {
    assert_eq!(steps(&set(sized(1)), &pods(&[Ready, Ready, Ready]), SAME), ["-2"]);
    assert!(steps(&set(sized(1)), &pods(&[Ready, Ready, Going]), SAME).is_empty());
    assert_eq!(steps(&set(sized(0)), &pods(&[Ready]), SAME), ["-0"]);
}

#[test]
fn none_goes_while_one_before_it_is_unhealthy() {
    assert!(steps(&set(sized(1)), &pods(&[Starting, Ready, Ready]), SAME).is_empty());
    assert_eq!(steps(&set(sized(1)), &pods(&[Ready, Starting, Ready]), SAME), ["-2"]);
    assert_eq!(steps(&set(sized(1)), &pods(&[Ready, Ready, Starting]), SAME), ["-2"]);
    assert!(steps(&set(sized(1)), &pods(&[Ready, Starting, Starting]), SAME).is_empty());
}

#[test]
fn an_ended_pod_is_deleted_to_come_again() {
    assert_eq!(steps(&set(|_| {}), &pods(&[Ready, Failed, Ready]), SAME), ["-1"]);
}

#[test]
fn an_update_goes_down_from_the_highest_and_waits_for_each() {
    let set = set(|set| set["status"] = json!({ "replicas": 3, "currentReplicas": 3 }));
    let with = |last: &[(i32, &str, State)]| {
        let mut pods = pods(&[Ready, Ready, Ready]);
        for (ordinal, revision, state) in last {
            pods[usize::try_from(*ordinal).unwrap()] = pod_of(*ordinal, revision, *state);
        }
        pods
    };
    assert_eq!(steps(&set, &with(&[]), UPDATE), ["-2"]);
    assert!(steps(&set, &with(&[(2, "db-old", Going)]), UPDATE).is_empty());
    assert!(steps(&set, &with(&[(2, "db-new", Starting)]), UPDATE).is_empty());
    assert_eq!(steps(&set, &with(&[(2, "db-new", Ready)]), UPDATE), ["-1"]);
}

#[test]
fn the_pod_the_update_took_comes_back_new_and_one_that_fell_comes_back_old() {
    // A status of before the deletion: it comes later than the pods.
    let set = set(|set| set["status"] = json!({ "replicas": 3, "currentReplicas": 3 }));
    assert_eq!(steps(&set, &pods(&[Ready, Ready]), UPDATE), ["+2"]);
    let fallen = |last| vec![pod_of(0, "db-old", Ready), pod_of(2, "db-new", last)];
    assert_eq!(steps(&set, &fallen(Starting), UPDATE), ["+1 of db-old"]);
    assert_eq!(steps(&set, &fallen(Ready), UPDATE), ["+1"], "it is this one's turn");
}

#[test]
fn a_partition_keeps_the_lower_pods_as_they_are() {
    let set = set(|set| set["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = json!(2));
    let updated = vec![
        pod_of(0, "db-old", Ready),
        pod_of(1, "db-old", Ready),
        pod_of(2, "db-new", Ready),
    ];
    assert!(steps(&set, &updated, UPDATE).is_empty());
    assert_eq!(steps(&set, &updated[..1], UPDATE), ["+1 of db-old"]);
    let plan = planned(&set, &updated, UPDATE);
    assert_eq!(
        plan.status.current_revision.as_deref(),
        Some("db-old"),
        "not complete while some are old"
    );
}

#[test]
fn on_delete_leaves_old_pods_to_the_user() {
    let set = set(|set| set["spec"]["updateStrategy"] = json!({ "type": "OnDelete" }));
    assert!(steps(&set, &pods(&[Ready, Ready, Ready]), UPDATE).is_empty());
    assert_eq!(steps(&set, &pods(&[Ready, Ready]), UPDATE), ["+2"]);
}

#[test]
fn min_ready_seconds_holds_the_next_pod_back_and_asks_to_come_again() {
    let set = set(|set| set["spec"]["minReadySeconds"] = json!(30));
    let plan = planned(&set, &pods(&[Ready]), SAME);
    assert!(plan.actions.is_empty());
    assert_eq!(plan.again, Some(Duration::from_secs(20)));
    assert_eq!(
        (plan.status.ready_replicas, plan.status.available_replicas),
        (Some(1), Some(0))
    );
}

#[test]
fn the_status_counts_and_completes() {
    let set = set(|_| {});
    let mixed = vec![
        pod_of(0, "db-old", Ready),
        pod_of(1, "db-old", Ready),
        pod_of(2, "db-new", Starting),
    ];
    let status = planned(&set, &mixed, UPDATE).status;
    assert_eq!((status.replicas, status.ready_replicas), (3, Some(2)));
    assert_eq!((status.current_replicas, status.updated_replicas), (Some(2), Some(1)));
    assert_eq!(status.observed_generation, Some(3));
    let all: Vec<_> = (0..3).map(|ordinal| pod_of(ordinal, "db-new", Ready)).collect();
    let status = planned(&set, &all, UPDATE).status;
    assert_eq!(status.current_revision.as_deref(), Some("db-new"));
    assert_eq!(status.current_replicas, Some(3));
}

#[test]
fn a_set_being_deleted_does_nothing() {
    let set = set(|set| set["metadata"]["deletionTimestamp"] = json!(NOW));
    assert!(steps(&set, &pods(&[Ready]), SAME).is_empty());
}

#[test]
fn ordinals_may_start_higher() {
    let set = set(|set| set["spec"]["ordinals"] = json!({ "start": 5 }));
    assert_eq!(steps(&set, &[], SAME), ["+5"]);
    assert_eq!(steps(&set, &[pod_of(5, "db-old", Ready)], SAME), ["+6"]);
    assert_eq!(
        steps(
            &set,
            &[
                pod_of(4, "db-old", Ready),
                pod_of(5, "db-old", Ready),
                pod_of(6, "db-old", Ready),
                pod_of(7, "db-old", Ready)
            ],
            SAME
        ),
        ["-4"]
    );
}

#[test]
fn a_pod_without_its_labels_gets_them_back() {
    let mut pod = (*pod_of(0, "db-old", Ready)).clone();
    pod.labels_mut().remove("statefulset.kubernetes.io/pod-name");
    assert_eq!(steps(&set(sized(1)), &[Arc::new(pod)], SAME), ["=0"]);
}
