//! Who a pod of a `StatefulSet` is: its name, labels and claims, all given by its ordinal. Pure.

use k8s_openapi::{
    api::{
        apps::v1::StatefulSet,
        core::v1::{PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::ResourceExt;

use crate::{ownership::controller_reference, pod};

pub(crate) const REVISION_LABEL: &str = "controller-revision-hash";
const NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";
const INDEX_LABEL: &str = "apps.kubernetes.io/pod-index";

/// The ordinal in a pod's name, if it is a name this set gives.
pub(crate) fn ordinal(set: &str, pod: &str) -> Option<i32> {
    let digits = pod.strip_prefix(set)?.strip_prefix('-')?;
    let ordinal: i32 = digits.parse().ok()?;
    (ordinal.to_string() == digits).then_some(ordinal)
}

pub(crate) fn first_ordinal(set: &StatefulSet) -> i32 {
    let ordinals = set.spec.ordinals.as_ref();
    ordinals.and_then(|ordinals| ordinals.start).unwrap_or(0)
}

pub(crate) fn replicas(set: &StatefulSet) -> i32 {
    set.spec.replicas.unwrap_or(1).max(0)
}

fn templates(set: &StatefulSet) -> &[PersistentVolumeClaim] {
    set.spec.volume_claim_templates.as_deref().unwrap_or_default()
}

pub(crate) fn claim_name(template: &PersistentVolumeClaim, set: &str, ordinal: i32) -> String {
    format!("{}-{set}-{ordinal}", template.name_any())
}

/// The pod with this ordinal, made from the template of a revision.
pub(crate) fn pod(set: &StatefulSet, template: &PodTemplateSpec, revision: &str, ordinal: i32) -> Pod {
    let name = format!("{}-{ordinal}", set.name_any());
    let namespace = set.namespace().unwrap_or_default();
    let mut made = pod::from_template(template, &namespace, name.clone(), controller_reference(set));
    // Kubernetes shows whence the name comes.
    made.metadata.generate_name = Some(format!("{}-", set.name_any()));
    made.labels_mut().insert(REVISION_LABEL.into(), revision.to_owned());
    identify(set, &mut made, ordinal);
    made
}

/// Puts the identity in: labels, host name and the volumes of the claims.
fn identify(set: &StatefulSet, made: &mut Pod, ordinal: i32) {
    let name = made.name_any();
    made.labels_mut().insert(NAME_LABEL.into(), name.clone());
    made.labels_mut().insert(INDEX_LABEL.into(), ordinal.to_string());
    let service = set.spec.service_name.clone().filter(|name| !name.is_empty());
    let spec = made.spec.get_or_insert_default();
    spec.hostname = Some(name);
    spec.subdomain = service;
    let volumes = spec.volumes.get_or_insert_default();
    for template in templates(set) {
        let volume_name = template.name_any();
        volumes.retain(|volume| volume.name != volume_name);
        volumes.push(Volume {
            name: volume_name,
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: claim_name(template, &set.name_any(), ordinal),
                // A set always writes to its volumes.
                read_only: Some(false),
            }),
            ..Volume::default()
        });
    }
    if volumes.is_empty() {
        spec.volumes = None;
    }
}

/// The claims of the pod with this ordinal. They carry the template's labels and those of the selector.
pub(crate) fn claims(set: &StatefulSet, ordinal: i32) -> Vec<PersistentVolumeClaim> {
    let selector = set.spec.selector.match_labels.clone().unwrap_or_default();
    templates(set)
        .iter()
        .map(|template| {
            let mut labels = template.metadata.labels.clone().unwrap_or_default();
            labels.extend(selector.clone());
            PersistentVolumeClaim {
                metadata: ObjectMeta {
                    name: Some(claim_name(template, &set.name_any(), ordinal)),
                    namespace: set.namespace(),
                    labels: (!labels.is_empty()).then_some(labels),
                    annotations: template.metadata.annotations.clone(),
                    ..ObjectMeta::default()
                },
                spec: template.spec.clone(),
                status: None,
            }
        })
        .collect()
}

/// The owners a claim is to have by the set's retention policy: the set, its pod (when the pod is surplus), or neither.
/// Other owners are kept. See <https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#persistentvolumeclaim-retention>.
pub(crate) fn claim_owners(
    set: &StatefulSet,
    claim: &PersistentVolumeClaim,
    pod: Option<&Pod>,
    condemned: bool,
) -> Vec<OwnerReference> {
    let policy = set
        .spec
        .persistent_volume_claim_retention_policy
        .clone()
        .unwrap_or_default();
    let deletes = |when: &Option<String>| when.as_deref() == Some("Delete");
    let pod_uid = pod.and_then(ResourceExt::uid);
    let mut owners = claim.owner_references().to_vec();
    owners.retain(|owner| {
        Some(&owner.uid) != set.metadata.uid.as_ref()
            && !(owner.kind == "Pod" && owner.name == pod_name(set, claim, pod))
    });
    if deletes(&policy.when_scaled) && condemned {
        if let (Some(pod), Some(_)) = (pod, pod_uid) {
            owners.push(controller_reference(pod));
        }
    } else if deletes(&policy.when_deleted) {
        owners.push(controller_reference(set));
    }
    owners
}

/// The pod a claim belongs to: also a reference to a former pod of that name is ours to take out.
fn pod_name(set: &StatefulSet, claim: &PersistentVolumeClaim, pod: Option<&Pod>) -> String {
    if let Some(pod) = pod {
        return pod.name_any();
    }
    let claim = claim.name_any();
    let suffix = claim.rsplit('-').next().unwrap_or_default();
    format!("{}-{suffix}", set.name_any())
}

/// Whether a pod still carries its identity; pods adopted or edited may not.
pub(crate) fn is_identified(set: &StatefulSet, pod: &Pod) -> bool {
    let name = pod.name_any();
    let claims: Vec<_> = ordinal(&set.name_any(), &name)
        .into_iter()
        .flat_map(|ordinal| {
            templates(set)
                .iter()
                .map(move |template| claim_name(template, &set.name_any(), ordinal))
        })
        .collect();
    let mounted = pod::claim_names(pod);
    pod.labels().get(NAME_LABEL) == Some(&name) && claims.iter().all(|claim| mounted.contains(claim))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    pub(crate) fn set(change: impl FnOnce(&mut Value)) -> StatefulSet {
        let mut set = json!({
            "metadata": { "name": "db", "namespace": "shop", "uid": "set-1" },
            "spec": {
                "serviceName": "db-pods", "replicas": 2,
                "selector": { "matchLabels": { "app": "db" } },
                "template": {
                    "metadata": { "labels": { "app": "db" } },
                    "spec": { "containers": [{ "name": "db" }], "volumes": [{ "name": "data", "emptyDir": {} }, { "name": "tmp", "emptyDir": {} }] },
                },
                "volumeClaimTemplates": [{
                    "metadata": { "name": "data", "labels": { "backup": "yes" }, "annotations": { "note": "x" } },
                    "spec": { "accessModes": ["ReadWriteOnce"] },
                }],
            },
        });
        change(&mut set);
        serde_json::from_value(set).unwrap()
    }

    fn made() -> Pod {
        let set = set(|_| {});
        pod(&set, &set.spec.template, "db-abc", 1)
    }

    #[test]
    fn a_pod_has_its_name_labels_and_claims() {
        let made = made();
        assert_eq!(made.name_any(), "db-1");
        assert_eq!(made.labels()["statefulset.kubernetes.io/pod-name"], "db-1");
        assert_eq!(made.labels()["apps.kubernetes.io/pod-index"], "1");
        assert_eq!(made.labels()["controller-revision-hash"], "db-abc");
        assert_eq!(made.labels()["app"], "db");
        let spec = made.spec.as_ref().unwrap();
        assert_eq!(
            (spec.hostname.as_deref(), spec.subdomain.as_deref()),
            (Some("db-1"), Some("db-pods"))
        );
        assert_eq!(
            pod::claim_names(&made),
            ["data-db-1"],
            "the claim takes the place of the volume of that name"
        );
        assert_eq!(spec.volumes.as_ref().unwrap().len(), 2);
        assert_eq!(made.owner_references()[0].uid, "set-1");
        assert!(is_identified(&set(|_| {}), &made));
    }

    #[test]
    fn claims_carry_labels_of_template_and_selector() {
        let claims = claims(&set(|_| {}), 0);
        assert_eq!(claims[0].name_any(), "data-db-0");
        assert_eq!(claims[0].labels()["backup"], "yes");
        assert_eq!(claims[0].labels()["app"], "db");
        assert_eq!(claims[0].annotations()["note"], "x");
        assert!(
            claims[0].owner_references().is_empty(),
            "claims outlive their set unless it says otherwise"
        );
    }

    #[test]
    fn ordinals_are_read_from_names_of_this_set_only() {
        assert_eq!(ordinal("db", "db-12"), Some(12));
        for name in ["db-01", "db", "db-", "db-x", "other-1", "db-replica-1", "db-+1"] {
            assert_eq!(ordinal("db", name), None, "{name}");
        }
    }

    #[test]
    fn the_retention_policy_says_who_owns_a_claim() {
        let with = |deleted: &str, scaled: &str| {
            set(|set| {
                set["spec"]["persistentVolumeClaimRetentionPolicy"] =
                    json!({ "whenDeleted": deleted, "whenScaled": scaled });
            })
        };
        let claim = claims(&set(|_| {}), 1).remove(0);
        let mut pod = made();
        pod.metadata.uid = Some("pod-1".into());
        let owners = |set: &StatefulSet, condemned| {
            claim_owners(set, &claim, Some(&pod), condemned)
                .into_iter()
                .map(|owner| owner.uid)
                .collect::<Vec<_>>()
        };
        assert!(owners(&with("Retain", "Retain"), true).is_empty());
        assert_eq!(owners(&with("Delete", "Retain"), true), ["set-1"]);
        assert_eq!(owners(&with("Delete", "Delete"), true), ["pod-1"]);
        assert_eq!(owners(&with("Delete", "Delete"), false), ["set-1"]);
        assert!(owners(&with("Retain", "Delete"), false).is_empty());
        assert_eq!(owners(&with("Retain", "Delete"), true), ["pod-1"]);
    }
}
