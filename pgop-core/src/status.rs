//! Step 5, the pure half: what the status says after a round.

mod backup;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};

use crate::assessment::{Assessment, JobState};
use crate::condition::{Fact, is_true, merge};
use crate::crd::{Endpoints, Member, PgCluster, PgDatabase, Restore, Role, ServerStatus, StrategyInUse};
use crate::description::Description;
use crate::invalid;
use crate::kind::Kind;
use crate::name;
use crate::observed::Observed;
use crate::plan::{Plan, Why};
use crate::round::{Outcome, Round};
use crate::validated::{Checked, Server};

pub(crate) use backup::backup as of_backup;

pub(crate) fn of_database(database: &PgDatabase, round: &Round<'_, PgDatabase>) -> ServerStatus {
    let old = database.status.clone().unwrap_or_default();
    let generation = database.metadata.generation;
    match &round.outcome {
        Outcome::Applied {
            validated,
            strategy,
            plan,
            assessment,
        } => {
            let adopted = adopted(&database.metadata, round.observed);
            let applied = Applied {
                server: &validated.server,
                replicas: None,
                strategy,
                plan,
                assessment,
                adopted,
            };
            applied.status(
                old,
                database.spec.server.restore.as_ref(),
                round.observed,
                generation,
                round.now,
            )
        }
        other => refused(old, other, round.observed, generation, round.now),
    }
}

pub(crate) fn of_cluster(cluster: &PgCluster, round: &Round<'_, PgCluster>) -> ServerStatus {
    let old = cluster.status.clone().unwrap_or_default();
    let generation = cluster.metadata.generation;
    match &round.outcome {
        Outcome::Applied {
            validated,
            strategy,
            plan,
            assessment,
        } => {
            let replicas = Some(validated.replicas);
            let adopted = adopted(&cluster.metadata, round.observed);
            let applied = Applied {
                server: &validated.server,
                replicas,
                strategy,
                plan,
                assessment,
                adopted,
            };
            applied.status(
                old,
                cluster.spec.server.restore.as_ref(),
                round.observed,
                generation,
                round.now,
            )
        }
        other => refused(old, other, round.observed, generation, round.now),
    }
}

/// Claims that are older than the resource: their data is served again.
fn adopted(meta: &ObjectMeta, observed: &Observed) -> Vec<String> {
    let Some(created) = meta.creation_timestamp.as_ref() else {
        return Vec::new();
    };
    let is_older = |claim: &serde_json::Value| {
        let made = claim
            .pointer("/metadata/creationTimestamp")
            .and_then(serde_json::Value::as_str);
        made.and_then(|text| text.parse::<jiff::Timestamp>().ok())
            .is_some_and(|made| made < created.0)
    };
    let claims = observed
        .live
        .objects
        .iter()
        .filter(|((kind, _), claim)| *kind == Kind::PersistentVolumeClaim && is_older(claim));
    claims.map(|((_, name), _)| name.clone()).collect()
}

/// The resource was refused, or the plan could not be carried out: what runs, runs on, and the rest of the status stays.
fn refused<R: Checked>(
    old: ServerStatus,
    outcome: &Outcome<'_, R>,
    observed: &Observed,
    generation: Option<i64>,
    now: jiff::Timestamp,
) -> ServerStatus {
    let mut facts = not_applied(outcome, &old.conditions);
    let members = crate::assessment::refresh(&old.members, &observed.live);
    let down: Vec<&str> = members.iter().filter(|m| !m.ready).map(|m| m.name.as_str()).collect();
    if !down.is_empty() {
        let message = format!("{} not serving", down.join(", "));
        facts.push(Fact::new("Ready", false, "MembersNotReady", message.clone()));
        if !facts.iter().any(|fact| fact.kind == "Degraded") {
            facts.push(Fact::new("Degraded", true, "MembersNotReady", message));
        }
    }
    let phase = match outcome {
        Outcome::Invalid(_) => "Invalid",
        _ => "Degraded",
    };
    ServerStatus {
        observed_generation: generation,
        phase: Some(phase.to_owned()),
        conditions: merge(&old.conditions, facts, generation, now),
        members,
        ..old
    }
}

/// Conditions of a round that was not carried out.
fn not_applied<R: Checked>(outcome: &Outcome<'_, R>, old: &[Condition]) -> Vec<Fact> {
    let mut facts = match outcome {
        Outcome::Invalid(all) => vec![
            Fact::new("Accepted", false, "Invalid", invalid::summary(all)),
            Fact::new("Progressing", false, "Invalid", "waits for the spec to be mended"),
        ],
        Outcome::Failed { reason, message } => vec![Fact::new("Degraded", true, *reason, message.clone())],
        Outcome::Applied { .. } => Vec::new(),
    };
    if !old.iter().any(|c| c.type_ == "Ready") {
        facts.push(Fact::new("Ready", false, "NotCreated", "nothing was created"));
    }
    facts
}

