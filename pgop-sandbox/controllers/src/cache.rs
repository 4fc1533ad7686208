//! One reflector per kind, shared by all controllers.
//!
//! A controller registers a listener before the watches start; the listener turns what changed into keys of its queue.
//! Reads come from the stores, which may lag behind the server: writes therefore carry preconditions, and controllers that
//! make objects with random names keep [`Expectations`](crate::expectations::Expectations).

use std::{collections::HashMap, fmt::Debug, sync::Arc, sync::PoisonError, sync::RwLock};

use futures::{FutureExt, StreamExt, future::BoxFuture, pin_mut};
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet},
    batch::v1::{CronJob, Job},
    core::v1::{
        ConfigMap, Endpoints, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, Service, ServiceAccount,
    },
    discovery::v1::EndpointSlice,
    policy::v1::PodDisruptionBudget,
    storage::v1::StorageClass,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{
        WatchStreamExt,
        reflector::{ObjectRef, Store, store::Writer},
        watcher::{self, watcher},
    },
};
use pgop_sandbox_tasks::{Name, supervise};
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::queue::Key;

/// What a controller may watch and read. A blanket name for the bounds that `watcher` and `Store` want.
pub(crate) trait Watched:
    Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static
{
}

impl<K> Watched for K where K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static {}

/// One object before and after an event; both are there for an update, one of them for an addition or removal.
pub(crate) struct Change<K> {
    pub(crate) old: Option<Arc<K>>,
    pub(crate) new: Option<Arc<K>>,
}

impl<K> Change<K> {
    /// The versions there are: labels and owners of both may concern someone.
    pub(crate) fn versions(&self) -> impl Iterator<Item = &Arc<K>> {
        self.old.iter().chain(self.new.iter())
    }
}

type Listener<K> = Box<dyn Fn(&Change<K>) + Send + Sync>;

/// The objects of one kind as last heard from the server.
pub(crate) struct Kind<K: Watched> {
    store: Store<K>,
    writer: Mutex<Writer<K>>,
    listeners: RwLock<Vec<Listener<K>>>,
}

impl<K: Watched> Kind<K> {
    fn new() -> Arc<Self> {
        let writer = Writer::new(());
        Arc::new(Self {
            store: writer.as_reader(),
            writer: Mutex::new(writer),
            listeners: RwLock::default(),
        })
    }

    /// Calls `listener` for every change from now on. Register before the watches start, or changes are missed.
    pub(crate) fn listen(&self, listener: impl Fn(&Change<K>) + Send + Sync + 'static) {
        self.listeners
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Box::new(listener));
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<K>> {
        let mut reference = ObjectRef::new(&key.name);
        if !key.namespace.is_empty() {
            reference = reference.within(&key.namespace);
        }
        self.store.get(&reference)
    }

    pub(crate) fn all(&self) -> Vec<Arc<K>> {
        self.store.state()
    }

    pub(crate) fn within(&self, namespace: &str) -> Vec<Arc<K>> {
        self.store
            .state_filter(|object| object.meta().namespace.as_deref() == Some(namespace))
    }

    fn tell(&self, change: &Change<K>) {
        for listener in self.listeners.read().unwrap_or_else(PoisonError::into_inner).iter() {
            listener(change);
        }
    }

    /// Watches until stopped, and again when that panics. With its name.
    fn keep_watching(
        self: Arc<Self>,
        api: Api<K>,
        config: watcher::Config,
        stop: CancellationToken,
    ) -> (Name, BoxFuture<'static, ()>) {
        let name = Name::from(format!("watch of {}", K::plural(&())));
        let watched = name.clone();
        let watching = async move {
            supervise(watched, || {
                self.clone().watch(api.clone(), config.clone(), stop.clone())
            })
            .await;
        };
        (name, watching.boxed())
    }

    async fn watch(self: Arc<Self>, api: Api<K>, config: watcher::Config, stop: CancellationToken) {
        let mut writer = self.writer.lock().await;
        let events = watcher(api, config)
            .default_backoff()
            .take_until(stop.cancelled_owned());
        pin_mut!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => self.take_in(&mut writer, &event),
                Err(error) => debug!(kind = %K::kind(&()), %error, "watch ended, it is started again"),
            }
        }
    }

    fn take_in(&self, writer: &mut Writer<K>, event: &watcher::Event<K>) {
        match event {
            watcher::Event::Apply(object) | watcher::Event::Delete(object) => {
                let reference = ObjectRef::from_obj(object);
                let old = self.store.get(&reference);
                writer.apply_watcher_event(event);
                let new = self.store.get(&reference);
                self.tell(&Change { old, new });
            }
            watcher::Event::InitDone => {
                let before = self.store.state();
                writer.apply_watcher_event(event);
                for change in relisted(before, &self.store.state()) {
                    self.tell(&change);
                }
            }
            watcher::Event::Init | watcher::Event::InitApply(_) => writer.apply_watcher_event(event),
        }
    }
}

