//! Server-side apply. <https://kubernetes.io/docs/reference/using-api/server-side-apply/>

use http::Method;
use pgop_fidelity::{Patch, Space, Subject, config_map, deployment, version, with};
use serde_json::{Value, json};

pub(crate) fn subject() -> Subject {
    Subject::new("apply")
        .holds(an_apply_of_a_new_object_creates_it)
        .holds(an_apply_records_the_fields_of_its_manager)
        .holds(a_field_that_is_left_out_is_removed)
        .holds(a_field_of_nobody_else_stays_when_it_was_never_applied)
        .holds(a_conflict_names_manager_and_fields)
        .holds(a_conflict_with_an_update_names_its_version)
        .holds(a_forced_apply_takes_the_field_over)
        .holds(two_managers_share_a_field_of_one_value)
        .holds(a_shared_field_stays_until_its_last_manager_leaves)
        .holds(managers_of_different_fields_do_not_meet)
        .holds(an_update_takes_fields_over_from_an_apply)
        .holds(an_apply_that_changes_nothing_keeps_the_version)
        .holds(an_apply_with_an_old_version_is_a_conflict)
        .holds(an_apply_without_a_manager_is_invalid)
        .holds(an_apply_with_managed_fields_is_refused)
        .holds(an_apply_of_an_undeclared_field_is_refused)
        .holds(an_apply_of_another_version_is_refused)
        .holds(force_is_for_apply_only)
        .holds(an_apply_merges_containers_by_name)
        .holds(an_apply_removes_only_its_own_list_elements)
        .holds(an_apply_merges_sets_and_maps_of_a_custom_resource)
        .holds(an_atomic_list_belongs_to_one_manager)
        .holds(an_apply_on_the_status_keeps_to_the_status)
        .holds(an_apply_can_be_dry)
        .holds(labels_and_annotations_are_owned_one_by_one)
        .holds(an_apply_takes_yaml)
        .holds(cleared_fields_belong_to_before_first_apply)
        .holds(a_finalizer_is_owned_by_whom_applied_it)
        .holds(fields_of_the_status_are_marked_as_such)
}

fn data(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data})
}

/// The fields that a manager has, by operation.
fn fields<'a>(object: &'a Value, manager: &str, operation: &str) -> &'a Value {
    let entries = object["metadata"]["managedFields"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    entries
        .iter()
        .find(|e| e["manager"] == manager && e["operation"] == operation)
        .map_or(&Value::Null, |e| &e["fieldsV1"])
}

/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/>
async fn an_apply_of_a_new_object_creates_it(s: Space) {
    let created = s.apply("one", "configmaps/a", &data(json!({"a": "1"}))).await.is(201);
    assert_eq!(created["data"], json!({"a": "1"}));
    assert_eq!(
        s.apply("one", "configmaps/a", &data(json!({"a": "2"}))).await.is(200)["data"]["a"],
        "2"
    );
}

