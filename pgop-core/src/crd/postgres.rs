//! What a database and a cluster have in common.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{Credentials, DeletionPolicy, PgCluster, PgDatabase, PodSettings, ServerStatus, ServiceSettings, Storage};

/// Desired state of the servers of a database or a cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerSpec {
    /// The server: version, image, settings, first database and role.
    #[serde(default)]
    pub postgres: Postgres,
    /// Secrets with the passwords.
    #[serde(default)]
    pub credentials: Credentials,
    /// Where the data lies.
    #[serde(default)]
    pub storage: Storage,
    /// What becomes of the data claims when the resource is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// CPU and memory of the `PostgreSQL` container. Default: it asks for 50m and 256Mi, without limits; `{}` asks for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Scheduling, security and metadata of the pods.
    #[serde(default)]
    pub pod: PodSettings,
    /// The Service of the primary.
    #[serde(default)]
    pub service: ServiceSettings,
    /// A snapshot to start from instead of an empty database. Read once, when the data is first made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<Restore>,
    /// Parameters of the strategy, checked against its own schema.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    #[schemars(schema_with = "any_object")]
    pub strategy_parameters: serde_json::Map<String, serde_json::Value>,
}

/// A resource that runs servers: one, or a primary and its replicas.
pub trait Servers {
    /// What is asked of the servers.
    fn server(&self) -> &ServerSpec;

    /// Number of replicas beside the primary, where the kind has any.
    fn replicas(&self) -> Option<i32>;

    /// Its status.
    fn status(&self) -> Option<&ServerStatus>;

    /// The same resource with another status.
    #[must_use]
    fn with(&self, status: ServerStatus) -> Self;
}

macro_rules! servers {
    ($resource:ty, $replicas:expr) => {
        impl Servers for $resource {
            fn server(&self) -> &ServerSpec {
                &self.spec.server
            }

            fn replicas(&self) -> Option<i32> {
                let replicas: fn(&Self) -> Option<i32> = $replicas;
                replicas(self)
            }

            fn status(&self) -> Option<&ServerStatus> {
                self.status.as_ref()
            }

            fn with(&self, status: ServerStatus) -> Self {
                Self {
                    status: Some(status),
                    ..self.clone()
                }
            }
        }
    };
}

servers!(PgDatabase, |_| None);
servers!(PgCluster, |cluster| Some(cluster.spec.replicas));

/// The `PostgreSQL` server itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = kube::core::Rule::new("!has(self.user) || (self.user != 'postgres' && !self.user.startsWith('pg_'))")
    .message("it names the ordinary role: `postgres` and names with `pg_` are PostgreSQL's own")
    .field_path(".user"))]
#[x_kube(validation = kube::core::Rule::new("!has(self.database) || (self.database != 'template0' && self.database != 'template1')")
    .message("it can't be one of PostgreSQL's templates")
    .field_path(".database"))]
pub struct Postgres {
    /// Major version; it chooses the default image `postgres:<version>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9]{2}(\.[0-9]+)?$"))]
    pub version: Option<String>,
    /// Image with the `PostgreSQL` server programs. Default: `postgres:17`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// When the image is pulled: `Always`, `IfNotPresent` or `Never`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^(Always|IfNotPresent|Never)$"))]
    pub image_pull_policy: Option<String>,
    /// Secrets of the resource's namespace with the credentials of registries, for this image and the agent's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<String>,
    /// Settings for `postgresql.conf`, such as `work_mem: 16MB`. Those that would break the set-up are refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// Port of the Services.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Database that is made for the ordinary role. Default: `app`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub database: Option<String>,
    /// Name of the ordinary role, when its Secret is generated. Default: `app`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub user: Option<String>,
    /// Name of the replication role, when its Secret is generated. Default: `replicator`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub replication_user: Option<String>,
}

impl Default for Postgres {
    fn default() -> Self {
        Self {
            version: None,
            image: None,
            image_pull_policy: None,
            image_pull_secrets: Vec::new(),
            parameters: BTreeMap::new(),
            port: default_port(),
            database: None,
            user: None,
            replication_user: None,
        }
    }
}

fn default_port() -> i32 {
    5432
}

/// A snapshot: a claim, and the path that `pgo show backup` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Restore {
    /// Claim that holds the snapshot. It is mounted read-only.
    #[schemars(length(min = 1, max = 253))]
    pub claim: String,
    /// Path of the snapshot in the claim, such as `orders-backups/2026-11-22-17-57-21`.
    #[schemars(length(min = 1, max = 1024))]
    pub path: String,
}

/// The schema of an object with any content: the bundle's own schema checks it, not the API server.
pub(super) fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}
