//! The kinds of resources, and a resource as the owner of what is made for it.

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde::Serialize;

use crate::crd::{self, PgBackup, PgCluster, PgDatabase};

/// The kinds of resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum ResourceKind {
    /// [`PgDatabase`]
    PgDatabase,
    /// [`PgCluster`]
    PgCluster,
    /// [`PgBackup`]
    PgBackup,
}

impl ResourceKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::PgDatabase, Self::PgCluster, Self::PgBackup];

    /// The kind as it is written in a manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PgDatabase => "PgDatabase",
            Self::PgCluster => "PgCluster",
            Self::PgBackup => "PgBackup",
        }
    }

    /// Lower-case plural, as in API paths.
    pub fn plural(self) -> &'static str {
        match self {
            Self::PgDatabase => "pgdatabases",
            Self::PgCluster => "pgclusters",
            Self::PgBackup => "pgbackups",
        }
    }

    /// The word people type: `database`, `cluster`, `backup`.
    pub fn component(self) -> &'static str {
        match self {
            Self::PgDatabase => "database",
            Self::PgCluster => "cluster",
            Self::PgBackup => "backup",
        }
    }

    /// Key of the label that ties an object to its resource.
    pub fn label(self) -> &'static str {
        match self {
            Self::PgDatabase => "pgop.dev/database",
            Self::PgCluster => "pgop.dev/cluster",
            Self::PgBackup => "pgop.dev/backup",
        }
    }
}

/// A resource whose kind is known.
pub trait Kinded: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope> {
    /// Its kind.
    const KIND: ResourceKind;
}

impl Kinded for PgDatabase {
    const KIND: ResourceKind = ResourceKind::PgDatabase;
}

impl Kinded for PgCluster {
    const KIND: ResourceKind = ResourceKind::PgCluster;
}

impl Kinded for PgBackup {
    const KIND: ResourceKind = ResourceKind::PgBackup;
}

/// The resource that objects are made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its kind.
    pub kind: ResourceKind,
    /// Its name.
    pub name: String,
    /// Its namespace, which is also that of everything made for it.
    pub namespace: String,
    /// Its uid; empty before it exists (`pgo create --dry-run`).
    pub uid: String,
}

impl Owner {
    /// The owner of a resource.
    pub fn of<R: Kinded>(resource: &R) -> Self {
        let meta = resource.meta();
        Self {
            kind: R::KIND,
            name: meta.name.clone().unwrap_or_default(),
            namespace: meta.namespace.clone().unwrap_or_else(|| "default".to_owned()),
            uid: meta.uid.clone().unwrap_or_default(),
        }
    }

    /// The reference that makes Kubernetes delete an object with this resource.
    pub fn reference(&self) -> OwnerReference {
        OwnerReference {
            api_version: format!("{}/{}", crd::GROUP, crd::VERSION),
            kind: self.kind.as_str().to_owned(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }
}
