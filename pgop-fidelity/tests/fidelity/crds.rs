//! Custom resources and their definitions.
//! <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/>

use http::{Method, header};
use pgop_fidelity::{Patch, Space, Subject, version, with};
use serde_json::{Value, json};

pub(crate) fn subject() -> Subject {
    Subject::new("crds")
        .holds(unknown_fields_are_pruned)
        .holds(preserved_fields_are_kept)
        .holds(additional_properties_are_kept_and_checked)
        .holds(defaults_are_written)
        .holds(a_nested_default_needs_its_parent)
        .holds(a_null_is_pruned_for_its_default_unless_nullable)
        .holds(a_missing_required_field_is_told)
        .holds(a_value_outside_the_enum_is_told_with_the_values)
        .holds(a_value_out_of_range_is_told)
        .holds(a_text_that_misses_the_pattern_or_the_length_is_told)
        .holds(a_wrong_type_is_told_with_both_types)
        .holds(too_many_items_are_told)
        .holds(an_int_or_string_is_either)
        .holds(duplicates_of_sets_and_maps_are_told)
        .holds(a_status_in_a_create_is_dropped)
        .holds(a_write_of_the_status_leaves_the_rest_alone)
        .holds(the_generation_follows_the_spec)
        .holds(an_update_of_a_custom_resource_needs_a_version)
        .holds(a_body_without_kind_is_a_bad_request)
        .holds(the_scale_subresource_maps_to_the_given_paths)
        .holds(print_columns_make_the_table)
        .holds(names_and_subresources_are_in_discovery)
        .holds(a_new_definition_becomes_established)
        .holds(a_definition_must_be_named_after_its_names)
        .holds(a_schema_is_required_and_must_be_structural)
        .holds(a_protected_group_needs_approval)
        .holds(every_served_version_reads_every_object)
        .holds(a_changed_schema_holds_for_the_next_write)
        .holds(deleting_a_definition_deletes_its_objects)
        .holds(a_cluster_wide_resource_has_no_namespace)
        .holds(a_cel_rule_is_checked_on_create_and_update)
        .holds(a_cel_transition_rule_makes_a_field_immutable)
        .holds(a_cel_rule_that_does_not_compile_is_refused)
        .since(32, "selectable fields are GA", selectable_fields_are_field_selectors)
}

/// A `Widget` of the run's group.
pub(crate) fn widget(s: &Space, name: &str, spec: Value) -> Value {
    json!({"apiVersion": format!("{}/v1", s.group()), "kind": "Widget", "metadata": {"name": name}, "spec": spec})
}

async fn create(s: &Space, spec: Value) -> Value {
    s.widgets().await;
    s.post("widgets", &widget(s, "a", spec)).await.is(201)
}

/// The Status of a create that is refused, whose one cause is about `field`.
async fn refused(s: &Space, spec: Value, reason: &str, field: &str) -> String {
    s.widgets().await;
    let status = s.post("widgets", &widget(s, "a", spec)).await.fails(422, "Invalid");
    assert_eq!(status["details"]["group"], s.group());
    assert_eq!(status["details"]["kind"], "Widget");
    let cause = &status["details"]["causes"][0];
    assert_eq!(
        (&cause["reason"], &cause["field"]),
        (&json!(reason), &json!(field)),
        "{status}"
    );
    let message = status["message"].as_str().unwrap();
    assert!(
        message.starts_with(&format!("Widget.{} \"a\" is invalid: ", s.group())),
        "{message}"
    );
    message.to_owned()
}

/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#field-pruning>
async fn unknown_fields_are_pruned(s: Space) {
    let created = create(&s, json!({"size": 1, "gizmo": 2, "nested": {"gadget": 3}})).await;
    assert!(
        created["spec"]["gizmo"].is_null() && created["spec"]["nested"]["gadget"].is_null(),
        "{created}"
    );
    let extra = with(widget(&s, "b", json!({"size": 1})), json!({"extra": {"x": 1}}));
    assert!(s.post("widgets", &extra).await.is(201)["extra"].is_null());
}

/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#controlling-pruning>
async fn preserved_fields_are_kept(s: Space) {
    let free = json!({"any": {"thing": [1, "two", {"three": null}]}});
    assert_eq!(create(&s, json!({"size": 1, "free": free})).await["spec"]["free"], free);
}

