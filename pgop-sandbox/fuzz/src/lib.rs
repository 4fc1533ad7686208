//! What the fuzz targets share: a server in this process, and how it is asked.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use pgop_sandbox_server::{Body, Config, Identity, Server};
use serde_json::{Deserializer, Value};
use tower::ServiceExt as _;

/// A server with an object of each kind that the targets change.
pub fn server() -> Server {
    let server = Server::open(Config::default()).expect("a server");
    for (path, object) in OBJECTS {
        let request = Request::post(*path).header("content-type", "application/json");
        let request = request.body(Full::from(object.to_owned())).expect("a request");
        let code = ask(&server, request).status();
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

/// The server's answer. What it says does not come in: a watch would not end.
pub fn ask(server: &Server, request: Request<Full<Bytes>>) -> Response<Body> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let answer = runtime.block_on(server.service(Some(Identity::admin())).oneshot(request));
    answer.unwrap_or_else(|never| match never {})
}

/// The first two values of a text in JSON.
pub fn two_values(input: &[u8]) -> Option<(Value, Value)> {
    let mut values = Deserializer::from_slice(input).into_iter::<Value>();
    Some((values.next()?.ok()?, values.next()?.ok()?))
}
