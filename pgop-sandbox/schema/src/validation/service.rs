//! The rules for services.

use std::{collections::BTreeSet, net::IpAddr};

use serde_json::{Value, json};

use super::{
    items, labels,
    names::{dns_label, dns_subdomain},
    pod::{in_range, number_or_name},
    text,
};
use crate::{Cause, path};

/// A Service.
pub(super) fn service(service: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let spec = &service["spec"];
    let kind = text(spec, "type");
    let address = text(spec, "clusterIP");
    let is_headless = address == "None";
    labels::labels(spec, "selector", "spec", causes);
    if items(spec, "ports", "spec").is_empty() && !is_headless && kind != "ExternalName" {
        causes.push(Cause::required("spec.ports", ""));
    }
    ports(spec, causes);
    node_ports(spec, kind, causes);
    if kind == "ExternalName" {
        let name = text(spec, "externalName").trim_end_matches('.');
        if name.is_empty() {
            causes.push(Cause::required("spec.externalName", ""));
        } else {
            causes.extend(
                dns_subdomain(name)
                    .iter()
                    .map(|problem| Cause::invalid("spec.externalName", &json!(name), problem)),
            );
        }
    } else if !address.is_empty() && !is_headless && address.parse::<IpAddr>().is_err() {
        let detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        causes.push(Cause::invalid("spec.clusterIPs[0]", &json!(address), detail));
    }
    if is_headless && (kind == "NodePort" || kind == "LoadBalancer") {
        let detail = format!("may not be set to 'None' for {kind} services");
        causes.push(Cause::invalid("spec.clusterIPs[0]", &json!(address), &detail));
    }
    let before = old.map_or("", |old| text(&old["spec"], "clusterIP"));
    let was_external = old.is_some_and(|old| text(&old["spec"], "type") == "ExternalName");
    if !before.is_empty() && address != before && !was_external && kind != "ExternalName" {
        let addresses = spec.get("clusterIPs").cloned().unwrap_or_else(|| json!([address]));
        causes.push(Cause::invalid(
            "spec.clusterIPs[0]",
            &addresses,
            "may not change once set",
        ));
    }
}

fn ports(spec: &Value, causes: &mut Vec<Cause>) {
    let ports = items(spec, "ports", "spec");
    let mut names = BTreeSet::new();
    let mut numbers = BTreeSet::new();
    for (at, port) in &ports {
        let name = text(port, "name");
        let at_name = path::child(at, "name");
        if name.is_empty() && ports.len() > 1 {
            causes.push(Cause::required(at_name, ""));
        } else if !name.is_empty() {
            causes.extend(
                dns_label(name)
                    .iter()
                    .map(|problem| Cause::invalid(&*at_name, &json!(name), problem)),
            );
            if !names.insert(name) {
                causes.push(Cause::duplicate(at_name, &json!(name)));
            }
        }
        for field in ["port", "nodePort"] {
            if field == "port" || port.get(field).is_some_and(|number| number != 0) {
                in_range(port, field, at, causes);
            }
        }
        number_or_name(port, "targetPort", at, causes);
        let number = port.get("port").and_then(Value::as_i64);
        if !numbers.insert((number, text(port, "protocol"))) {
            causes.push(Cause::duplicate(
                at,
                &json!({"port": number, "protocol": text(port, "protocol")}),
            ));
        }
    }
}

/// Only services that are reached at the node have ports there, each once for a protocol.
fn node_ports(spec: &Value, kind: &str, causes: &mut Vec<Cause>) {
    let mut taken = BTreeSet::new();
    for (at, port) in items(spec, "ports", "spec") {
        let Some(number) = port
            .get("nodePort")
            .and_then(Value::as_i64)
            .filter(|number| *number != 0)
        else {
            continue;
        };
        let at = path::child(&at, "nodePort");
        if kind != "NodePort" && kind != "LoadBalancer" {
            let detail = format!("may not be used when `type` is '{kind}'");
            causes.push(Cause::forbidden(at, &detail));
        } else if !taken.insert((number, text(port, "protocol"))) {
            causes.push(Cause::duplicate(at, &json!(number)));
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn node_ports_are_for_services_at_the_node() {
        let port = |number: i64, node: i64| json!({"name": format!("p{number}"), "port": number, "nodePort": node, "protocol": "TCP"});
        let of = |kind: &str, node: i64| lines(&json!({"type": kind, "ports": [port(1, 30001), port(2, node)]}), None);
        assert_eq!(of("NodePort", 30002), [""; 0]);
        assert_eq!(of("LoadBalancer", 30002), [""; 0]);
        assert_eq!(
            of("NodePort", 30001),
            ["spec.ports[1].nodePort: Duplicate value: 30001"]
        );
        assert_eq!(
            of("ClusterIP", 0),
            ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"]
        );
    }

    use super::*;

    fn lines(spec: &Value, old: Option<&Value>) -> Vec<String> {
        let object = |spec: &Value| json!({"metadata": {"name": "pg"}, "spec": spec});
        let mut causes = Vec::new();
        service(&object(spec), old.map(object).as_ref(), &mut causes);
        causes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn good_services() {
        let port = json!({"port": 5432, "protocol": "TCP", "targetPort": "pg"});
        let good = [
            json!({"type": "ClusterIP", "ports": [port], "selector": {"app": "pg"}}),
            json!({"type": "ClusterIP", "clusterIP": "None"}),
            json!({"type": "ExternalName", "externalName": "db.example.com."}),
            json!({"type": "LoadBalancer", "clusterIP": "10.96.0.7", "ports": [port]}),
        ];
        for spec in good {
            assert_eq!(lines(&spec, Some(&spec)), [""; 0], "{spec}");
        }
    }

    #[test]
    fn ports_are_told_apart() {
        let ports = json!([{"name": "a", "port": 80, "protocol": "TCP"}, {"port": 80, "protocol": "TCP"}, {"name": "a", "port": 70000, "protocol": "TCP"}]);
        assert_eq!(
            lines(&json!({"ports": ports}), None),
            [
                "spec.ports[1].name: Required value",
                r#"spec.ports[1]: Duplicate value: {"port":80,"protocol":"TCP"}"#,
                r#"spec.ports[2].name: Duplicate value: "a""#,
                "spec.ports[2].port: Invalid value: 70000: must be between 1 and 65535, inclusive",
            ]
        );
        assert_eq!(
            lines(&json!({"type": "ClusterIP"}), None),
            ["spec.ports: Required value"]
        );
    }

    #[test]
    fn the_address_stays() {
        let spec =
            |address: &str| json!({"type": "ClusterIP", "clusterIP": address, "ports": [{"port": 1, "targetPort": 1}]});
        assert_eq!(
            lines(&spec("10.96.0.9"), Some(&spec("10.96.0.7"))),
            [r#"spec.clusterIPs[0]: Invalid value: ["10.96.0.9"]: may not change once set"#]
        );
        assert_eq!(lines(&spec("here"), None).len(), 1);
        let external = json!({"type": "ExternalName", "externalName": "a.b"});
        assert_eq!(lines(&external, Some(&spec("10.96.0.7"))), [""; 0]);
        assert_eq!(
            lines(&json!({"type": "ExternalName"}), None),
            ["spec.externalName: Required value"]
        );
    }
}
