use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const NOON: &str = "2026-11-22T12:00:00Z";
const LATER: &str = "2026-11-22T13:00:00Z";

fn at(name: &'static str, time: &str) -> Manager<'static> {
    Manager {
        name,
        api_version: "apps/v1",
        subresource: None,
        now: time.parse().expect("a time"),
    }
}

fn deployments() -> std::sync::Arc<Schema> {
    Schema::built_in("apps", "v1", "Deployment").expect("served")
}

/// A custom resource with every kind of list.
fn databases() -> Schema {
    Schema::from_crd(&json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "replicas": {"type": "integer"},
            "paused": {"type": "boolean", "nullable": true},
            "users": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "required": ["name"], "properties": {
                    "name": {"type": "string"}, "superuser": {"type": "boolean"}, "limit": {"type": "integer"}}}},
            "extensions": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "args": {"type": "array", "items": {"type": "string"}},
            "parameters": {"type": "object", "additionalProperties": {"type": "string"}},
            "affinity": {"type": "object", "x-kubernetes-map-type": "atomic", "x-kubernetes-preserve-unknown-fields": true},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        }},
        "status": {"type": "object", "properties": {"phase": {"type": "string"}}},
    }}))
    .expect("structural")
}

fn database(spec: &Value) -> Value {
    json!({"apiVersion": "pgop.dev/v1", "kind": "Database", "metadata": {"name": "main", "namespace": "default"}, "spec": spec})
}

fn web(spec: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": {"app": "web"}}, "spec": spec})
}

/// Applies, or panics with the conflicts.
fn applied(schema: &Schema, live: Option<&Value>, config: &Value, manager: &Manager<'_>) -> Value {
    apply(schema, live, config, manager, false).expect("no conflicts")
}

fn tracked(schema: &Schema, before: Option<&Value>, after: &Value, manager: &Manager<'_>) -> Value {
    let mut after = after.clone();
    track(schema, before, &mut after, manager);
    after
}

fn fields_of(object: &Value, manager: &str) -> Value {
    let entries = object["metadata"]["managedFields"].as_array().expect("managed");
    let entry = entries.iter().find(|entry| entry["manager"] == manager);
    entry.map_or(Value::Null, |entry| entry["fieldsV1"].clone())
}

// ---- applying

#[test]
fn the_first_apply_owns_what_it_says() {
    let containers = json!([{"name": "web", "image": "nginx", "ports": [{"containerPort": 80}]}]);
    let config = web(&json!({"replicas": 2, "selector": {"matchLabels": {"app": "web"}},
        "template": {"spec": {"containers": containers, "nodeSelector": {"zone": "a"}}}}));
    let object = applied(&deployments(), None, &config, &at("kubectl", NOON));
    assert_eq!(
        object["metadata"]["managedFields"],
        json!([{
            "manager": "kubectl", "operation": "Apply", "apiVersion": "apps/v1", "time": NOON, "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:metadata": {"f:labels": {"f:app": {}}},
                "f:spec": {
                    "f:replicas": {},
                    "f:selector": {},
                    "f:template": {"f:spec": {
                        "f:containers": {"k:{\"name\":\"web\"}": {
                            ".": {}, "f:name": {}, "f:image": {},
                            "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}},
                        }},
                        "f:nodeSelector": {},
                    }},
                },
            },
        }])
    );
    assert_eq!(object["spec"], config["spec"]);
}

#[test]
fn an_apply_that_changes_nothing_changes_nothing() {
    let schema = databases();
    let config = database(&json!({"replicas": 1, "users": [{"name": "a"}], "paused": null}));
    let live = applied(&schema, None, &config, &at("pgop", NOON));
    assert_eq!(applied(&schema, Some(&live), &config, &at("pgop", LATER)), live);
    // Also when the server added something meanwhile, and names of another order.
    let defaulted = merged(
        &live,
        &json!({"metadata": {"uid": "1", "resourceVersion": "7"}, "spec": {"free": {"a": 1}}}),
    );
    assert_eq!(
        applied(&schema, Some(&defaulted), &config, &at("pgop", LATER)),
        defaulted
    );
}

