use super::*;
use serde_json::{Value, json};

fn pod_with(spec: Value) -> Pod {
    let mut pod =
        json!({ "metadata": { "name": "db-0", "namespace": "shop" }, "spec": { "containers": [{ "name": "db" }] } });
    for (name, value) in spec.as_object().unwrap() {
        pod["spec"][name] = value.clone();
    }
    serde_json::from_value(pod).unwrap()
}

fn node(spec: Value) -> Arc<Node> {
    let node = json!({
        "metadata": { "name": "sandbox", "labels": { "kubernetes.io/hostname": "sandbox" } }, "spec": spec,
        "status": { "allocatable": { "cpu": "2", "memory": "4Gi", "pods": "110" } },
    });
    Arc::new(serde_json::from_value(node).unwrap())
}

fn around(change: impl FnOnce(&mut Surroundings)) -> Surroundings {
    let mut around = Surroundings {
        nodes: vec![node(json!({}))],
        placed: Vec::new(),
        claims: BTreeMap::new(),
        classes: Vec::new(),
        volumes: Vec::new(),
    };
    change(&mut around);
    around
}

fn waits(spec: Value, change: impl FnOnce(&mut Surroundings)) -> String {
    match decide(&pod_with(spec), &around(change)) {
        Decision::Wait { message } => message,
        other => panic!("{other:?}"),
    }
}

fn claim(change: impl FnOnce(&mut Value)) -> Arc<PersistentVolumeClaim> {
    let mut claim = json!({ "metadata": { "name": "data" }, "spec": { "storageClassName": "standard" } });
    change(&mut claim);
    Arc::new(serde_json::from_value(claim).unwrap())
}

#[test]
fn a_pod_goes_where_nothing_is_against_it() {
    assert_eq!(
        decide(&pod_with(json!({})), &around(|_| {})),
        Decision::Bind { node: "sandbox".into() }
    );
}

#[test]
fn without_nodes_it_waits() {
    assert_eq!(
        waits(json!({}), |around| around.nodes.clear()),
        "no nodes available to schedule pods"
    );
}

#[test]
fn the_reasons_are_told_in_the_words_of_kubernetes() {
    assert_eq!(
        waits(json!({ "nodeSelector": { "disk": "ssd" } }), |_| {}),
        "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
    );
    let hungry =
        json!({ "containers": [{ "name": "db", "resources": { "requests": { "cpu": "3", "memory": "8Gi" } } }] });
    assert_eq!(
        waits(hungry, |_| {}),
        "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory."
    );
    let cordoned = |around: &mut Surroundings| around.nodes = vec![node(json!({ "unschedulable": true }))];
    assert_eq!(
        waits(json!({}), cordoned),
        "0/1 nodes are available: 1 node(s) were unschedulable."
    );
    let tainted = json!({ "taints": [{ "key": "only", "effect": "NoSchedule" }] });
    assert_eq!(
        waits(json!({}), |around| around.nodes = vec![node(tainted)]),
        "0/1 nodes are available: 1 node(s) had untolerated taint(s)."
    );
}

#[test]
fn claims_are_waited_for() {
    let with = |claim: Option<Arc<PersistentVolumeClaim>>| {
        waits(json!({}), |around| drop(around.claims.insert("data".into(), claim)))
    };
    assert_eq!(
        with(None),
        "0/1 nodes are available: persistentvolumeclaim \"data\" not found."
    );
    assert_eq!(
        with(Some(claim(|_| {}))),
        "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."
    );
    let going = claim(|claim| claim["metadata"]["deletionTimestamp"] = json!("2026-11-01T10:00:00Z"));
    assert_eq!(
        with(Some(going)),
        "0/1 nodes are available: persistentvolumeclaim \"data\" is being deleted."
    );
}

fn bound(claim: &mut Value) {
    claim["metadata"]["annotations"] = json!({ (BOUND): "yes" });
    claim["spec"]["volumeName"] = json!("pv-1");
}

#[test]
fn a_bound_claim_is_no_hindrance_unless_its_volume_is_elsewhere() {
    let with_volume = |host: &str| {
        let volume = json!({ "metadata": { "name": "pv-1" }, "spec": { "nodeAffinity": { "required": { "nodeSelectorTerms": [
            { "matchExpressions": [{ "key": "kubernetes.io/hostname", "operator": "In", "values": [host] }] },
        ] } } } });
        let volume = serde_json::from_value(volume).unwrap();
        around(|around| {
            around.claims.insert("data".into(), Some(claim(bound)));
            around.volumes.push(Arc::new(volume));
        })
    };
    assert!(matches!(
        decide(&pod_with(json!({})), &with_volume("sandbox")),
        Decision::Bind { .. }
    ));
    assert!(matches!(
        decide(&pod_with(json!({})), &with_volume("other")),
        Decision::Wait { .. }
    ));
}

#[test]
fn claims_that_wait_for_a_pod_are_told_the_node() {
    let class =
        json!({ "metadata": { "name": "standard" }, "provisioner": "x", "volumeBindingMode": "WaitForFirstConsumer" });
    let class = serde_json::from_value(class).unwrap();
    let around = around(|around| {
        around.claims.insert("data".into(), Some(claim(|_| {})));
        around.classes.push(Arc::new(class));
    });
    let Decision::Select { node, claims } = decide(&pod_with(json!({})), &around) else {
        panic!("not selected")
    };
    assert_eq!(untold(claims.clone(), &node).len(), 1);
    let told = claim(|claim| claim["metadata"]["annotations"] = json!({ (SELECTED_NODE): "sandbox" }));
    assert!(untold(vec![told], &node).is_empty());
}

#[test]
fn a_host_port_is_given_once() {
    let wants = json!({ "containers": [{ "name": "db", "ports": [{ "containerPort": 5432, "hostPort": 5432 }] }] });
    let other = Arc::new(pod_with(wants.clone()));
    let taken = |around: &mut Surroundings| around.placed.push((other, "sandbox".into()));
    assert_eq!(
        waits(wants, taken),
        "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports."
    );
}

#[test]
fn only_pods_left_to_this_scheduler_wait_for_it() {
    assert!(is_waiting(&pod_with(json!({}))));
    assert!(is_waiting(&pod_with(json!({ "schedulerName": "default-scheduler" }))));
    for spec in [
        json!({ "schedulerName": "own" }),
        json!({ "nodeName": "sandbox" }),
        json!({ "schedulingGates": [{ "name": "a" }] }),
    ] {
        assert!(!is_waiting(&pod_with(spec)));
    }
}
