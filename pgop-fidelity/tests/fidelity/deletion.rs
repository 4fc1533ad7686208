//! Finalizers, and what is deleted with its owner. <https://kubernetes.io/docs/concepts/overview/working-with-objects/finalizers/>,
//! <https://kubernetes.io/docs/concepts/architecture/garbage-collection/>

use pgop_fidelity::{Patch, Space, Subject, config_map, deployment, pod, uid, version, with};
use serde_json::{Value, json};

pub(crate) fn subject() -> Subject {
    Subject::new("deletion")
        .holds(a_delete_waits_for_finalizers)
        .holds(the_last_finalizer_that_goes_deletes)
        .holds(a_deletion_with_finalizers_is_seen_as_a_change_first)
        .holds(a_second_delete_keeps_the_time_of_the_first)
        .holds(no_finalizer_can_be_added_after_the_delete)
        .holds(an_object_being_deleted_can_still_be_changed)
        .holds(a_name_is_taken_until_the_object_is_gone)
        .holds(a_finalizer_needs_a_qualified_name)
        .holds(a_deletion_timestamp_cannot_be_taken_back)
        .holds(a_delete_of_a_custom_resource_waits_for_finalizers)
        .holds(dependents_go_with_their_owner_in_the_background)
        .holds(a_foreground_delete_waits_for_blocking_dependents)
        .holds(orphans_stay_and_lose_their_owner)
        .holds(a_dependent_of_a_wrong_uid_is_collected)
        .holds(a_dependent_with_another_living_owner_stays)
        .holds(a_custom_resource_owns_built_in_kinds)
        .holds(a_config_map_owns_a_custom_resource)
        .holds(grandchildren_go_too)
        .holds(an_owner_reference_needs_all_its_fields)
        .holds(only_one_owner_may_be_the_controller)
        .holds(a_delete_of_a_pod_without_a_node_is_immediate)
        .holds(an_unknown_propagation_is_invalid)
}

const HOLD: &str = "example.com/hold";

async fn held(s: &Space, name: &str) -> Value {
    s.post(
        "configmaps",
        &with(config_map(name), json!({"metadata": {"finalizers": [HOLD]}})),
    )
    .await
    .is(201)
}

