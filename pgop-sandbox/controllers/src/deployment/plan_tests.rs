use super::*;
use serde_json::{Value, json};

fn deployment(change: impl FnOnce(&mut Value)) -> Deployment {
    let mut deployment = json!({
        "metadata": { "name": "web", "namespace": "shop", "uid": "d-1", "annotations": { (REVISION): "1", "note": "x", (LAST_APPLIED): "{}" } },
        "spec": {
            "replicas": 4, "selector": { "matchLabels": { "app": "web" } },
            "template": { "metadata": { "labels": { "app": "web" } }, "spec": { "containers": [{ "name": "web", "image": "b" }] } },
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 1 } },
        },
    });
    change(&mut deployment);
    serde_json::from_value(deployment).unwrap()
}

fn set_of(image: &str, size: i32, available: i32, change: impl FnOnce(&mut Value)) -> Arc<ReplicaSet> {
    let mut set = json!({
        "metadata": {
            "name": format!("web-{image}"), "namespace": "shop", "uid": image, "creationTimestamp": format!("2026-11-01T0{}:00:00Z", image.len()),
            "annotations": { (REVISION): "1", (DESIRED): "4", (MOST): "5", "note": "x" },
            "labels": { "app": "web", (HASH_LABEL): image },
        },
        "spec": {
            "replicas": size, "selector": { "matchLabels": { "app": "web", (HASH_LABEL): image } },
            "template": {
                "metadata": { "labels": { "app": "web", (HASH_LABEL): image } },
                "spec": { "containers": [{ "name": "web", "image": image }] },
            },
        },
        "status": { "replicas": size, "availableReplicas": available },
    });
    change(&mut set);
    Arc::new(serde_json::from_value(set).unwrap())
}

fn numbered(number: i32) -> impl FnOnce(&mut Value) {
    move |set| set["metadata"]["annotations"][REVISION] = json!(number.to_string())
}

fn planned(deployment: &Deployment, sets: &[Arc<ReplicaSet>]) -> Vec<Action> {
    plan(deployment, &sort(deployment, sets.to_vec()), &[])
}

/// `web-b=3` for a set brought to that size, `new=2` for one made.
fn steps(actions: &[Action]) -> Vec<String> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Create(set) => Some(format!("new={}", size(set))),
            Action::Update { set, replicas, .. } if size(set) != *replicas => {
                Some(format!("{}={replicas}", set.name_any()))
            }
            Action::Update { .. } | Action::Number(_) => None,
            Action::Delete(set) => Some(format!("-{}", set.name_any())),
        })
        .collect()
}

#[test]
fn a_new_deployment_gets_its_set() {
    let deployment = deployment(|_| {});
    let actions = planned(&deployment, &[]);
    let [Action::Create(set)] = &actions[..] else {
        panic!("{actions:?}")
    };
    let hash = &set.labels()[HASH_LABEL];
    assert_eq!(set.name_any(), format!("web-{hash}"));
    assert_eq!(&set.spec.selector.match_labels.as_ref().unwrap()[HASH_LABEL], hash);
    assert_eq!(size(set), 4);
    let annotations = set.annotations();
    assert_eq!(
        (
            annotations[REVISION].as_str(),
            annotations[DESIRED].as_str(),
            annotations[MOST].as_str()
        ),
        ("1", "4", "5")
    );
    assert_eq!(annotations["note"], "x");
    assert!(!annotations.contains_key(LAST_APPLIED));
    let sets = sort(&deployment, vec![Arc::new((**set).clone())]);
    assert!(sets.new.is_some(), "it is recognised as made from the template");
    assert!(planned(&deployment, &[Arc::new((**set).clone())]).is_empty());
}

#[test]
fn a_rollout_step_by_step() {
    let deployment = deployment(|deployment| deployment["metadata"]["annotations"][REVISION] = json!("2"));
    let step = |old: (i32, i32), new: (i32, i32)| {
        let sets = [
            set_of("a", old.0, old.1, |_| {}),
            set_of("b", new.0, new.1, numbered(2)),
        ];
        steps(&planned(&deployment, &sets))
    };
    assert_eq!(steps(&planned(&deployment, &[set_of("a", 4, 4, |_| {})])), ["new=1"]);
    assert_eq!(step((4, 4), (1, 0)), ["web-a=3"]);
    assert_eq!(step((3, 3), (1, 0)), ["web-b=2"]);
    assert!(
        step((3, 3), (2, 0)).is_empty(),
        "one may be unavailable, and one more is"
    );
    assert_eq!(step((3, 3), (2, 2)), ["web-a=1"]);
    assert_eq!(step((1, 1), (2, 2)), ["web-b=4"]);
    assert_eq!(step((1, 1), (4, 4)), ["web-a=0"]);
    assert!(step((0, 0), (4, 4)).is_empty());
}