/// What a new list changes against what was known. A watch that was interrupted tells of no deletion, so they are found here.
fn relisted<K: Watched>(before: Vec<Arc<K>>, after: &[Arc<K>]) -> Vec<Change<K>> {
    let mut known: HashMap<Key, Arc<K>> = before.into_iter().map(|object| (Key::of(&*object), object)).collect();
    let mut changes = Vec::new();
    for object in after {
        let old = known.remove(&Key::of(&**object));
        if old
            .as_ref()
            .is_none_or(|old| old.resource_version() != object.resource_version())
        {
            changes.push(Change {
                old,
                new: Some(object.clone()),
            });
        }
    }
    changes.extend(known.into_values().map(|old| Change {
        old: Some(old),
        new: None,
    }));
    changes
}

macro_rules! cache {
    ($($field:ident: $kind:ty $(, fields $selector:literal)?;)*) => {
        /// All kinds the controllers look at.
        pub(crate) struct Cache {
            $(pub(crate) $field: Arc<Kind<$kind>>,)*
        }

        impl Cache {
            pub(crate) fn new() -> Self {
                Self { $($field: Kind::new(),)* }
            }

            /// One endless watch for each kind. They end when `stop` is cancelled.
            pub(crate) fn watches(&self, client: &Client, stop: &CancellationToken) -> Vec<(Name, BoxFuture<'static, ()>)> {
                vec![$({
                    let config = watcher::Config::default()$(.fields($selector))?;
                    self.$field.clone().keep_watching(Api::all(client.clone()), config, stop.clone())
                },)*]
            }

            /// Waits until each store has had its first list, then tells all who wait for that.
            ///
            /// Only one may call this: of several that wait for a kube store, it wakes the last.
            pub(crate) async fn fill(&self, filled: watch::Sender<bool>) {
                $(if self.$field.store.wait_until_ready().await.is_err() {
                    return;
                })*
                filled.send_replace(true);
            }
        }
    };
}

cache! {
    claims: PersistentVolumeClaim;
    // Only the one that is put in every namespace: other ConfigMaps are none of the controllers' business.
    root_certificates: ConfigMap, fields "metadata.name=kube-root-ca.crt";
    cron_jobs: CronJob;
    daemon_sets: DaemonSet;
    deployments: Deployment;
    disruption_budgets: PodDisruptionBudget;
    endpoint_slices: EndpointSlice;
    endpoints: Endpoints;
    jobs: Job;
    namespaces: Namespace;
    nodes: Node;
    pods: Pod;
    replica_sets: ReplicaSet;
    revisions: ControllerRevision;
    service_accounts: ServiceAccount;
    services: Service;
    stateful_sets: StatefulSet;
    storage_classes: StorageClass;
    volumes: PersistentVolume;
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, version: &str) -> Arc<Pod> {
        let pod = json!({ "metadata": { "name": name, "namespace": "shop", "resourceVersion": version } });
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn a_new_list_tells_of_what_is_new_changed_and_gone() {
        let changes = relisted(
            vec![pod("same", "1"), pod("changed", "2"), pod("gone", "3")],
            &[pod("same", "1"), pod("changed", "7"), pod("new", "8")],
        );
        let mut told: Vec<_> = changes
            .iter()
            .map(|change| {
                let version = |pod: &Option<Arc<Pod>>| pod.as_ref().and_then(|pod| pod.resource_version());
                let name = change.versions().next().unwrap().name_any();
                (name, version(&change.old), version(&change.new))
            })
            .collect();
        told.sort();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            told,
            [
                ("changed".to_owned(), some("2"), some("7")),
                ("gone".to_owned(), some("3"), None),
                ("new".to_owned(), None, some("8")),
            ]
        );
    }

    #[test]
    fn a_listener_sees_both_versions_and_the_removal() {
        let kind = Kind::<Pod>::new();
        let told = Arc::new(std::sync::Mutex::new(Vec::new()));
        let heard = told.clone();
        kind.listen(move |change| heard.lock().unwrap().push((change.old.is_some(), change.new.is_some())));
        let mut writer = kind.writer.try_lock().unwrap();
        kind.take_in(&mut writer, &watcher::Event::Init);
        kind.take_in(&mut writer, &watcher::Event::InitDone);
        kind.take_in(&mut writer, &watcher::Event::Apply((*pod("a", "1")).clone()));
        kind.take_in(&mut writer, &watcher::Event::Apply((*pod("a", "2")).clone()));
        kind.take_in(&mut writer, &watcher::Event::Delete((*pod("a", "3")).clone()));
        assert_eq!(*told.lock().unwrap(), [(false, true), (true, true), (true, false)]);
        assert!(kind.get(&Key::new("shop", "a")).is_none());
    }
}
