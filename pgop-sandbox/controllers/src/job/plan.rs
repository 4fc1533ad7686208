//! What a Job does next with its pods, and its status. Pure.
//! See <https://kubernetes.io/docs/concepts/workloads/controllers/job/>.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        batch::v1::{Job, JobCondition, JobSpec, JobStatus},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::ResourceExt;
use pgop_sandbox_tasks::Doubling;

use super::{
    account::{Account, End, account, is_tracked, plain_end},
    policy::{Ruling, ruling},
};
use crate::pod;

pub(crate) const INDEX: &str = "batch.kubernetes.io/job-completion-index";
const PAUSES: Doubling = Doubling {
    first: Duration::from_secs(10),
    longest: Duration::from_secs(600),
};
/// How many pods one step makes at most.
const BURST: usize = 500;

#[derive(Debug, PartialEq)]
pub(crate) enum Action {
    /// Make a pod, for this index in an Indexed Job.
    Create(Option<i32>),
    /// Delete the pod. Uncounted: it goes because it is not needed, which is no failure.
    Delete { pod: Arc<Pod>, uncounted: bool },
    /// The pod is accounted for: take its finalizer away.
    Release(Arc<Pod>),
    Tell {
        warning: bool,
        reason: String,
        message: String,
    },
}

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) actions: Vec<Action>,
    pub(crate) status: JobStatus,
    pub(crate) again: Option<Duration>,
}

/// How a Job is to end.
enum Outcome {
    Failed { reason: String, message: String },
    Complete,
}

pub(crate) fn condition<'a>(status: &'a JobStatus, type_: &str) -> Option<&'a JobCondition> {
    status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == type_ && condition.status == "True")
}

/// How the Job ended, `Complete` or `Failed`, if it has.
pub(crate) fn end_of(job: &Job) -> Option<&str> {
    let status = job.status.as_ref()?;
    let end = condition(status, "Complete").or_else(|| condition(status, "Failed"))?;
    Some(&end.type_)
}

pub(crate) fn is_finished(job: &Job) -> bool {
    end_of(job).is_some()
}

fn is_indexed(spec: &JobSpec) -> bool {
    spec.completion_mode.as_deref() == Some("Indexed")
}

pub(crate) fn index_of(pod: &Pod) -> Option<i32> {
    pod.annotations().get(INDEX)?.parse().ok()
}

struct Planner<'a> {
    job: &'a Job,
    spec: &'a JobSpec,
    pods: &'a [Arc<Pod>],
    now: Timestamp,
    account: Account,
    actions: Vec<Action>,
    status: JobStatus,
    again: Option<Duration>,
}

/// `settled` is false while the cache does not show all pods that were made or deleted: then no others are.
pub(crate) fn plan(job: &Job, pods: &[Arc<Pod>], settled: bool, now: Timestamp) -> Plan {
    let status = job.status.clone().unwrap_or_default();
    let Some(spec) = job.spec.as_ref().filter(|spec| {
        spec.managed_by
            .as_deref()
            .is_none_or(|name| name == "kubernetes.io/job-controller")
    }) else {
        return Plan {
            actions: Vec::new(),
            status,
            again: None,
        };
    };
    if is_finished(job) {
        let releases = pods.iter().filter(|pod| is_tracked(pod)).cloned().map(Action::Release);
        return Plan {
            actions: releases.collect(),
            status,
            again: None,
        };
    }
    let end = |pod: &Pod| match plain_end(pod) {
        Some(End::Failed) if pod::is_failed(pod) && ruling(job, pod) == Ruling::Ignore => Some(End::Ignored),
        other => other,
    };
    let index = |pod: &Pod| if is_indexed(spec) { index_of(pod) } else { None };
    let account = account(&status, pods, &end, &index);
    let mut planner = Planner {
        job,
        spec,
        pods,
        now,
        account,
        actions: Vec::new(),
        status,
        again: None,
    };
    planner.count();
    planner.decide(settled);
    Plan {
        actions: planner.actions,
        status: planner.status,
        again: planner.again,
    }
}

