//! Deletion of namespaces: all content goes first, found by discovery; then the finalizer `kubernetes`, and with it the namespace.
//! See <https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/>.

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt, future::BoxFuture, stream};
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Namespace, NamespaceCondition},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::json;

use crate::{
    context::Context,
    queue::{Key, Next, queue},
    resources::Served,
    verbs::{self, VerbError},
};

const FINALIZER: &str = "kubernetes";
/// How soon a namespace that still has content is looked at again: content is of any kind, so there is no watch to wait for.
const AGAIN: Duration = Duration::from_millis(250);
const AT_A_TIME: usize = 8;

/// What is left of one resource.
#[derive(Debug, PartialEq)]
struct Remaining {
    id: String,
    objects: Vec<ObjectMeta>,
}

fn is_ours_to_finish(namespace: &Namespace) -> bool {
    let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.as_ref());
    namespace.metadata.deletion_timestamp.is_some() && finalizers.into_iter().flatten().any(|name| name == FINALIZER)
}

/// What people see of a namespace that is going.
fn conditions(remaining: &[Remaining], known: &[NamespaceCondition], now: Timestamp) -> Vec<NamespaceCondition> {
    let kinds: Vec<_> = remaining
        .iter()
        .map(|kind| format!("{} has {} resource instances", kind.id, kind.objects.len()))
        .collect();
    let mut finalizers: BTreeMap<&str, usize> = BTreeMap::new();
    for finalizer in remaining
        .iter()
        .flat_map(|kind| &kind.objects)
        .flat_map(|meta| meta.finalizers.iter().flatten())
    {
        *finalizers.entry(finalizer).or_default() += 1;
    }
    let finalizers: Vec<_> = finalizers
        .iter()
        .map(|(name, count)| format!("{name} in {count} resource instances"))
        .collect();
    let content = if kinds.is_empty() {
        ("False", "ContentRemoved", "All content successfully removed".to_owned())
    } else {
        (
            "True",
            "SomeResourcesRemain",
            format!("Some resources are remaining: {}", kinds.join(", ")),
        )
    };
    let held = if finalizers.is_empty() {
        (
            "False",
            "ContentHasNoFinalizers",
            "All content-preserving finalizers finished".to_owned(),
        )
    } else {
        (
            "True",
            "SomeFinalizersRemain",
            format!(
                "Some content in the namespace has finalizers remaining: {}",
                finalizers.join(", ")
            ),
        )
    };
    [
        ("NamespaceContentRemaining", content),
        ("NamespaceFinalizersRemaining", held),
    ]
    .into_iter()
    .map(|(type_, (status, reason, message))| {
        let before = known
            .iter()
            .find(|condition| condition.type_ == type_ && condition.status == status);
        NamespaceCondition {
            type_: type_.into(),
            status: status.into(),
            reason: Some(reason.into()),
            message: Some(message),
            last_transition_time: before
                .and_then(|before| before.last_transition_time.clone())
                .or(Some(Time(now))),
        }
    })
    .collect()
}

/// Empties and finalizes namespaces that are being deleted.
pub(crate) fn run(context: &Context) -> BoxFuture<'static, ()> {
    let (queue, requests) = queue();
    context.cache.namespaces.listen(move |change| {
        let going = change.new.iter().filter(|namespace| is_ours_to_finish(namespace));
        going.for_each(|namespace| queue.add(Key::of(&**namespace)));
    });
    context.work("namespace-controller", requests, |context, key| async move {
        reconcile(&context, &key).await
    })
}

async fn reconcile(context: &Context, key: &Key) -> Result<Next, VerbError> {
    let Some(namespace) = context
        .cache
        .namespaces
        .get(key)
        .filter(|namespace| is_ours_to_finish(namespace))
    else {
        return Ok(Next::OnChange);
    };
    let served = context.resources.refresh().await?;
    let deletable: Vec<Served> = served
        .iter()
        .filter(|served| served.namespaced && served.can("list") && served.can("delete"))
        .cloned()
        .collect();
    let emptied: Vec<_> = stream::iter(deletable.into_iter().map(|served| empty(context, served, &key.name)))
        .buffer_unordered(AT_A_TIME)
        .collect()
        .await;
    let mut remaining = Vec::new();
    for emptied in emptied {
        remaining.extend(emptied?);
    }
    remaining.sort_by(|a, b| a.id.cmp(&b.id));
    show(context, &namespace, &remaining).await?;
    if !remaining.is_empty() {
        return Ok(Next::After(AGAIN));
    }
    finalize(context, &namespace).await?;
    Ok(Next::OnChange)
}

