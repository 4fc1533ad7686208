//! `CronJobs`: Jobs by the clock.
//! See <https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/>.

mod schedule;

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        batch::v1::{CronJob, CronJobStatus, Job},
        core::v1::ObjectReference,
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{Api, Resource, ResourceExt, api::PropagationPolicy};

use crate::{
    context::Context,
    job::{end_of, is_finished},
    ownership::{controller_of, controller_reference, is_controlled_by},
    pod,
    queue::{Key, Next, queue},
    verbs::{self, VerbError},
};
use schedule::Schedule;

const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

#[derive(Debug, PartialEq)]
enum Action {
    /// Make the Job for this time.
    Create(Timestamp),
    /// It runs and is replaced, or it is older than the history that is kept.
    Delete(Arc<Job>),
    Tell {
        warning: bool,
        reason: &'static str,
        message: String,
    },
}

struct Plan {
    actions: Vec<Action>,
    status: CronJobStatus,
    again: Option<Duration>,
}

/// `jobs` are those that the `CronJob` controls.
fn plan(cron: &CronJob, jobs: &[Arc<Job>], now: Timestamp) -> Plan {
    let mut plan = Plan {
        actions: Vec::new(),
        status: status(cron, jobs),
        again: None,
    };
    if cron.metadata.deletion_timestamp.is_some() {
        return plan;
    }
    let spec = &cron.spec;
    plan.actions.extend(seen_completed(cron, jobs));
    plan.actions.extend(surplus(cron, jobs).into_iter().map(Action::Delete));
    if spec.suspend == Some(true) {
        return plan;
    }
    let schedule = match Schedule::parse(&spec.schedule, spec.time_zone.as_deref()) {
        Ok(schedule) => schedule,
        Err(unusable) => {
            plan.actions.push(Action::Tell {
                warning: true,
                reason: unusable.reason,
                message: unusable.message,
            });
            return plan;
        }
    };
    plan.again = schedule.next(now).map(|next| pod::until(now, next));
    if let Some(due) = due(cron, &schedule, now) {
        start(cron, jobs, due, now, &mut plan);
    }
    plan
}

/// The last time for which no Job was made yet.
fn due(cron: &CronJob, schedule: &Schedule, now: Timestamp) -> Option<Timestamp> {
    let last = cron
        .status
        .as_ref()
        .and_then(|status| status.last_schedule_time.as_ref());
    let since = last.map_or_else(|| cron.creation_timestamp().map_or(now, |time| time.0), |time| time.0);
    schedule.last(now).filter(|due| *due > since)
}

fn start(cron: &CronJob, jobs: &[Arc<Job>], due: Timestamp, now: Timestamp, plan: &mut Plan) {
    let spec = &cron.spec;
    let deadline = spec.starting_deadline_seconds.map(|seconds| pod::later(due, seconds));
    if deadline.is_some_and(|deadline| deadline < now) {
        let message = format!("Missed scheduled time to start a job: {due}");
        plan.actions.push(Action::Tell {
            warning: true,
            reason: "MissSchedule",
            message,
        });
        return;
    }
    let name = job_name(cron, due);
    if jobs.iter().any(|job| job.name_any() == name) {
        // It was made, but the status could not be written.
        plan.status.last_schedule_time = Some(Time(due));
        return;
    }
    let active = jobs.iter().filter(|job| !is_finished(job));
    match spec.concurrency_policy.as_deref() {
        Some("Forbid") if active.clone().next().is_some() => {
            let message = "Not starting job because prior execution is running and concurrency policy is Forbid";
            plan.actions.push(Action::Tell {
                warning: false,
                reason: "JobAlreadyActive",
                message: message.into(),
            });
            return;
        }
        Some("Replace") => plan.actions.extend(active.cloned().map(Action::Delete)),
        _ => {}
    }
    plan.actions.push(Action::Create(due));
    plan.status.last_schedule_time = Some(Time(due));
}

