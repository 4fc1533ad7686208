//! The probes of a container that runs: they are asked in their rhythm, and what they say has its effect.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container as Spec, Probe};
use pgop_sandbox_tasks::Doubling;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep};

use super::action::{Action, Subject};
use super::run::Live;
use crate::pod::probe::{Kind, Numbers, Prober};
use crate::pod::worker::PodRun;

/// A container that has just started is asked again between, after pauses that grow. Those as long as a day lie in no probe's period.
const PAUSES: Doubling = Doubling {
    first: Duration::from_millis(100),
    longest: Duration::from_secs(24 * 60 * 60),
};

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
                    pod.update_if(|state| {
                        let container = state.container(name);
                        container.is_some_and(|container| std::mem::replace(&mut container.ready, ready) != ready)
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
    async fn ask(&self, mut go_on: impl FnMut(bool) -> bool) -> bool {
        let mut rhythm = Rhythm::new(self.kind, &self.numbers);
        loop {
            let counts = rhythm.next().await;
            let result = self.once().await;
            if let (Err(said), true) = (&result, counts) {
                let message = format!("{} probe failed: {said}", self.kind.name());
                let events = &self.pod.shared.events;
                events.warning(&self.pod.pod(), Some(&self.spec.name), "Unhealthy", message);
            }
            if let Some(verdict) = rhythm.record(result.is_ok(), counts)
                && !go_on(verdict)
            {
                return verdict;
            }
        }
    }

    async fn once(&self) -> Result<(), String> {
        let Some(network) = self.pod.network() else {
            return Err("pod has no network".to_owned());
        };
        let subject = Subject {
            pod: &network,
            spec: self.spec,
            live: self.live,
        };
        let runtime = &self.pod.shared.runtime;
        runtime.act(&subject, &self.action, self.numbers.timeout).await
    }
}

/// When a probe is asked.
///
/// Until the first success it is asked between as well, so that nobody waits for the rest of a period; such failures do not count.
struct Rhythm {
    ticks: Interval,
    prober: Prober,
    /// How often it was asked; none once it has succeeded.
    between: Option<u64>,
    begun: bool,
}

impl Rhythm {
    fn new(kind: Kind, numbers: &Numbers) -> Self {
        let mut ticks = interval_at(Instant::now() + numbers.delay, numbers.period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            ticks,
            prober: Prober::new(numbers.clone()),
            between: (kind != Kind::Liveness).then_some(0),
            begun: false,
        }
    }

    /// Waits until it is to be asked. Whether a failure counts then.
    async fn next(&mut self) -> bool {
        let pause = self.between.filter(|_| self.begun).map(|asked| PAUSES.after(asked));
        if let Some(asked) = self.between.as_mut().filter(|_| self.begun) {
            *asked = asked.saturating_add(1);
        }
        self.begun = true;
        tokio::select! {
            biased;
            _ = self.ticks.tick() => true,
            () = sleep(pause.unwrap_or_default()), if pause.is_some() => false,
        }
    }

    /// Takes the answer. The verdict, where enough in a row say the same.
    fn record(&mut self, success: bool, counts: bool) -> Option<bool> {
        if success {
            self.between = None;
        }
        (counts || success).then(|| self.prober.record(success)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(spec: serde_json::Value) -> Numbers {
        Numbers::from(&serde_json::from_value::<Probe>(spec).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_is_asked_a_million_times() {
        let numbers = numbers(serde_json::json!({"periodSeconds": 5, "failureThreshold": 1}));
        for (kind, works) in [
            (Kind::Readiness, true),
            (Kind::Readiness, false),
            (Kind::Startup, false),
            (Kind::Liveness, true),
        ] {
            let begin = Instant::now();
            let mut rhythm = Rhythm::new(kind, &numbers);
            for _ in 0..1_000_000 {
                let counts = rhythm.next().await;
                rhythm.record(works, counts);
            }
            assert!(
                begin.elapsed() > Duration::from_secs(4_999_000),
                "{:?}",
                begin.elapsed()
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn until_the_first_success_it_is_asked_between_with_growing_pauses() {
        let (begin, mut asked) = (Instant::now(), Vec::new());
        let numbers = numbers(serde_json::json!({"periodSeconds": 10, "failureThreshold": 1}));
        let mut rhythm = Rhythm::new(Kind::Readiness, &numbers);
        for _ in 0..10 {
            let counts = rhythm.next().await;
            let verdict = rhythm.record(begin.elapsed() > Duration::from_secs(4), counts);
            asked.push((begin.elapsed().as_millis(), verdict));
        }
        let (no, yes, nothing) = (Some(false), Some(true), None);
        assert_eq!(
            asked,
            [
                (0, no),
                (100, nothing),
                (300, nothing),
                (700, nothing),
                (1500, nothing),
                (3100, nothing),
                (6300, yes),
                (10_000, yes),
                (20_000, yes),
                (30_000, yes)
            ]
        );
    }
}