/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema>
async fn additional_properties_are_kept_and_checked(s: Space) {
    assert_eq!(
        create(&s, json!({"size": 1, "map": {"x": "y"}})).await["spec"]["map"],
        json!({"x": "y"})
    );
    let reply = s
        .patch(Patch::Merge, "widgets/a", &json!({"spec": {"map": {"x": 5}}}))
        .await;
    reply.fails_with(422, "Invalid", &["spec.map.x", "must be of type string"]);
}

/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#defaulting>
async fn defaults_are_written(s: Space) {
    let created = create(&s, json!({"size": 1})).await;
    assert_eq!(created["spec"]["color"], "green");
    let patched = s
        .patch(Patch::Merge, "widgets/a", &json!({"spec": {"color": null}}))
        .await
        .is(200);
    assert_eq!(patched["spec"]["color"], "green", "removing it brings the default back");
}

/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#defaulting>
async fn a_nested_default_needs_its_parent(s: Space) {
    assert!(create(&s, json!({"size": 1})).await["spec"]["nested"].is_null());
    let patched = s
        .patch(Patch::Merge, "widgets/a", &json!({"spec": {"nested": {}}}))
        .await
        .is(200);
    assert_eq!(patched["spec"]["nested"]["depth"], 3);
}

/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#defaulting-and-nullable>
async fn a_null_is_pruned_for_its_default_unless_nullable(s: Space) {
    let created = create(&s, json!({"size": 1, "color": null, "nullable": null})).await;
    assert_eq!(created["spec"]["color"], "green");
    assert_eq!(created["spec"].get("nullable"), Some(&Value::Null));
}

/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation>
async fn a_missing_required_field_is_told(s: Space) {
    let message = refused(&s, json!({"color": "red"}), "FieldValueRequired", "spec.size").await;
    assert!(message.ends_with("spec.size: Required value"), "{message}");
}

/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation>
async fn a_value_outside_the_enum_is_told_with_the_values(s: Space) {
    let message = refused(
        &s,
        json!({"size": 1, "color": "pink"}),
        "FieldValueNotSupported",
        "spec.color",
    )
    .await;
    assert!(
        message.ends_with("spec.color: Unsupported value: \"pink\": supported values: \"red\", \"green\", \"blue\""),
        "{message}"
    );
}

/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation>
async fn a_value_out_of_range_is_told(s: Space) {
    let message = refused(&s, json!({"size": 0}), "FieldValueInvalid", "spec.size").await;
    assert!(
        message.contains("spec.size in body should be greater than or equal to 1"),
        "{message}"
    );
    let message = refused(&s, json!({"size": 101}), "FieldValueInvalid", "spec.size").await;
    assert!(
        message.contains("spec.size in body should be less than or equal to 100"),
        "{message}"
    );
}

/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation>
async fn a_text_that_misses_the_pattern_or_the_length_is_told(s: Space) {
    let message = refused(&s, json!({"size": 1, "label": "AB"}), "FieldValueInvalid", "spec.label").await;
    assert!(
        message.contains("spec.label in body should match '^[a-z]+$'"),
        "{message}"
    );
    let message = refused(&s, json!({"size": 1, "label": "a"}), "FieldValueInvalid", "spec.label").await;
    assert!(
        message.contains("spec.label in body should be at least 2 chars long"),
        "{message}"
    );
    s.post("widgets", &widget(&s, "a", json!({"size": 1, "label": "abcdefghi"})))
        .await
        .fails_with(422, "Invalid", &["spec.label"]);
}

/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation>
async fn a_wrong_type_is_told_with_both_types(s: Space) {
    s.widgets().await;
    let reply = s.post("widgets", &widget(&s, "a", json!({"size": "big"}))).await;
    reply.fails_with(
        422,
        "Invalid",
        &["spec.size in body must be of type integer: \"string\""],
    );
}

/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation>
async fn too_many_items_are_told(s: Space) {
    s.widgets().await;
    let reply = s
        .post(
            "widgets",
            &widget(&s, "a", json!({"size": 1, "tags": ["a", "b", "c", "d"]})),
        )
        .await;
    reply.fails_with(422, "Invalid", &["spec.tags", "have at most 3 items"]);
}

/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#intorstring>
async fn an_int_or_string_is_either(s: Space) {
    let schema = json!({"type": "object", "properties": {"amount": {"x-kubernetes-int-or-string": true}}});
    let path = define(&s, &definition(&s, schema)).await;
    assert_eq!(
        s.post(&path, &gadget(&s, "v1", json!({"amount": 5}))).await.is(201)["spec"]["amount"],
        5
    );
    let path = format!("{path}/a");
    let patched = s
        .patch(Patch::Merge, &path, &json!({"spec": {"amount": "50%"}}))
        .await
        .is(200);
    assert_eq!(patched["spec"]["amount"], "50%");
    s.patch(Patch::Merge, &path, &json!({"spec": {"amount": true}}))
        .await
        .fails(422, "Invalid");
}

