//! The probes of a container that runs: they are asked in their rhythm, and what they say has its effect.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container as Spec, Probe};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use super::action::{Action, Subject};
use super::run::Live;
use crate::pod::probe::{Kind, Numbers, Prober};
use crate::pod::worker::PodRun;

/// A container that has just started is asked again after that long, then after twice that, and so on.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The container must be started again: why, and how long it has to end, when the probe says so itself.
#[derive(Debug)]
pub(crate) struct Unhealthy {
    pub(crate) kind: Kind,
    pub(crate) grace: Option<i64>,
}

/// Asks all probes until dropped.
pub(crate) async fn run(pod: Arc<PodRun>, spec: &Spec, live: &Live, unhealthy: mpsc::Sender<Unhealthy>) {
    let name = &spec.name;
    if let Some(probe) = &spec.startup_probe {
        let asker = Asker::new(&pod, spec, live, Kind::Startup, probe);
        let up = asker.ask(|verdict| !verdict).await;
        if !up {
            let _ = unhealthy
                .send(Unhealthy {
                    kind: Kind::Startup,
                    grace: probe.termination_grace_period_seconds,
                })
                .await;
            return;
        }
    }
    pod.update(|state| {
        if let Some(container) = state.container(name) {
            container.started = true;
            container.ready = spec.readiness_probe.is_none();
        }
    });
    let readiness = async {
        if let Some(probe) = &spec.readiness_probe {
            let asker = Asker::new(&pod, spec, live, Kind::Readiness, probe);
            asker
                .ask(|ready| {
                    pod.update(|state| {
                        if let Some(container) = state.container(name) {
                            container.ready = ready;
                        }
                    });
                    true
                })
                .await;
        }
    };
    let liveness = async {
        if let Some(probe) = &spec.liveness_probe {
            let asker = Asker::new(&pod, spec, live, Kind::Liveness, probe);
            asker.ask(|healthy| healthy).await;
            let _ = unhealthy
                .send(Unhealthy {
                    kind: Kind::Liveness,
                    grace: probe.termination_grace_period_seconds,
                })
                .await;
        }
    };
    tokio::join!(readiness, liveness);
}

struct Asker<'a> {
    pod: &'a PodRun,
    spec: &'a Spec,
    live: &'a Live,
    kind: Kind,
    numbers: Numbers,
    action: Action,
}

impl<'a> Asker<'a> {
    fn new(pod: &'a PodRun, spec: &'a Spec, live: &'a Live, kind: Kind, probe: &Probe) -> Self {
        Self {
            pod,
            spec,
            live,
            kind,
            numbers: Numbers::from(probe),
            action: Action::of_probe(probe),
        }
    }

    /// Asks in its rhythm and tells verdicts, until `go_on` says no to one. That one.
    ///
    /// Until the first success it is asked between as well, so that nobody waits for the rest of a period; such failures do not count.
    async fn ask(&self, mut go_on: impl FnMut(bool) -> bool) -> bool {
        let mut prober = Prober::new(self.numbers.clone());
        let start = Instant::now() + self.numbers.delay;
        let mut ticks = interval_at(start, self.numbers.period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut pause, mut up) = (FIRST_PAUSE, self.kind == Kind::Liveness);
        ticks.tick().await;
        let mut counts = true;
        loop {
            let result = self.once().await;
            up |= result.is_ok();
            if let (Err(said), true) = (&result, counts) {
                let message = format!("{} probe failed: {said}", self.kind.name());
                self.pod
                    .shared
                    .events
                    .warning(&self.pod.pod(), Some(&self.spec.name), "Unhealthy", message);
            }
            if (counts || result.is_ok())
                && let Some(verdict) = prober.record(result.is_ok())
                && !go_on(verdict)
            {
                return verdict;
            }
            counts = tokio::select! {
                biased;
                _ = ticks.tick() => true,
                () = sleep(pause), if !up => false,
            };
            pause *= 2;
        }
    }

    async fn once(&self) -> Result<(), String> {
        let Some(network) = self.pod.network() else {
            return Err("pod has no network".to_owned());
        };
        let subject = Subject {
            network: &self.pod.shared.network,
            pod: &network,
            spec: self.spec,
            live: self.live,
        };
        subject.act(&self.action, self.numbers.timeout).await
    }
}
