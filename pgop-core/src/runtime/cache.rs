//! Caches fed by watches, one set for each watched namespace, and who has to be reconciled when something changes.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use futures::StreamExt;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Api, ApiResource, DynamicObject, PartialObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::{self, Event};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tracing::warn;

use super::cluster;
use super::metrics::Metrics;
use crate::crd::{PgBackup, PgCluster, PgDatabase};
use crate::kind::Kind;
use crate::label;
use crate::managed::Managed;
use crate::owner::ResourceKind;

/// What the operator knows of one namespace, or of all of them.
#[derive(Clone)]
pub(crate) struct Caches {
    pub(crate) objects: BTreeMap<Kind, Store<DynamicObject>>,
    pub(crate) secrets: Store<PartialObjectMeta<Secret>>,
    pub(crate) pods: Store<Pod>,
    /// Resources as they came: one that does not parse must not stop the watch of the others.
    pub(crate) resources: BTreeMap<ResourceKind, Store<DynamicObject>>,
}

/// Names of resources to reconcile, by kind.
pub(crate) type Queues = BTreeMap<ResourceKind, UnboundedReceiver<ObjectRef<DynamicObject>>>;

/// Puts resources into the queue of their kind.
#[derive(Clone)]
pub(crate) struct Triggers {
    senders: Arc<BTreeMap<ResourceKind, UnboundedSender<ObjectRef<DynamicObject>>>>,
    metrics: Arc<Metrics>,
}

impl Triggers {
    fn new(metrics: Arc<Metrics>) -> (Self, Queues) {
        let (senders, queues): (BTreeMap<_, _>, BTreeMap<_, _>) = ResourceKind::ALL
            .into_iter()
            .map(|kind| {
                let (sender, receiver) = unbounded();
                ((kind, sender), (kind, receiver))
            })
            .unzip();
        (
            Self {
                senders: Arc::new(senders),
                metrics,
            },
            queues,
        )
    }

    fn send(&self, kind: ResourceKind, namespace: &str, name: &str) {
        self.metrics.queued((kind, namespace.to_owned(), name.to_owned()));
        let reference = ObjectRef::new_with(name, api_resource(kind)).within(namespace);
        if let Some(sender) = self.senders.get(&kind) {
            // The receiver is gone only while everything stops.
            let _ = sender.unbounded_send(reference);
        }
    }

    /// An object of ours changed: its resource is told by the label.
    fn send_owner(&self, object: &impl ResourceExt) {
        let namespace = object.namespace().unwrap_or_default();
        for kind in ResourceKind::ALL {
            if let Some(name) = object.labels().get(kind.label()) {
                self.send(kind, &namespace, name);
            }
        }
    }
}

/// Path parts of a kind of resources.
pub(crate) fn api_resource(kind: ResourceKind) -> ApiResource {
    match kind {
        ResourceKind::PgDatabase => ApiResource::erase::<PgDatabase>(&()),
        ResourceKind::PgCluster => ApiResource::erase::<PgCluster>(&()),
        ResourceKind::PgBackup => ApiResource::erase::<PgBackup>(&()),
    }
}

impl Caches {
    /// Starts the watches of one namespace, or of all when it is `None`.
    pub(crate) fn start(
        client: &Client,
        namespace: Option<&str>,
        metrics: Arc<Metrics>,
        tasks: &mut JoinSet<()>,
    ) -> (Self, Queues) {
        let (triggers, queues) = Triggers::new(metrics);
        let dynamic = |resource: &ApiResource| match namespace {
            Some(namespace) => Api::<DynamicObject>::namespaced_with(client.clone(), namespace, resource),
            None => Api::all_with(client.clone(), resource),
        };
        let ours = watcher::Config::default().labels(&label::managed_selector());
        let mut objects = BTreeMap::new();
        for kind in Kind::ALL {
            let resource = cluster::resource(kind);
            let to = triggers.clone();
            let store = follow(tasks, dynamic(&resource), ours.clone(), resource, move |object| {
                to.send_owner(object);
            });
            objects.insert(kind, store);
        }
        let to = triggers.clone();
        let secrets = follow(
            tasks,
            typed(client, namespace),
            ours.clone(),
            (),
            move |object: &PartialObjectMeta<Secret>| to.send_owner(object),
        );
        let to = triggers.clone();
        let pods = follow(tasks, typed(client, namespace), ours, (), move |object: &Pod| {
            to.send_owner(object);
        });
        let mut resources = BTreeMap::new();
        let backups = Self::follow_backups(tasks, dynamic(&api_resource(ResourceKind::PgBackup)), &triggers);
        for kind in [ResourceKind::PgDatabase, ResourceKind::PgCluster] {
            let (to, all_backups) = (triggers.clone(), backups.clone());
            let resource = api_resource(kind);
            let store = follow(
                tasks,
                dynamic(&resource),
                watcher::Config::default(),
                resource,
                move |object| {
                    let namespace = object.namespace().unwrap_or_default();
                    to.send(kind, &namespace, &object.name_any());
                    for backup in waiting_backups(&all_backups, kind, &namespace, &object.name_any()) {
                        to.send(ResourceKind::PgBackup, &namespace, &backup);
                    }
                },
            );
            resources.insert(kind, store);
        }
        resources.insert(ResourceKind::PgBackup, backups);
        (
            Self {
                objects,
                secrets,
                pods,
                resources,
            },
            queues,
        )
    }

