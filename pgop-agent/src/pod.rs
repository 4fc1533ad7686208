//! Tells through the agent's own pod: its conditions are what the supervisor says.
//!
//! ```text
//! supervisor ──Condition──► tell ──PodCondition──► API server ──watch──► operator, people
//! ```
//!
//! A write is made only where something differs from what was last acknowledged. Nothing here keeps the agent from its work: what fails is tried
//! again, and whoever ends the task ends it between two requests or in one.

mod account;
mod client;
mod condition;
mod pace;
#[cfg(test)]
mod tests;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

pub use account::{Account, AccountError};
pub use client::{Client, ClientError};
pub use condition::{PodCondition, Status};

use crate::supervisor::Condition;
use condition::{Change, change, told};
use pace::Pace;

/// Keeps the conditions of the pod equal to `wanted` until its sender is gone. No condition at all means that nothing was looked at yet, and what
/// the container's former life left stays.
///
/// Says so and is done where the pod has no account to tell with.
pub async fn run(variable: impl Fn(&str) -> Option<String>, wanted: watch::Receiver<Vec<Condition>>) {
    match Account::find(variable) {
        Ok(account) => tell(&Client::new(account), wanted, now).await,
        Err(error) => tracing::info!("the pod's conditions are not written: {error}"),
    }
}

/// As Kubernetes writes times: whole seconds.
fn now() -> String {
    let now = jiff::Timestamp::now();
    jiff::Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}

/// What can be asked of the API server, with no more rights than `patch` on `pods/status`.
trait Api {
    /// The conditions of ours that the pod has.
    fn read(&self) -> impl Future<Output = Result<Vec<PodCondition>, ClientError>> + Send;
    /// Makes these, and no other, the conditions of ours.
    fn apply(&self, conditions: &[PodCondition]) -> impl Future<Output = Result<(), ClientError>> + Send;
}

async fn tell(api: &impl Api, mut wanted: watch::Receiver<Vec<Condition>>, clock: impl Fn() -> String) {
    let mut telling = Telling::default();
    loop {
        telling.look(&wanted.borrow_and_update(), &clock());
        let closed = match telling.due() {
            None => wanted.changed().await.is_err(),
            Some(due) if due <= Instant::now() => {
                telling.ask(api).await;
                false
            }
            Some(due) => tokio::select! {
                changed = wanted.changed() => changed.is_err(),
                () = sleep_until(due) => false,
            },
        };
        if closed {
            return;
        }
    }
}

/// What is to be told, and what is known to have been.
#[derive(Default)]
struct Telling {
    current: Vec<PodCondition>,
    /// Nothing before the pod was read.
    acknowledged: Option<Vec<PodCondition>>,
    pace: Pace,
    /// The failure that was logged last.
    said: Option<String>,
}

impl Telling {
    /// A status begins when it is seen, not when it can be told.
    fn look(&mut self, wanted: &[Condition], now: &str) {
        self.current = told(wanted, &self.current, now);
    }

    /// When the API server is to be asked next.
    fn due(&self) -> Option<Instant> {
        let change = match &self.acknowledged {
            _ if self.current.is_empty() => None,
            None => Some(Change::Status),
            Some(acknowledged) => change(acknowledged, &self.current),
        };
        change.map(|change| self.pace.due(change, Instant::now()))
    }

    async fn ask(&mut self, api: &impl Api) {
        let asked = if self.acknowledged.is_none() {
            api.read().await.map(|found| self.found(found))
        } else {
            let sent = self.current.clone();
            api.apply(&sent).await.map(|()| self.written(sent))
        };
        match asked {
            Ok(()) => {
                if self.said.take().is_some() {
                    tracing::info!("the pod's conditions are written again");
                }
            }
            Err(error) => self.failed(&error),
        }
    }

    /// The container's former life may have told the same: since when is its word.
    fn found(&mut self, found: Vec<PodCondition>) {
        for condition in &mut self.current {
            if let Some(same) = found.iter().find(|found| found.is_still(condition)) {
                condition.last_transition_time.clone_from(&same.last_transition_time);
            }
        }
        self.acknowledged = Some(found);
        self.pace = Pace::default();
    }

    fn written(&mut self, sent: Vec<PodCondition>) {
        self.acknowledged = Some(sent);
        self.pace = Pace::written(Instant::now());
    }

    fn failed(&mut self, error: &ClientError) {
        let now = Instant::now();
        self.pace = if error.is_lasting() {
            Pace::refused(now)
        } else {
            self.pace.failed(now)
        };
        let words = error.to_string();
        if self.said.as_ref() != Some(&words) {
            tracing::warn!("the pod's conditions are not written, and it is tried again: {words}");
            self.said = Some(words);
        }
    }
}
