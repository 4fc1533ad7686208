//! The columns of built-in kinds.

use serde_json::Value;

use super::cell::{
    access_modes, class_name, controller, count, each, endpoints, event_object, first_of, job_completions, job_status,
    last_seen, node_address, node_roles, node_status, none_if_empty, number, or, selector, service_ports, size,
    slice_addresses, template, text, volume_claim,
};
use super::pod::{pod_status, ready_containers, restarts};
use super::{Column, time};

const fn column(name: &'static str, kind: &'static str, cell: fn(&Value) -> Value) -> Column {
    Column {
        name,
        kind,
        wide: false,
        cell,
    }
}

const fn wide(name: &'static str, cell: fn(&Value) -> Value) -> Column {
    Column {
        name,
        kind: "string",
        wide: true,
        cell,
    }
}

const NAME: Column = column("Name", "string", |object| object["metadata"]["name"].clone());
const AGE: Column = column("Age", "string", |object| {
    time::since(&object["metadata"]["creationTimestamp"]).into()
});
const CONTAINERS: Column = wide("Containers", |object| each(template(object), "name").into());
const IMAGES: Column = wide("Images", |object| each(template(object), "image").into());
const SELECTOR: Column = wide("Selector", |object| selector(&object["spec"]["selector"]).into());

/// The columns of a kind, in their order.
#[rustfmt::skip]
#[allow(clippy::too_many_lines)] // a table
pub(super) fn columns(group: &str, plural: &str) -> &'static [Column] {
    match (group, plural) {
        ("", "pods") => const { &[
            NAME,
            column("Ready", "string", |pod| format!("{}/{}", ready_containers(pod), count(&pod["spec"]["containers"])).into()),
            column("Status", "string", |pod| pod_status(pod).into()),
            column("Restarts", "string", |pod| restarts(pod).into()),
            AGE,
            wide("IP", |pod| or(&pod["status"]["podIP"], "<none>")),
            wide("Node", |pod| or(&pod["spec"]["nodeName"], "<none>")),
            wide("Nominated Node", |pod| or(&pod["status"]["nominatedNodeName"], "<none>")),
            wide("Readiness Gates", |_| "<none>".into()),
        ] },
        ("", "services") => const { &[
            NAME,
            column("Type", "string", |service| or(&service["spec"]["type"], "ClusterIP")),
            column("Cluster-IP", "string", |service| or(&service["spec"]["clusterIP"], "<none>")),
            column("External-IP", "string", |service| or(&service["spec"]["externalName"], "<none>")),
            column("Port(s)", "string", |service| service_ports(service).into()),
            AGE,
            wide("Selector", |service| {
                let labels = service["spec"]["selector"].as_object().into_iter().flatten();
                let labels: Vec<String> = labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
                none_if_empty(labels.join(",")).into()
            }),
        ] },
        ("", "namespaces") => const { &[NAME, column("Status", "string", |object| object["status"]["phase"].clone()), AGE] },
        ("", "configmaps") => const { &[NAME, column("Data", "string", |object| (size(&object["data"]) + size(&object["binaryData"])).into()), AGE] },
        ("", "secrets") => const { &[
            NAME, column("Type", "string", |object| object["type"].clone()),
            column("Data", "string", |object| size(&object["data"]).into()), AGE,
        ] },
        ("", "serviceaccounts") => const { &[NAME, column("Secrets", "string", |object| count(&object["secrets"]).into()), AGE] },
        ("", "nodes") => const { &[
            NAME,
            column("Status", "string", |node| node_status(node).into()),
            column("Roles", "string", |node| node_roles(node).into()),
            AGE,
            column("Version", "string", |node| node["status"]["nodeInfo"]["kubeletVersion"].clone()),
            wide("Internal-IP", node_address),
            wide("External-IP", |_| "<none>".into()),
            wide("OS-Image", |node| or(&node["status"]["nodeInfo"]["osImage"], "<unknown>")),
            wide("Kernel-Version", |node| or(&node["status"]["nodeInfo"]["kernelVersion"], "<unknown>")),
            wide("Container-Runtime", |node| or(&node["status"]["nodeInfo"]["containerRuntimeVersion"], "<unknown>")),
        ] },
        ("", "persistentvolumeclaims") => const { &[
            NAME,
            column("Status", "string", |claim| if claim["metadata"].get("deletionTimestamp").is_some() { "Terminating".into() } else { claim["status"]["phase"].clone() }),
            column("Volume", "string", |claim| or(&claim["spec"]["volumeName"], "")),
            column("Capacity", "string", |claim| or(&claim["status"]["capacity"]["storage"], "")),
            column("Access Modes", "string", |claim| access_modes(&claim["status"]["accessModes"]).into()),
            column("StorageClass", "string", |claim| or(&claim["spec"]["storageClassName"], "")),
            column("VolumeAttributesClass", "string", |_| "<unset>".into()),
            AGE,
            wide("VolumeMode", |claim| or(&claim["spec"]["volumeMode"], "")),
        ] },
        ("", "persistentvolumes") => const { &[
            NAME,
            column("Capacity", "string", |volume| or(&volume["spec"]["capacity"]["storage"], "")),
            column("Access Modes", "string", |volume| access_modes(&volume["spec"]["accessModes"]).into()),
            column("Reclaim Policy", "string", |volume| or(&volume["spec"]["persistentVolumeReclaimPolicy"], "")),
            column("Status", "string", |volume| if volume["metadata"].get("deletionTimestamp").is_some() { "Terminating".into() } else { volume["status"]["phase"].clone() }),
            column("Claim", "string", |volume| volume_claim(volume).into()),
            column("StorageClass", "string", |volume| or(&volume["spec"]["storageClassName"], "")),
            column("VolumeAttributesClass", "string", |_| "<unset>".into()),
            column("Reason", "string", |volume| or(&volume["status"]["reason"], "")),
            AGE,
            wide("VolumeMode", |volume| or(&volume["spec"]["volumeMode"], "")),
        ] },
        ("", "endpoints") => const { &[NAME, column("Endpoints", "string", |object| endpoints(object).into()), AGE] },
        ("" | "events.k8s.io", "events") => const { &[
            column("Last Seen", "string", |event| last_seen(event).into()),
            column("Type", "string", |event| event["type"].clone()),
            column("Reason", "string", |event| event["reason"].clone()),
            column("Object", "string", |event| event_object(event).into()),
            column("Message", "string", |event| first_of(event, &["message", "note"]).as_str().unwrap_or_default().trim().into()),
            wide("Source", |event| or(&first_of(event, &["source", "deprecatedSource"])["component"], "")),
            wide("Count", |event| first_of(event, &["count", "deprecatedCount"]).as_i64().unwrap_or(1).to_string().into()),
            Column { name: "Name", kind: "string", wide: true, cell: |event| event["metadata"]["name"].clone() },
        ] },
        ("", "resourcequotas" | "limitranges") => const { &[NAME, column("Created At", "string", |object| object["metadata"]["creationTimestamp"].clone())] },
        ("apps", "deployments") => const { &[
            NAME,
            column("Ready", "string", |object| format!("{}/{}", number(&object["status"]["readyReplicas"]), number(&object["spec"]["replicas"])).into()),
            column("Up-to-date", "string", |object| number(&object["status"]["updatedReplicas"]).into()),
            column("Available", "string", |object| number(&object["status"]["availableReplicas"]).into()),
            AGE, CONTAINERS, IMAGES, SELECTOR,
        ] },
        ("apps", "replicasets") => const { &[
            NAME,
            column("Desired", "integer", |object| number(&object["spec"]["replicas"]).into()),
            column("Current", "integer", |object| number(&object["status"]["replicas"]).into()),
            column("Ready", "integer", |object| number(&object["status"]["readyReplicas"]).into()),
            AGE, CONTAINERS, IMAGES, SELECTOR,
        ] },
        ("apps", "statefulsets") => const { &[
            NAME,
            column("Ready", "string", |object| format!("{}/{}", number(&object["status"]["readyReplicas"]), number(&object["spec"]["replicas"])).into()),
            AGE, CONTAINERS, IMAGES,
        ] },
        ("apps", "daemonsets") => const { &[
            NAME,
            column("Desired", "integer", |object| number(&object["status"]["desiredNumberScheduled"]).into()),
            column("Current", "integer", |object| number(&object["status"]["currentNumberScheduled"]).into()),
            column("Ready", "integer", |object| number(&object["status"]["numberReady"]).into()),
            column("Up-to-date", "integer", |object| number(&object["status"]["updatedNumberScheduled"]).into()),
            column("Available", "integer", |object| number(&object["status"]["numberAvailable"]).into()),
            AGE, CONTAINERS, IMAGES, SELECTOR,
        ] },
        ("apps", "controllerrevisions") => const { &[
            NAME,
            column("Controller", "string", |object| controller(object).into()),
            column("Revision", "string", |object| number(&object["revision"]).into()),
            AGE,
        ] },
        ("batch", "jobs") => const { &[
            NAME,
            column("Status", "string", |job| job_status(job).into()),
            column("Completions", "string", |job| job_completions(job).into()),
            column("Duration", "string", |job| time::between(&job["status"]["startTime"], &job["status"]["completionTime"]).into()),
            AGE, CONTAINERS, IMAGES, SELECTOR,
        ] },
        ("batch", "cronjobs") => const { &[
            NAME,
            column("Schedule", "string", |object| object["spec"]["schedule"].clone()),
            column("Timezone", "string", |object| or(&object["spec"]["timeZone"], "<none>")),
            column("Suspend", "boolean", |object| if object["spec"]["suspend"] == true { "True".into() } else { "False".into() }),
            column("Active", "integer", |object| count(&object["status"]["active"]).into()),
            column("Last Schedule", "string", |object| if object["status"]["lastScheduleTime"].is_null() { "<none>".into() } else { time::since(&object["status"]["lastScheduleTime"]).into() }),
            AGE,
        ] },
        ("policy", "poddisruptionbudgets") => const { &[
            NAME,
            column("Min Available", "string", |object| or(&object["spec"]["minAvailable"], "N/A")),
            column("Max Unavailable", "string", |object| or(&object["spec"]["maxUnavailable"], "N/A")),
            column("Allowed Disruptions", "integer", |object| number(&object["status"]["disruptionsAllowed"]).into()),
            AGE,
        ] },
        ("coordination.k8s.io", "leases") => const { &[NAME, column("Holder", "string", |object| or(&object["spec"]["holderIdentity"], "")), AGE] },
        ("discovery.k8s.io", "endpointslices") => const { &[
            NAME,
            column("AddressType", "string", |object| object["addressType"].clone()),
            column("Ports", "string", |object| none_if_empty(each(&object["ports"], "port")).into()),
            column("Endpoints", "string", |object| slice_addresses(object).into()),
            AGE,
        ] },
        ("storage.k8s.io", "storageclasses") => const { &[
            column("Name", "string", |object| class_name(object).into()),
            column("Provisioner", "string", |object| object["provisioner"].clone()),
            column("ReclaimPolicy", "string", |object| or(&object["reclaimPolicy"], "Delete")),
            column("VolumeBindingMode", "string", |object| or(&object["volumeBindingMode"], "Immediate")),
            column("AllowVolumeExpansion", "string", |object| (object["allowVolumeExpansion"] == true).into()),
            AGE,
        ] },
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => const { &[
            NAME,
            column("Role", "string", |object| format!("{}/{}", text(&object["roleRef"]["kind"]), text(&object["roleRef"]["name"])).into()),
            AGE,
        ] },
        ("rbac.authorization.k8s.io" | "apiextensions.k8s.io", _) => const { &[NAME, column("Created At", "date", |object| object["metadata"]["creationTimestamp"].clone())] },
        ("networking.k8s.io", "networkpolicies") => const { &[NAME, column("Pod-Selector", "string", |object| selector(&object["spec"]["podSelector"]).into()), AGE] },
        ("networking.k8s.io", "ingresses") => const { &[
            NAME,
            column("Class", "string", |object| or(&object["spec"]["ingressClassName"], "<none>")),
            column("Hosts", "string", |object| or(&each(&object["spec"]["rules"], "host").into(), "*")),
            column("Address", "string", |object| each(&object["status"]["loadBalancer"]["ingress"], "ip").into()),
            column("Ports", "string", |object| if object["spec"]["tls"].is_array() { "80, 443".into() } else { "80".into() }),
            AGE,
        ] },
        ("scheduling.k8s.io", "priorityclasses") => const { &[
            NAME,
            column("Value", "integer", |object| object["value"].clone()),
            column("Global-Default", "boolean", |object| (object["globalDefault"] == true).into()),
            AGE,
            column("PreemptionPolicy", "string", |object| or(&object["preemptionPolicy"], "")),
        ] },
        _ => const { &[NAME, AGE] },
    }
}
