//! `ControllerRevisions`: the templates a `StatefulSet` or `DaemonSet` had, so that pods can be told apart by the one they were made from.

use std::sync::Arc;

use k8s_openapi::{
    api::{apps::v1::ControllerRevision, core::v1::PodTemplateSpec},
    apimachinery::pkg::{
        apis::meta::v1::{ObjectMeta, OwnerReference},
        runtime::RawExtension,
    },
};
use kube::{Api, Resource, ResourceExt};
use serde_json::{Value, json};

use crate::{
    ownership::{controller_reference, is_controlled_by},
    pod,
    verbs::{self, VerbError},
};

const HASH_LABEL: &str = "controller.kubernetes.io/hash";

/// What is to be done so that the template has a revision.
#[derive(Debug, PartialEq)]
enum Step {
    /// It has: this one.
    Have(Arc<ControllerRevision>),
    /// It has an older one, which becomes the newest (a template that was set back).
    Renumber(Arc<ControllerRevision>, i64),
    Create(Box<ControllerRevision>),
}

/// The part of the owner that a revision keeps, in the form Kubernetes gives it.
fn data(template: &PodTemplateSpec) -> Value {
    let mut template = json!(template);
    template["$patch"] = json!("replace");
    json!({ "spec": { "template": template } })
}

/// The template that a revision keeps.
pub(crate) fn template(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut template = revision.data.0.pointer("/spec/template")?.clone();
    template.as_object_mut()?.remove("$patch");
    serde_json::from_value(template).ok()
}

/// How new it is among those of its owner.
fn number(revision: &ControllerRevision) -> i64 {
    revision.revision.unwrap_or(0)
}

/// The revisions of an owner, oldest first.
pub(crate) fn of_owner(uid: &str, all: Vec<Arc<ControllerRevision>>) -> Vec<Arc<ControllerRevision>> {
    let mut revisions: Vec<_> = all
        .into_iter()
        .filter(|revision| is_controlled_by(&revision.metadata, uid))
        .collect();
    revisions.sort_by_key(|revision| (number(revision), revision.creation_timestamp(), revision.name_any()));
    revisions
}

/// Finds or makes the revision for `wanted`, the owner's present template. `revisions` is [`of_owner`]'s.
fn current(
    owner: &ObjectMeta,
    reference: OwnerReference,
    wanted: &PodTemplateSpec,
    collisions: Option<i32>,
    revisions: &[Arc<ControllerRevision>],
) -> Step {
    let next = revisions.last().map_or(1, |last| number(last) + 1);
    let made_from = |revision: &&Arc<ControllerRevision>| template(revision).as_ref() == Some(wanted);
    match revisions.iter().rev().find(made_from) {
        Some(revision) if number(revision) + 1 == next => return Step::Have(revision.clone()),
        Some(revision) => return Step::Renumber(revision.clone(), next),
        None => {}
    }
    let hash = pod::hash(wanted, collisions);
    let name = owner.name.as_deref().unwrap_or_default();
    let mut labels = wanted
        .metadata
        .as_ref()
        .and_then(|meta| meta.labels.clone())
        .unwrap_or_default();
    labels.insert(HASH_LABEL.into(), hash.clone());
    Step::Create(Box::new(ControllerRevision {
        metadata: ObjectMeta {
            name: Some(format!("{name}-{hash}")),
            namespace: owner.namespace.clone(),
            labels: Some(labels),
            owner_references: Some(vec![reference]),
            ..ObjectMeta::default()
        },
        data: RawExtension(data(wanted)),
        revision: Some(next),
    }))
}

/// What has become of the revision of the present template.
pub(crate) enum Newest {
    Have(Arc<ControllerRevision>),
    /// It was only made now: its event brings the owner again.
    Made,
    /// Another's has its name. The owner counts up its `collisionCount`, which leads to another name.
    Collision,
}

