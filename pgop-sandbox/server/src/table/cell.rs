//! The contents of cells that take more than a line.

use serde_json::Value;

use super::time;
use crate::selector::LabelSelector;

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(super) fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

pub(super) fn count(list: &Value) -> usize {
    list.as_array().map_or(0, Vec::len)
}

pub(super) fn size(map: &Value) -> usize {
    map.as_object().map_or(0, serde_json::Map::len)
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

pub(super) fn or(value: &Value, otherwise: &str) -> Value {
    match value {
        Value::Null => otherwise.into(),
        Value::String(text) if text.is_empty() => otherwise.into(),
        Value::String(text) => text.as_str().into(),
        other => other.to_string().into(),
    }
}

pub(super) fn none_if_empty(text: String) -> String {
    if text.is_empty() { "<none>".into() } else { text }
}

pub(super) fn first_of<'a>(object: &'a Value, fields: &[&str]) -> &'a Value {
    const NULL: &Value = &Value::Null;
    fields
        .iter()
        .map(|field| &object[*field])
        .find(|value| !value.is_null())
        .unwrap_or(NULL)
}

/// A field of each item, with commas.
pub(super) fn each(items: &Value, field: &str) -> String {
    let texts = list(items).iter().map(|item| match &item[field] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    });
    texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(",")
}

pub(super) fn template(object: &Value) -> &Value {
    &object["spec"]["template"]["spec"]["containers"]
}

pub(super) fn selector(selector: &Value) -> String {
    none_if_empty(
        LabelSelector::of_object(selector)
            .map(|selector| selector.to_string())
            .unwrap_or_default(),
    )
}

pub(super) fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a str> {
    list(&status["conditions"])
        .iter()
        .find(|condition| condition["type"] == kind)?["status"]
        .as_str()
}

pub(super) fn service_ports(service: &Value) -> String {
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

pub(super) fn node_status(node: &Value) -> String {
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

pub(super) fn node_roles(node: &Value) -> String {
    let labels = node["metadata"]["labels"].as_object().into_iter().flatten();
    let roles = labels.filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/"));
    none_if_empty(roles.collect::<Vec<_>>().join(","))
}

pub(super) fn node_address(node: &Value) -> Value {
    let address = list(&node["status"]["addresses"])
        .iter()
        .find(|address| address["type"] == "InternalIP");
    address.map_or_else(|| "<none>".into(), |address| address["address"].clone())
}

pub(super) fn access_modes(modes: &Value) -> String {
    let short = |mode: &Value| match text(mode) {
        "ReadWriteOnce" => "RWO".to_owned(),
        "ReadOnlyMany" => "ROX".to_owned(),
        "ReadWriteMany" => "RWX".to_owned(),
        "ReadWriteOncePod" => "RWOP".to_owned(),
        other => other.to_owned(),
    };
    list(modes).iter().map(short).collect::<Vec<_>>().join(",")
}

pub(super) fn volume_claim(volume: &Value) -> String {
    let claim = &volume["spec"]["claimRef"];
    if claim.is_object() {
        format!("{}/{}", text(&claim["namespace"]), text(&claim["name"]))
    } else {
        String::new()
    }
}

/// The first three, and how many more.
pub(super) fn shortened(addresses: Vec<String>) -> String {
    const SHOWN: usize = 3;
    let more = addresses.len().saturating_sub(SHOWN);
    let told = addresses.into_iter().take(SHOWN).collect::<Vec<_>>().join(",");
    if more > 0 {
        format!("{told} + {more} more...")
    } else {
        none_if_empty(told)
    }
}

pub(super) fn endpoints(object: &Value) -> String {
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

pub(super) fn slice_addresses(slice: &Value) -> String {
    let addresses = list(&slice["endpoints"])
        .iter()
        .flat_map(|endpoint| list(&endpoint["addresses"]));
    shortened(addresses.map(|address| text(address).to_owned()).collect())
}

pub(super) fn last_seen(event: &Value) -> String {
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

pub(super) fn event_object(event: &Value) -> String {
    let object = first_of(event, &["involvedObject", "regarding"]);
    format!("{}/{}", text(&object["kind"]).to_lowercase(), text(&object["name"]))
}

pub(super) fn controller(object: &Value) -> String {
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

pub(super) fn job_status(job: &Value) -> &'static str {
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

pub(super) fn job_completions(job: &Value) -> String {
    let succeeded = number(&job["status"]["succeeded"]);
    match (job["spec"]["completions"].as_i64(), number(&job["spec"]["parallelism"])) {
        (Some(completions), _) => format!("{succeeded}/{completions}"),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

pub(super) fn class_name(class: &Value) -> String {
    let name = text(&class["metadata"]["name"]);
    let default = class["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"] == "true";
    if default {
        format!("{name} (default)")
    } else {
        name.to_owned()
    }
}
