//! The life of one container: started, watched over, started again as the policy says, ended in order.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Container as Spec;
use nix::libc;
use pgop_sandbox_tasks::in_seconds;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::action::{Action, Subject};
use super::files::Files;
use super::plan::{Plan, plan};
use super::probes::{self, Unhealthy};
use super::run::Live;
use super::runtime::Running;
use super::start::{Place, StartError};
use crate::logs::Feed;
use crate::pod::backoff::{Backoff, in_words};
use crate::pod::probe::Kind;
use crate::pod::report;
use crate::pod::state::{Ended, Policy, State};
use crate::pod::worker::PodRun;

/// A container that can't be made yet is tried again when something changed, or after that long.
const RETRY: Duration = Duration::from_secs(5);
/// A postStart hook has no limit of its own; but nothing may hang for ever.
const HOOK: Duration = Duration::from_secs(3600);
/// A hook that runs when the time is over still lets the program see its signal.
const AFTER_HOOK: Duration = Duration::from_secs(2);

/// The container is to end, at the latest then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StopOrder {
    pub(crate) by: Instant,
}

/// One container.
pub(crate) struct Life {
    pub(crate) pod: Arc<PodRun>,
    pub(crate) spec: Spec,
    pub(crate) policy: Policy,
    /// It runs once more even if a former run of the node has seen it end well.
    pub(crate) again: bool,
    /// Filled when it is to end.
    pub(crate) stop: watch::Receiver<Option<StopOrder>>,
    /// Counted by the pod as long as it lives.
    pub(crate) _busy: TaskTrackerToken,
}

/// Why a run is over.
enum Why {
    Ended(i32),
    Ordered,
    Unhealthy(Unhealthy),
    Hook(&'static str),
}

/// How a run went.
struct Outcome {
    ended: Ended,
    ran: Duration,
}

impl Life {
    /// Lives it. Returns when the container has ended and will not run again.
    pub(crate) async fn live(mut self) {
        let mut backoff = Backoff::default();
        if !self.begin() {
            return;
        }
        loop {
            let Some(outcome) = self.run_once().await else { return };
            let code = outcome.ended.code;
            self.set(|container| {
                container.state = State::Terminated(outcome.ended.clone());
                container.ready = false;
                container.started = false;
            });
            if self.stop.borrow().is_some() || !self.policy.restarts(code) {
                return;
            }
            let wait = backoff.after(outcome.ran);
            if !wait.is_zero() && !self.pause(wait, &outcome.ended).await {
                self.set(|container| container.state = State::Terminated(outcome.ended.clone()));
                return;
            }
            self.count_up(outcome.ended);
        }
    }

    /// Takes up what a former run of the node has left. False: there is nothing more to do.
    fn begin(&mut self) -> bool {
        let mut go = true;
        let (policy, again) = (self.policy, self.again);
        let mut former = None;
        self.set(|container| {
            if let Some(ended) = container.ended() {
                go = again || policy.restarts(ended.code);
                former = Some(ended.clone());
            } else if container.last.is_some() {
                container.restarts = container.restarts.saturating_add(1); // it was waiting to be started again
            }
        });
        if let (true, Some(ended)) = (go, former) {
            self.count_up(ended);
        }
        go && self.stop.borrow().is_none()
    }

    fn count_up(&self, ended: Ended) {
        self.set(|container| {
            container.restarts = container.restarts.saturating_add(1);
            container.last = Some(ended);
        });
    }

    fn set(&self, change: impl FnOnce(&mut crate::pod::state::Container)) {
        self.pod.update(|state| {
            if let Some(container) = state.container(&self.spec.name) {
                change(container);
            }
        });
    }

    fn waits(&self, reason: &'static str, message: Option<String>) {
        self.set(|container| container.state = State::Waiting { reason, message });
    }

    fn warn(&self, reason: &'static str, message: String) {
        self.pod
            .shared
            .events
            .warning(&self.pod.pod(), Some(&self.spec.name), reason, message);
    }

    fn tell(&self, reason: &'static str, message: String) {
        self.pod
            .shared
            .events
            .normal(&self.pod.pod(), Some(&self.spec.name), reason, message);
    }