async fn release(s: &Space, path: &str) {
    s.patch(Patch::Merge, path, &json!({"metadata": {"finalizers": null}}))
        .await
        .is(200);
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/finalizers/#how-finalizers-work>
async fn a_delete_waits_for_finalizers(s: Space) {
    let created = held(&s, "a").await;
    let answer = s.delete("configmaps/a").await.is(200);
    assert_eq!(answer["kind"], "ConfigMap", "the object, not a Status: {answer}");
    assert!(answer["metadata"]["deletionTimestamp"].is_string());
    let after = s.get("configmaps/a").await.is(200);
    assert!(after["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(after["metadata"]["deletionGracePeriodSeconds"], 0);
    assert_ne!(version(&after), version(&created));
    release(&s, "configmaps/a").await;
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/finalizers/#how-finalizers-work>
async fn the_last_finalizer_that_goes_deletes(s: Space) {
    let two = json!({"metadata": {"finalizers": [HOLD, "example.com/other"]}});
    s.post("configmaps", &with(config_map("a"), two)).await.ok();
    s.delete("configmaps/a").await.ok();
    s.patch(
        Patch::Merge,
        "configmaps/a",
        &json!({"metadata": {"finalizers": [HOLD]}}),
    )
    .await
    .is(200);
    s.get("configmaps/a").await.is(200);
    release(&s, "configmaps/a").await;
    s.get("configmaps/a").await.fails(404, "NotFound");
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-deletion>
async fn a_deletion_with_finalizers_is_seen_as_a_change_first(s: Space) {
    held(&s, "a").await;
    let mut watch = s.watch_from_now("configmaps").await;
    s.delete("configmaps/a").await.ok();
    let changed = watch.until("the deletion is seen", |e| e.name() == "a").await;
    assert_eq!(changed.kind, "MODIFIED");
    assert!(changed.object["metadata"]["deletionTimestamp"].is_string());
    release(&s, "configmaps/a").await;
    let deleted = watch.until("the end is seen", |e| e.name() == "a").await;
    assert_eq!(deleted.kind, "DELETED");
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/finalizers/#how-finalizers-work>
async fn a_second_delete_keeps_the_time_of_the_first(s: Space) {
    held(&s, "a").await;
    s.delete("configmaps/a").await.ok();
    let first = s.get("configmaps/a").await.ok();
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await; // times are whole seconds
    s.delete("configmaps/a").await.is(200);
    let second = s.get("configmaps/a").await.ok();
    assert_eq!(
        first["metadata"]["deletionTimestamp"],
        second["metadata"]["deletionTimestamp"]
    );
    release(&s, "configmaps/a").await;
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/finalizers/#how-finalizers-work>
async fn no_finalizer_can_be_added_after_the_delete(s: Space) {
    held(&s, "a").await;
    s.delete("configmaps/a").await.ok();
    let more = json!({"metadata": {"finalizers": [HOLD, "example.com/late"]}});
    let words = ["metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted"];
    s.patch(Patch::Merge, "configmaps/a", &more)
        .await
        .fails_with(422, "Invalid", &words);
    release(&s, "configmaps/a").await;
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/finalizers/#how-finalizers-work>
async fn an_object_being_deleted_can_still_be_changed(s: Space) {
    held(&s, "a").await;
    s.delete("configmaps/a").await.ok();
    let change = json!({"data": {"key": "new"}, "metadata": {"labels": {"a": "b"}}});
    assert_eq!(
        s.patch(Patch::Merge, "configmaps/a", &change).await.is(200)["data"]["key"],
        "new"
    );
    release(&s, "configmaps/a").await;
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/>
async fn a_name_is_taken_until_the_object_is_gone(s: Space) {
    held(&s, "a").await;
    s.delete("configmaps/a").await.ok();
    let status = s.post("configmaps", &config_map("a")).await.fails(409, "AlreadyExists");
    assert_eq!(
        status["message"],
        "object is being deleted: configmaps \"a\" already exists"
    );
    release(&s, "configmaps/a").await;
    s.post("configmaps", &config_map("a")).await.is(201);
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/finalizers/>
async fn a_finalizer_needs_a_qualified_name(s: Space) {
    let body = with(config_map("a"), json!({"metadata": {"finalizers": ["hold"]}}));
    let words = [
        "metadata.finalizers",
        "name is neither a standard finalizer name nor is it fully qualified",
    ];
    s.post("configmaps", &body).await.fails_with(422, "Invalid", &words);
}

/// <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/> (`deletionTimestamp`)
async fn a_deletion_timestamp_cannot_be_taken_back(s: Space) {
    held(&s, "a").await;
    s.delete("configmaps/a").await.ok();
    s.patch(
        Patch::Merge,
        "configmaps/a",
        &json!({"metadata": {"deletionTimestamp": null}}),
    )
    .await;
    assert!(s.get("configmaps/a").await.ok()["metadata"]["deletionTimestamp"].is_string());
    release(&s, "configmaps/a").await;
}

/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#finalizers>
async fn a_delete_of_a_custom_resource_waits_for_finalizers(s: Space) {
    s.widgets().await;
    let widget = with(
        crate::crds::widget(&s, "a", json!({"size": 1})),
        json!({"metadata": {"finalizers": [HOLD]}}),
    );
    s.post("widgets", &widget).await.is(201);
    s.delete("widgets/a").await.is(200);
    let dying = s.get("widgets/a").await.is(200);
    assert!(dying["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(
        dying["metadata"]["generation"], 2,
        "marking for deletion is a new generation"
    );
    release(&s, "widgets/a").await;
    s.get("widgets/a").await.fails(404, "NotFound");
}

fn owned_by(owner: &Value, more: Value) -> Value {
    let reference = json!({"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"], "uid": uid(owner)});
    json!({"metadata": {"ownerReferences": [with(reference, more)]}})
}

/// <https://kubernetes.io/docs/concepts/architecture/garbage-collection/#background-deletion>
async fn dependents_go_with_their_owner_in_the_background(s: Space) {
    let owner = s.post("configmaps", &config_map("owner")).await.ok();
    s.post("configmaps", &with(config_map("child"), owned_by(&owner, json!({}))))
        .await
        .ok();
    s.post("configmaps", &config_map("stranger")).await.ok();
    s.delete_with("configmaps/owner", &json!({"propagationPolicy": "Background"}))
        .await
        .is(200);
    s.get("configmaps/owner").await.fails(404, "NotFound");
    s.gone("configmaps/child").await;
    s.get("configmaps/stranger").await.is(200);
}

/// <https://kubernetes.io/docs/concepts/architecture/garbage-collection/#foreground-deletion>
async fn a_foreground_delete_waits_for_blocking_dependents(s: Space) {
    let owner = s.post("configmaps", &config_map("owner")).await.ok();
    let child = with(
        config_map("child"),
        owned_by(&owner, json!({"blockOwnerDeletion": true})),
    );
    s.post("configmaps", &with(child, json!({"metadata": {"finalizers": [HOLD]}})))
        .await
        .ok();
    let dying = s
        .delete_with("configmaps/owner", &json!({"propagationPolicy": "Foreground"}))
        .await
        .is(200);
    assert_eq!(dying["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    s.until("the child is being deleted", "configmaps/child", |c| {
        c["metadata"]["deletionTimestamp"].is_string()
    })
    .await;
    s.get("configmaps/owner").await.is(200);
    release(&s, "configmaps/child").await;
    s.gone("configmaps/owner").await;
}

/// <https://kubernetes.io/docs/concepts/architecture/garbage-collection/#orphaned-dependents>
async fn orphans_stay_and_lose_their_owner(s: Space) {
    let owner = s.post("configmaps", &config_map("owner")).await.ok();
    s.post("configmaps", &with(config_map("child"), owned_by(&owner, json!({}))))
        .await
        .ok();
    s.delete_with("configmaps/owner", &json!({"propagationPolicy": "Orphan"}))
        .await
        .is(200);
    s.gone("configmaps/owner").await;
    let child = s.get("configmaps/child").await.is(200);
    assert!(child["metadata"]["ownerReferences"].is_null(), "{child}");
}

/// <https://kubernetes.io/docs/concepts/architecture/garbage-collection/#owners-dependents>
async fn a_dependent_of_a_wrong_uid_is_collected(s: Space) {
    let owner = s.post("configmaps", &config_map("owner")).await.ok();
    let wrong = with(
        owner,
        json!({"metadata": {"uid": "11111111-2222-3333-4444-555555555555"}}),
    );
    s.post("configmaps", &with(config_map("child"), owned_by(&wrong, json!({}))))
        .await
        .ok();
    s.gone("configmaps/child").await;
    s.get("configmaps/owner").await.is(200);
}

/// <https://kubernetes.io/docs/concepts/architecture/garbage-collection/>
async fn a_dependent_with_another_living_owner_stays(s: Space) {
    let (a, b) = (
        s.post("configmaps", &config_map("a")).await.ok(),
        s.post("configmaps", &config_map("b")).await.ok(),
    );
    let mut child = with(config_map("child"), owned_by(&a, json!({})));
    let second = owned_by(&b, json!({}))["metadata"]["ownerReferences"][0].take();
    child["metadata"]["ownerReferences"]
        .as_array_mut()
        .unwrap()
        .push(second);
    s.post("configmaps", &child).await.ok();
    s.delete("configmaps/a").await.ok();
    let left = |c: &Value| {
        c["metadata"]["ownerReferences"]
            .as_array()
            .is_some_and(|o| o.len() == 1)
    };
    let child = s.until("the dead owner is dropped", "configmaps/child", left).await;
    assert_eq!(child["metadata"]["ownerReferences"][0]["name"], "b");
    s.delete("configmaps/b").await.ok();
    s.gone("configmaps/child").await;
}

/// <https://kubernetes.io/docs/concepts/architecture/garbage-collection/>
async fn a_custom_resource_owns_built_in_kinds(s: Space) {
    s.widgets().await;
    let owner = s
        .post("widgets", &crate::crds::widget(&s, "owner", json!({"size": 1})))
        .await
        .ok();
    s.post(
        "configmaps",
        &with(config_map("child"), owned_by(&owner, json!({"controller": true}))),
    )
    .await
    .ok();
    let deployment = with(deployment("child", 0, "true"), owned_by(&owner, json!({})));
    s.post("apps/v1:deployments", &deployment).await.ok();
    s.delete("widgets/owner").await.is(200);
    s.gone("configmaps/child").await;
    s.gone("apps/v1:deployments/child").await;
}

/// <https://kubernetes.io/docs/concepts/architecture/garbage-collection/>
async fn a_config_map_owns_a_custom_resource(s: Space) {
    s.widgets().await;
    let owner = s.post("configmaps", &config_map("owner")).await.ok();
    let child = with(
        crate::crds::widget(&s, "child", json!({"size": 1})),
        owned_by(&owner, json!({})),
    );
    s.post("widgets", &child).await.ok();
    s.delete("configmaps/owner").await.ok();
    s.gone("widgets/child").await;
}

/// <https://kubernetes.io/docs/concepts/architecture/garbage-collection/#cascading-deletion>
async fn grandchildren_go_too(s: Space) {
    let owner = s.post("configmaps", &config_map("owner")).await.ok();
    let child = s
        .post("configmaps", &with(config_map("child"), owned_by(&owner, json!({}))))
        .await
        .ok();
    s.post(
        "configmaps",
        &with(config_map("grandchild"), owned_by(&child, json!({}))),
    )
    .await
    .ok();
    s.delete("configmaps/owner").await.ok();
    s.gone("configmaps/grandchild").await;
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/owners-dependents/>
async fn an_owner_reference_needs_all_its_fields(s: Space) {
    let owner = s.post("configmaps", &config_map("owner")).await.ok();
    for (field, value) in [
        ("uid", json!("")),
        ("name", json!("")),
        ("kind", json!("")),
        ("apiVersion", json!("")),
    ] {
        let child = with(config_map("child"), owned_by(&owner, json!({field: value})));
        s.post("configmaps", &child)
            .await
            .fails_with(422, "Invalid", &["metadata.ownerReferences", field]);
    }
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/owners-dependents/>
async fn only_one_owner_may_be_the_controller(s: Space) {
    let owner = s.post("configmaps", &config_map("owner")).await.ok();
    let mut child = with(config_map("child"), owned_by(&owner, json!({"controller": true})));
    let second = with(
        child["metadata"]["ownerReferences"][0].clone(),
        json!({"name": "other", "uid": "11111111-2222-3333-4444-555555555555"}),
    );
    child["metadata"]["ownerReferences"]
        .as_array_mut()
        .unwrap()
        .push(second);
    let words = ["Only one reference can have Controller set to true"];
    s.post("configmaps", &child).await.fails_with(422, "Invalid", &words);
}

/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination>
async fn a_delete_of_a_pod_without_a_node_is_immediate(s: Space) {
    let waiting = json!({"spec": {"schedulerName": "nobody", "terminationGracePeriodSeconds": 30}});
    s.create_pod(&with(pod("a", "true"), waiting)).await;
    assert_eq!(s.delete("pods/a").await.is(200)["kind"], "Pod");
    s.get("pods/a").await.fails(404, "NotFound");
}

/// <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/delete-options/>
async fn an_unknown_propagation_is_invalid(s: Space) {
    s.post("configmaps", &config_map("a")).await.ok();
    s.delete_with("configmaps/a", &json!({"propagationPolicy": "Later"}))
        .await
        .fails_with(422, "Invalid", &["propagationPolicy"]);
}
