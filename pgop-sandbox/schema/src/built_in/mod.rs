//! The built-in types: k8s-openapi's JSON schemas with our tables on top.
//!
//! k8s-openapi leaves out what is not needed for typed code: how lists merge ([`lists`]), enumerations ([`values`]) and defaults
//! ([`defaults`]). Those are data here, by the name of the type and its field.

mod conditional;
mod defaults;
mod definitions;
mod lists;
mod values;

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use k8s_openapi::{
    api::{
        apps::v1 as apps, autoscaling::v1 as autoscaling, batch::v1 as batch, coordination::v1 as coordination,
        core::v1 as core, discovery::v1 as discovery, events::v1 as events, networking::v1 as networking,
        policy::v1 as policy, rbac::v1 as rbac, scheduling::v1 as scheduling, storage::v1 as storage,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions,
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Value, json};

pub(crate) use conditional::default;
pub use definitions::{REFERENCE, definition_name, definitions};

use crate::{
    node::Node,
    schema::{Origin, Schema},
};

/// What every object has beside `metadata`, with the words of `kubectl explain`.
pub(crate) const TYPE_META: [(&str, &str); 2] = [
    (
        "apiVersion",
        "The group and version of the schema of this object, such as apps/v1.",
    ),
    ("kind", "The type of this object, in CamelCase, such as Deployment."),
];

/// The schemas made so far, by group, version and kind.
type Cache = Mutex<HashMap<String, Arc<Schema>>>;

/// A function per type: it tells schemars the type and returns a reference to its definition.
type Subschema = fn(&mut SchemaGenerator) -> schemars::Schema;

/// The types of one group and version.
type Kinds = &'static [(&'static str, Subschema)];

/// The types that are served.
const GROUPS: &[(&str, &str, Kinds)] = &[
    (
        "",
        "v1",
        &[
            ("ConfigMap", of::<core::ConfigMap>),
            ("Endpoints", of::<core::Endpoints>),
            ("Event", of::<core::Event>),
            ("LimitRange", of::<core::LimitRange>),
            ("Namespace", of::<core::Namespace>),
            ("Node", of::<core::Node>),
            ("PersistentVolume", of::<core::PersistentVolume>),
            ("PersistentVolumeClaim", of::<core::PersistentVolumeClaim>),
            ("Pod", of::<core::Pod>),
            ("PodTemplate", of::<core::PodTemplate>),
            ("ResourceQuota", of::<core::ResourceQuota>),
            ("Secret", of::<core::Secret>),
            ("Service", of::<core::Service>),
            ("ServiceAccount", of::<core::ServiceAccount>),
        ],
    ),
    (
        "apps",
        "v1",
        &[
            ("ControllerRevision", of::<apps::ControllerRevision>),
            ("DaemonSet", of::<apps::DaemonSet>),
            ("Deployment", of::<apps::Deployment>),
            ("ReplicaSet", of::<apps::ReplicaSet>),
            ("StatefulSet", of::<apps::StatefulSet>),
        ],
    ),
    ("autoscaling", "v1", &[("Scale", of::<autoscaling::Scale>)]),
    (
        "batch",
        "v1",
        &[("CronJob", of::<batch::CronJob>), ("Job", of::<batch::Job>)],
    ),
    ("coordination.k8s.io", "v1", &[("Lease", of::<coordination::Lease>)]),
    (
        "discovery.k8s.io",
        "v1",
        &[("EndpointSlice", of::<discovery::EndpointSlice>)],
    ),
    ("events.k8s.io", "v1", &[("Event", of::<events::Event>)]),
    (
        "networking.k8s.io",
        "v1",
        &[
            ("Ingress", of::<networking::Ingress>),
            ("NetworkPolicy", of::<networking::NetworkPolicy>),
        ],
    ),
    (
        "policy",
        "v1",
        &[("PodDisruptionBudget", of::<policy::PodDisruptionBudget>)],
    ),
    (
        "rbac.authorization.k8s.io",
        "v1",
        &[
            ("ClusterRole", of::<rbac::ClusterRole>),
            ("ClusterRoleBinding", of::<rbac::ClusterRoleBinding>),
            ("Role", of::<rbac::Role>),
            ("RoleBinding", of::<rbac::RoleBinding>),
        ],
    ),
    (
        "scheduling.k8s.io",
        "v1",
        &[("PriorityClass", of::<scheduling::PriorityClass>)],
    ),
    ("storage.k8s.io", "v1", &[("StorageClass", of::<storage::StorageClass>)]),
    (
        "apiextensions.k8s.io",
        "v1",
        &[(
            "CustomResourceDefinition",
            of::<apiextensions::CustomResourceDefinition>,
        )],
    ),
];

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> schemars::Schema {
    generator.subschema_for::<T>()
}

