//! What a probe's results add up to. Pure:
//! <https://kubernetes.io/docs/tasks/configure-pod-container/configure-liveness-readiness-startup-probes/>.

use std::time::Duration;

use k8s_openapi::api::core::v1::Probe;

/// The three questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Has it come up? Until then the others are not asked.
    Startup,
    /// May it get connections?
    Readiness,
    /// Must it be started again?
    Liveness,
}

impl Kind {
    /// As events name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
        }
    }
}

/// The numbers of a probe, with the API's defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub(crate) delay: Duration,
    pub(crate) period: Duration,
    pub(crate) timeout: Duration,
    pub(crate) failures: u32,
    pub(crate) successes: u32,
}

impl From<&Probe> for Numbers {
    fn from(probe: &Probe) -> Self {
        let positive = |value: Option<i32>, or: u32| {
            value
                .and_then(|v| u32::try_from(v).ok())
                .filter(|v| *v > 0)
                .unwrap_or(or)
        };
        let seconds = |value: u32| Duration::from_secs(value.into());
        Self {
            delay: seconds(
                probe
                    .initial_delay_seconds
                    .and_then(|v| u32::try_from(v).ok())
                    .unwrap_or(0),
            ),
            period: seconds(positive(probe.period_seconds, 10)),
            timeout: seconds(positive(probe.timeout_seconds, 1)),
            failures: positive(probe.failure_threshold, 3),
            successes: positive(probe.success_threshold, 1),
        }
    }
}

/// Counts results and says when they mean something.
#[derive(Debug)]
pub(crate) struct Prober {
    numbers: Numbers,
    last: Option<bool>,
    run: u32,
}

impl Prober {
    /// Nothing is known yet.
    pub(crate) fn new(numbers: Numbers) -> Self {
        Self {
            numbers,
            last: None,
            run: 0,
        }
    }

    /// Takes a result. The verdict, where enough results in a row have the same one.
    pub(crate) fn record(&mut self, success: bool) -> Option<bool> {
        self.run = if self.last == Some(success) {
            self.run.saturating_add(1)
        } else {
            1
        };
        self.last = Some(success);
        let needed = if success {
            self.numbers.successes
        } else {
            self.numbers.failures
        };
        (self.run >= needed).then_some(success)
    }
}

#[cfg(test)]
mod tests {
    use super::{Numbers, Prober};
    use k8s_openapi::api::core::v1::Probe;
    use serde_json::{from_value, json};
    use std::time::Duration;

    fn prober(spec: serde_json::Value) -> Prober {
        Prober::new(Numbers::from(&from_value::<Probe>(spec).unwrap()))
    }

    #[test]
    fn the_apis_defaults_hold() {
        let numbers = Numbers::from(&Probe::default());
        assert_eq!(
            (numbers.period, numbers.timeout),
            (Duration::from_secs(10), Duration::from_secs(1))
        );
        assert_eq!(
            (numbers.failures, numbers.successes, numbers.delay),
            (3, 1, Duration::ZERO)
        );
    }

    #[test]
    fn readiness_goes_after_its_failures_in_a_row_and_comes_with_one_success() {
        let mut prober = prober(json!({"failureThreshold": 2}));
        assert_eq!(prober.record(true), Some(true));
        assert_eq!(prober.record(false), None);
        assert_eq!(prober.record(true), Some(true));
        assert_eq!(prober.record(false), None);
        assert_eq!(prober.record(false), Some(false));
    }

    #[test]
    fn readiness_may_need_several_successes() {
        let mut prober = prober(json!({"successThreshold": 3}));
        assert_eq!([true, true, true].map(|ok| prober.record(ok)), [None, None, Some(true)]);
    }

    #[test]
    fn a_single_failure_says_nothing_yet() {
        let mut prober = prober(json!({"failureThreshold": 3}));
        assert_eq!(
            [false, false, false].map(|ok| prober.record(ok)),
            [None, None, Some(false)]
        );
    }
}
