//! The status of disruption budgets: how many pods may be evicted now. The server's eviction reads it and counts it down.
//! See <https://kubernetes.io/docs/tasks/run-application/configure-pdb/>.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        core::v1::Pod,
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus},
    },
    apimachinery::pkg::{
        apis::meta::v1::{Condition, OwnerReference, Time},
        util::intstr::IntOrString,
    },
};
use kube::{Api, ResourceExt, core::Selector};

use crate::{
    context::Context,
    deployment::sizes::resolve,
    ownership::{controller_of, selects},
    pod,
    queue::{Key, Next, queue},
    verbs::{self, VerbError},
};

/// After this time an eviction that was granted and not carried out no longer counts.
const GRANTED: SignedDuration = SignedDuration::from_secs(120);
const CONDITION: &str = "DisruptionAllowed";

/// The pods of a budget: all that it selects. A null selector selects none, an empty one all.
fn selected(budget: &PodDisruptionBudget, pods: Vec<Arc<Pod>>) -> Vec<Arc<Pod>> {
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.clone());
    let Some(selector) = selector.and_then(|selector| Selector::try_from(selector).ok()) else {
        return Vec::new();
    };
    pods.into_iter()
        .filter(|pod| selects(&selector, &pod.metadata))
        .collect()
}

/// How many pods there should be, and how many of them healthy. `scale` is the sum of what the pods' controllers want; only asked for
/// when the budget is given as a share or as what may be missing.
fn goal(budget: &PodDisruptionBudget, pods: usize, scale: Result<i32, String>) -> Result<(i32, i32), String> {
    let count = i32::try_from(pods).unwrap_or(i32::MAX);
    let spec = budget.spec.as_ref();
    let unreadable = |value: &IntOrString| format!("{value:?} is neither a number nor a percentage");
    if let Some(most) = spec.and_then(|spec| spec.max_unavailable.as_ref()) {
        let expected = scale?;
        let missing = resolve(most, expected, true).ok_or_else(|| unreadable(most))?;
        return Ok((expected, (expected - missing).max(0)));
    }
    match spec.and_then(|spec| spec.min_available.as_ref()) {
        Some(IntOrString::Int(number)) => Ok((count, *number)),
        Some(share) => {
            let expected = scale?;
            Ok((
                expected,
                resolve(share, expected, true).ok_or_else(|| unreadable(share))?,
            ))
        }
        None => Ok((count, 0)),
    }
}

fn needs_scale(budget: &PodDisruptionBudget) -> bool {
    let spec = budget.spec.as_ref();
    spec.is_some_and(|spec| {
        spec.max_unavailable.is_some() || matches!(spec.min_available, Some(IntOrString::String(_)))
    })
}

/// The status, and when granted evictions run out.
fn plan(
    budget: &PodDisruptionBudget,
    pods: &[Arc<Pod>],
    scale: Result<i32, String>,
    now: Timestamp,
) -> (PodDisruptionBudgetStatus, Option<Duration>) {
    let old = budget.status.clone().unwrap_or_default();
    let (expected, desired) = match goal(budget, pods.len(), scale) {
        Ok(goal) => goal,
        Err(message) => {
            let mut status = PodDisruptionBudgetStatus {
                disruptions_allowed: Some(0),
                observed_generation: budget.metadata.generation,
                ..old
            };
            show(&mut status, budget, "SyncFailed", &message, now);
            return (status, None);
        }
    };
    let granted = granted(&old, pods, now);
    let runs_out = granted.values().map(|time| pod::until(now, time.0 + GRANTED)).min();
    let healthy = pods
        .iter()
        .filter(|pod| pod::is_ready(pod) && !pod::is_terminating(pod) && !granted.contains_key(&pod.name_any()));
    let current = i32::try_from(healthy.count()).unwrap_or(i32::MAX);
    let allowed = if expected > 0 { (current - desired).max(0) } else { 0 };
    let mut status = PodDisruptionBudgetStatus {
        current_healthy: Some(current),
        desired_healthy: Some(desired),
        expected_pods: Some(expected),
        disruptions_allowed: Some(allowed),
        disrupted_pods: (!granted.is_empty()).then_some(granted),
        observed_generation: budget.metadata.generation,
        conditions: old.conditions,
    };
    show(
        &mut status,
        budget,
        if allowed > 0 {
            "SufficientPods"
        } else {
            "InsufficientPods"
        },
        "",
        now,
    );
    (status, runs_out)
}

