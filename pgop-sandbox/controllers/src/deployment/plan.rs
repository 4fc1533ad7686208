//! What a Deployment does next with its `ReplicaSets`. Pure.
//! See <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/>.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec},
        core::v1::{Pod, PodTemplateSpec},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::ResourceExt;

use super::sizes::{Sizes, is_recreate};
use crate::{
    ownership::{controller_reference, is_controlled_by},
    pod,
};

pub(crate) const HASH_LABEL: &str = "pod-template-hash";
pub(crate) const REVISION: &str = "deployment.kubernetes.io/revision";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MOST: &str = "deployment.kubernetes.io/max-replicas";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

#[derive(Debug, PartialEq)]
pub(crate) enum Action {
    Create(Box<ReplicaSet>),
    /// Set the size, and the annotations and readiness time that go with it.
    Update {
        set: Arc<ReplicaSet>,
        replicas: i32,
        annotations: BTreeMap<String, String>,
    },
    /// It is older than the history that is kept.
    Delete(Arc<ReplicaSet>),
    /// Note the revision on the Deployment.
    Number(String),
}

/// The sets of a Deployment, told apart.
pub(crate) struct Sets {
    /// The one made from the present template.
    pub(crate) new: Option<Arc<ReplicaSet>>,
    /// The others, oldest first.
    pub(crate) old: Vec<Arc<ReplicaSet>>,
}

impl Sets {
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<ReplicaSet>> {
        self.old.iter().chain(&self.new)
    }
}

pub(crate) fn size(set: &ReplicaSet) -> i32 {
    set.spec.replicas.unwrap_or(1)
}

pub(crate) fn available(set: &ReplicaSet) -> i32 {
    set.status
        .as_ref()
        .and_then(|status| status.available_replicas)
        .unwrap_or(0)
}

fn sum(sets: &[Arc<ReplicaSet>], amount: impl Fn(&ReplicaSet) -> i32) -> i32 {
    sets.iter().map(|set| amount(set)).sum()
}

fn revision(meta: &ObjectMeta) -> i64 {
    meta.annotations
        .as_ref()
        .and_then(|map| map.get(REVISION))
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

fn template(deployment: &Deployment) -> PodTemplateSpec {
    deployment.spec.template.clone()
}

fn hash(deployment: &Deployment) -> String {
    pod::hash(
        &template(deployment),
        deployment.status.as_ref().and_then(|status| status.collision_count),
    )
}

/// Whether the set was made from this template. The label with the hash is the controller's own.
pub(crate) fn is_made_from(set: &ReplicaSet, template: &PodTemplateSpec) -> bool {
    let Some(mut made) = set.spec.template.clone() else {
        return false;
    };
    if let Some(labels) = made.metadata.as_mut().and_then(|meta| meta.labels.as_mut()) {
        labels.remove(HASH_LABEL);
    }
    let (made_labels, labels) = (meta_maps(&made), meta_maps(template));
    made_labels == labels && made.spec == template.spec
}

fn meta_maps(template: &PodTemplateSpec) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let meta = template.metadata.clone().unwrap_or_default();
    (meta.labels.unwrap_or_default(), meta.annotations.unwrap_or_default())
}

pub(crate) fn sort(deployment: &Deployment, mut sets: Vec<Arc<ReplicaSet>>) -> Sets {
    sets.sort_by_key(|set| (set.creation_timestamp(), set.name_any()));
    let (wanted, hash) = (template(deployment), hash(deployment));
    // The hash finds it too where the server writes a default into the set that it did not write into the Deployment.
    let is_new = |set: &Arc<ReplicaSet>| is_made_from(set, &wanted) || set.labels().get(HASH_LABEL) == Some(&hash);
    let new = sets.iter().position(is_new).map(|index| sets.remove(index));
    Sets { new, old: sets }
}

pub(crate) fn plan(deployment: &Deployment, sets: &Sets, pods: &[Arc<Pod>]) -> Vec<Action> {
    if deployment.metadata.deletion_timestamp.is_some() {
        return Vec::new();
    }
    let sizes = Sizes::of(deployment);
    let paused = deployment.spec.paused == Some(true);
    let mut actions = Vec::new();
    if paused || was_resized(sets, sizes) {
        actions.extend(proportional(deployment, sets, sizes));
        actions.extend(surplus_history(deployment, sets, paused));
        return actions;
    }
    let number = next_revision(sets);
    let Some(new) = &sets.new else {
        let replicas = match is_recreate(deployment) {
            true if still_running(sets, pods) => return stop_old(deployment, sets),
            true => sizes.replicas,
            false => (sizes.most() - sum(&sets.old, size)).clamp(0, sizes.replicas),
        };
        return vec![Action::Create(Box::new(new_set(deployment, replicas, number, sizes)))];
    };
    let number = if revision(&new.metadata) < number {
        number
    } else {
        revision(&new.metadata)
    };
    if revision(&deployment.metadata) != number {
        actions.push(Action::Number(number.to_string()));
    }
    let wanted = wanted_annotations(deployment, new, number, sizes);
    let (new_size, old_sizes) = if is_recreate(deployment) {
        let running = still_running(sets, pods);
        (
            if running { size(new) } else { sizes.replicas },
            vec![0; sets.old.len()],
        )
    } else {
        rolled(sets, new, sizes)
    };
    actions.extend(update(new, new_size, wanted));
    for (set, replicas) in sets.old.iter().zip(old_sizes) {
        let annotations = with_sizes(set.annotations().clone(), sizes);
        if size(set) != replicas {
            actions.extend(update(set, replicas, annotations));
        }
    }
    actions.extend(surplus_history(deployment, sets, paused));
    actions
}

