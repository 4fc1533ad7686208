//! Following a resource until it is as it should be.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;
use kube::runtime::{WatchStreamExt, watcher};
use pgop_core::condition::find;
use pgop_core::crd::{PgBackup, ServerStatus};
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::time::Instant;

use crate::cluster::{Cluster, ClusterError};
use crate::exit_code::ExitCode;
use crate::screen::Screen;

/// Why waiting ended without what was waited for.
#[derive(Debug, Error)]
pub enum WaitError {
    /// The resource says so itself.
    #[error("{object}: {message}")]
    Failed {
        /// The resource.
        object: String,
        /// What it says.
        message: String,
    },
    /// Somebody deleted it.
    #[error("{object} was deleted meanwhile")]
    Gone {
        /// The resource.
        object: String,
    },
    /// Time is up.
    #[error("{object} is not {goal} after {} s: {last}; it may still become so, pgo has only stopped waiting", waited.as_secs())]
    TimedOut {
        /// The resource.
        object: String,
        /// What was waited for.
        goal: &'static str,
        /// How long.
        waited: Duration,
        /// How it stood last.
        last: String,
    },
    /// The cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

impl WaitError {
    /// What it means for scripts.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Failed { .. } | Self::Gone { .. } => ExitCode::Failed,
            Self::TimedOut { .. } => ExitCode::TimedOut,
            Self::Cluster(error) => error.exit_code(),
        }
    }
}

/// How a resource stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is as it should be.
    Done,
    /// It will never be.
    Failed(String),
    /// It is on its way.
    NotYet(String),
}

/// Waits until `judge` is satisfied, and says on standard error whatever changes. `None` is a resource that does not exist.
pub async fn until<K>(
    cluster: &Cluster,
    screen: &mut Screen<'_>,
    name: &str,
    goal: &'static str,
    timeout: Duration,
    judge: impl Fn(Option<&K>) -> Verdict,
) -> Result<(), WaitError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let object = format!("{} {name}", K::kind(&()));
    let start = Instant::now();
    let mut last = "nothing is known of it yet".to_owned();
    let mut said = BTreeSet::new();
    let mut stream = watcher::watch_object(cluster.api::<K>(), name)
        .default_backoff()
        .boxed();
    loop {
        let timed_out = || WaitError::TimedOut {
            object: object.clone(),
            goal,
            waited: timeout,
            last: last.clone(),
        };
        let next = tokio::time::timeout_at(start + timeout, stream.next())
            .await
            .map_err(|_| timed_out())?;
        let found = match next {
            None => return Err(timed_out()),
            Some(Ok(found)) => found,
            Some(Err(error)) => {
                if let Some(error) = hopeless(cluster, &object, &error) {
                    return Err(error.into());
                }
                continue; // the watch is made again, after a pause that grows
            }
        };
        match judge(found.as_ref()) {
            Verdict::Done => return Ok(()),
            Verdict::Failed(message) if found.is_none() && message.is_empty() => {
                return Err(WaitError::Gone { object });
            }
            Verdict::Failed(message) => return Err(WaitError::Failed { object, message }),
            Verdict::NotYet(now) => {
                // What goes to and fro between two states is told once each.
                if said.insert(now.clone()) {
                    screen.note_line(format!("{object}: {now} ({} s)", start.elapsed().as_secs()));
                }
                last = now;
            }
        }
    }
}

/// An error that waiting does not mend: no right to watch.
fn hopeless(cluster: &Cluster, object: &str, error: &watcher::Error) -> Option<ClusterError> {
    use watcher::Error::{InitialListFailed, WatchFailed, WatchStartFailed};
    let (InitialListFailed(source) | WatchStartFailed(source) | WatchFailed(source)) = error else {
        return None;
    };
    match cluster.explain(format!("watch {object}"), source) {
        error @ (ClusterError::Forbidden { .. }
        | ClusterError::Credentials { .. }
        | ClusterError::NotInstalled { .. }) => Some(error),
        _ => None,
    }
}

/// Whether a database or cluster serves as its spec says.
pub fn server(generation: Option<i64>, status: Option<&ServerStatus>) -> Verdict {
    let Some(status) = status.filter(|status| status.phase.is_some()) else {
        return Verdict::NotYet(
            "waits for the operator (if nothing happens: `pgo version` tells whether it runs)".to_owned(),
        );
    };
    if status.observed_generation < generation {
        return Verdict::NotYet("waits for the operator to see the change".to_owned());
    }
    let phase = status.phase.as_deref().unwrap_or_default();
    let message = message(&status.conditions, phase);
    match phase {
        "Ready" => Verdict::Done,
        "Invalid" | "Failed" => Verdict::Failed(join(phase, &message)),
        _ => Verdict::NotYet(join(phase, &message)),
    }
}

/// Whether the servers are as the operator makes them, since that was asked for. `asked`: what stands in the annotation.
pub fn upgraded(generation: Option<i64>, asked: Option<&str>, status: Option<&ServerStatus>) -> Verdict {
    let (Verdict::Done, Some(status)) = (server(generation, status), status) else {
        return server(generation, status);
    };
    if status.upgrade.as_deref() != asked {
        return Verdict::NotYet("waits for the operator to see what was asked for".to_owned());
    }
    match older(status).join(", ") {
        none if none.is_empty() => Verdict::Done,
        names => Verdict::NotYet(format!("as another version of pgop made them: {names}")),
    }
}

/// The servers that another version of pgop made.
pub fn older(status: &ServerStatus) -> Vec<&str> {
    let older = status.members.iter().filter(|member| member.older);
    older.map(|member| member.name.as_str()).collect()
}

