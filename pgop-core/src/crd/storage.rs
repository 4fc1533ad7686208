//! Where data lies: a claim of its own, or an existing one.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The storage of a server or of backups.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = kube::core::Rule::new("!(has(self.claim) && has(self.className))")
    .message("it is for a claim that pgop makes: leave it out, or leave out storage.claim")
    .field_path(".className"))]
pub struct Storage {
    /// Size of each claim that is made, such as `10Gi`. It can grow later and never shrinks. Default: 5Gi for a
    /// server, twice the source's size for backups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Quantity>,
    /// `StorageClass` of the claims that are made. Default: the cluster's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub class_name: Option<String>,
    /// Access mode of the claims that are made. Default: `ReadWriteOnce`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_mode: Option<AccessMode>,
    /// An existing claim to use instead of making one. It may be shared: every server has a directory of its own in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub claim: Option<String>,
}

/// How the volumes of claims that are made may be mounted. Default: `ReadWriteOnce`. See
/// <https://kubernetes.io/docs/concepts/storage/persistent-volumes/#access-modes>.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AccessMode {
    /// By the pods of one node.
    #[default]
    ReadWriteOnce,
    /// By one pod.
    ReadWriteOncePod,
    /// By the pods of many nodes.
    ReadWriteMany,
}

impl AccessMode {
    /// The word that Kubernetes uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadWriteOnce => "ReadWriteOnce",
            Self::ReadWriteOncePod => "ReadWriteOncePod",
            Self::ReadWriteMany => "ReadWriteMany",
        }
    }
}

/// What becomes of the data claims when the resource is deleted. Snapshots are always kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// The claims stay, and a new resource of the same name serves their data again.
    #[default]
    Retain,
    /// The claims are deleted with the resource.
    Delete,
}
