//! Which resource is looked at next. One queue serves all kinds and namespaces, so that what is worked on at one time has one bound.
//!
//! kube's `applier` has a queue for each kind, and there an event takes the place of a later retry: what keeps failing and keeps being
//! touched would be tried without a pause.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::backoff::{Backoff, Key};
use super::metrics::Metrics;

/// What is touched once is often touched again at once: objects that were just sent come back from the watch one after another.
const SETTLE: Duration = Duration::from_millis(100);
/// What comes back at the same time of day is spread over this much more of its pause.
const SPREAD: f64 = 0.1;
/// While more is due than is worked on, somebody's change goes before what only has to be looked at again; but one of so many is what waits longest
/// of that. So a new fleet is made first and told of afterwards, in fewer rounds.
const FAIR: u32 = 8;

/// Why a resource is to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cause {
    /// It is new, somebody changed it, or it is gone.
    Changed,
    /// Something that belongs to it changed.
    Around,
}

/// When a resource is looked at again, if nothing happens before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Action(Option<Duration>);

impl Action {
    /// After that time.
    pub(crate) const fn requeue(after: Duration) -> Self {
        Self(Some(after))
    }

    /// When something happens.
    pub(crate) const fn await_change() -> Self {
        Self(None)
    }
}

/// Resources to look at. A clone is the same queue.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    state: Arc<Mutex<State>>,
    wake: Arc<Notify>,
    backoff: Backoff,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct State {
    due: HashMap<Key, Due>,
    /// The same by time.
    changed: BTreeSet<(Instant, Key)>,
    around: BTreeSet<(Instant, Key)>,
    /// Those that are being looked at, and what happened meanwhile.
    running: HashMap<Key, Option<Due>>,
    taken: u32,
    closed: bool,
}

/// When one is to be looked at, and why.
#[derive(Clone, Copy, Debug)]
struct Due {
    at: Instant,
    cause: Cause,
}

impl Due {
    /// The earlier of two times counts, and the weightier of two causes.
    fn or(self, known: Option<Self>) -> Self {
        let known = known.unwrap_or(self);
        Self {
            at: self.at.min(known.at),
            cause: self.cause.min(known.cause),
        }
    }
}

impl State {
    fn order(&mut self, cause: Cause) -> &mut BTreeSet<(Instant, Key)> {
        match cause {
            Cause::Changed => &mut self.changed,
            Cause::Around => &mut self.around,
        }
    }

    /// One that is being looked at waits until that has ended.
    fn add(&mut self, key: Key, due: Due) {
        if let Some(again) = self.running.get_mut(&key) {
            *again = Some(due.or(*again));
            return;
        }
        let known = self.due.get(&key).copied();
        if let Some(known) = known {
            self.order(known.cause).remove(&(known.at, key.clone()));
        }
        let due = due.or(known);
        self.due.insert(key.clone(), due);
        self.order(due.cause).insert((due.at, key));
    }

    /// The next that is due, or when one will be.
    fn next(&mut self, now: Instant) -> Result<Key, Option<Instant>> {
        let first = |order: &BTreeSet<(Instant, Key)>| order.first().map(|(at, _)| *at);
        let (changed, around) = (first(&self.changed), first(&self.around));
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let cause = match (is_due(changed), is_due(around)) {
            (false, false) => return Err(changed.into_iter().chain(around).min()),
            (true, true) if self.taken.is_multiple_of(FAIR) => Cause::Around,
            (true, _) => Cause::Changed,
            (false, true) => Cause::Around,
        };
        let (_, key) = self.order(cause).pop_first().ok_or(None)?;
        self.taken = self.taken.wrapping_add(1);
        self.due.remove(&key);
        self.running.insert(key.clone(), None);
        Ok(key)
    }
}

impl Queue {
    pub(crate) fn new(backoff: Backoff, metrics: Arc<Metrics>) -> Self {
        Self {
            state: Arc::default(),
            wake: Arc::default(),
            backoff,
            metrics,
        }
    }

    /// Something happened. Who changed a resource is answered at once; the rest does not shorten the pause of one that keeps failing
    /// beyond what [`Backoff::not_before`] allows.
    pub(crate) fn touch(&self, key: Key, cause: Cause) {
        let now = Instant::now();
        let at = match cause {
            Cause::Changed => now,
            Cause::Around => self.backoff.not_before(&key).unwrap_or(now).max(now + SETTLE),
        };
        self.metrics.queued(key.clone());
        self.state().add(key, Due { at, cause });
        self.wake.notify_one();
    }

    /// Waits for the next that is due; nothing comes once the queue is closed.
    pub(crate) async fn take(&self) -> Option<Key> {
        loop {
            let found = {
                let mut state = self.state();
                if state.closed {
                    self.wake.notify_one();
                    return None;
                }
                state.next(Instant::now())
            };
            match found {
                Ok(key) => {
                    // Others may be due too, and one wake is for one worker.
                    self.wake.notify_one();
                    return Some(key);
                }
                Err(None) => self.wake.notified().await,
                Err(Some(at)) => tokio::select! {
                    () = sleep_until(at) => {}
                    () = self.wake.notified() => {}
                },
            }
        }
    }

