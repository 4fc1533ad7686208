//! How lists and maps of built-in types merge.
//!
//! Server-side apply and strategic merge patch each have their say, and don't always agree on the key:
//! the ports of a container are told apart by port and protocol there, by port alone here.

use serde_json::{Map, Value, json};

/// How a list merges.
enum Merge {
    /// Both merge by this key.
    By(&'static str),
    /// Server-side apply merges by these keys, strategic merge patch by the first alone.
    ByAll(&'static [&'static str]),
    /// Server-side apply merges by these keys; strategic merge patch replaces.
    ApplyBy(&'static [&'static str]),
    /// Strategic merge patch merges by this key; server-side apply replaces.
    PatchBy(&'static str),
    /// Scalars, unique in both.
    Set,
    /// Scalars, unique in server-side apply; strategic merge patch replaces.
    ApplySet,
    /// Like `By`, and a patch may say which keys of an item stay.
    ByAndRetainKeys(&'static str),
    /// An object of which a patch may say which keys stay.
    RetainKeys,
    /// A map that is replaced as a whole by server-side apply.
    AtomicMap,
}

use Merge::{ApplyBy, ApplySet, AtomicMap, By, ByAll, ByAndRetainKeys, PatchBy, RetainKeys, Set};

/// Type, field, how it merges. What is not here: lists are replaced, maps and objects merge.
const LISTS: &[(&str, &str, Merge)] = &[
    ("apps.v1.DaemonSetStatus", "conditions", By("type")),
    ("apps.v1.DeploymentSpec", "strategy", RetainKeys),
    ("apps.v1.DeploymentStatus", "conditions", By("type")),
    ("apps.v1.ReplicaSetStatus", "conditions", By("type")),
    ("apps.v1.StatefulSetStatus", "conditions", By("type")),
    ("batch.v1.JobSchedulingConfiguration", "resourceClaims", By("name")),
    ("batch.v1.JobStatus", "conditions", PatchBy("type")),
    ("batch.v1.PodFailurePolicyOnExitCodesRequirement", "values", ApplySet),
    ("batch.v1.UncountedTerminatedPods", "failed", ApplySet),
    ("batch.v1.UncountedTerminatedPods", "succeeded", ApplySet),
    ("core.v1.Container", "env", By("name")),
    ("core.v1.Container", "ports", ByAll(&["containerPort", "protocol"])),
    ("core.v1.Container", "volumeDevices", By("devicePath")),
    ("core.v1.Container", "volumeMounts", By("mountPath")),
    ("core.v1.ContainerRestartRuleOnExitCodes", "values", ApplySet),
    ("core.v1.ContainerStatus", "allocatedResourcesStatus", By("name")),
    ("core.v1.ContainerStatus", "volumeMounts", By("mountPath")),
    ("core.v1.EphemeralContainer", "env", By("name")),
    (
        "core.v1.EphemeralContainer",
        "ports",
        ByAll(&["containerPort", "protocol"]),
    ),
    ("core.v1.EphemeralContainer", "volumeDevices", By("devicePath")),
    ("core.v1.EphemeralContainer", "volumeMounts", By("mountPath")),
    ("core.v1.NamespaceStatus", "conditions", By("type")),
    ("core.v1.NodeAllocatableResourceClaimStatus", "containers", ApplySet),
    ("core.v1.NodeAllocatableResourceClaimStatus", "mapping", By("name")),
    ("core.v1.NodeAllocatableResourceClaimStatus", "overhead", By("name")),
    ("core.v1.NodePodPreemptionPolicy", "disableResizePreemption", ApplySet),
    ("core.v1.NodeSpec", "podCIDRs", Set),
    ("core.v1.NodeStatus", "addresses", By("type")),
    ("core.v1.NodeStatus", "conditions", By("type")),
    ("core.v1.PersistentVolumeClaimStatus", "conditions", By("type")),
    ("core.v1.PodSpec", "containers", By("name")),
    ("core.v1.PodSpec", "ephemeralContainers", By("name")),
    ("core.v1.PodSpec", "evictionResponders", By("name")),
    ("core.v1.PodSpec", "hostAliases", By("ip")),
    ("core.v1.PodSpec", "imagePullSecrets", By("name")),
    ("core.v1.PodSpec", "initContainers", By("name")),
    ("core.v1.PodSpec", "nodeSelector", AtomicMap),
    ("core.v1.PodSpec", "resourceClaims", ByAndRetainKeys("name")),
    ("core.v1.PodSpec", "schedulingGates", By("name")),
    (
        "core.v1.PodSpec",
        "topologySpreadConstraints",
        ByAll(&["topologyKey", "whenUnsatisfiable"]),
    ),
    ("core.v1.PodSpec", "volumes", ByAndRetainKeys("name")),
    ("core.v1.PodStatus", "conditions", By("type")),
    ("core.v1.PodStatus", "hostIPs", PatchBy("ip")),
    (
        "core.v1.PodStatus",
        "nodeAllocatableResourceClaimStatuses",
        By("resourceClaimName"),
    ),
    ("core.v1.PodStatus", "podIPs", By("ip")),
    ("core.v1.PodStatus", "resourceClaimStatuses", ByAndRetainKeys("name")),
    ("core.v1.PodStatus", "volumeHealth", ApplyBy(&["name"])),
    (
        "core.v1.PodVolumeHealth",
        "healthConditions",
        ByAll(&["status", "reason"]),
    ),
    ("core.v1.ResourceRequirements", "claims", ApplyBy(&["name"])),
    ("core.v1.ResourceStatus", "resources", ApplyBy(&["resourceID"])),
    ("core.v1.ServiceAccount", "secrets", By("name")),
    ("core.v1.ServiceSpec", "ports", ByAll(&["port", "protocol"])),
    ("core.v1.ServiceSpec", "selector", AtomicMap),
    ("core.v1.ServiceStatus", "conditions", By("type")),
    (
        "core.v1.VolumeHealthStatus",
        "healthConditions",
        ByAll(&["status", "reason"]),
    ),
    ("core.v1.VolumeMount", "bindMountOptions", ApplySet),
    ("discovery.v1.Endpoint", "addresses", ApplySet),
    ("meta.v1.ObjectMeta", "finalizers", Set),
    ("meta.v1.ObjectMeta", "ownerReferences", By("uid")),
    ("policy.v1.PodDisruptionBudgetStatus", "conditions", By("type")),
    (
        "apiextensions.v1.CustomResourceDefinitionStatus",
        "conditions",
        ApplyBy(&["type"]),
    ),
];

/// Types whose objects are replaced as a whole by server-side apply.
pub(super) const ATOMIC_TYPES: &[&str] = &[
    "core.v1.ConfigMapKeySelector",
    "core.v1.EndpointAddress",
    "core.v1.EndpointPort",
    "core.v1.EvictionResponder",
    "core.v1.FileKeySelector",
    "core.v1.LocalObjectReference",
    "core.v1.NodeSelector",
    "core.v1.NodeSelectorTerm",
    "core.v1.ObjectFieldSelector",
    "core.v1.ObjectReference",
    "core.v1.ResourceFieldSelector",
    "core.v1.ScopeSelector",
    "core.v1.ScopedResourceSelectorRequirement",
    "core.v1.SecretKeySelector",
    "core.v1.SecretReference",
    "core.v1.TopologySelectorTerm",
    "core.v1.TypedLocalObjectReference",
    "discovery.v1.EndpointPort",
    "meta.v1.LabelSelector",
    "meta.v1.OwnerReference",
    "networking.v1.ServiceBackendPort",
    "rbac.v1.RoleRef",
    "rbac.v1.Subject",
];

/// Writes what the table says of a field into its schema.
pub(super) fn enrich(name: &str, field: &str, property: &mut Map<String, Value>) {
    let Some((_, _, merge)) = LISTS.iter().find(|(of, at, _)| (*of, *at) == (name, field)) else {
        return;
    };
    let mut set = |key: &str, value: Value| property.insert(format!("x-kubernetes-{key}"), value);
    match merge {
        By(key) | ByAndRetainKeys(key) => {
            set("list-type", json!("map"));
            set("list-map-keys", json!([key]));
        }
        ByAll(keys) | ApplyBy(keys) => {
            set("list-type", json!("map"));
            set("list-map-keys", json!(keys));
        }
        Set | ApplySet => {
            set("list-type", json!("set"));
        }
        AtomicMap => {
            set("map-type", json!("atomic"));
        }
        PatchBy(_) => {
            set("list-type", json!("atomic"));
        }
        RetainKeys => {}
    }
    match merge {
        By(_) | ByAll(_) | PatchBy(_) | Set => set("patch-strategy", json!("merge")),
        ByAndRetainKeys(_) => set("patch-strategy", json!("merge,retainKeys")),
        RetainKeys => set("patch-strategy", json!("retainKeys")),
        ApplyBy(_) | ApplySet | AtomicMap => None,
    };
    match merge {
        By(key) | PatchBy(key) | ByAndRetainKeys(key) | ByAll([key, ..]) => set("patch-merge-key", json!(key)),
        _ => None,
    };
}

#[cfg(test)]
pub(super) fn rows() -> impl Iterator<Item = (&'static str, &'static str)> {
    LISTS.iter().map(|(name, field, _)| (*name, *field))
}
