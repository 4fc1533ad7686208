//! What the fuzz targets share: a server in this process, and how it is asked.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use pgop_sandbox_server::{Config, Identity, Server};
use serde_json::{Deserializer, Value};
use tower::ServiceExt as _;

/// A server with an object of each kind that the targets change.
pub fn server() -> Server {
    let server = Server::open(Config::default()).expect("a server");
    for (path, object) in OBJECTS {
        let request = Request::post(*path).header("content-type", "application/json");
        let request = request.body(Full::from(object.to_owned())).expect("a request");
        let code = ask(&server, request);
        assert!(code.is_success(), "{path}: {code}");
    }
    server
}

const OBJECTS: &[(&str, &str)] = &[
    (
        "/apis/apps/v1/namespaces/default/deployments?fieldManager=first",
        r#"{"metadata":{"name":"web","labels":{"app":"web"},"finalizers":["example.com/a"]},"spec":{"replicas":2,"selector":{"matchLabels":{"app":"web"}},
            "template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"main","image":"x","ports":[{"containerPort":80}],
            "env":[{"name":"A","value":"b"}]},{"name":"side","image":"y"}],"volumes":[{"name":"v","emptyDir":{}}]}}}}"#,
    ),
    (
        "/api/v1/namespaces/default/configmaps?fieldManager=first",
        r#"{"metadata":{"name":"cm"},"data":{"a":"1"}}"#,
    ),
    (
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        r#"{"metadata":{"name":"foos.example.com"},"spec":{"group":"example.com","scope":"Namespaced","names":{"kind":"Foo","plural":"foos"},
            "versions":[{"name":"v1","served":true,"storage":true,"subresources":{"status":{}},"schema":{"openAPIV3Schema":{"type":"object","properties":{
            "spec":{"type":"object","properties":{"size":{"type":"integer","default":1,"minimum":0},"any":{"x-kubernetes-preserve-unknown-fields":true},
            "keyed":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["k"],"items":{"type":"object","required":["k"],
            "properties":{"k":{"type":"string"},"v":{"x-kubernetes-int-or-string":true}}}}}}}}}}]}}"#,
    ),
    (
        "/apis/example.com/v1/namespaces/default/foos?fieldManager=first",
        r#"{"apiVersion":"example.com/v1","kind":"Foo","metadata":{"name":"f"},"spec":{"size":3,"keyed":[{"k":"a","v":1}]}}"#,
    ),
];

/// The code of the server's answer. It must not be a fault of the server; a plain 500 is how Kubernetes tells some mistakes of clients.
pub fn ask(server: &Server, request: Request<Full<Bytes>>) -> StatusCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let answer = server.service(Some(Identity::admin())).oneshot(request).await;
        let answer = answer.unwrap_or_else(|never| match never {});
        let code = answer.status();
        // Other answers do not come in: a watch would not end.
        if code == StatusCode::INTERNAL_SERVER_ERROR {
            let told = answer.into_body().collect().await.expect("a status").to_bytes();
            let told: Value = serde_json::from_slice(&told).expect("a status");
            assert_ne!(told["reason"], "InternalError", "{told}");
        }
        code
    })
}

/// The first two values of a text in JSON.
pub fn two_values(input: &[u8]) -> Option<(Value, Value)> {
    let mut values = Deserializer::from_slice(input).into_iter::<Value>();
    Some((values.next()?.ok()?, values.next()?.ok()?))
}
