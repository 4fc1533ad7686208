//! From a Service and its pods to addresses: the subsets of `Endpoints` and the content of `EndpointSlices`. Pure.
//! See <https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/>.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use k8s_openapi::{
    api::{
        core::v1::{
            Container, EndpointAddress, EndpointPort, EndpointSubset, Endpoints, ObjectReference, Pod, Service,
            ServicePort,
        },
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort as SlicePort},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::ResourceExt;

use crate::pod;

/// One slice to be: addresses of one family with the same ports.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Content {
    pub(crate) address_type: &'static str,
    pub(crate) ports: Vec<SlicePort>,
    pub(crate) endpoints: Vec<Endpoint>,
}

pub(crate) fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

/// The labels by which the Service chooses pods. `None` when someone else keeps its endpoints, or it is only a name.
pub(crate) fn selector(service: &Service) -> Option<&BTreeMap<String, String>> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return None;
    }
    spec.selector.as_ref().filter(|selector| !selector.is_empty())
}

pub(crate) fn selects(selector: &BTreeMap<String, String>, pod: &Pod) -> bool {
    selector
        .iter()
        .all(|(name, value)| pod.labels().get(name) == Some(value))
}

fn publishes_not_ready(service: &Service) -> bool {
    service
        .spec
        .as_ref()
        .and_then(|spec| spec.publish_not_ready_addresses)
        .unwrap_or(false)
}

fn addresses(pod: &Pod) -> Vec<IpAddr> {
    let Some(status) = &pod.status else { return Vec::new() };
    let all: Vec<IpAddr> = status
        .pod_ips
        .iter()
        .flatten()
        .filter_map(|ip| ip.ip.parse().ok())
        .collect();
    if all.is_empty() {
        status.pod_ip.iter().filter_map(|ip| ip.parse().ok()).collect()
    } else {
        all
    }
}

/// The pods that can take part, by name: those with an address that have not ended.
fn candidates(pods: &[Arc<Pod>]) -> Vec<&Arc<Pod>> {
    let mut pods: Vec<_> = pods
        .iter()
        .filter(|pod| !pod::is_finished(pod) && !addresses(pod).is_empty())
        .collect();
    pods.sort_by_key(|pod| pod.name_any());
    pods
}

/// The containers whose ports count: the ordinary ones, and sidecars.
fn serving(pod: &Pod) -> impl Iterator<Item = &Container> {
    let spec = pod.spec.as_ref();
    let ordinary = spec.map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let init = spec
        .and_then(|spec| spec.init_containers.as_deref())
        .unwrap_or_default();
    let sidecars = init
        .iter()
        .filter(|container| container.restart_policy.as_deref() == Some("Always"));
    ordinary.iter().chain(sidecars)
}

fn protocol(protocol: Option<&String>) -> &str {
    protocol.map_or("TCP", String::as_str)
}

/// The number behind a port of the Service on this pod. A named port that the pod does not have leads nowhere.
fn target(port: &ServicePort, pod: &Pod) -> Option<i32> {
    match &port.target_port {
        None | Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) if name.is_empty() => Some(port.port),
        Some(IntOrString::String(name)) => serving(pod)
            .flat_map(|container| container.ports.iter().flatten())
            .find(|known| {
                known.name.as_ref() == Some(name)
                    && protocol(known.protocol.as_ref()) == protocol(port.protocol.as_ref())
            })
            .map(|known| known.container_port),
    }
}

fn ports(service: &Service, pod: &Pod) -> Vec<SlicePort> {
    let wanted = service
        .spec
        .as_ref()
        .and_then(|spec| spec.ports.as_deref())
        .unwrap_or_default();
    wanted
        .iter()
        .filter_map(|port| {
            Some(SlicePort {
                name: Some(port.name.clone().unwrap_or_default()),
                port: Some(target(port, pod)?),
                protocol: Some(protocol(port.protocol.as_ref()).to_owned()),
                app_protocol: port.app_protocol.clone(),
            })
        })
        .collect()
}

fn has_no_ports(service: &Service) -> bool {
    service
        .spec
        .as_ref()
        .and_then(|spec| spec.ports.as_ref())
        .is_none_or(Vec::is_empty)
}

fn reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".into()),
        namespace: pod.namespace(),
        name: pod.metadata.name.clone(),
        uid: pod.uid(),
        ..ObjectReference::default()
    }
}

/// The name a pod has in the DNS of a headless Service.
fn hostname(service: &Service, pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let here = spec.subdomain == service.metadata.name && pod.namespace() == service.namespace();
    spec.hostname.clone().filter(|name| here && !name.is_empty())
}

