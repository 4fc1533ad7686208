//! What the node knows of the cluster, kept up to date by watches.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use pgop_sandbox_tasks::{spawn_tracked, supervise};
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::pod::env::Objects;

/// All objects of a kind, and a number that grows with every change.
pub(crate) struct Watched<K: Resource + 'static>
where
    K::DynamicType: Eq + Hash + Clone,
{
    store: Store<K>,
    changed: watch::Receiver<u64>,
}

impl<K> Watched<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    fn start(api: Api<K>, config: watcher::Config, tasks: &TaskTracker, stop: CancellationToken) -> Self {
        let writer = Writer::new(());
        let store = writer.as_reader();
        let (sender, changed) = watch::channel(0);
        let (writer, sender) = (Arc::new(Mutex::new(writer)), Arc::new(sender));
        let name = format!("watch of {}", K::plural(&()));
        spawn_tracked(tasks, name.clone(), async move {
            let follow = || follow(api.clone(), config.clone(), writer.clone(), sender.clone());
            stop.run_until_cancelled(supervise(name, follow)).await;
        });
        Self { store, changed }
    }

    /// All that are there now.
    pub(crate) fn all(&self) -> Vec<Arc<K>> {
        self.store.state()
    }

    /// Learns of changes; what is there already counts as one.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        let mut changed = self.changed.clone();
        changed.mark_changed();
        changed
    }

    async fn ready(&self) {
        // An error means that the watch has ended, so the node is stopping.
        let _ = self.store.wait_until_ready().await;
    }
}

async fn follow<K>(
    api: Api<K>,
    config: watcher::Config,
    writer: Arc<Mutex<Writer<K>>>,
    changed: Arc<watch::Sender<u64>>,
) where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let mut writer = writer.lock().await;
    let mut events = std::pin::pin!(watcher(api, config).default_backoff());
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                writer.apply_watcher_event(&event);
                changed.send_modify(|n| *n = n.wrapping_add(1));
            }
            Err(error) => tracing::debug!(kind = %K::kind(&()), %error, "watch interrupted"),
        }
    }
}

/// The kinds that the node needs.
pub(crate) struct Cluster {
    /// Those bound to this node.
    pub(crate) pods: Watched<Pod>,
    pub(crate) services: Watched<Service>,
    pub(crate) slices: Watched<EndpointSlice>,
    pub(crate) config_maps: Watched<ConfigMap>,
    pub(crate) secrets: Watched<Secret>,
}

impl Cluster {
    /// Starts the watches and waits until each has its first list.
    pub(crate) async fn start(client: &Client, node: &str, tasks: &TaskTracker, stop: &CancellationToken) -> Self {
        let all = watcher::Config::default;
        let of_node = all().fields(&format!("spec.nodeName={node}"));
        let cluster = Self {
            pods: Watched::start(Api::all(client.clone()), of_node, tasks, stop.clone()),
            services: Watched::start(Api::all(client.clone()), all(), tasks, stop.clone()),
            slices: Watched::start(Api::all(client.clone()), all(), tasks, stop.clone()),
            config_maps: Watched::start(Api::all(client.clone()), all(), tasks, stop.clone()),
            secrets: Watched::start(Api::all(client.clone()), all(), tasks, stop.clone()),
        };
        tokio::join!(
            cluster.pods.ready(),
            cluster.services.ready(),
            cluster.slices.ready(),
            cluster.config_maps.ready(),
            cluster.secrets.ready()
        );
        cluster
    }
}

impl Objects for Cluster {
    fn config_map(&self, namespace: &str, name: &str) -> Option<Arc<ConfigMap>> {
        self.config_maps.store.get(&ObjectRef::new(name).within(namespace))
    }

    fn secret(&self, namespace: &str, name: &str) -> Option<Arc<Secret>> {
        self.secrets.store.get(&ObjectRef::new(name).within(namespace))
    }
}
