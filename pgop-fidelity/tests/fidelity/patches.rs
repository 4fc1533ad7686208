//! Patches. <https://kubernetes.io/docs/reference/using-api/api-concepts/#patch-and-apply>

use http::Method;
use pgop_fidelity::{Patch, Space, Subject, config_map, deployment, version, with};
use serde_json::{Value, json};

pub(crate) fn subject() -> Subject {
    Subject::new("patches")
        .holds(a_json_patch_adds_replaces_and_removes)
        .holds(a_json_patch_reaches_keys_with_slashes)
        .holds(a_failing_test_leaves_the_object_alone)
        .holds(a_json_patch_of_a_missing_path_is_invalid)
        .holds(a_json_patch_that_is_no_list_is_a_bad_request)
        .holds(a_merge_patch_removes_with_null_and_replaces_lists)
        .holds(a_patch_of_a_missing_object_is_not_found)
        .holds(a_patch_with_an_old_version_is_a_conflict)
        .holds(a_patch_with_the_current_version_is_written)
        .holds(a_patch_cannot_rename)
        .holds(a_patch_cannot_change_the_uid)
        .holds(a_strategic_patch_merges_containers_by_name)
        .holds(a_strategic_patch_deletes_a_list_element)
        .holds(a_strategic_patch_replaces_a_list_on_demand)
        .holds(a_strategic_patch_follows_the_given_order)
        .holds(a_strategic_patch_retains_keys)
        .holds(a_strategic_patch_deletes_from_a_list_of_plain_values)
        .holds(a_strategic_patch_of_a_custom_resource_is_unsupported)
        .holds(a_result_that_is_invalid_is_refused)
        .holds(patches_without_versions_of_one_object_all_succeed)
}

/// <https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/>
async fn a_json_patch_adds_replaces_and_removes(s: Space) {
    s.post("configmaps", &with(config_map("a"), json!({"data": {"old": "x"}})))
        .await
        .ok();
    let patch = json!([
        {"op": "test", "path": "/data/key", "value": "value"},
        {"op": "replace", "path": "/data/key", "value": "new"},
        {"op": "add", "path": "/data/more", "value": "y"},
        {"op": "move", "from": "/data/old", "path": "/data/moved"},
        {"op": "copy", "from": "/data/more", "path": "/data/copied"},
    ]);
    let patched = s.patch(Patch::Json, "configmaps/a", &patch).await.is(200);
    assert_eq!(
        patched["data"],
        json!({"key": "new", "more": "y", "moved": "x", "copied": "y"})
    );
}

/// <https://datatracker.ietf.org/doc/html/rfc6901#section-3>, used at <https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/>
async fn a_json_patch_reaches_keys_with_slashes(s: Space) {
    s.post(
        "configmaps",
        &with(
            config_map("a"),
            json!({"metadata": {"annotations": {"example.com/x": "y"}}}),
        ),
    )
    .await
    .ok();
    let patch = json!([{"op": "replace", "path": "/metadata/annotations/example.com~1x", "value": "z"}]);
    let patched = s.patch(Patch::Json, "configmaps/a", &patch).await.ok();
    assert_eq!(patched["metadata"]["annotations"], json!({"example.com/x": "z"}));
}

/// <https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/>
async fn a_failing_test_leaves_the_object_alone(s: Space) {
    let created = s.post("configmaps", &config_map("a")).await.ok();
    let patch =
        json!([{"op": "add", "path": "/data/x", "value": "y"}, {"op": "test", "path": "/data/key", "value": "no"}]);
    s.patch(Patch::Json, "configmaps/a", &patch).await.fails(422, "Invalid");
    assert_eq!(s.get("configmaps/a").await.ok(), created);
}

/// <https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/>
async fn a_json_patch_of_a_missing_path_is_invalid(s: Space) {
    s.post("configmaps", &config_map("a")).await.ok();
    for path in ["/data/nope", "/spec/replicas"] {
        s.patch(Patch::Json, "configmaps/a", &json!([{"op": "remove", "path": path}]))
            .await
            .fails(422, "Invalid");
    }
}

/// <https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/>
async fn a_json_patch_that_is_no_list_is_a_bad_request(s: Space) {
    s.post("configmaps", &config_map("a")).await.ok();
    s.patch(Patch::Json, "configmaps/a", &json!({"op": "remove", "path": "/data"}))
        .await
        .fails(400, "BadRequest");
}

