//! Checked resources with every default filled in: the only input of strategies.

use std::collections::BTreeMap;
use std::fmt::Debug;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ResourceRequirements;
use serde_json::{Map, Value};

use crate::crd::{
    Accepted, AccessMode, DeletionPolicy, PgBackup, PgCluster, PgDatabase, PodSettings, ServiceSettings, Source,
};
use crate::owner::{Kinded, Owner};

/// A kind of resource that is checked before anything is made of it.
pub trait Checked: Kinded {
    /// What `validate` makes of it: nobody reads the raw resource after that.
    type Validated: Validated;
}

impl Checked for PgDatabase {
    type Validated = ValidatedDatabase;
}

impl Checked for PgCluster {
    type Validated = ValidatedCluster;
}

impl Checked for PgBackup {
    type Validated = ValidatedBackup;
}

/// What a validated resource tells the planner.
pub trait Validated: Clone + Debug + Send + Sync {
    /// For whom the objects are made.
    fn owner(&self) -> &Owner;

    /// The servers' settings, where the resource runs servers.
    fn server(&self) -> Option<&Server>;

    /// Number of replicas, where the kind has any.
    fn replicas(&self) -> Option<i32> {
        None
    }

    /// Settings of the pods.
    fn pod(&self) -> &PodSettings;

    /// Secrets with the registry's credentials.
    fn image_pull_secrets(&self) -> &[String];

    /// For what the Jobs have to wait, if for anything.
    fn wait_for(&self) -> Option<String> {
        None
    }

    /// Name of the source, where the resource is a backup: its claim belongs to all backups of the source.
    fn backup_source(&self) -> Option<&str> {
        None
    }
}

/// A checked `PgDatabase`.
#[derive(Clone, Debug)]
pub struct ValidatedDatabase {
    /// The server.
    pub server: Server,
}

/// A checked `PgCluster`.
#[derive(Clone, Debug)]
pub struct ValidatedCluster {
    /// The servers.
    pub server: Server,
    /// Number of replicas.
    pub replicas: i32,
    /// How the Service of the replicas is reached.
    pub replica_service: ServiceSettings,
}

/// A checked `PgBackup`.
#[derive(Clone, Debug)]
pub struct ValidatedBackup {
    /// For whom objects are made.
    pub owner: Owner,
    /// What is backed up.
    pub source: Source,
    /// Its uid, where it exists.
    pub source_uid: Option<String>,
    /// Its database, where it is known.
    pub source_database: Option<String>,
    /// Its ordinary role, where it is known.
    pub source_user: Option<String>,
    /// Whether its primary serves, and with which image is known: a backup waits for that.
    pub source_serves: bool,
    /// Service of the source's primary.
    pub host: String,
    /// Its port.
    pub port: i32,
    /// Image of the source.
    pub image: String,
    /// When it is pulled.
    pub image_pull_policy: String,
    /// Secrets with the registry's credentials.
    pub image_pull_secrets: Vec<String>,
    /// Secret of the source's replication role.
    pub replication_secret: String,
    /// Where the snapshot goes.
    pub storage: ClaimStorage,
    /// Path of the snapshot in the claim.
    pub path: String,
    /// CPU and memory.
    pub resources: Option<ResourceRequirements>,
    /// Settings of the pod.
    pub pod: PodSettings,
    /// Parameters of the strategy, with its defaults.
    pub strategy_parameters: Map<String, Value>,
}

