//! `ReplicaSets`: as many pods as wanted, all the same.

use std::{cmp::Reverse, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{Api, ResourceExt};

use crate::{
    context::Context,
    expectations::Expectations,
    ownership::{self, controller_of, controller_reference, selects},
    pod,
    pod_control::PodControl,
    queue::{Key, Next, queue},
    verbs::{self, VerbError},
};

/// How many pods one step makes or deletes at most.
const BURST: usize = 500;
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

#[derive(Debug, PartialEq)]
enum Step {
    Create(usize),
    Delete(Vec<Arc<Pod>>),
}

struct Plan {
    step: Option<Step>,
    status: ReplicaSetStatus,
    again: Option<Duration>,
}

/// `pods` are those the set owns. `settled` is false while the cache does not show what was made or deleted.
fn plan(set: &ReplicaSet, pods: &[Arc<Pod>], settled: bool, now: Timestamp) -> Plan {
    let spec = &set.spec;
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let active: Vec<_> = pods.iter().filter(|pod| pod::is_active(pod)).cloned().collect();
    let wanted = usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or_default();
    let step = if !settled || set.metadata.deletion_timestamp.is_some() {
        None
    } else if active.len() < wanted {
        Some(Step::Create((wanted - active.len()).min(BURST)))
    } else if active.len() > wanted {
        let mut surplus = active.clone();
        surplus.sort_by_key(|pod| rank(pod));
        surplus.truncate((active.len() - wanted).min(BURST));
        Some(Step::Delete(surplus))
    } else {
        None
    };
    let template = spec
        .template
        .as_ref()
        .and_then(|template| template.metadata.as_ref()?.labels.clone())
        .unwrap_or_default();
    let count = |wanted: &dyn Fn(&Pod) -> bool| {
        i32::try_from(active.iter().filter(|pod| wanted(pod)).count()).unwrap_or(i32::MAX)
    };
    let old = set.status.clone().unwrap_or_default();
    let some = |count: i32| Some(count).filter(|count| *count > 0);
    let status = ReplicaSetStatus {
        replicas: count(&|_| true),
        fully_labeled_replicas: some(count(&|pod| {
            template
                .iter()
                .all(|(name, value)| pod.labels().get(name) == Some(value))
        })),
        ready_replicas: some(count(&pod::is_ready)),
        available_replicas: some(count(&|pod| pod::is_available(pod, min_ready, now))),
        observed_generation: set.metadata.generation,
        ..old
    };
    let again = active
        .iter()
        .filter_map(|pod| pod::available_in(pod, min_ready, now))
        .filter(|wait| !wait.is_zero())
        .min();
    Plan { step, status, again }
}

/// Those that go first are least: not placed before placed, not running before running, not ready before ready, cheap before dear,
/// shortly ready before long ready, often restarted before seldom, new before old.
fn rank(pod: &Pod) -> impl Ord + use<> {
    let phase = match pod::phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let cost: i32 = pod
        .annotations()
        .get(DELETION_COST)
        .and_then(|cost| cost.parse().ok())
        .unwrap_or(0);
    (
        pod::node_name(pod).is_some(),
        phase,
        pod::is_ready(pod),
        cost,
        Reverse(pod::ready_since(pod)),
        Reverse(pod::restarts(pod)),
        Reverse(pod.creation_timestamp()),
        pod.name_any(),
    )
}

/// Runs pods of `ReplicaSets`.
pub(crate) fn run(context: &Context) -> BoxFuture<'static, ()> {
    let (queue, requests) = queue();
    let expectations = Arc::new(Expectations::new("ReplicaSet"));
    let on_set = queue.clone();
    context
        .cache
        .replica_sets
        .listen(move |change| change.new.iter().for_each(|set| on_set.add(Key::of(&**set))));
    let (seen, sets) = (expectations.clone(), Arc::downgrade(&context.cache));
    context.cache.pods.listen(move |change| {
        seen.observe(change);
        for pod in change.versions() {
            let namespace = pod.namespace().unwrap_or_default();
            match controller_of(&pod.metadata) {
                Some(owner) if owner.kind == "ReplicaSet" => queue.add(Key::new(namespace, &owner.name)),
                Some(_) => {}
                None => {
                    let Some(cache) = sets.upgrade() else { return };
                    for set in cache.replica_sets.within(&namespace) {
                        let selector = ownership::selector(&set.spec.selector);
                        if selector.is_some_and(|selector| selects(&selector, &pod.metadata)) {
                            queue.add(Key::of(&*set));
                        }
                    }
                }
            }
        }
    });
    context.work("replicaset-controller", requests, move |context, key| {
        let expectations = expectations.clone();
        async move { reconcile(&context, &expectations, &key).await }
    })
}

