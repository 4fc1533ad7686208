//! A queue of keys for one controller: each key once, never two reconciles of one key at a time, failures with growing pauses.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt,
    future::Future,
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use kube::{Resource, ResourceExt};
use pgop_sandbox_tasks::{Doubling, watched};
use tokio::sync::mpsc;
use tokio_util::{
    sync::CancellationToken,
    time::{DelayQueue, delay_queue},
};
use tracing::{debug, warn};

use crate::verbs::VerbError;

/// How many keys of one controller are worked on at a time.
const CONCURRENCY: usize = 8;
const PAUSES: Doubling = Doubling {
    first: Duration::from_millis(10),
    longest: Duration::from_secs(30),
};
/// A key is looked at again after that long at the latest. A timer has its limits: what is due in years is looked at in between.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Namespace and name of an object; the namespace is empty for cluster-scoped kinds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    pub(crate) fn of<K: Resource>(object: &K) -> Self {
        Self::new(object.namespace().unwrap_or_default(), object.name_any())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// When a key is to be looked at again although nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// When something changes.
    OnChange,
    /// At the latest after this time.
    After(Duration),
}

impl Next {
    /// After the time there is, or on a change only.
    pub(crate) fn after(wait: Option<Duration>) -> Self {
        wait.map_or(Self::OnChange, Self::After)
    }
}

/// Where listeners put keys. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Queue {
    sender: mpsc::UnboundedSender<Key>,
}

/// Where the worker takes keys from.
pub(crate) struct Requests {
    receiver: mpsc::UnboundedReceiver<Key>,
}

pub(crate) fn queue() -> (Queue, Requests) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Queue { sender }, Requests { receiver })
}

impl Queue {
    pub(crate) fn add(&self, key: Key) {
        // The receiver is only gone when the controller has stopped: then nobody wants the key.
        let _ = self.sender.send(key);
    }
}

/// How the work on a key ended.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    Done(Next),
    /// Someone else was first, so the cache was old.
    Raced,
    Failed,
}

impl From<&Result<Next, VerbError>> for Outcome {
    fn from(result: &Result<Next, VerbError>) -> Self {
        match result {
            Ok(next) => Self::Done(*next),
            Err(error) if error.is_race() => Self::Raced,
            Err(_) => Self::Failed,
        }
    }
}

/// Keys that wait, are ready, or are worked on.
#[derive(Default)]
struct Schedule {
    ready: VecDeque<Key>,
    queued: HashSet<Key>,
    later: DelayQueue<Key>,
    timers: HashMap<Key, delay_queue::Key>,
    /// Keys being worked on; true when they were asked for again meanwhile.
    busy: HashMap<Key, bool>,
    failures: HashMap<Key, u64>,
}