    /// A backup also concerns its source, whose status names the newest one.
    fn follow_backups(tasks: &mut JoinSet<()>, api: Api<DynamicObject>, triggers: &Triggers) -> Store<DynamicObject> {
        let to = triggers.clone();
        follow(
            tasks,
            api,
            watcher::Config::default(),
            api_resource(ResourceKind::PgBackup),
            move |object| {
                let namespace = object.namespace().unwrap_or_default();
                to.send(ResourceKind::PgBackup, &namespace, &object.name_any());
                if let Some((kind, name)) = source_of(object) {
                    to.send(kind, &namespace, &name);
                }
            },
        )
    }

    /// Waits until every cache holds what the server had.
    pub(crate) async fn wait_until_ready(&self) {
        for store in self.objects.values().chain(self.resources.values()) {
            // The writer is dropped only when the operator stops.
            let _ = store.wait_until_ready().await;
        }
        let _ = self.secrets.wait_until_ready().await;
        let _ = self.pods.wait_until_ready().await;
    }

    /// A resource of kind `R`, where it parses.
    pub(crate) fn resource<R: Managed>(&self, namespace: &str, name: &str) -> Option<R> {
        let reference = ObjectRef::new_with(name, api_resource(R::KIND)).within(namespace);
        let object = self.resources.get(&R::KIND)?.get(&reference)?;
        serde_json::to_value(&*object)
            .ok()
            .and_then(|value| serde_json::from_value(value).ok())
    }
}

fn typed<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope>,
    K::DynamicType: Default,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Kind and name of a backup's source.
fn source_of(backup: &DynamicObject) -> Option<(ResourceKind, String)> {
    let source = backup.data.pointer("/spec/source")?;
    let kind = source.get("kind")?.as_str()?;
    let kind = ResourceKind::ALL.into_iter().find(|known| known.as_str() == kind)?;
    Some((kind, source.get("name")?.as_str()?.to_owned()))
}

/// Backups of a source that have not ended.
fn waiting_backups(backups: &Store<DynamicObject>, kind: ResourceKind, namespace: &str, name: &str) -> Vec<String> {
    let waits = |backup: &DynamicObject| {
        backup.namespace().as_deref() == Some(namespace)
            && source_of(backup).is_some_and(|source| source == (kind, name.to_owned()))
            && backup.data.pointer("/status/finishedAt").is_none()
    };
    backups
        .state_filter(waits)
        .iter()
        .map(|backup| backup.name_any())
        .collect()
}

/// Follows one kind: into a store, then to `touched`.
fn follow<K>(
    tasks: &mut JoinSet<()>,
    api: Api<K>,
    config: watcher::Config,
    dynamic_type: K::DynamicType,
    touched: impl Fn(&K) + Send + 'static,
) -> Store<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone + Debug + Send + Sync,
{
    let writer = Writer::<K>::new(dynamic_type.clone());
    let store = writer.as_reader();
    tasks.spawn(async move {
        let stream = watcher::watcher(api, config)
            .default_backoff()
            .modify(|object| object.meta_mut().managed_fields = None)
            .reflect(writer);
        futures::pin_mut!(stream);
        // What a list brings is in the store only when the list is complete; who is told earlier reads the old store.
        let mut listed = Vec::new();
        while let Some(event) = stream.next().await {
            match event {
                Ok(Event::Apply(object) | Event::Delete(object)) => touched(&object),
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(object)) => listed.push(object),
                Ok(Event::InitDone) => listed.drain(..).for_each(|object| touched(&object)),
                Err(error) => warn!(kind = %K::kind(&dynamic_type), %error, "the watch broke and is started again"),
            }
        }
    });
    store
}