async fn reconcile(context: &Context, expectations: &Expectations, key: &Key) -> Result<Next, VerbError> {
    let Some(set) = context.cache.replica_sets.get(key) else {
        return Ok(Next::OnChange);
    };
    let Some(selector) = ownership::selector(&set.spec.selector) else {
        return Ok(Next::OnChange);
    };
    let settled = expectations.met(key);
    let pods = pods_for(context, key, &set).await?;
    let claims = ownership::claims(&set.metadata, &selector, pods);
    let owned = ownership::settle(&context.client, &*set, claims).await?;
    let planned = plan(&set, &owned, settled, pgop_sandbox_tasks::now());
    let done = match planned.step {
        Some(step) => {
            let control = PodControl {
                context,
                expectations,
                key,
                owner: &*set,
            };
            carry_out(&control, step).await
        }
        None => Ok(()),
    };
    // While writes are on their way nothing is known of whether they fail.
    let status = if settled {
        with_failure(planned.status, done.as_ref().err(), pgop_sandbox_tasks::now())
    } else {
        planned.status
    };
    if set.status.as_ref() != Some(&status) {
        let api: Api<ReplicaSet> = context.namespaced(&key.namespace);
        verbs::put_status(
            &api,
            &ReplicaSet {
                status: Some(status),
                ..(*set).clone()
            },
        )
        .await?;
    }
    done.map(|()| Next::after(planned.again))
}

/// Shows a failure to make or delete pods as a condition, and takes it away when all is well.
fn with_failure(mut status: ReplicaSetStatus, error: Option<&VerbError>, now: Timestamp) -> ReplicaSetStatus {
    const TYPE: &str = "ReplicaFailure";
    let is_shown = |condition: &ReplicaSetCondition| condition.type_.as_deref() == Some(TYPE);
    let mut conditions = status.conditions.take().unwrap_or_default();
    match error {
        None => conditions.retain(|condition| !is_shown(condition)),
        Some(error) if !conditions.iter().any(is_shown) => {
            conditions.push(ReplicaSetCondition {
                type_: Some(TYPE.into()),
                status: Some("True".into()),
                reason: Some("FailedCreate".into()),
                message: Some(error.message()),
                last_transition_time: Some(Time(now)),
            });
        }
        Some(_) => {}
    }
    status.conditions = (!conditions.is_empty()).then_some(conditions);
    status
}

/// Its pods, and those that may become it. Those of a set that was never looked at come from the server: the cache may not yet show a
/// pod that was there before the set, and another one would be made in its place.
async fn pods_for(context: &Context, key: &Key, set: &ReplicaSet) -> Result<Vec<Arc<Pod>>, VerbError> {
    let seen = set
        .status
        .as_ref()
        .is_some_and(|status| status.observed_generation.is_some());
    let mut pods = if seen {
        context.cache.pods.within(&key.namespace)
    } else {
        let live = verbs::list(&context.namespaced::<Pod>(&key.namespace)).await?;
        live.into_iter().map(Arc::new).collect()
    };
    pods.retain(|pod| pod::is_active(pod));
    Ok(pods)
}

