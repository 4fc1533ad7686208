//! The kinds that a strategy may create: a table, one line each.

use std::fmt;

use k8s_openapi::Resource;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What the operator does with objects that go with their resource.
const OWNED: &[&str] = &["get", "list", "watch", "create", "patch", "delete"];
/// A claim holds data: only a person, or Kubernetes after its owner, deletes it.
const KEPT: &[&str] = &["get", "list", "watch", "create", "patch"];

/// Where a kind has the template of its pods.
const TEMPLATE: Option<&str> = Some("/spec/template");
const TEMPLATE_OF_JOB: Option<&str> = Some("/spec/jobTemplate/spec/template");

/// What is known of a kind; group, version, kind and plural are those of its type.
struct Row {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    verbs: &'static [&'static str],
    pods: Option<&'static str>,
    check: fn(&Value) -> Result<Value, serde_json::Error>,
}

macro_rules! kinds {
    ($($kind:ident, $verbs:ident, $pods:expr;)*) => {
        /// A kind that a strategy may create. They are ordered as they are applied: what is referred to comes first.
        ///
        /// The list is closed: it gives the order, the operator's rights and the API paths without asking the server, and it keeps a
        /// template from creating, say, a `ClusterRoleBinding`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $(#[doc = concat!("A `", stringify!($kind), "`.")] $kind,)*
        }

        const TABLE: &[Row] = &[$(Row {
            group: <$kind as Resource>::GROUP,
            version: <$kind as Resource>::VERSION,
            kind: <$kind as Resource>::KIND,
            plural: <$kind as Resource>::URL_PATH_SEGMENT,
            verbs: $verbs,
            pods: $pods,
            check: through::<$kind>,
        },)*];

        impl Kind {
            /// Every kind, in the order in which they are applied.
            pub const ALL: [Self; TABLE.len()] = [$(Self::$kind),*];
        }
    };
}

kinds! {
    // kind, which is also its type; what the operator may do; where its pods are described
    ServiceAccount,        OWNED, None;
    Role,                  OWNED, None;
    RoleBinding,           OWNED, None;
    ConfigMap,             OWNED, None;
    Service,               OWNED, None;
    NetworkPolicy,         OWNED, None;
    PodDisruptionBudget,   OWNED, None;
    PersistentVolumeClaim, KEPT,  None; // never pruned, never created again where it held data
    Job,                   OWNED, TEMPLATE; // runs once
    CronJob,               OWNED, TEMPLATE_OF_JOB;
    Deployment,            OWNED, TEMPLATE;
    StatefulSet,           OWNED, TEMPLATE;
}

/// Reads `value` as the typed object and writes it again: what the type does not know is gone.
fn through<T: DeserializeOwned + Serialize>(value: &Value) -> Result<Value, serde_json::Error> {
    serde_json::to_value(T::deserialize(value)?)
}

impl Kind {
    fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// The kind as it is written in a manifest.
    pub fn as_str(self) -> &'static str {
        self.row().kind
    }

    /// API group; empty for the core group.
    pub fn group(self) -> &'static str {
        self.row().group
    }

    /// API version within the group.
    pub fn version(self) -> &'static str {
        self.row().version
    }

    /// Group and version as in a manifest, such as `apps/v1`.
    pub fn api_version(self) -> String {
        if self.group().is_empty() {
            self.version().to_owned()
        } else {
            format!("{}/{}", self.group(), self.version())
        }
    }

    /// Lower-case plural, as in API paths and RBAC rules.
    pub fn plural(self) -> &'static str {
        self.row().plural
    }

    /// What the operator does with objects of the kind, as in RBAC rules: no more than server-side apply and pruning need.
    pub fn verbs(self) -> &'static [&'static str] {
        self.row().verbs
    }

    /// JSON pointer to the template of the pods, where objects of the kind have one.
    pub fn pod_template(self) -> Option<&'static str> {
        self.row().pods
    }

    /// Whether pods are made by it, or start from it.
    #[cfg(feature = "steps")]
    pub(crate) fn is_of_pods(self) -> bool {
        self.pod_template().is_some() || matches!(self, Self::ConfigMap | Self::ServiceAccount)
    }

    /// The kind of a manifest's `apiVersion` and `kind`.
    pub fn parse(api_version: &str, kind: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|k| k.as_str() == kind && k.api_version() == api_version)
    }

    /// What the type of the kind makes of a value: a field that it does not know is gone.
    pub(crate) fn check(self, value: &Value) -> Result<Value, serde_json::Error> {
        (self.row().check)(value)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_known_by_version_and_name() {
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(&kind.api_version(), kind.as_str()), Some(kind));
        }
        assert_eq!(Kind::parse("v1", "StatefulSet"), None);
        assert_eq!(Kind::parse("rbac.authorization.k8s.io/v1", "ClusterRole"), None);
        assert_eq!(Kind::NetworkPolicy.api_version(), "networking.k8s.io/v1");
        assert_eq!(Kind::NetworkPolicy.plural(), "networkpolicies");
    }

    #[test]
    fn what_is_referred_to_comes_first() {
        let order = [
            Kind::ServiceAccount,
            Kind::RoleBinding,
            Kind::ConfigMap,
            Kind::PersistentVolumeClaim,
            Kind::Job,
            Kind::StatefulSet,
        ];
        assert!(order.is_sorted(), "{order:?}");
        assert!(Kind::Role < Kind::RoleBinding);
    }
}
