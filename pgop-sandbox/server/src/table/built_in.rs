//! The columns of built-in kinds.

use serde_json::Value;

use super::{Column, time};
use crate::selector::LabelSelector;

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

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

fn count(list: &Value) -> usize {
    list.as_array().map_or(0, Vec::len)
}

fn size(map: &Value) -> usize {
    map.as_object().map_or(0, serde_json::Map::len)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn or(value: &Value, otherwise: &str) -> Value {
    match value {
        Value::Null => otherwise.into(),
        Value::String(text) if text.is_empty() => otherwise.into(),
        Value::String(text) => text.as_str().into(),
        other => other.to_string().into(),
    }
}

fn none_if_empty(text: String) -> String {
    if text.is_empty() { "<none>".into() } else { text }
}

fn first_of<'a>(object: &'a Value, fields: &[&str]) -> &'a Value {
    const NULL: &Value = &Value::Null;
    fields
        .iter()
        .map(|field| &object[*field])
        .find(|value| !value.is_null())
        .unwrap_or(NULL)
}

/// A field of each item, with commas.
fn each(items: &Value, field: &str) -> String {
    let texts = list(items).iter().map(|item| match &item[field] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    });
    texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(",")
}

fn template(object: &Value) -> &Value {
    &object["spec"]["template"]["spec"]["containers"]
}

fn selector(selector: &Value) -> String {
    none_if_empty(
        LabelSelector::of_object(selector)
            .map(|selector| selector.to_string())
            .unwrap_or_default(),
    )
}

fn ready_containers(pod: &Value) -> usize {
    list(&pod["status"]["containerStatuses"])
        .iter()
        .filter(|status| status["ready"] == true)
        .count()
}

fn restarts(pod: &Value) -> String {
    let statuses = list(&pod["status"]["containerStatuses"]);
    let total: i64 = statuses.iter().map(|status| number(&status["restartCount"])).sum();
    let last = statuses
        .iter()
        .map(|status| &status["lastState"]["terminated"]["finishedAt"])
        .filter_map(Value::as_str)
        .max();
    match last.filter(|_| total > 0) {
        Some(time) => format!("{total} ({} ago)", time::since(&time.into())),
        None => total.to_string(),
    }
}

/// The one word for how a pod is: its phase, unless a container says more.
fn pod_status(pod: &Value) -> String {
    let status = &pod["status"];
    let mut told = match text(&status["reason"]) {
        "" => text(&status["phase"]).to_owned(),
        reason => reason.to_owned(),
    };
    let init = list(&status["initContainerStatuses"]);
    let waiting = init
        .iter()
        .enumerate()
        .find_map(|(index, container)| Some((index, init_status(pod, container)?)));
    let initializing = waiting.is_some();
    if let Some((index, reason)) = waiting {
        told = match reason {
            Some(reason) => format!("Init:{reason}"),
            None => format!("Init:{index}/{}", count(&pod["spec"]["initContainers"])),
        };
    }
    if !initializing {
        let mut running = false;
        for container in list(&status["containerStatuses"]).iter().rev() {
            match container_reason(container) {
                Some(reason) => told = reason,
                None => running |= container["ready"] == true && container["state"]["running"].is_object(),
            }
        }
        if told == "Completed" && running {
            told = if is_ready(status) {
                "Running".into()
            } else {
                "NotReady".into()
            };
        }
    }
    if pod["metadata"].get("deletionTimestamp").is_some() {
        told = if status["reason"] == "NodeLost" {
            "Unknown".into()
        } else {
            "Terminating".into()
        };
    }
    told
}

/// Why the pod waits for an init container, as far as that has a name. Nothing of one that is done.
#[allow(clippy::option_option)] // whether it waits, and for what
fn init_status(pod: &Value, status: &Value) -> Option<Option<String>> {
    let restartable = list(&pod["spec"]["initContainers"])
        .iter()
        .any(|container| container["name"] == status["name"] && container["restartPolicy"] == "Always");
    let state = &status["state"];
    if (state["terminated"].is_object() && number(&state["terminated"]["exitCode"]) == 0)
        || (restartable && status["started"] == true)
    {
        return None;
    }
    Some(container_reason(status).filter(|reason| reason != "PodInitializing"))
}

fn container_reason(status: &Value) -> Option<String> {
    let state = &status["state"];
    if !text(&state["waiting"]["reason"]).is_empty() {
        return Some(text(&state["waiting"]["reason"]).into());
    }
    let terminated = state["terminated"].as_object()?;
    let reason = terminated.get("reason").map(text).unwrap_or_default();
    let signal = terminated.get("signal").map(number).unwrap_or_default();
    Some(match (reason, signal) {
        ("", 0) => format!(
            "ExitCode:{}",
            terminated.get("exitCode").map(number).unwrap_or_default()
        ),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.into(),
    })
}

fn is_ready(status: &Value) -> bool {
    condition(status, "Ready") == Some("True")
}

fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a str> {
    list(&status["conditions"])
        .iter()
        .find(|condition| condition["type"] == kind)?["status"]
        .as_str()
}