fn merged(live: &Value, patch: &Value) -> Value {
    crate::merge::merge(live, patch)
}

#[test]
fn what_is_no_longer_said_is_removed() {
    let schema = databases();
    let manager = at("pgop", NOON);
    let full = database(&json!({
        "replicas": 1, "users": [{"name": "a", "limit": 1}, {"name": "b"}], "extensions": ["x", "y"],
        "parameters": {"a": "1", "b": "2"}, "args": ["-a"], "affinity": {"node": {"a": 1}},
    }));
    let live = applied(&schema, None, &full, &manager);
    let less = database(&json!({"users": [{"name": "a"}], "extensions": ["y"], "parameters": {"b": "2"}}));
    let object = applied(&schema, Some(&live), &less, &manager);
    assert_eq!(object["spec"], less["spec"]);
    let nothing = database(&json!({}));
    assert_eq!(applied(&schema, Some(&object), &nothing, &manager)["spec"], json!({}));
}

#[test]
fn what_others_own_stays() {
    let schema = databases();
    let mine = database(
        &json!({"users": [{"name": "a", "limit": 1}], "extensions": ["x"], "parameters": {"a": "1"}, "replicas": 1}),
    );
    let theirs = database(
        &json!({"users": [{"name": "a"}, {"name": "b"}], "extensions": ["x", "y"], "parameters": {"b": "2"}, "replicas": 1}),
    );
    let live = applied(&schema, None, &mine, &at("mine", NOON));
    let live = applied(&schema, Some(&live), &theirs, &at("theirs", NOON));
    assert_eq!(live["spec"]["users"], json!([{"name": "a", "limit": 1}, {"name": "b"}]));
    assert_eq!(live["spec"]["parameters"], json!({"a": "1", "b": "2"}));

    let object = applied(&schema, Some(&live), &database(&json!({})), &at("mine", LATER));
    assert_eq!(
        object["spec"],
        json!({"users": [{"name": "a"}, {"name": "b"}], "extensions": ["x", "y"], "parameters": {"b": "2"}, "replicas": 1})
    );
}

#[test]
fn a_manager_without_fields_vanishes() {
    let schema = databases();
    let live = applied(&schema, None, &database(&json!({"replicas": 1})), &at("one", NOON));
    let live = applied(
        &schema,
        Some(&live),
        &database(&json!({"args": ["-a"]})),
        &at("other", NOON),
    );
    let object = applied(
        &schema,
        Some(&live),
        &json!({"apiVersion": "pgop.dev/v1", "kind": "Database", "metadata": {"name": "main"}}),
        &at("one", LATER),
    );
    assert_eq!(fields_of(&object, "one"), Value::Null);
    assert_eq!(object["spec"], json!({"args": ["-a"]}));
}

#[test]
fn lists_keep_the_applied_order_and_the_place_of_others() {
    let schema = databases();
    let users = |names: &[&str]| -> Value { names.iter().map(|name| json!({"name": name})).collect() };
    let config = |names: &[&str]| database(&json!({"users": users(names)}));
    let live = applied(&schema, None, &config(&["x", "b", "y"]), &at("other", NOON));
    let object = applied(&schema, Some(&live), &config(&["a", "b", "c"]), &at("mine", NOON));
    assert_eq!(object["spec"]["users"], users(&["x", "a", "b", "y", "c"]));
    let turned = applied(&schema, Some(&live), &config(&["y", "b"]), &at("mine", NOON));
    assert_eq!(turned["spec"]["users"], users(&["x", "y", "b"]));
}

#[test]
fn null_says_nothing_unless_it_is_allowed() {
    let schema = databases();
    let object = applied(
        &schema,
        None,
        &database(&json!({"replicas": null, "paused": null, "free": {"a": null}})),
        &at("pgop", NOON),
    );
    assert_eq!(object["spec"], json!({"paused": null, "free": {"a": null}}));
    assert_eq!(
        fields_of(&object, "pgop"),
        json!({"f:spec": {"f:paused": {}, "f:free": {"f:a": {}}}})
    );
}

