//! Service addresses: which port of which service leads to which pods, from services and their endpoint slices. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

/// The label by which a slice names its service.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// TCP or UDP; others are not forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
}

/// Where connections to one port of a service go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    /// The pods' sockets, in order.
    pub(crate) backends: Vec<SocketAddr>,
    /// One client is always led to the same one (`sessionAffinity: ClientIP`).
    pub(crate) sticky: bool,
}

/// All ports of all services with an address, and where they lead. Those that lead nowhere are not in it: a connection is refused.
pub(crate) type Table = BTreeMap<(Protocol, SocketAddrV4), Target>;

/// An endpoint takes connections: it is ready, which it is when it doesn't say.
pub(crate) fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true)
}

/// The slices of a service.
pub(crate) fn slices_of<'a, S: AsRef<EndpointSlice>>(
    service: &'a Service,
    slices: &'a [S],
) -> impl Iterator<Item = &'a EndpointSlice> {
    slices.iter().map(AsRef::as_ref).filter(|slice| {
        let label = slice.metadata.labels.as_ref().and_then(|l| l.get(SERVICE_NAME));
        slice.metadata.namespace == service.metadata.namespace
            && label.is_some()
            && label == service.metadata.name.as_ref()
    })
}

/// The table for these services and slices.
pub(crate) fn table<V: AsRef<Service>, S: AsRef<EndpointSlice>>(services: &[V], slices: &[S]) -> Table {
    let mut table = Table::new();
    for service in services {
        let service = service.as_ref();
        let Some(spec) = &service.spec else { continue };
        let sticky = spec.session_affinity.as_deref() == Some("ClientIP");
        let addresses: BTreeSet<Ipv4Addr> = spec
            .cluster_ips
            .iter()
            .flatten()
            .chain(&spec.cluster_ip)
            .filter_map(|ip| ip.parse().ok())
            .collect();
        for port in spec.ports.iter().flatten() {
            let protocol = match port.protocol.as_deref() {
                None | Some("TCP") => Protocol::Tcp,
                Some("UDP") => Protocol::Udp,
                Some(_) => continue,
            };
            let Ok(number) = u16::try_from(port.port) else { continue };
            let backends: BTreeSet<SocketAddr> = slices_of(service, slices).flat_map(|s| backends(s, port)).collect();
            if backends.is_empty() {
                continue;
            }
            for address in &addresses {
                let target = Target {
                    backends: backends.iter().copied().collect(),
                    sticky,
                };
                table.insert((protocol, SocketAddrV4::new(*address, number)), target);
            }
        }
    }
    table
}

fn backends(slice: &EndpointSlice, port: &ServicePort) -> Vec<SocketAddr> {
    let name = port.name.as_deref().unwrap_or_default();
    let number = slice
        .ports
        .iter()
        .flatten()
        .find(|p| p.name.as_deref().unwrap_or_default() == name)
        .and_then(|p| p.port);
    let Some(number) = number.and_then(|n| u16::try_from(n).ok()) else {
        return Vec::new();
    };
    let ready = slice.endpoints.iter().flatten().filter(|e| is_ready(e));
    ready
        .flat_map(|endpoint| &endpoint.addresses)
        .filter_map(|address| Some(SocketAddr::new(address.parse().ok()?, number)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Protocol, table};
    use k8s_openapi::api::core::v1::Service;
    use k8s_openapi::api::discovery::v1::EndpointSlice;
    use serde_json::{Value, from_value, json};
    use std::sync::Arc;

    fn service(spec: &Value) -> Arc<Service> {
        Arc::new(from_value(json!({"metadata": {"name": "orders", "namespace": "shop"}, "spec": spec})).unwrap())
    }

    fn slice(service: &str, endpoints: &Value) -> Arc<EndpointSlice> {
        Arc::new(
            from_value(json!({
                "metadata": {"name": format!("{service}-x"), "namespace": "shop", "labels": {"kubernetes.io/service-name": service}},
                "addressType": "IPv4", "ports": [{"name": "postgres", "port": 5432, "protocol": "TCP"}], "endpoints": endpoints,
            }))
            .unwrap(),
        )
    }

    #[test]
    fn a_port_leads_to_the_ready_endpoints_of_its_name() {
        let services = [service(&json!({"clusterIP": "10.96.3.4", "ports": [
            {"name": "postgres", "port": 6432, "protocol": "TCP"}, {"name": "metrics", "port": 9187, "protocol": "TCP"}]}))];
        let slices = [
            slice(
                "orders",
                &json!([
                {"addresses": ["10.244.0.5"], "conditions": {"ready": true}},
                {"addresses": ["10.244.0.6"], "conditions": {"ready": false}},
                {"addresses": ["10.244.0.7"]}]),
            ),
            slice("others", &json!([{"addresses": ["10.244.0.9"]}])),
        ];
        let table = table(&services, &slices);
        let key = (Protocol::Tcp, "10.96.3.4:6432".parse().unwrap());
        let want: Vec<std::net::SocketAddr> =
            vec!["10.244.0.5:5432".parse().unwrap(), "10.244.0.7:5432".parse().unwrap()];
        assert_eq!(table[&key].backends, want);
        assert_eq!(table.len(), 1, "metrics has no endpoint port: connections are refused");
    }

    #[test]
    fn headless_services_have_no_address() {
        let services = [service(
            &json!({"clusterIP": "None", "ports": [{"name": "postgres", "port": 5432}]}),
        )];
        assert!(table(&services, &[slice("orders", &json!([{"addresses": ["10.244.0.5"]}]))]).is_empty());
    }

    #[test]
    fn affinity_is_kept() {
        let services = [service(
            &json!({"clusterIP": "10.96.3.4", "sessionAffinity": "ClientIP", "ports": [{"name": "postgres", "port": 5432}]}),
        )];
        let table = table(&services, &[slice("orders", &json!([{"addresses": ["10.244.0.5"]}]))]);
        assert!(table.values().all(|t| t.sticky));
    }
}