async fn carry_out(control: &PodControl<'_, ReplicaSet>, step: Step) -> Result<(), VerbError> {
    let set = control.owner;
    match step {
        Step::Create(count) => {
            let template = set.spec.template.clone().unwrap_or_default();
            let base = format!("{}-", set.name_any());
            for _ in 0..count {
                let name = pod::generated_name(&base);
                let mut pod = pod::from_template(&template, &control.key.namespace, name, controller_reference(set));
                pod.metadata.generate_name = Some(base.clone());
                control.create(&pod).await?;
            }
        }
        Step::Delete(pods) => {
            for pod in pods {
                control.delete(&pod).await?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const NOW: &str = "2026-11-01T10:00:00Z";

    fn set(replicas: i32) -> ReplicaSet {
        serde_json::from_value(json!({
            "metadata": { "name": "web", "namespace": "shop", "uid": "rs-1", "generation": 2 },
            "spec": {
                "replicas": replicas, "minReadySeconds": 10, "selector": { "matchLabels": { "app": "web" } },
                "template": { "metadata": { "labels": { "app": "web", "tier": "a" } } },
            },
        }))
        .unwrap()
    }

    fn pod_of(name: &str, change: impl FnOnce(&mut Value)) -> Arc<Pod> {
        let mut pod = json!({
            "metadata": { "name": name, "uid": name, "labels": { "app": "web", "tier": "a" }, "creationTimestamp": "2026-11-01T09:00:00Z" },
            "spec": { "containers": [], "nodeName": "sandbox" },
            "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True", "lastTransitionTime": "2026-11-01T09:30:00Z" }] },
        });
        change(&mut pod);
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn planned(replicas: i32, pods: &[Arc<Pod>]) -> Plan {
        plan(&set(replicas), pods, true, NOW.parse().unwrap())
    }

    fn unready(pod: &mut Value) {
        pod["status"]["conditions"] = json!([]);
    }

    #[test]
    fn missing_pods_are_made_and_surplus_ones_deleted() {
        assert_eq!(planned(3, &[pod_of("a", |_| {})]).step, Some(Step::Create(2)));
        assert_eq!(planned(1, &[pod_of("a", |_| {})]).step, None);
        assert_eq!(
            planned(0, &[pod_of("a", |_| {})]).step,
            Some(Step::Delete(vec![pod_of("a", |_| {})]))
        );
    }

    #[test]
    fn pods_that_ended_or_are_going_do_not_count() {
        let ended = pod_of("a", |pod| pod["status"]["phase"] = json!("Failed"));
        let going = pod_of("b", |pod| pod["metadata"]["deletionTimestamp"] = json!(NOW));
        assert_eq!(planned(1, &[ended, going]).step, Some(Step::Create(1)));
    }

    #[test]
    fn nothing_is_done_on_an_old_view() {
        assert_eq!(plan(&set(3), &[], false, NOW.parse().unwrap()).step, None);
    }

    #[test]
    fn who_goes_first() {
        let order = [
            pod_of("unplaced", |pod| pod["spec"]["nodeName"] = Value::Null),
            pod_of("pending", |pod| pod["status"]["phase"] = json!("Pending")),
            pod_of("unready", unready),
            pod_of("cheap", |pod| {
                pod["metadata"]["annotations"] = json!({ (DELETION_COST): "-5" });
            }),
            pod_of("lately", |pod| {
                pod["status"]["conditions"][0]["lastTransitionTime"] = json!("2026-11-01T09:50:00Z");
            }),
            pod_of("young", |pod| {
                pod["metadata"]["creationTimestamp"] = json!("2026-11-01T09:10:00Z");
            }),
            pod_of("old", |_| {}),
        ];
        for count in 1..order.len() {
            let mut pods = order.to_vec();
            pods.reverse();
            let Some(Step::Delete(deleted)) = planned(i32::try_from(order.len() - count).unwrap(), &pods).step else {
                panic!()
            };
            assert_eq!(deleted, order[..count]);
        }
    }

    #[test]
    fn the_status_counts() {
        let fresh = pod_of("b", |pod| {
            pod["status"]["conditions"][0]["lastTransitionTime"] = json!("2026-11-01T09:59:55Z");
        });
        let other = pod_of("c", |pod| {
            unready(pod);
            pod["metadata"]["labels"] = json!({ "app": "web" });
        });
        let plan = planned(3, &[pod_of("a", |_| {}), fresh, other]);
        let status = plan.status;
        assert_eq!((status.replicas, status.fully_labeled_replicas), (3, Some(2)));
        assert_eq!((status.ready_replicas, status.available_replicas), (Some(2), Some(1)));
        assert_eq!(
            (status.observed_generation, plan.again),
            (Some(2), Some(Duration::from_secs(5)))
        );
    }

    #[test]
    fn a_failure_is_shown_until_it_is_over() {
        let failed = with_failure(
            ReplicaSetStatus::default(),
            Some(&VerbError::Unreadable("quota".into())),
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(failed.conditions.as_ref().unwrap()[0].message.as_deref(), Some("quota"));
        assert_eq!(with_failure(failed, None, Timestamp::UNIX_EPOCH).conditions, None);
    }
}
