//! One reconcile: five steps, of which only the first and the last two hold a client. Start reading here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::api::{Api, DynamicObject, Patch, PostParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use thiserror::Error;
use tracing::{debug, info, warn};

use super::apply::{apply, release};
use super::backoff::{Backoff, Key};
use super::cache::{Caches, api_resource};
use super::cluster::{CallError, as_manager, call};
use super::finished::let_go;
use super::metrics::Metrics;
use super::observe::{ObserveError, observe};
use super::queue::Action;
use super::report::{Report, conditions};
use crate::applied::{Applied, Failed};
use crate::condition::{Fact, is_true, merge};
use crate::crd::DeletionPolicy;
use crate::invalid::Invalid;
use crate::managed::Managed;
use crate::observed::{Live, Observed};
use crate::owner::Owner;
use crate::ownership::released;
use crate::plan::{Plan, PlanError, plan};
use crate::registry::Registry;
use crate::round::{Carried, Outcome, Round};
use crate::strategy::Strategy;
use crate::validated::Checked;

/// A resource that is as it should be is looked at this often all the same; it costs no request.
const RESYNC: Duration = Duration::from_secs(600);
/// How soon to look again when the status was written, or could not be because what was read is not the newest: a status is no event, and
/// what follows from it has to be done (a server that has served is never initialized again).
const SECOND_LOOK: Duration = Duration::from_secs(1);
/// A spec may name claims and Secrets that nobody watches: how soon to look again while one of them is missing.
const FOREIGN_RETRY: Duration = Duration::from_secs(15);

/// What every reconcile has at hand.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) registry: Arc<Registry>,
    pub(crate) caches: Caches,
    pub(crate) report: Report,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) backoff: Backoff,
}

