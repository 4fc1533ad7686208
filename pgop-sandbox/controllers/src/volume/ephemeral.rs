//! Claims of ephemeral volumes: made for the pod that names them, and gone with it.
//! See <https://kubernetes.io/docs/concepts/storage/ephemeral-volumes/#generic-ephemeral-volumes>.

use futures::future::BoxFuture;
use k8s_openapi::{
    api::core::v1::{PersistentVolumeClaim, Pod},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, ResourceExt};

use crate::{
    context::Context,
    ownership::{controller_reference, is_controlled_by},
    pod,
    queue::{Key, Next, queue},
    verbs::{self, VerbError},
};

/// The claims the pod is to have for its ephemeral volumes.
fn claims(pod: &Pod) -> Vec<PersistentVolumeClaim> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes
        .filter_map(|volume| {
            let template = volume.ephemeral.as_ref()?.volume_claim_template.clone()?;
            let meta = template.metadata.unwrap_or_default();
            Some(PersistentVolumeClaim {
                metadata: ObjectMeta {
                    name: Some(format!("{}-{}", pod.name_any(), volume.name)),
                    namespace: pod.namespace(),
                    labels: meta.labels,
                    annotations: meta.annotations,
                    owner_references: Some(vec![controller_reference(pod)]),
                    ..ObjectMeta::default()
                },
                spec: Some(template.spec),
                status: None,
            })
        })
        .collect()
}

/// Makes the claims of ephemeral volumes.
pub(crate) fn run(context: &Context) -> BoxFuture<'static, ()> {
    let (queue, requests) = queue();
    context.cache.pods.listen(move |change| {
        let new = change
            .new
            .iter()
            .filter(|pod| pod::is_active(pod) && !claims(pod).is_empty());
        new.for_each(|pod| queue.add(Key::of(&**pod)));
    });
    context.work("ephemeral-volume-controller", requests, |context, key| async move {
        reconcile(&context, &key).await
    })
}

async fn reconcile(context: &Context, key: &Key) -> Result<Next, VerbError> {
    let Some(pod) = context.cache.pods.get(key).filter(|pod| pod::is_active(pod)) else {
        return Ok(Next::OnChange);
    };
    let api: Api<PersistentVolumeClaim> = context.namespaced(&key.namespace);
    for claim in claims(&pod) {
        match context.cache.claims.get(&Key::of(&claim)) {
            // A claim of that name that is someone else's must not be used by mistake.
            Some(other) if !is_controlled_by(&other.metadata, &pod.uid().unwrap_or_default()) => {
                let name = other.name_any();
                let message = format!(
                    "PVC {}/{name} was not created for the pod (pod is not owner)",
                    key.namespace
                );
                context.recorder.warning(&*pod, "EphemeralVolumeBadClaim", message);
            }
            Some(_) => {}
            None => verbs::ensure(&api, &claim).await?,
        }
    }
    Ok(Next::OnChange)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_claim_is_the_pods_own() {
        let pod = serde_json::from_value(json!({
            "metadata": { "name": "db", "namespace": "shop", "uid": "p-1" },
            "spec": { "containers": [], "volumes": [
                { "name": "tmp", "emptyDir": {} },
                { "name": "scratch", "ephemeral": { "volumeClaimTemplate": {
                    "metadata": { "labels": { "app": "db" } }, "spec": { "accessModes": ["ReadWriteOnce"] },
                } } },
            ] },
        }))
        .unwrap();
        let claims = claims(&pod);
        assert_eq!(claims.len(), 1);
        assert_eq!(claims[0].name_any(), "db-scratch");
        assert_eq!(claims[0].labels()["app"], "db");
        assert!(is_controlled_by(&claims[0].metadata, "p-1"));
    }
}