impl Planner<'_> {
    fn active(&self) -> Vec<Arc<Pod>> {
        self.pods.iter().filter(|pod| pod::is_active(pod)).cloned().collect()
    }

    fn terminating(&self) -> usize {
        self.pods
            .iter()
            .filter(|pod| pod::is_terminating(pod) && !pod::is_finished(pod))
            .count()
    }

    fn count(&mut self) {
        let active = self.active();
        let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        let ready = active.iter().filter(|pod| pod::is_ready(pod)).count();
        let status = &mut self.status;
        status.active = Some(count(active.len())).filter(|active| *active > 0);
        status.ready = Some(count(ready));
        status.succeeded = Some(self.account.succeeded).filter(|succeeded| *succeeded > 0);
        status.failed = Some(self.account.failed).filter(|failed| *failed > 0);
        status.uncounted_terminated_pods = Some(self.account.uncounted.clone());
        if is_indexed(self.spec) {
            status.completed_indexes = Some(self.account.completed.to_string());
        }
        self.status.terminating = Some(count(self.terminating()));
        self.actions
            .extend(self.account.release.iter().cloned().map(Action::Release));
    }

    fn decide(&mut self, settled: bool) {
        let suspended = self.spec.suspend == Some(true);
        if self.status.start_time.is_none() && !suspended {
            self.status.start_time = Some(Time(self.now));
        }
        if self.job.metadata.deletion_timestamp.is_some() {
            return;
        }
        if let Some(outcome) = self.outcome() {
            self.end(&outcome);
            return;
        }
        self.show_suspended(suspended);
        if !settled {
            return;
        }
        if suspended {
            self.delete(self.active(), true);
        } else {
            self.manage();
        }
    }

    fn outcome(&mut self) -> Option<Outcome> {
        if let Some(target) = condition(&self.status, "FailureTarget") {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            return Some(Outcome::Failed {
                reason: text(&target.reason),
                message: text(&target.message),
            });
        }
        if condition(&self.status, "SuccessCriteriaMet").is_some() || self.is_complete() {
            return Some(Outcome::Complete);
        }
        let failed = |reason: &str, message: &str| {
            Some(Outcome::Failed {
                reason: reason.into(),
                message: message.into(),
            })
        };
        for pod in self.pods.iter().filter(|pod| pod::is_failed(pod) && is_tracked(pod)) {
            if let Ruling::FailJob(message) = ruling(self.job, pod) {
                return failed("PodFailurePolicy", &message);
            }
        }
        let limit = self.spec.backoff_limit.unwrap_or(6);
        if self.account.total_failed() > limit || self.restarts_exceed(limit) {
            return failed("BackoffLimitExceeded", "Job has reached the specified backoff limit");
        }
        let deadline = self.deadline()?;
        if deadline <= self.now {
            return failed("DeadlineExceeded", "Job was active longer than specified deadline");
        }
        self.look_again(pod::until(self.now, deadline));
        None
    }

    fn is_complete(&self) -> bool {
        let succeeded = self.account.total_succeeded();
        match self.spec.completions {
            Some(completions) => succeeded >= completions,
            // A queue of work: when one has found it empty, all others are to end by themselves.
            None => succeeded > 0 && self.active().is_empty(),
        }
    }

    /// Containers that are restarted in place fail without their pod failing.
    fn restarts_exceed(&self, limit: i32) -> bool {
        let on_failure = self
            .spec
            .template
            .spec
            .as_ref()
            .and_then(|spec| spec.restart_policy.as_deref())
            == Some("OnFailure");
        if !on_failure {
            return false;
        }
        let restarts: i32 = self.active().iter().map(|pod| pod::restarts(pod)).sum();
        if limit == 0 { restarts > 0 } else { restarts >= limit }
    }

    fn deadline(&self) -> Option<Timestamp> {
        if self.spec.suspend == Some(true) {
            return None;
        }
        let start = self.status.start_time.as_ref()?.0;
        Some(pod::later(start, self.spec.active_deadline_seconds?))
    }

    /// First says how it will end, then waits until no pod runs any more, then ends.
    fn end(&mut self, outcome: &Outcome) {
        let active = self.active();
        let idle = active.is_empty() && self.terminating() == 0;
        match outcome {
            Outcome::Failed { reason, message } => {
                self.set("FailureTarget", "True", reason, message);
                self.delete(active, false);
                if idle && self.account.is_settled() {
                    self.set("Failed", "True", reason, message);
                    self.tell(true, reason, message);
                }
            }
            Outcome::Complete => {
                let (reason, message) = ("CompletionsReached", "Reached expected number of succeeded pods");
                self.set("SuccessCriteriaMet", "True", reason, message);
                self.delete(active, true);
                if idle && self.account.is_settled() {
                    self.set("Complete", "True", reason, message);
                    self.status.completion_time = Some(Time(self.now));
                    self.tell(false, "Completed", "Job completed");
                }
            }
        }
    }

    fn show_suspended(&mut self, suspended: bool) {
        let shown = condition(&self.status, "Suspended").is_some();
        if suspended && !shown {
            self.set("Suspended", "True", "JobSuspended", "Job suspended");
            self.status.start_time = None;
            self.tell(false, "Suspended", "Job suspended");
        } else if !suspended && shown {
            self.set("Suspended", "False", "JobResumed", "Job resumed");
            self.status.start_time = Some(Time(self.now));
            self.tell(false, "Resumed", "Job resumed");
        }
    }

    /// Makes as many pods as are missing, or deletes those that are too many.
    fn manage(&mut self) {
        let active = self.active();
        let parallelism = usize::try_from(self.spec.parallelism.unwrap_or(1)).unwrap_or_default();
        let succeeded = self.account.total_succeeded();
        let wanted = match self.spec.completions {
            Some(completions) => parallelism.min(usize::try_from(completions - succeeded).unwrap_or_default()),
            None if succeeded > 0 => active.len().min(parallelism),
            None => parallelism,
        };
        if active.len() > wanted {
            let surplus = active.len() - wanted;
            let mut active = active;
            active.sort_by_key(|pod| {
                (
                    pod::is_ready(pod),
                    pod::phase(pod) == "Running",
                    std::cmp::Reverse(pod.creation_timestamp()),
                )
            });
            active.truncate(surplus);
            self.delete(active, true);
            return;
        }
        let replaces_early =
            self.spec.pod_replacement_policy.as_deref() != Some("Failed") && self.spec.pod_failure_policy.is_none();
        let going = if replaces_early { 0 } else { self.terminating() };
        let missing = wanted.saturating_sub(active.len() + going).min(BURST);
        if missing == 0 {
            return;
        }
        let pause = self.pause();
        if !pause.is_zero() {
            self.look_again(pause);
            return;
        }
        let indexes = self.free_indexes(&active, missing);
        self.actions.extend(indexes.into_iter().map(Action::Create));
    }

    fn free_indexes(&self, active: &[Arc<Pod>], missing: usize) -> Vec<Option<i32>> {
        if !is_indexed(self.spec) {
            return vec![None; missing];
        }
        let taken: BTreeSet<i32> = active.iter().filter_map(|pod| index_of(pod)).collect();
        let all = 0..self.spec.completions.unwrap_or(0);
        all.filter(|index| !taken.contains(index) && !self.account.completed.contains(*index))
            .take(missing)
            .map(Some)
            .collect()
    }

    /// How long to wait after failures: 10 s, doubled with each failure since the last success.
    fn pause(&self) -> Duration {
        let latest = |wanted: &dyn Fn(&Pod) -> bool| {
            self.pods
                .iter()
                .filter(|pod| wanted(pod))
                .filter_map(|pod| ended_at(pod))
                .max()
        };
        let success = latest(&pod::is_succeeded);
        let after_success = |pod: &&Arc<Pod>| pod::is_failed(pod) && ended_at(pod) > success;
        let failures = self.pods.iter().filter(after_success).count();
        let Some(last) = latest(&pod::is_failed).filter(|_| failures > 0) else {
            return Duration::ZERO;
        };
        let pause = PAUSES.after(u64::try_from(failures - 1).unwrap_or(u64::MAX));
        pod::until(self.now, last + pause)
    }

    fn delete(&mut self, pods: Vec<Arc<Pod>>, uncounted: bool) {
        self.actions
            .extend(pods.into_iter().map(|pod| Action::Delete { pod, uncounted }));
    }

    fn look_again(&mut self, wait: Duration) {
        self.again = Some(self.again.map_or(wait, |other| other.min(wait)));
    }

    fn tell(&mut self, warning: bool, reason: &str, message: &str) {
        self.actions.push(Action::Tell {
            warning,
            reason: reason.into(),
            message: message.into(),
        });
    }

    fn set(&mut self, type_: &str, status: &str, reason: &str, message: &str) {
        let conditions = self.status.conditions.get_or_insert_default();
        if conditions
            .iter()
            .any(|condition| condition.type_ == type_ && condition.status == status)
        {
            return;
        }
        conditions.retain(|condition| condition.type_ != type_);
        conditions.push(JobCondition {
            type_: type_.into(),
            status: status.into(),
            reason: Some(reason.into()),
            message: Some(message.into()),
            last_probe_time: Some(Time(self.now)),
            last_transition_time: Some(Time(self.now)),
        });
    }
}

/// When the last container of the pod ended.
fn ended_at(pod: &Pod) -> Option<Timestamp> {
    let status = pod.status.as_ref()?;
    let containers = status.container_statuses.iter().flatten();
    let ended = containers
        .filter_map(|container| container.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref())
        .map(|time| time.0)
        .max();
    ended.or_else(|| pod.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

/// How long a finished Job is still kept, by `ttlSecondsAfterFinished`.
pub(crate) fn remaining_life(job: &Job, now: Timestamp) -> Option<Duration> {
    let ttl = job.spec.as_ref()?.ttl_seconds_after_finished?;
    let status = job.status.as_ref()?;
    let finished = condition(status, "Complete").or_else(|| condition(status, "Failed"))?;
    let at = finished.last_transition_time.as_ref()?.0;
    Some(pod::until(now, pod::later(at, i64::from(ttl))))
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
