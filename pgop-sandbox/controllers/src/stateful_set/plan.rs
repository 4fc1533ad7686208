//! What a `StatefulSet` does next with its pods, and its status. Pure.
//!
//! Pods come up in the order of their ordinals and go in the reverse one; with `podManagementPolicy: Parallel` nobody waits, except
//! for updates, which always go one pod at a time from the highest ordinal down.
//! See <https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/>.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{StatefulSet, StatefulSetStatus},
    core::v1::Pod,
};
use kube::ResourceExt;

use super::identity::{REVISION_LABEL, first_ordinal, is_identified, ordinal, replicas};
use crate::pod;

#[derive(Debug, PartialEq)]
pub(crate) enum Action {
    /// Make the pod with this ordinal from the named revision, and its claims before it.
    Create { ordinal: i32, revision: String },
    /// Delete the pod: it is surplus, ended, or of an old revision.
    Delete(Arc<Pod>),
    /// Put the labels of its identity back.
    Identify(Arc<Pod>, i32),
}

/// What to do now, and what to say.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) actions: Vec<Action>,
    pub(crate) status: StatefulSetStatus,
    /// When a ready pod becomes available without a change of its own.
    pub(crate) again: Option<Duration>,
}

/// The names of the revision that pods are updated from and to.
#[derive(Clone, Copy)]
pub(crate) struct Revisions<'a> {
    pub(crate) current: &'a str,
    pub(crate) update: &'a str,
}

struct Planner<'a> {
    set: &'a StatefulSet,
    revisions: Revisions<'a>,
    now: Timestamp,
    parallel: bool,
    actions: Vec<Action>,
    status: StatefulSetStatus,
}

fn revision(pod: &Pod) -> &str {
    pod.labels().get(REVISION_LABEL).map_or("", String::as_str)
}

pub(crate) fn plan(set: &StatefulSet, pods: &[Arc<Pod>], revisions: Revisions<'_>, now: Timestamp) -> Plan {
    let parallel = set.spec.pod_management_policy.as_deref() == Some("Parallel");
    let mut planner = Planner {
        set,
        revisions,
        now,
        parallel,
        actions: Vec::new(),
        status: StatefulSetStatus::default(),
    };
    let (slots, condemned) = planner.sort(pods);
    planner.count(pods);
    if set.metadata.deletion_timestamp.is_none() {
        let _ = planner.act(&slots, &condemned);
    }
    planner.complete();
    let again = pods
        .iter()
        .filter_map(|pod| pod::available_in(pod, planner.min_ready(), now))
        .filter(|wait| !wait.is_zero())
        .min();
    Plan {
        actions: planner.actions,
        status: planner.status,
        again,
    }
}

/// A step that nothing may follow before it has shown its effect.
struct Wait;

