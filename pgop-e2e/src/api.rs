//! The Kubernetes API, spoken to in turn: a test reads from top to bottom.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::OnceLock;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{
    Api, ApiResource, AttachParams, DeleteParams, DynamicObject, ListParams, LogParams, Patch, PatchParams, PostParams,
};
use kube::core::GroupVersionKind;
use pgop_core::kind::Kind;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::runtime::Runtime;

struct Connection {
    runtime: Runtime,
    client: Client,
}

fn connection() -> &'static Connection {
    static CONNECTION: OnceLock<Connection> = OnceLock::new();
    CONNECTION.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let client = runtime
            .block_on(Client::try_default())
            .unwrap_or_else(|error| panic!("no cluster: {error}; set KUBECONFIG"));
        Connection { runtime, client }
    })
}

/// Waits for `future`, at most a minute.
pub fn wait<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let limited = async { tokio::time::timeout(Duration::from_secs(60), future).await };
    connection()
        .runtime
        .block_on(limited)
        .map_err(|_| "no answer within a minute".to_owned())
}

/// The client, for what has no words here.
pub fn client() -> Client {
    connection().client.clone()
}

/// A kind of object, by its `apiVersion`, such as `apps/v1`, and kind.
pub fn kind(api_version: &str, kind: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

/// The kinds of all that is made for a resource: what a strategy may create, Secrets and pods.
pub fn made() -> impl Iterator<Item = ApiResource> {
    let of_strategies = Kind::ALL.into_iter().map(|it| kind(&it.api_version(), it.as_str()));
    of_strategies.chain([kind("v1", "Secret"), kind("v1", "Pod")])
}

/// One of the custom resources.
pub fn pgop(name: &str) -> ApiResource {
    kind("pgop.dev/v1alpha1", name)
}

fn api(namespace: &str, kind: &ApiResource) -> Api<DynamicObject> {
    if namespace.is_empty() {
        Api::all_with(client(), kind)
    } else {
        Api::namespaced_with(client(), namespace, kind)
    }
}

fn said<T>(result: Result<Result<T, kube::Error>, String>) -> Result<T, String> {
    result?.map_err(|error| match error {
        kube::Error::Api(status) => format!("{} ({})", status.message, status.code),
        error => error.to_string(),
    })
}

fn as_value(object: &DynamicObject) -> Value {
    serde_json::to_value(object).unwrap()
}

/// One object, if it exists. An empty namespace is the cluster.
pub fn find(namespace: &str, kind: &ApiResource, name: &str) -> Option<Value> {
    said(wait(api(namespace, kind).get_opt(name)))
        .unwrap_or_else(|error| panic!("get {} {name}: {error}", kind.plural))
        .as_ref()
        .map(as_value)
}

/// All objects of a kind with those labels.
pub fn list(namespace: &str, kind: &ApiResource, labels: &str) -> Result<Vec<Value>, String> {
    let objects = said(wait(api(namespace, kind).list(&ListParams::default().labels(labels))))?;
    Ok(objects.items.iter().map(as_value).collect())
}

/// Their names.
pub fn names(namespace: &str, kind: &ApiResource, labels: &str) -> Vec<String> {
    let objects = list(namespace, kind, labels).unwrap_or_else(|error| panic!("list {}: {error}", kind.plural));
    objects.iter().map(|object| text(object, "/metadata/name")).collect()
}

/// Creates an object as it is written. The answer is the API server's refusal, if it refuses.
pub fn create(namespace: &str, object: Value) -> Result<Value, String> {
    let of = kind(object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    said(wait(api(namespace, &of).create(&PostParams::default(), &object))).map(|object| as_value(&object))
}

/// Merges `patch` into an object.
pub fn patch(namespace: &str, kind: &ApiResource, name: &str, patch: &Value) -> Result<Value, String> {
    let params = PatchParams {
        field_manager: Some("pgop-e2e".to_owned()),
        ..PatchParams::default()
    };
    said(wait(api(namespace, kind).patch(name, &params, &Patch::Merge(patch)))).map(|object| as_value(&object))
}

/// Deletes an object; one that is gone already is no error. `now` leaves no time to say goodbye.
pub fn delete(namespace: &str, kind: &ApiResource, name: &str, now: bool) {
    let params = if now {
        DeleteParams::default().grace_period(0)
    } else {
        DeleteParams::background()
    };
    match said(wait(api(namespace, kind).delete(name, &params))) {
        Err(error) if !error.ends_with("(404)") => panic!("delete {} {name}: {error}", kind.plural),
        _ => {}
    }
}

/// A text in an object, by JSON pointer; empty where there is none.
pub fn text(object: &Value, pointer: &str) -> String {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// A condition of a resource: its status, reason and message.
pub fn condition(object: &Value, kind: &str) -> (String, String, String) {
    let conditions = object
        .pointer("/status/conditions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let mut found = conditions
        .filter(|c| c["type"] == kind)
        .map(|c| (text(c, "/status"), text(c, "/reason"), text(c, "/message")));
    found.next_back().unwrap_or_default()
}

/// Runs a program in a pod: its output, or what it said on standard error.
pub fn exec(namespace: &str, pod: &str, command: &[&str]) -> Result<String, String> {
    let api: Api<Pod> = Api::namespaced(client(), namespace);
    let params = AttachParams::default().stdin(false).stdout(true).stderr(true);
    wait(async {
        let mut process = api
            .exec(pod, command.iter().copied(), &params)
            .await
            .map_err(|error| error.to_string())?;
        let (mut out, mut err) = (String::new(), String::new());
        let status = process.take_status();
        let (stdout, stderr) = (process.stdout(), process.stderr());
        let read_out = async {
            if let Some(mut stdout) = stdout {
                let mut bytes = Vec::new();
                let _ = stdout.read_to_end(&mut bytes).await;
                out = String::from_utf8_lossy(&bytes).into_owned();
            }
        };
        let read_err = async {
            if let Some(mut stderr) = stderr {
                let mut bytes = Vec::new();
                let _ = stderr.read_to_end(&mut bytes).await;
                err = String::from_utf8_lossy(&bytes).into_owned();
            }
        };
        tokio::join!(read_out, read_err);
        let status = match status {
            Some(status) => status.await,
            None => None,
        };
        match status {
            Some(status) if status.status.as_deref() == Some("Success") => Ok(out),
            other => Err(format!(
                "{} in {pod}: {err}{}",
                command.join(" "),
                other.and_then(|s| s.message).unwrap_or_default()
            )),
        }
    })?
}

/// The logs of every container of a pod, those before a restart too.
pub fn logs(namespace: &str, pod: &str, lines: Option<i64>) -> String {
    let api: Api<Pod> = Api::namespaced(client(), namespace);
    let of = |previous: bool| {
        let params = LogParams {
            previous,
            tail_lines: lines,
            ..LogParams::default()
        };
        said(wait(api.logs(pod, &params))).unwrap_or_default()
    };
    of(true) + &of(false)
}

/// What a pod has logged in the last seconds.
pub fn logs_since(namespace: &str, pod: &str, seconds: i64) -> Result<String, String> {
    let api: Api<Pod> = Api::namespaced(client(), namespace);
    let params = LogParams {
        since_seconds: Some(seconds),
        ..LogParams::default()
    };
    said(wait(api.logs(pod, &params)))
}

/// An answer of the API server to a plain GET.
pub fn raw(path: &str) -> Result<String, String> {
    let request = http::Request::get(path).body(Vec::new()).unwrap();
    said(wait(client().request_text(request)))
}

/// Every kind of object that lives in namespaces and can be listed.
pub fn namespaced_kinds() -> Vec<ApiResource> {
    let found = wait(async {
        let discovery = kube::discovery::Discovery::new(client()).run().await?;
        let all = discovery
            .groups()
            .flat_map(kube::discovery::ApiGroup::recommended_resources);
        Ok::<_, kube::Error>(all.collect::<Vec<_>>())
    });
    said(found)
        .unwrap_or_else(|error| panic!("what the server serves: {error}"))
        .into_iter()
        .filter(|(_, caps)| caps.scope == kube::discovery::Scope::Namespaced && caps.supports_operation("list"))
        .map(|(kind, _)| (kind.api_version.clone() + &kind.kind, kind))
        .collect::<BTreeMap<_, _>>()
        .into_values()
        .collect()
}
