//! The work on one pod: from its object to running containers, and back to nothing.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container as Spec, Pod, PodStatus};
use pgop_sandbox_tasks::{in_seconds, spawn_essential};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::state::{PodState, Policy, Role, State};
use super::writer;
use crate::container::{Life, Live, StopOrder, groups_not_given};
use crate::logs::Feed;
use crate::network::PodNetwork;
use crate::shared::Shared;
use crate::volumes::{Ready, Volumes};

const DEFAULT_GRACE: i64 = 30;
/// When the node stops, so long at the most may pods take.
const NODE_GRACE: i64 = 30;
/// What could not be prepared is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// Files of objects follow them at the latest after that long (tokens have no event of their own).
const REFRESH: Duration = Duration::from_secs(60);
/// So many changes in a row are one.
const SETTLE: Duration = Duration::from_millis(300);

/// A pod on this node.
pub(crate) struct PodRun {
    pub(crate) shared: Arc<Shared>,
    /// Its folder.
    pub(crate) folder: PathBuf,
    object: watch::Receiver<Option<Arc<Pod>>>,
    latest: Mutex<Arc<Pod>>,
    state: watch::Sender<PodState>,
    network: Mutex<Option<Arc<PodNetwork>>>,
    volumes: Mutex<BTreeMap<String, Ready>>,
    live: Mutex<HashMap<String, Arc<Live>>>,
    feeds: Mutex<HashMap<String, Arc<Feed>>>,
    /// The status that was written last.
    pub(super) written: Mutex<Option<PodStatus>>,
    main: watch::Sender<Option<StopOrder>>,
    side: watch::Sender<Option<StopOrder>>,
    /// Counts what still works for it.
    busy: TaskTracker,
    /// A part of it has panicked.
    broken: CancellationToken,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PodRun {
    /// `object` has the pod as it is now, and nothing when it is gone.
    pub(crate) fn new(shared: Arc<Shared>, pod: Arc<Pod>, object: watch::Receiver<Option<Arc<Pod>>>) -> Arc<Self> {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        Arc::new(Self {
            folder: shared.folder.join("pods").join(uid),
            shared,
            object,
            state: watch::Sender::new(PodState::new(&pod)),
            latest: Mutex::new(pod),
            network: Mutex::default(),
            volumes: Mutex::default(),
            live: Mutex::default(),
            feeds: Mutex::default(),
            written: Mutex::default(),
            main: watch::Sender::new(None),
            side: watch::Sender::new(None),
            busy: TaskTracker::new(),
            broken: CancellationToken::new(),
        })
    }

    /// One that begins again what this one, whose work has panicked, can't go on with: as after a stop of the node.
    pub(crate) fn again(&self) -> Arc<Self> {
        Self::new(self.shared.clone(), self.pod(), self.object.clone())
    }

    /// Waits until nothing works for it any more, and nothing runs of it: two may not have its volumes.
    pub(crate) async fn cleared(&self) {
        self.busy.close();
        self.busy.wait().await;
        let network = lock(&self.network).take();
        if let Some(network) = network {
            self.shared.runtime.clear(&network).await;
        }
    }

    pub(crate) fn busy(&self) -> &TaskTracker {
        &self.busy
    }

    pub(crate) fn broken(&self) -> &CancellationToken {
        &self.broken
    }

    /// The object as it was last seen.
    pub(crate) fn pod(&self) -> Arc<Pod> {
        if let Some(pod) = self.object.borrow().clone() {
            *lock(&self.latest) = pod;
        }
        lock(&self.latest).clone()
    }

    /// Changes what is known; the status follows.
    pub(crate) fn update(&self, change: impl FnOnce(&mut PodState)) {
        self.state.send_modify(change);
    }

    /// As [`update`](Self::update), for what mostly changes nothing: it tells whether it did.
    pub(crate) fn update_if(&self, change: impl FnOnce(&mut PodState) -> bool) {
        self.state.send_if_modified(change);
    }

    /// What is known, and learns of changes.
    pub(crate) fn watch(&self) -> watch::Receiver<PodState> {
        self.state.subscribe()
    }

    /// Its place in the network, once it has one.
    pub(crate) fn network(&self) -> Option<Arc<PodNetwork>> {
        lock(&self.network).clone()
    }

    /// Its volumes, once they are there.
    pub(crate) fn volumes(&self) -> BTreeMap<String, Ready> {
        lock(&self.volumes).clone()
    }

    /// A container that runs now.
    pub(crate) fn live(&self, container: &str) -> Option<Arc<Live>> {
        lock(&self.live).get(container).cloned()
    }

    pub(crate) fn set_live(&self, container: &str, live: Option<Arc<Live>>) {
        match live {
            Some(live) => lock(&self.live).insert(container.to_owned(), live),
            None => lock(&self.live).remove(container),
        };
    }

    /// The log of the run of a container that was begun last. It may have ended.
    pub(crate) fn feed(&self, container: &str) -> Option<Arc<Feed>> {
        lock(&self.feeds).get(container).cloned()
    }

    pub(crate) fn set_feed(&self, container: &str, feed: Arc<Feed>) {
        lock(&self.feeds).insert(container.to_owned(), feed);
    }

    /// Seconds that its containers have to end: as the deletion says, or the pod.
    pub(crate) fn grace(&self) -> i64 {
        let pod = self.pod();
        let of_spec = pod
            .spec
            .as_ref()
            .and_then(|s| s.termination_grace_period_seconds)
            .unwrap_or(DEFAULT_GRACE);
        pod.metadata.deletion_grace_period_seconds.unwrap_or(of_spec).max(0)
    }

    fn is_deleted(&self) -> bool {
        self.object
            .borrow()
            .as_ref()
            .is_none_or(|pod| pod.metadata.deletion_timestamp.is_some())
    }

    /// Works until the object is gone or the node stops. Panics when a part of it has.
    pub(crate) async fn work(self: Arc<Self>) {
        let finished = matches!(
            self.pod().status.as_ref().and_then(|s| s.phase.as_deref()),
            Some("Succeeded" | "Failed")
        );
        if !finished {
            tokio::select! {
                () = self.lead() => {}
                () = self.control() => {}
                () = self.follow_objects() => {}
                () = writer::keep(&self) => {}
                () = self.broken.cancelled() => {}
            }
            // A container whose life has panicked has ended too: that must not pass for the end of the pod.
            if self.broken.is_cancelled() {
                resume_unwind(Box::new("a part of the pod panicked"));
            }
            // What the containers were given goes with the last of them.
            lock(&self.network).take();
            if self.shared.stop.is_cancelled() && !self.is_deleted() {
                return;
            }
            self.update(|state| {
                state.can_start = false;
                state.over = true;
            });
            writer::write(&self).await;
        }
        let mut object = self.object.clone();
        let gone = object.wait_for(|pod| pod.as_ref().is_none_or(|p| p.metadata.deletion_timestamp.is_some()));
        if self.shared.stop.run_until_cancelled(gone).await.is_none() {
            return;
        }
        writer::remove(&self).await;
        // A finalizer may hold the object for a while; it must not be taken for a new pod.
        if self
            .shared
            .stop
            .run_until_cancelled(object.wait_for(Option::is_none))
            .await
            .is_some()
        {
            self.forget();
        }
    }

    fn forget(&self) {
        let uid = self.pod().metadata.uid.clone().unwrap_or_default();
        self.shared.tokens.forget(&uid);
        for folder in [&self.folder, &self.shared.memory.join(&uid)] {
            if let Err(error) = fs::remove_dir_all(folder)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(folder = %folder.display(), %error, "can't remove what a pod has left");
            }
        }
    }

