//! What time it is.

use std::cell::Cell;
use std::marker::PhantomData;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

thread_local! {
    /// Since when time is virtual on this thread.
    static VIRTUAL: Cell<Option<(Timestamp, Instant)>> = const { Cell::new(None) };
}

/// The time now: that of the machine. In a test it is that of its runtime, see [`virtual_time`].
#[must_use]
pub fn now() -> Timestamp {
    let Some((begin, since)) = VIRTUAL.get() else {
        return machine();
    };
    let passed = SignedDuration::try_from(since.elapsed()).unwrap_or(SignedDuration::MAX);
    begin.saturating_add(passed).unwrap_or(Timestamp::MAX)
}

/// From here on [`now`] is `begin`, and follows the clock of this thread's runtime, which a test has paused, until the value is dropped.
#[must_use]
pub fn virtual_time(begin: Timestamp) -> VirtualTime {
    VIRTUAL.set(Some((begin, Instant::now())));
    VirtualTime(PhantomData)
}

#[allow(clippy::disallowed_methods)] // here, and only here, the machine is asked
fn machine() -> Timestamp {
    Timestamp::now()
}

/// Time is virtual on this thread as long as it lives.
#[derive(Debug)]
pub struct VirtualTime(PhantomData<*const ()>);

impl Drop for VirtualTime {
    fn drop(&mut self) {
        VIRTUAL.set(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn in_virtual_time_a_week_passes_at_once() {
        let begin: Timestamp = "2026-01-05T10:20:00Z".parse().unwrap();
        let clock = virtual_time(begin);
        assert_eq!(now(), begin);
        tokio::time::sleep(std::time::Duration::from_secs(7 * 24 * 3600)).await;
        assert_eq!(now().duration_since(begin).as_hours(), 7 * 24);
        drop(clock);
        assert!(
            machine().duration_since(now()).as_hours() == 0,
            "it is the machine's time again"
        );
    }
}