/// A round that was carried out, of a database or a cluster.
struct Applied<'a> {
    server: &'a Server,
    replicas: Option<i32>,
    strategy: &'a Description,
    plan: &'a Plan,
    assessment: &'a Assessment,
    adopted: Vec<String>,
}

/// How the whole stands.
struct Verdict {
    phase: &'static str,
    facts: Vec<Fact>,
}

impl Applied<'_> {
    fn status(
        &self,
        old: ServerStatus,
        asked: Option<&Restore>,
        observed: &Observed,
        generation: Option<i64>,
        now: jiff::Timestamp,
    ) -> ServerStatus {
        let members = &self.assessment.members;
        let restored = matches!(self.assessment.job, Some(JobState::Succeeded { .. }));
        // What people change takes its time, and is no trouble.
        let same_spec = old.observed_generation == generation;
        let was_up = is_true(&old.conditions, "Ready") || is_true(&old.conditions, "Degraded");
        let verdict = self.verdict(same_spec && was_up);
        let count = |ready: bool| {
            members
                .iter()
                .filter(|m| m.role == Role::Replica && (m.ready || !ready))
                .count()
        };
        let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        ServerStatus {
            observed_generation: generation,
            phase: Some(verdict.phase.to_owned()),
            conditions: merge(&old.conditions, verdict.facts, generation, now),
            strategy: Some(StrategyInUse {
                name: self.strategy.name.clone(),
                version: self.strategy.version,
            }),
            primary: members.iter().find(|m| m.role == Role::Primary).map(|m| m.name.clone()),
            members: members.clone(),
            endpoints: Some(self.endpoints()),
            claims: if self.server.storage.make {
                self.plan.claims()
            } else {
                vec![self.server.storage.claim.clone()]
            },
            storage_size: self
                .server
                .storage
                .make
                .then(|| k8s_openapi::apimachinery::pkg::api::resource::Quantity(self.server.storage.size.clone())),
            accepted: Some(self.server.accepted.clone()),
            initialized: old.initialized || members.iter().any(|m| m.role == Role::Primary && m.ready),
            restored_from: if restored { asked.cloned() } else { old.restored_from },
            last_backup: observed.last_backup.clone().or(old.last_backup),
            replicas: self.replicas.map(|_| number(count(false))),
            ready_replicas: self.replicas.map(|_| number(count(true))),
            selector: self.replicas.map(|_| self.selector()),
        }
    }

    fn endpoints(&self) -> Endpoints {
        let owner = &self.server.owner;
        let address = |service: &str| format!("{service}.{}.svc:{}", owner.namespace, self.server.port);
        Endpoints {
            read_write: address(&owner.name),
            read_only: self
                .replicas
                .filter(|replicas| *replicas > 0)
                .map(|_| address(&name::replica(&owner.name))),
        }
    }

    fn selector(&self) -> String {
        let own = (
            self.server.owner.kind.label().to_owned(),
            self.server.owner.name.clone(),
        );
        let labels = std::iter::once(&own)
            .map(|(k, v)| (k, v))
            .chain(&self.strategy.members.replica);
        labels
            .map(|(key, value)| format!("{key}={value}"))
            .collect::<Vec<_>>()
            .join(",")
    }

    fn verdict(&self, was_up: bool) -> Verdict {
        let mut facts = vec![self.accepted()];
        if let Some(job) = &self.assessment.job {
            facts.push(self.restored(job));
            match job {
                JobState::Failed { message, .. } => return Verdict::failed(facts, message),
                JobState::Succeeded { .. } => {}
                JobState::Absent | JobState::Running { .. } => return Verdict::restoring(facts, self.server),
            }
        }
        let (ready, missing) = self.missing();
        if ready {
            let under_way = self.under_way();
            let phase = if under_way.is_some() { "Progressing" } else { "Ready" };
            facts.push(match under_way {
                Some(what) => Fact::new("Progressing", true, "RollingOut", what),
                None => Fact::new("Progressing", false, "UpToDate", "everything is as the spec says"),
            });
            facts.push(Fact::new("Ready", true, "Serving", self.ready_message()));
            facts.push(Fact::new("Degraded", false, "Healthy", "nothing fails"));
            return Verdict { phase, facts };
        }
        let held: Vec<String> = self
            .plan
            .held
            .iter()
            .map(|held| format!("{} {} waits: {}", held.kind, held.name, held.why))
            .collect();
        let message = std::iter::once(missing)
            .chain(held)
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("; ");
        let failing = &self.assessment.failing;
        let degraded = !failing.is_empty() || was_up;
        let message = if failing.is_empty() {
            self.with_trouble(message)
        } else {
            message
        };
        facts.push(Fact::new("Progressing", true, "Starting", message.clone()));
        facts.push(Fact::new("Ready", false, "MembersNotReady", message.clone()));
        facts.push(match (failing.is_empty(), was_up) {
            (false, _) => Fact::new("Degraded", true, "MemberFails", failing.join("; ")),
            (true, true) => Fact::new("Degraded", true, "MembersNotReady", message),
            (true, false) => Fact::new("Degraded", false, "Starting", "nothing fails"),
        });
        Verdict {
            phase: if degraded { "Degraded" } else { "Progressing" },
            facts,
        }
    }

    fn accepted(&self) -> Fact {
        let mut parts = vec![format!("strategy {}", self.strategy.name)];
        let mut reason = "Valid";
        if !self.adopted.is_empty() {
            reason = "AdoptedClaims";
            let claims = self.adopted.join(", ");
            parts.push(format!("serves the data that claim {claims} had before"));
        }
        if !self.plan.unused_secrets.is_empty() {
            reason = "UnusedSecrets";
            let secrets = self.plan.unused_secrets.join(", ");
            parts.push(format!(
                "Secret {secrets} was generated and is not used any more, its password does not work: delete it when nothing refers to it"
            ));
        }
        Fact::new("Accepted", true, reason, parts.join("; "))
    }

    fn restored(&self, job: &JobState) -> Fact {
        let restore = self.server.restore.as_ref();
        let what = restore
            .map(|r| format!("{} of claim {}", r.path, r.claim))
            .unwrap_or_default();
        match job {
            JobState::Succeeded { .. } => Fact::new("Restored", true, "Restored", format!("from {what}")),
            JobState::Failed { message, .. } => {
                let job = restore.map(|r| r.job.clone()).unwrap_or_default();
                let message = format!(
                    "{what} could not be restored: {message}; no server was started; delete this resource and create it with \
                     another snapshot, or mend the snapshot and delete Job {job} to try again"
                );
                Fact::new("Restored", false, "RestoreFailed", message)
            }
            JobState::Running { waits: Some(waits), .. } => {
                Fact::new("Restored", false, "Restoring", format!("{what}: {waits}"))
            }
            _ => Fact::new("Restored", false, "Restoring", what),
        }
    }

    /// Whether all members serve, and which do not.
    fn missing(&self) -> (bool, String) {
        let members = &self.assessment.members;
        let of = |role: Role| members.iter().filter(move |m| m.role == role);
        let wanted = usize::try_from(self.replicas.unwrap_or(0)).unwrap_or(0);
        let primary = of(Role::Primary).any(|m| m.ready);
        let streaming = of(Role::Replica).filter(|m| m.ready).count();
        let extra = of(Role::Replica).count() > wanted;
        let mut missing = Vec::new();
        if !primary {
            missing.push(
                if self.replicas.is_some() {
                    "the primary does not serve yet"
                } else {
                    "the server does not serve yet"
                }
                .to_owned(),
            );
        }
        if streaming < wanted {
            missing.push(format!("{streaming} of {wanted} replicas stream"));
        }
        if extra {
            missing.push("a replica is being removed".to_owned());
        }
        (missing.is_empty() && self.plan.held.is_empty(), missing.join(", "))
    }

    /// What is still being changed though all members serve.
    fn under_way(&self) -> Option<String> {
        // How far the pods of a `StatefulSet` are is known from the next round on; what else is sent is in force with the sending.
        let sent = self
            .plan
            .apply
            .iter()
            .filter(|apply| apply.why == Why::Changed && apply.manifest.kind() == Kind::StatefulSet);
        let mut all: Vec<String> = sent
            .map(|apply| format!("{} {} was changed", apply.manifest.kind(), apply.manifest.name()))
            .collect();
        all.extend(self.assessment.rolling.iter().cloned());
        (!all.is_empty()).then(|| all.join(", "))
    }

    /// Adds what the members wait for.
    fn with_trouble(&self, message: String) -> String {
        let told = |m: &Member| m.message.as_ref().map(|message| format!("{}: {message}", m.name));
        let all = std::iter::once(message).chain(self.assessment.members.iter().filter_map(told));
        all.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
    }

    fn ready_message(&self) -> String {
        match self.replicas {
            None => "the server serves".to_owned(),
            Some(0) => "the primary serves".to_owned(),
            Some(1) => "the primary serves and 1 replica streams".to_owned(),
            Some(n) => format!("the primary serves and {n} replicas stream"),
        }
    }
}

impl Verdict {
    fn failed(mut facts: Vec<Fact>, message: &str) -> Self {
        facts.push(Fact::new(
            "Progressing",
            false,
            "RestoreFailed",
            "waits for another snapshot",
        ));
        facts.push(Fact::new("Ready", false, "RestoreFailed", message));
        facts.push(Fact::new("Degraded", true, "RestoreFailed", message));
        Self { phase: "Failed", facts }
    }

    fn restoring(mut facts: Vec<Fact>, server: &Server) -> Self {
        let path = server.restore.as_ref().map(|r| r.path.as_str()).unwrap_or_default();
        facts.push(Fact::new("Progressing", true, "Restoring", format!("restores {path}")));
        facts.push(Fact::new("Ready", false, "Restoring", format!("restores {path}")));
        facts.push(Fact::new("Degraded", false, "Restoring", "nothing fails"));
        Self {
            phase: "Restoring",
            facts,
        }
    }
}
