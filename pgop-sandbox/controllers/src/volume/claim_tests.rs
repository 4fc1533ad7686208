use super::*;
use serde_json::{Value, json};

fn claim(change: impl FnOnce(&mut Value)) -> PersistentVolumeClaim {
    let mut claim = json!({
        "metadata": { "name": "data-db-0", "namespace": "shop", "uid": "c-1", "finalizers": [PROTECTION] },
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "standard",
            "resources": { "requests": { "storage": "1Gi" } },
        },
    });
    change(&mut claim);
    serde_json::from_value(claim).unwrap()
}

fn class(name: &str, change: impl FnOnce(&mut Value)) -> Arc<StorageClass> {
    let mut class = json!({
        "metadata": { "name": name, "annotations": { (DEFAULT_CLASS): "true" } },
        "provisioner": PROVISIONER, "allowVolumeExpansion": true,
    });
    change(&mut class);
    Arc::new(serde_json::from_value(class).unwrap())
}

fn volume(change: impl FnOnce(&mut Value)) -> Arc<PersistentVolume> {
    let mut volume = json!({
        "metadata": { "name": "pvc-c-1" },
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "standard", "capacity": { "storage": "1Gi" },
            "claimRef": { "name": "data-db-0", "namespace": "shop", "uid": "c-1" },
        },
    });
    change(&mut volume);
    Arc::new(serde_json::from_value(volume).unwrap())
}

fn known(volumes: Vec<Arc<PersistentVolume>>) -> Known {
    Known {
        volumes,
        classes: vec![class("standard", |_| {})],
    }
}

fn provisioned(claim: &mut Value) {
    claim["metadata"]["annotations"] = json!(provisioner_annotations(PROVISIONER));
    claim["status"] = json!({ "phase": "Pending" });
}

fn bound(claim: &mut Value) {
    claim["metadata"]["annotations"] = json!({ (BOUND): "yes", (BY_CONTROLLER): "yes" });
    claim["spec"]["volumeName"] = json!("pvc-c-1");
    claim["status"] = json!({ "phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": { "storage": "1Gi" } });
}

#[test]
fn the_way_of_a_new_claim() {
    let step = |change: &dyn Fn(&mut Value), volumes| plan(&claim(change), &known(volumes));
    assert_eq!(
        step(&|claim| claim["metadata"]["finalizers"] = json!([]), vec![]),
        [Action::Protect]
    );
    let no_class = |claim: &mut Value| claim["spec"]["storageClassName"] = Value::Null;
    assert_eq!(step(&no_class, vec![]), [Action::SetClass("standard".into())]);
    assert_eq!(step(&|_| {}, vec![]), [Action::NameProvisioner(PROVISIONER.into())]);
    assert!(matches!(&step(&provisioned, vec![])[..], [Action::Provision(_)]));
    assert_eq!(
        step(&provisioned, vec![volume(|_| {})]),
        [Action::BindClaim {
            volume: "pvc-c-1".into(),
            by_controller: true
        }]
    );
    let fresh = |claim: &mut Value| {
        bound(claim);
        claim["status"] = json!({ "phase": "Pending" });
    };
    let [Action::Status(status)] = &step(&fresh, vec![volume(|_| {})])[..] else {
        panic!("no status")
    };
    assert_eq!(status.phase.as_deref(), Some("Bound"));
    assert_eq!(status.capacity.as_ref().unwrap()["storage"].0, "1Gi");
    assert!(step(&bound, vec![volume(|_| {})]).is_empty());
}

#[test]
fn a_volume_made_beforehand_is_taken_before_one_is_made() {
    let free = volume(|volume| volume["spec"]["claimRef"] = Value::Null);
    let actions = plan(&claim(provisioned), &known(vec![free.clone()]));
    let [Action::BindVolume(taken, reference)] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!(taken, &free);
    assert_eq!(reference.uid.as_deref(), Some("c-1"));
}

