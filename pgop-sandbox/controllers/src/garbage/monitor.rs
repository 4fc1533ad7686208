//! The watches behind the graph: one of metadata only for each resource that can be listed, watched and deleted.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, pin_mut};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Client,
    api::DynamicObject,
    core::PartialObjectMeta,
    runtime::{WatchStreamExt, watcher},
};
use pgop_sandbox_tasks::{Panicked, spawn_in, supervise};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::graph::{Graph, Item};
use crate::{
    queue::{Key, Queue},
    resources::{Resources, Served},
};

/// New resources are also found without a change of a definition: aggregated APIs come and go by themselves. To list all that is served is
/// dear, and there is seldom news.
const REDISCOVER: Duration = Duration::from_secs(10 * 60);
/// After a change of a definition the server needs a moment to serve the new resource.
const SOON: Duration = Duration::from_secs(1);
const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";

/// The graph, and what its changes set off.
pub(crate) struct Monitor {
    graph: Mutex<Graph>,
    queue: Queue,
    /// Set off by a change of a definition.
    definitions: Notify,
    /// Watches without their first list yet.
    unfilled: AtomicUsize,
}

struct Running {
    served: Served,
    stop: CancellationToken,
}

impl Monitor {
    pub(crate) fn new(queue: Queue) -> Arc<Self> {
        Arc::new(Self {
            graph: Mutex::default(),
            queue,
            definitions: Notify::new(),
            unfilled: AtomicUsize::new(0),
        })
    }

    pub(crate) fn graph(&self) -> MutexGuard<'_, Graph> {
        self.graph.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_filled(&self) -> bool {
        self.unfilled.load(Ordering::Acquire) == 0
    }

    /// Looks at an object soon.
    pub(crate) fn look_at(&self, uid: &str) {
        self.queue.add(Key::new("", uid));
    }

    /// Watches all that is served, and what comes to be served, until `stop`. Tells `ready` after the first discovery.
    pub(crate) async fn run(
        self: Arc<Self>,
        client: Client,
        resources: Arc<Resources>,
        stop: CancellationToken,
        ready: Arc<Notify>,
    ) {
        let mut running: HashMap<String, Running> = HashMap::new();
        let mut watches = JoinSet::new();
        let mut wait = REDISCOVER;
        loop {
            match resources.refresh().await {
                Ok(served) => {
                    self.follow(&client, &served, &mut running, &mut watches, &stop);
                    ready.notify_one();
                }
                Err(error) => {
                    warn!(
                        error = error.message(),
                        "what is served can't be found out, trying again"
                    );
                    wait = SOON;
                }
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(wait) => wait = REDISCOVER,
                // The status `Established` is a change as well, so a second look is always set off; one more follows for slow servers.
                () = self.definitions.notified() => wait = SOON,
                Some(_) = watches.join_next(), if !watches.is_empty() => {}
            }
        }
        watches.shutdown().await;
    }

    fn follow(
        self: &Arc<Self>,
        client: &Client,
        served: &[Served],
        running: &mut HashMap<String, Running>,
        watches: &mut JoinSet<Result<(), Panicked>>,
        stop: &CancellationToken,
    ) {
        let wanted: HashMap<String, &Served> = served
            .iter()
            .filter(|served| is_collected(served))
            .map(|served| (served.id(), served))
            .collect();
        running.retain(|id, watch| {
            // A resource in another version is watched anew: the old version may be gone.
            let stays = wanted
                .get(id)
                .is_some_and(|served| served.resource == watch.served.resource);
            if !stays {
                watch.stop.cancel();
                let mut graph = self.graph();
                for uid in graph.of_resource(id) {
                    graph.forget(&uid);
                }
            }
            stays
        });
        for (id, served) in wanted {
            if running.contains_key(&id) {
                continue;
            }
            let stop = stop.child_token();
            self.unfilled.fetch_add(1, Ordering::AcqRel);
            let (monitor, client, subject) = (self.clone(), client.clone(), served.clone());
            let (ended, filled) = (stop.clone(), Arc::new(AtomicBool::new(false)));
            let name = format!("watch of {id} for the garbage collector");
            spawn_in(watches, name.clone(), async move {
                let watch = || {
                    let monitor = monitor.clone();
                    monitor.watch(client.clone(), subject.clone(), ended.clone(), filled.clone())
                };
                supervise(name, watch).await;
            });
            running.insert(
                id,
                Running {
                    served: served.clone(),
                    stop,
                },
            );
        }
    }

    async fn watch(self: Arc<Self>, client: Client, served: Served, stop: CancellationToken, filled: Arc<AtomicBool>) {
        let id = served.id();
        let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(client, &served.resource);
        let events = watcher(api, watcher::Config::default())
            .default_backoff()
            .take_until(stop.cancelled_owned());
        pin_mut!(events);
        let mut listed: HashSet<String> = HashSet::new();
        while let Some(event) = events.next().await {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    debug!(resource = id, %error, "watch ended, it is started again");
                    // One resource that can't be listed must not hold up all others.
                    self.fill(&filled);
                    continue;
                }
            };
            match event {
                watcher::Event::Init => listed.clear(),
                watcher::Event::InitApply(object) => {
                    listed.extend(object.metadata.uid.clone());
                    self.apply(&id, &object.metadata);
                }
                watcher::Event::InitDone => {
                    let known = self.graph().of_resource(&id);
                    known.difference(&listed).for_each(|uid| self.remove(uid));
                    listed.clear();
                    self.fill(&filled);
                    self.heed(&id); // what an interrupted watch has missed
                }
                watcher::Event::Apply(object) => {
                    self.apply(&id, &object.metadata);
                    self.heed(&id);
                }
                watcher::Event::Delete(object) => {
                    object.metadata.uid.iter().for_each(|uid| self.remove(uid));
                    self.heed(&id);
                }
            }
        }
        self.fill(&filled);
    }

    /// Notes the first list of a watch.
    fn fill(&self, filled: &AtomicBool) {
        if !filled.swap(true, Ordering::AcqRel) {
            self.unfilled.fetch_sub(1, Ordering::AcqRel);
        }
    }

    fn heed(&self, resource: &str) {
        if resource == DEFINITIONS {
            self.definitions.notify_one();
        }
    }

    fn apply(&self, resource: &str, meta: &ObjectMeta) {
        let Some(uid) = &meta.uid else { return };
        let concerned = self.graph().apply(uid, Item::new(resource, meta));
        for uid in &concerned {
            self.look_at(uid);
        }
    }

    fn remove(&self, uid: &str) {
        let concerned = self.graph().remove(uid);
        for uid in &concerned {
            self.look_at(uid);
        }
    }
}

fn is_collected(served: &Served) -> bool {
    ["list", "watch", "delete"].iter().all(|verb| served.can(verb)) && !served.is_event()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::served;

    #[test]
    fn all_that_can_be_deleted_is_collected_except_events() {
        assert!(is_collected(&served("v1", "Pod", "pods", true)));
        assert!(is_collected(&served("shop.example/v1", "Order", "orders", true)));
        assert!(!is_collected(&served("v1", "Event", "events", true)));
        let mut review = served(
            "authorization.k8s.io/v1",
            "SelfSubjectAccessReview",
            "selfsubjectaccessreviews",
            false,
        );
        review.verbs = vec!["create".into()];
        assert!(!is_collected(&review));
    }
}
