//! Claims and volumes: binding, making and removing volumes of this machine, growing, and protection of what is in use.
//! See <https://kubernetes.io/docs/concepts/storage/persistent-volumes/>.

pub(crate) mod claim;
mod ephemeral;
mod folder;
pub(crate) mod matching;
mod release;

use std::{path::Path, sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use k8s_openapi::{
    api::{
        core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim, Pod},
        storage::v1::StorageClass,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::json;
use tracing::warn;

use crate::{
    context::Context,
    pod,
    queue::{Key, Next, queue},
    verbs::{self, VerbError},
};
pub(crate) use folder::Place;
use release::Claimant;

/// The provisioner whose volumes are folders of this machine.
pub(crate) const PROVISIONER: &str = "pgop.dev/sandbox-local";
/// How soon the first class is tried again while the server is not there.
const AGAIN: Duration = Duration::from_millis(200);

/// Binds claims, makes and removes volumes.
pub(crate) fn run(context: &Context, place: Place) -> BoxFuture<'static, ()> {
    let class = ensure_class(context.clone());
    let claims = run_claims(context, place.clone());
    let volumes = run_volumes(context, place);
    let ephemeral = ephemeral::run(context);
    async move {
        futures::join!(class, claims, volumes, ephemeral);
    }
    .boxed()
}

fn run_claims(context: &Context, place: Place) -> BoxFuture<'static, ()> {
    let (queue, requests) = queue();
    let cache = &context.cache;
    let on_claim = queue.clone();
    cache
        .claims
        .listen(move |change| change.new.iter().for_each(|claim| on_claim.add(Key::of(&**claim))));
    let (on_volume, claims) = (queue.clone(), Arc::downgrade(cache));
    cache.volumes.listen(move |change| {
        for volume in change.versions() {
            if let Some(reference) = matching::claim_ref(volume) {
                on_volume.add(Key::new(
                    reference.namespace.clone().unwrap_or_default(),
                    reference.name.clone().unwrap_or_default(),
                ));
            }
        }
        // A volume that has become free may be what a claim waits for.
        if change
            .new
            .as_ref()
            .is_some_and(|volume| release::bound_uid(volume).is_none())
            && let Some(cache) = claims.upgrade()
        {
            cache
                .claims
                .all()
                .iter()
                .filter(|claim| !is_bound(claim))
                .for_each(|claim| on_volume.add(Key::of(&**claim)));
        }
    });
    let (on_class, claims) = (queue.clone(), Arc::downgrade(cache));
    cache.storage_classes.listen(move |_| {
        if let Some(cache) = claims.upgrade() {
            cache
                .claims
                .all()
                .iter()
                .for_each(|claim| on_class.add(Key::of(&**claim)));
        }
    });
    cache.pods.listen(move |change| {
        if let (Some(gone), None) = (&change.old, &change.new) {
            let namespace = gone.namespace().unwrap_or_default();
            for claim in pod::claim_names(gone) {
                queue.add(Key::new(&namespace, claim));
            }
        }
    });
    context.work("persistentvolume-controller", requests, move |context, key| {
        let place = place.clone();
        async move { reconcile_claim(&context, &key, &place).await }
    })
}

fn run_volumes(context: &Context, place: Place) -> BoxFuture<'static, ()> {
    let (queue, requests) = queue();
    let on_volume = queue.clone();
    context
        .cache
        .volumes
        .listen(move |change| change.new.iter().for_each(|volume| on_volume.add(Key::of(&**volume))));
    context.cache.claims.listen(move |change| {
        let names = change
            .versions()
            .filter_map(|claim| claim.spec.as_ref()?.volume_name.clone());
        names.for_each(|name| queue.add(Key::new("", name)));
        // A claim that goes before it was told its volume leaves one behind that only its uid leads to.
        if let (Some(gone), None) = (&change.old, &change.new) {
            queue.add(Key::new("", format!("pvc-{}", gone.uid().unwrap_or_default())));
        }
    });
    context.work("persistentvolume-controller", requests, move |context, key| {
        let place = place.clone();
        async move { reconcile_volume(&context, &key, &place.folder).await }
    })
}

fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound")
}

/// Makes the class `standard` once at the start. A person who deletes it gets it back with the next start.
async fn ensure_class(context: Context) {
    let class: StorageClass = match serde_json::from_value(json!({
        "metadata": { "name": "standard", "annotations": { "storageclass.kubernetes.io/is-default-class": "true" } },
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
        "allowVolumeExpansion": true,
    })) {
        Ok(class) => class,
        Err(error) => return warn!(%error, "the class standard can't be made"),
    };
    let ensured = async {
        while let Err(error) = verbs::ensure(&context.cluster(), &class).await {
            warn!(error = error.message(), "the class standard was not made, trying again");
            tokio::time::sleep(AGAIN).await;
        }
    };
    context.stop.run_until_cancelled(ensured).await;
}

