//! What nobody should send: each is refused in Kubernetes' own shape, and the server goes on.
#![allow(clippy::unwrap_used)] // a test that can't go on has failed

mod client;

use client::{Api, MAPS, map, told};
use http::{Request, StatusCode};
use http_body_util::Full;
use pgop_sandbox_server::{Config, Server};
use serde_json::{Value, json};

const MAPS_EVERYWHERE: &str = "/api/v1/configmaps";
const NAMESPACE: &str = "/api/v1/namespaces/default";
const JSON: &str = "application/json";

/// What is refused must be a whole `Status`.
fn check(code: StatusCode, status: &Value, expected: (u16, &str), about: &str) {
    assert_eq!(
        (code.as_u16(), &status["reason"]),
        (expected.0, &json!(expected.1)),
        "{about}: {status}"
    );
    assert_eq!(
        (
            &status["kind"],
            &status["apiVersion"],
            &status["status"],
            &status["code"]
        ),
        (&json!("Status"), &json!("v1"), &json!("Failure"), &json!(expected.0)),
        "{about}"
    );
    assert!(
        status["message"].as_str().is_some_and(|text| !text.is_empty()),
        "{about}: {status}"
    );
}

#[tokio::test]
async fn bodies_that_are_no_objects() {
    let api = Api::new();
    for (media, body, code, reason) in [
        (JSON, "", 400, "BadRequest"),
        (JSON, "{", 400, "BadRequest"),
        (JSON, "[]", 400, "BadRequest"),
        (JSON, "null", 400, "BadRequest"),
        (JSON, "7", 400, "BadRequest"),
        (JSON, "{}}", 400, "BadRequest"),
        (JSON, r#"{"metadata":{"name":"\ud800"}}"#, 400, "BadRequest"),
        (JSON, r#"{"kind":"Secret","metadata":{"name":"a"}}"#, 400, "BadRequest"),
        (JSON, r#"{"kind":"Gizmo","metadata":{"name":"a"}}"#, 400, "BadRequest"),
        (JSON, r#"{"kind":7,"metadata":{"name":"a"}}"#, 400, "BadRequest"),
        (
            JSON,
            r#"{"apiVersion":"v2","metadata":{"name":"a"}}"#,
            400,
            "BadRequest",
        ),
        (JSON, r#"{"metadata":7}"#, 400, "BadRequest"),
        (JSON, r#"{"metadata":{"name":7}}"#, 400, "BadRequest"),
        (JSON, r#"{"metadata":{"name":"a","labels":[]}}"#, 400, "BadRequest"),
        (JSON, r#"{"metadata":{"name":"a"},"data":7}"#, 400, "BadRequest"),
        (JSON, r#"{"metadata":{"name":"a","namespace":"b"}}"#, 400, "BadRequest"),
        (JSON, r#"{"metadata":{}}"#, 422, "Invalid"),
        (JSON, r#"{"metadata":{"name":"A b"}}"#, 422, "Invalid"),
        (JSON, r#"{"metadata":{"name":"../a"}}"#, 422, "Invalid"),
        (JSON, r#"{"metadata":{"name":".."}}"#, 422, "Invalid"),
        ("application/yaml", "a: [", 400, "BadRequest"),
        ("application/yaml", "- a\n- b\n", 400, "BadRequest"),
        ("application/yaml", "a: &a [*a, *a]\n", 400, "BadRequest"),
        ("text/plain", "{}", 415, "UnsupportedMediaType"),
        ("application/xml", "<a/>", 415, "UnsupportedMediaType"),
        (
            "application/vnd.kubernetes.protobuf",
            "k8s",
            415,
            "UnsupportedMediaType",
        ),
        (
            "application/vnd.kubernetes.protobuf",
            "k8s\0\x0a\x7f",
            415,
            "UnsupportedMediaType",
        ),
    ] {
        let (got, status) = api.call("POST", MAPS, media, body).await;
        check(got, &status, (code, reason), body);
    }
    let long = format!(r#"{{"metadata":{{"name":"{}"}}}}"#, "a".repeat(254));
    let (code, status) = api.call("POST", MAPS, JSON, &long).await;
    check(code, &status, (422, "Invalid"), "a name of 254 letters");
}

#[tokio::test]
async fn paths_and_methods_that_lead_nowhere() {
    let api = Api::new();
    for (method, path, code, reason) in [
        ("GET", "/apis/none/v1/things", 404, "NotFound"),
        ("GET", "/nothing", 404, "NotFound"),
        ("POST", "/api/v1/namespaces/default/unknowns", 404, "NotFound"),
        ("GET", "/api/v1/namespaces/../secrets", 404, "NotFound"),
        ("GET", "/api/v1/namespaces/default/configmaps/..", 404, "NotFound"),
        ("GET", "/api/v1/namespaces/default/configmaps/%2e%2e", 404, "NotFound"),
        (
            "GET",
            "/api/v1/namespaces/default/configmaps/..%2fsecrets%2fa",
            404,
            "NotFound",
        ),
        ("GET", "/api/v1/namespaces/default/configmaps/a%00b", 404, "NotFound"),
        ("GET", "/api/v1/namespaces/default/configmaps/%ff", 404, "NotFound"),
        (
            "GET",
            "/api/v1/namespaces/default/configmaps/a/unknown",
            404,
            "NotFound",
        ),
        ("GET", "/api/v1/namespaces/default/configmaps/a/b/c", 404, "NotFound"),
        ("POST", MAPS_EVERYWHERE, 405, "MethodNotAllowed"),
        ("PUT", MAPS, 405, "MethodNotAllowed"),
        (
            "POST",
            "/api/v1/namespaces/default/configmaps/a",
            405,
            "MethodNotAllowed",
        ),
        ("OPTIONS", MAPS, 405, "MethodNotAllowed"),
        ("DELETE", "/version", 405, "MethodNotAllowed"),
        ("DELETE", "/api/v1/namespaces/default/configmaps/none", 404, "NotFound"),
        ("DELETE", NAMESPACE, 403, "Forbidden"),
    ] {
        let (got, status) = api.call(method, path, JSON, "{}").await;
        check(got, &status, (code, reason), &format!("{method} {path}"));
    }
    let long = format!("{MAPS}/{}", "a".repeat(60_000));
    let (code, status) = api.get(&long, "*/*").await;
    check(code, &status, (404, "NotFound"), "a path of 60 000 letters");
}

#[tokio::test]
async fn parameters_that_make_no_sense() {
    let api = Api::new();
    for (query, code, reason) in [
        ("labelSelector=a%20in%20b", 400, "BadRequest"),
        ("labelSelector=a%3D%3D%2C%2C", 400, "BadRequest"),
        ("labelSelector=%21", 400, "BadRequest"),
        ("fieldSelector=spec.x%3D1", 400, "BadRequest"),
        ("fieldSelector=metadata.name", 400, "BadRequest"),
        ("limit=x", 400, "BadRequest"),
        ("limit=99999999999999999999", 400, "BadRequest"),
        ("continue=zzz", 400, "BadRequest"),
        ("continue=eyJydiI6OTl9", 400, "BadRequest"),
        ("resourceVersion=x", 400, "BadRequest"),
        ("resourceVersion=-1", 400, "BadRequest"),
        ("resourceVersion=99999", 504, "Timeout"),
        ("resourceVersionMatch=Exact", 422, "Invalid"),
        ("resourceVersion=0&resourceVersionMatch=Exact", 422, "Invalid"),
        ("resourceVersion=1&resourceVersionMatch=Roughly", 422, "Invalid"),
        ("watch=1&timeoutSeconds=soon", 400, "BadRequest"),
        ("watch=1&resourceVersion=x", 400, "BadRequest"),
        ("watch=1&resourceVersionMatch=Exact", 422, "Invalid"),
        ("watch=1&sendInitialEvents=true", 422, "Invalid"),
    ] {
        let (got, status) = api.get(&format!("{MAPS_EVERYWHERE}?{query}"), "*/*").await;
        check(got, &status, (code, reason), query);
    }
    for (method, query, code, reason) in [
        ("POST", "dryRun=Some", 422, "Invalid"),
        ("POST", "fieldValidation=Perhaps", 422, "Invalid"),
        ("POST", "fieldManager=a%0Ab", 422, "Invalid"),
        ("DELETE", "propagationPolicy=Upwards", 422, "Invalid"),
        ("DELETE", "gracePeriodSeconds=x", 400, "BadRequest"),
    ] {
        let path = if method == "DELETE" {
            format!("{MAPS}/a?{query}")
        } else {
            format!("{MAPS}?{query}")
        };
        let (got, status) = api.call(method, &path, JSON, &map("a").to_string()).await;
        check(got, &status, (code, reason), query);
    }
    let (code, status) = api.get(MAPS, "text/html").await;
    check(code, &status, (406, "NotAcceptable"), "a form that is not served");
}

#[tokio::test]
async fn patches_that_can_not_be_applied() {
    let api = Api::new();
    for (media, query, body, code, reason) in [
        ("text/plain", "", "{}", 415, "UnsupportedMediaType"),
        (JSON, "", "{}", 415, "UnsupportedMediaType"),
        ("application/json-patch+json", "", "{}", 400, "BadRequest"),
        (
            "application/json-patch+json",
            "",
            r#"[{"op":"leap","path":"/a"}]"#,
            400,
            "BadRequest",
        ),
        (
            "application/json-patch+json",
            "",
            r#"[{"op":"test","path":"/kind","value":"x"}]"#,
            422,
            "Invalid",
        ),
        (
            "application/json-patch+json",
            "",
            r#"[{"op":"remove","path":"/nothing/here"}]"#,
            422,
            "Invalid",
        ),
        ("application/merge-patch+json", "", "[]", 400, "BadRequest"),
        ("application/merge-patch+json", "", "{", 400, "BadRequest"),
        ("application/merge-patch+json", "force=true", "{}", 422, "Invalid"),
        (
            "application/merge-patch+json",
            "",
            r#"{"metadata":{"uid":"1"}}"#,
            422,
            "Invalid",
        ),
        (
            "application/merge-patch+json",
            "",
            r#"{"metadata":{"labels":7}}"#,
            400,
            "BadRequest",
        ),
        (
            "application/strategic-merge-patch+json",
            "",
            r#"{"metadata":{"finalizers":[7]}}"#,
            400,
            "BadRequest",
        ),
        ("application/apply-patch+yaml", "", "{}", 422, "Invalid"),
        (
            "application/apply-patch+yaml",
            "fieldManager=t",
            "a: [",
            400,
            "BadRequest",
        ),
        (
            "application/apply-patch+yaml",
            "fieldManager=t",
            "apiVersion: v2\nkind: Namespace",
            400,
            "BadRequest",
        ),
    ] {
        let (got, status) = api.call("PATCH", &format!("{NAMESPACE}?{query}"), media, body).await;
        check(got, &status, (code, reason), &format!("{media} {body}"));
    }
}

#[tokio::test]
async fn bodies_are_limited() {
    let api = Api::new();
    let data = |bytes: usize| {
        let mut map = map("big");
        map["data"]["a"] = "x".repeat(bytes).into();
        map.to_string()
    };
    // The limit of a body lies above that of a ConfigMap.
    let (code, status) = api.call("POST", MAPS, JSON, &data(2 << 20)).await;
    check(code, &status, (422, "Invalid"), "2 MB");
    for (method, media) in [
        ("POST", JSON),
        ("PATCH", "application/merge-patch+json"),
        ("DELETE", JSON),
    ] {
        let path = if method == "POST" {
            MAPS.to_owned()
        } else {
            format!("{MAPS}/big")
        };
        let (code, status) = api.call(method, &path, media, &data(3 << 20)).await;
        check(code, &status, (413, "RequestEntityTooLarge"), method);
    }
    let operations = vec![json!({"op": "add", "path": "/a", "value": 1}); 10_001];
    let (code, status) = api
        .call(
            "PATCH",
            NAMESPACE,
            "application/json-patch+json",
            &json!(operations).to_string(),
        )
        .await;
    check(code, &status, (413, "RequestEntityTooLarge"), "10 001 operations");
}

#[tokio::test]
async fn deep_bodies_end_in_an_error() {
    let api = Api::new();
    for (media, body) in [
        (
            JSON,
            format!(r#"{{"data":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000)),
        ),
        (
            "application/yaml",
            format!("data: {}{}", "[".repeat(10_000), "]".repeat(10_000)),
        ),
    ] {
        let (code, status) = api.call("POST", MAPS, media, &body).await;
        check(code, &status, (400, "BadRequest"), media);
    }
    assert_eq!(api.post(MAPS, map("a")).await.0, StatusCode::CREATED);
}

#[tokio::test]
async fn wrong_credentials() {
    let config = Config {
        admin_token: Some("geheim".into()),
        ..Config::default()
    };
    let api = Api(Server::open(config).unwrap(), None);
    for (header, expected) in [
        ("Bearer falsch", (401, "Unauthorized")),
        ("Bearer geheimer", (401, "Unauthorized")),
        ("Bearer ", (401, "Unauthorized")),
        ("Bearer a.b.c", (401, "Unauthorized")),
        ("Basic Z2VoZWlt", (401, "Unauthorized")),
        ("geheim", (401, "Unauthorized")),
    ] {
        for path in [MAPS, "/version", "/nothing"] {
            let request = Request::get(path)
                .header("authorization", header)
                .body(Full::default())
                .unwrap();
            let (code, status) = told(api.send(request).await).await;
            check(code, &status, expected, &format!("{header} {path}"));
        }
    }
    // Without any, a sender is somebody without rights.
    let (code, status) = api.get(MAPS, "*/*").await;
    check(code, &status, (403, "Forbidden"), "no credentials");
    assert_eq!(api.get("/version", "*/*").await.0, StatusCode::OK);
    let (code, status) = api.get("/apis/none/v1/things", "*/*").await;
    check(
        code,
        &status,
        (403, "Forbidden"),
        "no credentials tell nobody what there is",
    );
    // A server without the administrator's token knows none, the empty one neither.
    let open = Api(Server::open(Config::default()).unwrap(), None);
    let request = Request::get(MAPS)
        .header("authorization", "Bearer ")
        .body(Full::default())
        .unwrap();
    assert_eq!(open.send(request).await.status(), StatusCode::UNAUTHORIZED);
}
