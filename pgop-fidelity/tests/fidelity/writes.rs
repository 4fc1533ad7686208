//! Create, update and delete. <https://kubernetes.io/docs/reference/using-api/api-concepts/>

use pgop_fidelity::{Patch, Space, Subject, config_map, deployment, names, pod, service, uid, version, with};
use serde_json::json;

pub(crate) fn subject() -> Subject {
    Subject::new("writes")
        .holds(a_create_answers_201_with_what_the_server_adds)
        .holds(a_second_create_of_a_name_already_exists)
        .holds(a_recreated_object_has_another_uid)
        .holds(a_generated_name_has_five_random_characters)
        .holds(a_generated_name_is_only_used_without_a_name)
        .holds(a_create_with_a_resource_version_is_refused)
        .holds(server_side_metadata_in_a_create_is_ignored)
        .holds(an_update_answers_200_with_a_new_version)
        .holds(an_update_with_an_old_resource_version_is_a_conflict)
        .holds(an_update_without_a_resource_version_overwrites)
        .holds(an_update_with_another_uid_is_a_conflict)
        .holds(an_update_of_a_missing_object_is_not_found)
        .holds(an_update_that_changes_nothing_keeps_the_resource_version)
        .holds(an_update_replaces_the_whole_object)
        .holds(versions_are_numbers_that_grow_over_all_kinds)
        .holds(a_delete_answers_with_a_status_that_names_the_object)
        .holds(a_delete_with_another_uid_is_a_conflict)
        .holds(a_delete_with_another_resource_version_is_a_conflict)
        .holds(a_delete_with_fitting_preconditions_deletes)
        .holds(a_delete_of_a_missing_object_is_not_found)
        .holds(a_delete_of_a_collection_follows_its_selector)
        .holds(a_dry_create_answers_201_and_writes_nothing)
        .holds(a_dry_update_and_a_dry_patch_write_nothing)
        .holds(a_dry_delete_deletes_nothing)
        .holds(a_dry_run_checks_as_a_real_one)
        .holds(an_unknown_dry_run_is_invalid)
        .holds(an_immutable_config_map_refuses_changes)
        .holds(the_type_of_a_secret_is_immutable)
        .holds(string_data_of_a_secret_is_written_into_data)
        .holds(a_secret_that_is_no_base64_is_a_bad_request)
        .holds(the_generation_grows_with_the_spec)
        .holds(a_config_map_has_no_generation)
        .holds(a_write_to_the_object_leaves_the_status_alone)
        .holds(a_write_to_the_status_leaves_the_spec_alone)
        .holds(scaling_goes_through_the_scale_subresource)
        .holds(an_unknown_field_of_a_built_in_kind_is_dropped)
        .holds(an_unknown_field_is_refused_when_validation_is_strict)
        .holds(an_unknown_field_is_a_warning_when_validation_warns)
}

