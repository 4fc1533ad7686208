//! Pauses and deadlines that hold for any number of tries and any number of seconds.

use std::time::Duration;

use tokio::time::Instant;

/// Further in the future nothing is looked at: timers of tokio have their limits, and a process of the sandbox does not get that old.
const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Pauses of which each is twice the one before, up to the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubling {
    /// After the first failure.
    pub first: Duration,
    /// No pause is longer.
    pub longest: Duration,
}

impl Doubling {
    /// The pause after one more failure, where there were so many before.
    #[must_use]
    pub fn after(self, failures: u64) -> Duration {
        let factor = u32::try_from(failures)
            .ok()
            .and_then(|failures| 2_u32.checked_pow(failures));
        factor
            .and_then(|factor| self.first.checked_mul(factor))
            .map_or(self.longest, |pause| pause.min(self.longest))
    }
}

/// The time in so many seconds: now for a number below zero, in a year for one that is too large.
#[must_use]
pub fn in_seconds(seconds: i64) -> Instant {
    let span = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    Instant::now() + span.min(FAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_for_a_million_failures() {
        let pauses = Doubling {
            first: Duration::from_millis(100),
            longest: Duration::from_secs(60),
        };
        let begin: Vec<_> = (0..4).map(|n| pauses.after(n).as_millis()).collect();
        assert_eq!(begin, [100, 200, 400, 800]);
        let mut before = Duration::ZERO;
        for failures in 0..1_000_000 {
            let pause = pauses.after(failures);
            assert!(pause >= before && pause <= pauses.longest, "{pause:?} after {failures}");
            before = pause;
        }
        assert_eq!((before, pauses.after(u64::MAX)), (pauses.longest, pauses.longest));
    }

    #[test]
    fn no_number_overflows() {
        let pauses = Doubling {
            first: Duration::MAX,
            longest: Duration::MAX,
        };
        assert_eq!(pauses.after(1), Duration::MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn deadlines_hold_for_any_number_of_seconds() {
        let now = Instant::now();
        assert_eq!(in_seconds(30), now + Duration::from_secs(30));
        assert_eq!(in_seconds(-1), now);
        assert_eq!(in_seconds(i64::MAX), now + FAR);
        tokio::time::sleep_until(in_seconds(i64::MAX)).await;
    }
}