impl Planner<'_> {
    fn min_ready(&self) -> i32 {
        self.set.spec.min_ready_seconds.unwrap_or(0)
    }

    /// The pods by ordinal, `None` where one is missing; and those beyond the wanted ones, highest first.
    fn sort(&self, pods: &[Arc<Pod>]) -> (Vec<Option<Arc<Pod>>>, Vec<Arc<Pod>>) {
        let first = first_ordinal(self.set);
        let mut slots = vec![None; usize::try_from(replicas(self.set)).unwrap_or_default()];
        let mut condemned = Vec::new();
        for pod in pods {
            let Some(ordinal) = ordinal(&self.set.name_any(), &pod.name_any()) else {
                continue;
            };
            match usize::try_from(ordinal - first)
                .ok()
                .and_then(|index| slots.get_mut(index))
            {
                Some(slot) => *slot = Some(pod.clone()),
                None => condemned.push((ordinal, pod.clone())),
            }
        }
        condemned.sort_by_key(|(ordinal, _)| std::cmp::Reverse(*ordinal));
        (slots, condemned.into_iter().map(|(_, pod)| pod).collect())
    }

    fn count(&mut self, pods: &[Arc<Pod>]) {
        let old = self.set.status.clone().unwrap_or_default();
        let count = |wanted: &dyn Fn(&Pod) -> bool| {
            i32::try_from(pods.iter().filter(|pod| wanted(pod)).count()).unwrap_or(i32::MAX)
        };
        let ready = |pod: &Pod| pod::phase(pod) == "Running" && pod::is_ready(pod);
        let of = |pod: &Pod, name: &str| !pod::is_terminating(pod) && revision(pod) == name;
        self.status = StatefulSetStatus {
            replicas: count(&|_| true),
            ready_replicas: Some(count(&ready)),
            available_replicas: Some(count(&|pod| {
                ready(pod) && pod::is_available(pod, self.min_ready(), self.now)
            })),
            current_replicas: Some(count(&|pod| of(pod, self.revisions.current))),
            updated_replicas: Some(count(&|pod| of(pod, self.revisions.update))),
            current_revision: Some(self.revisions.current.to_owned()),
            update_revision: Some(self.revisions.update.to_owned()),
            observed_generation: self.set.metadata.generation,
            collision_count: old.collision_count.or(Some(0)),
            conditions: old.conditions,
        };
    }

    fn act(&mut self, slots: &[Option<Arc<Pod>>], condemned: &[Arc<Pod>]) -> Result<(), Wait> {
        let first = first_ordinal(self.set);
        for (ordinal, slot) in (first..).zip(slots) {
            self.fill(ordinal, slot.as_ref(), slots)?;
        }
        self.scale_down(slots, condemned)?;
        self.update(slots)
    }

    /// In order, one waits for the one before; in parallel, nobody waits.
    fn wait_unless_parallel(&self) -> Result<(), Wait> {
        if self.parallel { Ok(()) } else { Err(Wait) }
    }

    fn fill(&mut self, ordinal: i32, pod: Option<&Arc<Pod>>, slots: &[Option<Arc<Pod>>]) -> Result<(), Wait> {
        let Some(pod) = pod else {
            let revision = self.revision_for(ordinal, slots).to_owned();
            self.actions.push(Action::Create { ordinal, revision });
            return self.wait_unless_parallel();
        };
        if pod::is_terminating(pod) {
            return self.wait_unless_parallel();
        }
        if pod::is_finished(pod) {
            self.actions.push(Action::Delete(pod.clone()));
            return self.wait_unless_parallel();
        }
        if !self.is_healthy(pod) {
            return self.wait_unless_parallel();
        }
        if !is_identified(self.set, pod) {
            self.actions.push(Action::Identify(pod.clone(), ordinal));
        }
        Ok(())
    }

    /// Running, ready, and ready for long enough.
    fn is_healthy(&self, pod: &Pod) -> bool {
        !pod::is_terminating(pod) && pod::phase(pod) == "Running" && pod::is_available(pod, self.min_ready(), self.now)
    }

    /// While an update is under way, a pod that went away by itself comes back as it was if the update has not reached it.
    fn revision_for(&self, ordinal: i32, slots: &[Option<Arc<Pod>>]) -> &str {
        let below = ordinal - first_ordinal(self.set);
        let strategy = self.set.spec.update_strategy.as_ref();
        let old = match strategy.and_then(|strategy| strategy.type_.as_deref()) {
            Some("OnDelete") => false,
            _ => match strategy.and_then(|strategy| strategy.rolling_update.as_ref()?.partition) {
                Some(partition) if partition > 0 => below < partition,
                _ => !self.update_reached(below, slots),
            },
        };
        if old {
            self.revisions.current
        } else {
            self.revisions.update
        }
    }

    /// Is it this one's turn? All above are new and healthy then. (The status can't tell: it may be of before the last deletion.)
    fn update_reached(&self, below: i32, slots: &[Option<Arc<Pod>>]) -> bool {
        let above = slots.iter().skip(usize::try_from(below).unwrap_or_default() + 1);
        let done = |pod: &Arc<Pod>| revision(pod) == self.revisions.update && self.is_healthy(pod);
        above.into_iter().all(|slot| slot.as_ref().is_some_and(done))
    }

    fn scale_down(&mut self, slots: &[Option<Arc<Pod>>], condemned: &[Arc<Pod>]) -> Result<(), Wait> {
        // The lowest unhealthy pod, surplus or not: only it may go while another is unhealthy.
        let unhealthy = slots
            .iter()
            .flatten()
            .chain(condemned.iter().rev())
            .find(|pod| !self.is_healthy(pod))
            .cloned();
        for pod in condemned {
            if pod::is_terminating(pod) {
                self.wait_unless_parallel()?;
                continue;
            }
            let is_first_unhealthy = unhealthy.as_ref().is_some_and(|other| Arc::ptr_eq(other, pod));
            if !self.is_healthy(pod) && !self.parallel && !is_first_unhealthy {
                return Err(Wait);
            }
            self.actions.push(Action::Delete(pod.clone()));
            self.wait_unless_parallel()?;
        }
        Ok(())
    }

    fn update(&mut self, slots: &[Option<Arc<Pod>>]) -> Result<(), Wait> {
        let strategy = self.set.spec.update_strategy.as_ref();
        if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete") {
            return Ok(());
        }
        let partition = strategy
            .and_then(|strategy| strategy.rolling_update.as_ref()?.partition)
            .unwrap_or(0);
        let kept = usize::try_from(partition).unwrap_or_default();
        for pod in slots.iter().skip(kept).rev() {
            // One that is missing is being made by now: it is not healthy yet.
            let Some(pod) = pod else { return Err(Wait) };
            if revision(pod) != self.revisions.update && !pod::is_terminating(pod) {
                let told = self
                    .actions
                    .iter()
                    .any(|action| matches!(action, Action::Delete(other) if Arc::ptr_eq(other, pod)));
                if !told {
                    self.actions.push(Action::Delete(pod.clone()));
                }
                return Err(Wait);
            }
            if !self.is_healthy(pod) {
                return Err(Wait);
            }
        }
        Ok(())
    }

    /// When all pods are of the new revision and ready, it becomes the current one.
    fn complete(&mut self) {
        let strategy = self.set.spec.update_strategy.as_ref();
        let rolling = strategy.and_then(|strategy| strategy.type_.as_deref()) != Some("OnDelete");
        let wanted = replicas(self.set);
        let status = &mut self.status;
        let all = |count: Option<i32>| count == Some(wanted);
        if rolling && all(status.updated_replicas) && all(status.ready_replicas) && status.replicas == wanted {
            status.current_revision = status.update_revision.clone();
            status.current_replicas = status.updated_replicas;
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