fn status(cron: &CronJob, jobs: &[Arc<Job>]) -> CronJobStatus {
    let mut status = cron.status.clone().unwrap_or_default();
    let mut active: Vec<_> = jobs
        .iter()
        .filter(|job| !is_finished(job))
        .map(|job| job.object_ref(&()))
        .collect();
    active.sort_by(|a, b| a.name.cmp(&b.name));
    let named = |list: &[ObjectReference]| list.iter().map(|job| job.uid.clone()).collect::<Vec<_>>();
    // The references hold a resourceVersion: they stay as they are while they are about the same Jobs.
    if named(status.active.as_deref().unwrap_or_default()) != named(&active) {
        status.active = (!active.is_empty()).then_some(active);
    }
    let completed = jobs
        .iter()
        .filter_map(|job| job.status.as_ref()?.completion_time.clone())
        .map(|time| time.0)
        .max();
    let known = status.last_successful_time.as_ref().map(|time| time.0);
    status.last_successful_time = completed.max(known).map(Time);
    status
}

/// What is told of Jobs that ran at the last look and don't now.
fn seen_completed<'a>(cron: &'a CronJob, jobs: &'a [Arc<Job>]) -> impl Iterator<Item = Action> + 'a {
    let active = cron.status.iter().flat_map(|status| status.active.iter().flatten());
    active.filter_map(|reference| {
        let job = jobs.iter().find(|job| job.uid() == reference.uid);
        let name = reference.name.clone().unwrap_or_default();
        match job {
            Some(job) => {
                let end = end_of(job)?;
                let message = format!("Saw completed job: {name}, condition: {end}");
                Some(Action::Tell {
                    warning: false,
                    reason: "SawCompletedJob",
                    message,
                })
            }
            None => Some(Action::Tell {
                warning: false,
                reason: "MissingJob",
                message: format!("Active job went missing: {name}"),
            }),
        }
    })
}

/// The Jobs that ended beyond the history that is kept, oldest first.
fn surplus(cron: &CronJob, jobs: &[Arc<Job>]) -> Vec<Arc<Job>> {
    let spec = &cron.spec;
    let successes = spec.successful_jobs_history_limit.unwrap_or(3);
    let failures = spec.failed_jobs_history_limit.unwrap_or(1);
    let mut surplus = Vec::new();
    for (end, limit) in [("Complete", successes), ("Failed", failures)] {
        let mut ended: Vec<_> = jobs
            .iter()
            .filter(|job| end_of(job) == Some(end) && job.metadata.deletion_timestamp.is_none())
            .collect();
        ended.sort_by_key(|job| {
            (
                job.status.as_ref().and_then(|status| status.start_time.clone()),
                job.name_any(),
            )
        });
        let count = ended
            .len()
            .saturating_sub(usize::try_from(limit.max(0)).unwrap_or_default());
        surplus.extend(ended.into_iter().take(count).cloned());
    }
    surplus
}

/// One name for one time: however often it is tried, there is one Job.
fn job_name(cron: &CronJob, due: Timestamp) -> String {
    format!("{}-{}", cron.name_any(), due.as_second().div_euclid(60))
}