fn service_ports(service: &Value) -> String {
    let ports = list(&service["spec"]["ports"]).iter().map(|port| {
        let protocol = if port["protocol"].is_null() {
            "TCP"
        } else {
            text(&port["protocol"])
        };
        match number(&port["nodePort"]) {
            0 => format!("{}/{protocol}", port["port"]),
            node => format!("{}:{node}/{protocol}", port["port"]),
        }
    });
    none_if_empty(ports.collect::<Vec<_>>().join(","))
}

fn node_status(node: &Value) -> String {
    let ready = match condition(&node["status"], "Ready") {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    if node["spec"]["unschedulable"] == true {
        format!("{ready},SchedulingDisabled")
    } else {
        ready.into()
    }
}

fn node_roles(node: &Value) -> String {
    let labels = node["metadata"]["labels"].as_object().into_iter().flatten();
    let roles = labels.filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/"));
    none_if_empty(roles.collect::<Vec<_>>().join(","))
}

fn node_address(node: &Value) -> Value {
    let address = list(&node["status"]["addresses"])
        .iter()
        .find(|address| address["type"] == "InternalIP");
    address.map_or_else(|| "<none>".into(), |address| address["address"].clone())
}

fn access_modes(modes: &Value) -> String {
    let short = |mode: &Value| match text(mode) {
        "ReadWriteOnce" => "RWO".to_owned(),
        "ReadOnlyMany" => "ROX".to_owned(),
        "ReadWriteMany" => "RWX".to_owned(),
        "ReadWriteOncePod" => "RWOP".to_owned(),
        other => other.to_owned(),
    };
    list(modes).iter().map(short).collect::<Vec<_>>().join(",")
}

fn volume_claim(volume: &Value) -> String {
    let claim = &volume["spec"]["claimRef"];
    if claim.is_object() {
        format!("{}/{}", text(&claim["namespace"]), text(&claim["name"]))
    } else {
        String::new()
    }
}

/// The first three, and how many more.
fn shortened(addresses: Vec<String>) -> String {
    const SHOWN: usize = 3;
    let more = addresses.len().saturating_sub(SHOWN);
    let told = addresses.into_iter().take(SHOWN).collect::<Vec<_>>().join(",");
    if more > 0 {
        format!("{told} + {more} more...")
    } else {
        none_if_empty(told)
    }
}

fn endpoints(object: &Value) -> String {
    let mut told = Vec::new();
    for subset in list(&object["subsets"]) {
        let ports = list(&subset["ports"]);
        for address in list(&subset["addresses"]) {
            let ip = text(&address["ip"]);
            if ports.is_empty() {
                told.push(ip.to_owned());
            }
            told.extend(ports.iter().map(|port| format!("{ip}:{}", port["port"])));
        }
    }
    shortened(told)
}

fn slice_addresses(slice: &Value) -> String {
    let addresses = list(&slice["endpoints"])
        .iter()
        .flat_map(|endpoint| list(&endpoint["addresses"]));
    shortened(addresses.map(|address| text(address).to_owned()).collect())
}

fn last_seen(event: &Value) -> String {
    let series = &event["series"]["lastObservedTime"];
    let time = if series.is_null() {
        first_of(
            event,
            &[
                "lastTimestamp",
                "deprecatedLastTimestamp",
                "eventTime",
                "firstTimestamp",
                "deprecatedFirstTimestamp",
            ],
        )
    } else {
        series
    };
    time::since(time)
}

fn event_object(event: &Value) -> String {
    let object = first_of(event, &["involvedObject", "regarding"]);
    format!("{}/{}", text(&object["kind"]).to_lowercase(), text(&object["name"]))
}

fn controller(object: &Value) -> String {
    let owner = list(&object["metadata"]["ownerReferences"])
        .iter()
        .find(|owner| owner["controller"] == true);
    let Some(owner) = owner else { return "<none>".into() };
    let group = text(&owner["apiVersion"])
        .split_once('/')
        .map_or("", |(group, _)| group);
    let kind = text(&owner["kind"]).to_lowercase();
    if group.is_empty() {
        format!("{kind}/{}", text(&owner["name"]))
    } else {
        format!("{kind}.{group}/{}", text(&owner["name"]))
    }
}

fn job_status(job: &Value) -> &'static str {
    let status = &job["status"];
    let is = |kind: &str| condition(status, kind) == Some("True");
    if is("Complete") {
        "Complete"
    } else if is("Failed") {
        "Failed"
    } else if job["metadata"].get("deletionTimestamp").is_some() {
        "Terminating"
    } else if is("Suspended") {
        "Suspended"
    } else if is("FailureTarget") {
        "FailureTarget"
    } else if is("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
}

fn job_completions(job: &Value) -> String {
    let succeeded = number(&job["status"]["succeeded"]);
    match (job["spec"]["completions"].as_i64(), number(&job["spec"]["parallelism"])) {
        (Some(completions), _) => format!("{succeeded}/{completions}"),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

fn class_name(class: &Value) -> String {
    let name = text(&class["metadata"]["name"]);
    let default = class["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"] == "true";
    if default {
        format!("{name} (default)")
    } else {
        name.to_owned()
    }
}
