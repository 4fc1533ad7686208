//! One backup.

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
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

impl PgBackup {
    /// Whether it is a backup of this very source, and not of a former one of the same name. Backups of an older pgop did not record the uid;
    /// those are of no source that is younger.
    pub fn is_of(&self, source: &ObjectMeta) -> bool {
        let recorded = self.status.as_ref().and_then(|status| status.source_uid.as_ref());
        match recorded {
            Some(uid) => source.uid.as_ref() == Some(uid),
            None => self.metadata.creation_timestamp >= source.creation_timestamp,
        }
    }
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
    /// Uid of the source: a database or cluster that is made again under the same name is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_uid: Option<String>,
    /// Database of the source when its Job was made; a restore has to name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// Ordinary role of the source, who owns the database; a restore has to name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_of_a_former_source_is_none_of_the_one_that_has_its_name_now() {
        let meta = |value: serde_json::Value| serde_json::from_value::<ObjectMeta>(value).unwrap();
        let source = meta(serde_json::json!({"uid": "u2", "creationTimestamp": "2026-11-22T12:00:00Z"}));
        let is_of = |made: &str, uid: Option<&str>| {
            let backup = serde_json::json!({"apiVersion": "pgop.dev/v1alpha1", "kind": "PgBackup",
                "metadata": {"name": "b", "creationTimestamp": made}, "status": {"sourceUid": uid},
                "spec": {"source": {"kind": "PgCluster", "name": "hippo"}}});
            serde_json::from_value::<PgBackup>(backup).unwrap().is_of(&source)
        };
        let (before, after) = ("2026-11-22T11:59:59Z", "2026-11-22T12:00:01Z");
        assert!(is_of(after, Some("u2")) && !is_of(after, Some("u1")));
        assert!(is_of(after, None) && !is_of(before, None), "recorded by an older pgop");
    }
}
