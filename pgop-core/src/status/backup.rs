//! Status of a backup.

use serde::Deserialize;

use super::not_applied;
use crate::assessment::JobState;
use crate::condition::{Fact, merge, whole_seconds};
use crate::crd::{PgBackup, PgBackupStatus, StrategyInUse};
use crate::resource::{Outcome, Round};

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
    let (validated, strategy, plan, assessment) = match &round.outcome {
        Outcome::Applied {
            validated,
            strategy,
            plan,
            assessment,
        } => (validated, strategy, plan, assessment),
        other => {
            let mut facts = not_applied(other, &old.conditions);
            facts.retain(|fact| fact.kind != "Ready" && fact.kind != "Progressing");
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
    let state = assessment.job.clone().unwrap_or(JobState::Absent);
    let mut status = PgBackupStatus {
        observed_generation: generation,
        strategy: Some(StrategyInUse {
            name: strategy.name.clone(),
            version: strategy.version,
        }),
        claim: Some(validated.storage.claim.clone()),
        ..old.clone()
    };
    let (phase, complete) = match state {
        JobState::Absent => {
            let why = plan
                .held
                .first()
                .map_or_else(|| "its Job is about to be made".to_owned(), |held| held.why.clone());
            ("Pending", Fact::new("Complete", false, "Pending", why))
        }
        JobState::Running { waits, started } => {
            status.started_at = started;
            let message = waits.unwrap_or_else(|| format!("writes to claim {}", validated.storage.claim));
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
            let path = report.path.unwrap_or_else(|| validated.path.clone());
            let done = format!("{path} in claim {} is complete and verified", validated.storage.claim);
            status.started_at = started;
            status.finished_at = finished.or_else(|| Some(whole_seconds(round.now)));
            status.path = Some(path);
            status.size_bytes = report.bytes;
            status.start_lsn = report.start_lsn;
            status.stop_lsn = report.stop_lsn;
            status.server_version = report.server_version;
            ("Succeeded", Fact::new("Complete", true, "Verified", done))
        }
        JobState::Failed {
            message,
            started,
            finished,
        } => {
            status.started_at = started;
            status.finished_at = finished.or_else(|| Some(whole_seconds(round.now)));
            (
                "Failed",
                Fact::new(
                    "Complete",
                    false,
                    "BackupFailed",
                    format!("{message}; no snapshot was left"),
                ),
            )
        }
    };
    status.phase = Some(phase.to_owned());
    let accepted = Fact::new("Accepted", true, "Valid", format!("strategy {}", strategy.name));
    status.conditions = merge(&old.conditions, vec![accepted, complete], generation, round.now);
    status
}