    /// Runs the containers in their order. Returns when all have ended for good.
    async fn lead(self: &Arc<Self>) {
        let mut stop = self.main.subscribe();
        tokio::select! {
            () = self.prepare() => {}
            _ = stop.wait_for(Option::is_some) => return,
        }
        let mut sidecars = JoinSet::new();
        if self.run_inits(&mut sidecars).await {
            self.update(|state| {
                state.initialized = true;
                for container in &mut state.containers {
                    if container.role == Role::Main
                        && matches!(
                            container.state,
                            State::Waiting {
                                reason: "PodInitializing",
                                ..
                            }
                        )
                    {
                        container.state = State::Waiting {
                            reason: "ContainerCreating",
                            message: None,
                        };
                    }
                }
            });
            let mut mains = JoinSet::new();
            for spec in self.pod().spec.iter().flat_map(|s| &s.containers) {
                self.begin(&mut mains, spec, Role::Main);
            }
            while mains.join_next().await.is_some() {}
        }
        let order = StopOrder {
            by: in_seconds(self.grace()),
        };
        self.side.send_if_modified(|side| {
            side.is_none()
                .then(|| *side = Some(self.main.borrow().unwrap_or(order)))
                .is_some()
        });
        while sidecars.join_next().await.is_some() {}
    }

