//! Exponential backoff per object: one that keeps failing does not hold up the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::owner::ResourceKind;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);

/// Kind, namespace and name of a resource.
pub(crate) type Key = (ResourceKind, String, String);

/// However long the pause is: after this time, something that happens around a resource is worth a try, so that its status stays true.
const SOONEST: Duration = Duration::from_secs(15);

/// How often each object failed in a row. A clone is the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backoff(Arc<Mutex<HashMap<Key, Failing>>>);

#[derive(Debug)]
struct Failing {
    count: u32,
    not_before: Instant,
}

impl Backoff {
    /// It failed: how long to wait, with up to a quarter of jitter so that many do not come back at once.
    pub(crate) fn failed(&self, key: &Key) -> Duration {
        let now = Instant::now();
        let mut failures = self.failures();
        let failing = failures.entry(key.clone()).or_insert(Failing {
            count: 0,
            not_before: now,
        });
        let delay = FIRST.saturating_mul(1 << failing.count.min(16)).min(LONGEST);
        let delay = delay.mul_f64(rand::random_range(0.75..=1.0));
        failing.count = failing.count.saturating_add(1);
        failing.not_before = now + delay.min(SOONEST);
        delay
    }

    /// The earliest next try of one that fails, whatever happens around it.
    pub(crate) fn not_before(&self, key: &Key) -> Option<Instant> {
        self.failures().get(key).map(|failing| failing.not_before)
    }

    /// It succeeded, or it is gone.
    pub(crate) fn forget(&self, key: &Key) {
        self.failures().remove(key);
    }

    fn failures(&self) -> MutexGuard<'_, HashMap<Key, Failing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_a_limit_and_is_forgotten() {
        let backoff = Backoff::default();
        let key = (ResourceKind::PgCluster, "ns".to_owned(), "hippo".to_owned());
        let delays: Vec<Duration> = (0..12).map(|_| backoff.failed(&key)).collect();
        assert!(delays[0] <= FIRST && delays[0] >= FIRST.mul_f64(0.75));
        assert!(delays[3] >= FIRST.mul_f64(6.0));
        assert!(delays.iter().all(|d| *d <= LONGEST));
        backoff.forget(&key);
        assert!(backoff.failed(&key) <= FIRST);
    }

    #[test]
    fn a_million_failures_in_a_row_wait_no_longer_than_the_limit() {
        let backoff = Backoff::default();
        let key = (ResourceKind::PgCluster, "ns".to_owned(), "hippo".to_owned());
        for _ in 0..1_000_000 {
            let delay = backoff.failed(&key);
            assert!(delay <= LONGEST && delay >= FIRST.mul_f64(0.75));
            assert!(backoff.not_before(&key).unwrap() <= Instant::now() + SOONEST);
        }
        backoff.failures().get_mut(&key).unwrap().count = u32::MAX;
        assert!(backoff.failed(&key) >= LONGEST.mul_f64(0.75));
    }
}
