//! What a pod needs beyond its containers, and the Secrets a server reads.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, Container, EnvVar, Toleration, TopologySpreadConstraint, Volume, VolumeMount,
};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

/// Scheduling, identity and metadata of every pod made for a resource, and what is added to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodSettings {
    /// User id of the processes. Default: 999, the `postgres` of the official image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub run_as_user: Option<i64>,
    /// Group id of the processes. Default: the user id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub run_as_group: Option<i64>,
    /// Group that owns the volumes. Default: the group id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub fs_group: Option<i64>,
    /// Further groups, for volumes that belong to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supplemental_groups: Vec<i64>,
    /// Labels of the nodes that may run the pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// Affinity rules. Without a `podAntiAffinity` of their own, the servers of a cluster are on different nodes where that is possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// How the pods are spread over zones and nodes. One without a selector counts the pods of this resource.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// Labels added to the pods. Those of pgop and `app.kubernetes.io/` can't be replaced.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations added to the pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Priority class of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
    /// Service account of the pods. That of servers gets the right to patch the status of their pods, and its token is in the server's container, where a
    /// superuser of the database can read it: give one that may do nothing else. Default: `<name>-agent`, made for the servers; the namespace's `default` for backups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: Option<String>,
    /// Scheduler of the pods. Default: that of Kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub scheduler_name: Option<String>,
    /// Runtime class of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub runtime_class_name: Option<String>,
    /// Seconds that a pod has to stop. A server that is killed before it has stopped has to recover. Default: 300 for a server, 60 for a backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 86400))]
    pub termination_grace_period_seconds: Option<i64>,
    /// Variables added to pgop's containers. Those that begin with `PG` belong to `PostgreSQL` and pgop.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "terse::<EnvVar>")]
    pub env: Vec<EnvVar>,
    /// Volumes added to the pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "terse::<Volume>")]
    pub volumes: Vec<Volume>,
    /// Where pgop's containers mount them: not below `/pgop`, `/pgdata`, `/backup`, `/tmp` and `/dev`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "terse::<VolumeMount>")]
    pub volume_mounts: Vec<VolumeMount>,
    /// Containers that run beside each server. A backup has none: it could not end while one runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "terse::<Container>")]
    pub containers: Vec<Container>,
}

/// The schema of a list of Kubernetes' own type, without its descriptions: with them the definitions are too large for `kubectl apply`.
fn terse<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    fn strip(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(map) => {
                // A property may have this name: then it is an object.
                map.retain(|key, value| key != "description" || !value.is_string());
                map.values_mut().for_each(strip);
            }
            serde_json::Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut schema = Vec::<T>::json_schema(generator);
    for (_, value) in schema.ensure_object().iter_mut() {
        strip(value);
    }
    schema
}

/// Secrets of your own, each with the keys `username` and `password`. One that is not named is generated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    /// Secret of the superuser `postgres`. Default: `<name>-superuser`, generated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub superuser: Option<String>,
    /// Secret of the replication role. Default: `<name>-replication`, generated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub replication: Option<String>,
    /// Secret of the ordinary role. Default: `<name>-user`, generated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub user: Option<String>,
}
