//! One backup.

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::postgres::any_object;
use super::{PodSettings, Storage, StrategyInUse};

/// One backup of a database or cluster. It runs once; a snapshot that it made outlives it.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "pgop.dev",
    version = "v1alpha1",
    kind = "PgBackup",
    plural = "pgbackups",
    shortname = "pgb",
    category = "pgop",
    namespaced,
    status = "PgBackupStatus",
    derive = "PartialEq",
    doc = "One backup of a database or cluster. It runs once; a snapshot that it made outlives it.",
    printcolumn(name = "Source", type_ = "string", json_path = ".spec.source.name"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Claim", type_ = "string", json_path = ".status.claim"),
    printcolumn(name = "Path", type_ = "string", json_path = ".status.path"),
    printcolumn(name = "Bytes", type_ = "integer", json_path = ".status.sizeBytes", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Complete\")].message",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = kube::core::Rule::new("self == oldSelf")
    .message("a backup runs once and can't be changed: create another"))]
pub struct PgBackupSpec {
    /// What is backed up.
    pub source: Source,
    /// The strategy that makes the backup. `1` is another name of the default one.
    #[serde(default = "default_strategy")]
    #[schemars(length(min = 1, max = 63))]
    pub strategy: String,
    /// Parameters of the strategy, checked against its own schema.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    #[schemars(schema_with = "any_object")]
    pub strategy_parameters: serde_json::Map<String, serde_json::Value>,
    /// Where snapshots go. Default: the claim `<source>-backup-pvc`, made when it is missing, shared by all backups of the source.
    #[serde(default)]
    pub storage: Storage,
    /// CPU and memory of the backup container. Default: it asks for 50m and 256Mi, without limits; `{}` asks for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Scheduling, security and metadata of the pod.
    #[serde(default)]
    pub pod: PodSettings,
}

fn default_strategy() -> String {
    "basebackup".to_owned()
}

/// A database or cluster in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// `PgDatabase` or `PgCluster`.
    pub kind: SourceKind,
    /// Its name.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
}

/// The kinds that can be backed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum SourceKind {
    /// A [`PgDatabase`](super::PgDatabase).
    PgDatabase,
    /// A [`PgCluster`](super::PgCluster).
    PgCluster,
}

impl SourceKind {
    /// The kind as it is written in a manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PgDatabase => "PgDatabase",
            Self::PgCluster => "PgCluster",
        }
    }
}

/// What became of a backup.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PgBackupStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One word: `Invalid`, `Pending`, `Running`, `Succeeded` or `Failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// `Accepted`, `Complete`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The strategy in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<StrategyInUse>,
    /// Claim that holds the snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
    /// Path of the snapshot in the claim; set when the snapshot is complete and verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Bytes of the snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<i64>,
    /// Where the backup starts in the write-ahead log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_lsn: Option<String>,
    /// Where it ends: a restore is consistent from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_lsn: Option<String>,
    /// `server_version` of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_version: Option<String>,
    /// When the Job started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it ended, in success or failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
}
