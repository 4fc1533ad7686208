//! Validation of how a Service is reached.

use std::net::IpAddr;

use crate::crd::{ServiceSettings, ServiceType};
use crate::invalid::Invalid;
use crate::label;

/// Checks the settings, whose field is `path`.
pub(super) fn check(path: &str, service: &ServiceSettings, invalid: &mut Vec<Invalid>) {
    for (field, map) in [("labels", &service.labels), ("annotations", &service.annotations)] {
        for key in map.keys().filter(|key| label::is_reserved(key)) {
            invalid.push(Invalid::new(
                format!("{path}.{field}.{key}"),
                "belongs to pgop or Kubernetes",
                "use another key",
            ));
        }
    }
    let is_balanced = service.service_type == ServiceType::LoadBalancer;
    for (field, is_set) in [
        ("loadBalancerClass", service.load_balancer_class.is_some()),
        (
            "loadBalancerSourceRanges",
            !service.load_balancer_source_ranges.is_empty(),
        ),
    ] {
        if is_set && !is_balanced {
            invalid.push(Invalid::new(
                format!("{path}.{field}"),
                "is for a load balancer, and there is none",
                format!("leave it out, or set {path}.type to LoadBalancer"),
            ));
        }
    }
    if service.external_traffic_policy.is_some() && service.service_type == ServiceType::ClusterIP {
        invalid.push(Invalid::new(
            format!("{path}.externalTrafficPolicy"),
            "is for what comes from outside, and nothing does",
            format!("leave it out, or set {path}.type to NodePort or LoadBalancer"),
        ));
    }
    for (i, range) in service.load_balancer_source_ranges.iter().enumerate() {
        if !is_network(range) {
            invalid.push(Invalid::new(
                format!("{path}.loadBalancerSourceRanges[{i}]"),
                format!("`{range}` is no network"),
                "write one such as 192.0.2.0/24",
            ));
        }
    }
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
