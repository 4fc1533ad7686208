//! Step 5, the pure half: what the status says after a round.

mod backup;
mod told;

use std::fmt::Write;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::applied::{Applied, Done};
use crate::assessment::{self, Assessment, JobState, refresh};
use crate::condition::{Fact, find, is_true, merge};
use crate::crd::{Endpoints, Member, Role, ServerStatus, Servers, StrategyInUse};
use crate::description::Description;
use crate::invalid::{self, Invalid};
use crate::kind::Kind;
use crate::observed::{Live, Observed};
use crate::ownership::created;
use crate::plan::Why;
use crate::round::{Outcome, Round};
use crate::validated::{Checked, Server, Validated};

pub(crate) use backup::backup as of_backup;
#[cfg(feature = "runtime")]
pub(crate) use told::is_told;

/// Status of a database or a cluster.
pub(crate) fn of_server<R: Checked + Servers>(resource: &R, round: &Round<'_, R>) -> ServerStatus {
    let meta = resource.meta();
    let old = resource.status().cloned().unwrap_or_default();
    let carried = match &round.outcome {
        Outcome::Applied(carried) => carried,
        other => return not_carried(old, other, round, meta),
    };
    let Some(server) = carried.validated.server() else {
        return old; // these kinds have servers
    };
    let whole = Whole {
        server,
        replicas: carried.validated.replicas(),
        refused: carried.refused,
        strategy: carried.strategy,
        applied: carried.applied,
        assessment: carried.assessment,
        adopted: adopted(meta, round.observed),
    };
    whole.status(old, round.observed, meta.generation, round.now)
}

/// Claims that are older than the resource: their data is served again.
fn adopted(meta: &ObjectMeta, observed: &Observed) -> Vec<String> {
    let Some(since) = meta.creation_timestamp.as_ref() else {
        return Vec::new();
    };
    let is_older = |claim: &serde_json::Value| created(claim).is_some_and(|made| made < since.0);
    let claims = observed
        .live
        .objects
        .iter()
        .filter(|((kind, _), claim)| *kind == Kind::PersistentVolumeClaim && is_older(claim));
    claims.map(|((_, name), _)| name.clone()).collect()
}

/// Nothing was carried out: what runs, runs on and is told, and the rest of the status stays.
fn not_carried<R: Checked>(
    old: ServerStatus,
    outcome: &Outcome<'_, R>,
    round: &Round<'_, R>,
    meta: &ObjectMeta,
) -> ServerStatus {
    let own = round.observed.live.own(meta.uid.as_deref().unwrap_or_default());
    let members = known_members(&old.members, round, &own);
    let mut facts = not_applied(outcome);
    let down: Vec<&str> = members.iter().filter(|m| !m.ready).map(|m| m.name.as_str()).collect();
    if !down.is_empty() {
        let message = format!("{} not serving", down.join(", "));
        facts.push(Fact::new("Ready", false, "MembersNotReady", message.clone()));
        if !facts.iter().any(|fact| fact.kind == "Degraded") {
            facts.push(Fact::new("Degraded", true, "MembersNotReady", message));
        }
    } else if !old.conditions.iter().any(|c| c.type_ == "Ready") {
        facts.push(if members.is_empty() {
            Fact::new("Ready", false, "NotCreated", "nothing was created")
        } else {
            let names: Vec<&str> = members.iter().map(|m| m.name.as_str()).collect();
            Fact::new("Ready", true, "Serving", format!("{} serves", names.join(", ")))
        });
    }
    facts.extend(told::told(&members, &own.pods));
    let phase = match outcome {
        Outcome::Invalid(_) => "Invalid",
        _ => "Degraded",
    };
    ServerStatus {
        observed_generation: meta.generation,
        phase: Some(phase.to_owned()),
        conditions: merge(&old.conditions, facts, meta.generation, round.now),
        initialized: old.initialized || has_served(&members),
        members,
        ..old
    }
}