#[test]
fn the_status_belongs_to_its_subresource() {
    let schema = databases();
    let config = merged(
        &database(&json!({"replicas": 1})),
        &json!({"status": {"phase": "Ready"}}),
    );
    let main = applied(&schema, None, &config, &at("pgop", NOON));
    assert_eq!(
        (&main["status"], fields_of(&main, "pgop")),
        (&Value::Null, json!({"f:spec": {"f:replicas": {}}}))
    );

    let status = Manager {
        subresource: Some("status"),
        ..at("pgop", NOON)
    };
    let object = applied(
        &schema,
        Some(&main),
        &merged(&config, &json!({"spec": {"replicas": 9}})),
        &status,
    );
    assert_eq!(
        (&object["spec"]["replicas"], &object["status"]["phase"]),
        (&json!(1), &json!("Ready"))
    );
    let entries = object["metadata"]["managedFields"].as_array().expect("managed");
    assert_eq!((entries.len(), &entries[1]["subresource"]), (2, &json!("status")));
    assert_eq!(entries[1]["fieldsV1"], json!({"f:status": {"f:phase": {}}}));

    let without = databases().with_status_subresource(false);
    assert_eq!(
        applied(&without, None, &config, &at("pgop", NOON))["status"],
        json!({"phase": "Ready"})
    );
}

#[test]
fn what_the_server_sets_is_owned_by_nobody() {
    let config = json!({"apiVersion": "v1", "kind": "Database", "metadata": {
        "name": "main", "namespace": "default", "uid": "1", "resourceVersion": "5", "generation": 3, "creationTimestamp": NOON,
        "ownerReferences": [{"apiVersion": "v1", "kind": "A", "name": "a", "uid": "42"}], "finalizers": ["pgop.dev/x"],
    }});
    let object = applied(&databases(), None, &config, &at("pgop", NOON));
    assert_eq!(
        fields_of(&object, "pgop"),
        json!({"f:metadata": {"f:ownerReferences": {"k:{\"uid\":\"42\"}": {}}, "f:finalizers": {"v:\"pgop.dev/x\"": {}}}})
    );
}

#[test]
fn what_can_not_be_applied() {
    let schema = databases();
    assert_eq!(
        apply(&schema, None, &json!([]), &at("a", NOON), true),
        Err(ApplyError::NotAnObject)
    );
    let config = json!({"metadata": {"managedFields": [{"manager": "me"}]}});
    assert_eq!(
        apply(&schema, None, &config, &at("a", NOON), true),
        Err(ApplyError::HasManagedFields)
    );
}

// ---- conflicts

#[test]
fn one_conflict_is_a_sentence() {
    let schema = deployments();
    let live = tracked(&schema, None, &web(&json!({"replicas": 1})), &at("kubectl", NOON));
    let error = apply(
        &schema,
        Some(&live),
        &web(&json!({"replicas": 2})),
        &at("pgop", NOON),
        false,
    )
    .expect_err("owned");
    assert_eq!(
        error.to_string(),
        r#"Apply failed with 1 conflict: conflict with "kubectl" using apps/v1: .spec.replicas"#
    );
    let ApplyError::Conflicts(conflicts) = error else {
        panic!("another error")
    };
    assert_eq!(
        conflicts,
        [Conflict {
            manager: "kubectl".into(),
            api_version: "apps/v1".into(),
            operation: "Update",
            subresource: None,
            time: Some(NOON.into()),
            field: ".spec.replicas".into(),
        }]
    );
}

#[test]
fn several_conflicts_are_a_list() {
    let schema = deployments();
    let image = |image: &str| json!({"template": {"spec": {"containers": [{"name": "web", "image": image}]}}});
    let live = applied(&schema, None, &web(&image("nginx:1")), &at("argo", NOON));
    let scaler = Manager {
        subresource: Some("scale"),
        ..at("kube-controller-manager", NOON)
    };
    let live = tracked(
        &schema,
        Some(&live),
        &merged(&live, &json!({"spec": {"replicas": 3}})),
        &scaler,
    );
    let config = web(&merged(&image("nginx:2"), &json!({"replicas": 1})));
    let error = apply(&schema, Some(&live), &config, &at("pgop", NOON), false).expect_err("owned");
    assert_eq!(
        error.to_string(),
        "Apply failed with 2 conflicts: conflicts with \"argo\":\n\
         - .spec.template.spec.containers[name=\"web\"].image\n\
         conflicts with \"kube-controller-manager\" with subresource \"scale\" using apps/v1:\n\
         - .spec.replicas"
    );
}

