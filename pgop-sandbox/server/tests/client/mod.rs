//! A client that sees bytes, for the tests.
#![allow(dead_code, clippy::unwrap_used)] // no test uses all of it; a test that can't go on has failed

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use pgop_sandbox_server::{Body, Config, Identity, Server};
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// Who asks (none: who the token says), and what.
pub struct Api(pub Server, pub Option<Identity>);

impl Api {
    /// A new server, asked by its administrator.
    pub fn new() -> Self {
        Self(Server::open(Config::default()).unwrap(), Some(Identity::admin()))
    }

    pub async fn send(&self, request: Request<Full<Bytes>>) -> Response<Body> {
        self.0.service(self.1.clone()).oneshot(request).await.unwrap()
    }

    pub async fn call(&self, method: &str, path: &str, media: &str, body: &str) -> (StatusCode, Value) {
        self.call_with(method, path, &[("content-type", media)], body).await
    }

    pub async fn call_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (StatusCode, Value) {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        told(self.send(request.body(Full::from(body.to_owned())).unwrap()).await).await
    }

    pub async fn get(&self, path: &str, accept: &str) -> (StatusCode, Value) {
        let request = Request::get(path)
            .header("accept", accept)
            .body(Full::default())
            .unwrap();
        told(self.send(request).await).await
    }

    pub async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.call("POST", path, "application/json", &body.to_string()).await
    }
}

pub async fn told(response: Response<Body>) -> (StatusCode, Value) {
    let code = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (
        code,
        serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes))),
    )
}

pub const MAPS: &str = "/api/v1/namespaces/default/configmaps";

pub fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}})
}
