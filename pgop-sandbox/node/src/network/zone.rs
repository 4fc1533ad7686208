//! The names of `cluster.local`, from services and their endpoint slices. Pure.
//! As in <https://github.com/kubernetes/dns/blob/master/docs/specification.md>.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use super::services::{is_ready, slices_of};

/// The cluster's domain.
pub(crate) const DOMAIN: &str = "cluster.local";

/// What is known under a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Data {
    /// An address.
    A(Ipv4Addr),
    /// Another name (`ExternalName`).
    Alias(String),
    /// A port and the name of who has it.
    Port(u16, String),
    /// The name of an address.
    Pointer(String),
}

/// What the zone says to a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// This is known; it may be of other types than asked for.
    Data(Vec<Data>),
    /// No such name.
    Nothing,
    /// Not of this cluster: others may know.
    Foreign,
}

/// All names, lower case and without the last dot.
#[derive(Debug, Default)]
pub(crate) struct Zone {
    names: BTreeMap<String, BTreeSet<Data>>,
    /// Names that only have names below them.
    parents: BTreeSet<String>,
}

impl Zone {
    /// The names of these services and slices.
    pub(crate) fn new<V: AsRef<Service>, S: AsRef<EndpointSlice>>(services: &[V], slices: &[S]) -> Self {
        let mut zone = Self::default();
        zone.parents.insert(format!("pod.{DOMAIN}"));
        for service in services {
            zone.add_service(service.as_ref(), slices);
        }
        zone
    }

    /// What is known under a name, in any case, with or without the last dot.
    pub(crate) fn find(&self, name: &str) -> Found {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let reverse = name.ends_with(".244.10.in-addr.arpa") || name.ends_with(".96.10.in-addr.arpa");
        if name != DOMAIN && !name.ends_with(&format!(".{DOMAIN}")) && !reverse {
            return Found::Foreign;
        }
        if let Some(data) = self.names.get(&name) {
            return Found::Data(data.iter().cloned().collect());
        }
        if let Some(address) = pod_address(&name) {
            return Found::Data(vec![Data::A(address)]);
        }
        if self.parents.contains(&name) {
            Found::Data(Vec::new())
        } else {
            Found::Nothing
        }
    }

    fn add(&mut self, name: &str, data: Data) {
        let mut rest = name;
        while let Some((_, parent)) = rest.split_once('.') {
            if parent.is_empty() || !self.parents.insert(parent.to_owned()) {
                break;
            }
            rest = parent;
        }
        self.names.entry(name.to_ascii_lowercase()).or_default().insert(data);
    }

    fn add_service<S: AsRef<EndpointSlice>>(&mut self, service: &Service, slices: &[S]) {
        let (Some(name), Some(namespace), Some(spec)) =
            (&service.metadata.name, &service.metadata.namespace, &service.spec)
        else {
            return;
        };
        let full = format!("{name}.{namespace}.svc.{DOMAIN}");
        if spec.type_.as_deref() == Some("ExternalName") {
            if let Some(other) = &spec.external_name {
                self.add(&full, Data::Alias(other.trim_end_matches('.').to_owned()));
            }
            return;
        }
        if let Some(address) = spec.cluster_ip.as_deref().and_then(|ip| ip.parse::<Ipv4Addr>().ok()) {
            self.add(&full, Data::A(address));
            self.add(&reverse(address), Data::Pointer(full.clone()));
            for port in spec.ports.iter().flatten() {
                if let (Some(port_name), Ok(number)) = (&port.name, u16::try_from(port.port)) {
                    self.add_port(port_name, port.protocol.as_deref(), number, &full, &full);
                }
            }
            return;
        }
        for slice in slices_of(service, slices) {
            for endpoint in slice.endpoints.iter().flatten().filter(|e| is_ready(e)) {
                self.add_endpoint(&full, slice, endpoint);
            }
        }
    }

    /// A pod of a headless service: it is among the service's addresses and has a name of its own below it.
    fn add_endpoint(&mut self, full: &str, slice: &EndpointSlice, endpoint: &Endpoint) {
        for address in endpoint.addresses.iter().filter_map(|a| a.parse::<Ipv4Addr>().ok()) {
            let host = endpoint
                .hostname
                .clone()
                .unwrap_or_else(|| address.to_string().replace('.', "-"));
            let own = format!("{host}.{full}");
            self.add(full, Data::A(address));
            self.add(&own, Data::A(address));
            if endpoint.hostname.is_some() {
                self.add(&reverse(address), Data::Pointer(own.clone()));
            }
            for port in slice.ports.iter().flatten() {
                if let (Some(name), Some(number)) = (&port.name, port.port.and_then(|n| u16::try_from(n).ok())) {
                    self.add_port(name, port.protocol.as_deref(), number, full, &own);
                }
            }
        }
    }

    fn add_port(&mut self, name: &str, protocol: Option<&str>, number: u16, service: &str, owner: &str) {
        if !name.is_empty() {
            let protocol = protocol.unwrap_or("TCP").to_ascii_lowercase();
            self.add(
                &format!("_{name}._{protocol}.{service}"),
                Data::Port(number, owner.to_owned()),
            );
        }
    }
}