/// The subsets of the Service's `Endpoints`: ready and not ready addresses, by ports.
pub(crate) fn subsets(service: &Service, pods: &[Arc<Pod>]) -> Vec<EndpointSubset> {
    let mut groups: Vec<(Vec<SlicePort>, EndpointSubset)> = Vec::new();
    for pod in candidates(pods) {
        if pod::is_terminating(pod) && !publishes_not_ready(service) {
            continue;
        }
        let ports = ports(service, pod);
        if ports.is_empty() && !(has_no_ports(service) && is_headless(service)) {
            continue;
        }
        let Some(address) = addresses(pod)
            .into_iter()
            .find(|address| family(*address) == families(service)[0])
        else {
            continue;
        };
        let index = groups.iter().position(|(known, _)| *known == ports).unwrap_or_else(|| {
            let subset = EndpointSubset {
                ports: Some(ports.iter().map(endpoint_port).collect()),
                ..EndpointSubset::default()
            };
            groups.push((ports, subset));
            groups.len() - 1
        });
        let subset = &mut groups[index].1;
        let ready = publishes_not_ready(service) || pod::is_ready(pod);
        let list = if ready {
            &mut subset.addresses
        } else {
            &mut subset.not_ready_addresses
        };
        list.get_or_insert_default().push(EndpointAddress {
            ip: address.to_string(),
            hostname: hostname(service, pod),
            node_name: pod::node_name(pod).map(str::to_owned),
            target_ref: Some(reference(pod)),
        });
    }
    groups
        .into_iter()
        .map(|(_, mut subset)| {
            subset.ports = subset.ports.filter(|ports| !ports.is_empty());
            subset
        })
        .collect()
}

fn endpoint_port(port: &SlicePort) -> EndpointPort {
    EndpointPort {
        name: port.name.clone().filter(|name| !name.is_empty()),
        port: port.port.unwrap_or_default(),
        protocol: port.protocol.clone(),
        app_protocol: port.app_protocol.clone(),
    }
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

fn families(service: &Service) -> Vec<&'static str> {
    let named = service
        .spec
        .as_ref()
        .and_then(|spec| spec.ip_families.as_deref())
        .unwrap_or_default();
    let families: Vec<_> = named
        .iter()
        .map(|family| if family == "IPv6" { "IPv6" } else { "IPv4" })
        .collect();
    if families.is_empty() { vec!["IPv4"] } else { families }
}

/// What the slices of the Service are to hold. Unlike `Endpoints` they also show pods that are going.
pub(crate) fn contents(service: &Service, pods: &[Arc<Pod>]) -> Vec<Content> {
    let mut contents: Vec<Content> = Vec::new();
    for address_type in families(service) {
        for pod in candidates(pods) {
            let ports = ports(service, pod);
            if ports.is_empty() && !has_no_ports(service) {
                continue;
            }
            let own: Vec<_> = addresses(pod)
                .into_iter()
                .filter(|address| family(*address) == address_type)
                .collect();
            if own.is_empty() {
                continue;
            }
            let endpoint = endpoint(service, pod, &own);
            put(&mut contents, address_type, ports, endpoint);
        }
        if contents.iter().all(|content| content.address_type != address_type) {
            // A Service without pods has a slice too, an empty one.
            contents.push(Content {
                address_type,
                ports: Vec::new(),
                endpoints: Vec::new(),
            });
        }
    }
    contents
}

fn put(contents: &mut Vec<Content>, address_type: &'static str, ports: Vec<SlicePort>, endpoint: Endpoint) {
    match contents
        .iter_mut()
        .find(|content| content.address_type == address_type && content.ports == ports)
    {
        Some(content) => content.endpoints.push(endpoint),
        None => contents.push(Content {
            address_type,
            ports,
            endpoints: vec![endpoint],
        }),
    }
}

fn endpoint(service: &Service, pod: &Pod, addresses: &[IpAddr]) -> Endpoint {
    let (serving, terminating) = (pod::is_ready(pod), pod::is_terminating(pod));
    Endpoint {
        addresses: addresses.iter().map(ToString::to_string).collect(),
        conditions: Some(EndpointConditions {
            ready: Some(publishes_not_ready(service) || (serving && !terminating)),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: hostname(service, pod),
        node_name: pod::node_name(pod).map(str::to_owned),
        target_ref: Some(reference(pod)),
        ..Endpoint::default()
    }
}

/// The slices that mirror `Endpoints` which someone keeps by hand (a program that moves an address when it elects a leader).
pub(crate) fn mirrored(endpoints: &Endpoints) -> Vec<Content> {
    let mut contents = Vec::new();
    for subset in endpoints.subsets.iter().flatten() {
        let ports: Vec<_> = subset
            .ports
            .iter()
            .flatten()
            .map(|port| SlicePort {
                name: Some(port.name.clone().unwrap_or_default()),
                port: Some(port.port),
                protocol: Some(protocol(port.protocol.as_ref()).to_owned()),
                app_protocol: port.app_protocol.clone(),
            })
            .collect();
        let ready = subset.addresses.iter().flatten().map(|address| (address, true));
        let not_ready = subset
            .not_ready_addresses
            .iter()
            .flatten()
            .map(|address| (address, false));
        for (address, ready) in ready.chain(not_ready) {
            let Ok(ip) = address.ip.parse::<IpAddr>() else { continue };
            let endpoint = Endpoint {
                addresses: vec![ip.to_string()],
                conditions: Some(EndpointConditions {
                    ready: Some(ready),
                    ..EndpointConditions::default()
                }),
                hostname: address.hostname.clone(),
                node_name: address.node_name.clone(),
                target_ref: address.target_ref.clone(),
                ..Endpoint::default()
            };
            put(&mut contents, family(ip), ports.clone(), endpoint);
        }
    }
    contents
}

#[cfg(test)]
#[path = "addresses_tests.rs"]
mod tests;
