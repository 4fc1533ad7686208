//! Counting a Job's ended pods, each exactly once. Pure.
//!
//! A pod carries a finalizer until it is counted. First its uid is written into the status; then the finalizer is taken away; then
//! it is added to the counter. Whatever is interrupted, or read from a cache that lags behind, the status says where to go on.
//! See <https://kubernetes.io/docs/concepts/workloads/controllers/job/#job-tracking-with-finalizers>.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::api::{
    batch::v1::{JobStatus, UncountedTerminatedPods},
    core::v1::Pod,
};
use kube::ResourceExt;

use super::indexes::Indexes;
use crate::pod;

pub(crate) const TRACKED: &str = "batch.kubernetes.io/job-tracking";

pub(crate) fn is_tracked(pod: &Pod) -> bool {
    pod.finalizers().iter().any(|name| name == TRACKED)
}

/// What became of the pods.
pub(crate) struct Account {
    pub(crate) succeeded: i32,
    pub(crate) failed: i32,
    pub(crate) completed: Indexes,
    pub(crate) uncounted: UncountedTerminatedPods,
    /// Their uids are in the status: the finalizer may go.
    pub(crate) release: Vec<Arc<Pod>>,
}

impl Account {
    pub(crate) fn total_succeeded(&self) -> i32 {
        self.succeeded.saturating_add(length(self.uncounted.succeeded.as_ref()))
    }

    pub(crate) fn total_failed(&self) -> i32 {
        self.failed.saturating_add(length(self.uncounted.failed.as_ref()))
    }

    /// Whether all that ended is in the counters.
    pub(crate) fn is_settled(&self) -> bool {
        length(self.uncounted.succeeded.as_ref()) == 0 && length(self.uncounted.failed.as_ref()) == 0
    }
}

fn length(list: Option<&Vec<String>>) -> i32 {
    list.map_or(0, |list| i32::try_from(list.len()).unwrap_or(i32::MAX))
}

/// What a pod counts as. One that was told to go counts as failed: it did not come to its end by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Succeeded,
    Failed,
    /// Failed, but the failure policy says that it does not count.
    Ignored,
}

/// Brings the counters of `status` up to date. `end` says how a pod ended, `None` while it has not; `counts_indexes` for Indexed Jobs.
pub(crate) fn account(
    status: &JobStatus,
    pods: &[Arc<Pod>],
    end: &dyn Fn(&Pod) -> Option<End>,
    index: &dyn Fn(&Pod) -> Option<i32>,
) -> Account {
    let before = status.uncounted_terminated_pods.clone().unwrap_or_default();
    let (noted_succeeded, noted_failed) = (set(before.succeeded), set(before.failed));
    let mut account = Account {
        succeeded: status.succeeded.unwrap_or(0),
        failed: status.failed.unwrap_or(0),
        completed: status
            .completed_indexes
            .as_deref()
            .map(Indexes::parse)
            .unwrap_or_default(),
        uncounted: UncountedTerminatedPods::default(),
        release: Vec::new(),
    };
    let tracked: BTreeSet<String> = pods
        .iter()
        .filter(|pod| is_tracked(pod))
        .filter_map(|pod| pod.uid())
        .collect();
    let mut succeeded: BTreeSet<String> = noted_succeeded.intersection(&tracked).cloned().collect();
    let mut failed: BTreeSet<String> = noted_failed.intersection(&tracked).cloned().collect();
    account.succeeded += count(noted_succeeded.difference(&tracked));
    account.failed += count(noted_failed.difference(&tracked));
    for pod in pods.iter().filter(|pod| is_tracked(pod)) {
        let uid = pod.uid().unwrap_or_default();
        if noted_succeeded.contains(&uid) || noted_failed.contains(&uid) {
            account.release.push(pod.clone());
            continue;
        }
        match (end(pod), index(pod)) {
            (None, _) => {}
            // Completed indexes are in the status by themselves: their pods need no note.
            (Some(End::Succeeded), Some(index)) => {
                if account.completed.contains(index) {
                    account.release.push(pod.clone());
                } else {
                    account.completed.insert(index);
                    account.succeeded += 1;
                }
            }
            (Some(End::Succeeded), None) => drop(succeeded.insert(uid)),
            (Some(End::Failed), _) => drop(failed.insert(uid)),
            (Some(End::Ignored), _) => account.release.push(pod.clone()),
        }
    }
    account.uncounted.succeeded = list(succeeded);
    account.uncounted.failed = list(failed);
    account
}