#[test]
fn force_takes_over() {
    let schema = deployments();
    let live = tracked(
        &schema,
        None,
        &web(&json!({"replicas": 1, "paused": true})),
        &at("kubectl", NOON),
    );
    let object = apply(
        &schema,
        Some(&live),
        &web(&json!({"replicas": 2})),
        &at("pgop", LATER),
        true,
    )
    .expect("forced");
    assert_eq!(object["spec"], json!({"replicas": 2, "paused": true}));
    assert_eq!(fields_of(&object, "pgop")["f:spec"], json!({"f:replicas": {}}));
    assert_eq!(fields_of(&object, "kubectl")["f:spec"], json!({"f:paused": {}}));
}

#[test]
fn who_says_the_same_shares() {
    let schema = databases();
    let config = database(&json!({"replicas": 1}));
    let live = applied(&schema, None, &config, &at("one", NOON));
    let object = applied(&schema, Some(&live), &config, &at("other", LATER));
    assert_eq!(fields_of(&object, "one"), fields_of(&object, "other"));
    let error = apply(
        &schema,
        Some(&object),
        &database(&json!({"replicas": 2})),
        &at("one", LATER),
        false,
    )
    .expect_err("shared");
    assert_eq!(
        error.to_string(),
        r#"Apply failed with 1 conflict: conflict with "other": .spec.replicas"#
    );
}

#[test]
fn objects_from_before_have_an_owner() {
    let schema = databases();
    let live = database(&json!({"replicas": 1}));
    let error = apply(
        &schema,
        Some(&live),
        &database(&json!({"replicas": 2})),
        &at("pgop", NOON),
        false,
    )
    .expect_err("owned");
    assert_eq!(
        error.to_string(),
        r#"Apply failed with 1 conflict: conflict with "before-first-apply" using apps/v1: .spec.replicas"#
    );
}

// ---- tracking

#[test]
fn a_create_is_tracked_as_kubernetes_does() {
    let schema = deployments();
    let spec = json!({"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "nginx", "resources": {}}], "securityContext": {}}}});
    let object = tracked(&schema, None, &web(&spec), &at("kubectl-create", NOON));
    assert_eq!(
        object["metadata"]["managedFields"],
        json!([{
            "manager": "kubectl-create", "operation": "Update", "apiVersion": "apps/v1", "time": NOON, "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                "f:spec": {
                    "f:replicas": {},
                    "f:selector": {},
                    "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}}, "f:type": {}},
                    "f:template": {
                        "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                        "f:spec": {
                            "f:containers": {"k:{\"name\":\"web\"}": {".": {}, "f:image": {}, "f:name": {}, "f:resources": {}}},
                            "f:securityContext": {},
                        },
                    },
                },
            },
        }])
    );
    let custom = tracked(
        &databases(),
        None,
        &database(&json!({"replicas": 1})),
        &at("kubectl-create", NOON),
    );
    assert_eq!(
        fields_of(&custom, "kubectl-create"),
        json!({"f:spec": {".": {}, "f:replicas": {}}})
    );
}

#[test]
fn whoever_changes_a_field_owns_it() {
    let schema = databases();
    let live = applied(
        &schema,
        None,
        &database(&json!({"replicas": 1, "args": ["-a"]})),
        &at("pgop", NOON),
    );
    let changed = merged(&live, &json!({"spec": {"replicas": 2}}));
    let object = tracked(&schema, Some(&live), &changed, &at("kubectl-edit", LATER));
    assert_eq!(fields_of(&object, "pgop"), json!({"f:spec": {"f:args": {}}}));
    assert_eq!(
        fields_of(&object, "kubectl-edit"),
        json!({"f:spec": {"f:replicas": {}}})
    );
    let times: Vec<&Value> = object["metadata"]["managedFields"]
        .as_array()
        .expect("managed")
        .iter()
        .map(|entry| &entry["time"])
        .collect();
    assert_eq!(times, [NOON, LATER]);
}

