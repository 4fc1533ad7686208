//! The cluster under test, and requests to it as they go over the wire.

use crate::{Reply, Watch};
use http::{HeaderName, HeaderValue, Method, Request, header};
use kube::{Client, Config, client::Body};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// The cluster that `KUBECONFIG` (or the usual places) names.
pub struct Target {
    config: Config,
    client: Client,
    minor: u32,
    version: String,
    run: String,
    widgets: OnceCell<()>,
}

impl Target {
    /// Connects and asks for the version.
    pub async fn connect() -> Self {
        let mut config = Config::infer().await.expect("a kubeconfig: set KUBECONFIG");
        // The assertions look at every answer themselves: a 429 is a finding, not a reason to try again.
        config.default_retry = false;
        let client = Client::try_from(config.clone()).expect("a client from the kubeconfig");
        let mut target = Self {
            config,
            client,
            minor: 0,
            version: String::new(),
            run: random_name("run"),
            widgets: OnceCell::new(),
        };
        let version = target.call(Method::GET, "/version").send().await.ok();
        target.minor = version["minor"]
            .as_str()
            .unwrap_or_default()
            .trim_end_matches('+')
            .parse()
            .expect("a minor version");
        version["gitVersion"]
            .as_str()
            .unwrap_or_default()
            .clone_into(&mut target.version);
        target
    }

    /// The server's minor version, 36 for v1.36.3.
    pub fn minor(&self) -> u32 {
        self.minor
    }

    /// The server's version in its own words, `v1.36.3`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Where the API server is.
    pub fn address(&self) -> String {
        self.config.cluster_url.to_string()
    }

    /// kube's client, for the streams that it speaks (exec, port-forward).
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// A client of somebody else: the bearer of `token` and nothing more.
    pub fn client_of(&self, token: &str) -> Client {
        let mut config = self.config.clone();
        config.auth_info = kube::config::AuthInfo {
            token: Some(token.to_owned().into()),
            ..Default::default()
        };
        Client::try_from(config).expect("a client with a token")
    }

    /// A request to `path`, which starts with `/` and goes over the wire as it is.
    pub fn call(&self, method: Method, path: &str) -> Call {
        Call {
            client: self.client.clone(),
            method,
            path: path.to_owned(),
            headers: vec![(header::ACCEPT, HeaderValue::from_static("application/json"))],
            body: Vec::new(),
        }
    }

    /// The group of the resource that the whole run shares: `widgets`, namespaced, kind `Widget`.
    pub fn group(&self) -> String {
        format!("{}.fidelity.example.com", self.run)
    }

    /// Makes sure that `widgets` is served; its schema is `widget_definition`.
    pub async fn widgets(&self) {
        self.widgets
            .get_or_init(|| async {
                let definition = widget_definition(&self.group());
                let created = self
                    .call(Method::POST, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions")
                    .json(&definition);
                created.send().await.ok();
                self.serves(&format!("/apis/{}/v1/widgets", self.group())).await;
            })
            .await;
    }

    /// Waits until `path` is served: a resource appears a moment after its definition is established.
    pub async fn serves(&self, path: &str) {
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(100);
        loop {
            let reply = self.call(Method::GET, path).send().await;
            if reply.status == 200 {
                return;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "{path} is not served in time: {reply:?}"
            );
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    }

    /// Removes what the run shared.
    pub async fn clean(&self) {
        if self.widgets.initialized() {
            let name = format!("widgets.{}", self.group());
            self.call(
                Method::DELETE,
                &format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}"),
            )
            .send()
            .await;
        }
    }
}

/// `prefix` with random letters behind it.
pub(crate) fn random_name(prefix: &str) -> String {
    format!("{prefix}-{:08x}", rand::random::<u32>())
}

/// The definition of `widgets` in `group`: a structural schema with one field for each rule that the assertions are about.
fn widget_definition(group: &str) -> Value {
    let spec = json!({"type": "object", "required": ["size"], "properties": {
        "size": {"type": "integer", "minimum": 1, "maximum": 100},
        "color": {"type": "string", "enum": ["red", "green", "blue"], "default": "green"},
        "label": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 8, "minLength": 2},
        "replicas": {"type": "integer"},
        "tags": {"type": "array", "maxItems": 3, "items": {"type": "string"}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "map": {"type": "object", "additionalProperties": {"type": "string"}},
        "nullable": {"type": "string", "nullable": true},
        "nested": {"type": "object", "properties": {"depth": {"type": "integer", "default": 3}}},
        "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "required": ["name"], "properties": {
                "name": {"type": "string"}, "port": {"type": "integer"}, "protocol": {"type": "string"}}}},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
    }});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("widgets.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["wd"], "categories": ["all"]},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "required": ["spec"], "properties": {
                    "spec": spec,
                    "status": {"type": "object", "properties": {
                        "phase": {"type": "string"}, "replicas": {"type": "integer"}, "selector": {"type": "string"}}},
                }}},
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas",
                    "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}},
                "additionalPrinterColumns": [
                    {"name": "Size", "type": "integer", "jsonPath": ".spec.size", "description": "how large"},
                    {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
                    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}],
            }],
        },
    })
}

/// A request that is being written.
#[must_use]
pub struct Call {
    client: Client,
    method: Method,
    path: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Vec<u8>,
}

impl Call {
    /// Sets a header, instead of what it was.
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.retain(|(n, _)| *n != name);
        self.headers.push((name, value.parse().expect("a header value")));
        self
    }

    /// Sets the body and its type.
    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header(header::CONTENT_TYPE, content_type)
    }

    /// Sets a JSON body.
    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// Sends it with the rights of another client.
    pub fn by(mut self, client: &Client) -> Self {
        self.client = client.clone();
        self
    }

    fn request(&self) -> Request<Body> {
        let mut request = Request::builder().method(&self.method).uri(&self.path);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request
            .body(Body::from(self.body.clone()))
            .unwrap_or_else(|e| panic!("{}: {e}", self.path))
    }

    /// Sends it and reads the whole answer. Panics when there is none.
    pub async fn send(self) -> Reply {
        let what = format!("{} {}", self.method, self.path);
        let response = self
            .client
            .send(self.request())
            .await
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        Reply::read(what, response).await
    }

    /// Sends it and reads the answer as a watch, event by event.
    pub async fn watch(self) -> Watch {
        let what = format!("{} {}", self.method, self.path);
        let response = self
            .client
            .send(self.request())
            .await
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(response.status(), 200, "{what}");
        Watch::new(what, response.into_body())
    }
}
