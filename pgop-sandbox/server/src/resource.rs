//! What a resource is: its names, scope, subresources and columns. The built-in ones are rows of [`BUILT_IN`].

use std::sync::Arc;

use pgop_sandbox_schema::Schema;
use serde_json::Value;

/// A kind of object as one API version serves it.
pub(crate) struct Resource {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) list_kind: String,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) namespaced: bool,
    pub(crate) has_status: bool,
    pub(crate) scale: Option<Scale>,
    /// Whether a change of the spec counts up `metadata.generation`.
    pub(crate) counts_generation: bool,
    /// Fields that a field selector may name, besides the object's name and namespace.
    pub(crate) selectable: Vec<String>,
    /// Where its objects are stored.
    pub(crate) table: Arc<str>,
    /// The API version under which its objects are stored.
    pub(crate) stored_as: String,
    /// Of a CRD: what is told of it beyond that.
    pub(crate) custom: Option<Custom>,
    pub(crate) schema: Arc<Schema>,
}

/// Where the scale subresource finds its fields: JSON paths such as `.spec.replicas`.
#[derive(Clone, Debug)]
pub(crate) struct Scale {
    pub(crate) spec_replicas: String,
    pub(crate) status_replicas: String,
    pub(crate) selector: Option<String>,
}

/// What only resources of CRDs have.
pub(crate) struct Custom {
    /// Name of the CRD.
    pub(crate) definition: String,
    /// `additionalPrinterColumns` of the version.
    pub(crate) columns: Vec<Value>,
    /// The CRD is being deleted: no new objects.
    pub(crate) terminating: bool,
    /// Told to those who use the version.
    pub(crate) deprecation: Option<String>,
}

impl Resource {
    /// As messages name it: `pods`, `deployments.apps`.
    pub(crate) fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    pub(crate) fn api_version(&self) -> String {
        group_version(&self.group, &self.version)
    }

    /// Whether it is that built-in one.
    pub(crate) fn is(&self, group: &str, plural: &str) -> bool {
        self.custom.is_none() && self.group == group && self.plural == plural
    }

    /// The built-in kind, for choosing what is peculiar to it; custom resources have none.
    pub(crate) fn built_in(&self) -> Option<(&str, &str)> {
        self.custom
            .is_none()
            .then_some((self.group.as_str(), self.plural.as_str()))
    }

