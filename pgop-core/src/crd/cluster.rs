//! A primary and its replicas.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{ServerSpec, ServerStatus, ServiceSettings};

/// Most replicas of one cluster.
pub const MAX_REPLICAS: i32 = 50;

/// A primary, and replicas that follow it by streaming replication.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "pgop.dev",
    version = "v1alpha1",
    kind = "PgCluster",
    plural = "pgclusters",
    shortname = "pgc",
    category = "pgop",
    namespaced,
    status = "ServerStatus",
    derive = "PartialEq",
    doc = "A primary, and replicas that follow it by streaming replication.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Primary", type_ = "string", json_path = ".status.primary"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".spec.replicas"),
    printcolumn(name = "Streaming", type_ = "integer", json_path = ".status.readyReplicas"),
    printcolumn(name = "Address", type_ = "string", json_path = ".status.endpoints.readWrite"),
    printcolumn(name = "Last-Backup", type_ = "date", json_path = ".status.lastBackup.finishedAt"),
    printcolumn(
        name = "Strategy",
        type_ = "string",
        json_path = ".status.strategy.name",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct PgClusterSpec {
    /// The strategy that decides what is created. `1` is another name of the default one.
    #[serde(default = "default_strategy")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = kube::core::Rule::new("self == oldSelf")
        .message("strategy can't be changed: create a new cluster from a backup of this one"))]
    pub strategy: String,
    /// Number of replicas beside the primary.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 0, max = MAX_REPLICAS))]
    pub replicas: i32,
    /// The Service of the replicas.
    #[serde(default)]
    pub replica_service: ServiceSettings,
    /// The servers.
    #[serde(flatten)]
    pub server: ServerSpec,
}

/// What the API server makes of an empty `spec`.
impl Default for PgClusterSpec {
    fn default() -> Self {
        Self {
            strategy: default_strategy(),
            replicas: default_replicas(),
            replica_service: ServiceSettings::default(),
            server: ServerSpec::default(),
        }
    }
}

fn default_strategy() -> String {
    "streaming".to_owned()
}

fn default_replicas() -> i32 {
    2
}