#[test]
fn removed_fields_are_owned_by_nobody() {
    let schema = databases();
    let live = applied(
        &schema,
        None,
        &database(&json!({"replicas": 1, "users": [{"name": "a", "limit": 1}]})),
        &at("pgop", NOON),
    );
    let live = tracked(
        &schema,
        Some(&live),
        &merged(&live, &json!({"spec": {"args": ["-a"]}})),
        &at("other", NOON),
    );
    let after = merged(&live, &json!({"spec": {"users": [], "args": null}}));
    let object = tracked(&schema, Some(&live), &after, &at("kubectl-edit", LATER));
    assert_eq!(fields_of(&object, "pgop"), json!({"f:spec": {"f:replicas": {}}}));
    assert_eq!(fields_of(&object, "other"), Value::Null);
}

#[test]
fn an_update_that_changes_nothing_keeps_everything() {
    let schema = databases();
    let live = tracked(&schema, None, &database(&json!({"replicas": 1})), &at("a", NOON));
    assert_eq!(tracked(&schema, Some(&live), &live, &at("a", LATER)), live);
    let mut stripped = live.clone();
    stripped["metadata"]
        .as_object_mut()
        .expect("object")
        .remove("managedFields");
    assert_eq!(tracked(&schema, Some(&live), &stripped, &at("b", LATER)), live);
    stripped["metadata"]["managedFields"] = json!([]);
    assert_eq!(tracked(&schema, Some(&live), &stripped, &at("b", LATER)), live);
}

#[test]
fn clients_may_rename_or_forget_managers() {
    let schema = databases();
    let live = tracked(&schema, None, &database(&json!({"replicas": 1})), &at("old", NOON));
    let mut renamed = live.clone();
    renamed["metadata"]["managedFields"][0]["manager"] = json!("new");
    assert_eq!(tracked(&schema, Some(&live), &renamed, &at("kubectl", LATER)), renamed);
    let mut reset = live.clone();
    reset["metadata"]["managedFields"] = json!([{}]);
    assert_eq!(
        tracked(&schema, Some(&live), &reset, &at("kubectl", LATER))["metadata"].get("managedFields"),
        None
    );
    let mut broken = live.clone();
    broken["metadata"]["managedFields"] = json!([{"manager": "x", "operation": "Eat"}]);
    assert_eq!(tracked(&schema, Some(&live), &broken, &at("kubectl", LATER)), live);
}

#[test]
fn entries_are_sorted_as_kubernetes_sorts_them() {
    let schema = databases();
    let live = tracked(&schema, None, &database(&json!({"replicas": 1})), &at("b-update", NOON));
    let live = tracked(
        &schema,
        Some(&live),
        &merged(&live, &json!({"spec": {"args": ["x"]}})),
        &at("a-update", LATER),
    );
    let live = applied(
        &schema,
        Some(&live),
        &database(&json!({"paused": true})),
        &at("z-apply", LATER),
    );
    let managers: Vec<&str> = live["metadata"]["managedFields"]
        .as_array()
        .expect("managed")
        .iter()
        .filter_map(|entry| entry["manager"].as_str())
        .collect();
    assert_eq!(managers, ["z-apply", "b-update", "a-update"]);
}

#[test]
fn times_are_given_back_when_nothing_else_changed() {
    let schema = databases();
    let live = tracked(&schema, None, &database(&json!({"replicas": 1})), &at("a", NOON));
    let mut later = tracked(&schema, None, &database(&json!({"replicas": 1})), &at("a", LATER));
    settle(&live, &mut later);
    assert_eq!(later, live);
    let mut other = tracked(&schema, None, &database(&json!({"replicas": 2})), &at("a", LATER));
    settle(&live, &mut other);
    assert_ne!(other, live);
}