    /// Subresources that it serves, with what they take.
    pub(crate) fn subresources(&self) -> Vec<Subresource> {
        let mut served = Vec::new();
        if self.has_status {
            served.push(Subresource::of(self, "status", &["get", "patch", "update"]));
        }
        if self.scale.is_some() {
            let mut scale = Subresource::of(self, "scale", &["get", "patch", "update"]);
            (scale.group, scale.version, scale.kind) = ("autoscaling".into(), "v1".into(), "Scale".into());
            served.push(scale);
        }
        let extra: &[(&'static str, &str, &str, &str, &'static [&'static str])] = match self.built_in() {
            Some(("", "pods")) => &[
                ("attach", "", "v1", "PodAttachOptions", &["create", "get"]),
                ("binding", "", "v1", "Binding", &["create"]),
                ("eviction", "policy", "v1", "Eviction", &["create"]),
                ("exec", "", "v1", "PodExecOptions", &["create", "get"]),
                ("log", "", "v1", "Pod", &["get"]),
                ("portforward", "", "v1", "PodPortForwardOptions", &["create", "get"]),
                ("proxy", "", "v1", "PodProxyOptions", PROXY),
            ],
            Some(("", "services")) => &[("proxy", "", "v1", "ServiceProxyOptions", PROXY)],
            Some(("", "namespaces")) => &[("finalize", "", "v1", "Namespace", &["update"])],
            Some(("", "serviceaccounts")) => &[("token", "authentication.k8s.io", "v1", "TokenRequest", &["create"])],
            _ => &[],
        };
        served.extend(extra.iter().map(|(name, group, version, kind, verbs)| Subresource {
            name,
            group: (*group).into(),
            version: (*version).into(),
            kind: (*kind).into(),
            verbs,
        }));
        served
    }

    /// What can be done with it.
    pub(crate) fn verbs(&self) -> &'static [&'static str] {
        match self.built_in() {
            Some(("authorization.k8s.io" | "authentication.k8s.io", _)) => &["create"],
            Some(("", "namespaces")) => &["create", "delete", "get", "list", "patch", "update", "watch"],
            _ => &[
                "create",
                "delete",
                "deletecollection",
                "get",
                "list",
                "patch",
                "update",
                "watch",
            ],
        }
    }

    /// Whether its objects are only answered and never stored.
    pub(crate) fn is_virtual(&self) -> bool {
        self.verbs() == ["create"]
    }
}

/// What can be asked through a proxy.
const PROXY: &[&str] = &["create", "delete", "get", "patch", "update"];

/// A subresource, as discovery tells it.
pub(crate) struct Subresource {
    pub(crate) name: &'static str,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) verbs: &'static [&'static str],
}

impl Subresource {
    fn of(resource: &Resource, name: &'static str, verbs: &'static [&'static str]) -> Self {
        let (group, version) = (resource.group.clone(), resource.version.clone());
        Self {
            name,
            group,
            version,
            kind: resource.kind.clone(),
            verbs,
        }
    }
}

pub(crate) fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// A row of [`BUILT_IN`].
struct BuiltIn {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
    /// Part of `kubectl get all`.
    all: bool,
    flags: &'static str,
    fields: &'static [&'static str],
}

/// `flags`: `n`amespaced, has a `s`tatus, has a scale (`#`), counts `g`enerations.
#[rustfmt::skip]
const BUILT_IN: &[BuiltIn] = &[
    row("", "v1", "Namespace", "namespaces", &["ns"], false, "s", &["status.phase"]),
    row("", "v1", "Pod", "pods", &["po"], true, "nsg", &["spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork", "status.phase", "status.podIP", "status.nominatedNodeName"]),
    row("", "v1", "Service", "services", &["svc"], true, "ns", &["spec.clusterIP", "spec.type"]),
    row("", "v1", "Endpoints", "endpoints", &["ep"], false, "n", &[]),
    row("", "v1", "ConfigMap", "configmaps", &["cm"], false, "n", &[]),
    row("", "v1", "Secret", "secrets", &[], false, "n", &["type"]),
    row("", "v1", "ServiceAccount", "serviceaccounts", &["sa"], false, "n", &[]),
    row("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", &["pvc"], false, "ns", &[]),
    row("", "v1", "PersistentVolume", "persistentvolumes", &["pv"], false, "s", &[]),
    row("", "v1", "Event", "events", &["ev"], false, "n", &["involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid", "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath", "reason", "reportingComponent", "source", "type"]),
    row("", "v1", "Node", "nodes", &["no"], false, "s", &["spec.unschedulable"]),
    row("", "v1", "LimitRange", "limitranges", &["limits"], false, "n", &[]),
    row("", "v1", "ResourceQuota", "resourcequotas", &["quota"], false, "ns", &[]),
    row("apps", "v1", "Deployment", "deployments", &["deploy"], true, "ns#g", &[]),
    row("apps", "v1", "ReplicaSet", "replicasets", &["rs"], true, "ns#g", &["status.replicas"]),
    row("apps", "v1", "StatefulSet", "statefulsets", &["sts"], true, "ns#g", &[]),
    row("apps", "v1", "DaemonSet", "daemonsets", &["ds"], true, "nsg", &[]),
    row("apps", "v1", "ControllerRevision", "controllerrevisions", &[], false, "n", &[]),
    row("batch", "v1", "Job", "jobs", &[], true, "nsg", &["status.successful"]),
    row("batch", "v1", "CronJob", "cronjobs", &["cj"], true, "nsg", &[]),
    row("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", &["pdb"], false, "nsg", &[]),
    row("coordination.k8s.io", "v1", "Lease", "leases", &[], false, "n", &[]),
    row("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", &[], false, "n", &[]),
    row("storage.k8s.io", "v1", "StorageClass", "storageclasses", &["sc"], false, "", &[]),
    row("rbac.authorization.k8s.io", "v1", "Role", "roles", &[], false, "n", &[]),
    row("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings", &[], false, "n", &[]),
    row("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", &[], false, "", &[]),
    row("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", &[], false, "", &[]),
    row("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", &["crd", "crds"], false, "sg", &[]),
    row("events.k8s.io", "v1", "Event", "events", &["ev"], false, "n", &["regarding.kind", "regarding.namespace", "regarding.name", "regarding.uid", "regarding.apiVersion", "regarding.resourceVersion", "regarding.fieldPath", "reason", "reportingController", "type"]),
    row("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", &["netpol"], false, "ng", &[]),
    row("networking.k8s.io", "v1", "Ingress", "ingresses", &["ing"], false, "nsg", &[]),
    row("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", &["pc"], false, "g", &[]),
    row("authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", &[], false, "", &[]),
    row("authorization.k8s.io", "v1", "SubjectAccessReview", "subjectaccessreviews", &[], false, "", &[]),
    row("authorization.k8s.io", "v1", "LocalSubjectAccessReview", "localsubjectaccessreviews", &[], false, "n", &[]),
    row("authorization.k8s.io", "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews", &[], false, "", &[]),
    row("authentication.k8s.io", "v1", "TokenReview", "tokenreviews", &[], false, "", &[]),
    row("authentication.k8s.io", "v1", "SelfSubjectReview", "selfsubjectreviews", &[], false, "", &[]),
];

#[allow(clippy::too_many_arguments)] // A row of a table.
const fn row(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
    all: bool,
    flags: &'static str,
    fields: &'static [&'static str],
) -> BuiltIn {
    BuiltIn {
        group,
        version,
        kind,
        plural,
        short,
        all,
        flags,
        fields,
    }
}

impl BuiltIn {
    fn resource(&self) -> Resource {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        let scale = self.flags.contains('#').then(|| Scale {
            spec_replicas: ".spec.replicas".into(),
            status_replicas: ".status.replicas".into(),
            selector: None,
        });
        // Events of both groups are the same objects, stored as those of the core group.
        let (stored_group, stored_as) = if self.plural == "events" {
            ("", "v1".to_owned())
        } else {
            (self.group, group_version(self.group, self.version))
        };
        let table = if stored_group.is_empty() {
            self.plural.to_owned()
        } else {
            format!("{}.{stored_group}", self.plural)
        };
        Resource {
            group: self.group.into(),
            version: self.version.into(),
            kind: self.kind.into(),
            plural: self.plural.into(),
            singular: self.kind.to_lowercase(),
            list_kind: format!("{}List", self.kind),
            short_names: owned(self.short),
            categories: if self.all { vec!["all".into()] } else { Vec::new() },
            namespaced: self.flags.contains('n'),
            has_status: self.flags.contains('s'),
            scale,
            counts_generation: self.flags.contains('g'),
            selectable: owned(self.fields),
            table: table.into(),
            stored_as,
            custom: None,
            schema: Schema::built_in(self.group, self.version, self.kind).unwrap_or_else(Schema::any),
        }
    }
}

/// All built-in resources, in the order of discovery.
pub(crate) fn built_in() -> Vec<Arc<Resource>> {
    BUILT_IN.iter().map(|row| Arc::new(row.resource())).collect()
}