/// The schema of a served type, made once.
pub(crate) fn schema(group: &str, version: &str, kind: &str) -> Option<Arc<Schema>> {
    static CACHE: LazyLock<Cache> = LazyLock::new(Cache::default);
    let &(group, version, kinds) = GROUPS
        .iter()
        .find(|(served, at, _)| (*served, *at) == (group, version))?;
    let &(kind, subschema) = kinds.iter().find(|(served, _)| *served == kind)?;
    let mut cache = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    let made = cache
        .entry(format!("{group}/{version}/{kind}"))
        .or_insert_with(|| Arc::new(make(group, version, kind, subschema)));
    Some(Arc::clone(made))
}

fn make(group: &'static str, version: &str, kind: &'static str, subschema: Subschema) -> Schema {
    let mut openapi = definitions::inlined(&definitions::name_of(subschema));
    if let Some(fields) = openapi.as_object_mut() {
        fields.remove("required"); // `metadata` only, which every object has
        let itself = json!([{"group": group, "version": version, "kind": kind}]);
        fields.insert("x-kubernetes-group-version-kind".to_owned(), itself);
    }
    let mut root = Node::parse(&openapi);
    if let Some(status) = root.properties.get_mut("status") {
        status.forget_required(); // Go fills in zero values, and only controllers write here
    }
    Schema::new(root, openapi, Origin::BuiltIn { group, kind })
}

/// `ObjectMeta`, which all types share.
pub(crate) fn object_meta() -> &'static Value {
    static META: LazyLock<Value> = LazyLock::new(|| {
        let mut meta = definitions::inlined(&definitions::name_of(of::<ObjectMeta>));
        meta["description"] = json!("Standard object's metadata.");
        meta
    });
    &META
}

/// What an embedded resource has besides what its schema declares.
pub(crate) fn embedded() -> &'static Node {
    static ENVELOPE: LazyLock<Node> = LazyLock::new(|| {
        let name = json!({"type": "string"});
        Node::parse(&json!({"properties": {"apiVersion": name, "kind": name, "metadata": object_meta()}}))
    });
    &ENVELOPE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_tables_names_a_field_that_exists() {
        let definitions = definitions();
        let short_name = definitions::short_name;
        let exists = |name: &str, field: &str| {
            let found = definitions.iter().find(|(long, _)| short_name(long) == Some(name));
            found.is_some_and(|(_, schema)| schema["properties"].get(field).is_some())
        };
        for (name, field) in lists::rows().chain(values::rows()).chain(defaults::rows()) {
            assert!(exists(name, field), "{name} has no field {field}");
        }
        for name in lists::ATOMIC_TYPES {
            assert!(
                definitions.keys().any(|long| short_name(long) == Some(name)),
                "no type {name}"
            );
        }
    }

    #[test]
    fn every_served_type_has_a_schema_without_references() {
        for (group, version, kinds) in GROUPS {
            for (kind, _) in *kinds {
                let schema = Schema::built_in(group, version, kind).expect("served");
                assert!(!schema.openapi().to_string().contains(r#""$ref":""#), "{kind}");
                assert!(schema.root.properties.contains_key("metadata"), "{kind}");
            }
        }
    }

    #[test]
    fn other_types_have_none() {
        assert!(Schema::built_in("", "v1", "ReplicationController").is_none());
        assert!(Schema::built_in("apps", "v1beta1", "Deployment").is_none());
        assert!(Schema::built_in("", "v1", "Deployment").is_none());
    }

    #[test]
    fn a_schema_is_made_once() {
        let [first, second] = [(); 2].map(|()| Schema::built_in("", "v1", "Pod").expect("served"));
        assert!(Arc::ptr_eq(&first, &second));
    }

    #[test]
    fn a_schema_tells_kubectl_how_to_merge_and_explain() {
        let schema = Schema::built_in("apps", "v1", "Deployment").expect("served");
        let containers = &schema.openapi()["properties"]["spec"]["properties"]["template"]["properties"]["spec"]["properties"]
            ["containers"];
        assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
        assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
        assert!(
            containers["description"]
                .as_str()
                .is_some_and(|text| text.contains("containers"))
        );
    }
}