/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy> (`x-kubernetes-list-type`)
async fn duplicates_of_sets_and_maps_are_told(s: Space) {
    let message = refused(
        &s,
        json!({"size": 1, "set": ["a", "a"]}),
        "FieldValueDuplicate",
        "spec.set[1]",
    )
    .await;
    assert!(message.ends_with("spec.set[1]: Duplicate value: \"a\""), "{message}");
    let ports = json!([{"name": "x"}, {"name": "x", "port": 1}]);
    refused(
        &s,
        json!({"size": 1, "ports": ports}),
        "FieldValueDuplicate",
        "spec.ports[1]",
    )
    .await;
}

/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#status-subresource>
async fn a_status_in_a_create_is_dropped(s: Space) {
    s.widgets().await;
    let body = with(widget(&s, "a", json!({"size": 1})), json!({"status": {"phase": "Up"}}));
    let created = s.post("widgets", &body).await.is(201);
    assert!(created["status"].is_null(), "{created}");
    let updated = s
        .put("widgets/a", &with(created, json!({"status": {"phase": "Up"}})))
        .await
        .is(200);
    assert!(updated["status"].is_null(), "{updated}");
}

/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#status-subresource>
async fn a_write_of_the_status_leaves_the_rest_alone(s: Space) {
    let created = create(&s, json!({"size": 1})).await;
    let change = json!({"spec": {"size": 50}, "metadata": {"labels": {"a": "b"}}, "status": {"phase": "Up"}});
    let written = s.put("widgets/a/status", &with(created.clone(), change)).await.is(200);
    assert_eq!(written["status"], json!({"phase": "Up"}));
    assert_eq!(written["spec"]["size"], 1);
    assert!(written["metadata"]["labels"].is_null(), "{written}");
    assert_eq!(written["metadata"]["generation"], 1);
    assert_ne!(version(&written), version(&created));
    assert_eq!(s.get("widgets/a/status").await.is(200), written);
}