/// The sizes of one step of a rolling update: the new set as large as the surge allows; the old ones as small as availability allows.
fn rolled(sets: &Sets, new: &ReplicaSet, sizes: Sizes) -> (i32, Vec<i32>) {
    let mut old: Vec<i32> = sets.old.iter().map(|set| size(set)).collect();
    let total = size(new) + old.iter().sum::<i32>();
    if size(new) > sizes.replicas {
        return (sizes.replicas, old);
    }
    if size(new) < sizes.replicas && total < sizes.most() {
        // One step at a time: the old ones are looked at when this has shown its effect.
        return (sizes.replicas.min(size(new) + sizes.most() - total), old);
    }
    let new_unavailable = size(new) - available(new);
    let mut room = total - sizes.least_available() - new_unavailable;
    // Pods that don't work go first: they are missed by nobody.
    for (replicas, set) in old.iter_mut().zip(&sets.old) {
        let broken = (*replicas - available(set)).clamp(0, room.max(0));
        *replicas -= broken;
        room -= broken;
    }
    let mut spare = (available(new) + sum(&sets.old, available)) - sizes.least_available();
    for replicas in &mut old {
        let less = (*replicas).min(spare.max(0)).min(room.max(0));
        *replicas -= less;
        spare -= less;
        room -= less;
    }
    (size(new), old)
}

fn stop_old(deployment: &Deployment, sets: &Sets) -> Vec<Action> {
    let sizes = Sizes::of(deployment);
    let running = sets.old.iter().filter(|set| size(set) > 0);
    running
        .flat_map(|set| update(set, 0, with_sizes(set.annotations().clone(), sizes)))
        .collect()
}

/// For `Recreate`: pods of old sets must be gone before new ones are made.
fn still_running(sets: &Sets, pods: &[Arc<Pod>]) -> bool {
    let old: Vec<String> = sets.old.iter().filter_map(|set| set.uid()).collect();
    let of_old = |pod: &Pod| old.iter().any(|uid| is_controlled_by(&pod.metadata, uid));
    sets.old.iter().any(|set| size(set) > 0) || pods.iter().any(|pod| !pod::is_finished(pod) && of_old(pod))
}

/// The Deployment was made larger or smaller since its sets were last sized.
fn was_resized(sets: &Sets, sizes: Sizes) -> bool {
    sets.all().filter(|set| size(set) > 0).any(|set| {
        let desired = set.annotations().get(DESIRED).and_then(|text| text.parse::<i32>().ok());
        desired.is_some_and(|desired| desired != sizes.replicas)
    })
}

/// Sizes the sets without rolling on: a single one takes all, several share the change by their sizes.
fn proportional(deployment: &Deployment, sets: &Sets, sizes: Sizes) -> Vec<Action> {
    let active: Vec<&Arc<ReplicaSet>> = sets.all().filter(|set| size(set) > 0).collect();
    let resize =
        |set: &Arc<ReplicaSet>, replicas: i32| update(set, replicas, with_sizes(set.annotations().clone(), sizes));
    if active.len() <= 1 {
        let latest = active.first().copied().or(sets.new.as_ref()).or(sets.old.last());
        return latest.map(|set| resize(set, sizes.replicas)).unwrap_or_default();
    }
    if let Some(new) = &sets.new
        && size(new) == sizes.replicas
        && available(new) == sizes.replicas
    {
        return sets
            .old
            .iter()
            .filter(|set| size(set) > 0)
            .flat_map(|set| resize(set, 0))
            .collect();
    }
    if is_recreate(deployment) {
        return Vec::new();
    }
    let total: i32 = active.iter().map(|set| size(set)).sum();
    let allowed = if sizes.replicas > 0 { sizes.most() } else { 0 };
    let mut left = allowed - total;
    let mut largest_first = active;
    // What rounding leaves over goes to the largest; of equals, growth goes to the newest and shrinking to the oldest.
    largest_first.sort_by_key(|set| set.creation_timestamp());
    if left > 0 {
        largest_first.reverse();
    }
    largest_first.sort_by_key(|set| std::cmp::Reverse(size(set)));
    let mut shares: Vec<(&Arc<ReplicaSet>, i32)> = Vec::new();
    for set in largest_first {
        let share = share(set, sizes, allowed - total, left);
        left -= share;
        shares.push((set, size(set) + share));
    }
    if let Some((_, replicas)) = shares.first_mut() {
        *replicas = (*replicas + left).max(0);
    }
    shares
        .into_iter()
        .flat_map(|(set, replicas)| resize(set, replicas))
        .collect()
}