impl Schedule {
    fn now(&mut self, key: Key) {
        if let Some(again) = self.busy.get_mut(&key) {
            *again = true;
            return;
        }
        if let Some(timer) = self.timers.remove(&key) {
            self.later.try_remove(&timer);
        }
        if self.queued.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    fn after(&mut self, key: Key, wait: Duration) {
        if !self.queued.contains(&key) && !self.timers.contains_key(&key) {
            let timer = self.later.insert(key.clone(), wait.min(LONGEST_WAIT));
            self.timers.insert(key, timer);
        }
    }

    fn expired(&mut self, key: Key) {
        self.timers.remove(&key);
        self.now(key);
    }

    fn start(&mut self) -> Option<Key> {
        if self.busy.len() >= CONCURRENCY {
            return None;
        }
        let key = self.ready.pop_front()?;
        self.queued.remove(&key);
        self.busy.insert(key.clone(), false);
        Some(key)
    }

    /// Notes the end of the work on a key.
    fn done(&mut self, key: Key, outcome: Outcome) {
        let again = self.busy.remove(&key).unwrap_or(false);
        let next = match outcome {
            Outcome::Done(next) => {
                self.failures.remove(&key);
                next
            }
            Outcome::Raced | Outcome::Failed => Next::After(self.pause(&key)),
        };
        // After a failure a change does not cut the pause short: it would make a failing write a busy loop. After a race the
        // change is the other's write, which is what to plan on.
        if again && !matches!(outcome, Outcome::Failed) {
            self.now(key);
        } else if let Next::After(wait) = next {
            self.after(key, wait);
        }
    }

    fn pause(&mut self, key: &Key) -> Duration {
        let failures = self.failures.entry(key.clone()).or_default();
        let pause = PAUSES.after(*failures);
        *failures = failures.saturating_add(1);
        pause
    }
}

/// Reconciles keys until `stop`. `controller` names it in the log. A reconcile that panics has failed, as one with an error.
pub(crate) async fn work<F, Fut>(controller: &'static str, requests: Requests, stop: &CancellationToken, reconcile: F)
where
    F: Fn(Key) -> Fut,
    Fut: Future<Output = Result<Next, VerbError>>,
{
    let mut receiver = requests.receiver;
    let mut schedule = Schedule::default();
    let mut running = FuturesUnordered::new();
    loop {
        while let Some(key) = schedule.start() {
            let (name, reconcile) = (format!("{controller}, {key}"), &reconcile);
            running.push(async move {
                let result = watched(name, async { reconcile(key.clone()).await }).await;
                (key, result)
            });
        }
        tokio::select! {
            () = stop.cancelled() => return,
            Some(key) = receiver.recv() => schedule.now(key),
            Some(expired) = schedule.later.next(), if !schedule.later.is_empty() => schedule.expired(expired.into_inner()),
            Some((key, result)) = running.next(), if !running.is_empty() => {
                if let Ok(Err(error)) = &result {
                    report(controller, &key, error);
                }
                schedule.done(key, result.as_ref().map_or(Outcome::Failed, Outcome::from));
            }
        }
    }
}

fn report(controller: &str, key: &Key, error: &VerbError) {
    if error.is_race() {
        debug!(controller, %key, %error, "another was first, trying again");
    } else {
        let reason = std::error::Error::source(error)
            .map(ToString::to_string)
            .unwrap_or_default();
        warn!(controller, %key, %error, reason, "trying again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    fn key(name: &str) -> Key {
        Key::new("shop", name)
    }

    #[tokio::test]
    async fn a_key_asked_for_many_times_is_worked_on_once() {
        let mut schedule = Schedule::default();
        schedule.now(key("a"));
        schedule.now(key("b"));
        schedule.now(key("a"));
        assert_eq!(schedule.start(), Some(key("a")));
        assert_eq!(schedule.start(), Some(key("b")));
        assert_eq!(schedule.start(), None);
    }

    #[tokio::test]
    async fn a_key_asked_for_while_worked_on_comes_again_afterwards() {
        let mut schedule = Schedule::default();
        schedule.now(key("a"));
        schedule.start();
        schedule.now(key("a"));
        assert_eq!(schedule.start(), None, "never two at a time");
        schedule.done(key("a"), Outcome::Done(Next::OnChange));
        assert_eq!(schedule.start(), Some(key("a")));
    }

    #[tokio::test]
    async fn pauses_double_and_start_over_after_success() {
        let mut schedule = Schedule::default();
        let pauses: Vec<_> = (0..4).map(|_| schedule.pause(&key("a")).as_millis()).collect();
        assert_eq!(pauses, [10, 20, 40, 80]);
        for _ in 0..40 {
            schedule.pause(&key("a"));
        }
        assert_eq!(schedule.pause(&key("a")), PAUSES.longest);
        schedule.done(key("a"), Outcome::Done(Next::OnChange));
        assert_eq!(schedule.pause(&key("a")), PAUSES.first);
    }

    #[tokio::test]
    async fn a_key_may_fail_a_million_times() {
        let mut schedule = Schedule::default();
        for _ in 0..1_000_000 {
            assert!(schedule.pause(&key("a")) <= PAUSES.longest);
        }
        assert_eq!(schedule.pause(&key("a")), PAUSES.longest);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_due_in_years_is_looked_at_in_between() {
        let mut schedule = Schedule::default();
        schedule.after(key("leap-day"), Duration::from_secs(4 * 366 * 24 * 60 * 60));
        schedule.after(key("never"), Duration::MAX);
        let begin = tokio::time::Instant::now();
        for _ in 0..2 {
            let expired = schedule.later.next().await.unwrap();
            schedule.expired(expired.into_inner());
        }
        assert!(begin.elapsed() >= LONGEST_WAIT && begin.elapsed() < 2 * LONGEST_WAIT);
        assert_eq!(schedule.ready.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reconcile_that_panics_is_tried_again_and_others_go_on() {
        let (queue, requests) = queue();
        let stop = CancellationToken::new();
        let runs = Arc::new(Mutex::new((0, 0)));
        let (seen, ended) = (runs.clone(), stop.clone());
        queue.add(key("bad"));
        queue.add(key("good"));
        work("test", requests, &stop, move |key| {
            let mut runs = seen.lock().unwrap();
            let bad = key.name == "bad";
            if bad {
                runs.0 += 1;
            } else {
                runs.1 += 1;
            }
            let last = runs.0 == 3;
            drop(runs);
            assert!(!bad || last, "it does not work out");
            if last {
                ended.cancel();
            }
            std::future::ready(Ok(Next::OnChange))
        })
        .await;
        assert_eq!(*runs.lock().unwrap(), (3, 1));
    }

    #[tokio::test]
    async fn a_failed_key_is_not_retried_at_once_by_its_own_change() {
        let mut schedule = Schedule::default();
        schedule.now(key("a"));
        schedule.start();
        schedule.now(key("a"));
        schedule.done(key("a"), Outcome::Failed);
        assert_eq!(schedule.start(), None);
        assert_eq!(schedule.later.len(), 1);
    }

    #[tokio::test]
    async fn a_change_after_a_lost_race_is_looked_at_at_once() {
        let mut schedule = Schedule::default();
        schedule.now(key("a"));
        schedule.start();
        schedule.now(key("a"));
        schedule.done(key("a"), Outcome::Raced);
        assert_eq!(schedule.start(), Some(key("a")));
    }

    #[tokio::test(start_paused = true)]
    async fn the_worker_comes_back_after_the_time_asked_for_and_ends_on_stop() {
        let (queue, requests) = queue();
        let stop = CancellationToken::new();
        let runs = Arc::new(Mutex::new(0));
        let (seen, ended) = (runs.clone(), stop.clone());
        queue.add(key("a"));
        work("test", requests, &stop, move |_| {
            let (runs, stop) = (seen.clone(), ended.clone());
            async move {
                let mut runs = runs.lock().unwrap();
                *runs += 1;
                if *runs == 3 {
                    stop.cancel();
                }
                Ok(Next::After(Duration::from_secs(5)))
            }
        })
        .await;
        assert_eq!(*runs.lock().unwrap(), 3);
    }
}
