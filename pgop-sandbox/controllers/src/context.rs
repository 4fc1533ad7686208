//! What every controller is given.

use std::{future::Future, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::{Api, Client, Resource};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    cache::Cache,
    queue::{self, Key, Next, Requests},
    record::Recorder,
    resources::Resources,
    verbs::VerbError,
};

/// The client, the shared cache, and where to say what happened. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) cache: Arc<Cache>,
    pub(crate) resources: Arc<Resources>,
    pub(crate) recorder: Recorder,
    pub(crate) stop: CancellationToken,
    /// True when the cache has had its first lists.
    pub(crate) filled: watch::Receiver<bool>,
}

impl Context {
    pub(crate) fn namespaced<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub(crate) fn cluster<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = ClusterResourceScope>,
    {
        Api::all(self.client.clone())
    }

    /// The worker of one controller: waits until the cache is filled, then reconciles what `requests` brings until stopped.
    pub(crate) fn work<F, Fut>(
        &self,
        controller: &'static str,
        requests: Requests,
        reconcile: F,
    ) -> BoxFuture<'static, ()>
    where
        F: Fn(Context, Key) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Next, VerbError>> + Send + 'static,
    {
        let mut filled = self.filled.clone();
        let context = Self {
            recorder: self.recorder.speaking_for(controller),
            ..self.clone()
        };
        async move {
            let filled = async { filled.wait_for(|filled| *filled).await.is_ok() };
            if context.stop.run_until_cancelled(filled).await == Some(true) {
                queue::work(controller, requests, &context.stop, |key| {
                    reconcile(context.clone(), key)
                })
                .await;
            }
        }
        .boxed()
    }
}