/// The members that were known, as their pods are now, and those that the strategy's labels tell.
fn known_members<R: Checked>(old: &[Member], round: &Round<'_, R>, own: &Live) -> Vec<Member> {
    let mut members = refresh(old, &round.observed.live);
    let found = round
        .strategy
        .map(|strategy| assessment::members(strategy, own))
        .unwrap_or_default();
    let more: Vec<Member> = found
        .into_iter()
        .filter(|member| members.iter().all(|known| known.name != member.name))
        .collect();
    members.extend(more);
    members
}

fn has_served(members: &[Member]) -> bool {
    members.iter().any(|m| m.role == Role::Primary && m.ready)
}

/// Conditions of a round in which nothing was carried out.
fn not_applied<R: Checked>(outcome: &Outcome<'_, R>) -> Vec<Fact> {
    match outcome {
        Outcome::Invalid(all) => refused(all, "waits for the spec to be mended").into(),
        Outcome::Failed { reason, message } => vec![Fact::new("Degraded", true, *reason, message.clone())],
        Outcome::Applied(_) => Vec::new(),
    }
}

/// Conditions of a resource that is refused.
fn refused(all: &[Invalid], waits: &str) -> [Fact; 2] {
    [
        Fact::new("Accepted", false, "Invalid", invalid::summary(all)),
        Fact::new("Progressing", false, "Invalid", waits),
    ]
}

/// A database or a cluster after a round in which a plan was carried out.
struct Whole<'a> {
    server: &'a Server,
    replicas: Option<i32>,
    refused: &'a [Invalid],
    strategy: &'a Description,
    applied: &'a Applied,
    assessment: &'a Assessment,
    adopted: Vec<String>,
}

/// How the whole stands.
struct Verdict {
    phase: &'static str,
    facts: Vec<Fact>,
}

