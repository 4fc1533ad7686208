//! The custom resources: what people write. Group `pgop.dev`, version `v1alpha1`, all namespaced.
//!
//! ```text
//! PgDatabase   one server                        kubectl get pgdb
//! PgCluster    a primary and streaming replicas  kubectl get pgc
//! PgBackup     one backup of either              kubectl get pgb
//! ```

pub mod backup;
pub mod cluster;
pub mod database;
pub mod pod;
pub mod postgres;
pub mod service;
pub mod status;
pub mod storage;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

pub use backup::{PgBackup, PgBackupSpec, PgBackupStatus, Source, SourceKind};
pub use cluster::{MAX_REPLICAS, PgCluster, PgClusterSpec};
pub use database::{PgDatabase, PgDatabaseSpec};
pub use pod::{Credentials, PodSettings};
pub use postgres::{Postgres, Restore, ServerSpec, Servers};
pub use service::{ExternalTrafficPolicy, ServiceSettings, ServiceType};
pub use status::{Accepted, Endpoints, LastBackup, Member, Role, ServerStatus, StrategyInUse};
pub use storage::{AccessMode, DeletionPolicy, Storage};

/// The API group of every resource.
pub const GROUP: &str = "pgop.dev";
/// The one version that is served.
pub const VERSION: &str = "v1alpha1";

/// All definitions, in the order in which they are installed.
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![PgDatabase::crd(), PgCluster::crd(), PgBackup::crd()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_of_programs_are_those_of_the_api_server() {
        let nothing = || serde_json::json!({});
        assert_eq!(
            serde_json::from_value::<PgDatabaseSpec>(nothing()).unwrap(),
            PgDatabaseSpec::default()
        );
        assert_eq!(
            serde_json::from_value::<PgClusterSpec>(nothing()).unwrap(),
            PgClusterSpec::default()
        );
    }
}