/// A checked server.
#[derive(Clone, Debug)]
pub struct Server {
    /// For whom objects are made.
    pub owner: Owner,
    /// When the resource was created; `None` before it exists.
    pub created: Option<Timestamp>,
    /// Which change of the spec this is of.
    pub change: Change,
    /// Image with the server programs.
    pub image: String,
    /// When it is pulled.
    pub image_pull_policy: String,
    /// Secrets with the registry's credentials.
    pub image_pull_secrets: Vec<String>,
    /// The user's settings; none of them is unsafe.
    pub parameters: BTreeMap<String, String>,
    /// Port of the Services; the server itself listens on 5432.
    pub port: i32,
    /// Database to make.
    pub database: String,
    /// The three Secrets.
    pub secrets: Secrets,
    /// Where the data lies.
    pub storage: ClaimStorage,
    /// What becomes of the claims.
    pub deletion_policy: DeletionPolicy,
    /// Whether an empty volume may become an empty database: not after a restore was asked for, and not once there was data.
    pub initialize: bool,
    /// CPU and memory.
    pub resources: Option<ResourceRequirements>,
    /// Settings of the pods.
    pub pod: PodSettings,
    /// How the Service of the primary is reached.
    pub service: ServiceSettings,
    /// The snapshot to start from, while that is still to be done or being done.
    pub restore: Option<RestoreFrom>,
    /// Parameters of the strategy, with its defaults.
    pub strategy_parameters: Map<String, Value>,
    /// What the status records, so that later specs can be judged against it.
    pub accepted: Accepted,
}

/// Which change of the spec something is of: what other pods follow from another one are the spec's wish, and what follows from the same one is
/// another pgop's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Generation of the spec; `None` before the resource exists.
    pub generation: Option<i64>,
    /// Whether a plan for it was carried out before.
    pub is_known: bool,
    /// What `pgo upgrade servers` wrote.
    pub upgrade: Option<String>,
}

/// The Secrets of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secrets {
    /// Of `postgres`.
    pub superuser: SecretUse,
    /// Of the replication role.
    pub replication: SecretUse,
    /// Of the ordinary role.
    pub user: SecretUse,
}

/// A Secret with `username` and `password`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretUse {
    /// Made by the operator, with a random password.
    Generated {
        /// Its name.
        name: String,
        /// Name of the role.
        username: String,
    },
    /// Made by a person.
    Given {
        /// Its name.
        name: String,
    },
}

impl SecretUse {
    /// Name of the Secret.
    pub fn name(&self) -> &str {
        match self {
            Self::Generated { name, .. } | Self::Given { name } => name,
        }
    }
}

/// A claim and how it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimStorage {
    /// Its name (of the primary's, for a cluster).
    pub claim: String,
    /// Whether it is made; an existing one is used otherwise.
    pub make: bool,
    /// Size of a claim that is made.
    pub size: String,
    /// Its class; `None` is the cluster's default.
    pub class_name: Option<String>,
    /// Its access mode.
    pub access_mode: AccessMode,
}

/// A snapshot to start from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreFrom {
    /// Claim with the snapshot.
    pub claim: String,
    /// Its path.
    pub path: String,
    /// Job that does it.
    pub job: String,
}

impl Validated for ValidatedDatabase {
    fn owner(&self) -> &Owner {
        &self.server.owner
    }

    fn server(&self) -> Option<&Server> {
        Some(&self.server)
    }

    fn pod(&self) -> &PodSettings {
        &self.server.pod
    }

    fn image_pull_secrets(&self) -> &[String] {
        &self.server.image_pull_secrets
    }
}

impl Validated for ValidatedCluster {
    fn owner(&self) -> &Owner {
        &self.server.owner
    }

    fn server(&self) -> Option<&Server> {
        Some(&self.server)
    }

    fn replicas(&self) -> Option<i32> {
        Some(self.replicas)
    }

    fn pod(&self) -> &PodSettings {
        &self.server.pod
    }

    fn image_pull_secrets(&self) -> &[String] {
        &self.server.image_pull_secrets
    }
}

impl Validated for ValidatedBackup {
    fn owner(&self) -> &Owner {
        &self.owner
    }

    fn server(&self) -> Option<&Server> {
        None
    }

    fn pod(&self) -> &PodSettings {
        &self.pod
    }

    fn image_pull_secrets(&self) -> &[String] {
        &self.image_pull_secrets
    }

    fn wait_for(&self) -> Option<String> {
        let Source { kind, name } = &self.source;
        (!self.source_serves).then(|| format!("{} {name} does not serve yet", kind.as_str()))
    }

    fn backup_source(&self) -> Option<&str> {
        Some(&self.source.name)
    }
}
