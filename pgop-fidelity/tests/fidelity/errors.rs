//! What a client is told when something is wrong. <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/>

use http::Method;
use pgop_fidelity::{Patch, Space, Subject, config_map, with};
use serde_json::json;

pub(crate) fn subject() -> Subject {
    Subject::new("errors")
        .holds(a_missing_object_is_not_found_by_kind_and_name)
        .holds(a_missing_object_of_a_group_is_named_with_the_group)
        .holds(an_unknown_resource_is_not_found)
        .holds(an_unknown_group_is_not_found)
        .holds(malformed_json_is_a_bad_request)
        .holds(an_empty_body_is_a_bad_request)
        .holds(an_unknown_kind_in_a_body_is_a_bad_request)
        .holds(a_kind_that_is_not_the_resources_is_a_bad_request)
        .holds(an_unknown_content_type_is_unsupported_and_names_the_known_ones)
        .holds(an_unknown_patch_type_is_unsupported)
        .holds(an_unparsable_label_selector_is_a_bad_request)
        .holds(an_unknown_field_selector_is_a_bad_request_that_names_it)
        .holds(an_unparsable_field_selector_is_a_bad_request)
        .holds(a_limit_that_is_no_number_is_a_bad_request)
        .holds(a_mangled_continue_token_is_a_bad_request)
        .holds(an_unknown_version_match_is_invalid)
        .holds(a_version_match_without_a_version_is_invalid)
        .holds(a_put_on_a_collection_is_not_allowed)
        .holds(a_post_on_an_object_is_not_allowed)
        .holds(a_create_in_a_missing_namespace_names_the_namespace)
        .holds(an_invalid_name_is_told_with_its_field_and_the_rule)
        .holds(a_body_without_a_name_is_invalid)
        .holds(a_namespace_in_the_body_must_be_that_of_the_path)
        .holds(a_name_in_the_body_must_be_that_of_the_path)
        .holds(two_dots_are_no_name)
        .holds(an_encoded_slash_does_not_lead_to_another_resource)
        .holds(dots_in_a_path_do_not_lead_to_another_resource)
        .holds(a_body_over_three_megabytes_is_too_large)
        .holds(a_config_map_over_one_megabyte_is_invalid)
        .holds(a_wrong_token_is_unauthorized)
        .holds(an_invalid_label_value_is_told_with_its_field)
        .holds(several_faults_are_told_at_once)
        .holds(a_wrong_type_of_a_field_is_a_bad_request)
        .holds(yaml_is_accepted_as_a_body)
}

/// <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/>
async fn a_missing_object_is_not_found_by_kind_and_name(s: Space) {
    let status = s.get("configmaps/nope").await.fails(404, "NotFound");
    assert_eq!(status["message"], "configmaps \"nope\" not found");
    assert_eq!(status["details"], json!({"name": "nope", "kind": "configmaps"}));
}

