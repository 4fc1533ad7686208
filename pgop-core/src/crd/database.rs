//! One server.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{ServerSpec, ServerStatus};

/// One `PostgreSQL` server with one claim and one Service.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "pgop.dev",
    version = "v1alpha1",
    kind = "PgDatabase",
    plural = "pgdatabases",
    shortname = "pgdb",
    category = "pgop",
    namespaced,
    status = "ServerStatus",
    derive = "PartialEq",
    doc = "One PostgreSQL server with one claim and one Service.",
    printcolumn(name = "Status", type_ = "string", json_path = ".status.phase"),
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
pub struct PgDatabaseSpec {
    /// The strategy that decides what is created. `1` is another name of the default one.
    #[serde(default = "default_strategy")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = kube::core::Rule::new("self == oldSelf")
        .message("strategy can't be changed: create a new database from a backup of this one"))]
    pub strategy: String,
    /// The server.
    #[serde(flatten)]
    pub server: ServerSpec,
}

/// What the API server makes of an empty `spec`.
impl Default for PgDatabaseSpec {
    fn default() -> Self {
        Self {
            strategy: default_strategy(),
            server: ServerSpec::default(),
        }
    }
}

fn default_strategy() -> String {
    "standalone".to_owned()
}