async fn reconcile_claim(context: &Context, key: &Key, place: &Place) -> Result<Next, VerbError> {
    let Some(claim) = context.cache.claims.get(key) else {
        return Ok(Next::OnChange);
    };
    let known = claim::Known {
        volumes: context.cache.volumes.all(),
        classes: context.cache.storage_classes.all(),
    };
    for action in claim::plan(&claim, &known) {
        act_on_claim(context, &claim, place, action).await?;
    }
    Ok(Next::OnChange)
}

async fn act_on_claim(
    context: &Context,
    claim: &PersistentVolumeClaim,
    place: &Place,
    action: claim::Action,
) -> Result<(), VerbError> {
    use claim::Action;
    let namespace = claim.namespace().unwrap_or_default();
    let claims: Api<PersistentVolumeClaim> = context.namespaced(&namespace);
    let patch = match action {
        Action::Protect => {
            let mut finalizers = claim.finalizers().to_vec();
            finalizers.push(claim::PROTECTION.into());
            verbs::finalizers_patch(&finalizers)
        }
        Action::Unprotect => return unprotect_claim(context, claim).await,
        Action::SetClass(class) => json!({ "spec": { "storageClassName": class } }),
        Action::NameProvisioner(name) => {
            json!({ "metadata": { "annotations": claim::provisioner_annotations(&name) } })
        }
        Action::Provision(class) => return provision(context, claim, &class, place).await,
        Action::BindVolume(volume, reference) => return bind_volume(context, &volume, &reference).await,
        Action::BindClaim { volume, by_controller } => {
            let mut annotations = json!({ (claim::BOUND): "yes" });
            if by_controller {
                annotations[claim::BY_CONTROLLER] = json!("yes");
            }
            json!({ "metadata": { "annotations": annotations }, "spec": { "volumeName": volume } })
        }
        Action::Grow(volume) => {
            let size = claim
                .spec
                .as_ref()
                .and_then(|spec| spec.resources.as_ref()?.requests.as_ref()?.get("storage").cloned());
            let patch = json!({ "spec": { "capacity": { "storage": size } } });
            context.recorder.normal(
                claim,
                "Resizing",
                format!("External resizer is resizing volume {}", volume.name_any()),
            );
            return verbs::merge(&context.cluster::<PersistentVolume>(), &volume.metadata, patch)
                .await
                .map(drop);
        }
        Action::Status(status) => {
            return verbs::merge_status(&claims, &claim.metadata, json!({ "status": status }))
                .await
                .map(drop);
        }
        Action::Tell {
            warning: true,
            reason,
            message,
        } => {
            context.recorder.warning(claim, reason, message);
            return Ok(());
        }
        Action::Tell {
            warning: false,
            reason,
            message,
        } => {
            context.recorder.normal(claim, reason, message);
            return Ok(());
        }
    };
    verbs::merge(&claims, &claim.metadata, patch).await.map(drop)
}

/// Takes the protection away unless a pod uses the claim. Pods are read live: the cache may not know one that was just bound to the node.
async fn unprotect_claim(context: &Context, claim: &PersistentVolumeClaim) -> Result<(), VerbError> {
    let namespace = claim.namespace().unwrap_or_default();
    let pods: Api<Pod> = context.namespaced(&namespace);
    let pods = verbs::request(
        "list",
        || format!("pods of {namespace}"),
        pods.list(&ListParams::default()),
    )
    .await?;
    if pods.items.iter().any(|pod| uses(pod, &claim.name_any())) {
        return Ok(());
    }
    let finalizers: Vec<_> = claim
        .finalizers()
        .iter()
        .filter(|name| *name != claim::PROTECTION)
        .cloned()
        .collect();
    let claims: Api<PersistentVolumeClaim> = context.namespaced(&namespace);
    match verbs::merge(&claims, &claim.metadata, verbs::finalizers_patch(&finalizers)).await {
        Err(error) if error.is_not_found() => Ok(()),
        other => other.map(drop),
    }
}

/// A pod uses a claim from the time it has a node until it is gone; one without a node is not started with a claim that goes.
fn uses(pod: &Pod, claim: &str) -> bool {
    pod::node_name(pod).is_some() && pod::claim_names(pod).iter().any(|name| name == claim)
}

async fn provision(
    context: &Context,
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
    place: &Place,
) -> Result<(), VerbError> {
    let volume = folder::volume(claim, class, place);
    let Some(folder) = folder::of_volume(&volume, &place.folder) else {
        return Err(VerbError::Unreadable(format!(
            "the folder of volume {} can't be named",
            volume.name_any()
        )));
    };
    let made = async {
        folder::make(&folder).await?;
        verbs::create(&context.cluster(), &volume).await
    };
    match made.await {
        Ok(_) => {
            let message = format!("Successfully provisioned volume {}", volume.name_any());
            context.recorder.normal(claim, "ProvisioningSucceeded", message);
            Ok(())
        }
        Err(error) if error.is_already_exists() => Ok(()),
        Err(error) => {
            let message = format!(
                "failed to provision volume with StorageClass \"{}\": {}",
                class.name_any(),
                error.message()
            );
            context.recorder.warning(claim, "ProvisioningFailed", message);
            Err(error)
        }
    }
}