/// Evictions that were granted and are still awaited: their pods are there and not yet going.
fn granted(old: &PodDisruptionBudgetStatus, pods: &[Arc<Pod>], now: Timestamp) -> BTreeMap<String, Time> {
    let awaited = |name: &String| {
        pods.iter()
            .any(|pod| pod.name_any() == *name && !pod::is_terminating(pod))
    };
    let fresh = |time: &Time| time.0 + GRANTED > now;
    let all = old.disrupted_pods.clone().unwrap_or_default();
    all.into_iter()
        .filter(|(name, time)| awaited(name) && fresh(time))
        .collect()
}

fn show(
    status: &mut PodDisruptionBudgetStatus,
    budget: &PodDisruptionBudget,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let value = if reason == "SufficientPods" { "True" } else { "False" };
    let conditions = status.conditions.get_or_insert_default();
    let since = conditions
        .iter()
        .find(|known| known.type_ == CONDITION && known.status == value)
        .map(|known| known.last_transition_time.clone());
    conditions.retain(|known| known.type_ != CONDITION);
    conditions.push(Condition {
        type_: CONDITION.into(),
        status: value.into(),
        reason: reason.into(),
        message: message.into(),
        observed_generation: budget.metadata.generation,
        last_transition_time: since.unwrap_or(Time(now)),
    });
}

/// Keeps the status of all budgets.
pub(crate) fn run(context: &Context) -> BoxFuture<'static, ()> {
    let (queue, requests) = queue();
    let cache = &context.cache;
    let on_budget = queue.clone();
    cache
        .disruption_budgets
        .listen(move |change| change.new.iter().for_each(|budget| on_budget.add(Key::of(&**budget))));
    let (on_pod, weak) = (queue.clone(), Arc::downgrade(cache));
    cache.pods.listen(move |change| {
        let (Some(pod), Some(cache)) = (change.versions().next(), weak.upgrade()) else {
            return;
        };
        for budget in cache.disruption_budgets.within(&pod.namespace().unwrap_or_default()) {
            let pods: Vec<_> = change.versions().cloned().collect();
            if !selected(&budget, pods).is_empty() {
                on_pod.add(Key::of(&*budget));
            }
        }
    });
    macro_rules! on_scale {
        ($($kind:ident),*) => {$({
            let (queue, weak) = (queue.clone(), Arc::downgrade(cache));
            cache.$kind.listen(move |change| {
                let (Some(owner), Some(cache)) = (change.versions().next(), weak.upgrade()) else { return };
                let budgets = cache.disruption_budgets.within(&owner.namespace().unwrap_or_default());
                budgets.iter().filter(|budget| needs_scale(budget)).for_each(|budget| queue.add(Key::of(&**budget)));
            });
        })*};
    }
    on_scale!(deployments, replica_sets, stateful_sets);
    context.work("disruption-controller", requests, |context, key| async move {
        reconcile(&context, &key).await
    })
}

async fn reconcile(context: &Context, key: &Key) -> Result<Next, VerbError> {
    let Some(budget) = context.cache.disruption_budgets.get(key) else {
        return Ok(Next::OnChange);
    };
    let pods = selected(&budget, context.cache.pods.within(&key.namespace));
    let scale = if needs_scale(&budget) {
        expected(context, key, &pods).await?
    } else {
        Ok(0)
    };
    if let Err(message) = &scale {
        context.recorder.warning(
            &*budget,
            "CalculateExpectedPodCountFailed",
            format!("Failed to calculate the number of expected pods: {message}"),
        );
    }
    let (status, runs_out) = plan(&budget, &pods, scale, pgop_sandbox_tasks::now());
    if budget.status.as_ref() != Some(&status) {
        let api: Api<PodDisruptionBudget> = context.namespaced(&key.namespace);
        verbs::put_status(
            &api,
            &PodDisruptionBudget {
                status: Some(status),
                ..(*budget).clone()
            },
        )
        .await?;
    }
    Ok(Next::after(runs_out))
}