impl Whole<'_> {
    fn status(
        &self,
        old: ServerStatus,
        observed: &Observed,
        generation: Option<i64>,
        now: jiff::Timestamp,
    ) -> ServerStatus {
        let members = &self.members();
        let restored = matches!(self.assessment.job, Some(JobState::Succeeded { .. }));
        // What people change takes its time, and is no trouble.
        let same_spec = old.observed_generation == generation;
        let was_up = is_true(&old.conditions, "Ready") || is_true(&old.conditions, "Degraded");
        let mut verdict = self.judged(same_spec && was_up && !self.is_restarting(&old));
        verdict.hear(told::told(members, &observed.live.pods));
        let before = told::without_orphans(old.conditions, members);
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
            conditions: merge(&before, verdict.facts, generation, now),
            strategy: Some(StrategyInUse {
                name: self.strategy.name.clone(),
                version: self.strategy.version,
            }),
            primary: members.iter().find(|m| m.role == Role::Primary).map(|m| m.name.clone()),
            members: members.clone(),
            upgrade: match self.refused {
                [] => self.server.change.upgrade.clone(),
                _ => old.upgrade,
            },
            endpoints: Some(self.endpoints()),
            container: Some(self.strategy.names.container.clone()),
            socket: Some(self.strategy.names.socket.clone()),
            claims: if self.server.storage.make {
                self.applied.claims(&observed.live)
            } else {
                vec![self.server.storage.claim.clone()]
            },
            // While the spec is refused no claim is changed.
            storage_size: match (self.server.storage.make, self.refused) {
                (true, []) => Some(Quantity(self.server.storage.size.clone())),
                (true, _) => old.storage_size,
                (false, _) => None,
            },
            accepted: Some(self.server.accepted.clone()),
            initialized: old.initialized || has_served(members),
            restored_from: if restored {
                self.server.accepted.restore.clone()
            } else {
                old.restored_from
            },
            last_backup: observed.last_backup.clone().or(old.last_backup),
            replicas: self.replicas.map(|_| number(count(false))),
            ready_replicas: self.replicas.map(|_| number(count(true))),
            selector: self.replicas.map(|_| self.selector()),
        }
    }

    /// The servers, and which of them another pgop made.
    fn members(&self) -> Vec<Member> {
        let older = &self.assessment.roll.older;
        let members = self.assessment.members.iter().cloned();
        members
            .map(|member| Member {
                older: older.contains(&member.name),
                ..member
            })
            .collect()
    }

    /// Whether what is not ready was restarted by us, or is to be: a roll is under way, or its last server starts.
    fn is_restarting(&self, old: &ServerStatus) -> bool {
        let was_rolling = find(&old.conditions, "Progressing").is_some_and(|c| c.reason == "RollingRestart");
        was_rolling || !self.assessment.roll.due.is_empty()
    }

    fn endpoints(&self) -> Endpoints {
        let (owner, names) = (&self.server.owner, &self.strategy.names);
        let address = |service: &str| format!("{service}.{}.svc:{}", owner.namespace, self.server.port);
        Endpoints {
            read_write: address(&names.read_write_of(&owner.name)),
            read_only: self
                .replicas
                .filter(|replicas| *replicas > 0)
                .map(|_| address(&names.read_only_of(&owner.name))),
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

    /// The verdict on what is in force, and over it what could not be done and what is refused.
    fn judged(&self, was_up: bool) -> Verdict {
        let mut verdict = self.verdict(was_up);
        if let Some(first) = self.applied.failed.first() {
            let all: Vec<&str> = self
                .applied
                .failed
                .iter()
                .map(|failed| failed.message.as_str())
                .collect();
            let message = all.join("; ");
            verdict.replace(Fact::new("Progressing", true, first.reason, message.clone()));
            verdict.replace(Fact::new("Degraded", true, first.reason, message));
            if !matches!(verdict.phase, "Failed" | "Restoring") {
                verdict.phase = "Degraded";
            }
        }
        if !self.refused.is_empty() {
            let waits = "waits for the spec to be mended; what was accepted before stays in force";
            for fact in refused(self.refused, waits) {
                verdict.replace(fact);
            }
            verdict.phase = "Invalid";
        }
        verdict
    }

    fn verdict(&self, was_up: bool) -> Verdict {
        let mut facts = vec![self.accepted()];
        if let Some(job) = &self.assessment.job {
            facts.push(self.restored(job));
            match job {
                JobState::Failed { message, .. } => return Verdict::failed(facts, message),
                JobState::Succeeded { .. } => {}
                JobState::Absent | JobState::Running { .. } => return self.restoring(facts),
            }
        }
        let (ready, missing) = self.missing();
        if ready {
            let under_way = self.under_way();
            let phase = if under_way.is_some() { "Progressing" } else { "Ready" };
            facts.push(match under_way {
                Some(what) => Fact::new("Progressing", true, self.rolls(), what),
                None => Fact::new("Progressing", false, "UpToDate", self.up_to_date()),
            });
            facts.push(Fact::new("Ready", true, "Serving", self.ready_message()));
            // All members serve, so what fails is another pod of the strategy.
            let phase = if self.assessment.failing.is_empty() {
                phase
            } else {
                "Degraded"
            };
            facts.push(self.failing("PodFails", "Healthy"));
            return Verdict { phase, facts };
        }
        let held: Vec<String> = self
            .applied
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
        facts.push(match self.assessment.roll.sentence() {
            Some(roll) => Fact::new("Progressing", true, "RollingRestart", roll),
            None => Fact::new("Progressing", true, "Starting", message.clone()),
        });
        facts.push(Fact::new("Ready", false, "MembersNotReady", message.clone()));
        facts.push(if failing.is_empty() && was_up {
            Fact::new("Degraded", true, "MembersNotReady", message)
        } else {
            self.failing("MemberFails", "Starting")
        });
        Verdict {
            phase: if degraded { "Degraded" } else { "Progressing" },
            facts,
        }
    }

    /// Whether anything fails, with the reason for either.
    fn failing(&self, fails: &str, fine: &str) -> Fact {
        match self.assessment.failing.as_slice() {
            [] => Fact::new("Degraded", false, fine, "nothing fails"),
            failing => Fact::new("Degraded", true, fails, failing.join("; ")),
        }
    }

    fn restoring(&self, mut facts: Vec<Fact>) -> Verdict {
        let path = self
            .server
            .restore
            .as_ref()
            .map(|r| r.path.as_str())
            .unwrap_or_default();
        facts.push(Fact::new("Progressing", true, "Restoring", format!("restores {path}")));
        facts.push(Fact::new("Ready", false, "Restoring", format!("restores {path}")));
        facts.push(self.failing("PodFails", "Restoring"));
        Verdict {
            phase: "Restoring",
            facts,
        }
    }

    fn accepted(&self) -> Fact {
        let mut parts = vec![format!("strategy {}", self.strategy.name)];
        let mut reason = "Valid";
        if !self.adopted.is_empty() {
            reason = "AdoptedClaims";
            let claims = self.adopted.join(", ");
            // A replica does not follow a primary with another history, so the data of replicas alone is not served.
            parts.push(if self.adopted.contains(&self.server.storage.claim) {
                format!("serves the data that claim {claims} had before")
            } else {
                format!("claim {claims} has data from before, which the primary does not serve")
            });
        }
        if !self.applied.unused_secrets.is_empty() {
            reason = "UnusedSecrets";
            let secrets = self.applied.unused_secrets.join(", ");
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
        // A right that could not be given is told as a failure, and keeps nobody from serving.
        let mut held = self.applied.held.iter();
        let waits = held.any(|held| !matches!(held.kind, Kind::Role | Kind::RoleBinding));
        (missing.is_empty() && !waits, missing.join(", "))
    }

    /// What is still being changed though all members serve.
    fn under_way(&self) -> Option<String> {
        // How far the pods of a `StatefulSet` are is known from the next round on; what else is sent is in force with the sending.
        let is_sent = |done: &&Done| done.why == Some(Why::Changed);
        let has_pods = |done: &&Done| matches!(done.kind, Kind::StatefulSet | Kind::Deployment);
        let sent = self.applied.done.iter().filter(is_sent).filter(has_pods);
        let mut all: Vec<String> = sent
            .map(|done| format!("{} {} was changed", done.kind, done.name))
            .collect();
        all.extend(self.assessment.rolling.iter().cloned());
        let roll = self.assessment.roll.sentence();
        let step = self.applied.step.as_ref().map(|step| step.why.clone());
        // The step of a roll says the same.
        all.extend(step.filter(|why| roll.as_ref() != Some(why)));
        all.extend(roll);
        (!all.is_empty()).then(|| all.join(", "))
    }

    /// The word for what is under way.
    fn rolls(&self) -> &'static str {
        if self.assessment.roll.due.is_empty() {
            "RollingOut"
        } else {
            "RollingRestart"
        }
    }

    /// What is said when nothing is under way.
    fn up_to_date(&self) -> String {
        let mut message = "everything is as the spec says".to_owned();
        let older = &self.assessment.roll.older;
        if !older.is_empty() {
            let verb = if older.len() == 1 { "runs" } else { "run" };
            let _ = write!(
                message,
                "; {} {verb} as another version of pgop made {} until the next restart",
                older.join(", "),
                if older.len() == 1 { "it" } else { "them" },
            );
        }
        message
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

    /// Adds what the servers tell. What is not well is in the one sentence of `kubectl get` too: they serve all the same.
    fn hear(&mut self, told: Vec<Fact>) {
        let is_so = |fact: &&mut Fact| fact.kind == "Ready" && fact.status == Some(true);
        if let Some(ready) = self.facts.iter_mut().find(is_so) {
            for fact in told.iter().filter(|fact| fact.status == Some(false)) {
                let _ = write!(ready.message, "; {}", fact.message);
            }
        }
        self.facts.extend(told);
    }

    /// Sets a condition in place of what was to be said of its kind.
    fn replace(&mut self, fact: Fact) {
        self.facts.retain(|other| other.kind != fact.kind);
        self.facts.push(fact);
    }
}