/// Sees to it that the present template has a revision, the newest of all. `revisions` is [`of_owner`]'s.
pub(crate) async fn newest<O>(
    api: &Api<ControllerRevision>,
    owner: &O,
    wanted: &PodTemplateSpec,
    collisions: Option<i32>,
    revisions: &[Arc<ControllerRevision>],
) -> Result<Newest, VerbError>
where
    O: Resource<DynamicType = ()>,
{
    let collisions = collisions.filter(|count| *count > 0);
    match current(owner.meta(), controller_reference(owner), wanted, collisions, revisions) {
        Step::Have(revision) => return Ok(Newest::Have(revision)),
        Step::Renumber(revision, number) => {
            verbs::merge(api, &revision.metadata, json!({ "revision": number })).await?;
        }
        Step::Create(revision) => match verbs::create(api, &revision).await {
            Err(error) if error.is_already_exists() => {
                let other = verbs::get(api, &revision.name_any()).await?;
                let uid = owner.meta().uid.clone().unwrap_or_default();
                let ours =
                    other.is_some_and(|other| is_controlled_by(&other.metadata, &uid) && other.data == revision.data);
                if !ours {
                    return Ok(Newest::Collision);
                }
            }
            made => drop(made?),
        },
    }
    Ok(Newest::Made)
}

/// The revisions nobody needs beyond the `limit` that are kept: oldest first. `used` are names.
pub(crate) fn surplus<'a>(
    revisions: &'a [Arc<ControllerRevision>],
    used: &[&str],
    limit: i32,
) -> Vec<&'a Arc<ControllerRevision>> {
    let unused: Vec<_> = revisions
        .iter()
        .filter(|revision| !used.contains(&revision.name_any().as_str()))
        .collect();
    let surplus = unused
        .len()
        .saturating_sub(usize::try_from(limit.max(0)).unwrap_or_default());
    unused.into_iter().take(surplus).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(image: &str) -> PodTemplateSpec {
        let template = json!({ "metadata": { "labels": { "app": "db" } }, "spec": { "containers": [{ "name": "db", "image": image }] } });
        serde_json::from_value(template).unwrap()
    }

    fn owner() -> ObjectMeta {
        serde_json::from_value(json!({ "name": "db", "namespace": "shop", "uid": "set-1" })).unwrap()
    }

    fn reference() -> OwnerReference {
        OwnerReference {
            uid: "set-1".into(),
            controller: Some(true),
            ..OwnerReference::default()
        }
    }

    fn step(image: &str, revisions: &[Arc<ControllerRevision>]) -> Step {
        current(&owner(), reference(), &wanted(image), None, revisions)
    }

    fn made(step: Step) -> Arc<ControllerRevision> {
        match step {
            Step::Create(revision) => Arc::new(*revision),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_template_gets_one_revision() {
        let first = made(step("a", &[]));
        assert!(first.name_any().starts_with("db-"));
        assert_eq!(first.revision, Some(1));
        assert_eq!(template(&first), Some(wanted("a")));
        assert_eq!(step("a", std::slice::from_ref(&first)), Step::Have(first.clone()));
        assert_eq!(made(step("b", &[first])).revision, Some(2));
    }

    #[test]
    fn a_template_set_back_takes_its_old_revision_up_again() {
        let first = made(step("a", &[]));
        let second = made(step("b", std::slice::from_ref(&first)));
        assert_eq!(step("a", &[first.clone(), second]), Step::Renumber(first, 3));
    }

    #[test]
    fn only_unused_revisions_beyond_the_limit_are_surplus() {
        let mut revisions = Vec::new();
        for image in ["a", "b", "c", "d"] {
            revisions.push(made(step(image, &revisions)));
        }
        let names: Vec<_> = revisions.iter().map(|revision| revision.name_any()).collect();
        let surplus: Vec<_> = surplus(&revisions, &[&names[0], &names[3]], 1)
            .iter()
            .map(|revision| revision.name_any())
            .collect();
        assert_eq!(surplus, [names[1].clone()]);
    }
}