    fn life(self: &Arc<Self>, spec: &Spec, role: Role) -> Life {
        let stop = if role == Role::Sidecar {
            self.side.subscribe()
        } else {
            self.main.subscribe()
        };
        let policy = Policy::of(&self.pod());
        Life {
            pod: self.clone(),
            spec: spec.clone(),
            policy: policy.for_role(role),
            // What an init container has made may be gone with a former node, so it runs again where anything does.
            again: role == Role::Init && policy != Policy::Never,
            stop,
            _busy: self.busy.token(),
        }
    }

    /// Starts the life of a container.
    fn begin(self: &Arc<Self>, lives: &mut JoinSet<()>, spec: &Spec, role: Role) {
        let name = format!("container {} of {}", spec.name, self.name());
        spawn_essential(lives, name, &self.broken, self.life(spec, role).live());
    }

    /// What its tasks are called in the log.
    pub(crate) fn name(&self) -> String {
        let pod = self.pod();
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        format!("pod {}/{}", text(&pod.metadata.namespace), text(&pod.metadata.name))
    }

    /// Runs the init containers one by one; sidecars are started in their turn. Whether all went well.
    async fn run_inits(self: &Arc<Self>, sidecars: &mut JoinSet<()>) -> bool {
        let pod = self.pod();
        for spec in pod.spec.iter().flat_map(|s| s.init_containers.iter().flatten()) {
            let mut watch = self.watch();
            if spec.restart_policy.as_deref() == Some("Always") {
                self.begin(sidecars, spec, Role::Sidecar);
                let started = |state: &PodState| state.containers.iter().any(|c| c.name == spec.name && c.started);
                let mut stop = self.main.subscribe();
                tokio::select! {
                    _ = watch.wait_for(started) => {}
                    _ = stop.wait_for(Option::is_some) => return false,
                }
            } else {
                self.life(spec, Role::Init).live().await;
                let state = watch.borrow_and_update();
                let good = state
                    .containers
                    .iter()
                    .any(|c| c.name == spec.name && c.ended().is_some_and(|e| e.code == 0));
                if !good {
                    return false;
                }
            }
        }
        self.main.borrow().is_none()
    }

    /// Makes what containers need: a place in the network and the volumes. Tries until it is all there.
    async fn prepare(self: &Arc<Self>) {
        self.tell_what_is_not_given();
        let network = loop {
            match self.shared.runtime.attach().await {
                Ok(network) => break network,
                Err(error) => {
                    self.shared
                        .events
                        .warning(&self.pod(), None, "FailedCreatePodSandBox", error.to_string());
                }
            }
            sleep(RETRY).await;
        };
        let address = network.address;
        *lock(&self.network) = Some(Arc::new(network));
        loop {
            let mut changes = Changes::of(&self.shared);
            let pod = self.pod();
            let volumes = Volumes {
                shared: &self.shared,
                pod: &pod,
                folder: &self.folder,
                address: Some(address),
            };
            match volumes.make().await {
                Ok(made) => {
                    *lock(&self.volumes) = made;
                    break;
                }
                Err((name, error)) => {
                    let message = format!("MountVolume.SetUp failed for volume \"{name}\" : {error}");
                    self.shared.events.warning(&pod, None, "FailedMount", message);
                }
            }
            tokio::select! {
                () = sleep(RETRY) => {}
                () = changes.next() => {}
            }
        }
        self.update(|state| {
            state.address = Some(address);
            state.can_start = true;
        });
    }