/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>
async fn an_apply_records_the_fields_of_its_manager(s: Space) {
    let created = s
        .apply("one", "configmaps/a", &data(json!({"a": "1", "b": "2"})))
        .await
        .ok();
    let entries = created["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(entries.len(), 1);
    let entry = &entries[0];
    assert_eq!(entry["manager"], "one");
    assert_eq!(entry["operation"], "Apply");
    assert_eq!(entry["apiVersion"], "v1");
    assert_eq!(entry["fieldsType"], "FieldsV1");
    assert!(entry["time"].as_str().unwrap().ends_with('Z'));
    assert_eq!(entry["fieldsV1"], json!({"f:data": {"f:a": {}, "f:b": {}}}));
}

/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>
async fn a_field_that_is_left_out_is_removed(s: Space) {
    s.apply("one", "configmaps/a", &data(json!({"a": "1", "b": "2"})))
        .await
        .ok();
    let applied = s.apply("one", "configmaps/a", &data(json!({"a": "1"}))).await.ok();
    assert_eq!(applied["data"], json!({"a": "1"}));
    assert_eq!(fields(&applied, "one", "Apply"), &json!({"f:data": {"f:a": {}}}));
}

/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>
async fn a_field_of_nobody_else_stays_when_it_was_never_applied(s: Space) {
    s.post("configmaps?fieldManager=maker", &config_map("a")).await.ok();
    let applied = s.apply("one", "configmaps/a", &data(json!({"a": "1"}))).await.is(200);
    assert_eq!(applied["data"], json!({"key": "value", "a": "1"}));
    assert_eq!(fields(&applied, "maker", "Update")["f:data"]["f:key"], json!({}));
}

/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts>
async fn a_conflict_names_manager_and_fields(s: Space) {
    s.apply("one", "configmaps/a", &data(json!({"a": "1", "b": "2"})))
        .await
        .ok();
    let status = s
        .apply("two", "configmaps/a", &data(json!({"a": "9"})))
        .await
        .fails(409, "Conflict");
    assert_eq!(
        status["message"],
        "Apply failed with 1 conflict: conflict with \"one\": .data.a"
    );
    let causes = json!([{"reason": "FieldManagerConflict", "message": "conflict with \"one\"", "field": ".data.a"}]);
    assert_eq!(status["details"]["causes"], causes);
    let status = s
        .apply("two", "configmaps/a", &data(json!({"a": "9", "b": "8"})))
        .await
        .fails(409, "Conflict");
    assert_eq!(
        status["message"],
        "Apply failed with 2 conflicts: conflicts with \"one\":\n- .data.a\n- .data.b"
    );
    assert_eq!(s.get("configmaps/a").await.ok()["data"], json!({"a": "1", "b": "2"}));
}

/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts>
async fn a_conflict_with_an_update_names_its_version(s: Space) {
    s.post("configmaps?fieldManager=maker", &config_map("a")).await.ok();
    let status = s
        .apply("one", "configmaps/a", &data(json!({"key": "other"})))
        .await
        .fails(409, "Conflict");
    let message = status["message"].as_str().unwrap();
    assert!(
        message.starts_with("Apply failed with 1 conflict: conflict with \"maker\" using v1"),
        "{message}"
    );
    assert!(message.ends_with(": .data.key"), "{message}");
}

/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts>
async fn a_forced_apply_takes_the_field_over(s: Space) {
    s.apply("one", "configmaps/a", &data(json!({"a": "1", "b": "2"})))
        .await
        .ok();
    let applied = s
        .apply_forced("two", "configmaps/a", &data(json!({"a": "9"})))
        .await
        .is(200);
    assert_eq!(applied["data"], json!({"a": "9", "b": "2"}));
    assert_eq!(fields(&applied, "one", "Apply"), &json!({"f:data": {"f:b": {}}}));
    assert_eq!(fields(&applied, "two", "Apply"), &json!({"f:data": {"f:a": {}}}));
}

/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>
async fn two_managers_share_a_field_of_one_value(s: Space) {
    s.apply("one", "configmaps/a", &data(json!({"a": "1"}))).await.ok();
    let applied = s.apply("two", "configmaps/a", &data(json!({"a": "1"}))).await.is(200);
    for manager in ["one", "two"] {
        assert_eq!(fields(&applied, manager, "Apply"), &json!({"f:data": {"f:a": {}}}));
    }
    s.apply("one", "configmaps/a", &data(json!({"a": "2"})))
        .await
        .fails(409, "Conflict");
}

/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#transferring-ownership>
async fn a_shared_field_stays_until_its_last_manager_leaves(s: Space) {
    s.apply("one", "configmaps/a", &data(json!({"a": "1", "b": "2"})))
        .await
        .ok();
    s.apply("two", "configmaps/a", &data(json!({"a": "1"}))).await.ok();
    let left = s.apply("one", "configmaps/a", &data(json!({"b": "2"}))).await.ok();
    assert_eq!(left["data"], json!({"a": "1", "b": "2"}));
    let gone = s.apply("two", "configmaps/a", &data(json!({}))).await.ok();
    assert_eq!(gone["data"], json!({"b": "2"}));
}

/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>
async fn managers_of_different_fields_do_not_meet(s: Space) {
    s.apply("one", "configmaps/a", &data(json!({"a": "1"}))).await.ok();
    s.apply("two", "configmaps/a", &data(json!({"b": "2"}))).await.is(200);
    assert_eq!(
        s.apply("one", "configmaps/a", &data(json!({"a": "3"}))).await.is(200)["data"],
        json!({"a": "3", "b": "2"})
    );
}

/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>
async fn an_update_takes_fields_over_from_an_apply(s: Space) {
    let applied = s
        .apply("one", "configmaps/a", &data(json!({"a": "1", "b": "2"})))
        .await
        .ok();
    let updated = s
        .put(
            "configmaps/a?fieldManager=two",
            &with(applied, json!({"data": {"a": "9"}})),
        )
        .await
        .ok();
    assert_eq!(fields(&updated, "one", "Apply"), &json!({"f:data": {"f:b": {}}}));
    assert_eq!(fields(&updated, "two", "Update"), &json!({"f:data": {"f:a": {}}}));
    let status = s
        .apply("one", "configmaps/a", &data(json!({"a": "1", "b": "2"})))
        .await
        .fails(409, "Conflict");
    assert_eq!(
        status["message"],
        "Apply failed with 1 conflict: conflict with \"two\" using v1: .data.a"
    );
    let left = s.apply("one", "configmaps/a", &data(json!({"b": "2"}))).await.is(200);
    assert_eq!(
        left["data"],
        json!({"a": "9", "b": "2"}),
        "what was taken over is not removed"
    );
}

/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/>
async fn an_apply_that_changes_nothing_keeps_the_version(s: Space) {
    let first = s.apply("one", "configmaps/a", &data(json!({"a": "1"}))).await.ok();
    // managedFields have times of whole seconds: an apply in a later second must not write a new one
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let second = s.apply("one", "configmaps/a", &data(json!({"a": "1"}))).await.is(200);
    assert_eq!(version(&first), version(&second));
}

/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/>
async fn an_apply_with_an_old_version_is_a_conflict(s: Space) {
    let first = s.apply("one", "configmaps/a", &data(json!({"a": "1"}))).await.ok();
    s.apply("one", "configmaps/a", &data(json!({"a": "2"}))).await.ok();
    let late = with(
        data(json!({"a": "3"})),
        json!({"metadata": {"resourceVersion": version(&first)}}),
    );
    s.apply("one", "configmaps/a", &late)
        .await
        .fails_with(409, "Conflict", &["the object has been modified"]);
}

/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#managers>
async fn an_apply_without_a_manager_is_invalid(s: Space) {
    let status = s
        .apply("", "configmaps/a", &data(json!({"a": "1"})))
        .await
        .fails(422, "Invalid");
    let message = "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch";
    assert_eq!(status["message"], message);
}

/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>
async fn an_apply_with_managed_fields_is_refused(s: Space) {
    let body = with(
        data(json!({"a": "1"})),
        json!({"metadata": {"managedFields": [{"manager": "x", "operation": "Apply"}]}}),
    );
    let status = s.apply("one", "configmaps/a", &body).await.fails(400, "BadRequest");
    assert_eq!(status["message"], "metadata.managedFields must be nil");
}

/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/>
async fn an_apply_of_an_undeclared_field_is_refused(s: Space) {
    let reply = s
        .apply(
            "one",
            "configmaps/a",
            &with(data(json!({"a": "1"})), json!({"gizmo": 1})),
        )
        .await;
    assert!(matches!(reply.status, 400 | 500), "{reply:?}");
    assert!(
        reply.json["message"]
            .as_str()
            .unwrap()
            .contains(".gizmo: field not declared in schema"),
        "{reply:?}"
    );
}

/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/>
async fn an_apply_of_another_version_is_refused(s: Space) {
    let other = with(data(json!({"a": "1"})), json!({"apiVersion": "v2"}));
    s.apply("one", "configmaps/a", &other).await.fails_with(
        400,
        "BadRequest",
        &["invalid object type: /v2, Kind=ConfigMap"],
    );
}

/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts>
async fn force_is_for_apply_only(s: Space) {
    s.post("configmaps", &config_map("a")).await.ok();
    let reply = s
        .patch(
            Patch::Merge,
            "configmaps/a?force=true",
            &json!({"data": {"key": "new"}}),
        )
        .await;
    reply.fails_with(
        422,
        "Invalid",
        &["force: Forbidden: may not be specified for non-apply patch"],
    );
}

fn containers(list: Value) -> Value {
    let mut object = deployment("a", 0, "true");
    object["spec"]["template"]["spec"] = json!({ "containers": list });
    object
}

fn names(deployment: &Value) -> Vec<&str> {
    let list = deployment["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    list.iter().map(|c| c["name"].as_str().unwrap()).collect()
}

/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy>
async fn an_apply_merges_containers_by_name(s: Space) {
    let path = "apps/v1:deployments/a";
    s.apply("one", path, &containers(json!([{"name": "main", "image": "x"}])))
        .await
        .is(201);
    let side = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {"template": {"spec": {
        "containers": [{"name": "side", "image": "y"}]}}}});
    let applied = s.apply("two", path, &side).await.is(200);
    let mut found = names(&applied);
    found.sort_unstable();
    assert_eq!(found, ["main", "side"]);
    let owned = &fields(&applied, "two", "Apply")["f:spec"]["f:template"]["f:spec"]["f:containers"];
    assert_eq!(
        owned,
        &json!({"k:{\"name\":\"side\"}": {".": {}, "f:image": {}, "f:name": {}}})
    );
}