/// Whether a backup is complete.
pub fn backup(backup: &PgBackup) -> Verdict {
    let Some(status) = backup.status.as_ref().filter(|status| status.phase.is_some()) else {
        return Verdict::NotYet(
            "waits for the operator (if nothing happens: `pgo version` tells whether it runs)".to_owned(),
        );
    };
    let phase = status.phase.as_deref().unwrap_or_default();
    let message = message(&status.conditions, phase);
    match phase {
        "Succeeded" => Verdict::Done,
        "Invalid" | "Failed" => Verdict::Failed(join(phase, &message)),
        _ => Verdict::NotYet(join(phase, &message)),
    }
}

fn join(phase: &str, message: &str) -> String {
    if message.is_empty() {
        phase.to_owned()
    } else {
        format!("{phase}: {message}")
    }
}

/// The message of the condition that explains a phase.
pub fn message(conditions: &[Condition], phase: &str) -> String {
    let order: &[&str] = match phase {
        "Invalid" => &["Accepted"],
        "Restoring" => &["Restored", "Progressing"],
        "Failed" => &["Restored", "Complete", "Degraded", "Ready"],
        "Degraded" => &["Degraded", "Ready"],
        _ => &[
            "Complete",
            "Progressing",
            "Ready",
            "SettingsInForce",
            "RolesInForce",
            "Following",
            "Space",
        ],
    };
    // A condition that is fine explains nothing.
    let fine = |c: &Condition| match c.type_.as_str() {
        "Degraded" | "Progressing" => c.status == "False",
        _ => c.status == "True",
    };
    order
        .iter()
        .filter_map(|kind| find(conditions, kind))
        .find(|c| !fine(c) && !c.message.is_empty())
        .map(|c| c.message.clone())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn condition(kind: &str, status: &str, message: &str) -> Condition {
        Condition {
            type_: kind.into(),
            status: status.into(),
            reason: "R".into(),
            message: message.into(),
            observed_generation: None,
            last_transition_time: Time(jiff::Timestamp::UNIX_EPOCH),
        }
    }

    fn status(phase: &str, conditions: Vec<Condition>) -> ServerStatus {
        ServerStatus {
            observed_generation: Some(2),
            phase: Some(phase.into()),
            conditions,
            ..ServerStatus::default()
        }
    }

    #[test]
    fn ready_counts_only_for_the_spec_that_was_asked_for() {
        let ready = status("Ready", vec![condition("Ready", "True", "serves")]);
        assert_eq!(server(Some(2), Some(&ready)), Verdict::Done);
        assert!(matches!(server(Some(3), Some(&ready)), Verdict::NotYet(_)));
        assert!(matches!(server(Some(2), None), Verdict::NotYet(_)));
        assert!(matches!(
            server(Some(2), Some(&ServerStatus::default())),
            Verdict::NotYet(_)
        ));
    }

    #[test]
    fn an_upgrade_is_over_when_it_was_seen_and_nobody_is_older() {
        let mut ready = status("Ready", vec![condition("Ready", "True", "serves")]);
        let not_yet = |status: &ServerStatus| match upgraded(Some(2), Some("now"), Some(status)) {
            Verdict::NotYet(why) => why,
            other => panic!("{other:?}"),
        };
        assert_eq!(not_yet(&ready), "waits for the operator to see what was asked for");
        ready.upgrade = Some("now".into());
        let member = serde_json::json!({"name": "hippo-0", "role": "primary", "ready": true, "older": true});
        ready.members.push(serde_json::from_value(member).unwrap());
        assert_eq!(not_yet(&ready), "as another version of pgop made them: hippo-0");
        ready.members[0].older = false;
        assert_eq!(upgraded(Some(2), Some("now"), Some(&ready)), Verdict::Done);
        ready.phase = Some("Progressing".into());
        assert!(not_yet(&ready).starts_with("Progressing"));
    }

    #[test]
    fn a_refusal_ends_the_wait_with_its_message() {
        let invalid = status(
            "Invalid",
            vec![
                condition("Accepted", "False", "spec.storage.size is too small"),
                condition("Ready", "False", "nothing was created"),
            ],
        );
        assert_eq!(
            server(Some(2), Some(&invalid)),
            Verdict::Failed("Invalid: spec.storage.size is too small".into())
        );
        let failed = status("Failed", vec![condition("Restored", "False", "no snapshot at a/b")]);
        assert_eq!(
            server(Some(2), Some(&failed)),
            Verdict::Failed("Failed: no snapshot at a/b".into())
        );
    }

    #[test]
    fn progress_tells_what_it_waits_for() {
        let going = status(
            "Progressing",
            vec![
                condition("Accepted", "True", "strategy streaming"),
                condition("Progressing", "True", "pod hippo-0: pulling its image"),
            ],
        );
        assert_eq!(
            server(Some(2), Some(&going)),
            Verdict::NotYet("Progressing: pod hippo-0: pulling its image".into())
        );
    }

    #[test]
    fn a_backup_ends_with_its_job() {
        let of = |phase: &str, condition_status: &str, text: &str| {
            let spec = serde_json::json!({"source": {"kind": "PgDatabase", "name": "a"}});
            let mut made = PgBackup::new("b", serde_json::from_value(spec).unwrap());
            made.status = Some(pgop_core::crd::PgBackupStatus {
                phase: Some(phase.into()),
                conditions: vec![condition("Complete", condition_status, text)],
                ..Default::default()
            });
            backup(&made)
        };
        assert_eq!(of("Succeeded", "True", "done"), Verdict::Done);
        assert_eq!(
            of("Failed", "False", "no space"),
            Verdict::Failed("Failed: no space".into())
        );
        assert_eq!(
            of("Running", "False", "writes to claim c"),
            Verdict::NotYet("Running: writes to claim c".into())
        );
    }
}