/// `10-244-0-5.shop.pod.cluster.local`: true for every address of the pod network.
fn pod_address(name: &str) -> Option<Ipv4Addr> {
    let (host, namespace) = name.strip_suffix(&format!(".pod.{DOMAIN}"))?.split_once('.')?;
    let address: Ipv4Addr = host.replace('-', ".").parse().ok()?;
    (!namespace.contains('.') && address.octets().starts_with(&[10, 244])).then_some(address)
}

fn reverse(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("{d}.{c}.{b}.{a}.in-addr.arpa")
}

#[cfg(test)]
mod tests {
    use super::{Data, Found, Zone};
    use k8s_openapi::api::core::v1::Service;
    use k8s_openapi::api::discovery::v1::EndpointSlice;
    use serde_json::{from_value, json};
    use std::sync::Arc;

    fn zone() -> Zone {
        let services: Vec<Service> = from_value(json!([
            {"metadata": {"name": "orders", "namespace": "shop"},
             "spec": {"clusterIP": "10.96.3.4", "ports": [{"name": "postgres", "port": 5432, "protocol": "TCP"}]}},
            {"metadata": {"name": "orders-pods", "namespace": "shop"},
             "spec": {"clusterIP": "None", "ports": [{"name": "postgres", "port": 5432}]}},
            {"metadata": {"name": "outside", "namespace": "shop"}, "spec": {"type": "ExternalName", "externalName": "db.example.org"}},
        ]))
        .unwrap();
        let slices: Vec<EndpointSlice> = from_value(json!([
            {"metadata": {"name": "a", "namespace": "shop", "labels": {"kubernetes.io/service-name": "orders-pods"}}, "addressType": "IPv4",
             "ports": [{"name": "postgres", "port": 5432, "protocol": "TCP"}],
             "endpoints": [
                {"addresses": ["10.244.0.5"], "hostname": "orders-0", "conditions": {"ready": true}},
                {"addresses": ["10.244.0.6"], "hostname": "orders-1", "conditions": {"ready": false}},
                {"addresses": ["10.244.0.7"], "conditions": {"ready": true}}]},
        ]))
        .unwrap();
        let services: Vec<_> = services.into_iter().map(Arc::new).collect();
        let slices: Vec<_> = slices.into_iter().map(Arc::new).collect();
        Zone::new(&services, &slices)
    }

    fn a(ip: &str) -> Data {
        Data::A(ip.parse().unwrap())
    }

    #[test]
    fn services_have_their_address_and_ports() {
        let zone = zone();
        assert_eq!(
            zone.find("Orders.shop.svc.cluster.local."),
            Found::Data(vec![a("10.96.3.4")])
        );
        let port = Found::Data(vec![Data::Port(5432, "orders.shop.svc.cluster.local".into())]);
        assert_eq!(zone.find("_postgres._tcp.orders.shop.svc.cluster.local"), port);
        assert_eq!(
            zone.find("4.3.96.10.in-addr.arpa"),
            Found::Data(vec![Data::Pointer("orders.shop.svc.cluster.local".into())])
        );
    }

    #[test]
    fn headless_services_have_those_of_their_ready_pods_and_names_for_them() {
        let zone = zone();
        assert_eq!(
            zone.find("orders-pods.shop.svc.cluster.local"),
            Found::Data(vec![a("10.244.0.5"), a("10.244.0.7")])
        );
        assert_eq!(
            zone.find("orders-0.orders-pods.shop.svc.cluster.local"),
            Found::Data(vec![a("10.244.0.5")])
        );
        assert_eq!(
            zone.find("orders-1.orders-pods.shop.svc.cluster.local"),
            Found::Nothing,
            "not ready"
        );
        assert_eq!(
            zone.find("10-244-0-7.orders-pods.shop.svc.cluster.local"),
            Found::Data(vec![a("10.244.0.7")])
        );
    }

    #[test]
    fn external_names_are_aliases() {
        assert_eq!(
            zone().find("outside.shop.svc.cluster.local"),
            Found::Data(vec![Data::Alias("db.example.org".into())])
        );
    }

    #[test]
    fn pod_addresses_are_names() {
        assert_eq!(
            zone().find("10-244-3-9.any.pod.cluster.local"),
            Found::Data(vec![a("10.244.3.9")])
        );
        assert_eq!(zone().find("192-168-0-1.any.pod.cluster.local"), Found::Nothing);
    }

    #[test]
    fn a_name_with_names_below_exists_without_data_and_others_do_not() {
        assert_eq!(zone().find("shop.svc.cluster.local"), Found::Data(vec![]));
        assert_eq!(zone().find("cluster.local"), Found::Data(vec![]));
        assert_eq!(zone().find("nobody.shop.svc.cluster.local"), Found::Nothing);
        assert_eq!(zone().find("example.org"), Found::Foreign);
        assert_eq!(zone().find("notcluster.local"), Found::Foreign);
    }
}