/// Why a reconcile failed; it is tried again.
#[derive(Debug, Error)]
pub(crate) enum ReconcileError {
    #[error("could not read the resource: {0}")]
    Parse(#[source] serde_json::Error),
    #[error(transparent)]
    Observe(#[from] ObserveError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error("{}", .0.message)]
    Apply(Failed),
    #[error("could not write the status: {0}")]
    Status(#[source] CallError),
    #[error("could not let go Job {job}, whose result is known and which stays till then: {source}")]
    LetGo { job: String, source: CallError },
}

impl ReconcileError {
    /// The word for conditions, events and metrics.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Parse(_) => "Unreadable",
            Self::Observe(_) => "ObserveFailed",
            Self::Plan(_) => "StrategyFailed",
            Self::Apply(failed) => failed.reason,
            Self::Status(_) => "StatusFailed",
            Self::LetGo { .. } => "LetGoFailed",
        }
    }
}

/// Reconciles one resource and counts how it went.
pub(crate) async fn reconcile<R: Managed>(
    object: Arc<DynamicObject>,
    context: Arc<Context>,
) -> Result<Action, ReconcileError> {
    let key = key::<R>(&object);
    context.metrics.taken(&key);
    let started = Instant::now();
    let result = run::<R>(&object, &context).await;
    let word = if result.is_ok() { "ok" } else { "error" };
    context
        .metrics
        .reconciled(R::KIND, word, started.elapsed().as_secs_f64());
    match &result {
        Ok(_) => context.backoff.forget(&key),
        Err(error) => context.metrics.failed(R::KIND, error.reason()),
    }
    result
}

/// A failed reconcile is tried again, later each time.
pub(crate) fn on_error<R: Managed>(object: &DynamicObject, error: &ReconcileError, context: &Context) -> Action {
    let (kind, namespace, name) = key::<R>(object);
    let delay = context.backoff.failed(&(kind, namespace.clone(), name.clone()));
    warn!(kind = kind.as_str(), namespace, name, reason = error.reason(), again_in = ?delay, "{error}");
    Action::requeue(delay)
}

pub(crate) fn key<R: Managed>(object: &DynamicObject) -> Key {
    (R::KIND, object.namespace().unwrap_or_default(), object.name_any())
}

async fn run<R: Managed>(object: &DynamicObject, context: &Context) -> Result<Action, ReconcileError> {
    let raw = serde_json::to_value(object).map_err(ReconcileError::Parse)?;
    let resource: R = match serde_json::from_value(raw.clone()) {
        Ok(resource) => resource,
        Err(error) => return unreadable::<R>(object, &raw, &error, context).await,
    };
    // Everything is deleted with its owner, by Kubernetes.
    if resource.meta().deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    // What ran once is over, and what came of it is in the status, as it came from the API server.
    if resource.is_finished() {
        let owner = Owner::of(&resource);
        let done = let_go(&context.client, &owner, &context.caches.live(&owner, None)).await;
        return match done {
            Ok(()) => Ok(Action::await_change()),
            Err((job, source)) => Err(ReconcileError::LetGo { job, source }),
        };
    }
    // 1. observe (client)
    let (observed, error) = match observe(&context.client, &context.caches, &resource).await {
        Ok(observed) => (observed, None),
        Err((seen, error)) => (seen, Some(error)),
    };
    // Whatever else is wrong with it: claims that are to stay don't go with the resource.
    let kept = match resource.servers() {
        Some(spec) => keep_claims(&Owner::of(&resource), spec.deletion_policy, &observed.live, context).await,
        None => Vec::new(),
    };
    // 2. to 4.: validate and plan (pure), apply (client)
    let mut attempt = match error {
        None => attempt(&resource, &observed, context).await,
        Some(error) => Attempt::Failed(error.into()),
    };
    attempt.add(kept);
    // 5. status (client)
    let written = write_status(&resource, &observed, &attempt, context).await?;
    match attempt {
        _ if written == Written::Stale => Ok(Action::requeue(SECOND_LOOK)),
        Attempt::Failed(error) => Err(error),
        Attempt::Applied { applied, .. } if !applied.failed.is_empty() => {
            let first = applied.failed.into_iter().next();
            Err(first.map_or_else(|| unreachable!("it is not empty"), ReconcileError::Apply))
        }
        _ if written == Written::New => Ok(Action::requeue(SECOND_LOOK)),
        // The old objects' deletion is seen by the watches; a missed one must not leave it waiting for long.
        Attempt::Applied { applied, .. } if !applied.held.is_empty() => Ok(Action::requeue(FOREIGN_RETRY)),
        Attempt::Invalid(_) if !is_self_contained(&observed) => Ok(Action::requeue(FOREIGN_RETRY)),
        Attempt::Applied { ref refused, .. } if !refused.is_empty() && !is_self_contained(&observed) => {
            Ok(Action::requeue(FOREIGN_RETRY))
        }
        Attempt::Invalid(_) | Attempt::Applied { .. } => Ok(Action::requeue(RESYNC)),
    }
}

/// Tells on the resource that it can't be read: a value that this version does not know. What runs, runs on.
async fn unreadable<R: Managed>(
    object: &DynamicObject,
    raw: &Value,
    error: &serde_json::Error,
    context: &Context,
) -> Result<Action, ReconcileError> {
    // As for those that can be read: what a backup told when it ended is true for ever, and nobody would take this back.
    let is_over = |pointer: &str| raw.pointer(pointer).is_some_and(|at| !at.is_null());
    if is_over("/metadata/deletionTimestamp") || is_over("/status/finishedAt") {
        return Ok(Action::await_change());
    }
    let owner = Owner {
        kind: R::KIND,
        name: object.name_any(),
        namespace: object.namespace().unwrap_or_default(),
        uid: object.uid().unwrap_or_default(),
    };
    // Claims go with it only where it plainly says so.
    let policy = match raw.pointer("/spec/deletionPolicy").and_then(Value::as_str) {
        Some("Delete") => DeletionPolicy::Delete,
        _ => DeletionPolicy::Retain,
    };
    let live = context.caches.live(&owner, None);
    let failed = keep_claims(&owner, policy, &live, context).await.into_iter().next();
    let old = conditions(raw);
    let message = format!(
        "can't be read: {error}; set back what this version of pgop does not know, or install the version that does"
    );
    let facts = vec![Fact::new("Accepted", false, "Unreadable", message)];
    let new = merge(&old, facts, object.metadata.generation, Timestamp::now());
    let phase = raw.pointer("/status/phase").and_then(Value::as_str);
    if new != old || phase != Some("Invalid") {
        let status = json!({"status": {
            "phase": "Invalid",
            "observedGeneration": object.metadata.generation,
            "conditions": new,
        }});
        let api: Api<DynamicObject> =
            Api::namespaced_with(context.client.clone(), &owner.namespace, &api_resource(R::KIND));
        match call(api.patch_status(&owner.name, &as_manager(), &Patch::Merge(status))).await {
            Ok(_) => context.report.turned(&owner, &old, &new).await,
            Err(error) if error.code() == Some(404) => {}
            Err(error) => return Err(ReconcileError::Status(error)),
        }
    }
    failed.map_or(Ok(Action::requeue(RESYNC)), |failed| Err(ReconcileError::Apply(failed)))
}

/// Carries `deletionPolicy: Retain` out on the claims.
async fn keep_claims(owner: &Owner, policy: DeletionPolicy, live: &Live, context: &Context) -> Vec<Failed> {
    let due = released(owner, policy, live);
    for claim in &due {
        let (kind, Owner { namespace, name, .. }) = (owner.kind.as_str(), owner);
        info!(kind, namespace, name, claim, "stays when the resource goes");
    }
    release(&context.client, owner, due).await
}

/// Whether the watches tell of everything that this resource depends on.
fn is_self_contained(observed: &Observed) -> bool {
    observed.claims.is_empty() && observed.secrets.is_empty()
}

/// How the middle steps went.
enum Attempt<R: Managed> {
    Invalid(Vec<Invalid>),
    Failed(ReconcileError),
    Applied {
        validated: Box<R::Validated>,
        /// Why the spec as it is now is refused, where something accepted before it is in force.
        refused: Vec<Invalid>,
        strategy: Arc<dyn Strategy<R>>,
        applied: Applied,
    },
}

impl<R: Managed> Attempt<R> {
    /// What failed beside it.
    fn add(&mut self, more: Vec<Failed>) {
        match self {
            Self::Applied { applied, .. } => applied.failed.extend(more),
            Self::Failed(_) => {}
            Self::Invalid(_) => {
                if let Some(failed) = more.into_iter().next() {
                    *self = Self::Failed(ReconcileError::Apply(failed));
                }
            }
        }
    }
}

async fn attempt<R: Managed>(resource: &R, observed: &Observed, context: &Context) -> Attempt<R> {
    let (validated, refused, strategy) = match in_force(resource, observed, &context.registry) {
        Ok(found) => found,
        Err(invalid) => return Attempt::Invalid(invalid),
    };
    let plan = match plan(&*strategy, &validated, observed) {
        Ok(plan) if refused.is_empty() => plan,
        Ok(plan) => plan.only_care(),
        Err(error) => return Attempt::Failed(error.into()),
    };
    log_plan(resource, &plan);
    let owner = Owner::of(resource);
    let applied = apply(&context.client, &owner, plan).await;
    if let Some(step) = &applied.step {
        context.report.stepped(&owner, step).await;
    }
    Attempt::Applied {
        validated: Box::new(validated),
        refused,
        strategy,
        applied,
    }
}

/// What is in force, with the strategy that makes it: the resource, or what was accepted before it, and then also why the resource is refused.
type InForce<R> = (<R as Checked>::Validated, Vec<Invalid>, Arc<dyn Strategy<R>>);

fn in_force<R: Managed>(resource: &R, observed: &Observed, registry: &Registry) -> Result<InForce<R>, Vec<Invalid>> {
    let family = R::family(registry);
    let invalid = match family.get(resource.strategy()) {
        Ok(strategy) => match resource.validate(observed, strategy.description()) {
            Ok(validated) => return Ok((validated, Vec::new(), Arc::clone(strategy))),
            Err(invalid) => invalid,
        },
        Err(unknown) => vec![Invalid::new("spec.strategy", unknown.to_string(), "name one of these")],
    };
    let in_use = resource.strategy_in_use().and_then(|name| family.get(name).ok());
    let before = in_use.and_then(|strategy| Some((resource.in_force(observed, strategy.description())?, strategy)));
    match before {
        Some((validated, strategy)) => Ok((validated, invalid, Arc::clone(strategy))),
        None => Err(invalid),
    }
}

fn log_plan<R: Managed>(resource: &R, plan: &Plan) {
    let (kind, namespace, name) = (
        R::KIND.as_str(),
        resource.namespace().unwrap_or_default(),
        resource.name_any(),
    );
    for apply in &plan.apply {
        info!(kind, namespace, name, object = %apply.manifest.kind(), object_name = apply.manifest.name(), why = ?apply.why, "apply");
    }
    for prune in &plan.prune {
        info!(kind, namespace, name, object = %prune.kind, object_name = prune.name, "delete");
    }
    for adopt in &plan.adopt {
        info!(kind, namespace, name, claim = adopt.claim, "goes with the resource");
    }
    if let Some(step) = &plan.step {
        info!(kind, namespace, name, why = step.why, "step");
    }
    for held in &plan.held {
        debug!(kind, namespace, name, object = %held.kind, object_name = held.name, why = held.why, "held back");
    }
}

/// What became of a status.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    /// It is as it should be.
    Current,
    /// It is written.
    New,
    /// What was read is not the newest: nothing was written.
    Stale,
}

