//! Which nodes a `DaemonSet` has pods on, and its status. Pure.
//! See <https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/>.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    apps::v1::{DaemonSet, DaemonSetStatus},
    core::v1::{Node, Pod, PodSpec, Taint, Toleration},
};
use kube::ResourceExt;

use crate::{
    deployment::sizes::resolve,
    node_fit::{is_wanted, taints, tolerates},
    pod,
};

pub(crate) const HASH_LABEL: &str = "controller-revision-hash";
/// A pod that failed is kept for this long, so that one that fails at once is not made again at once.
const FAILED_KEPT: SignedDuration = SignedDuration::from_secs(10);

#[derive(Debug, PartialEq)]
pub(crate) enum Action {
    Create { node: String },
    Delete(Arc<Pod>),
}

pub(crate) struct Plan {
    pub(crate) actions: Vec<Action>,
    pub(crate) status: DaemonSetStatus,
    pub(crate) again: Option<Duration>,
}

/// What such pods bear without saying so: a node in trouble still wants its daemons.
pub(crate) fn tolerations(spec: &PodSpec) -> Vec<Toleration> {
    let mut tolerations = spec.tolerations.clone().unwrap_or_default();
    let borne = [
        ("not-ready", "NoExecute"),
        ("unreachable", "NoExecute"),
        ("disk-pressure", "NoSchedule"),
        ("memory-pressure", "NoSchedule"),
        ("pid-pressure", "NoSchedule"),
        ("unschedulable", "NoSchedule"),
        ("network-unavailable", "NoSchedule"),
    ];
    for (key, effect) in borne {
        if key == "network-unavailable" && spec.host_network != Some(true) {
            continue;
        }
        let toleration = Toleration {
            key: Some(format!("node.kubernetes.io/{key}")),
            operator: Some("Exists".into()),
            effect: Some(effect.into()),
            ..Toleration::default()
        };
        if !tolerations.contains(&toleration) {
            tolerations.push(toleration);
        }
    }
    tolerations
}

/// Whether pods are made on the node, and whether those there stay.
fn wants(set: &DaemonSet, node: &Node) -> (bool, bool) {
    let Some(spec) = &set.spec.template.spec else {
        return (false, false);
    };
    let (wanted, borne) = (is_wanted(spec, node), tolerations(spec));
    let expelling: Vec<Taint> = taints(node)
        .iter()
        .filter(|taint| taint.effect == "NoExecute")
        .cloned()
        .collect();
    (
        wanted && tolerates(&borne, taints(node)),
        wanted && tolerates(&borne, &expelling),
    )
}

/// The node a pod is on, or is meant for while it waits for the scheduler.
fn place(pod: &Pod) -> Option<String> {
    if let Some(node) = pod::node_name(pod) {
        return Some(node.to_owned());
    }
    let affinity = pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()?;
    let terms = &affinity
        .required_during_scheduling_ignored_during_execution
        .as_ref()?
        .node_selector_terms;
    let field = terms
        .iter()
        .flat_map(|term| term.match_fields.iter().flatten())
        .find(|field| field.key == "metadata.name")?;
    field.values.as_ref()?.first().cloned()
}

pub(crate) fn plan(
    set: &DaemonSet,
    nodes: &[Arc<Node>],
    pods: &[Arc<Pod>],
    hash: &str,
    settled: bool,
    now: Timestamp,
) -> Plan {
    let mut by_node: BTreeMap<String, Vec<Arc<Pod>>> = BTreeMap::new();
    for pod in pods {
        by_node
            .entry(place(pod).unwrap_or_default())
            .or_default()
            .push(pod.clone());
    }
    let mut planner = Planner {
        set,
        hash,
        now,
        min_ready: set.spec.min_ready_seconds.unwrap_or(0),
        actions: Vec::new(),
        again: None,
    };
    let status = planner.status(nodes, &by_node);
    if settled && set.metadata.deletion_timestamp.is_none() {
        planner.place_pods(nodes, &by_node);
        if planner.actions.is_empty() {
            planner.update(nodes, &by_node);
        }
    } else {
        planner.actions.clear();
    }
    Plan {
        actions: planner.actions,
        status,
        again: planner.again,
    }
}

struct Planner<'a> {
    set: &'a DaemonSet,
    hash: &'a str,
    now: Timestamp,
    min_ready: i32,
    actions: Vec<Action>,
    again: Option<Duration>,
}

