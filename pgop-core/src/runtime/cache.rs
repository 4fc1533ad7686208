//! Caches fed by watches, shared by all namespaces, and who has to be reconciled when something changes.
//!
//! ```text
//! watch ─► Seen: without noise ─► Index: by owner, compact ─► Queue: who is concerned
//!                                   ▲
//!                        observe ───┘
//! ```

mod compact;
mod index;
mod seen;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::TryStreamExt;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use serde_json::Value;
use tokio::sync::{Semaphore, watch};
use tracing::warn;

use super::backoff::Key;
use super::cluster;
use super::queue::{Cause, Queue};
use super::tasks::Tasks;
use crate::crd::{PgBackup, PgCluster, PgDatabase};
use crate::kind::Kind;
use crate::label;
use crate::managed::Managed;
use crate::observed::Live;
use crate::owner::{Owner, ResourceKind};
use index::{Index, Listing, Tie};
use seen::{Seen, What};

/// Objects in one page of a list: what is held in memory at one time while a fleet is read.
const PAGE: u32 = 100;
/// Lists at one time, so that a start asks neither the server nor this process for everything at once.
const LISTS: usize = 4;
/// A page that did not come within this time is asked for anew.
const LIST_PATIENCE: Duration = Duration::from_secs(60);

/// What the operator knows of its namespaces.
#[derive(Clone)]
pub(crate) struct Caches {
    index: Arc<RwLock<Index>>,
    /// How many lists are still missing.
    missing: watch::Receiver<usize>,
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
    /// Starts the watches of some namespaces, or of all where a scope is `None`.
    pub(crate) fn start(client: &Client, scopes: &[Option<String>], queue: &Queue, tasks: &mut Tasks) -> Self {
        let resources = ResourceKind::ALL.map(What::Resource);
        let objects = Kind::ALL.map(What::Object);
        let all: Vec<What> = resources
            .into_iter()
            .chain(objects)
            .chain([What::Secret, What::Pod])
            .collect();
        let missing = watch::Sender::new(all.len() * scopes.len());
        let follower = Follower {
            index: Arc::default(),
            queue: queue.clone(),
            lists: Arc::new(Semaphore::new(LISTS)),
            missing: missing.clone(),
            is_filled: false,
        };
        let caches = Self {
            index: Arc::clone(&follower.index),
            missing: missing.subscribe(),
        };
        for scope in scopes {
            for what in &all {
                let name = format!(
                    "the watch of {what}{}",
                    scope.as_deref().map(|n| format!(" in {n}")).unwrap_or_default()
                );
                if *what == What::Secret {
                    tasks.spawn(
                        name,
                        follower.clone().follow::<true>(client.clone(), scope.clone(), *what),
                    );
                } else {
                    tasks.spawn(
                        name,
                        follower.clone().follow::<false>(client.clone(), scope.clone(), *what),
                    );
                }
            }
        }
        caches
    }

    /// Waits until everything that the server had is known.
    pub(crate) async fn wait_until_ready(&self) {
        // The sender is dropped only when the operator stops.
        let _ = self.missing.clone().wait_for(|missing| *missing == 0).await;
    }

    /// A resource as it came: one that does not parse must not stop the others.
    pub(crate) fn object(&self, kind: ResourceKind, namespace: &str, name: &str) -> Option<DynamicObject> {
        let compact = self.read(|index| index.get(What::Resource(kind), namespace, name))?;
        serde_json::from_value(compact.value()).ok()
    }

    /// A resource of kind `R`, where it parses.
    pub(crate) fn resource<R: Managed>(&self, namespace: &str, name: &str) -> Option<R> {
        let compact = self.read(|index| index.get(What::Resource(R::KIND), namespace, name))?;
        serde_json::from_value(compact.value()).ok()
    }

    /// What was made for a resource, and the claims with the backups of `source`.
    pub(crate) fn live(&self, owner: &Owner, source: Option<&str>) -> Live {
        let mut ties = vec![Tie::Made(owner.kind, owner.name.as_str().into())];
        ties.extend(source.map(|source| Tie::BackupsOf(source.into())));
        let mut live = Live::default();
        // Decoded outside of the lock.
        let all: Vec<_> = self.read(|index| ties.iter().flat_map(|tie| index.tied(&owner.namespace, tie)).collect());
        for (what, name, compact) in all {
            let (name, value) = (name.as_ref().to_owned(), compact.value());
            match what {
                What::Object(kind) => drop(live.objects.insert((kind, name), value)),
                What::Secret => drop(live.secrets.insert(name, value)),
                // In the order of their names.
                What::Pod => live.pods.extend(serde_json::from_value(value)),
                What::Resource(_) => {}
            }
        }
        live
    }

