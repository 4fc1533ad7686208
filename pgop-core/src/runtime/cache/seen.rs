//! What a watch brings, and what of it is kept: what is compared and assessed, and nothing that only makes noise.

use std::borrow::Cow;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::api::ApiResource;
use kube::core::DynamicResourceScope;
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::kind::Kind;
use crate::name::AGENT_CONTAINER;
use crate::owner::ResourceKind;

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum What {
    /// Objects that strategies make.
    Object(Kind),
    /// Metadata of Secrets.
    Secret,
    /// Pods.
    Pod,
    /// Our own resources.
    Resource(ResourceKind),
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Object(kind) => kind.as_str(),
            Self::Secret => "Secret",
            Self::Pod => "Pod",
            Self::Resource(kind) => kind.as_str(),
        })
    }
}

/// An object as a list or a watch brings it, of any kind. `managedFields`, often half of an object, are skipped while it is read.
#[derive(Clone, Debug)]
pub(crate) struct Seen<const METADATA_ONLY: bool = false> {
    /// Name, namespace and resource version; the watcher asks for it.
    meta: ObjectMeta,
    value: Value,
}

impl<const METADATA_ONLY: bool> Seen<METADATA_ONLY> {
    pub(crate) fn namespace(&self) -> &str {
        self.meta.namespace.as_deref().unwrap_or_default()
    }

    pub(crate) fn name(&self) -> &str {
        self.meta.name.as_deref().unwrap_or_default()
    }

    /// The object, without what nobody looks at.
    pub(crate) fn kept(self, what: What) -> Value {
        let mut value = self.value;
        keep(what, &mut value);
        value
    }
}

impl<const METADATA_ONLY: bool> Resource for Seen<METADATA_ONLY> {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn metadata_api() -> bool {
        METADATA_ONLY
    }

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

impl<'de, const METADATA_ONLY: bool> Deserialize<'de> for Seen<METADATA_ONLY> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Fields(map) = Fields::<true>::deserialize(deserializer)?;
        let text = |key: &str| {
            let metadata = map.get("metadata")?;
            metadata.get(key)?.as_str().map(str::to_owned)
        };
        let meta = ObjectMeta {
            name: Some(text("name").ok_or_else(|| D::Error::missing_field("metadata.name"))?),
            namespace: text("namespace"),
            resource_version: text("resourceVersion"),
            ..ObjectMeta::default()
        };
        let value = Value::Object(map);
        Ok(Self { meta, value })
    }
}

/// The fields of an object, or of its metadata, without the `managedFields`.
struct Fields<const OF_OBJECT: bool>(Map<String, Value>);

impl<'de, const OF_OBJECT: bool> Deserialize<'de> for Fields<OF_OBJECT> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<const OF_OBJECT: bool>;

        impl<'de, const OF_OBJECT: bool> Visitor<'de> for Reader<OF_OBJECT> {
            type Value = Fields<OF_OBJECT>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a Kubernetes object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Map::new();
                while let Some(key) = map.next_key::<String>()? {
                    if OF_OBJECT && key == "metadata" {
                        let Fields(metadata) = map.next_value::<Fields<false>>()?;
                        fields.insert(key, Value::Object(metadata));
                    } else if !OF_OBJECT && key == "managedFields" {
                        map.next_value::<IgnoredAny>()?;
                    } else {
                        fields.insert(key, map.next_value()?);
                    }
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Reader)
    }
}

/// Takes off what nobody looks at. What changes all the time, such as `resourceVersion`, would make news of nothing.
fn keep(what: What, value: &mut Value) {
    // A status is written with the version that was read, and a Secret's tells that its content changed.
    if !matches!(what, What::Resource(_) | What::Secret) {
        remove(value, "/metadata", "resourceVersion");
    }
    match what {
        What::Object(kind) => keep_object(kind, value),
        What::Secret => retain(value, "", &["metadata"]),
        What::Pod => keep_pod(value),
        What::Resource(_) => {}
    }
}

fn keep_object(kind: Kind, value: &mut Value) {
    match kind {
        // How many pods are there is told by the pods.
        Kind::StatefulSet => {
            let read = [
                "observedGeneration",
                "replicas",
                "readyReplicas",
                "updatedReplicas",
                "currentRevision",
                "updateRevision",
            ];
            retain(value, "/status", &read);
        }
        Kind::PodDisruptionBudget => remove(value, "", "status"),
        _ => {}
    }
    // The items of a list do not name their type.
    value["apiVersion"] = kind.api_version().into();
    value["kind"] = kind.as_str().into();
}

/// Of a pod: whose it is, which agent it has, what it may write to, and how it does.
fn keep_pod(pod: &mut Value) {
    retain(pod, "", &["metadata", "spec", "status"]);
    retain(pod, "/spec", &["nodeName", "volumes", "initContainers"]);
    if let Some(containers) = pod.pointer_mut("/spec/initContainers").and_then(Value::as_array_mut) {
        containers.retain(|container| container["name"] == AGENT_CONTAINER);
        for agent in containers {
            retain(agent, "", &["name", "image"]);
        }
    }
    // Who else may write to a claim is told by the pods that mount it.
    if let Some(volumes) = pod.pointer_mut("/spec/volumes").and_then(Value::as_array_mut) {
        volumes.retain(|volume| volume.get("persistentVolumeClaim").is_some());
    }
    let read = [
        "phase",
        "reason",
        "message",
        "podIP",
        "startTime",
        "conditions",
        "initContainerStatuses",
        "containerStatuses",
    ];
    retain(pod, "/status", &read);
    for condition in items(pod, "/status/conditions") {
        remove(condition, "", "lastProbeTime");
    }
    for list in ["/status/initContainerStatuses", "/status/containerStatuses"] {
        for container in items(pod, list) {
            retain(
                container,
                "",
                &["name", "ready", "started", "restartCount", "state", "lastState"],
            );
            // It counts the seconds.
            if container.pointer("/state/waiting/reason").and_then(Value::as_str) == Some("CrashLoopBackOff") {
                remove(container, "/state/waiting", "message");
            }
        }
    }
}