#[test]
fn a_claim_that_grew_grows_its_volume_then_its_status() {
    let bigger = |claim: &mut Value| {
        bound(claim);
        claim["spec"]["resources"]["requests"]["storage"] = json!("2Gi");
    };
    assert!(matches!(
        &plan(&claim(bigger), &known(vec![volume(|_| {})]))[..],
        [Action::Grow(_)]
    ));
    let grown = volume(|volume| volume["spec"]["capacity"]["storage"] = json!("2Gi"));
    let actions = plan(&claim(bigger), &known(vec![grown]));
    let [Action::Status(status), Action::Tell { reason, .. }] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!(status.capacity.as_ref().unwrap()["storage"].0, "2Gi");
    assert_eq!(*reason, "VolumeResizeSuccessful");
}

#[test]
fn without_expansion_a_volume_does_not_grow() {
    let bigger = claim(|claim| {
        bound(claim);
        claim["spec"]["resources"]["requests"]["storage"] = json!("2Gi");
    });
    let fixed = class("standard", |class| class["allowVolumeExpansion"] = json!(false));
    assert!(
        plan(
            &bigger,
            &Known {
                volumes: vec![volume(|_| {})],
                classes: vec![fixed]
            }
        )
        .is_empty()
    );
}

#[test]
fn a_bound_claim_without_its_volume_is_lost() {
    let actions = plan(&claim(bound), &known(vec![]));
    let [
        Action::Status(status),
        Action::Tell {
            reason: "ClaimLost", ..
        },
    ] = &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!(status.phase.as_deref(), Some("Lost"));
}

#[test]
fn a_claim_that_names_a_volume_waits_for_it_and_takes_no_other() {
    let named = |claim: &mut Value| claim["spec"]["volumeName"] = json!("mine");
    let other = volume(|volume| volume["spec"]["claimRef"] = Value::Null);
    assert!(matches!(
        &plan(&claim(named), &known(vec![other]))[..],
        [Action::Status(_)]
    ));
    let mine = volume(|volume| {
        volume["metadata"]["name"] = json!("mine");
        volume["spec"]["claimRef"] = Value::Null;
    });
    assert!(matches!(
        &plan(&claim(named), &known(vec![mine]))[..],
        [Action::BindVolume(..)]
    ));
}

#[test]
fn an_unknown_class_is_told() {
    let odd = claim(|claim| claim["spec"]["storageClassName"] = json!("odd"));
    let actions = plan(&odd, &known(vec![]));
    let [Action::Status(_), Action::Tell { reason, message, .. }] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!(
        (*reason, message.as_str()),
        ("ProvisioningFailed", "storageclass.storage.k8s.io \"odd\" not found")
    );
}

#[test]
fn a_class_that_waits_for_a_pod_waits_for_the_chosen_node() {
    let waiting = class("standard", |class| {
        class["volumeBindingMode"] = json!("WaitForFirstConsumer");
    });
    let known = Known {
        volumes: vec![],
        classes: vec![waiting],
    };
    let actions = plan(&claim(provisioned), &known);
    assert!(
        matches!(
            &actions[..],
            [Action::Tell {
                reason: "WaitForFirstConsumer",
                ..
            }]
        ),
        "{actions:?}"
    );
    let chosen = claim(|claim| {
        provisioned(claim);
        claim["metadata"]["annotations"][SELECTED_NODE] = json!("sandbox");
    });
    assert!(matches!(&plan(&chosen, &known)[..], [Action::Provision(_)]));
}

#[test]
fn a_claim_being_deleted_is_only_let_go() {
    let deleting = |finalizers: Value| {
        claim(move |claim| {
            claim["metadata"]["deletionTimestamp"] = json!("2026-11-01T10:00:00Z");
            claim["metadata"]["finalizers"] = finalizers;
        })
    };
    assert_eq!(
        plan(&deleting(json!([PROTECTION])), &known(vec![])),
        [Action::Unprotect]
    );
    assert!(plan(&deleting(json!(["example.com/backup"])), &known(vec![])).is_empty());
}

#[test]
fn of_two_default_classes_the_newer_is_taken() {
    let at = |time: &'static str| move |class: &mut Value| class["metadata"]["creationTimestamp"] = json!(time);
    let classes = [
        class("old", at("2026-01-01T00:00:00Z")),
        class("new", at("2026-02-01T00:00:00Z")),
    ];
    assert_eq!(default_class(&classes).unwrap().name_any(), "new");
}
