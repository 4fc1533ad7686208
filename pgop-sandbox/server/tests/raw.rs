//! The API as bytes: what clients other than kube's see.
#![allow(clippy::unwrap_used, clippy::too_many_lines)] // a test that can't go on has failed

mod client;

use client::{Api, MAPS, map, told};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use pgop_sandbox_server::{Config, Identity, Server, Storage};
use serde_json::{Value, json};

#[tokio::test]
async fn yaml_is_read_and_written() {
    let api = Api::new();
    let yaml = "metadata:\n  name: a\ndata:\n  x: \"1\"\n";
    assert_eq!(
        api.call("POST", MAPS, "application/yaml", yaml).await.0,
        StatusCode::CREATED
    );
    let (_, text) = api.get(&format!("{MAPS}/a"), "application/yaml").await;
    assert!(text.as_str().unwrap().contains("kind: ConfigMap"), "{text}");
}

#[tokio::test]
async fn field_validation_tells_of_unknown_fields() {
    let api = Api::new();
    let mut body = map("a");
    body["unknown"] = 1.into();
    let (code, status) = api.post(&format!("{MAPS}?fieldValidation=Strict"), body.clone()).await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    assert!(
        status["message"]
            .as_str()
            .unwrap()
            .contains(r#"strict decoding error: unknown field "unknown""#)
    );
    let request = Request::post(MAPS)
        .header("content-type", "application/json")
        .body(Full::from(body.to_string()))
        .unwrap();
    let response = api.send(request).await;
    assert_eq!(response.headers()["warning"], r#"299 - "unknown field \"unknown\"""#);
    assert_eq!(told(response).await.1.get("unknown"), None);
}

#[tokio::test]
async fn a_dry_run_writes_nothing() {
    let api = Api::new();
    assert_eq!(
        api.post(&format!("{MAPS}?dryRun=All"), map("a")).await.0,
        StatusCode::CREATED
    );
    assert_eq!(api.get(&format!("{MAPS}/a"), "*/*").await.0, StatusCode::NOT_FOUND);
    assert_eq!(
        api.post(&format!("{MAPS}?dryRun=x"), map("a")).await.0,
        StatusCode::UNPROCESSABLE_ENTITY
    );
}

#[tokio::test]
async fn apply_knows_the_owners_of_fields() {
    let api = Api::new();
    let path = format!("{MAPS}/a?fieldManager=one");
    let yaml = "application/apply-patch+yaml";
    let (code, made) = api.call("PATCH", &path, yaml, &map("a").to_string()).await;
    assert_eq!(code, StatusCode::CREATED);
    let (_, same) = api.call("PATCH", &path, yaml, &map("a").to_string()).await;
    assert_eq!(same, made, "nothing changed, nothing written");
    let mut other = map("a");
    other["data"]["a"] = "2".into();
    let theirs = format!("{MAPS}/a?fieldManager=two");
    let (code, status) = api.call("PATCH", &theirs, yaml, &other.to_string()).await;
    assert_eq!(
        (code, &status["details"]["causes"][0]["field"]),
        (StatusCode::CONFLICT, &json!(".data.a"))
    );
    assert_eq!(status["details"]["causes"][0]["reason"], "FieldManagerConflict");
    let (code, taken) = api
        .call("PATCH", &format!("{theirs}&force=true"), yaml, &other.to_string())
        .await;
    assert_eq!((code, &taken["data"]["a"]), (StatusCode::OK, &json!("2")));
    let (_, left) = api
        .call(
            "PATCH",
            &theirs,
            yaml,
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}"#,
        )
        .await;
    assert_eq!(
        left.get("data").and_then(|data| data.get("a")),
        None,
        "what is applied no more goes"
    );
}

#[tokio::test(start_paused = true)]
async fn a_watch_says_how_far_it_is_when_something_has_changed_and_at_its_end() {
    let api = Api::new();
    let path = format!("{MAPS}?watch=1&timeoutSeconds=600&allowWatchBookmarks=true&fieldSelector=metadata.name%3Dnone");
    let bookmarks = async |watch: http::Response<pgop_sandbox_server::Body>| -> Vec<u64> {
        let lines = watch.into_body().collect().await.unwrap().to_bytes();
        let lines = lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        let events = lines.map(|line| serde_json::from_slice::<Value>(line).unwrap());
        let told = events.map(|event| {
            assert_eq!(event["type"], "BOOKMARK", "{event}");
            let revision = &event["object"]["metadata"]["resourceVersion"];
            revision.as_str().unwrap().parse().unwrap()
        });
        told.collect()
    };
    let begin = || Request::get(&path).body(Full::default()).unwrap();

    let quiet = api.send(begin()).await;
    assert_eq!(bookmarks(quiet).await.len(), 1, "nothing has changed for ten minutes");

    let passed = api.send(begin()).await;
    let (_, other) = api.post(MAPS, map("other")).await;
    let revision: u64 = other["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    let told = bookmarks(passed).await;
    assert!(told.len() == 2 && told[0] >= revision, "{told:?}, after {revision}");
}

#[tokio::test]
async fn a_watch_is_lines_of_events() {
    let api = Api::new();
    api.post(MAPS, map("a")).await;
    let path = format!(
        "{MAPS}?watch=1&timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    );
    let response = api.send(Request::get(path).body(Full::default()).unwrap()).await;
    let text = response.into_body().collect().await.unwrap().to_bytes();
    let events: Vec<Value> = text
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    let types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["ADDED", "BOOKMARK", "BOOKMARK"]);
    assert_eq!(
        events[1]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    let (code, event) = api.get(&format!("{MAPS}?watch=1&resourceVersion=99999"), "*/*").await;
    assert_eq!(
        (code, &event["type"], &event["object"]["code"]),
        (StatusCode::OK, &json!("ERROR"), &json!(410))
    );
}

#[tokio::test]
async fn tables_and_metadata_are_served() {
    let api = Api::new();
    api.post(MAPS, map("a")).await;
    let (_, table) = api
        .get(MAPS, "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")
        .await;
    assert_eq!(
        table["rows"][0]["cells"].as_array().unwrap()[..2],
        [json!("a"), json!(1)]
    );
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let (_, list) = api
        .get(MAPS, "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")
        .await;
    assert_eq!(
        (&list["kind"], list["items"][0].get("data")),
        (&json!("PartialObjectMetadataList"), None)
    );
}

#[tokio::test]
async fn services_get_addresses_of_their_own() {
    let api = Api::new();
    let path = "/api/v1/namespaces/default/services";
    let service = |name: &str, ip: Option<&str>| json!({"metadata": {"name": name}, "spec": {"clusterIP": ip, "ports": [{"port": 80}]}});
    let (_, first) = api.post(path, service("a", None)).await;
    assert!(
        first["spec"]["clusterIP"].as_str().unwrap().starts_with("10.96."),
        "{first}"
    );
    let (_, headless) = api.post(path, service("b", Some("None"))).await;
    assert_eq!(headless["spec"]["clusterIPs"], json!(["None"]));
    let (code, taken) = api.post(path, service("c", Some("10.96.0.1"))).await;
    assert_eq!(
        (code.as_u16(), &taken["details"]["causes"][0]["field"]),
        (422, &json!("spec.clusterIPs"))
    );
    let nodes = |name: &str, port: Value| json!({"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]}});
    let (_, at_node) = api.post(path, nodes("d", Value::Null)).await;
    let port = &at_node["spec"]["ports"][0]["nodePort"];
    assert!((30000..=32767).contains(&port.as_u64().unwrap()), "{at_node}");
    for (bad, why) in [
        (port.clone(), "already allocated"),
        (json!(80), "not in the valid range"),
    ] {
        let (code, refused) = api.post(path, nodes("e", bad)).await;
        assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(refused["message"].as_str().unwrap().contains(why), "{refused}");
    }
    let change = async |patch: Value| {
        let (code, changed) = api
            .call(
                "PATCH",
                &format!("{path}/d"),
                "application/merge-patch+json",
                &patch.to_string(),
            )
            .await;
        assert_eq!(code, StatusCode::OK, "{changed}");
        changed["spec"]["ports"][0]["nodePort"].clone()
    };
    // A client that does not name it keeps it; it goes with the type.
    assert_eq!(
        change(json!({"spec": {"ports": [{"port": 80, "name": "web"}]}})).await,
        *port
    );
    assert_eq!(change(json!({"spec": {"type": "ClusterIP"}})).await, Value::Null);
    assert_eq!(api.post(path, service("d", Some("192.168.0.1"))).await.0.as_u16(), 422);
}

#[tokio::test]
async fn secrets_texts_become_data() {
    let api = Api::new();
    let secret = json!({"metadata": {"name": "a"}, "stringData": {"password": "geheim"}});
    let (_, made) = api.post("/api/v1/namespaces/default/secrets", secret).await;
    assert_eq!(
        (&made["data"]["password"], made.get("stringData"), &made["type"]),
        (&json!("Z2VoZWlt"), None, &json!("Opaque"))
    );
}

#[tokio::test]
async fn a_namespace_waits_to_be_finalized() {
    let api = Api::new();
    let (_, made) = api
        .post("/api/v1/namespaces", json!({"metadata": {"name": "team"}}))
        .await;
    assert_eq!(made["spec"]["finalizers"], json!(["kubernetes"]));
    let (_, marked) = api.call("DELETE", "/api/v1/namespaces/team", "", "").await;
    assert_eq!(marked["status"]["phase"], "Terminating");
    let (code, refused) = api.post("/api/v1/namespaces/team/configmaps", map("a")).await;
    assert_eq!(
        (code.as_u16(), &refused["details"]["causes"][0]["reason"]),
        (403, &json!("NamespaceTerminating"))
    );
    let mut last = marked.clone();
    last["spec"]["finalizers"] = json!([]);
    let (code, _) = api
        .call(
            "PUT",
            "/api/v1/namespaces/team/finalize",
            "application/json",
            &last.to_string(),
        )
        .await;
    assert_eq!(code, StatusCode::OK);
    assert_eq!(api.get("/api/v1/namespaces/team", "*/*").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn only_the_known_get_in_and_only_the_permitted_may() {
    let config = Config {
        admin_token: Some("geheim".into()),
        ..Config::default()
    };
    let server = Server::open(config).unwrap();
    let api = Api(server.clone(), None);
    let with = |token: &str, path: &str| {
        Request::get(path)
            .header("authorization", format!("Bearer {token}"))
            .body(Full::default())
            .unwrap()
    };
    let (code, refused) = api.get(MAPS, "*/*").await;
    assert_eq!(code, StatusCode::FORBIDDEN, "{refused}");
    assert!(
        refused["message"]
            .as_str()
            .unwrap()
            .contains(r#"User "system:anonymous" cannot list"#)
    );
    assert_eq!(
        told(api.send(with("falsch", MAPS)).await).await.1["reason"],
        "Unauthorized"
    );
    assert_eq!(api.send(with("geheim", MAPS)).await.status(), StatusCode::OK);
    assert_eq!(api.get("/healthz", "*/*").await.0, StatusCode::OK);

    let admin = Api(server, Some(Identity::admin()));
    admin
        .post(
            "/api/v1/namespaces/default/serviceaccounts",
            json!({"metadata": {"name": "web"}}),
        )
        .await;
    let (code, issued) = admin
        .post(
            "/api/v1/namespaces/default/serviceaccounts/web/token",
            json!({"spec": {}}),
        )
        .await;
    assert_eq!(code, StatusCode::CREATED);
    let token = issued["status"]["token"].as_str().unwrap();
    let (code, refused) = told(api.send(with(token, MAPS)).await).await;
    assert_eq!(code, StatusCode::FORBIDDEN);
    assert_eq!(
        refused["message"],
        r#"configmaps is forbidden: User "system:serviceaccount:default:web" cannot list resource "configmaps" in API group "" in the namespace "default""#
    );
    let binding = json!({"metadata": {"name": "web"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "ServiceAccount", "name": "web", "namespace": "default"}]});
    admin
        .post(
            "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings",
            binding,
        )
        .await;
    assert_eq!(api.send(with(token, MAPS)).await.status(), StatusCode::OK);
    assert_eq!(
        api.send(with(token, "/api/v1/configmaps")).await.status(),
        StatusCode::FORBIDDEN
    );
    let tampered = format!("{token}x");
    assert_eq!(api.send(with(&tampered, MAPS)).await.status(), StatusCode::UNAUTHORIZED);
    let review = json!({"spec": {"token": token}});
    let (_, review) = admin.post("/apis/authentication.k8s.io/v1/tokenreviews", review).await;
    assert_eq!(
        review["status"]["user"]["username"],
        "system:serviceaccount:default:web"
    );
    let ask = json!({"spec": {"user": "system:serviceaccount:default:web", "resourceAttributes": {"verb": "delete", "resource": "pods", "namespace": "default"}}});
    let (_, answer) = admin
        .post("/apis/authorization.k8s.io/v1/subjectaccessreviews", ask)
        .await;
    assert_eq!(answer["status"]["allowed"], false);
    admin
        .call("DELETE", "/api/v1/namespaces/default/serviceaccounts/web", "", "")
        .await;
    assert_eq!(api.send(with(token, MAPS)).await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_folder_keeps_all_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = || Config {
        storage: Storage::Folder(folder.path().into()),
        ..Config::default()
    };
    let version = {
        let api = Api(Server::open(config()).unwrap(), Some(Identity::admin()));
        api.post(MAPS, map("a")).await.1["metadata"]["resourceVersion"].clone()
    };
    let api = Api(Server::open(config()).unwrap(), Some(Identity::admin()));
    assert_eq!(
        api.get(&format!("{MAPS}/a"), "*/*").await.1["metadata"]["resourceVersion"],
        version
    );
}

#[tokio::test]
async fn the_version_is_that_of_the_fields() {
    // With the types of another version this is not there, and the test can't be compiled: then that one is to be announced.
    k8s_openapi::k8s_if_1_37! {
        const FIELDS: &str = "37";
    }
    let (_, version) = Api::new().get("/version", "*/*").await;
    assert_eq!((&version["major"], &version["minor"]), (&json!("1"), &json!(FIELDS)));
    assert!(
        version["gitVersion"].as_str().unwrap().starts_with("v1.37."),
        "{version}"
    );
}

#[tokio::test]
async fn what_is_served_can_be_found_out() {
    let api = Api::new();
    let (_, list) = api
        .get(
            "/apis",
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json",
        )
        .await;
    assert_eq!(list["kind"], "APIGroupDiscoveryList");
    let (_, apps) = api.get("/apis/apps/v1", "application/json").await;
    assert!(
        apps["resources"]
            .as_array()
            .unwrap()
            .iter()
            .any(|r| r["name"] == "deployments/scale" && r["kind"] == "Scale")
    );
    let (_, index) = api.get("/openapi/v3", "application/json").await;
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
        .as_str()
        .unwrap()
        .to_owned();
    let (_, document) = api.get(&url, "application/json").await;
    let schemas = &document["components"]["schemas"];
    let spec = "io.k8s.api.apps.v1.DeploymentSpec";
    assert_eq!(
        schemas["io.k8s.api.apps.v1.Deployment"]["properties"]["spec"]["$ref"],
        format!("#/components/schemas/{spec}")
    );
    assert!(schemas[spec]["properties"]["replicas"].is_object());
    let (code, _) = api
        .get(
            "/openapi/v2",
            "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
        )
        .await;
    assert_eq!(code, StatusCode::OK);
    api.post(MAPS, map("a")).await;
    let (_, metrics) = api.get("/metrics", "*/*").await;
    let line = r#"apiserver_request_total{verb="POST",group="",version="v1",resource="configmaps",subresource="",code="201"} 1"#;
    assert!(metrics.as_str().unwrap().contains(line), "{metrics}");
}
