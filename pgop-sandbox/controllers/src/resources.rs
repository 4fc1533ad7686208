//! What the server serves, found by discovery: garbage collection and the deletion of namespaces concern kinds nobody knows in advance.

use std::sync::{Arc, PoisonError, RwLock};

use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject},
    discovery::{ApiGroup, Discovery, Scope},
};
use tracing::debug;

use crate::verbs::{self, VerbError};

/// One resource, in the version the server prefers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Served {
    pub(crate) resource: ApiResource,
    pub(crate) namespaced: bool,
    pub(crate) verbs: Vec<String>,
}

impl Served {
    pub(crate) fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|known| known == verb)
    }

    /// `deployments.apps`: the same for all versions.
    pub(crate) fn id(&self) -> String {
        format!("{}.{}", self.resource.plural, self.resource.group)
    }

    /// Events are told about objects and never own any; both their groups hold the same ones.
    pub(crate) fn is_event(&self) -> bool {
        self.resource.plural == "events" && matches!(self.resource.group.as_str(), "" | "events.k8s.io")
    }

    /// The API of the resource in a namespace; the namespace is ignored when the resource has none.
    pub(crate) fn api(&self, client: &Client, namespace: &str) -> Api<DynamicObject> {
        if self.namespaced && !namespace.is_empty() {
            Api::namespaced_with(client.clone(), namespace, &self.resource)
        } else {
            Api::all_with(client.clone(), &self.resource)
        }
    }
}

/// The resources as last discovered.
pub(crate) struct Resources {
    client: Client,
    known: RwLock<Arc<Vec<Served>>>,
}

impl Resources {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            known: RwLock::default(),
        }
    }

    pub(crate) fn known(&self) -> Arc<Vec<Served>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks the server again. Servers without aggregated discovery are asked group by group.
    pub(crate) async fn refresh(&self) -> Result<Arc<Vec<Served>>, VerbError> {
        let what = || "the served resources".to_owned();
        let aggregated = Discovery::new(self.client.clone()).run_aggregated();
        let discovery = match verbs::request("discover", what, aggregated).await {
            Ok(discovery) => discovery,
            Err(error) => {
                debug!(
                    error = error.message(),
                    "no aggregated discovery, asking group by group"
                );
                verbs::request("discover", what, Discovery::new(self.client.clone()).run()).await?
            }
        };
        let mut served: Vec<Served> = discovery
            .groups()
            .flat_map(ApiGroup::resources_by_stability)
            .map(|(resource, capabilities)| Served {
                namespaced: capabilities.scope == Scope::Namespaced,
                verbs: capabilities.operations,
                resource,
            })
            .collect();
        served.sort_by_key(Served::id);
        let served = Arc::new(served);
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = served.clone();
        Ok(served)
    }

    /// The resource of a kind. Any version of the group will do: versions are views of the same objects. Asks the server when it is unknown.
    pub(crate) async fn find(&self, api_version: &str, kind: &str) -> Result<Option<Served>, VerbError> {
        if let Some(served) = find(&self.known(), api_version, kind) {
            return Ok(Some(served));
        }
        Ok(find(&self.refresh().await?, api_version, kind))
    }
}

fn find(known: &[Served], api_version: &str, kind: &str) -> Option<Served> {
    let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
    known
        .iter()
        .find(|served| served.resource.group == group && served.resource.kind == kind)
        .cloned()
}

#[cfg(test)]
pub(crate) fn served(api_version: &str, kind: &str, plural: &str, namespaced: bool) -> Served {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    let resource = ApiResource {
        group: group.into(),
        version: version.into(),
        api_version: api_version.into(),
        kind: kind.into(),
        plural: plural.into(),
    };
    let verbs = ["create", "delete", "deletecollection", "get", "list", "watch"]
        .map(str::to_owned)
        .to_vec();
    Served {
        resource,
        namespaced,
        verbs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_found_by_group_in_whatever_version() {
        let known = [
            served("v1", "Pod", "pods", true),
            served("apps/v1", "Deployment", "deployments", true),
        ];
        assert_eq!(
            find(&known, "apps/v1beta1", "Deployment").unwrap().id(),
            "deployments.apps"
        );
        assert_eq!(find(&known, "v1", "Pod").unwrap().id(), "pods.");
        assert!(find(&known, "v1", "Deployment").is_none());
        assert!(find(&known, "other/v1", "Pod").is_none());
    }

    #[test]
    fn events_of_both_groups_are_known() {
        assert!(served("v1", "Event", "events", true).is_event());
        assert!(served("events.k8s.io/v1", "Event", "events", true).is_event());
        assert!(!served("shop.example/v1", "Event", "events", true).is_event());
    }
}