    /// It was looked at.
    pub(crate) fn done(&self, key: Key, action: Action) {
        let now = Instant::now();
        let mut state = self.state();
        let again = state.running.remove(&key).flatten();
        let later = action
            .0
            .map(|pause| now + pause.mul_f64(rand::random_range(1.0..=1.0 + SPREAD)));
        // What happened around it while it failed did not know of that yet.
        let again = again.map(|again| match self.backoff.not_before(&key) {
            Some(not_before) if again.cause == Cause::Around => Due {
                at: again.at.max(not_before),
                ..again
            },
            _ => again,
        });
        let later = later.map(|at| Due {
            at,
            cause: Cause::Around,
        });
        if let Some(due) = again.into_iter().chain(later).reduce(|one, other| one.or(Some(other))) {
            state.add(key, due);
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Nothing is taken any more.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.wake.notify_waiters();
        self.wake.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::owner::ResourceKind;

    fn key(name: &str) -> Key {
        (ResourceKind::PgCluster, "a".to_owned(), name.to_owned())
    }

    fn queue() -> Queue {
        Queue::new(Backoff::default(), Arc::default())
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_answered_at_once_and_what_is_around_settles_first() {
        let (queue, started) = (queue(), Instant::now());
        queue.touch(key("around"), Cause::Around);
        queue.touch(key("changed"), Cause::Changed);
        assert_eq!(queue.take().await, Some(key("changed")));
        assert_eq!(started.elapsed(), Duration::ZERO);
        sleep(SETTLE / 2).await;
        queue.touch(key("around"), Cause::Around);
        assert_eq!(queue.take().await, Some(key("around")));
        assert!(
            started.elapsed() <= SETTLE + Duration::from_millis(2),
            "later touches must not put it off: {:?}",
            started.elapsed()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn one_resource_is_never_looked_at_twice_at_a_time() {
        let queue = queue();
        queue.touch(key("a"), Cause::Changed);
        let taken = queue.take().await.unwrap();
        queue.touch(key("a"), Cause::Changed);
        queue.touch(key("a"), Cause::Around);
        assert!(timeout(Duration::from_secs(3600), queue.take()).await.is_err());
        queue.done(taken, Action::await_change());
        assert_eq!(queue.take().await, Some(key("a")));
        queue.done(key("a"), Action::await_change());
        assert!(timeout(Duration::from_secs(3600), queue.take()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_fleet_goes_first_and_nobody_waits_for_ever() {
        let queue = queue();
        for number in 0..100 {
            queue.touch(key(&format!("old{number}")), Cause::Around);
        }
        sleep(SETTLE * 2).await;
        for number in 0..100 {
            queue.touch(key(&format!("new{number}")), Cause::Changed);
        }
        // What changes while it waits is somebody's change, not a second entry.
        queue.touch(key("old99"), Cause::Changed);
        let mut order = Vec::new();
        for _ in 0..200 {
            let taken = queue.take().await.unwrap();
            order.push(taken.2.clone());
            queue.done(taken, Action::await_change());
        }
        let new_first = order[..FAIR as usize * 10]
            .iter()
            .filter(|name| name.starts_with("new") || *name == "old99")
            .count();
        assert_eq!(new_first, (FAIR as usize - 1) * 10, "{order:?}");
        assert_eq!(order[0], "old0", "what waits longest");
        order.sort_unstable();
        order.dedup();
        assert_eq!(order.len(), 200);
    }

    #[tokio::test(start_paused = true)]
    async fn a_back_off_is_not_voided_by_what_happens_around() {
        let (backoff, metrics) = (Backoff::default(), Arc::default());
        let queue = Queue::new(backoff.clone(), metrics);
        queue.touch(key("a"), Cause::Changed);
        let (started, mut tries) = (Instant::now(), 0);
        while started.elapsed() < Duration::from_secs(600) {
            let taken = queue.take().await.unwrap();
            tries += 1;
            // The pods of one that fails come and go, also while it is looked at.
            queue.touch(key("a"), Cause::Around);
            let delay = backoff.failed(&taken);
            queue.done(taken, Action::requeue(delay));
            for _ in 0..10 {
                queue.touch(key("a"), Cause::Around);
            }
        }
        assert!((30..=60).contains(&tries), "{tries} tries in ten minutes");
        // Who mends the spec does not wait.
        let mended = Instant::now();
        queue.touch(key("a"), Cause::Changed);
        assert_eq!(queue.take().await, Some(key("a")));
        assert_eq!(mended.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_are_shared_by_eight_workers_and_each_is_looked_at_once() {
        let queue = queue();
        for number in 0..1000 {
            queue.touch(key(&number.to_string()), Cause::Changed);
        }
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let queue = queue.clone();
            workers.spawn(async move {
                let mut looked = 0;
                while let Some(key) = queue.take().await {
                    sleep(Duration::from_millis(10)).await;
                    queue.done(key, Action::requeue(Duration::from_secs(3600)));
                    looked += 1;
                }
                looked
            });
        }
        sleep(Duration::from_secs(60)).await;
        queue.close();
        let looked: Vec<usize> = workers.join_all().await;
        assert_eq!(looked.iter().sum::<usize>(), 1000);
        assert!(looked.iter().all(|count| *count > 100), "{looked:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_week_of_resyncs_stays_spread_and_loses_nobody() {
        let queue = queue();
        for number in 0..10 {
            queue.touch(key(&number.to_string()), Cause::Changed);
        }
        let (started, mut looks) = (Instant::now(), 0_u32);
        while started.elapsed() < Duration::from_secs(7 * 24 * 3600) {
            let taken = queue.take().await.unwrap();
            looks += 1;
            queue.done(taken, Action::requeue(Duration::from_secs(600)));
        }
        let most = 10 * 7 * 24 * 6;
        assert!(
            looks <= most + 10 && f64::from(looks) >= f64::from(most) / (1.0 + SPREAD),
            "{looks}"
        );
    }
}
