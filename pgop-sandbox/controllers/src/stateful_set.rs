//! `StatefulSets`: pods with names, order and claims of their own.

mod identity;
mod plan;

use std::sync::Arc;

use futures::future::BoxFuture;
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, StatefulSet, StatefulSetStatus},
    core::v1::{PersistentVolumeClaim, Pod},
};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::{
    context::Context,
    ownership::{self, controller_of},
    queue::{Key, Next, queue},
    revision::{self, Newest},
    verbs::{self, VerbError},
};
use identity::ordinal;
use plan::{Action, Revisions, plan};

/// Runs pods of `StatefulSets`.
pub(crate) fn run(context: &Context) -> BoxFuture<'static, ()> {
    let (queue, requests) = queue();
    let on_set = queue.clone();
    context
        .cache
        .stateful_sets
        .listen(move |change| change.new.iter().for_each(|set| on_set.add(Key::of(&**set))));
    let (on_revision, on_pod) = (queue.clone(), queue);
    context.cache.revisions.listen(move |change| {
        let owners = change.versions().filter_map(|revision| owner_key(&revision.metadata));
        owners.for_each(|key| on_revision.add(key));
    });
    let sets = Arc::downgrade(&context.cache);
    context.cache.pods.listen(move |change| {
        for pod in change.versions() {
            match owner_key(&pod.metadata) {
                Some(key) => on_pod.add(key),
                None if controller_of(&pod.metadata).is_none() => {
                    let Some(cache) = sets.upgrade() else { return };
                    let matching = cache
                        .stateful_sets
                        .within(&pod.namespace().unwrap_or_default())
                        .into_iter();
                    matching
                        .filter(|set| ordinal(&set.name_any(), &pod.name_any()).is_some())
                        .for_each(|set| on_pod.add(Key::of(&*set)));
                }
                None => {}
            }
        }
    });
    context.work("statefulset-controller", requests, |context, key| async move {
        reconcile(&context, &key).await
    })
}

