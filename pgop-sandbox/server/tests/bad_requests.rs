//! What nobody should send: each is refused in Kubernetes' own shape, and the server goes on.
#![allow(clippy::unwrap_used)] // a test that can't go on has failed

mod client;

use client::{Api, MAPS, map, told};
use http::{Request, StatusCode};
use http_body_util::Full;
use pgop_sandbox_server::{Config, Identity, Server, Storage};
use serde_json::{Value, json};

const MAPS_EVERYWHERE: &str = "/api/v1/configmaps";
const NAMESPACE: &str = "/api/v1/namespaces/default";
const JSON: &str = "application/json";

/// What is refused must be a whole `Status`.
fn check(code: StatusCode, status: &Value, expected: u16, about: &str) {
    let reason = match expected {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        405 => "MethodNotAllowed",
        406 => "NotAcceptable",
        413 => "RequestEntityTooLarge",
        415 => "UnsupportedMediaType",
        422 => "Invalid",
        _ => "Timeout",
    };
    assert_eq!(
        (code.as_u16(), &status["reason"]),
        (expected, &json!(reason)),
        "{about}: {status}"
    );
    assert_eq!(
        (
            &status["kind"],
            &status["apiVersion"],
            &status["status"],
            &status["code"]
        ),
        (&json!("Status"), &json!("v1"), &json!("Failure"), &json!(expected)),
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
    for (media, body, code) in [
        (JSON, "", 400),
        (JSON, "{", 400),
        (JSON, "[]", 400),
        (JSON, "null", 400),
        (JSON, "7", 400),
        (JSON, "{}}", 400),
        (JSON, r#"{"metadata":{"name":"\ud800"}}"#, 400),
        (JSON, r#"{"kind":"Secret","metadata":{"name":"a"}}"#, 400),
        (JSON, r#"{"kind":"Gizmo","metadata":{"name":"a"}}"#, 400),
        (JSON, r#"{"kind":7,"metadata":{"name":"a"}}"#, 400),
        (JSON, r#"{"apiVersion":"v2","metadata":{"name":"a"}}"#, 400),
        (JSON, r#"{"metadata":7}"#, 400),
        (JSON, r#"{"metadata":{"name":7}}"#, 400),
        (JSON, r#"{"metadata":{"name":"a","labels":[]}}"#, 400),
        (JSON, r#"{"metadata":{"name":"a"},"data":7}"#, 400),
        (JSON, r#"{"metadata":{"name":"a","namespace":"b"}}"#, 400),
        (JSON, r#"{"metadata":{}}"#, 422),
        (JSON, r#"{"metadata":{"name":"A b"}}"#, 422),
        (JSON, r#"{"metadata":{"name":"../a"}}"#, 422),
        (JSON, r#"{"metadata":{"name":".."}}"#, 422),
        ("application/yaml", "a: [", 400),
        ("application/yaml", "- a\n- b\n", 400),
        ("application/yaml", "a: &a [*a, *a]\n", 400),
        ("text/plain", "{}", 415),
        ("application/xml", "<a/>", 415),
        ("application/vnd.kubernetes.protobuf", "k8s", 415),
        ("application/vnd.kubernetes.protobuf", "k8s\0\x0a\x7f", 415),
    ] {
        let (got, status) = api.call("POST", MAPS, media, body).await;
        check(got, &status, code, body);
    }
    let long = format!(r#"{{"metadata":{{"name":"{}"}}}}"#, "a".repeat(254));
    let (code, status) = api.call("POST", MAPS, JSON, &long).await;
    check(code, &status, 422, "a name of 254 letters");
}

#[tokio::test]
async fn paths_and_methods_that_lead_nowhere() {
    let api = Api::new();
    for (method, path, code) in [
        ("GET", "/apis/none/v1/things", 404),
        ("GET", "/nothing", 404),
        ("POST", "/api/v1/namespaces/default/unknowns", 404),
        ("GET", "/api/v1/namespaces/../secrets", 404),
        ("GET", "/api/v1/namespaces/default/configmaps/..", 404),
        ("GET", "/api/v1/namespaces/default/configmaps/%2e%2e", 404),
        ("GET", "/api/v1/namespaces/default/configmaps/..%2fsecrets%2fa", 404),
        ("GET", "/api/v1/namespaces/default/configmaps/a%00b", 404),
        ("GET", "/api/v1/namespaces/default/configmaps/%ff", 404),
        ("GET", "/api/v1/namespaces/default/configmaps/a/unknown", 404),
        ("GET", "/api/v1/namespaces/default/configmaps/a/b/c", 404),
        ("POST", MAPS_EVERYWHERE, 405),
        ("PUT", MAPS, 405),
        ("POST", "/api/v1/namespaces/default/configmaps/a", 405),
        ("OPTIONS", MAPS, 405),
        ("DELETE", "/version", 405),
        ("DELETE", "/api/v1/namespaces/default/configmaps/none", 404),
        ("DELETE", NAMESPACE, 403),
    ] {
        let (got, status) = api.call(method, path, JSON, "{}").await;
        check(got, &status, code, &format!("{method} {path}"));
    }
    let long = format!("{MAPS}/{}", "a".repeat(60_000));
    let (code, status) = api.get(&long, "*/*").await;
    check(code, &status, 404, "a path of 60 000 letters");
}

#[tokio::test]
async fn parameters_that_make_no_sense() {
    let api = Api::new();
    for (query, code) in [
        ("labelSelector=a%20in%20b", 400),
        ("labelSelector=a%3D%3D%2C%2C", 400),
        ("labelSelector=%21", 400),
        ("fieldSelector=spec.x%3D1", 400),
        ("fieldSelector=metadata.name", 400),
        ("limit=x", 400),
        ("limit=99999999999999999999", 400),
        ("continue=zzz", 400),
        ("continue=eyJydiI6OTl9", 400),
        ("resourceVersion=x", 400),
        ("resourceVersion=-1", 400),
        ("resourceVersion=99999", 504),
        ("resourceVersionMatch=Exact", 422),
        ("resourceVersion=0&resourceVersionMatch=Exact", 422),
        ("resourceVersion=1&resourceVersionMatch=Roughly", 422),
        ("watch=1&timeoutSeconds=soon", 400),
        ("watch=1&resourceVersion=x", 400),
        ("watch=1&resourceVersionMatch=Exact", 422),
        ("watch=1&sendInitialEvents=true", 422),
    ] {
        let (got, status) = api.get(&format!("{MAPS_EVERYWHERE}?{query}"), "*/*").await;
        check(got, &status, code, query);
    }
    for (method, query, code) in [
        ("POST", "dryRun=Some", 422),
        ("POST", "fieldValidation=Perhaps", 422),
        ("POST", "fieldManager=a%0Ab", 422),
        ("DELETE", "propagationPolicy=Upwards", 422),
        ("DELETE", "gracePeriodSeconds=x", 400),
    ] {
        let path = if method == "DELETE" {
            format!("{MAPS}/a?{query}")
        } else {
            format!("{MAPS}?{query}")
        };
        let (got, status) = api.call(method, &path, JSON, &map("a").to_string()).await;
        check(got, &status, code, query);
    }
    let (code, status) = api.get(MAPS, "text/html").await;
    check(code, &status, 406, "a form that is not served");
}

#[tokio::test]
async fn patches_that_can_not_be_applied() {
    let api = Api::new();
    for (media, query, body, code) in [
        ("text/plain", "", "{}", 415),
        (JSON, "", "{}", 415),
        ("application/json-patch+json", "", "{}", 400),
        ("application/json-patch+json", "", r#"[{"op":"leap","path":"/a"}]"#, 400),
        (
            "application/json-patch+json",
            "",
            r#"[{"op":"test","path":"/kind","value":"x"}]"#,
            422,
        ),
        (
            "application/json-patch+json",
            "",
            r#"[{"op":"remove","path":"/nothing/here"}]"#,
            422,
        ),
        ("application/merge-patch+json", "", "[]", 400),
        ("application/merge-patch+json", "", "{", 400),
        ("application/merge-patch+json", "force=true", "{}", 422),
        ("application/merge-patch+json", "", r#"{"metadata":{"uid":"1"}}"#, 422),
        ("application/merge-patch+json", "", r#"{"metadata":{"labels":7}}"#, 400),
        (
            "application/strategic-merge-patch+json",
            "",
            r#"{"metadata":{"finalizers":[7]}}"#,
            400,
        ),
        ("application/apply-patch+yaml", "", "{}", 422),
        ("application/apply-patch+yaml", "fieldManager=t", "a: [", 400),
        (
            "application/apply-patch+yaml",
            "fieldManager=t",
            "apiVersion: v2\nkind: Namespace",
            400,
        ),
    ] {
        let (got, status) = api.call("PATCH", &format!("{NAMESPACE}?{query}"), media, body).await;
        check(got, &status, code, &format!("{media} {body}"));
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
    check(code, &status, 422, "2 MB");
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
        check(code, &status, 413, method);
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
    check(code, &status, 413, "10 001 operations");
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
        check(code, &status, 400, media);
    }
    assert_eq!(api.post(MAPS, map("a")).await.0, StatusCode::CREATED);
}

/// What is stored is deeper than what was sent, and has to be read again.
#[tokio::test]
async fn an_object_is_as_deep_as_can_be_read_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let storage = Storage::Folder(folder.path().to_owned());
        let config = Config {
            storage,
            ..Config::default()
        };
        Api(Server::open(config).unwrap(), Some(Identity::admin()))
    };
    let api = open();
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "things.x.io"},
        "spec": {"group": "x.io", "scope": "Cluster", "names": {"kind": "Thing", "plural": "things"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]},
    });
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    assert_eq!(api.post(definitions, definition).await.0, StatusCode::CREATED);
    let thing = |depth: usize| {
        let spec = (2..depth).fold(json!({}), |inner, _| json!({"a": inner}));
        json!({"apiVersion": "x.io/v1", "kind": "Thing", "metadata": {"name": format!("t{depth}")}, "spec": spec})
    };
    let things = "/apis/x.io/v1/things";
    let (code, status) = api.post(things, thing(101)).await;
    check(code, &status, 400, "101 levels");
    let (code, stored) = api.post(things, thing(100)).await;
    assert_eq!(code, StatusCode::CREATED);
    drop(api);
    let (code, found) = open().get("/apis/x.io/v1/things/t100", JSON).await;
    assert_eq!((code, found), (StatusCode::OK, stored));
}

#[tokio::test]
async fn wrong_credentials() {
    let config = Config {
        admin_token: Some("geheim".into()),
        ..Config::default()
    };
    let api = Api(Server::open(config).unwrap(), None);
    for (header, expected) in [
        ("Bearer falsch", 401),
        ("Bearer geheimer", 401),
        ("Bearer ", 401),
        ("Bearer a.b.c", 401),
        ("Basic Z2VoZWlt", 401),
        ("geheim", 401),
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
    check(code, &status, 403, "no credentials");
    assert_eq!(api.get("/version", "*/*").await.0, StatusCode::OK);
    let (code, status) = api.get("/apis/none/v1/things", "*/*").await;
    check(code, &status, 403, "no credentials tell nobody what there is");
    // A server without the administrator's token knows none, the empty one neither.
    let open = Api(Server::open(Config::default()).unwrap(), None);
    let request = Request::get(MAPS)
        .header("authorization", "Bearer ")
        .body(Full::default())
        .unwrap();
    assert_eq!(open.send(request).await.status(), StatusCode::UNAUTHORIZED);
}
