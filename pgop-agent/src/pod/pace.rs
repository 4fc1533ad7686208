//! When the API server is asked next. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::condition::Change;

/// Words that change all the time are told no more often.
const WORDS: Duration = Duration::from_secs(5);
/// How long the first failure waits; each one after it twice as long.
const FIRST: Duration = Duration::from_secs(1);
/// How long any failure waits at most.
const LONGEST: Duration = Duration::from_secs(60);

/// What came of the last time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Pace {
    /// There was none.
    #[default]
    New,
    /// It was acknowledged then.
    Written(Instant),
    /// It was not.
    Failed {
        /// Then.
        at: Instant,
        /// And is not tried again for so long.
        wait: Duration,
    },
}

impl Pace {
    pub(super) fn written(at: Instant) -> Self {
        Self::Written(at)
    }

    pub(super) fn failed(self, at: Instant) -> Self {
        let wait = match self {
            Self::Failed { wait, .. } => (wait * 2).min(LONGEST),
            Self::New | Self::Written(_) => FIRST,
        };
        Self::Failed { at, wait }
    }

    /// Somebody has to do something about it.
    pub(super) fn refused(at: Instant) -> Self {
        Self::Failed { at, wait: LONGEST }
    }

    /// When a change is due.
    pub(super) fn due(self, change: Change, now: Instant) -> Instant {
        match self {
            Self::Written(at) if change == Change::Words => at + WORDS,
            Self::Failed { at, wait } => at + wait,
            Self::New | Self::Written(_) => now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn failures_wait_longer_and_longer_up_to_a_minute() {
        let now = Instant::now();
        let mut pace = Pace::written(now);
        let mut waits = Vec::new();
        for _ in 0..8 {
            pace = pace.failed(now);
            waits.push((pace.due(Change::Status, now) - now).as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(Pace::refused(now).due(Change::Status, now) - now, LONGEST);
        assert_eq!(Pace::written(now).failed(now).due(Change::Words, now) - now, FIRST);
    }

    #[tokio::test(start_paused = true)]
    async fn words_wait_and_a_status_does_not() {
        let written = Instant::now();
        let now = written + Duration::from_secs(2);
        assert_eq!(Pace::written(written).due(Change::Status, now), now);
        assert_eq!(
            Pace::written(written).due(Change::Words, now),
            written + Duration::from_secs(5)
        );
        assert_eq!(Pace::New.due(Change::Words, now), now);
    }
}
