//! How long to wait before a container that ended is started again:
//! <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy>.

use std::time::Duration;

use pgop_sandbox_tasks::Doubling;

const WAITS: Doubling = Doubling {
    first: Duration::from_secs(10),
    longest: Duration::from_secs(300),
};
/// A container that ran that long begins anew.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// The waits of one container.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    /// How often it was started again in a row.
    again: u64,
}

impl Backoff {
    /// The wait after a run of that length. The first restart is at once.
    pub(crate) fn after(&mut self, ran: Duration) -> Duration {
        if ran >= FORGOTTEN {
            self.again = 0;
        }
        let wait = self.again.checked_sub(1).map_or(Duration::ZERO, |n| WAITS.after(n));
        self.again = self.again.saturating_add(1);
        wait
    }
}

/// As the kubelet writes a time span: `10s`, `1m20s`, `5m0s`.
pub(crate) fn in_words(span: Duration) -> String {
    let seconds = span.as_secs();
    if seconds < 60 {
        format!("{seconds}s")
    } else {
        format!("{}m{}s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::{Backoff, in_words};
    use std::time::Duration;

    #[test]
    fn waits_double_up_to_five_minutes() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..8)
            .map(|_| backoff.after(Duration::from_secs(1)).as_secs())
            .collect();
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn a_container_may_fail_a_million_times() {
        let mut backoff = Backoff::default();
        for _ in 0..1_000_000 {
            assert!(backoff.after(Duration::from_secs(1)) <= Duration::from_secs(300));
        }
        assert_eq!(backoff.after(Duration::ZERO), Duration::from_secs(300));
    }

    #[test]
    fn a_long_run_begins_anew() {
        let mut backoff = Backoff::default();
        for _ in 0..4 {
            backoff.after(Duration::from_secs(1));
        }
        assert_eq!(backoff.after(Duration::from_secs(601)), Duration::ZERO);
        assert_eq!(backoff.after(Duration::from_secs(1)).as_secs(), 10);
    }

    #[test]
    fn spans_are_written_as_go_does() {
        assert_eq!(in_words(Duration::from_secs(10)), "10s");
        assert_eq!(in_words(Duration::from_secs(80)), "1m20s");
        assert_eq!(in_words(Duration::from_secs(300)), "5m0s");
    }
}