/// This set's part of a change, towards its size times how much larger the whole becomes.
fn share(set: &ReplicaSet, sizes: Sizes, change: i32, left: i32) -> i32 {
    let before: i32 = set
        .annotations()
        .get(MOST)
        .and_then(|text| text.parse().ok())
        .filter(|most| *most > 0)
        .unwrap_or(sizes.most().max(1));
    let exact = f64::from(size(set)) * f64::from(sizes.most()) / f64::from(before);
    #[allow(clippy::cast_possible_truncation)] // Sizes are far below what an i32 holds.
    let towards = exact.round() as i32 - size(set);
    match change.signum() {
        1 => towards.clamp(0, left.max(0)),
        -1 => towards.clamp(left.min(0), 0).max(-size(set)),
        _ => 0,
    }
}

fn update(set: &Arc<ReplicaSet>, replicas: i32, annotations: BTreeMap<String, String>) -> Vec<Action> {
    if size(set) == replicas && *set.annotations() == annotations {
        return Vec::new();
    }
    vec![Action::Update {
        set: set.clone(),
        replicas,
        annotations,
    }]
}

fn with_sizes(mut annotations: BTreeMap<String, String>, sizes: Sizes) -> BTreeMap<String, String> {
    annotations.insert(DESIRED.into(), sizes.replicas.to_string());
    annotations.insert(MOST.into(), sizes.most().to_string());
    annotations
}

fn next_revision(sets: &Sets) -> i64 {
    sets.old.iter().map(|set| revision(&set.metadata)).max().unwrap_or(0) + 1
}

/// The annotations of the new set: those of the Deployment, its sizes and its number.
fn wanted_annotations(
    deployment: &Deployment,
    set: &ReplicaSet,
    number: i64,
    sizes: Sizes,
) -> BTreeMap<String, String> {
    let mut annotations = set.annotations().clone();
    let own = deployment
        .annotations()
        .iter()
        .filter(|(name, _)| ![REVISION, DESIRED, MOST, LAST_APPLIED].contains(&name.as_str()));
    annotations.extend(own.map(|(name, value)| (name.clone(), value.clone())));
    annotations.insert(REVISION.into(), number.to_string());
    with_sizes(annotations, sizes)
}

fn new_set(deployment: &Deployment, replicas: i32, number: i64, sizes: Sizes) -> ReplicaSet {
    let spec = deployment.spec.clone();
    let hash = hash(deployment);
    let mut template = spec.template;
    template
        .metadata
        .get_or_insert_default()
        .labels
        .get_or_insert_default()
        .insert(HASH_LABEL.into(), hash.clone());
    let mut selector = spec.selector;
    selector
        .match_labels
        .get_or_insert_default()
        .insert(HASH_LABEL.into(), hash.clone());
    let mut set = ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", deployment.name_any())),
            namespace: deployment.namespace(),
            labels: template.metadata.as_ref().and_then(|meta| meta.labels.clone()),
            owner_references: Some(vec![controller_reference(deployment)]),
            ..ObjectMeta::default()
        },
        spec: ReplicaSetSpec {
            replicas: Some(replicas),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        },
        status: None,
    };
    set.metadata.annotations = Some(wanted_annotations(deployment, &set, number, sizes));
    set
}

/// Old sets without pods beyond the history limit, oldest first.
fn surplus_history(deployment: &Deployment, sets: &Sets, paused: bool) -> Vec<Action> {
    let limit = deployment.spec.revision_history_limit.unwrap_or(10);
    let idle = |set: &&Arc<ReplicaSet>| {
        size(set) == 0
            && set.metadata.deletion_timestamp.is_none()
            && set.status.as_ref().is_none_or(|status| status.replicas == 0)
    };
    // While an update is under way any of the old sets may be gone back to.
    let rolling =
        sets.new.as_ref().is_none_or(|new| available(new) < size(new)) || sets.old.iter().any(|set| size(set) > 0);
    if paused || rolling {
        return Vec::new();
    }
    let mut idle: Vec<_> = sets.old.iter().filter(idle).collect();
    idle.sort_by_key(|set| revision(&set.metadata));
    let surplus = idle
        .len()
        .saturating_sub(usize::try_from(limit.max(0)).unwrap_or_default());
    idle.into_iter().take(surplus).cloned().map(Action::Delete).collect()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