/// <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/>
async fn a_create_answers_201_with_what_the_server_adds(s: Space) {
    let created = s.post("configmaps", &config_map("a")).await.is(201);
    assert_eq!(created["kind"], "ConfigMap");
    assert_eq!(created["apiVersion"], "v1");
    let meta = &created["metadata"];
    assert_eq!(meta["namespace"], s.name());
    assert_eq!(uid(&created).len(), 36);
    assert!(!version(&created).is_empty());
    let time = meta["creationTimestamp"].as_str().unwrap();
    assert!(
        time.len() == 20 && time.ends_with('Z') && time.as_bytes()[10] == b'T',
        "RFC 3339 in whole seconds: {time}"
    );
    assert_eq!(created, s.get("configmaps/a").await.is(200));
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/>
async fn a_second_create_of_a_name_already_exists(s: Space) {
    s.post("configmaps", &config_map("a")).await.ok();
    let status = s.post("configmaps", &config_map("a")).await.fails(409, "AlreadyExists");
    assert_eq!(status["message"], "configmaps \"a\" already exists");
    assert_eq!(status["details"], json!({"name": "a", "kind": "configmaps"}));
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#uids>
async fn a_recreated_object_has_another_uid(s: Space) {
    let first = s.post("configmaps", &config_map("a")).await.ok();
    s.delete("configmaps/a").await.ok();
    let second = s.post("configmaps", &config_map("a")).await.ok();
    assert_ne!(uid(&first), uid(&second));
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#generated-values>
async fn a_generated_name_has_five_random_characters(s: Space) {
    let nameless = with(
        config_map("a"),
        json!({"metadata": {"name": null, "generateName": "made-"}}),
    );
    let created = s.post("configmaps", &nameless).await.is(201);
    let name = created["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("made-") && name.len() == 10, "{name}");
    assert_eq!(created["metadata"]["generateName"], "made-");
    let again = s.post("configmaps", &nameless).await.is(201);
    assert_ne!(again["metadata"]["name"], created["metadata"]["name"]);
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#generated-values>
async fn a_generated_name_is_only_used_without_a_name(s: Space) {
    let both = with(config_map("a"), json!({"metadata": {"generateName": "made-"}}));
    assert_eq!(s.post("configmaps", &both).await.is(201)["metadata"]["name"], "a");
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>
async fn a_create_with_a_resource_version_is_refused(s: Space) {
    let body = with(config_map("a"), json!({"metadata": {"resourceVersion": "5"}}));
    let reply = s.post("configmaps", &body).await;
    assert!(
        reply
            .text
            .contains("resourceVersion should not be set on objects to be created"),
        "{reply:?}"
    );
    assert!(matches!(reply.status, 400 | 500), "{reply:?}");
}

/// <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/>
async fn server_side_metadata_in_a_create_is_ignored(s: Space) {
    let lies = json!({"metadata": {"uid": "lie", "creationTimestamp": "2001-01-01T00:00:00Z",
        "deletionTimestamp": "2001-01-01T00:00:00Z", "selfLink": "/lie"}});
    let created = s.post("configmaps", &with(config_map("a"), lies)).await.is(201);
    assert_ne!(created["metadata"]["uid"], "lie");
    assert_ne!(created["metadata"]["creationTimestamp"], "2001-01-01T00:00:00Z");
    assert!(created["metadata"]["deletionTimestamp"].is_null());
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#api-verbs>
async fn an_update_answers_200_with_a_new_version(s: Space) {
    let created = s.post("configmaps", &config_map("a")).await.ok();
    let updated = s
        .put("configmaps/a", &with(created.clone(), json!({"data": {"key": "new"}})))
        .await
        .is(200);
    assert_eq!(updated["data"]["key"], "new");
    assert_eq!(uid(&updated), uid(&created));
    assert_eq!(
        updated["metadata"]["creationTimestamp"],
        created["metadata"]["creationTimestamp"]
    );
    assert_ne!(version(&updated), version(&created));
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>
async fn an_update_with_an_old_resource_version_is_a_conflict(s: Space) {
    let old = s.post("configmaps", &config_map("a")).await.ok();
    s.put("configmaps/a", &with(old.clone(), json!({"data": {"key": "new"}})))
        .await
        .ok();
    let status = s
        .put("configmaps/a", &with(old, json!({"data": {"key": "late"}})))
        .await
        .fails(409, "Conflict");
    let message = "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; \
        please apply your changes to the latest version and try again";
    assert_eq!(status["message"], message);
    assert_eq!(status["details"], json!({"name": "a", "kind": "configmaps"}));
    assert_eq!(s.get("configmaps/a").await.ok()["data"]["key"], "new");
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>
async fn an_update_without_a_resource_version_overwrites(s: Space) {
    s.post("configmaps", &config_map("a")).await.ok();
    let updated = s
        .put("configmaps/a", &with(config_map("a"), json!({"data": {"key": "new"}})))
        .await
        .is(200);
    assert_eq!(updated["data"]["key"], "new");
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#uids>
async fn an_update_with_another_uid_is_a_conflict(s: Space) {
    s.post("configmaps", &config_map("a")).await.ok();
    let other = with(
        config_map("a"),
        json!({"metadata": {"uid": "11111111-2222-3333-4444-555555555555"}}),
    );
    s.put("configmaps/a", &other)
        .await
        .fails_with(409, "Conflict", &["Precondition failed: UID in precondition:"]);
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#api-verbs>
async fn an_update_of_a_missing_object_is_not_found(s: Space) {
    s.put("configmaps/a", &config_map("a")).await.fails(404, "NotFound");
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>
async fn an_update_that_changes_nothing_keeps_the_resource_version(s: Space) {
    let created = s.post("configmaps", &config_map("a")).await.ok();
    let updated = s.put("configmaps/a", &created).await.is(200);
    assert_eq!(version(&updated), version(&created));
    let patched = s
        .patch(Patch::Merge, "configmaps/a", &json!({"data": {"key": "value"}}))
        .await
        .is(200);
    assert_eq!(version(&patched), version(&created));
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#api-verbs>
async fn an_update_replaces_the_whole_object(s: Space) {
    let first = with(
        config_map("a"),
        json!({"metadata": {"labels": {"a": "b"}}, "data": {"other": "x"}}),
    );
    s.post("configmaps", &first).await.ok();
    let updated = s.put("configmaps/a", &config_map("a")).await.is(200);
    assert_eq!(updated["data"], json!({"key": "value"}));
    assert!(updated["metadata"]["labels"].is_null());
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions> (comparable as numbers since 1.35, and so in every etcd)
async fn versions_are_numbers_that_grow_over_all_kinds(s: Space) {
    let mut last = 0;
    for round in 0..3 {
        let made = [
            s.post("configmaps", &config_map(&format!("a{round}"))).await.ok(),
            s.post("services", &service(&format!("s{round}"))).await.ok(),
        ];
        for object in made {
            let version: u64 = version(&object).parse().expect("a number");
            assert!(version > last, "{version} after {last}");
            last = version;
        }
    }
}

/// <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/>
async fn a_delete_answers_with_a_status_that_names_the_object(s: Space) {
    let created = s.post("configmaps", &config_map("a")).await.ok();
    let status = s.delete("configmaps/a").await.is(200);
    assert_eq!(status["kind"], "Status");
    assert_eq!(status["status"], "Success");
    assert_eq!(
        status["details"],
        json!({"name": "a", "kind": "configmaps", "uid": uid(&created)})
    );
    s.get("configmaps/a").await.fails(404, "NotFound");
}

/// <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/delete-options/>
async fn a_delete_with_another_uid_is_a_conflict(s: Space) {
    s.post("configmaps", &config_map("a")).await.ok();
    let options = json!({"preconditions": {"uid": "11111111-2222-3333-4444-555555555555"}});
    s.delete_with("configmaps/a", &options)
        .await
        .fails_with(409, "Conflict", &["UID"]);
    s.get("configmaps/a").await.ok();
}

/// <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/delete-options/>
async fn a_delete_with_another_resource_version_is_a_conflict(s: Space) {
    s.post("configmaps", &config_map("a")).await.ok();
    let reply = s
        .delete_with("configmaps/a", &json!({"preconditions": {"resourceVersion": "1"}}))
        .await;
    reply.fails_with(409, "Conflict", &["ResourceVersion"]);
    s.get("configmaps/a").await.ok();
}

/// <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/delete-options/>
async fn a_delete_with_fitting_preconditions_deletes(s: Space) {
    let created = s.post("configmaps", &config_map("a")).await.ok();
    let options = json!({"preconditions": {"uid": uid(&created), "resourceVersion": version(&created)}});
    s.delete_with("configmaps/a", &options).await.is(200);
    s.get("configmaps/a").await.fails(404, "NotFound");
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#api-verbs>
async fn a_delete_of_a_missing_object_is_not_found(s: Space) {
    s.delete("configmaps/a").await.fails(404, "NotFound");
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#api-verbs>
async fn a_delete_of_a_collection_follows_its_selector(s: Space) {
    for (name, tier) in [("a", "x"), ("b", "x"), ("c", "y")] {
        s.post(
            "configmaps",
            &with(config_map(name), json!({"metadata": {"labels": {"tier": tier}}})),
        )
        .await
        .ok();
    }
    let deleted = s.delete("configmaps?labelSelector=tier%3Dx").await.is(200);
    assert_eq!(deleted["kind"], "ConfigMapList");
    assert_eq!(names(&deleted), ["a", "b"]);
    assert_eq!(names(&s.get("configmaps?labelSelector=tier").await.ok()), ["c"]);
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#dry-run>
async fn a_dry_create_answers_201_and_writes_nothing(s: Space) {
    let created = s.post("configmaps?dryRun=All", &config_map("a")).await.is(201);
    assert!(
        !uid(&created).is_empty() && version(&created).is_empty(),
        "a uid but no version: {created}"
    );
    s.get("configmaps/a").await.fails(404, "NotFound");
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#dry-run>
async fn a_dry_update_and_a_dry_patch_write_nothing(s: Space) {
    let created = s.post("configmaps", &config_map("a")).await.ok();
    let change = json!({"data": {"key": "new"}});
    let updated = s
        .put("configmaps/a?dryRun=All", &with(created.clone(), change.clone()))
        .await
        .is(200);
    assert_eq!(updated["data"]["key"], "new");
    let patched = s.patch(Patch::Merge, "configmaps/a?dryRun=All", &change).await.is(200);
    assert_eq!(patched["data"]["key"], "new");
    assert_eq!(s.get("configmaps/a").await.ok(), created);
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#dry-run>
async fn a_dry_delete_deletes_nothing(s: Space) {
    s.post("configmaps", &config_map("a")).await.ok();
    s.delete("configmaps/a?dryRun=All").await.is(200);
    s.delete_with("configmaps/a", &json!({"dryRun": ["All"]})).await.is(200);
    s.get("configmaps/a").await.ok();
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#dry-run>
async fn a_dry_run_checks_as_a_real_one(s: Space) {
    s.post("configmaps?dryRun=All", &config_map("A"))
        .await
        .fails(422, "Invalid");
    s.post("configmaps", &config_map("a")).await.ok();
    s.post("configmaps?dryRun=All", &config_map("a"))
        .await
        .fails(409, "AlreadyExists");
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#dry-run>
async fn an_unknown_dry_run_is_invalid(s: Space) {
    s.post("configmaps?dryRun=Some", &config_map("a")).await.fails_with(
        422,
        "Invalid",
        &["dryRun", "Unsupported value"],
    );
}

/// <https://kubernetes.io/docs/concepts/configuration/configmap/#configmap-immutable>
async fn an_immutable_config_map_refuses_changes(s: Space) {
    s.post("configmaps", &with(config_map("a"), json!({"immutable": true})))
        .await
        .ok();
    let words = ["data: Forbidden: field is immutable when `immutable` is set"];
    s.patch(Patch::Merge, "configmaps/a", &json!({"data": {"key": "new"}}))
        .await
        .fails_with(422, "Invalid", &words);
    s.patch(Patch::Merge, "configmaps/a", &json!({"immutable": false}))
        .await
        .fails(422, "Invalid");
    s.patch(
        Patch::Merge,
        "configmaps/a",
        &json!({"metadata": {"labels": {"a": "b"}}}),
    )
    .await
    .is(200);
}

/// <https://kubernetes.io/docs/concepts/configuration/secret/#secret-types>
async fn the_type_of_a_secret_is_immutable(s: Space) {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "stringData": {"k": "v"}});
    assert_eq!(s.post("secrets", &secret).await.is(201)["type"], "Opaque");
    let status = s
        .patch(Patch::Merge, "secrets/a", &json!({"type": "other"}))
        .await
        .fails(422, "Invalid");
    assert!(
        status["message"].as_str().unwrap().contains("field is immutable"),
        "{status}"
    );
}

/// <https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/secret-v1/>
async fn string_data_of_a_secret_is_written_into_data(s: Space) {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "data": {"k": "b2xk", "l": "YmluZw=="},
        "stringData": {"k": "new"}});
    let created = s.post("secrets", &secret).await.is(201);
    assert_eq!(created["data"], json!({"k": "bmV3", "l": "YmluZw=="}));
    assert!(created["stringData"].is_null());
}

/// <https://kubernetes.io/docs/concepts/configuration/secret/>
async fn a_secret_that_is_no_base64_is_a_bad_request(s: Space) {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "data": {"k": "%%%"}});
    s.post("secrets", &secret)
        .await
        .fails_with(400, "BadRequest", &["illegal base64 data"]);
}

/// <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/> (`generation`)
async fn the_generation_grows_with_the_spec(s: Space) {
    let body = with(deployment("a", 0, "true"), json!({"spec": {"paused": true}}));
    assert_eq!(
        s.post("apps/v1:deployments", &body).await.is(201)["metadata"]["generation"],
        1
    );
    for (change, generation) in [
        (json!({"metadata": {"labels": {"a": "b"}}}), 1),
        (json!({"spec": {"minReadySeconds": 1}}), 2),
        (json!({"spec": {"minReadySeconds": 1}}), 2),
        (json!({"metadata": {"labels": {"a": "c"}}}), 2),
        // A Deployment's annotations count too: they are copied to its replica sets.
        (json!({"metadata": {"annotations": {"a": "b"}}}), 3),
    ] {
        let patched = s.patch(Patch::Merge, "apps/v1:deployments/a", &change).await.is(200);
        assert_eq!(patched["metadata"]["generation"], generation, "{change}");
    }
}

/// <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/> (`generation`)
async fn a_config_map_has_no_generation(s: Space) {
    let created = s.post("configmaps", &config_map("a")).await.ok();
    assert!(created["metadata"]["generation"].is_null(), "{created}");
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/#object-spec-and-status>
async fn a_write_to_the_object_leaves_the_status_alone(s: Space) {
    let body = with(deployment("a", 0, "true"), json!({"status": {"replicas": 7}}));
    let created = s.post("apps/v1:deployments", &body).await.is(201);
    assert_ne!(created["status"]["replicas"], 7);
    let patched = s
        .patch(
            Patch::Merge,
            "apps/v1:deployments/a",
            &json!({"status": {"replicas": 7}}),
        )
        .await
        .is(200);
    assert_ne!(patched["status"]["replicas"], 7);
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/#object-spec-and-status>
async fn a_write_to_the_status_leaves_the_spec_alone(s: Space) {
    s.create_pod(&with(pod("b", "true"), json!({"spec": {"schedulerName": "nobody"}})))
        .await;
    let change = json!({"metadata": {"annotations": {"told": "yes"}, "labels": {"told": "yes"}},
        "spec": {"activeDeadlineSeconds": 77}, "status": {"message": "waiting"}});
    let patched = s.patch(Patch::Merge, "pods/b/status", &change).await.is(200);
    for list in ["annotations", "labels"] {
        assert_eq!(
            patched["metadata"][list]["told"], "yes",
            "of built-in kinds a status brings its {list}"
        );
    }
    assert_eq!(patched["status"]["message"], "waiting");
    assert!(patched["spec"]["activeDeadlineSeconds"].is_null(), "{patched}");
}

/// <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/deployment-v1/> (scale)
async fn scaling_goes_through_the_scale_subresource(s: Space) {
    let paused = with(deployment("a", 0, "true"), json!({"spec": {"paused": true}}));
    s.post("apps/v1:deployments", &paused).await.ok();
    let scale = s.get("apps/v1:deployments/a/scale").await.ok();
    assert_eq!(
        (&scale["kind"], &scale["apiVersion"]),
        (&json!("Scale"), &json!("autoscaling/v1"))
    );
    assert_eq!(scale["status"]["selector"], "app=a");
    let scaled = s
        .patch(
            Patch::Merge,
            "apps/v1:deployments/a/scale",
            &json!({"spec": {"replicas": 1}}),
        )
        .await
        .is(200);
    assert_eq!(scaled["spec"]["replicas"], 1);
    let after = s.get("apps/v1:deployments/a").await.ok();
    assert_eq!(after["spec"]["replicas"], 1);
    assert_eq!(after["metadata"]["generation"], 2);
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#field-validation>
async fn an_unknown_field_of_a_built_in_kind_is_dropped(s: Space) {
    let body = with(config_map("a"), json!({"gizmo": {"a": 1}, "metadata": {"gadget": "b"}}));
    let created = s.post("configmaps?fieldValidation=Ignore", &body).await.is(201);
    assert!(
        created["gizmo"].is_null() && created["metadata"]["gadget"].is_null(),
        "{created}"
    );
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#field-validation>
async fn an_unknown_field_is_refused_when_validation_is_strict(s: Space) {
    let body = with(config_map("a"), json!({"gizmo": 1}));
    let words = ["strict decoding error: unknown field \"gizmo\""];
    s.post("configmaps?fieldValidation=Strict", &body)
        .await
        .fails_with(400, "BadRequest", &words);
    s.get("configmaps/a").await.fails(404, "NotFound");
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#field-validation>
async fn an_unknown_field_is_a_warning_when_validation_warns(s: Space) {
    let body = with(config_map("a"), json!({"gizmo": 1}));
    let reply = s.post("configmaps?fieldValidation=Warn", &body).await;
    assert_eq!(reply.header("warning"), "299 - \"unknown field \\\"gizmo\\\"\"");
    reply.is(201);
}