/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy>
async fn an_apply_removes_only_its_own_list_elements(s: Space) {
    let path = "apps/v1:deployments/a";
    let env = |list: Value| containers(json!([{"name": "main", "image": "x", "env": list}]));
    s.apply(
        "one",
        path,
        &env(json!([{"name": "A", "value": "1"}, {"name": "B", "value": "2"}])),
    )
    .await
    .ok();
    let other = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {"template": {"spec": {
        "containers": [{"name": "main", "env": [{"name": "C", "value": "3"}]}]}}}});
    s.apply("two", path, &other).await.ok();
    let applied = s
        .apply("one", path, &env(json!([{"name": "B", "value": "2"}])))
        .await
        .ok();
    let list = applied["spec"]["template"]["spec"]["containers"][0]["env"]
        .as_array()
        .unwrap();
    let mut found: Vec<_> = list.iter().map(|e| e["name"].as_str().unwrap()).collect();
    found.sort_unstable();
    assert_eq!(found, ["B", "C"]);
}

/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy>
async fn an_apply_merges_sets_and_maps_of_a_custom_resource(s: Space) {
    s.widgets().await;
    let one =
        json!({"size": 1, "set": ["a", "b"], "ports": [{"name": "http", "port": 80}, {"name": "db", "port": 5432}]});
    s.apply("one", "widgets/a", &crate::crds::widget(&s, "a", one))
        .await
        .is(201);
    let two = json!({"set": ["c"], "ports": [{"name": "http", "protocol": "TCP"}], "map": {"x": "y"}});
    let applied = s
        .apply("two", "widgets/a", &crate::crds::widget(&s, "a", two))
        .await
        .is(200);
    let mut set: Vec<_> = applied["spec"]["set"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_str().unwrap())
        .collect();
    set.sort_unstable();
    assert_eq!(set, ["a", "b", "c"]);
    let ports = applied["spec"]["ports"].as_array().unwrap();
    assert_eq!(ports.len(), 2);
    let http = ports.iter().find(|p| p["name"] == "http").unwrap();
    assert_eq!(http, &json!({"name": "http", "port": 80, "protocol": "TCP"}));
    let left = s
        .apply("one", "widgets/a", &crate::crds::widget(&s, "a", json!({"size": 1})))
        .await
        .ok();
    assert_eq!(left["spec"]["set"], json!(["c"]));
    assert_eq!(left["spec"]["ports"], json!([{"name": "http", "protocol": "TCP"}]));
}