/// The sum of the sizes of the pods' controllers. The inner error says which pod has none that can be asked.
async fn expected(context: &Context, key: &Key, pods: &[Arc<Pod>]) -> Result<Result<i32, String>, VerbError> {
    let mut sizes: BTreeMap<String, i32> = BTreeMap::new();
    for pod in pods {
        let Some(owner) = controller_of(&pod.metadata) else {
            return Ok(Err(format!("found no controller ref for pod \"{}\"", pod.name_any())));
        };
        if sizes.contains_key(&owner.uid) {
            continue;
        }
        match size_of(context, key, owner).await? {
            Some((uid, size)) => drop(sizes.insert(uid, size)),
            None => return Ok(Err(format!("found no controllers for pod \"{}\"", pod.name_any()))),
        }
    }
    Ok(Ok(sizes.values().sum()))
}

/// The uid and size of a controller. A `ReplicaSet` of a Deployment counts as the Deployment: during a rollout there are two.
async fn size_of(context: &Context, key: &Key, owner: &OwnerReference) -> Result<Option<(String, i32)>, VerbError> {
    let at = |name: &str| Key::new(&key.namespace, name);
    let cache = &context.cache;
    match owner.kind.as_str() {
        "ReplicaSet" => {
            let Some(set) = cache.replica_sets.get(&at(&owner.name)) else {
                return Ok(None);
            };
            let deployment = controller_of(&set.metadata).filter(|owner| owner.kind == "Deployment");
            if let Some((owner, deployment)) =
                deployment.and_then(|owner| Some((owner, cache.deployments.get(&at(&owner.name))?)))
            {
                let size = deployment.spec.replicas.unwrap_or(1);
                return Ok(Some((owner.uid.clone(), size)));
            }
            Ok(Some((owner.uid.clone(), set.spec.replicas.unwrap_or(1))))
        }
        "StatefulSet" => {
            let Some(set) = cache.stateful_sets.get(&at(&owner.name)) else {
                return Ok(None);
            };
            Ok(Some((owner.uid.clone(), set.spec.replicas.unwrap_or(1))))
        }
        // Any other kind is asked for its scale, if it has one.
        _ => {
            let Some(served) = context.resources.find(&owner.api_version, &owner.kind).await? else {
                return Ok(None);
            };
            let api = served.api(&context.client, &key.namespace);
            match verbs::request(
                "get the scale of",
                || format!("{} {}", owner.kind, owner.name),
                api.get_scale(&owner.name),
            )
            .await
            {
                Ok(scale) => Ok(Some((
                    owner.uid.clone(),
                    scale.spec.and_then(|spec| spec.replicas).unwrap_or(0),
                ))),
                Err(error) if error.status().is_some_and(|status| matches!(status.code, 404 | 405)) => Ok(None),
                Err(error) => Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const NOW: &str = "2026-11-01T10:00:00Z";

    fn budget(spec: Value, status: Value) -> PodDisruptionBudget {
        let mut budget = json!({ "metadata": { "name": "db", "generation": 4 }, "spec": spec, "status": null });
        budget["spec"]["selector"] = json!({ "matchLabels": { "app": "db" } });
        if !status.is_null() {
            budget["status"] = status;
        }
        serde_json::from_value(budget).unwrap()
    }

    fn pods(ready: &[bool]) -> Vec<Arc<Pod>> {
        let pod = |(number, ready): (usize, &bool)| {
            let status = if *ready { "True" } else { "False" };
            let pod = json!({
                "metadata": { "name": format!("db-{number}"), "labels": { "app": "db" } },
                "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": status }] },
            });
            Arc::new(serde_json::from_value(pod).unwrap())
        };
        ready.iter().enumerate().map(pod).collect()
    }

    /// Current, desired, expected and allowed.
    fn figures(spec: Value, ready: &[bool], scale: i32) -> (i32, i32, i32, i32) {
        let (status, _) = plan(
            &budget(spec, Value::Null),
            &pods(ready),
            Ok(scale),
            NOW.parse().unwrap(),
        );
        (
            status.current_healthy.unwrap(),
            status.desired_healthy.unwrap(),
            status.expected_pods.unwrap(),
            status.disruptions_allowed.unwrap(),
        )
    }

    #[test]
    fn how_many_may_go() {
        assert_eq!(
            figures(json!({ "minAvailable": 2 }), &[true, true, true], 0),
            (3, 2, 3, 1)
        );
        assert_eq!(
            figures(json!({ "minAvailable": "50%" }), &[true, true, true], 3),
            (3, 2, 3, 1)
        );
        assert_eq!(
            figures(json!({ "maxUnavailable": 1 }), &[true, true, true], 3),
            (3, 2, 3, 1)
        );
        assert_eq!(
            figures(json!({ "maxUnavailable": 1 }), &[true, false, true], 3),
            (2, 2, 3, 0)
        );
        assert_eq!(
            figures(json!({ "maxUnavailable": "30%" }), &[true, true, true], 3),
            (3, 2, 3, 1)
        );
        assert_eq!(figures(json!({ "minAvailable": 0 }), &[], 0), (0, 0, 0, 0));
    }

    #[test]
    fn the_condition_says_it_too() {
        let (status, _) = plan(
            &budget(json!({ "minAvailable": 1 }), Value::Null),
            &pods(&[true]),
            Ok(0),
            NOW.parse().unwrap(),
        );
        let condition = &status.conditions.as_ref().unwrap()[0];
        assert_eq!(
            (
                condition.type_.as_str(),
                condition.status.as_str(),
                condition.reason.as_str()
            ),
            ("DisruptionAllowed", "False", "InsufficientPods")
        );
        assert_eq!(status.observed_generation, Some(4));
    }

    #[test]
    fn an_eviction_that_was_granted_counts_until_it_is_done_or_too_old() {
        let status = |time: &str| json!({ "currentHealthy": 2, "desiredHealthy": 1, "disruptionsAllowed": 1, "expectedPods": 2, "disruptedPods": { "db-0": time } });
        let planned = |time: &str| {
            plan(
                &budget(json!({ "minAvailable": 1 }), status(time)),
                &pods(&[true, true]),
                Ok(0),
                NOW.parse().unwrap(),
            )
        };
        let (fresh, again) = planned("2026-11-01T09:59:00Z");
        assert_eq!(
            (fresh.current_healthy, fresh.disruptions_allowed, again),
            (Some(1), Some(0), Some(Duration::from_secs(60)))
        );
        let (old, again) = planned("2026-11-01T09:50:00Z");
        assert_eq!(
            (old.disruptions_allowed, old.disrupted_pods, again),
            (Some(1), None, None)
        );
    }

    #[test]
    fn pods_without_a_controller_allow_nothing_where_it_matters() {
        let (status, _) = plan(
            &budget(json!({ "maxUnavailable": 1 }), Value::Null),
            &pods(&[true]),
            Err("no controller".into()),
            NOW.parse().unwrap(),
        );
        assert_eq!(status.disruptions_allowed, Some(0));
        assert_eq!(status.conditions.unwrap()[0].reason, "SyncFailed");
    }

    #[test]
    fn an_unchanged_budget_has_an_unchanged_status() {
        let (first, _) = plan(
            &budget(json!({ "minAvailable": 1 }), Value::Null),
            &pods(&[true]),
            Ok(0),
            NOW.parse().unwrap(),
        );
        let again = budget(json!({ "minAvailable": 1 }), json!(first));
        assert_eq!(
            plan(&again, &pods(&[true]), Ok(0), "2026-11-01T11:00:00Z".parse().unwrap()).0,
            first
        );
    }
}