    /// Groups are not to be had where there is one user. Pods run without: their files belong to them anyway.
    fn tell_what_is_not_given(&self) {
        let missing = groups_not_given(&self.pod());
        if missing.is_empty() || self.shared.users.are_real() {
            return;
        }
        let list = missing.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let message = format!(
            "Groups {list} (fsGroup, supplementalGroups) are not given: a sandbox that is not run by root has one user and one group, \
             to whom all files of pods belong"
        );
        self.shared.events.warning(&self.pod(), None, "GroupsNotGiven", message);
    }

    /// Looks at what happens to the object and gives orders. Never returns.
    async fn control(self: &Arc<Self>) {
        let mut object = self.object.clone();
        loop {
            self.give_orders();
            let deadline = self.time_left();
            let late = async {
                match deadline {
                    Some(left) => sleep(left).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                seen = object.changed() => if seen.is_err() {
                    self.order(0);
                    return std::future::pending().await;
                },
                () = late => self.fail_late(),
                () = self.shared.stop.cancelled() => {
                    self.order(self.grace().min(NODE_GRACE));
                    self.shared.hurry.cancelled().await;
                    tracing::info!("{} is ended at once", self.name());
                    self.order(0);
                    return std::future::pending().await;
                }
            }
        }
    }

    /// Brings the files of objects up to date. Never returns.
    async fn follow_objects(self: &Arc<Self>) {
        let mut object = self.object.clone();
        let mut changes = Changes::of(&self.shared);
        loop {
            tokio::select! {
                Ok(()) = object.changed() => {}
                () = changes.next() => {}
                () = sleep(REFRESH) => {}
            }
            sleep(SETTLE).await;
            object.mark_unchanged();
            changes.seen();
            self.refresh().await;
        }
    }

    fn give_orders(&self) {
        let pod = self.object.borrow().clone();
        match pod {
            None => self.order(0),
            Some(pod) if pod.metadata.deletion_timestamp.is_some() => self.order(self.grace()),
            Some(_) => {}
        }
    }

    /// Tells all containers to end within so many seconds, if that is sooner than they were told before.
    fn order(&self, seconds: i64) {
        let by = in_seconds(seconds);
        let sooner = |order: &mut Option<StopOrder>| {
            let sooner = order.is_none_or(|before| by < before.by);
            if sooner {
                *order = Some(StopOrder { by });
            }
            sooner
        };
        self.main.send_if_modified(sooner);
        // Sidecars go after the others; but when the time is cut short, theirs is too.
        self.side.send_if_modified(|order| order.is_some() && sooner(order));
    }

    async fn refresh(&self) {
        if !self.state.borrow().can_start {
            return;
        }
        let (pod, address) = (self.pod(), self.state.borrow().address);
        Volumes {
            shared: &self.shared,
            pod: &pod,
            folder: &self.folder,
            address,
        }
        .refresh()
        .await;
    }

    /// What is left of `activeDeadlineSeconds`.
    fn time_left(&self) -> Option<Duration> {
        let seconds = self.pod().spec.as_ref()?.active_deadline_seconds?;
        if self.state.borrow().failed.is_some() {
            return None;
        }
        let ran = pgop_sandbox_tasks::now().duration_since(self.state.borrow().since);
        let left = jiff::SignedDuration::from_secs(seconds).saturating_sub(ran);
        Some(left.try_into().unwrap_or(Duration::ZERO))
    }

    fn fail_late(&self) {
        let message = "Pod was active on the node longer than the specified deadline";
        self.shared
            .events
            .normal(&self.pod(), None, "DeadlineExceeded", message);
        self.update(|state| state.failed = Some(("DeadlineExceeded", message.to_owned())));
        self.order(self.grace());
    }
}

/// Changes of the objects that volumes are made of.
struct Changes {
    maps: watch::Receiver<u64>,
    secrets: watch::Receiver<u64>,
}

impl Changes {
    fn of(shared: &Shared) -> Self {
        let mut changes = Self {
            maps: shared.cluster.config_maps.changes(),
            secrets: shared.cluster.secrets.changes(),
        };
        changes.seen();
        changes
    }

    fn seen(&mut self) {
        self.maps.mark_unchanged();
        self.secrets.mark_unchanged();
    }

    async fn next(&mut self) {
        let ended = tokio::select! {
            changed = self.maps.changed() => changed.is_err(),
            changed = self.secrets.changed() => changed.is_err(),
        };
        if ended {
            std::future::pending::<()>().await; // the node stops
        }
    }
}