fn set(list: Option<Vec<String>>) -> BTreeSet<String> {
    list.unwrap_or_default().into_iter().collect()
}

fn list(set: BTreeSet<String>) -> Option<Vec<String>> {
    (!set.is_empty()).then(|| set.into_iter().collect())
}

fn count<'a>(uids: impl Iterator<Item = &'a String>) -> i32 {
    i32::try_from(uids.count()).unwrap_or(i32::MAX)
}

/// How a pod ended, without a failure policy.
pub(crate) fn plain_end(pod: &Pod) -> Option<End> {
    if pod::is_succeeded(pod) {
        Some(End::Succeeded)
    } else if pod::is_failed(pod) || pod::is_terminating(pod) {
        Some(End::Failed)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod_of(uid: &str, phase: &str, tracked: bool) -> Arc<Pod> {
        let finalizers = if tracked { json!([TRACKED]) } else { json!([]) };
        let pod =
            json!({ "metadata": { "name": uid, "uid": uid, "finalizers": finalizers }, "status": { "phase": phase } });
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn accounted(status: &JobStatus, pods: &[Arc<Pod>]) -> Account {
        account(status, pods, &plain_end, &|_| None)
    }

    fn status_of(account: &Account) -> JobStatus {
        JobStatus {
            succeeded: Some(account.succeeded),
            failed: Some(account.failed),
            uncounted_terminated_pods: Some(account.uncounted.clone()),
            completed_indexes: Some(account.completed.to_string()),
            ..JobStatus::default()
        }
    }

    #[test]
    fn a_pod_is_noted_then_released_then_counted() {
        let ended = [pod_of("p", "Succeeded", true)];
        let noted = accounted(&JobStatus::default(), &ended);
        assert_eq!((noted.succeeded, noted.total_succeeded()), (0, 1));
        assert!(noted.release.is_empty(), "its uid is not in the status yet");

        let released = accounted(&status_of(&noted), &ended);
        assert_eq!((released.succeeded, released.release.len()), (0, 1));

        let counted = accounted(&status_of(&released), &[pod_of("p", "Succeeded", false)]);
        assert_eq!((counted.succeeded, counted.total_succeeded()), (1, 1));
        assert!(counted.is_settled());

        let again = accounted(&status_of(&counted), &[pod_of("p", "Succeeded", false)]);
        assert_eq!(again.total_succeeded(), 1);
    }

    #[test]
    fn a_noted_pod_that_is_gone_is_counted() {
        let noted = accounted(&JobStatus::default(), &[pod_of("p", "Failed", true)]);
        assert_eq!(accounted(&status_of(&noted), &[]).failed, 1);
    }

    #[test]
    fn running_pods_are_left_alone_and_deleted_ones_failed() {
        let mut going = (*pod_of("p", "Running", true)).clone();
        assert_eq!(
            accounted(&JobStatus::default(), &[Arc::new(going.clone())]).total_failed(),
            0
        );
        going.metadata.deletion_timestamp = serde_json::from_value(json!("2026-11-01T10:00:00Z")).unwrap();
        assert_eq!(accounted(&JobStatus::default(), &[Arc::new(going)]).total_failed(), 1);
    }

    #[test]
    fn an_index_counts_once_however_many_of_its_pods_succeed() {
        let pods = [pod_of("p", "Succeeded", true), pod_of("q", "Succeeded", true)];
        let first = account(&JobStatus::default(), &pods, &plain_end, &|_| Some(3));
        assert_eq!((first.succeeded, first.completed.to_string().as_str()), (1, "3"));
        let second = account(&status_of(&first), &pods, &plain_end, &|_| Some(3));
        assert_eq!((second.succeeded, second.release.len()), (1, 2));
    }

    #[test]
    fn an_ignored_failure_is_let_go_uncounted() {
        let ignored = account(
            &JobStatus::default(),
            &[pod_of("p", "Failed", true)],
            &|_| Some(End::Ignored),
            &|_| None,
        );
        assert_eq!((ignored.total_failed(), ignored.release.len()), (0, 1));
    }
}
