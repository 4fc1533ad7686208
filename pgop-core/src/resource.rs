//! What the three kinds of resources have in common, so that one engine serves them all.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::assessment::Assessment;
use crate::crd::{self, PgBackup, PgCluster, PgDatabase};
use crate::invalid::Invalid;
use crate::observed::Observed;
use crate::plan::Plan;
use crate::registry::{Family, Registry};
use crate::strategy::Description;
use crate::validated::{Server, ValidatedBackup, ValidatedCluster, ValidatedDatabase};

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
    pub fn of<R: Managed>(resource: &R) -> Self {
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

/// A kind of resource that the engine runs. The steps between `observe` and `apply` are these pure functions.
pub trait Managed:
    kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + PartialEq
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// What `validate` makes of it: nobody reads the raw resource after that.
    type Validated: Validated;

    /// Its kind.
    const KIND: ResourceKind;

    /// The strategies for it.
    fn family(registry: &Registry) -> &Family<Self>;

    /// Name or alias of the strategy that it asks for.
    fn strategy(&self) -> &str;

    /// Checks the resource against what was observed.
    fn validate(&self, observed: &Observed, strategy: &Description) -> Result<Self::Validated, Vec<Invalid>>;

    /// What stays in force where `validate` refuses a change: the resource as it was accepted, which runs and has to be looked after. Give it
    /// the strategy that is in use (`status.strategy`). `None` where nothing was accepted yet, or where nothing valid is left.
    fn in_force(&self, _observed: &Observed, _strategy: &Description) -> Option<Self::Validated> {
        None
    }

    /// Nothing is left to do, whatever is observed: a finished backup.
    fn is_finished(&self) -> bool {
        false
    }

    /// Names of claims and Secrets in the spec that pgop did not make and that `observe` has to look up.
    fn foreign(&self) -> Foreign;

    /// The same resource with the status that follows from this round.
    #[must_use]
    fn with_status(&self, round: &Round<'_, Self>) -> Self;
}

/// What a validated resource tells the planner.
pub trait Validated: Clone + Debug + Send + Sync {
    /// For whom the objects are made.
    fn owner(&self) -> &Owner;

    /// The servers' settings, where the resource runs servers.
    fn server(&self) -> Option<&Server>;

    /// Settings of the pods.
    fn pod(&self) -> &crate::crd::PodSettings;

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

/// Names that a spec mentions and that are not ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Foreign {
    /// Claims.
    pub claims: Vec<String>,
    /// Secrets.
    pub secrets: Vec<String>,
    /// The source of a backup.
    pub source: Option<crd::Source>,
}

/// How one reconcile went: all that the status is made from.
#[derive(Debug)]
pub struct Round<'a, R: Managed> {
    /// What step 1 saw.
    pub observed: &'a Observed,
    /// When it was.
    pub now: jiff::Timestamp,
    /// How far it came.
    pub outcome: Outcome<'a, R>,
}

/// How far a reconcile came.
#[derive(Debug)]
pub enum Outcome<'a, R: Managed> {
    /// The resource was refused; nothing was touched.
    Invalid(&'a [Invalid]),
    /// The plan could not be made or carried out.
    Failed {
        /// Reason, as in conditions and events.
        reason: &'a str,
        /// What happened, to which object, and what to do.
        message: String,
    },
    /// The plan was carried out.
    Applied {
        /// The checked resource.
        validated: &'a R::Validated,
        /// The strategy that was used.
        strategy: &'a Description,
        /// The plan.
        plan: &'a Plan,
        /// What the strategy makes of the live objects.
        assessment: &'a Assessment,
    },
}

macro_rules! managed_names {
    ($resource:ty, $kind:ident, $family:ident, $validated:ty) => {
        type Validated = $validated;
        const KIND: ResourceKind = ResourceKind::$kind;

        fn family(registry: &Registry) -> &Family<Self> {
            &registry.$family
        }

        fn strategy(&self) -> &str {
            &self.spec.strategy
        }
    };
}

impl Managed for PgDatabase {
    managed_names!(PgDatabase, PgDatabase, databases, ValidatedDatabase);

    fn validate(&self, observed: &Observed, strategy: &Description) -> Result<ValidatedDatabase, Vec<Invalid>> {
        crate::validate::database(self, observed, strategy).accepted()
    }

    fn in_force(&self, observed: &Observed, strategy: &Description) -> Option<ValidatedDatabase> {
        crate::validate::database(self, observed, strategy).in_force()
    }

    fn foreign(&self) -> Foreign {
        crate::validate::foreign_of_server(&self.spec.server)
    }

    fn with_status(&self, round: &Round<'_, Self>) -> Self {
        let status = crate::status::of_database(self, round);
        Self {
            status: Some(status),
            ..self.clone()
        }
    }
}

impl Managed for PgCluster {
    managed_names!(PgCluster, PgCluster, clusters, ValidatedCluster);

    fn validate(&self, observed: &Observed, strategy: &Description) -> Result<ValidatedCluster, Vec<Invalid>> {
        crate::validate::cluster(self, observed, strategy).accepted()
    }

    fn in_force(&self, observed: &Observed, strategy: &Description) -> Option<ValidatedCluster> {
        crate::validate::cluster(self, observed, strategy).in_force()
    }

    fn foreign(&self) -> Foreign {
        crate::validate::foreign_of_server(&self.spec.server)
    }

    fn with_status(&self, round: &Round<'_, Self>) -> Self {
        let status = crate::status::of_cluster(self, round);
        Self {
            status: Some(status),
            ..self.clone()
        }
    }
}

impl Managed for PgBackup {
    managed_names!(PgBackup, PgBackup, backups, ValidatedBackup);

    fn validate(&self, observed: &Observed, strategy: &Description) -> Result<ValidatedBackup, Vec<Invalid>> {
        crate::validate::backup(self, observed, strategy)
    }

    fn is_finished(&self) -> bool {
        self.status.as_ref().is_some_and(|s| s.finished_at.is_some())
    }

    fn foreign(&self) -> Foreign {
        Foreign {
            claims: self.spec.storage.claim.iter().cloned().collect(),
            secrets: Vec::new(),
            source: Some(self.spec.source.clone()),
        }
    }

    fn with_status(&self, round: &Round<'_, Self>) -> Self {
        let status = crate::status::of_backup(self, round);
        Self {
            status: Some(status),
            ..self.clone()
        }
    }
}