#[test]
fn broken_old_pods_go_first() {
    let deployment = deployment(|deployment| deployment["metadata"]["annotations"][REVISION] = json!("2"));
    let sets = [set_of("a", 4, 1, |_| {}), set_of("b", 1, 0, numbered(2))];
    assert_eq!(
        steps(&planned(&deployment, &sets)),
        ["web-a=3"],
        "as many as may be unavailable"
    );
}

#[test]
fn going_back_takes_the_old_set_up_again_under_a_new_number() {
    let deployment = deployment(|deployment| deployment["metadata"]["annotations"][REVISION] = json!("2"));
    let actions = planned(
        &deployment,
        &[set_of("b", 0, 0, |_| {}), set_of("aa", 4, 4, numbered(2))],
    );
    assert!(actions.contains(&Action::Number("3".into())));
    let Some(Action::Update {
        set,
        replicas,
        annotations,
    }) = actions.iter().find(|action| matches!(action, Action::Update { .. }))
    else {
        panic!()
    };
    assert_eq!(
        (set.name_any().as_str(), *replicas, annotations[REVISION].as_str()),
        ("web-b", 1, "3")
    );
}

#[test]
fn recreate_waits_until_the_old_pods_are_gone() {
    let recreate = deployment(|deployment| deployment["spec"]["strategy"] = json!({ "type": "Recreate" }));
    assert_eq!(steps(&planned(&recreate, &[set_of("a", 4, 4, |_| {})])), ["web-a=0"]);
    let stopped = [set_of("a", 0, 0, |_| {})];
    let pod = |phase: &str| {
        let owner =
            json!([{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-a", "uid": "a", "controller": true }]);
        let pod = json!({ "metadata": { "name": "p", "ownerReferences": owner }, "status": { "phase": phase } });
        [Arc::new(serde_json::from_value(pod).unwrap())]
    };
    let sets = sort(&recreate, stopped.to_vec());
    assert!(plan(&recreate, &sets, &pod("Running")).is_empty());
    assert_eq!(steps(&plan(&recreate, &sets, &pod("Succeeded"))), ["new=4"]);
}

#[test]
fn resizing_a_settled_deployment_resizes_its_set() {
    let bigger = deployment(|deployment| deployment["spec"]["replicas"] = json!(6));
    let actions = planned(&bigger, &[set_of("b", 4, 4, |_| {})]);
    let [
        Action::Update {
            replicas: 6,
            annotations,
            ..
        },
    ] = &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!((annotations[DESIRED].as_str(), annotations[MOST].as_str()), ("6", "7"));
}

#[test]
fn resizing_during_a_rollout_is_shared_by_size() {
    let bigger = deployment(|deployment| deployment["spec"]["replicas"] = json!(9));
    let sets = [set_of("aa", 3, 3, |_| {}), set_of("b", 2, 0, numbered(2))];
    assert_eq!(steps(&planned(&bigger, &sets)), ["web-aa=6", "web-b=4"]);
    let smaller = deployment(|deployment| deployment["spec"]["replicas"] = json!(1));
    assert_eq!(steps(&planned(&smaller, &sets)), ["web-aa=1", "web-b=1"]);
}

#[test]
fn a_paused_deployment_is_resized_but_not_rolled_on() {
    let paused = |replicas: i32| {
        deployment(move |deployment| {
            deployment["spec"]["paused"] = json!(true);
            deployment["spec"]["replicas"] = json!(replicas);
        })
    };
    assert!(steps(&planned(&paused(4), &[set_of("a", 4, 4, |_| {})])).is_empty());
    assert_eq!(steps(&planned(&paused(5), &[set_of("a", 4, 4, |_| {})])), ["web-a=5"]);
}

#[test]
fn history_beyond_the_limit_is_deleted_when_the_rollout_is_done() {
    let short = deployment(|deployment| {
        deployment["spec"]["revisionHistoryLimit"] = json!(1);
        deployment["metadata"]["annotations"][REVISION] = json!("4");
    });
    let with = |available: i32| {
        let old = |image: &str, number| set_of(image, 0, 0, numbered(number));
        [
            old("x", 2),
            old("y", 1),
            old("z", 3),
            set_of("b", 4, available, numbered(4)),
        ]
    };
    assert_eq!(steps(&planned(&short, &with(4))), ["-web-y", "-web-x"]);
    assert!(steps(&planned(&short, &with(3))).is_empty());
}

#[test]
fn a_deployment_being_deleted_does_nothing() {
    assert!(
        planned(
            &deployment(|deployment| deployment["metadata"]["deletionTimestamp"] = json!("2026-11-01T10:00:00Z")),
            &[]
        )
        .is_empty()
    );
}