    /// The backups of a database or cluster.
    pub(crate) fn backups(&self, owner: &Owner) -> Vec<Value> {
        let tie = Tie::Source(owner.kind, owner.name.as_str().into());
        let all = self.read(|index| index.tied(&owner.namespace, &tie));
        all.iter().map(|(.., compact)| compact.value()).collect()
    }

    fn read<T>(&self, look: impl FnOnce(&Index) -> T) -> T {
        look(&self.index.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Brings one kind of one namespace into the index, and tells the queue.
#[derive(Clone)]
struct Follower {
    index: Arc<RwLock<Index>>,
    queue: Queue,
    lists: Arc<Semaphore>,
    missing: watch::Sender<usize>,
    /// Its first list is complete.
    is_filled: bool,
}

impl Follower {
    async fn follow<const METADATA_ONLY: bool>(mut self, client: Client, namespace: Option<String>, what: What) {
        let (resource, selector) = match what {
            What::Object(kind) => (cluster::resource(kind), Some(label::managed_selector())),
            What::Secret => (
                ApiResource::erase::<k8s_openapi::api::core::v1::Secret>(&()),
                Some(label::managed_selector()),
            ),
            What::Pod => (
                ApiResource::erase::<k8s_openapi::api::core::v1::Pod>(&()),
                Some(label::managed_selector()),
            ),
            What::Resource(kind) => (api_resource(kind), None),
        };
        let api: Api<Seen<METADATA_ONLY>> = match &namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
            None => Api::all_with(client, &resource),
        };
        let config = watcher::Config {
            label_selector: selector,
            page_size: Some(PAGE),
            ..watcher::Config::default()
        };
        let mut listing = Listing {
            what,
            namespace,
            epoch: 0,
        };
        loop {
            self.watch(&api, &config, &mut listing).await;
            warn!(%what, "a list was not answered within {} s and is asked for anew", LIST_PATIENCE.as_secs());
        }
    }

    /// Follows until a list is not answered.
    async fn watch<const METADATA_ONLY: bool>(
        &mut self,
        api: &Api<Seen<METADATA_ONLY>>,
        config: &watcher::Config,
        listing: &mut Listing,
    ) {
        let what = listing.what;
        let events = watcher::watcher(api.clone(), config.clone()).default_backoff();
        futures::pin_mut!(events);
        let lists = Arc::clone(&self.lists);
        let mut turn = None;
        loop {
            let event = if turn.is_some() {
                match tokio::time::timeout(LIST_PATIENCE, events.try_next()).await {
                    Ok(event) => event,
                    Err(_) => return,
                }
            } else {
                events.try_next().await
            };
            match event {
                Ok(Some(Event::Init)) => {
                    // Nothing is asked for before the next event is.
                    turn = lists.acquire().await.ok();
                    listing.epoch += 1;
                }
                Ok(Some(Event::InitApply(object) | Event::Apply(object))) => {
                    self.tell(what, |index| index.apply(what, object, listing.epoch));
                }
                Ok(Some(Event::Delete(object))) => {
                    self.tell(what, |index| index.delete(what, object.namespace(), object.name()));
                }
                Ok(Some(Event::InitDone)) => {
                    turn = None;
                    self.tell(what, |index| index.listed(listing));
                    if !std::mem::replace(&mut self.is_filled, true) {
                        self.missing.send_modify(|missing| *missing -= 1);
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    turn = None;
                    warn!(%what, %error, "the watch broke and is started again");
                }
            }
        }
    }
    fn tell(&self, what: What, change: impl FnOnce(&mut Index) -> Vec<(Key, Cause)>) {
        let touched = change(&mut self.index.write().unwrap_or_else(PoisonError::into_inner));
        // Every resource is looked at after a start: what was made for it need not say so too.
        let is_news = self.is_filled || matches!(what, What::Resource(_));
        for (key, cause) in touched.into_iter().filter(|_| is_news) {
            self.queue.touch(key, cause);
        }
    }
}
