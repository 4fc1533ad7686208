//! Status of a backup.

use jiff::Timestamp;
use serde::Deserialize;

use super::not_applied;
use crate::assessment::{JobState, job_state};
use crate::condition::{Fact, merge, whole_seconds};
use crate::crd::{PgBackup, PgBackupStatus, Source, StrategyInUse};
use crate::invalid;
use crate::kind::Kind;
use crate::round::{Outcome, Round};

/// What the backup container leaves in its termination log.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Report {
    path: Option<String>,
    bytes: Option<i64>,
    start_lsn: Option<String>,
    stop_lsn: Option<String>,
    server_version: Option<String>,
}

pub(crate) fn backup(backup: &PgBackup, round: &Round<'_, PgBackup>) -> PgBackupStatus {
    let old = backup.status.clone().unwrap_or_default();
    let generation = backup.metadata.generation;
    let carried = match &round.outcome {
        Outcome::Applied(carried) => carried,
        other => {
            // Its source may be gone, or its spec unreadable by now: what became of the Job is true all the same.
            let own = round
                .observed
                .live
                .own(backup.metadata.uid.as_deref().unwrap_or_default());
            let job = own.objects.keys().find(|(kind, _)| *kind == Kind::Job);
            match job.map_or(JobState::Absent, |(_, name)| job_state(&own, name)) {
                JobState::Absent => {}
                state => {
                    let refused = match other {
                        Outcome::Invalid(all) => Some(invalid::summary(all)),
                        _ => None,
                    };
                    return follow(state, old, generation, round.now, refused);
                }
            }
            let mut facts = not_applied(other);
            facts.retain(|fact| fact.kind == "Accepted");
            if let Outcome::Failed { reason, message } = other {
                facts.push(Fact::new("Complete", false, *reason, message.clone()));
            }
            let phase = if matches!(other, Outcome::Invalid(_)) {
                "Invalid"
            } else {
                "Pending"
            };
            let conditions = merge(&old.conditions, facts, generation, round.now);
            return PgBackupStatus {
                observed_generation: generation,
                phase: Some(phase.to_owned()),
                conditions,
                ..old
            };
        }
    };
    let (validated, strategy, applied) = (carried.validated, carried.strategy, carried.applied);
    let old_conditions = old.conditions.clone();
    let state = carried.assessment.job.clone().unwrap_or(JobState::Absent);
    // Until its Job is there it is a backup of whoever has the name then.
    let of_source = |recorded: Option<&String>, now: Option<&String>| match state {
        JobState::Absent => now.cloned(),
        _ => recorded.or(now).cloned(),
    };
    let started = PgBackupStatus {
        strategy: Some(StrategyInUse {
            name: strategy.name.clone(),
            version: strategy.version,
        }),
        source_uid: of_source(old.source_uid.as_ref(), validated.source_uid.as_ref()),
        database: of_source(old.database.as_ref(), validated.source_database.as_ref()),
        user: of_source(old.user.as_ref(), validated.source_user.as_ref()),
        claim: Some(validated.storage.claim.clone()),
        // Told only when the snapshot is complete.
        path: None,
        ..old
    };
    let waits = match state {
        JobState::Absent => applied.held.first().map(|held| held.why.clone()),
        JobState::Running { .. } if !validated.source_serves => {
            let Source { kind, name } = &validated.source;
            Some(format!(
                "{} {name} does not serve now, and is waited for",
                kind.as_str()
            ))
        }
        _ => None,
    };
    let not_made = (state == JobState::Absent).then(|| applied.failed.first()).flatten();
    let mut status = follow(state, started, generation, round.now, waits);
    if let Some(failed) = not_made {
        let complete = Fact::new("Complete", false, failed.reason, failed.message.clone());
        status.conditions = merge(&old_conditions, vec![complete], generation, round.now);
    }
    if status.phase.as_deref() == Some("Succeeded") && status.path.is_none() {
        status.path = Some(validated.path.clone());
    }
    let accepted = Fact::new("Accepted", true, "Valid", format!("strategy {}", strategy.name));
    status.conditions = merge(&status.conditions, vec![accepted], generation, round.now);
    status
}

/// What a Job says, with what is known of its source.
fn also(message: String, more: Option<String>) -> String {
    match more {
        Some(more) => format!("{message}; {more}"),
        None => message,
    }
}

/// The status that follows from how far the Job is, and from what else it waits for, if for anything.
fn follow(
    state: JobState,
    old: PgBackupStatus,
    generation: Option<i64>,
    now: Timestamp,
    waits_for: Option<String>,
) -> PgBackupStatus {
    let mut status = old;
    let claim = status.claim.clone().unwrap_or_default();
    let (phase, complete) = match state {
        JobState::Absent => {
            let why = waits_for.unwrap_or_else(|| "its Job is about to be made".to_owned());
            ("Pending", Fact::new("Complete", false, "Pending", why))
        }
        JobState::Running { waits, started } => {
            status.started_at = started;
            let message = waits.unwrap_or_else(|| format!("writes to claim {claim}"));
            let message = also(message, waits_for);
            ("Running", Fact::new("Complete", false, "Running", message))
        }
        JobState::Succeeded {
            message,
            started,
            finished,
        } => {
            let report: Report = message
                .as_deref()
                .and_then(|m| serde_json::from_str(m).ok())
                .unwrap_or_default();
            let what = report.path.clone().unwrap_or_else(|| "the snapshot".to_owned());
            status.started_at = started;
            status.finished_at = finished.or_else(|| Some(whole_seconds(now)));
            status.path = report.path;
            status.size_bytes = report.bytes;
            status.start_lsn = report.start_lsn;
            status.stop_lsn = report.stop_lsn;
            status.server_version = report.server_version;
            let done = format!("{what} in claim {claim} is complete and verified");
            ("Succeeded", Fact::new("Complete", true, "Verified", done))
        }
        JobState::Failed {
            message,
            started,
            finished,
        } => {
            status.started_at = started;
            status.finished_at = finished.or_else(|| Some(whole_seconds(now)));
            let message = also(message, waits_for);
            ("Failed", Fact::new("Complete", false, "BackupFailed", message))
        }
    };
    status.observed_generation = generation;
    status.phase = Some(phase.to_owned());
    status.conditions = merge(&status.conditions, vec![complete], generation, now);
    status
}