/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy>
async fn an_atomic_list_belongs_to_one_manager(s: Space) {
    s.widgets().await;
    let tags = |tags: Value| crate::crds::widget(&s, "a", json!({"size": 1, "tags": tags}));
    s.apply("one", "widgets/a", &tags(json!(["a"]))).await.is(201);
    let status = s
        .apply("two", "widgets/a", &tags(json!(["a", "b"])))
        .await
        .fails(409, "Conflict");
    assert_eq!(status["details"]["causes"][0]["field"], ".spec.tags");
    assert_eq!(
        s.apply_forced("two", "widgets/a", &tags(json!(["c"]))).await.is(200)["spec"]["tags"],
        json!(["c"])
    );
}

/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>
async fn an_apply_on_the_status_keeps_to_the_status(s: Space) {
    s.widgets().await;
    let created = s
        .apply("one", "widgets/a", &crate::crds::widget(&s, "a", json!({"size": 1})))
        .await
        .is(201);
    let status = json!({"apiVersion": created["apiVersion"], "kind": "Widget", "metadata": {"name": "a"}, "status": {"phase": "Up"}});
    let applied = s.apply("two", "widgets/a/status", &status).await.is(200);
    assert_eq!(applied["status"], json!({"phase": "Up"}));
    assert_eq!(applied["spec"], created["spec"]);
    assert_eq!(applied["metadata"]["generation"], 1);
    assert_eq!(fields(&applied, "two", "Apply"), &json!({"f:status": {"f:phase": {}}}));
    let again = s
        .apply("one", "widgets/a", &crate::crds::widget(&s, "a", json!({"size": 2})))
        .await
        .is(200);
    assert_eq!(
        again["status"],
        json!({"phase": "Up"}),
        "an apply of the spec leaves the status alone"
    );
}

