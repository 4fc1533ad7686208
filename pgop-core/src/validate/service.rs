//! Validation of how a Service is reached.

use std::net::IpAddr;

use crate::crd::{ServiceSettings, ServiceType};
use crate::invalid::Invalid;
use crate::label;

/// Checks the settings, whose field is `path`, and gives them without what is refused of them: these stay in force beside it.
pub(super) fn check(path: &str, service: &ServiceSettings, invalid: &mut Vec<Invalid>) -> ServiceSettings {
    let mut fine = service.clone();
    let mut refuse = |field: String, problem: String, mend: String| {
        invalid.push(Invalid::change(format!("{path}.{field}"), problem, mend));
    };
    for (field, map) in [("labels", &mut fine.labels), ("annotations", &mut fine.annotations)] {
        map.retain(|key, _| {
            if label::is_reserved(key) {
                let problem = "belongs to pgop or Kubernetes".to_owned();
                refuse(format!("{field}.{key}"), problem, "use another key".to_owned());
            }
            !label::is_reserved(key)
        });
    }
    if service.service_type != ServiceType::LoadBalancer {
        for (field, is_set) in [
            ("loadBalancerClass", fine.load_balancer_class.take().is_some()),
            (
                "loadBalancerSourceRanges",
                !std::mem::take(&mut fine.load_balancer_source_ranges).is_empty(),
            ),
        ] {
            if is_set {
                let problem = "is for a load balancer, and there is none".to_owned();
                let mend = format!("leave it out, or set {path}.type to LoadBalancer");
                refuse(field.to_owned(), problem, mend);
            }
        }
    }
    if service.service_type == ServiceType::ClusterIP && fine.external_traffic_policy.take().is_some() {
        let problem = "is for what comes from outside, and nothing does".to_owned();
        let mend = format!("leave it out, or set {path}.type to NodePort or LoadBalancer");
        refuse("externalTrafficPolicy".to_owned(), problem, mend);
    }
    for (i, range) in service.load_balancer_source_ranges.iter().enumerate() {
        if !is_network(range) {
            let problem = format!("`{range}` is no network");
            let mend = "write one such as 192.0.2.0/24".to_owned();
            refuse(format!("loadBalancerSourceRanges[{i}]"), problem, mend);
        }
    }
    let is_narrowed = !fine.load_balancer_source_ranges.is_empty();
    fine.load_balancer_source_ranges.retain(|range| is_network(range));
    if is_narrowed && fine.load_balancer_source_ranges.is_empty() {
        // Without any range it would be open to everybody.
        return ServiceSettings {
            labels: fine.labels,
            annotations: fine.annotations,
            ..ServiceSettings::default()
        };
    }
    fine
}

fn is_network(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else {
        return false;
    };
    let longest = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    length.parse::<u8>().is_ok_and(|length| length <= longest)
}
