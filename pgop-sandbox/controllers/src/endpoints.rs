//! `Endpoints` and `EndpointSlices`: the addresses of the pods behind each Service.

mod addresses;
mod slices;

use std::{collections::BTreeMap, sync::Arc};

use futures::future::BoxFuture;
use k8s_openapi::{
    api::{
        core::v1::{Endpoints, Pod, Service},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::{
    context::Context,
    queue::{Key, Next, queue},
    verbs::{self, VerbError},
};
use slices::{Action, FROM_PODS, MIRRORED};

/// Marks `Endpoints` that are kept here, so that those kept by hand are left alone.
const KEPT_LABEL: &str = "endpoints.kubernetes.io/managed-by";
const KEPT: &str = "endpoint-controller";
const SKIP_MIRROR: &str = "endpointslice.kubernetes.io/skip-mirror";
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";

/// Keeps the endpoints of all Services.
pub(crate) fn run(context: &Context) -> BoxFuture<'static, ()> {
    let (queue, requests) = queue();
    let cache = &context.cache;
    let on_service = queue.clone();
    cache.services.listen(move |change| {
        change
            .versions()
            .for_each(|service| on_service.add(Key::of(&**service)));
    });
    let on_endpoints = queue.clone();
    cache.endpoints.listen(move |change| {
        change
            .versions()
            .for_each(|endpoints| on_endpoints.add(Key::of(&**endpoints)));
    });
    let on_slice = queue.clone();
    cache.endpoint_slices.listen(move |change| {
        for slice in change.versions() {
            if let Some(service) = slice.labels().get(slices::SERVICE_LABEL) {
                on_slice.add(Key::new(slice.namespace().unwrap_or_default(), service));
            }
        }
    });
    let services = Arc::downgrade(cache);
    cache.pods.listen(move |change| {
        let Some(cache) = services.upgrade() else { return };
        let Some(pod) = change.versions().next() else { return };
        for service in cache.services.within(&pod.namespace().unwrap_or_default()) {
            let Some(selector) = addresses::selector(&service) else {
                continue;
            };
            if change.versions().any(|pod| addresses::selects(selector, pod)) {
                queue.add(Key::of(&*service));
            }
        }
    });
    context.work("endpoint-controller", requests, |context, key| async move {
        reconcile(&context, &key).await
    })
}

async fn reconcile(context: &Context, key: &Key) -> Result<Next, VerbError> {
    let endpoints = context.cache.endpoints.get(key);
    let Some(service) = context.cache.services.get(key) else {
        // The slices go with their owner, the Service. Endpoints have no owner.
        if let Some(endpoints) = endpoints.filter(|endpoints| endpoints.labels().contains_key(KEPT_LABEL)) {
            verbs::delete(
                &context.namespaced::<Endpoints>(&key.namespace),
                &endpoints.metadata,
                None,
            )
            .await?;
        }
        return Ok(Next::OnChange);
    };
    if service.metadata.deletion_timestamp.is_some() {
        return Ok(Next::OnChange);
    }
    let done = match addresses::selector(&service) {
        Some(selector) => from_pods(context, &service, selector, endpoints).await,
        None => mirror(context, &service, endpoints).await,
    };
    match done {
        Err(error) if error.is_namespace_ending() => Ok(Next::OnChange),
        other => other.map(|()| Next::OnChange),
    }
}

async fn from_pods(
    context: &Context,
    service: &Service,
    selector: &BTreeMap<String, String>,
    endpoints: Option<Arc<Endpoints>>,
) -> Result<(), VerbError> {
    let mut pods: Vec<Arc<Pod>> = context.cache.pods.within(&service.namespace().unwrap_or_default());
    pods.retain(|pod| addresses::selects(selector, pod));
    put_endpoints(context, wanted_endpoints(service, &pods), endpoints).await?;
    let wanted = slices::wanted(service, FROM_PODS, addresses::contents(service, &pods));
    put_slices(context, service, wanted).await
}

fn wanted_endpoints(service: &Service, pods: &[Arc<Pod>]) -> Endpoints {
    let mut labels = service.labels().clone();
    labels.insert(KEPT_LABEL.into(), KEPT.into());
    if addresses::is_headless(service) {
        labels.insert(slices::HEADLESS_LABEL.into(), String::new());
    }
    let subsets = addresses::subsets(service, pods);
    Endpoints {
        metadata: ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.namespace(),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        subsets: (!subsets.is_empty()).then_some(subsets),
    }
}

async fn put_endpoints(context: &Context, wanted: Endpoints, known: Option<Arc<Endpoints>>) -> Result<(), VerbError> {
    let api: Api<Endpoints> = context.namespaced(&wanted.namespace().unwrap_or_default());
    let Some(known) = known else {
        return verbs::create(&api, &wanted).await.map(drop);
    };
    let known_subsets = known.subsets.as_deref().unwrap_or_default();
    if known_subsets == wanted.subsets.as_deref().unwrap_or_default() && known.labels() == wanted.labels() {
        return Ok(());
    }
    let patch =
        json!({ "metadata": { "labels": label_patch(known.labels(), wanted.labels()) }, "subsets": wanted.subsets });
    verbs::merge(&api, &known.metadata, patch).await.map(drop)
}

/// The labels to set; those to take away are null.
fn label_patch(known: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> serde_json::Value {
    let mut patch = json!(wanted);
    for name in known.keys().filter(|name| !wanted.contains_key(*name)) {
        patch[name] = serde_json::Value::Null;
    }
    patch
}

async fn mirror(context: &Context, service: &Service, endpoints: Option<Arc<Endpoints>>) -> Result<(), VerbError> {
    let by_hand = endpoints.filter(|endpoints| {
        let skipped = endpoints.labels().get(SKIP_MIRROR).is_some_and(|value| value == "true");
        !skipped && !endpoints.annotations().contains_key(LEADER)
    });
    let contents = by_hand
        .map(|endpoints| addresses::mirrored(&endpoints))
        .unwrap_or_default();
    put_slices(context, service, slices::wanted(service, MIRRORED, contents)).await
}

async fn put_slices(context: &Context, service: &Service, wanted: Vec<EndpointSlice>) -> Result<(), VerbError> {
    let namespace = service.namespace().unwrap_or_default();
    let mut known = context.cache.endpoint_slices.within(&namespace);
    known.retain(|slice| {
        let manager = slice.labels().get(slices::MANAGER_LABEL).map(String::as_str);
        slice.labels().get(slices::SERVICE_LABEL) == service.metadata.name.as_ref()
            && matches!(manager, Some(FROM_PODS | MIRRORED))
    });
    let api: Api<EndpointSlice> = context.namespaced(&namespace);
    for action in slices::changes(wanted, known) {
        match action {
            Action::Create(slice) => drop(verbs::create(&api, &slice).await?),
            Action::Update(old, new) => {
                let labels = label_patch(old.labels(), new.labels());
                let patch = json!({ "metadata": { "labels": labels }, "endpoints": new.endpoints, "ports": new.ports });
                let _: EndpointSlice = verbs::merge(&api, &old.metadata, patch).await?;
            }
            Action::Delete(slice) => verbs::delete(&api, &slice.metadata, None).await?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_the_service_lost_are_taken_away() {
        let map = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        assert_eq!(
            label_patch(&map(&[("a", "1"), ("b", "2")]), &map(&[("a", "3")])),
            json!({ "a": "3", "b": null })
        );
    }
}