async fn bind_volume(
    context: &Context,
    volume: &PersistentVolume,
    reference: &ObjectReference,
) -> Result<(), VerbError> {
    let patch = json!({
        "metadata": { "annotations": { (claim::BY_CONTROLLER): "yes" } },
        "spec": { "claimRef": reference },
    });
    verbs::merge(&context.cluster::<PersistentVolume>(), &volume.metadata, patch)
        .await
        .map(drop)
}

async fn reconcile_volume(context: &Context, key: &Key, volumes: &Path) -> Result<Next, VerbError> {
    let Some(volume) = context.cache.volumes.get(key) else {
        return Ok(Next::OnChange);
    };
    let claimant = claimant(context, &volume).await?;
    let api: Api<PersistentVolume> = context.cluster();
    for action in release::plan(&volume, claimant) {
        match action {
            release::Action::Protect => {
                let mut finalizers = volume.finalizers().to_vec();
                finalizers.push(release::PROTECTION.into());
                verbs::merge(&api, &volume.metadata, verbs::finalizers_patch(&finalizers)).await?;
            }
            release::Action::Status(status) => {
                verbs::merge_status(&api, &volume.metadata, json!({ "status": status })).await?;
            }
            release::Action::Unprotect => unprotect_volume(&api, &volume.metadata).await?,
            release::Action::Reclaim => reclaim(context, &api, &volume, volumes).await?,
        }
    }
    Ok(Next::OnChange)
}

async fn claimant(context: &Context, volume: &PersistentVolume) -> Result<Claimant, VerbError> {
    let (Some(reference), Some(uid)) = (matching::claim_ref(volume), release::bound_uid(volume)) else {
        return Ok(Claimant::None);
    };
    let key = Key::new(
        reference.namespace.clone().unwrap_or_default(),
        reference.name.clone().unwrap_or_default(),
    );
    if context
        .cache
        .claims
        .get(&key)
        .is_some_and(|claim| claim.uid().as_deref() == Some(uid))
    {
        return Ok(Claimant::There);
    }
    // Data is at stake: a claim the cache doesn't know is asked for before it counts as gone.
    let live = verbs::get(&context.namespaced::<PersistentVolumeClaim>(&key.namespace), &key.name).await?;
    let there = live.is_some_and(|claim| claim.uid().as_deref() == Some(uid));
    Ok(if there { Claimant::There } else { Claimant::Gone })
}

async fn reclaim(
    context: &Context,
    api: &Api<PersistentVolume>,
    volume: &PersistentVolume,
    volumes: &Path,
) -> Result<(), VerbError> {
    let removed = match folder::of_volume(volume, volumes) {
        Some(folder) => folder::remove(&folder).await,
        None => Err(VerbError::Unreadable(format!(
            "volume {} has a path that is not below {}",
            volume.name_any(),
            volumes.display()
        ))),
    };
    if let Err(error) = removed {
        context.recorder.warning(volume, "VolumeFailedDelete", error.message());
        let status = json!({ "status": { "phase": "Failed", "message": error.message() } });
        let failed = volume
            .status
            .as_ref()
            .is_some_and(|status| status.phase.as_deref() == Some("Failed"));
        if !failed {
            verbs::merge_status(api, &volume.metadata, status).await?;
        }
        return Err(error);
    }
    verbs::delete(api, &volume.metadata, None).await?;
    match verbs::get(api, &volume.name_any()).await? {
        Some(live) if live.uid() == volume.uid() => unprotect_volume(api, &live.metadata).await,
        _ => Ok(()),
    }
}

async fn unprotect_volume(api: &Api<PersistentVolume>, meta: &ObjectMeta) -> Result<(), VerbError> {
    let finalizers: Vec<_> = meta
        .finalizers
        .iter()
        .flatten()
        .filter(|name| *name != release::PROTECTION)
        .cloned()
        .collect();
    match verbs::merge(api, meta, verbs::finalizers_patch(&finalizers)).await {
        Err(error) if error.is_not_found() => Ok(()),
        other => other.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_without_a_node_does_not_hold_a_claim() {
        let volumes = json!([{ "name": "data", "persistentVolumeClaim": { "claimName": "data-db-0" } }]);
        let mut pod = json!({ "metadata": { "name": "db-0" }, "spec": { "containers": [], "volumes": volumes } });
        assert!(!uses(&serde_json::from_value(pod.clone()).unwrap(), "data-db-0"));
        pod["spec"]["nodeName"] = json!("sandbox");
        let pod = serde_json::from_value(pod).unwrap();
        assert!(uses(&pod, "data-db-0") && !uses(&pod, "data-db-1"));
    }
}
