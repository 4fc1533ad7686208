//! What the engine asks of a kind of resource: the pure steps, each by its name.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::crd::{PgBackup, PgCluster, PgDatabase, ServerSpec, Servers};
use crate::description::Description;
use crate::invalid::Invalid;
use crate::observed::{Foreign, Observed};
use crate::registry::{Family, Registry};
use crate::round::Round;
use crate::validated::Checked;
use crate::{status, validate};

/// A kind of resource that the engine runs. The steps between `observe` and `apply` are these pure functions.
pub trait Managed: Checked + Clone + Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The strategies for it.
    fn family(registry: &Registry) -> &Family<Self>;

    /// Name or alias of the strategy that it asks for.
    fn strategy(&self) -> &str;

    /// Checks the resource against what was observed.
    fn validate(&self, observed: &Observed, strategy: &Description) -> Result<Self::Validated, Vec<Invalid>>;

    /// What stays in force where `validate` refuses a change: the resource as it was accepted, which runs and has to be looked after. Give it
    /// the strategy that is in use. `None` where nothing was accepted yet, or where nothing valid is left.
    fn in_force(&self, _observed: &Observed, _strategy: &Description) -> Option<Self::Validated> {
        None
    }

    /// Name of the strategy that made what runs.
    fn strategy_in_use(&self) -> Option<&str> {
        None
    }

    /// What is asked of its servers, where it runs any.
    fn servers(&self) -> Option<&ServerSpec> {
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

macro_rules! managed_servers {
    ($resource:ty, $family:ident, $check:path) => {
        impl Managed for $resource {
            fn family(registry: &Registry) -> &Family<Self> {
                &registry.$family
            }

            fn strategy(&self) -> &str {
                &self.spec.strategy
            }

            fn strategy_in_use(&self) -> Option<&str> {
                Some(&self.status.as_ref()?.strategy.as_ref()?.name)
            }

            fn validate(&self, observed: &Observed, strategy: &Description) -> Result<Self::Validated, Vec<Invalid>> {
                $check(self, observed, strategy).accepted()
            }

            fn in_force(&self, observed: &Observed, strategy: &Description) -> Option<Self::Validated> {
                $check(self, observed, strategy).in_force()
            }

            fn servers(&self) -> Option<&ServerSpec> {
                Some(&self.spec.server)
            }

            fn foreign(&self) -> Foreign {
                validate::foreign_of_server(&self.spec.server)
            }

            fn with_status(&self, round: &Round<'_, Self>) -> Self {
                self.with(status::of_server(self, round))
            }
        }
    };
}

managed_servers!(PgDatabase, databases, validate::database);
managed_servers!(PgCluster, clusters, validate::cluster);

impl Managed for PgBackup {
    fn family(registry: &Registry) -> &Family<Self> {
        &registry.backups
    }

    fn strategy(&self) -> &str {
        &self.spec.strategy
    }

    fn validate(&self, observed: &Observed, strategy: &Description) -> Result<Self::Validated, Vec<Invalid>> {
        validate::backup(self, observed, strategy)
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
        let status = status::of_backup(self, round);
        Self {
            status: Some(status),
            ..self.clone()
        }
    }
}