fn owner_key(meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> Option<Key> {
    let owner = controller_of(meta).filter(|owner| owner.kind == "StatefulSet")?;
    Some(Key::new(meta.namespace.clone().unwrap_or_default(), &owner.name))
}

async fn reconcile(context: &Context, key: &Key) -> Result<Next, VerbError> {
    let Some(set) = context.cache.stateful_sets.get(key) else {
        return Ok(Next::OnChange);
    };
    let Some(selector) = ownership::selector(&set.spec.selector) else {
        return Ok(Next::OnChange);
    };
    let named: Vec<_> = context
        .cache
        .pods
        .within(&key.namespace)
        .into_iter()
        .filter(|pod| ordinal(&key.name, &pod.name_any()).is_some())
        .collect();
    let claims = ownership::claims(&set.metadata, &selector, named);
    let owned = ownership::settle(&context.client, &*set, claims).await?;
    let uid = set.uid().unwrap_or_default();
    let revisions = revision::of_owner(&uid, context.cache.revisions.within(&key.namespace));
    let collisions = set.status.as_ref().and_then(|status| status.collision_count);
    let api = context.namespaced(&key.namespace);
    let update = match revision::newest(&api, &*set, &set.spec.template, collisions, &revisions).await? {
        Newest::Have(revision) => revision.name_any(),
        Newest::Made => return Ok(Next::OnChange),
        Newest::Collision => {
            let mut status = set.status.clone().unwrap_or_default();
            status.collision_count = Some(collisions.unwrap_or(0) + 1);
            put_status(context, &set, status).await?;
            return Ok(Next::OnChange);
        }
    };
    let known = set.status.as_ref().and_then(|status| status.current_revision.clone());
    let current = known
        .filter(|name| revisions.iter().any(|revision| revision.name_any() == *name))
        .unwrap_or_else(|| update.clone());
    let planned = plan(
        &set,
        &owned,
        Revisions {
            current: &current,
            update: &update,
        },
        pgop_sandbox_tasks::now(),
    );

    own_claims(context, &set, &owned).await?;
    // The status goes out even when an action fails: it is what people look at then.
    let status = put_status(context, &set, planned.status).await;
    for action in planned.actions {
        act(context, &set, &revisions, action).await?;
    }
    status?;
    forget_revisions(context, &set, &owned, &revisions, [&current, &update]).await?;
    Ok(Next::after(planned.again))
}

async fn put_status(context: &Context, set: &StatefulSet, status: StatefulSetStatus) -> Result<(), VerbError> {
    if set.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let api: Api<StatefulSet> = context.namespaced(&set.namespace().unwrap_or_default());
    verbs::put_status(
        &api,
        &StatefulSet {
            status: Some(status),
            ..set.clone()
        },
    )
    .await
    .map(drop)
}

async fn act(
    context: &Context,
    set: &StatefulSet,
    revisions: &[Arc<ControllerRevision>],
    action: Action,
) -> Result<(), VerbError> {
    let pods: Api<Pod> = context.namespaced(&set.namespace().unwrap_or_default());
    let named = set.name_any();
    match action {
        Action::Create { ordinal, revision } => {
            let made_from = revisions
                .iter()
                .find(|known| known.name_any() == revision)
                .and_then(|known| revision::template(known));
            let present = || set.spec.template.clone();
            let pod = identity::pod(set, &made_from.unwrap_or_else(present), &revision, ordinal);
            let name = pod.name_any();
            let made = async {
                make_claims(context, set, ordinal).await?;
                verbs::create(&pods, &pod).await
            };
            match made.await {
                Ok(_) => context.recorder.normal(
                    set,
                    "SuccessfulCreate",
                    format!("create Pod {name} in StatefulSet {named} successful"),
                ),
                Err(error) if error.is_already_exists() || error.is_namespace_ending() => return Err(error),
                Err(error) => {
                    let message = format!(
                        "create Pod {name} in StatefulSet {named} failed error: {}",
                        error.message()
                    );
                    context.recorder.warning(set, "FailedCreate", message);
                    return Err(error);
                }
            }
        }
        Action::Delete(pod) => {
            verbs::delete(&pods, &pod.metadata, None).await?;
            let message = format!("delete Pod {} in StatefulSet {named} successful", pod.name_any());
            context.recorder.normal(set, "SuccessfulDelete", message);
        }
        Action::Identify(pod, ordinal) => {
            let labels = json!({
                "statefulset.kubernetes.io/pod-name": pod.name_any(),
                "apps.kubernetes.io/pod-index": ordinal.to_string(),
            });
            verbs::merge(&pods, &pod.metadata, json!({ "metadata": { "labels": labels } })).await?;
        }
    }
    Ok(())
}

/// Makes the claims of a pod that are not there yet.
async fn make_claims(context: &Context, set: &StatefulSet, ordinal: i32) -> Result<(), VerbError> {
    let api: Api<PersistentVolumeClaim> = context.namespaced(&set.namespace().unwrap_or_default());
    for mut claim in identity::claims(set, ordinal) {
        let name = claim.name_any();
        if let Some(known) = context.cache.claims.get(&Key::of(&claim)) {
            if known.metadata.deletion_timestamp.is_some() {
                // A pod with this claim would not start, and the claim would never go.
                return Err(VerbError::Unreadable(format!("pvc {name} is being deleted")));
            }
            continue;
        }
        let owners = identity::claim_owners(set, &claim, None, false);
        claim.metadata.owner_references = (!owners.is_empty()).then_some(owners);
        match verbs::create(&api, &claim).await {
            Ok(_) => {
                let message = format!(
                    "create Claim {name} Pod {0}-{ordinal} in StatefulSet {0} success",
                    set.name_any()
                );
                context.recorder.normal(set, "SuccessfulCreate", message);
            }
            Err(error) if error.is_already_exists() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Sets the owners of claims as the retention policy wants them.
async fn own_claims(context: &Context, set: &StatefulSet, pods: &[Arc<Pod>]) -> Result<(), VerbError> {
    let api: Api<PersistentVolumeClaim> = context.namespaced(&set.namespace().unwrap_or_default());
    let first = identity::first_ordinal(set);
    let wanted = first..first + identity::replicas(set);
    for pod in pods {
        let Some(ordinal) = ordinal(&set.name_any(), &pod.name_any()) else {
            continue;
        };
        for claim in identity::claims(set, ordinal) {
            let Some(claim) = context.cache.claims.get(&Key::of(&claim)) else {
                continue;
            };
            let owners = identity::claim_owners(set, &claim, Some(pod), !wanted.contains(&ordinal));
            if owners != claim.owner_references() {
                verbs::merge(&api, &claim.metadata, verbs::owners_patch(&owners)).await?;
            }
        }
    }
    Ok(())
}

async fn forget_revisions(
    context: &Context,
    set: &StatefulSet,
    pods: &[Arc<Pod>],
    revisions: &[Arc<ControllerRevision>],
    named: [&String; 2],
) -> Result<(), VerbError> {
    let limit = set.spec.revision_history_limit.unwrap_or(10);
    let mut used: Vec<&str> = named.into_iter().map(String::as_str).collect();
    used.extend(
        pods.iter()
            .filter_map(|pod| pod.labels().get(identity::REVISION_LABEL))
            .map(String::as_str),
    );
    let api: Api<ControllerRevision> = context.namespaced(&set.namespace().unwrap_or_default());
    for revision in revision::surplus(revisions, &used, limit) {
        verbs::delete(&api, &revision.metadata, None).await?;
    }
    Ok(())
}