// ---- properties

/// The spec of a database, with all kinds of lists.
fn spec() -> impl Strategy<Value = Value> {
    let name = || prop::sample::select(vec!["a", "b", "c"]);
    let user = (name(), proptest::option::of(0..3_i64)).prop_map(|(name, limit)| {
        limit.map_or_else(|| json!({"name": name}), |limit| json!({"name": name, "limit": limit}))
    });
    let users = prop::collection::vec(user, 0..3).prop_map(|mut users| {
        users.sort_by_key(|user| user["name"].to_string());
        users.dedup_by_key(|user| user["name"].clone());
        Value::from(users)
    });
    let set = prop::collection::btree_set(name(), 0..3).prop_map(|set| json!(set));
    let map = prop::collection::btree_map(name(), name(), 0..3).prop_map(|map| json!(map));
    let fields = (
        proptest::option::of((0..3_i64).prop_map(Value::from)),
        proptest::option::of(users),
        proptest::option::of(set.clone()),
        proptest::option::of(set),
        proptest::option::of(map.clone()),
        proptest::option::of(map.clone()),
        proptest::option::of(map),
    );
    fields.prop_map(|(replicas, users, extensions, args, parameters, affinity, free)| {
        let fields = [
            ("replicas", replicas),
            ("users", users),
            ("extensions", extensions),
            ("args", args),
            ("parameters", parameters),
            ("affinity", affinity),
            ("free", free),
        ];
        fields
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect()
    })
}

/// Any JSON, with names that mean something.
fn hostile() -> impl Strategy<Value = Value> {
    let names = [
        "metadata",
        "managedFields",
        "spec",
        "users",
        "extensions",
        "name",
        "status",
        "f:spec",
        "fieldsV1",
        "operation",
        "k:{",
        "v:x",
        ".",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop::sample::select(vec!["Apply", "Update", "a", ""]).prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 48, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(prop::sample::select(names.to_vec()), inner, 0..5)
                .prop_map(|map| map.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn applying_twice_is_applying_once(mine in spec(), theirs in spec()) {
        let schema = databases();
        let live = applied(&schema, None, &database(&theirs), &at("theirs", NOON));
        let once = apply(&schema, Some(&live), &database(&mine), &at("mine", NOON), true).expect("forced");
        let twice = applied(&schema, Some(&once), &database(&mine), &at("mine", LATER));
        prop_assert_eq!(twice, once);
    }

    #[test]
    fn alone_one_gets_what_one_says(first in spec(), second in spec()) {
        let schema = databases();
        let live = applied(&schema, None, &database(&first), &at("pgop", NOON));
        let object = applied(&schema, Some(&live), &database(&second), &at("pgop", LATER));
        prop_assert_eq!(&object["spec"], &second);
    }

    #[test]
    fn every_owned_field_is_there(first in spec(), second in spec(), third in spec()) {
        let schema = databases();
        let live = applied(&schema, None, &database(&first), &at("one", NOON));
        let live = tracked(&schema, Some(&live), &merged(&live, &json!({"spec": second})), &at("two", NOON));
        let object = apply(&schema, Some(&live), &database(&third), &at("three", LATER), true).expect("forced");
        let there = typed::with_named_fields(&schema.root, &typed::field_set(&schema.root, &object));
        for entry in managed::read(&object).expect("readable") {
            let named = typed::with_named_fields(&schema.root, &entry.fields);
            prop_assert!(named.difference(&there).is_empty(), "{} owns {:?} of {}", entry.manager, named.difference(&there).paths(), object);
        }
    }

    #[test]
    fn hostile_objects_never_panic(before in hostile(), after in hostile()) {
        for schema in [&databases(), &*deployments(), &*Schema::any()] {
            let mut object = after.clone();
            track(schema, Some(&before), &mut object, &at("a", NOON));
            let _ = apply(schema, Some(&before), &after, &at("a", NOON), true);
            schema.default(&mut object);
            schema.prune(&mut object);
            schema.validate(&object, Some(&before));
        }
    }
}