fn job_for(cron: &CronJob, due: Timestamp) -> Job {
    let template = cron.spec.job_template.clone();
    let meta = template.metadata.unwrap_or_default();
    let mut annotations = meta.annotations.unwrap_or_default();
    annotations.insert(SCHEDULED.into(), due.to_string());
    Job {
        metadata: ObjectMeta {
            name: Some(job_name(cron, due)),
            namespace: cron.namespace(),
            labels: meta.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![controller_reference(cron)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}

/// Makes Jobs when they are due.
pub(crate) fn run(context: &Context) -> BoxFuture<'static, ()> {
    let (queue, requests) = queue();
    let on_cron = queue.clone();
    context
        .cache
        .cron_jobs
        .listen(move |change| change.new.iter().for_each(|cron| on_cron.add(Key::of(&**cron))));
    context.cache.jobs.listen(move |change| {
        for job in change.versions() {
            if let Some(owner) = controller_of(&job.metadata).filter(|owner| owner.kind == "CronJob") {
                queue.add(Key::new(job.namespace().unwrap_or_default(), &owner.name));
            }
        }
    });
    context.work("cronjob-controller", requests, |context, key| async move {
        reconcile(&context, &key).await
    })
}

async fn reconcile(context: &Context, key: &Key) -> Result<Next, VerbError> {
    let Some(cron) = context.cache.cron_jobs.get(key) else {
        return Ok(Next::OnChange);
    };
    let uid = cron.uid().unwrap_or_default();
    let mut jobs = context.cache.jobs.within(&key.namespace);
    jobs.retain(|job| is_controlled_by(&job.metadata, &uid));
    let planned = plan(&cron, &jobs, pgop_sandbox_tasks::now());
    let api: Api<Job> = context.namespaced(&key.namespace);
    for action in planned.actions {
        match action {
            Action::Create(due) => create(context, &api, &cron, due).await?,
            Action::Delete(job) => {
                verbs::delete(&api, &job.metadata, Some(PropagationPolicy::Background)).await?;
                context
                    .recorder
                    .normal(&*cron, "SuccessfulDelete", format!("Deleted job {}", job.name_any()));
            }
            Action::Tell {
                warning: true,
                reason,
                message,
            } => context.recorder.warning(&*cron, reason, message),
            Action::Tell {
                warning: false,
                reason,
                message,
            } => context.recorder.normal(&*cron, reason, message),
        }
    }
    if cron.status.as_ref() != Some(&planned.status) {
        let api: Api<CronJob> = context.namespaced(&key.namespace);
        verbs::put_status(
            &api,
            &CronJob {
                status: Some(planned.status),
                ..(*cron).clone()
            },
        )
        .await?;
    }
    Ok(Next::after(planned.again))
}

async fn create(context: &Context, api: &Api<Job>, cron: &CronJob, due: Timestamp) -> Result<(), VerbError> {
    let job = job_for(cron, due);
    match verbs::create(api, &job).await {
        Ok(_) => context
            .recorder
            .normal(cron, "SuccessfulCreate", format!("Created job {}", job.name_any())),
        Err(error) if error.is_already_exists() || error.is_namespace_ending() => {}
        Err(error) => {
            context
                .recorder
                .warning(cron, "FailedCreate", format!("Error creating job: {}", error.message()));
            return Err(error);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const NOW: &str = "2026-11-01T10:00:30Z";

    fn cron(change: impl FnOnce(&mut Value)) -> CronJob {
        let mut cron = json!({
            "metadata": { "name": "backup", "namespace": "shop", "uid": "c-1", "creationTimestamp": "2026-11-01T09:30:00Z" },
            "spec": {
                "schedule": "0 * * * *", "concurrencyPolicy": "Allow",
                "jobTemplate": { "metadata": { "labels": { "app": "db" } }, "spec": { "template": { "spec": { "containers": [] } } } },
            },
        });
        change(&mut cron);
        serde_json::from_value(cron).unwrap()
    }

    fn job(name: &str, end: Option<&str>) -> Arc<Job> {
        let conditions = end.map(|end| json!([{ "type": end, "status": "True" }]));
        let completed = end.filter(|end| *end == "Complete").map(|_| "2026-11-01T09:05:00Z");
        let job = json!({
            "metadata": { "name": name, "namespace": "shop", "uid": name },
            "status": { "conditions": conditions, "startTime": "2026-11-01T09:00:00Z", "completionTime": completed },
        });
        Arc::new(serde_json::from_value(job).unwrap())
    }

    fn planned(cron: &CronJob, jobs: &[Arc<Job>]) -> Plan {
        plan(cron, jobs, NOW.parse().unwrap())
    }

    fn due() -> Timestamp {
        "2026-11-01T10:00:00Z".parse().unwrap()
    }

    fn reasons(plan: &Plan) -> Vec<&str> {
        plan.actions
            .iter()
            .map(|action| match action {
                Action::Create(_) => "create",
                Action::Delete(_) => "delete",
                Action::Tell { reason, .. } => reason,
            })
            .collect()
    }

    #[test]
    fn a_job_is_made_when_it_is_due_and_once() {
        let plan = planned(&cron(|_| {}), &[]);
        assert_eq!(plan.actions, [Action::Create(due())]);
        assert_eq!(plan.status.last_schedule_time, Some(Time(due())));
        assert_eq!(plan.again, Some(Duration::from_secs(3570)));
        let after = cron(|cron| cron["status"] = json!({ "lastScheduleTime": "2026-11-01T10:00:00Z" }));
        assert!(planned(&after, &[]).actions.is_empty());
        let made = job(&job_name(&cron(|_| {}), due()), None);
        assert!(
            planned(&cron(|_| {}), &[made]).actions.is_empty(),
            "made, but the status was lost"
        );
    }

    #[test]
    fn nothing_is_due_before_its_time() {
        let new = cron(|cron| cron["metadata"]["creationTimestamp"] = json!("2026-11-01T10:00:10Z"));
        assert!(planned(&new, &[]).actions.is_empty());
    }

    #[test]
    fn a_job_knows_when_it_was_due() {
        let job = job_for(&cron(|_| {}), due());
        assert_eq!(job.name_any(), format!("backup-{}", due().as_second() / 60));
        assert_eq!(job.annotations()[SCHEDULED], "2026-11-01T10:00:00Z");
        assert_eq!(
            (job.labels()["app"].as_str(), job.owner_references()[0].uid.as_str()),
            ("db", "c-1")
        );
    }

    #[test]
    fn concurrency() {
        let with = |policy: &'static str| cron(move |cron| cron["spec"]["concurrencyPolicy"] = json!(policy));
        let running = [job("backup-1", None)];
        assert_eq!(reasons(&planned(&with("Allow"), &running)), ["create"]);
        assert_eq!(reasons(&planned(&with("Forbid"), &running)), ["JobAlreadyActive"]);
        assert_eq!(reasons(&planned(&with("Replace"), &running)), ["delete", "create"]);
        assert_eq!(
            planned(&with("Forbid"), &running).status.last_schedule_time,
            None,
            "it starts when the other has ended"
        );
    }

    #[test]
    fn a_missed_start_is_told_and_a_suspended_one_not_made() {
        let late = cron(|cron| cron["spec"]["startingDeadlineSeconds"] = json!(10));
        assert_eq!(reasons(&planned(&late, &[])), ["MissSchedule"]);
        let suspended = cron(|cron| cron["spec"]["suspend"] = json!(true));
        let plan = planned(&suspended, &[]);
        assert!(plan.actions.is_empty() && plan.again.is_none());
    }

    #[test]
    fn history_is_kept_up_to_the_limits() {
        let done = cron(|cron| {
            cron["spec"]["successfulJobsHistoryLimit"] = json!(1);
            cron["status"] = json!({ "lastScheduleTime": "2026-11-01T10:00:00Z" });
        });
        let jobs = [
            job("a", Some("Complete")),
            job("b", Some("Complete")),
            job("c", Some("Failed")),
        ];
        assert_eq!(planned(&done, &jobs).actions, [Action::Delete(jobs[0].clone())]);
    }

    #[test]
    fn the_status_lists_what_runs_and_tells_what_ended() {
        let running = cron(|cron| {
            cron["status"] = json!({ "lastScheduleTime": "2026-11-01T10:00:00Z", "active": [{ "name": "a", "uid": "a" }, { "name": "gone", "uid": "gone" }] });
        });
        let plan = planned(&running, &[job("a", Some("Complete")), job("b", None)]);
        assert_eq!(reasons(&plan), ["SawCompletedJob", "MissingJob"]);
        assert_eq!(plan.status.active.unwrap()[0].name.as_deref(), Some("b"));
        assert_eq!(
            plan.status.last_successful_time,
            Some(Time("2026-11-01T09:05:00Z".parse().unwrap()))
        );
    }
}
