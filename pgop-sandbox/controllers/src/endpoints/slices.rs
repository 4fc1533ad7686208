//! From what slices are to hold to the changes of those there are. Pure.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::{core::v1::Service, discovery::v1::EndpointSlice},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::ResourceExt;
use serde_json::json;

use super::addresses::{Content, is_headless};
use crate::{ownership::controller_reference, pod};

pub(crate) const SERVICE_LABEL: &str = "kubernetes.io/service-name";
pub(crate) const MANAGER_LABEL: &str = "endpointslice.kubernetes.io/managed-by";
pub(crate) const HEADLESS_LABEL: &str = "service.kubernetes.io/headless";
/// Who keeps slices made from pods, and those that mirror `Endpoints`.
pub(crate) const FROM_PODS: &str = "endpointslice-controller.k8s.io";
pub(crate) const MIRRORED: &str = "endpointslicemirroring-controller.k8s.io";
/// How many endpoints one slice holds.
const FULL: usize = 100;

#[derive(Debug, PartialEq)]
pub(crate) enum Action {
    Create(Box<EndpointSlice>),
    /// Make the first like the second.
    Update(Arc<EndpointSlice>, Box<EndpointSlice>),
    Delete(Arc<EndpointSlice>),
}

/// The slices a Service is to have.
pub(crate) fn wanted(service: &Service, manager: &str, contents: Vec<Content>) -> Vec<EndpointSlice> {
    let mut slices = Vec::new();
    for content in contents {
        let mut endpoints = content.endpoints;
        endpoints.sort_by(|a, b| a.addresses.cmp(&b.addresses));
        let chunks: Vec<_> = if endpoints.is_empty() {
            vec![Vec::new()]
        } else {
            endpoints.chunks(FULL).map(<[_]>::to_vec).collect()
        };
        for (number, endpoints) in chunks.into_iter().enumerate() {
            // A name made from the content it can have: a cache that lags behind makes no second slice.
            let hash = pod::hash(
                &json!([service.uid(), manager, content.address_type, content.ports, number]),
                None,
            );
            slices.push(EndpointSlice {
                metadata: ObjectMeta {
                    name: Some(format!("{}-{}", service.name_any(), &hash[..5])),
                    generate_name: Some(format!("{}-", service.name_any())),
                    namespace: service.namespace(),
                    labels: Some(labels(service, manager)),
                    owner_references: Some(vec![controller_reference(service)]),
                    ..ObjectMeta::default()
                },
                address_type: content.address_type.into(),
                ports: (!content.ports.is_empty()).then(|| content.ports.clone()),
                endpoints: Some(endpoints),
            });
        }
    }
    slices
}

fn labels(service: &Service, manager: &str) -> BTreeMap<String, String> {
    let mut labels = service.labels().clone();
    labels.insert(SERVICE_LABEL.into(), service.name_any());
    labels.insert(MANAGER_LABEL.into(), manager.into());
    if is_headless(service) {
        labels.insert(HEADLESS_LABEL.into(), String::new());
    }
    labels
}

/// `known` are the slices of this Service that are kept by pods or mirroring.
pub(crate) fn changes(wanted: Vec<EndpointSlice>, known: Vec<Arc<EndpointSlice>>) -> Vec<Action> {
    let mut actions = Vec::new();
    let mut known: BTreeMap<String, Arc<EndpointSlice>> =
        known.into_iter().map(|slice| (slice.name_any(), slice)).collect();
    for slice in wanted {
        match known.remove(&slice.name_any()) {
            None => actions.push(Action::Create(Box::new(slice))),
            Some(old) if is_same(&old, &slice) => {}
            Some(old) => actions.push(Action::Update(old, Box::new(slice))),
        }
    }
    actions.extend(known.into_values().map(Action::Delete));
    actions
}

fn is_same(a: &EndpointSlice, b: &EndpointSlice) -> bool {
    let ports = |slice: &EndpointSlice| slice.ports.clone().unwrap_or_default();
    a.endpoints == b.endpoints && ports(a) == ports(b) && a.labels() == b.labels()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::discovery::v1::Endpoint;

    fn service() -> Service {
        serde_json::from_value(json!({
            "metadata": { "name": "db", "namespace": "shop", "uid": "svc-1", "labels": { "team": "a" } },
            "spec": { "clusterIP": "None" },
        }))
        .unwrap()
    }

    fn content(count: usize) -> Content {
        let endpoint = |number| Endpoint {
            addresses: vec![format!("10.244.0.{number}")],
            ..Endpoint::default()
        };
        Content {
            address_type: "IPv4",
            ports: Vec::new(),
            endpoints: (0..count).map(endpoint).collect(),
        }
    }

    fn slices(count: usize) -> Vec<EndpointSlice> {
        wanted(&service(), FROM_PODS, vec![content(count)])
    }

    #[test]
    fn a_slice_names_its_service_and_keeper() {
        let slice = slices(1).remove(0);
        assert_eq!(slice.labels()["kubernetes.io/service-name"], "db");
        assert_eq!(
            slice.labels()["endpointslice.kubernetes.io/managed-by"],
            "endpointslice-controller.k8s.io"
        );
        assert_eq!(slice.labels()["team"], "a");
        assert_eq!(slice.labels()["service.kubernetes.io/headless"], "");
        assert_eq!(slice.owner_references()[0].uid, "svc-1");
        assert!(slice.name_any().starts_with("db-"));
    }

    #[test]
    fn full_slices_are_followed_by_others() {
        let slices = slices(101);
        assert_eq!(
            slices
                .iter()
                .map(|slice| slice.endpoints.as_ref().unwrap().len())
                .collect::<Vec<_>>(),
            [100, 1]
        );
        assert_ne!(slices[0].name_any(), slices[1].name_any());
    }

    #[test]
    fn only_what_differs_is_written() {
        let known: Vec<_> = slices(2).into_iter().map(Arc::new).collect();
        assert!(changes(slices(2), known.clone()).is_empty());
        assert!(matches!(&changes(slices(3), known.clone())[..], [Action::Update(..)]));
        assert!(matches!(&changes(slices(2), vec![])[..], [Action::Create(_)]));
        assert!(matches!(&changes(vec![], known)[..], [Action::Delete(_)]));
    }
}