impl Planner<'_> {
    fn is_updated(&self, pod: &Pod) -> bool {
        pod.labels().get(HASH_LABEL).map(String::as_str) == Some(self.hash)
    }

    fn is_available(&self, pod: &Pod) -> bool {
        pod::is_available(pod, self.min_ready, self.now)
    }

    fn look_again(&mut self, wait: Duration) {
        self.again = Some(self.again.map_or(wait, |other| other.min(wait)));
    }

    fn place_pods(&mut self, nodes: &[Arc<Node>], by_node: &BTreeMap<String, Vec<Arc<Pod>>>) {
        for node in nodes {
            let (make, keep) = wants(self.set, node);
            let here = by_node.get(&node.name_any()).map(Vec::as_slice).unwrap_or_default();
            if !keep {
                let there = here.iter().filter(|pod| !pod::is_terminating(pod));
                self.actions.extend(there.cloned().map(Action::Delete));
                continue;
            }
            let mut running: Vec<_> = here.iter().filter(|pod| pod::is_active(pod)).cloned().collect();
            running.sort_by_key(|pod| (pod::node_name(pod).is_none(), pod.creation_timestamp(), pod.name_any()));
            self.actions.extend(running.iter().skip(1).cloned().map(Action::Delete));
            let failed: Vec<_> = here
                .iter()
                .filter(|pod| pod::is_finished(pod) && !pod::is_terminating(pod))
                .cloned()
                .collect();
            for pod in &failed {
                let due = pod.creation_timestamp().map_or(self.now, |time| time.0 + FAILED_KEPT);
                if due <= self.now {
                    self.actions.push(Action::Delete(pod.clone()));
                } else {
                    self.look_again(pod::until(self.now, due));
                }
            }
            // A pod that is going still holds its place: two daemons on one node would be in each other's way.
            if make && here.is_empty() {
                self.actions.push(Action::Create { node: node.name_any() });
            }
        }
    }

    /// Deletes old pods, as many as may be unavailable; their nodes get new ones afterwards.
    fn update(&mut self, nodes: &[Arc<Node>], by_node: &BTreeMap<String, Vec<Arc<Pod>>>) {
        let strategy = self.set.spec.update_strategy.as_ref();
        if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete") {
            return;
        }
        let wanted: Vec<_> = nodes.iter().filter(|node| wants(self.set, node).0).collect();
        let count = i32::try_from(wanted.len()).unwrap_or(i32::MAX);
        let most = strategy.and_then(|strategy| strategy.rolling_update.as_ref()?.max_unavailable.as_ref());
        let mut room = most.and_then(|most| resolve(most, count, true)).unwrap_or(1).max(1);
        let mut candidates = Vec::new();
        for node in wanted {
            let pods = by_node.get(&node.name_any()).map(Vec::as_slice).unwrap_or_default();
            let Some(pod) = pods.iter().find(|pod| pod::is_active(pod)) else {
                room -= 1;
                continue;
            };
            match (self.is_updated(pod), self.is_available(pod)) {
                (true, true) => {}
                (true, false) => room -= 1,
                (false, true) => candidates.push(pod.clone()),
                // It serves nobody: nothing is lost.
                (false, false) => {
                    room -= 1;
                    self.actions.push(Action::Delete(pod.clone()));
                }
            }
        }
        let room = usize::try_from(room).unwrap_or_default();
        self.actions
            .extend(candidates.into_iter().take(room).map(Action::Delete));
    }

    fn status(&mut self, nodes: &[Arc<Node>], by_node: &BTreeMap<String, Vec<Arc<Pod>>>) -> DaemonSetStatus {
        let old = self.set.status.clone().unwrap_or_default();
        let (mut desired, mut current, mut astray, mut ready, mut updated, mut available) = (0, 0, 0, 0, 0, 0);
        for node in nodes {
            let pods = by_node.get(&node.name_any()).map(Vec::as_slice).unwrap_or_default();
            if !wants(self.set, node).0 {
                astray += i32::from(!pods.is_empty());
                continue;
            }
            desired += 1;
            let Some(pod) = pods
                .iter()
                .min_by_key(|pod| (!pod::is_active(pod), pod.creation_timestamp()))
            else {
                continue;
            };
            current += 1;
            ready += i32::from(pod::is_ready(pod));
            available += i32::from(self.is_available(pod));
            updated += i32::from(self.is_updated(pod));
            if let Some(wait) = pod::available_in(pod, self.min_ready, self.now).filter(|wait| !wait.is_zero()) {
                self.look_again(wait);
            }
        }
        let some = |count: i32| Some(count).filter(|count| *count > 0);
        DaemonSetStatus {
            desired_number_scheduled: desired,
            current_number_scheduled: current,
            number_misscheduled: astray,
            number_ready: ready,
            updated_number_scheduled: some(updated),
            number_available: some(available),
            number_unavailable: some(desired - available),
            observed_generation: self.set.metadata.generation,
            ..old
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const NOW: &str = "2026-11-01T10:00:00Z";

    fn set(change: impl FnOnce(&mut Value)) -> DaemonSet {
        let mut set = json!({
            "metadata": { "name": "agent", "generation": 1 },
            "spec": { "selector": {}, "template": { "spec": { "containers": [], "nodeSelector": { "agent": "yes" } } } },
        });
        change(&mut set);
        serde_json::from_value(set).unwrap()
    }

    fn node(name: &str, label: &str, taint: Option<&str>) -> Arc<Node> {
        let taints = taint.map(|effect| json!([{ "key": "only", "effect": effect }]));
        let node = json!({ "metadata": { "name": name, "labels": { "agent": label } }, "spec": { "taints": taints } });
        Arc::new(serde_json::from_value(node).unwrap())
    }

    fn pod_on(node: &str, hash: &str, ready: bool, change: impl FnOnce(&mut Value)) -> Arc<Pod> {
        let mut pod = json!({
            "metadata": { "name": format!("agent-{node}"), "labels": { (HASH_LABEL): hash }, "creationTimestamp": "2026-11-01T09:00:00Z" },
            "spec": { "containers": [], "nodeName": node },
            "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": if ready { "True" } else { "False" } }] },
        });
        change(&mut pod);
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn planned(set: &DaemonSet, nodes: &[Arc<Node>], pods: &[Arc<Pod>]) -> Plan {
        plan(set, nodes, pods, "new", true, NOW.parse().unwrap())
    }

    fn deleted(plan: &Plan) -> Vec<String> {
        plan.actions
            .iter()
            .map(|action| match action {
                Action::Delete(pod) => pod.name_any(),
                Action::Create { node } => format!("+{node}"),
            })
            .collect()
    }

    #[test]
    fn each_wanted_node_gets_a_pod() {
        let nodes = [
            node("a", "yes", None),
            node("b", "no", None),
            node("c", "yes", Some("NoSchedule")),
        ];
        let plan = planned(&set(|_| {}), &nodes, &[]);
        assert_eq!(deleted(&plan), ["+a"]);
        assert_eq!(
            (
                plan.status.desired_number_scheduled,
                plan.status.current_number_scheduled
            ),
            (1, 0)
        );
    }

    #[test]
    fn a_pod_that_waits_for_the_scheduler_holds_its_place() {
        let waiting = pod_on("a", "new", false, |pod| {
            pod["spec"] = json!({ "containers": [], "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{ "matchFields": [{ "key": "metadata.name", "operator": "In", "values": ["a"] }] }],
            } } } });
        });
        assert!(
            planned(&set(|_| {}), &[node("a", "yes", None)], &[waiting])
                .actions
                .is_empty()
        );
    }

    #[test]
    fn pods_leave_nodes_that_no_longer_want_them() {
        let pods = [pod_on("a", "new", true, |_| {}), pod_on("b", "new", true, |_| {})];
        let plan = planned(
            &set(|_| {}),
            &[node("a", "no", None), node("b", "yes", Some("NoSchedule"))],
            &pods,
        );
        assert_eq!(deleted(&plan), ["agent-a"], "a taint that keeps off does not expel");
        assert_eq!(plan.status.number_misscheduled, 2);
    }

    #[test]
    fn an_update_takes_one_node_at_a_time() {
        let nodes = [node("a", "yes", None), node("b", "yes", None)];
        let old = |node| pod_on(node, "old", true, |_| {});
        assert_eq!(
            deleted(&planned(&set(|_| {}), &nodes, &[old("a"), old("b")])),
            ["agent-a"]
        );
        assert!(
            planned(&set(|_| {}), &nodes, &[pod_on("a", "new", false, |_| {}), old("b")])
                .actions
                .is_empty()
        );
        assert_eq!(
            deleted(&planned(
                &set(|_| {}),
                &nodes,
                &[pod_on("a", "new", true, |_| {}), old("b")]
            )),
            ["agent-b"]
        );
        let by_hand = set(|set| set["spec"]["updateStrategy"] = json!({ "type": "OnDelete" }));
        assert!(planned(&by_hand, &nodes, &[old("a"), old("b")]).actions.is_empty());
    }

    #[test]
    fn a_failed_pod_is_replaced_after_a_while() {
        let failed = |created: &'static str| {
            pod_on("a", "new", false, move |pod| {
                pod["status"]["phase"] = json!("Failed");
                pod["metadata"]["creationTimestamp"] = json!(created);
            })
        };
        let nodes = [node("a", "yes", None)];
        let fresh = planned(&set(|_| {}), &nodes, &[failed("2026-11-01T09:59:56Z")]);
        assert_eq!((fresh.actions.len(), fresh.again), (0, Some(Duration::from_secs(6))));
        assert_eq!(
            deleted(&planned(&set(|_| {}), &nodes, &[failed("2026-11-01T09:59:00Z")])),
            ["agent-a"]
        );
    }

    #[test]
    fn the_status_counts() {
        let nodes = [node("a", "yes", None), node("b", "yes", None)];
        let status = planned(
            &set(|_| {}),
            &nodes,
            &[pod_on("a", "new", true, |_| {}), pod_on("b", "old", false, |_| {})],
        )
        .status;
        assert_eq!(
            (
                status.desired_number_scheduled,
                status.current_number_scheduled,
                status.number_ready
            ),
            (2, 2, 1)
        );
        assert_eq!(
            (
                status.updated_number_scheduled,
                status.number_available,
                status.number_unavailable
            ),
            (Some(1), Some(1), Some(1))
        );
    }
}
