//! The namespace of one assertion.

use crate::{Call, Reply, Target, Watch, target::random_name};
use http::Method;
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    sync::OnceCell,
    time::{Instant, sleep},
};

/// How long a wait may take. Kubernetes itself is fast; a machine with a dozen assertions on it at once, and other work besides, is not.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// How a patch is to be read. <https://kubernetes.io/docs/reference/using-api/api-concepts/#patch-and-apply>
#[derive(Debug, Clone, Copy)]
pub enum Patch {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Kubernetes' own, with merge keys.
    Strategic,
}

impl Patch {
    fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json-patch+json",
            Self::Merge => "application/merge-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
        }
    }
}

/// A namespace that one assertion has for itself, and requests within it.
///
/// Paths are relative to it: `configmaps/a` is of core/v1, `apps/v1:deployments/a` of a group, and `widgets/a` of the
/// run's own group. A path with `/` in front is taken as it is.
#[derive(Clone)]
pub struct Space {
    target: Arc<Target>,
    name: Arc<str>,
    account: Arc<OnceCell<()>>,
    others: Arc<Mutex<Vec<String>>>,
}

impl std::ops::Deref for Space {
    type Target = Target;
    fn deref(&self) -> &Target {
        &self.target
    }
}

impl Space {
    pub(crate) async fn new(target: Arc<Target>) -> Self {
        let name: Arc<str> = random_name("fidelity").into();
        let space = Self {
            target,
            name,
            account: Arc::default(),
            others: Arc::default(),
        };
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": &*space.name}});
        space.post("/api/v1/namespaces", &namespace).await.ok();
        space
    }

    /// Deletes the namespace, and what lies outside of it. Nobody waits for it to be empty.
    pub(crate) async fn clean(&self) {
        let others = std::mem::take(&mut *self.others.lock().unwrap());
        for path in others
            .iter()
            .rev()
            .chain([&format!("/api/v1/namespaces/{}", self.name)])
        {
            self.delete(path).await;
        }
    }

    /// The name of the namespace.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Has an object outside of the namespace deleted in the end.
    pub fn also_delete(&self, path: &str) {
        self.others.lock().unwrap().push(path.to_owned());
    }

    /// The full path of a relative one.
    pub fn at(&self, path: &str) -> String {
        if path.starts_with('/') {
            return path.to_owned();
        }
        let ns = &self.name;
        if path.starts_with("widgets") {
            return format!("/apis/{}/v1/namespaces/{ns}/{path}", self.group());
        }
        match path.split('?').next().and_then(|p| p.split_once(':')) {
            Some((group, _)) => format!("/apis/{group}/namespaces/{ns}/{}", &path[group.len() + 1..]),
            None => format!("/api/v1/namespaces/{ns}/{path}"),
        }
    }

    /// A request that is still to be completed.
    pub fn ask(&self, method: Method, path: &str) -> Call {
        self.call(method, &self.at(path))
    }

    /// GET
    pub async fn get(&self, path: &str) -> Reply {
        self.ask(Method::GET, path).send().await
    }

    /// POST
    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.ask(Method::POST, path).json(body).send().await
    }

    /// PUT
    pub async fn put(&self, path: &str, body: &Value) -> Reply {
        self.ask(Method::PUT, path).json(body).send().await
    }

    /// DELETE without options.
    pub async fn delete(&self, path: &str) -> Reply {
        self.ask(Method::DELETE, path).send().await
    }

    /// DELETE with `DeleteOptions`.
    pub async fn delete_with(&self, path: &str, options: &Value) -> Reply {
        self.ask(Method::DELETE, path).json(options).send().await
    }

    /// PATCH
    pub async fn patch(&self, kind: Patch, path: &str, body: &Value) -> Reply {
        self.ask(Method::PATCH, path)
            .body(kind.content_type(), body.to_string())
            .send()
            .await
    }

    /// Server-side apply as `manager`. <https://kubernetes.io/docs/reference/using-api/server-side-apply/>
    pub async fn apply(&self, manager: &str, path: &str, body: &Value) -> Reply {
        self.apply_as(manager, path, body, "").await
    }

    /// Server-side apply that takes fields away from others.
    pub async fn apply_forced(&self, manager: &str, path: &str, body: &Value) -> Reply {
        self.apply_as(manager, path, body, "&force=true").await
    }

    async fn apply_as(&self, manager: &str, path: &str, body: &Value, more: &str) -> Reply {
        let path = format!(
            "{path}{}fieldManager={manager}{more}",
            if path.contains('?') { '&' } else { '?' }
        );
        self.ask(Method::PATCH, &path)
            .body("application/apply-patch+yaml", body.to_string())
            .send()
            .await
    }

    /// A watch of `path`, with more parameters as `key=value`.
    pub async fn watch(&self, path: &str, parameters: &[&str]) -> Watch {
        let path = format!("{path}?watch=true&{}", parameters.join("&"));
        self.ask(Method::GET, &path).watch().await
    }

    /// A watch of what happens from now on.
    pub async fn watch_from_now(&self, path: &str) -> Watch {
        let list = self.get(path).await.ok();
        self.watch(path, &[&format!("resourceVersion={}", crate::version(&list))])
            .await
    }

    /// Waits until the object is there and fits, but not for ever.
    pub async fn until(&self, what: &str, path: &str, fits: impl Fn(&Value) -> bool) -> Value {
        self.until_in(PATIENCE, what, path, fits).await
    }

    /// As [`Space::until`], for what takes longer.
    pub async fn until_in(&self, limit: Duration, what: &str, path: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + limit;
        loop {
            let reply = self.get(path).await;
            if reply.status == 200 && fits(&reply.json) {
                return reply.json;
            }
            assert!(Instant::now() < deadline, "waited {limit:?} until {what}: {reply:?}");
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until the object is gone, but not for ever.
    pub async fn gone(&self, path: &str) {
        self.eventually(&format!("{path} is gone"), async || self.get(path).await.status == 404)
            .await;
    }

    /// Waits until something holds, but not for ever.
    pub async fn eventually(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds().await {
            assert!(Instant::now() < deadline, "waited {PATIENCE:?} until {what}");
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until pods can be created: the namespace has its service account.
    pub async fn account(&self) {
        self.account
            .get_or_init(|| async {
                self.until("the namespace has its account", "serviceaccounts/default", |_| true)
                    .await;
            })
            .await;
    }
}