fn items<'a>(value: &'a mut Value, pointer: &str) -> impl Iterator<Item = &'a mut Value> {
    value
        .pointer_mut(pointer)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
}

fn retain(value: &mut Value, pointer: &str, fields: &[&str]) {
    if let Some(map) = value.pointer_mut(pointer).and_then(Value::as_object_mut) {
        map.retain(|key, _| fields.contains(&key.as_str()));
    }
}

fn remove(value: &mut Value, pointer: &str, field: &str) {
    if let Some(map) = value.pointer_mut(pointer).and_then(Value::as_object_mut) {
        map.remove(field);
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use kube::core::WatchEvent;
    use serde_json::json;

    use super::*;

    fn seen(value: &Value) -> Seen {
        serde_json::from_str(&value.to_string()).unwrap()
    }

    #[test]
    fn managed_fields_and_versions_are_not_kept() {
        let event = json!({"type": "MODIFIED", "object": {"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "hippo", "namespace": "a", "uid": "u", "resourceVersion": "7", "managedFields": [{"manager": "x"}]},
            "spec": {"clusterIP": "10.0.0.1"}}});
        let WatchEvent::Modified(service) = serde_json::from_str::<WatchEvent<Seen>>(&event.to_string()).unwrap()
        else {
            panic!("{event}")
        };
        assert_eq!((service.namespace(), service.name()), ("a", "hippo"));
        assert_eq!(service.meta().resource_version.as_deref(), Some("7"));
        let kept = service.kept(What::Object(Kind::Service));
        let all = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "hippo", "namespace": "a", "uid": "u"}, "spec": {"clusterIP": "10.0.0.1"}});
        assert_eq!(kept, all);
    }

    #[test]
    fn our_own_resources_keep_their_version_and_what_they_say() {
        let cluster = json!({"metadata": {"name": "hippo", "resourceVersion": "7"}, "spec": {"replicas": 2}, "status": {"phase": "Ready"}});
        assert_eq!(seen(&cluster).kept(What::Resource(ResourceKind::PgCluster)), cluster);
    }

    #[test]
    fn a_pods_noise_is_no_change() {
        let pod = |ip: &str, back_off: &str, probed: &str| {
            json!({"metadata": {"name": "hippo-0", "resourceVersion": back_off, "labels": {"a": "b"}},
                "spec": {"nodeName": "lab", "containers": [{"name": "postgres", "image": "postgres:17"}],
                    "initContainers": [{"name": "agent", "image": "op:1", "command": ["pgop-agent"]}, {"name": "mine", "image": "other"}], "volumes": [
                    {"name": "data", "persistentVolumeClaim": {"claimName": "hippo-pvc"}}, {"name": "tmp", "emptyDir": {}}]},
                "status": {"phase": "Running", "podIP": ip, "hostIP": probed, "conditions": [{"type": "Ready", "status": "False", "lastProbeTime": probed}],
                    "containerStatuses": [{"name": "postgres", "image": "postgres:17", "imageID": "sha256:1", "ready": false, "restartCount": 3,
                        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": back_off}}}]}})
        };
        let kept = |ip, back_off, probed| seen(&pod(ip, back_off, probed)).kept(What::Pod);
        assert_eq!(
            kept("10.0.0.1", "back-off 10s", "1"),
            kept("10.0.0.1", "back-off 20s", "2")
        );
        assert_ne!(
            kept("10.0.0.1", "back-off 10s", "1"),
            kept("10.0.0.2", "back-off 10s", "1")
        );
        let typed: Pod = serde_json::from_value(kept("10.0.0.1", "", "1")).unwrap();
        assert_eq!(typed.status.unwrap().container_statuses.unwrap()[0].restart_count, 3);
        let spec = typed.spec.unwrap();
        assert_eq!(spec.node_name.as_deref(), Some("lab"));
        let agent = json!([{"name": "agent", "image": "op:1"}]);
        assert_eq!(serde_json::to_value(spec.init_containers).unwrap(), agent);
        let volumes = spec.volumes.unwrap();
        let mounted = volumes
            .iter()
            .map(|volume| volume.persistent_volume_claim.as_ref().unwrap().claim_name.as_str());
        assert_eq!(
            mounted.collect::<Vec<_>>(),
            ["hippo-pvc"],
            "the plan lets no second writer on it"
        );
    }

    #[test]
    fn the_rollout_of_a_stateful_set_is_kept_and_its_counts_of_pods_are_not() {
        let set = json!({"metadata": {"name": "hippo"}, "status": {"updateRevision": "b", "currentRevision": "a", "availableReplicas": 1, "conditions": []}});
        let kept = seen(&set).kept(What::Object(Kind::StatefulSet));
        assert_eq!(kept["status"], json!({"updateRevision": "b", "currentRevision": "a"}));
        let budget = json!({"metadata": {"name": "hippo"}, "status": {"currentHealthy": 1}});
        assert_eq!(
            seen(&budget)
                .kept(What::Object(Kind::PodDisruptionBudget))
                .get("status"),
            None
        );
    }
}