/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management> (`subresource`)
async fn fields_of_the_status_are_marked_as_such(s: Space) {
    s.widgets().await;
    let created = s
        .apply("one", "widgets/a", &crate::crds::widget(&s, "a", json!({"size": 1})))
        .await
        .is(201);
    let status = json!({"apiVersion": created["apiVersion"], "kind": "Widget", "metadata": {"name": "a"}, "status": {"phase": "Up"}});
    let applied = s.apply("one", "widgets/a/status", &status).await.is(200);
    let entries = applied["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(entries.len(), 2, "one manager, two entries: {applied}");
    assert!(
        entries
            .iter()
            .any(|e| e["subresource"] == "status" && e["fieldsV1"] == json!({"f:status": {"f:phase": {}}}))
    );
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#dry-run>
async fn an_apply_can_be_dry(s: Space) {
    let created = s
        .apply("one", "configmaps/a?dryRun=All", &data(json!({"a": "1"})))
        .await
        .is(201);
    assert_eq!(created["data"]["a"], "1");
    s.get("configmaps/a").await.fails(404, "NotFound");
}

/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>
async fn labels_and_annotations_are_owned_one_by_one(s: Space) {
    let label =
        |key: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "labels": {key: "x"}}});
    s.apply("one", "configmaps/a", &label("one")).await.ok();
    let both = s.apply("two", "configmaps/a", &label("two")).await.is(200);
    assert_eq!(both["metadata"]["labels"], json!({"one": "x", "two": "x"}));
    assert_eq!(
        fields(&both, "two", "Apply"),
        &json!({"f:metadata": {"f:labels": {"f:two": {}}}})
    );
    let left = s.apply("one", "configmaps/a", &label("three")).await.ok();
    assert_eq!(left["metadata"]["labels"], json!({"two": "x", "three": "x"}));
}

/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#serialization>
async fn an_apply_takes_yaml(s: Space) {
    let body = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  a: 'yes'\n  b: |\n    two\n    lines\n";
    let reply = s
        .ask(Method::PATCH, "configmaps/a?fieldManager=one")
        .body("application/apply-patch+yaml", body)
        .send()
        .await;
    assert_eq!(reply.is(201)["data"], json!({"a": "yes", "b": "two\nlines\n"}));
}

/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#clearing-managedfields>
async fn cleared_fields_belong_to_before_first_apply(s: Space) {
    s.apply("one", "configmaps/a", &data(json!({"a": "1"}))).await.ok();
    let cleared = s
        .patch(
            Patch::Merge,
            "configmaps/a",
            &json!({"metadata": {"managedFields": [{}]}}),
        )
        .await
        .is(200);
    assert!(cleared["metadata"]["managedFields"].is_null(), "{cleared}");
    let status = s
        .apply("two", "configmaps/a", &data(json!({"a": "2"})))
        .await
        .fails(409, "Conflict");
    let message = "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.a";
    assert_eq!(status["message"], message);
}

/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy> (finalizers are a set)
async fn a_finalizer_is_owned_by_whom_applied_it(s: Space) {
    let held = |finalizers: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "finalizers": finalizers}});
    s.apply("one", "configmaps/a", &held(json!(["example.com/one"])))
        .await
        .ok();
    let both = s
        .apply("two", "configmaps/a", &held(json!(["example.com/two"])))
        .await
        .is(200);
    assert_eq!(
        both["metadata"]["finalizers"],
        json!(["example.com/one", "example.com/two"])
    );
    assert_eq!(
        fields(&both, "two", "Apply"),
        &json!({"f:metadata": {"f:finalizers": {"v:\"example.com/two\"": {}}}})
    );
    let left = s.apply("one", "configmaps/a", &held(json!([]))).await.ok();
    assert_eq!(left["metadata"]["finalizers"], json!(["example.com/two"]));
    s.apply("two", "configmaps/a", &held(json!([]))).await.ok();
}