async fn write_status<R: Managed>(
    resource: &R,
    observed: &Observed,
    attempt: &Attempt<R>,
    context: &Context,
) -> Result<Written, ReconcileError> {
    let now = Timestamp::now();
    let owner_uid = resource.meta().uid.clone().unwrap_or_default();
    let assessment;
    let asked = R::family(&context.registry).get(resource.strategy()).ok();
    let outcome = match attempt {
        Attempt::Invalid(invalid) => Outcome::Invalid(invalid),
        Attempt::Failed(error) => Outcome::Failed {
            reason: error.reason(),
            message: error.to_string(),
        },
        Attempt::Applied {
            validated,
            refused,
            strategy,
            applied,
        } => {
            let validated = &**validated;
            assessment = strategy.assess(validated, &observed.live.own(&owner_uid));
            Outcome::Applied(Carried {
                validated,
                refused,
                strategy: strategy.description(),
                applied,
                assessment: &assessment,
            })
        }
    };
    let updated = resource.with_status(&Round {
        observed,
        now,
        strategy: asked.map(|strategy| strategy.description()),
        outcome,
    });
    if &updated == resource {
        return Ok(Written::Current);
    }
    let value = |resource: &R| serde_json::to_value(resource).map_err(ReconcileError::Parse);
    let (before, after) = (value(resource)?, value(&updated)?);
    let owner = Owner::of(resource);
    let api: Api<R> = Api::namespaced(context.client.clone(), &owner.namespace);
    // With the resource version of what was read: a status never overwrites a newer one.
    match call(api.replace_status(
        &owner.name,
        &PostParams {
            field_manager: Some(crate::label::MANAGER.to_owned()),
            ..PostParams::default()
        },
        &updated,
    ))
    .await
    {
        Ok(_) => {
            tell(context, &owner, &before, &after, resource, now).await;
            Ok(Written::New)
        }
        Err(error) if error.code() == Some(409) => Ok(Written::Stale),
        // Gone meanwhile.
        Err(error) if error.code() == Some(404) => Ok(Written::Current),
        Err(error) => Err(ReconcileError::Status(error)),
    }
}

async fn tell<R: Managed>(
    context: &Context,
    owner: &Owner,
    before: &Value,
    after: &Value,
    resource: &R,
    now: Timestamp,
) {
    let (old, new) = (conditions(before), conditions(after));
    context.report.turned(owner, &old, &new).await;
    // From `Degraded` it came back; that is no start.
    let phase = before.pointer("/status/phase").and_then(Value::as_str);
    let was_starting = !is_true(&old, "Ready") && matches!(phase, None | Some("Progressing" | "Restoring"));
    if was_starting
        && is_true(&new, "Ready")
        && let Some(created) = resource.meta().creation_timestamp.as_ref()
    {
        let seconds = now.duration_since(created.0).as_secs_f64();
        context.metrics.became_ready(R::KIND, seconds);
    }
}
