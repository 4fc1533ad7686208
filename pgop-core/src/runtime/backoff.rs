//! Exponential backoff per object: one that keeps failing does not hold up the others.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use crate::owner::ResourceKind;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);

/// Kind, namespace and name of a resource.
pub(crate) type Key = (ResourceKind, String, String);

/// How often each object failed in a row.
#[derive(Debug, Default)]
pub(crate) struct Backoff(Mutex<HashMap<Key, u32>>);

impl Backoff {
    /// It failed: how long to wait, with up to a quarter of jitter so that many do not come back at once.
    pub(crate) fn failed(&self, key: &Key) -> Duration {
        let mut failures = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let count = failures.entry(key.clone()).or_insert(0);
        let delay = FIRST.saturating_mul(1 << (*count).min(16)).min(LONGEST);
        *count = count.saturating_add(1);
        delay.mul_f64(rand::random_range(0.75..=1.0))
    }

    /// It succeeded, or it is gone.
    pub(crate) fn forget(&self, key: &Key) {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .remove(key);
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
}
