use super::*;
use proptest::prelude::*;
use serde_json::json;

fn deployment(containers: &Value) -> Value {
    json!({"metadata": {"name": "web"}, "spec": {"template": {"spec": {"containers": containers}}}})
}

fn patched(live: &Value, patch: &Value) -> Value {
    let schema = Schema::built_in("apps", "v1", "Deployment").expect("served");
    merge(&schema, live, patch).expect("a good patch")
}

fn containers(value: &Value) -> &Value {
    &value["spec"]["template"]["spec"]["containers"]
}

#[test]
fn containers_merge_by_name() {
    let live = deployment(
        &json!([{"name": "web", "image": "nginx:1", "env": [{"name": "A", "value": "1"}]}, {"name": "log", "image": "fluent"}]),
    );
    let patch = deployment(
        &json!([{"name": "web", "image": "nginx:2", "env": [{"name": "B", "value": "2"}]}, {"name": "new", "image": "x"}]),
    );
    assert_eq!(
        containers(&patched(&live, &patch)),
        &json!([
            {"name": "web", "image": "nginx:2", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
            {"name": "log", "image": "fluent"},
            {"name": "new", "image": "x"},
        ])
    );
}

#[test]
fn null_removes_and_atomic_lists_are_replaced() {
    let live = deployment(&json!([{"name": "web", "image": "nginx", "args": ["-a", "-b"], "workingDir": "/"}]));
    let patch = deployment(&json!([{"name": "web", "args": ["-c"], "workingDir": null}]));
    assert_eq!(
        containers(&patched(&live, &patch)),
        &json!([{"name": "web", "image": "nginx", "args": ["-c"]}])
    );
}

#[test]
fn items_are_deleted_and_lists_replaced() {
    let live = deployment(&json!([{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]));
    let delete = deployment(&json!([{"name": "a", "$patch": "delete"}]));
    assert_eq!(
        containers(&patched(&live, &delete)),
        &json!([{"name": "b", "image": "y"}])
    );
    let replace = deployment(&json!([{"$patch": "replace"}, {"name": "c", "image": "z"}]));
    assert_eq!(
        containers(&patched(&live, &replace)),
        &json!([{"name": "c", "image": "z"}])
    );
}

#[test]
fn objects_are_replaced_and_deleted() {
    let live = json!({"spec": {"template": {"spec": {"securityContext": {"runAsUser": 1, "fsGroup": 2}}}}});
    let patch = |context: Value| json!({"spec": {"template": {"spec": {"securityContext": context}}}});
    let replaced = patched(&live, &patch(json!({"$patch": "replace", "runAsUser": 3})));
    assert_eq!(
        replaced["spec"]["template"]["spec"],
        json!({"securityContext": {"runAsUser": 3}})
    );
    let deleted = patched(&live, &patch(json!({"$patch": "delete"})));
    assert_eq!(deleted["spec"]["template"]["spec"], json!({}));
}

#[test]
fn retained_keys_are_the_only_ones_that_stay() {
    let live = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
    let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
    assert_eq!(patched(&live, &patch)["spec"]["strategy"], json!({"type": "Recreate"}));
}

#[test]
fn lists_of_scalars() {
    let live = json!({"metadata": {"finalizers": ["a", "b", "c"]}});
    let add = json!({"metadata": {"finalizers": ["d", "a"]}});
    assert_eq!(
        patched(&live, &add)["metadata"]["finalizers"],
        json!(["a", "b", "c", "d"])
    );
    let delete = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["b"]}});
    assert_eq!(patched(&live, &delete)["metadata"], json!({"finalizers": ["a", "c"]}));
    let order = json!({"metadata": {"$setElementOrder/finalizers": ["c", "b", "a"]}});
    assert_eq!(
        patched(&live, &order)["metadata"],
        json!({"finalizers": ["c", "b", "a"]})
    );
}

#[test]
fn the_order_is_that_of_the_client_and_others_keep_their_place() {
    let live = deployment(&json!([{"name": "injected"}, {"name": "a"}, {"name": "b"}]));
    let mut patch = deployment(&json!([{"name": "c"}]));
    patch["spec"]["template"]["spec"]["$setElementOrder/containers"] =
        json!([{"name": "b"}, {"name": "c"}, {"name": "a"}]);
    let merged = patched(&live, &patch);
    assert_eq!(
        containers(&merged),
        &json!([{"name": "injected"}, {"name": "b"}, {"name": "c"}, {"name": "a"}])
    );
    assert!(!merged.to_string().contains('$'));
}

#[test]
fn the_patch_that_kubectl_sends_for_a_restart() {
    let live = deployment(&json!([{"name": "web", "image": "nginx"}]));
    let at = json!({"kubectl.kubernetes.io/restartedAt": "2026-11-22T21:41:29Z"});
    let merged = patched(&live, &json!({"spec": {"template": {"metadata": {"annotations": at}}}}));
    assert_eq!(merged["spec"]["template"]["metadata"]["annotations"], at);
    assert_eq!(containers(&merged), containers(&live));
}

#[test]
fn bad_patches_say_why() {
    let schema = Schema::built_in("apps", "v1", "Deployment").expect("served");
    let errors = [
        json!({"spec": {"$patch": "explode"}}),
        deployment(&json!([{"image": "x"}])),
        json!({"spec": {"strategy": {"$retainKeys": "type"}}}),
    ];
    let lines = errors.map(|patch| merge(&schema, &json!({}), &patch).expect_err("bad").to_string());
    assert_eq!(
        lines,
        [
            "Unknown patch type: explode",
            r#"map: {"image":"x"} does not contain declared merge key: name"#,
            "invalid patch: $retainKeys must be a list",
        ]
    );
}

/// JSON with the names and directives that the code looks for.
fn hostile() -> impl Strategy<Value = Value> {
    let names = [
        "spec",
        "template",
        "containers",
        "name",
        "finalizers",
        "metadata",
        "$patch",
        "$retainKeys",
        "$setElementOrder/containers",
        "$deleteFromPrimitiveList/finalizers",
        "env",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop::sample::select(vec!["delete", "replace", "merge", "a", ""]).prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(prop::sample::select(names.to_vec()), inner, 0..5)
                .prop_map(|map| map.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn hostile_patches_never_panic(live in hostile(), patch in hostile()) {
        let schema = Schema::built_in("apps", "v1", "Deployment").expect("served");
        let _ = merge(&schema, &live, &patch);
    }

    #[test]
    fn a_patch_without_directives_is_idempotent(live in hostile(), replicas in 0..9_i64, image in "[a-z]{1,5}") {
        let patch = json!({"spec": {"replicas": replicas, "template": {"spec": {"containers": [{"name": "a", "image": image}]}}}});
        let once = patched(&live, &patch);
        prop_assert_eq!(patched(&once, &patch), once);
    }
}