/// <https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/#use-a-json-merge-patch-to-update-a-deployment>
async fn a_merge_patch_removes_with_null_and_replaces_lists(s: Space) {
    s.post("apps/v1:deployments", &two_containers()).await.ok();
    s.patch(
        Patch::Merge,
        "apps/v1:deployments/a",
        &json!({"metadata": {"labels": {"a": "1", "b": "2"}}}),
    )
    .await
    .ok();
    let change = json!({"metadata": {"labels": {"a": null}},
        "spec": {"template": {"spec": {"containers": [{"name": "only", "image": "x"}]}}}});
    let patched = s.patch(Patch::Merge, "apps/v1:deployments/a", &change).await.is(200);
    assert_eq!(patched["metadata"]["labels"], json!({"b": "2"}));
    assert_eq!(containers(&patched), ["only"]);
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#patch-and-apply>
async fn a_patch_of_a_missing_object_is_not_found(s: Space) {
    s.patch(Patch::Merge, "configmaps/a", &json!({"data": {"key": "new"}}))
        .await
        .fails(404, "NotFound");
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>
async fn a_patch_with_an_old_version_is_a_conflict(s: Space) {
    let created = s.post("configmaps", &config_map("a")).await.ok();
    s.patch(Patch::Merge, "configmaps/a", &json!({"data": {"key": "new"}}))
        .await
        .ok();
    let late = json!({"metadata": {"resourceVersion": version(&created)}, "data": {"key": "late"}});
    let words = ["the object has been modified"];
    s.patch(Patch::Merge, "configmaps/a", &late)
        .await
        .fails_with(409, "Conflict", &words);
    s.patch(Patch::Strategic, "configmaps/a", &late)
        .await
        .fails_with(409, "Conflict", &words);
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>
async fn a_patch_with_the_current_version_is_written(s: Space) {
    let created = s.post("configmaps", &config_map("a")).await.ok();
    let change = json!({"metadata": {"resourceVersion": version(&created)}, "data": {"key": "new"}});
    assert_eq!(
        s.patch(Patch::Merge, "configmaps/a", &change).await.is(200)["data"]["key"],
        "new"
    );
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/>
async fn a_patch_cannot_rename(s: Space) {
    s.post("configmaps", &config_map("a")).await.ok();
    s.patch(Patch::Merge, "configmaps/a", &json!({"metadata": {"name": "b"}}))
        .await
        .fails(400, "BadRequest");
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#uids>
async fn a_patch_cannot_change_the_uid(s: Space) {
    s.post("configmaps", &config_map("a")).await.ok();
    let change = json!({"metadata": {"uid": "11111111-2222-3333-4444-555555555555"}});
    s.patch(Patch::Merge, "configmaps/a", &change).await.fails_with(
        422,
        "Invalid",
        &["metadata.uid", "field is immutable"],
    );
}

fn two_containers() -> Value {
    let mut object = deployment("a", 0, "true");
    object["spec"]["template"]["spec"]["containers"] = json!([
        {"name": "one", "image": "first", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
            "ports": [{"containerPort": 80, "protocol": "TCP"}], "args": ["x", "y"]},
        {"name": "two", "image": "second"}]);
    object
}

fn containers(deployment: &Value) -> Vec<&str> {
    let list = deployment["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    list.iter().map(|c| c["name"].as_str().unwrap()).collect()
}

async fn strategic(s: &Space, pod: Value) -> Value {
    let change = json!({"spec": {"template": {"spec": pod}}});
    s.patch(Patch::Strategic, "apps/v1:deployments/a", &change)
        .await
        .is(200)
}

/// <https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/#use-a-strategic-merge-patch-to-update-a-deployment>
async fn a_strategic_patch_merges_containers_by_name(s: Space) {
    s.post("apps/v1:deployments", &two_containers()).await.ok();
    let change = json!({"containers": [{"name": "one", "image": "newer", "args": ["z"],
        "env": [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}]}, {"name": "three", "image": "third"}]});
    let patched = strategic(&s, change).await;
    let mut found = containers(&patched);
    found.sort_unstable();
    assert_eq!(found, ["one", "three", "two"]);
    let list = patched["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    let one = list.iter().find(|c| c["name"] == "one").unwrap();
    assert_eq!(one["image"], "newer");
    assert_eq!(one["args"], json!(["z"]), "a list without a merge key is replaced");
    let mut env: Vec<_> = one["env"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| format!("{}={}", e["name"], e["value"]))
        .collect();
    env.sort();
    assert_eq!(env, ["\"A\"=\"1\"", "\"B\"=\"3\"", "\"C\"=\"4\""]);
    assert_eq!(one["ports"][0]["containerPort"], 80);
}

/// <https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md#delete-directive>
async fn a_strategic_patch_deletes_a_list_element(s: Space) {
    s.post("apps/v1:deployments", &two_containers()).await.ok();
    let patched = strategic(&s, json!({"containers": [{"name": "one", "$patch": "delete"}]})).await;
    assert_eq!(containers(&patched), ["two"]);
}

/// <https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md#replace-directive>
async fn a_strategic_patch_replaces_a_list_on_demand(s: Space) {
    s.post("apps/v1:deployments", &two_containers()).await.ok();
    let patched = strategic(
        &s,
        json!({"containers": [{"$patch": "replace"}, {"name": "only", "image": "x"}]}),
    )
    .await;
    assert_eq!(containers(&patched), ["only"]);
}

/// <https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md#setelementorder-directive>
async fn a_strategic_patch_follows_the_given_order(s: Space) {
    s.post("apps/v1:deployments", &two_containers()).await.ok();
    let change = json!({"$setElementOrder/containers": [{"name": "three"}, {"name": "two"}, {"name": "one"}],
        "containers": [{"name": "three", "image": "third"}]});
    assert_eq!(containers(&strategic(&s, change).await), ["three", "two", "one"]);
}

/// <https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md#retainkeys-directive>
async fn a_strategic_patch_retains_keys(s: Space) {
    s.post("apps/v1:deployments", &two_containers()).await.ok();
    let change = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
    let patched = s
        .patch(Patch::Strategic, "apps/v1:deployments/a", &change)
        .await
        .is(200);
    assert_eq!(patched["spec"]["strategy"], json!({"type": "Recreate"}));
}

/// <https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md#deletefromprimitivelist-directive>
async fn a_strategic_patch_deletes_from_a_list_of_plain_values(s: Space) {
    let held = json!({"metadata": {"finalizers": ["example.com/a", "example.com/b"]}});
    s.post("configmaps", &with(config_map("a"), held)).await.ok();
    let change = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.com/a"]}});
    let patched = s.patch(Patch::Strategic, "configmaps/a", &change).await.is(200);
    assert_eq!(patched["metadata"]["finalizers"], json!(["example.com/b"]));
    s.patch(Patch::Merge, "configmaps/a", &json!({"metadata": {"finalizers": null}}))
        .await
        .ok();
}

/// <https://kubernetes.io/docs/concepts/extend-kubernetes/api-extension/custom-resources/#advanced-features-and-flexibility>
async fn a_strategic_patch_of_a_custom_resource_is_unsupported(s: Space) {
    s.widgets().await;
    s.post("widgets", &crate::crds::widget(&s, "a", json!({"size": 1})))
        .await
        .ok();
    let status = s
        .patch(Patch::Strategic, "widgets/a", &json!({"spec": {"size": 2}}))
        .await
        .fails(415, "UnsupportedMediaType");
    let message = "the body of the request was in an unknown format - accepted media types include: \
        application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
    assert!(status["message"].as_str().unwrap().starts_with(message), "{status}");
    s.patch(Patch::Merge, "widgets/a", &json!({"spec": {"size": 2}}))
        .await
        .is(200);
    s.patch(
        Patch::Json,
        "widgets/a",
        &json!([{"op": "replace", "path": "/spec/size", "value": 3}]),
    )
    .await
    .is(200);
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#patch-and-apply>
async fn a_result_that_is_invalid_is_refused(s: Space) {
    s.post("apps/v1:deployments", &two_containers()).await.ok();
    let status = s
        .patch(
            Patch::Merge,
            "apps/v1:deployments/a",
            &json!({"spec": {"replicas": -1}}),
        )
        .await
        .fails(422, "Invalid");
    let message =
        "Deployment.apps \"a\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0";
    assert_eq!(status["message"], message);
    assert_eq!(status["details"]["group"], "apps");
    assert_eq!(status["details"]["kind"], "Deployment");
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#patch-and-apply>
async fn patches_without_versions_of_one_object_all_succeed(s: Space) {
    s.post("configmaps", &config_map("a")).await.ok();
    let patches = (0..8).map(|i| {
        let body = json!({"data": {format!("k{i}"): "x"}}).to_string();
        s.ask(Method::PATCH, "configmaps/a")
            .body("application/merge-patch+json", body)
            .send()
    });
    for reply in futures::future::join_all(patches).await {
        reply.is(200);
    }
    assert_eq!(s.get("configmaps/a").await.ok()["data"].as_object().unwrap().len(), 9);
}