/// Tells what there is of one resource to go, and says what was there.
async fn empty(context: &Context, served: Served, namespace: &str) -> Result<Option<Remaining>, VerbError> {
    let api = served.api(&context.client, namespace);
    let what = || format!("{} of namespace {namespace}", served.id());
    let list = match verbs::request("list", what, api.list_metadata(&ListParams::default())).await {
        Ok(list) => list,
        // It was a custom resource and its definition is gone, or it can't be listed after all.
        Err(error) if error.is_not_found() || error.status().is_some_and(|status| status.code == 405) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let objects: Vec<ObjectMeta> = list.items.into_iter().map(|object| object.metadata).collect();
    if objects.is_empty() {
        return Ok(None);
    }
    let stay = objects.iter().filter(|meta| meta.deletion_timestamp.is_none());
    if served.can("deletecollection") && stay.clone().next().is_some() {
        let (policy, all) = (DeleteParams::background(), ListParams::default());
        verbs::request("delete", what, api.delete_collection(&policy, &all)).await?;
    } else {
        for meta in stay {
            verbs::delete(&api, meta, Some(kube::api::PropagationPolicy::Background)).await?;
        }
    }
    Ok(Some(Remaining {
        id: served.id(),
        objects,
    }))
}

/// Writes the conditions, if they changed.
async fn show(context: &Context, namespace: &Namespace, remaining: &[Remaining]) -> Result<(), VerbError> {
    let known = namespace
        .status
        .as_ref()
        .and_then(|status| status.conditions.clone())
        .unwrap_or_default();
    let conditions = conditions(remaining, &known, pgop_sandbox_tasks::now());
    let terminating = namespace.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Terminating");
    // Nobody can look at the conditions of a namespace that is empty: it is gone with the next request.
    if (terminating && conditions == known) || remaining.is_empty() {
        return Ok(());
    }
    let mut meta = namespace.metadata.clone();
    meta.resource_version = None;
    let patch = json!({ "status": { "phase": "Terminating", "conditions": conditions } });
    verbs::merge_status(&context.cluster::<Namespace>(), &meta, patch)
        .await
        .map(drop)
}

async fn finalize(context: &Context, namespace: &Namespace) -> Result<(), VerbError> {
    let api: Api<Namespace> = context.cluster();
    let name = namespace.name_any();
    let Some(mut live) = verbs::get(&api, &name)
        .await?
        .filter(|live| live.uid() == namespace.uid())
    else {
        return Ok(());
    };
    if let Some(finalizers) = live.spec.as_mut().and_then(|spec| spec.finalizers.as_mut()) {
        finalizers.retain(|finalizer| finalizer != FINALIZER);
    }
    let params = PostParams::default();
    let finalized = api.replace_subresource("finalize", &name, &params, &live);
    match verbs::request("finalize", || format!("namespace {name}"), finalized).await {
        Err(error) if error.is_not_found() => Ok(()),
        other => other.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(value: serde_json::Value) -> Namespace {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn only_a_namespace_being_deleted_with_our_finalizer_is_ours() {
        let deleting = json!({ "name": "shop", "deletionTimestamp": "2026-11-01T10:00:00Z" });
        assert!(is_ours_to_finish(&namespace(
            json!({ "metadata": deleting, "spec": { "finalizers": ["kubernetes"] } })
        )));
        assert!(!is_ours_to_finish(&namespace(
            json!({ "metadata": deleting, "spec": { "finalizers": ["example.com/own"] } })
        )));
        assert!(!is_ours_to_finish(&namespace(
            json!({ "metadata": { "name": "shop" }, "spec": { "finalizers": ["kubernetes"] } })
        )));
    }

    #[test]
    fn what_holds_a_namespace_up_is_named() {
        let held = serde_json::from_value(json!({ "name": "a", "finalizers": ["example.com/backup"] })).unwrap();
        let remaining = [Remaining {
            id: "pods.".into(),
            objects: vec![held, ObjectMeta::default()],
        }];
        let told = conditions(&remaining, &[], Timestamp::UNIX_EPOCH);
        assert_eq!(
            told[0].message.as_deref(),
            Some("Some resources are remaining: pods. has 2 resource instances")
        );
        assert_eq!(
            told[1].message.as_deref(),
            Some("Some content in the namespace has finalizers remaining: example.com/backup in 1 resource instances")
        );
        let later = Timestamp::from_second(60).unwrap();
        assert_eq!(
            conditions(&remaining, &told, later),
            told,
            "a condition that holds on keeps its time"
        );
    }
}