/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#status-subresource>
async fn the_generation_follows_the_spec(s: Space) {
    assert_eq!(create(&s, json!({"size": 1})).await["metadata"]["generation"], 1);
    for (change, generation) in [
        (json!({"metadata": {"labels": {"a": "b"}}}), 1),
        (json!({"metadata": {"annotations": {"a": "b"}}}), 1),
        (json!({"spec": {"size": 2}}), 2),
        (json!({"spec": {"size": 2}}), 2),
        (json!({"metadata": {"generation": 9}}), 2),
    ] {
        let patched = s.patch(Patch::Merge, "widgets/a", &change).await.is(200);
        assert_eq!(patched["metadata"]["generation"], generation, "{change}");
    }
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>
async fn an_update_of_a_custom_resource_needs_a_version(s: Space) {
    create(&s, json!({"size": 1})).await;
    let words = ["metadata.resourceVersion: Invalid value: 0: must be specified for an update"];
    s.put("widgets/a", &widget(&s, "a", json!({"size": 2})))
        .await
        .fails_with(422, "Invalid", &words);
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-encoding>
async fn a_body_without_kind_is_a_bad_request(s: Space) {
    s.widgets().await;
    s.post("widgets", &json!({"metadata": {"name": "a"}, "spec": {"size": 1}}))
        .await
        .fails(400, "BadRequest");
}

/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#scale-subresource>
async fn the_scale_subresource_maps_to_the_given_paths(s: Space) {
    create(&s, json!({"size": 1, "replicas": 2})).await;
    s.patch(
        Patch::Merge,
        "widgets/a/status",
        &json!({"status": {"replicas": 1, "selector": "x=y"}}),
    )
    .await
    .ok();
    let scale = s.get("widgets/a/scale").await.is(200);
    assert_eq!(
        (&scale["apiVersion"], &scale["kind"]),
        (&json!("autoscaling/v1"), &json!("Scale"))
    );
    assert_eq!(scale["spec"], json!({"replicas": 2}));
    assert_eq!(scale["status"], json!({"replicas": 1, "selector": "x=y"}));
    let scaled = s
        .put("widgets/a/scale", &with(scale, json!({"spec": {"replicas": 5}})))
        .await
        .is(200);
    assert_eq!(scaled["spec"]["replicas"], 5);
    assert_eq!(s.get("widgets/a").await.ok()["spec"]["replicas"], 5);
}

/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#additional-printer-columns>
async fn print_columns_make_the_table(s: Space) {
    create(&s, json!({"size": 7})).await;
    s.patch(Patch::Merge, "widgets/a/status", &json!({"status": {"phase": "Up"}}))
        .await
        .ok();
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let table = s
        .ask(Method::GET, "widgets")
        .header(header::ACCEPT, accept)
        .send()
        .await
        .ok();
    let columns: Vec<_> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert_eq!(columns, ["Name", "Size", "Phase", "Age"]);
    assert_eq!(table["columnDefinitions"][1]["type"], "integer");
    let cells = table["rows"][0]["cells"].as_array().unwrap();
    assert_eq!(cells[..3], [json!("a"), json!(7), json!("Up")]);
    assert!(cells[3].as_str().unwrap().ends_with('s'), "an age: {cells:?}");
}

/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#create-a-customresourcedefinition>
async fn names_and_subresources_are_in_discovery(s: Space) {
    s.widgets().await;
    let path = format!("/apis/{}/v1", s.group());
    let list = s
        .until("discovery has it", &path, |l| {
            l["resources"].as_array().is_some_and(|r| r.len() == 3)
        })
        .await;
    let resource = |name: &str| {
        list["resources"]
            .as_array()
            .unwrap()
            .iter()
            .find(|r| r["name"] == name)
            .unwrap()
            .clone()
    };
    let widgets = resource("widgets");
    assert_eq!(widgets["singularName"], "widget");
    assert_eq!(widgets["kind"], "Widget");
    assert_eq!(widgets["namespaced"], true);
    assert_eq!(widgets["shortNames"], json!(["wd"]));
    assert_eq!(widgets["categories"], json!(["all"]));
    for verb in [
        "create",
        "delete",
        "deletecollection",
        "get",
        "list",
        "patch",
        "update",
        "watch",
    ] {
        assert!(
            widgets["verbs"].as_array().unwrap().contains(&json!(verb)),
            "{verb}: {widgets}"
        );
    }
    assert_eq!(resource("widgets/status")["kind"], "Widget");
    let scale = resource("widgets/scale");
    assert_eq!(
        (&scale["group"], &scale["version"], &scale["kind"]),
        (&json!("autoscaling"), &json!("v1"), &json!("Scale"))
    );
}

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// A definition of `gadgets` in a group of this namespace's own, with this schema of the spec.
fn definition(s: &Space, spec: Value) -> Value {
    let group = format!("{}.example.com", s.name());
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("gadgets.{group}")},
        "spec": {"group": group, "scope": "Namespaced",
            "names": {"plural": "gadgets", "kind": "Gadget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}]}})
}

/// Creates a definition and waits until it is served; gives the path of its objects.
async fn define(s: &Space, definition: &Value) -> String {
    let name = definition["metadata"]["name"].as_str().unwrap();
    s.also_delete(&format!("{DEFINITIONS}/{name}"));
    s.post(DEFINITIONS, definition).await.is(201);
    let path = format!("/apis/{}.example.com/v1/namespaces/{}/gadgets", s.name(), s.name());
    s.serves(&path).await;
    path
}

fn gadget(s: &Space, version: &str, spec: Value) -> Value {
    json!({"apiVersion": format!("{}.example.com/{version}", s.name()), "kind": "Gadget", "metadata": {"name": "a"}, "spec": spec})
}

fn any_object() -> Value {
    json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    let conditions = object["status"]["conditions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    conditions
        .iter()
        .find(|c| c["type"] == kind)
        .map_or(&Value::Null, |c| &c["status"])
}

/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#create-a-customresourcedefinition>
async fn a_new_definition_becomes_established(s: Space) {
    let definition = definition(&s, any_object());
    define(&s, &definition).await;
    let path = format!("{DEFINITIONS}/{}", definition["metadata"]["name"].as_str().unwrap());
    let made = s
        .until("it is established", &path, |d| condition(d, "Established") == "True")
        .await;
    assert_eq!(condition(&made, "NamesAccepted"), "True");
    assert_eq!(made["status"]["storedVersions"], json!(["v1"]));
    let names = json!({"plural": "gadgets", "singular": "gadget", "kind": "Gadget", "listKind": "GadgetList"});
    assert_eq!(made["spec"]["names"], names, "singular and listKind are defaults");
    assert_eq!(made["status"]["acceptedNames"], names);
    assert_eq!(made["spec"]["conversion"], json!({"strategy": "None"}));
    assert_eq!(made["metadata"]["generation"], 1);
}

/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#create-a-customresourcedefinition>
async fn a_definition_must_be_named_after_its_names(s: Space) {
    let wrong = with(
        definition(&s, any_object()),
        json!({"metadata": {"name": "wrong.example.com"}}),
    );
    let words = ["metadata.name", "must be spec.names.plural+\".\"+spec.group"];
    s.post(DEFINITIONS, &wrong).await.fails_with(422, "Invalid", &words);
}

/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema>
async fn a_schema_is_required_and_must_be_structural(s: Space) {
    let mut without = definition(&s, any_object());
    without["spec"]["versions"][0]["schema"].take();
    s.post(DEFINITIONS, &without)
        .await
        .fails_with(422, "Invalid", &["schema"]);
    let loose = definition(&s, json!({"properties": {"x": {"type": "string"}}}));
    let words =
        ["openAPIV3Schema.properties[spec].type: Required value: must not be empty for specified object fields"];
    s.post(DEFINITIONS, &loose).await.fails_with(422, "Invalid", &words);
}

/// <https://kubernetes.io/docs/reference/labels-annotations-taints/#api-approved-kubernetes-io>
async fn a_protected_group_needs_approval(s: Space) {
    let name = "gadgets.fidelity.k8s.io";
    let body = with(
        definition(&s, any_object()),
        json!({"metadata": {"name": name}, "spec": {"group": "fidelity.k8s.io"}}),
    );
    s.post(DEFINITIONS, &body)
        .await
        .fails_with(422, "Invalid", &["api-approved.kubernetes.io"]);
}

/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/>
async fn every_served_version_reads_every_object(s: Space) {
    let mut definition = definition(&s, any_object());
    let mut second = definition["spec"]["versions"][0].clone();
    second["name"] = json!("v2");
    second["storage"] = json!(false);
    definition["spec"]["versions"].as_array_mut().unwrap().push(second);
    let path = define(&s, &definition).await;
    s.post(&path, &gadget(&s, "v1", json!({"x": 1}))).await.is(201);
    let newer = path.replace("/v1/", "/v2/");
    let read = s.get(&format!("{newer}/a")).await.is(200);
    assert_eq!(read["apiVersion"], format!("{}.example.com/v2", s.name()));
    assert_eq!(read["spec"], json!({"x": 1}));
    s.patch(Patch::Merge, &format!("{newer}/a"), &json!({"spec": {"y": 2}}))
        .await
        .is(200);
    assert_eq!(s.get(&format!("{path}/a")).await.ok()["spec"], json!({"x": 1, "y": 2}));
    let group = s.get(&format!("/apis/{}.example.com", s.name())).await.ok();
    assert_eq!(
        group["preferredVersion"]["version"], "v2",
        "the highest by Kubernetes' order of versions"
    );
}

/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation>
async fn a_changed_schema_holds_for_the_next_write(s: Space) {
    let definition = definition(&s, json!({"type": "object", "properties": {"x": {"type": "integer"}}}));
    let path = define(&s, &definition).await;
    assert_eq!(
        s.post(&path, &gadget(&s, "v1", json!({"x": 1, "y": 2}))).await.is(201)["spec"],
        json!({"x": 1})
    );
    let mut changed = definition["spec"]["versions"].clone();
    changed[0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["y"] =
        json!({"type": "integer", "default": 7});
    let own = format!("{DEFINITIONS}/{}", definition["metadata"]["name"].as_str().unwrap());
    let patched = s
        .patch(Patch::Merge, &own, &json!({"spec": {"versions": changed}}))
        .await
        .is(200);
    assert_eq!(patched["metadata"]["generation"], 2);
    let old = s
        .until("the default of the new schema is read", &format!("{path}/a"), |g| {
            g["spec"]["y"] == 7
        })
        .await;
    assert_eq!(old["metadata"]["generation"], 1, "a default on reading is no write");
    s.patch(Patch::Merge, &format!("{path}/a"), &json!({"spec": {"y": "text"}}))
        .await
        .fails(422, "Invalid");
}

/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#delete-a-customresourcedefinition>
async fn deleting_a_definition_deletes_its_objects(s: Space) {
    let definition = definition(&s, any_object());
    let path = define(&s, &definition).await;
    s.post(&path, &gadget(&s, "v1", json!({"x": 1}))).await.is(201);
    let mut watch = s.watch_from_now(&path).await;
    let own = format!("{DEFINITIONS}/{}", definition["metadata"]["name"].as_str().unwrap());
    s.delete(&own).await.is(200);
    watch
        .until("the object is deleted", |e| e.kind == "DELETED" && e.name() == "a")
        .await;
    s.gone(&own).await;
    s.gone(&path).await;
    define(&s, &definition).await;
    assert_eq!(s.get(&path).await.is(200)["items"], json!([]));
}

/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#create-a-customresourcedefinition>
async fn a_cluster_wide_resource_has_no_namespace(s: Space) {
    let definition = with(definition(&s, any_object()), json!({"spec": {"scope": "Cluster"}}));
    s.also_delete(&format!(
        "{DEFINITIONS}/{}",
        definition["metadata"]["name"].as_str().unwrap()
    ));
    s.post(DEFINITIONS, &definition).await.is(201);
    let path = format!("/apis/{}.example.com/v1/gadgets", s.name());
    s.serves(&path).await;
    let created = s.post(&path, &gadget(&s, "v1", json!({"x": 1}))).await.is(201);
    assert!(created["metadata"]["namespace"].is_null(), "{created}");
    s.get(&path.replace("/gadgets", &format!("/namespaces/{}/gadgets", s.name())))
        .await
        .is(404);
}

/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules>
async fn a_cel_rule_is_checked_on_create_and_update(s: Space) {
    let rule = json!({"rule": "self.least <= self.most", "message": "least must not be above most"});
    let path = define(
        &s,
        &definition(
            &s,
            json!({"type": "object", "x-kubernetes-validations": [rule],
        "properties": {"least": {"type": "integer"}, "most": {"type": "integer"}}}),
        ),
    )
    .await;
    let words = ["spec: Invalid value:", "least must not be above most"];
    s.post(&path, &gadget(&s, "v1", json!({"least": 5, "most": 1})))
        .await
        .fails_with(422, "Invalid", &words);
    s.post(&path, &gadget(&s, "v1", json!({"least": 1, "most": 5})))
        .await
        .is(201);
    s.patch(Patch::Merge, &format!("{path}/a"), &json!({"spec": {"least": 9}}))
        .await
        .fails_with(422, "Invalid", &words);
}

/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#transition-rules>
async fn a_cel_transition_rule_makes_a_field_immutable(s: Space) {
    let rule = json!({"rule": "self == oldSelf", "message": "is immutable"});
    let path = define(
        &s,
        &definition(
            &s,
            json!({"type": "object", "properties": {
        "fixed": {"type": "string", "x-kubernetes-validations": [rule]}, "free": {"type": "string"}}}),
        ),
    )
    .await;
    s.post(&path, &gadget(&s, "v1", json!({"fixed": "a"}))).await.is(201);
    s.patch(Patch::Merge, &format!("{path}/a"), &json!({"spec": {"free": "x"}}))
        .await
        .is(200);
    let reply = s
        .patch(Patch::Merge, &format!("{path}/a"), &json!({"spec": {"fixed": "b"}}))
        .await;
    reply.fails_with(422, "Invalid", &["spec.fixed: Invalid value:", "is immutable"]);
}

/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules>
async fn a_cel_rule_that_does_not_compile_is_refused(s: Space) {
    let body = definition(
        &s,
        json!({"type": "object", "x-kubernetes-validations": [{"rule": "self.nope > 1"}],
        "properties": {"x": {"type": "integer"}}}),
    );
    s.post(DEFINITIONS, &body).await.fails_with(
        422,
        "Invalid",
        &["x-kubernetes-validations[0].rule", "compilation failed"],
    );
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/#custom-resources-fields>
async fn selectable_fields_are_field_selectors(s: Space) {
    let mut definition = definition(
        &s,
        json!({"type": "object", "properties": {"color": {"type": "string"}}}),
    );
    definition["spec"]["versions"][0]["selectableFields"] = json!([{"jsonPath": ".spec.color"}]);
    let path = define(&s, &definition).await;
    s.post(&path, &gadget(&s, "v1", json!({"color": "red"}))).await.is(201);
    assert_eq!(
        s.get(&format!("{path}?fieldSelector=spec.color%3Dred")).await.ok()["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        s.get(&format!("{path}?fieldSelector=spec.color%3Dblue")).await.ok()["items"],
        json!([])
    );
}