/// <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/>
async fn a_missing_object_of_a_group_is_named_with_the_group(s: Space) {
    let status = s.get("apps/v1:deployments/nope").await.fails(404, "NotFound");
    assert_eq!(status["message"], "deployments.apps \"nope\" not found");
    assert_eq!(
        status["details"],
        json!({"name": "nope", "group": "apps", "kind": "deployments"})
    );
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris>
async fn an_unknown_resource_is_not_found(s: Space) {
    let status = s.get("gizmos").await.fails(404, "NotFound");
    assert_eq!(status["message"], "the server could not find the requested resource");
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris>
async fn an_unknown_group_is_not_found(s: Space) {
    let reply = s.get("/apis/nope.example.com/v1/gizmos").await;
    assert_eq!(reply.status, 404, "{reply:?}");
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-encoding>
async fn malformed_json_is_a_bad_request(s: Space) {
    s.ask(Method::POST, "configmaps")
        .body("application/json", "{\"a\":")
        .send()
        .await
        .fails(400, "BadRequest");
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-encoding>
async fn an_empty_body_is_a_bad_request(s: Space) {
    s.ask(Method::POST, "configmaps")
        .body("application/json", "")
        .send()
        .await
        .fails(400, "BadRequest");
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-encoding>
async fn an_unknown_kind_in_a_body_is_a_bad_request(s: Space) {
    let gizmo = with(config_map("a"), json!({"kind": "Gizmo"}));
    let words = ["Gizmo in version \"v1\" cannot be handled as a ConfigMap"];
    s.post("configmaps", &gizmo).await.fails_with(400, "BadRequest", &words);
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-encoding>
async fn a_kind_that_is_not_the_resources_is_a_bad_request(s: Space) {
    let secret = with(config_map("a"), json!({"kind": "Secret", "data": null}));
    s.post("configmaps", &secret)
        .await
        .fails_with(400, "BadRequest", &["cannot be handled as a ConfigMap"]);
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#alternate-representations-of-resources>
async fn an_unknown_content_type_is_unsupported_and_names_the_known_ones(s: Space) {
    let body = config_map("a").to_string();
    let reply = s.ask(Method::POST, "configmaps").body("text/plain", body).send().await;
    reply.fails_with(415, "UnsupportedMediaType", &["application/json", "application/yaml"]);
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#patch-and-apply>
async fn an_unknown_patch_type_is_unsupported(s: Space) {
    s.post("configmaps", &config_map("a")).await.ok();
    let reply = s
        .ask(Method::PATCH, "configmaps/a")
        .body("application/json", "{}")
        .send()
        .await;
    reply.fails(415, "UnsupportedMediaType");
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors>
async fn an_unparsable_label_selector_is_a_bad_request(s: Space) {
    for selector in ["a==,,", "a%20in%20(", "!", "a=b%20c", "a%20foo%20b"] {
        s.get(&format!("configmaps?labelSelector={selector}"))
            .await
            .fails(400, "BadRequest");
    }
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/>
async fn an_unknown_field_selector_is_a_bad_request_that_names_it(s: Space) {
    let reply = s.get("configmaps?fieldSelector=spec.x%3D1").await;
    reply.fails_with(400, "BadRequest", &["spec.x", "field selector"]);
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/>
async fn an_unparsable_field_selector_is_a_bad_request(s: Space) {
    s.get("configmaps?fieldSelector=a")
        .await
        .fails_with(400, "BadRequest", &["invalid selector"]);
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks>
async fn a_limit_that_is_no_number_is_a_bad_request(s: Space) {
    s.get("configmaps?limit=x").await.fails(400, "BadRequest");
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks>
async fn a_mangled_continue_token_is_a_bad_request(s: Space) {
    s.get("configmaps?limit=1&continue=abc")
        .await
        .fails_with(400, "BadRequest", &["continue"]);
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-get-and-list>
async fn an_unknown_version_match_is_invalid(s: Space) {
    let reply = s.get("configmaps?resourceVersion=1&resourceVersionMatch=Foo").await;
    let status = reply.fails_with(
        422,
        "Invalid",
        &["resourceVersionMatch", "Unsupported value", "NotOlderThan"],
    );
    assert_eq!(status["details"]["causes"][0]["reason"], "FieldValueNotSupported");
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-get-and-list>
async fn a_version_match_without_a_version_is_invalid(s: Space) {
    let reply = s.get("configmaps?resourceVersionMatch=Exact").await;
    reply.fails_with(
        422,
        "Invalid",
        &["resourceVersionMatch is forbidden unless resourceVersion is provided"],
    );
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#api-verbs>
async fn a_put_on_a_collection_is_not_allowed(s: Space) {
    let status = s
        .put("configmaps", &config_map("a"))
        .await
        .fails(405, "MethodNotAllowed");
    assert_eq!(
        status["message"],
        "the server does not allow this method on the requested resource"
    );
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#api-verbs>
async fn a_post_on_an_object_is_not_allowed(s: Space) {
    s.post("configmaps/a", &config_map("a"))
        .await
        .fails(405, "MethodNotAllowed");
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/>
async fn a_create_in_a_missing_namespace_names_the_namespace(s: Space) {
    let status = s
        .post("/api/v1/namespaces/nope/configmaps", &config_map("a"))
        .await
        .fails(404, "NotFound");
    assert_eq!(status["message"], "namespaces \"nope\" not found");
    assert_eq!(status["details"], json!({"name": "nope", "kind": "namespaces"}));
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#names>
async fn an_invalid_name_is_told_with_its_field_and_the_rule(s: Space) {
    for name in ["a b", "A", "-a", "a/b", "a_b"] {
        let status = s.post("configmaps", &config_map(name)).await.fails(422, "Invalid");
        let message = status["message"].as_str().unwrap();
        let start = format!("ConfigMap \"{name}\" is invalid: metadata.name: Invalid value: \"{name}\": ");
        assert!(message.starts_with(&start), "{message}");
        assert!(
            message.contains("a lowercase RFC 1123 subdomain must consist of"),
            "{message}"
        );
        assert_eq!(status["details"]["kind"], "ConfigMap");
        assert_eq!(status["details"]["causes"][0]["reason"], "FieldValueInvalid");
        assert_eq!(status["details"]["causes"][0]["field"], "metadata.name");
    }
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/>
async fn a_body_without_a_name_is_invalid(s: Space) {
    let status = s
        .post(
            "configmaps",
            &with(config_map("a"), json!({"metadata": {"name": null}})),
        )
        .await
        .fails(422, "Invalid");
    let message = "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required";
    assert_eq!(status["message"], message);
    assert_eq!(status["details"]["causes"][0]["reason"], "FieldValueRequired");
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris>
async fn a_namespace_in_the_body_must_be_that_of_the_path(s: Space) {
    let body = with(config_map("a"), json!({"metadata": {"namespace": "other"}}));
    let words = ["the namespace of the provided object does not match the namespace sent on the request"];
    s.post("configmaps", &body).await.fails_with(400, "BadRequest", &words);
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris>
async fn a_name_in_the_body_must_be_that_of_the_path(s: Space) {
    s.post("configmaps", &config_map("b")).await.ok();
    let status = s.put("configmaps/b", &config_map("a")).await.fails(400, "BadRequest");
    assert_eq!(
        status["message"],
        "the name of the object (a) does not match the name on the URL (b)"
    );
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#path-segment-names>
async fn two_dots_are_no_name(s: Space) {
    s.post("configmaps", &config_map("..")).await.fails(422, "Invalid");
    let reply = s.get("configmaps/..").await;
    assert!(matches!(reply.status, 400 | 404), "{reply:?}");
    assert_eq!(reply.json["kind"], "Status", "{reply:?}");
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#path-segment-names>
async fn an_encoded_slash_does_not_lead_to_another_resource(s: Space) {
    for name in ["..%2Fsecrets", "a%2Fb", "..%2F..%2F..%2Fnodes"] {
        let reply = s.get(&format!("configmaps/{name}")).await;
        assert!(matches!(reply.status, 400 | 404), "{reply:?}");
        assert_eq!(reply.json["kind"], "Status", "{reply:?}");
    }
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#path-segment-names>
async fn dots_in_a_path_do_not_lead_to_another_resource(s: Space) {
    let reply = s.get("configmaps/../secrets").await;
    assert!(matches!(reply.status, 301 | 400 | 404), "{reply:?}");
    assert_ne!(reply.json["kind"], "SecretList", "{reply:?}");
}

/// <https://kubernetes.io/docs/concepts/configuration/configmap/#configmap-object>
async fn a_body_over_three_megabytes_is_too_large(s: Space) {
    let body = with(config_map("a"), json!({"data": {"key": "x".repeat(3 << 20)}}));
    s.post("configmaps", &body).await.fails(413, "RequestEntityTooLarge");
}

/// <https://kubernetes.io/docs/concepts/configuration/configmap/#configmap-object>
async fn a_config_map_over_one_megabyte_is_invalid(s: Space) {
    let body = with(config_map("a"), json!({"data": {"key": "x".repeat((1 << 20) + 1)}}));
    s.post("configmaps", &body)
        .await
        .fails_with(422, "Invalid", &["Too long", "1048576"]);
}

/// <https://kubernetes.io/docs/reference/access-authn-authz/authentication/>
async fn a_wrong_token_is_unauthorized(s: Space) {
    let stranger = s.client_of("not-a-token");
    let status = s
        .ask(Method::GET, "configmaps")
        .by(&stranger)
        .send()
        .await
        .fails(401, "Unauthorized");
    assert_eq!(status["message"], "Unauthorized");
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>
async fn an_invalid_label_value_is_told_with_its_field(s: Space) {
    let body = with(config_map("a"), json!({"metadata": {"labels": {"app": "not valid"}}}));
    let status =
        s.post("configmaps", &body)
            .await
            .fails_with(422, "Invalid", &["a valid label must be an empty string or"]);
    assert_eq!(status["details"]["causes"][0]["field"], "metadata.labels");
}

/// <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/>
async fn several_faults_are_told_at_once(s: Space) {
    let body = with(
        config_map("A"),
        json!({"metadata": {"labels": {"app": "not valid"}}, "data": {"a b": "c"}}),
    );
    let status = s.post("configmaps", &body).await.fails(422, "Invalid");
    let causes = status["details"]["causes"].as_array().unwrap();
    let fields: Vec<_> = causes.iter().map(|c| c["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["metadata.name", "metadata.labels", "data[a b]"]);
    assert!(
        status["message"]
            .as_str()
            .unwrap()
            .starts_with("ConfigMap \"A\" is invalid: [metadata.name: "),
        "{status}"
    );
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-encoding>
async fn a_wrong_type_of_a_field_is_a_bad_request(s: Space) {
    let body = with(config_map("a"), json!({"data": {"key": 5}}));
    s.post("configmaps", &body).await.fails(400, "BadRequest");
    s.post("configmaps", &config_map("a")).await.ok();
    let reply = s
        .patch(Patch::Merge, "configmaps/a", &json!({"data": {"key": 5}}))
        .await;
    assert!(matches!(reply.status, 400 | 422 | 500), "{reply:?}");
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#alternate-representations-of-resources>
async fn yaml_is_accepted_as_a_body(s: Space) {
    let body = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  key: |\n    two\n    lines\n";
    let created = s
        .ask(Method::POST, "configmaps")
        .body("application/yaml", body)
        .send()
        .await
        .is(201);
    assert_eq!(created["data"]["key"], "two\nlines\n");
}
