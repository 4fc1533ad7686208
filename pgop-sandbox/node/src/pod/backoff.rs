//! How long to wait before a container that ended is started again:
//! <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy>.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(300);
/// A container that ran that long begins anew.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// The waits of one container.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    last: Option<Duration>,
}

impl Backoff {
    /// The wait after a run of that length. The first restart is at once.
    pub(crate) fn after(&mut self, ran: Duration) -> Duration {
        let Some(last) = self.last.filter(|_| ran < FORGOTTEN) else {
            self.last = Some(Duration::ZERO);
            return Duration::ZERO;
        };
        let next = if last.is_zero() { FIRST } else { (last * 2).min(LONGEST) };
        self.last = Some(next);
        next
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