    async fn stopped(&mut self) {
        if self.stop.wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits before the next start. False when it is to end meanwhile.
    async fn pause(&mut self, wait: Duration, ended: &Ended) -> bool {
        let pod = self.pod.pod();
        let meta = &pod.metadata;
        let text = |t: &Option<String>| t.clone().unwrap_or_default();
        let who = format!(
            "restarting failed container={} pod={}_{}({})",
            self.spec.name,
            text(&meta.name),
            text(&meta.namespace),
            text(&meta.uid)
        );
        self.set(|container| container.last = Some(ended.clone()));
        self.waits("CrashLoopBackOff", Some(format!("back-off {} {who}", in_words(wait))));
        self.warn("BackOff", format!("Back-off {who}"));
        tokio::select! {
            () = sleep(wait) => true,
            () = self.stopped() => false,
        }
    }

    /// Waits until it can be planned. None when it is to end meanwhile.
    async fn plan(&mut self) -> Option<Plan> {
        loop {
            let (pod, network) = (self.pod.pod(), self.pod.network()?);
            let mut maps = self.pod.shared.cluster.config_maps.changes();
            let mut secrets = self.pod.shared.cluster.secrets.changes();
            maps.mark_unchanged();
            secrets.mark_unchanged();
            match plan(&self.pod.shared, &pod, &self.spec, &self.pod.volumes(), network.address) {
                Ok(plan) => return Some(plan),
                Err(error) => {
                    self.waits(error.reason(), Some(error.to_string()));
                    self.warn("Failed", format!("Error: {error}"));
                }
            }
            tokio::select! {
                () = sleep(RETRY) => {}
                _ = maps.changed() => {}
                _ = secrets.changed() => {}
                () = self.stopped() => return None,
            }
        }
    }

    /// One run, from the plan to the end. None when it was to end before it began.
    async fn run_once(&mut self) -> Option<Outcome> {
        let plan = self.plan().await?;
        if self.stop.borrow().is_some() {
            return None;
        }
        let image = self.spec.image.clone().unwrap_or_default();
        self.tell(
            "Pulled",
            format!("Container image \"{image}\" already present on machine"),
        );
        let files = Files::new(&self.pod.folder, &self.spec.name);
        let (began, id) = (
            pgop_sandbox_tasks::now(),
            format!(
                "sandbox://{:032x}{:032x}",
                rand::random::<u128>(),
                rand::random::<u128>()
            ),
        );
        let mut number = 0;
        self.set(|container| {
            container.id = Some(id.clone());
            number = container.restarts;
        });
        let network = self.pod.network()?;
        let pod = self.pod.pod();
        let place = Place {
            shared: &self.pod.shared,
            pod: &pod,
            network: &network,
            files: &files,
            image: &image,
            run: number,
            busy: self.pod.busy(),
            broken: self.pod.broken(),
        };
        self.tell("Created", format!("Created container: {}", self.spec.name));
        let mut run = match self.start(&place, plan).await {
            Ok(run) => run,
            Err(error) => return Some(self.not_started(&error, id)),
        };
        self.tell("Started", format!("Started container {}", self.spec.name));
        let (since, start) = (pgop_sandbox_tasks::now(), Instant::now());
        let at_once = self.spec.startup_probe.is_none() && !self.has_hook();
        self.pod.set_live(&self.spec.name, Some(run.live().clone()));
        self.set(|container| {
            container.state = State::Running { since };
            container.started = at_once;
            container.ready = at_once && self.spec.readiness_probe.is_none();
        });
        let live = run.live().clone();
        let code = self.watch_over(&mut *run, &live).await;
        self.pod.set_live(&self.spec.name, None);
        let message = report::message(&self.spec, &files.note(), live.feed.path(), code);
        let reason = if code == 0 { "Completed" } else { "Error" };
        let finished = pgop_sandbox_tasks::now();
        let ended = Ended {
            code,
            reason: reason.to_owned(),
            message,
            started: Some(since.max(began)),
            finished,
            id: Some(id),
        };
        Some(Outcome {
            ended,
            ran: start.elapsed(),
        })
    }

    /// Starts it. Its log can be followed from here on, before its program runs.
    async fn start(&self, place: &Place<'_>, plan: Plan) -> Result<Box<dyn Running>, StartError> {
        let feed = Feed::create(place.files.log(place.run)).map_err(StartError::Files)?;
        self.pod.set_feed(&self.spec.name, feed.clone());
        let started = self.pod.shared.runtime.start(place, plan, feed.clone()).await;
        if started.is_err() {
            feed.end();
        }
        started
    }

    fn has_hook(&self) -> bool {
        self.spec.lifecycle.as_ref().is_some_and(|l| l.post_start.is_some())
    }

    fn not_started(&self, error: &StartError, id: String) -> Outcome {
        self.warn("Failed", format!("Error: {error}"));
        let ended = Ended {
            code: 128,
            reason: "StartError".to_owned(),
            message: Some(error.to_string()),
            started: None,
            finished: pgop_sandbox_tasks::now(),
            id: Some(id),
        };
        Outcome {
            ended,
            ran: Duration::ZERO,
        }
    }

    /// Runs the hook and the probes beside the container until it ends, by itself or by us. Its exit code.
    async fn watch_over(&mut self, run: &mut dyn Running, live: &Live) -> i32 {
        let (sender, mut unhealthy) = mpsc::channel(1);
        let (pod, spec) = (self.pod.clone(), self.spec.clone());
        let beside = async {
            if let Some(hook) = spec.lifecycle.as_ref().and_then(|l| l.post_start.as_ref())
                && let Err(said) = act(&pod, &spec, live, &Action::of_hook(hook), HOOK).await
            {
                pod.shared.events.warning(
                    &pod.pod(),
                    Some(&spec.name),
                    "FailedPostStartHook",
                    format!("PostStartHook failed: {said}"),
                );
                return Err("FailedPostStartHook");
            }
            probes::run(pod.clone(), &spec, live, sender).await;
            std::future::pending::<Result<(), &'static str>>().await
        };
        let mut stop = self.stop.clone();
        let ordered = async {
            if stop.wait_for(Option::is_some).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let why = tokio::select! {
            biased;
            code = run.wait() => Why::Ended(code),
            () = ordered => Why::Ordered,
            Some(found) = unhealthy.recv() => Why::Unhealthy(found),
            hook = beside => Why::Hook(hook.err().unwrap_or_default()),
        };
        let name = self.spec.name.clone();
        match why {
            Why::Ended(code) => code,
            Why::Ordered => {
                self.tell("Killing", format!("Stopping container {name}"));
                self.end(run, live, None).await
            }
            Why::Unhealthy(Unhealthy { kind, grace }) => {
                let kind = if kind == Kind::Startup { "startup" } else { "liveness" };
                self.tell(
                    "Killing",
                    format!("Container {name} failed {kind} probe, will be restarted"),
                );
                let seconds = grace.unwrap_or_else(|| self.pod.grace());
                self.end(run, live, Some(in_seconds(seconds))).await
            }
            Why::Hook(reason) => {
                self.tell("Killing", reason.to_owned());
                self.end(run, live, Some(in_seconds(self.pod.grace()))).await
            }
        }
    }

    /// Ends it: hook, TERM, and KILL when the time is over. Without a time of its own, the order's counts; it may become shorter.
    async fn end(&mut self, run: &mut dyn Running, live: &Live, own: Option<Instant>) -> i32 {
        self.set(|container| container.ready = false);
        let mut over = Deadline {
            own,
            order: self.stop.clone(),
            at_least: None,
        };
        let left = over.at().saturating_duration_since(Instant::now());
        let hook = self.spec.lifecycle.as_ref().and_then(|l| l.pre_stop.as_ref());
        if let Some(hook) = hook.filter(|_| !left.is_zero()) {
            let action = Action::of_hook(hook);
            let hook = act(&self.pod, &self.spec, live, &action, left);
            let said = tokio::select! {
                done = hook => done.err().map(|said| format!("PreStopHook failed: {said}")),
                () = over.passed() => Some("PreStopHook did not end in time".to_owned()),
            };
            if let Some(said) = said {
                self.warn("FailedPreStopHook", said);
                over.at_least = Some(Instant::now() + AFTER_HOOK);
            }
        }
        run.signal(libc::SIGTERM);
        tokio::select! {
            code = run.wait() => return code,
            () = over.passed() => {}
        }
        run.signal(libc::SIGKILL);
        run.wait().await
    }
}

/// When a container must have ended.
struct Deadline {
    own: Option<Instant>,
    order: watch::Receiver<Option<StopOrder>>,
    /// Not before, whatever is ordered.
    at_least: Option<Instant>,
}

impl Deadline {
    fn at(&mut self) -> Instant {
        let ordered = self.order.borrow_and_update().map(|order| order.by);
        let first = [self.own, ordered].into_iter().flatten().min();
        let at = first.unwrap_or_else(Instant::now);
        self.at_least.map_or(at, |least| at.max(least))
    }

    /// Waits for it; it may come sooner meanwhile.
    async fn passed(&mut self) {
        loop {
            let at = self.at();
            tokio::select! {
                () = sleep_until(at) => return,
                changed = self.order.changed() => if changed.is_err() { return },
            }
        }
    }
}

async fn act(pod: &PodRun, spec: &Spec, live: &Live, action: &Action, patience: Duration) -> Result<(), String> {
    let Some(network) = pod.network() else {
        return Err("pod has no network".to_owned());
    };
    let subject = Subject {
        pod: &network,
        spec,
        live,
    };
    pod.shared.runtime.act(&subject, action, patience).await
}
