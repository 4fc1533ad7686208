//! What the operator will make of a resource: the same checks and the same plan, without a cluster.

use std::collections::BTreeMap;

use pgop_core::Managed;
use pgop_core::crd::{PgBackup, PgCluster, PgDatabase, SourceKind};
use pgop_core::invalid::{self, Invalid};
use pgop_core::observed::{ClaimFacts, Observed, SecretFacts, SourceFacts};
use pgop_core::plan::{self, Plan, PlanError, SecretChange};
use pgop_core::registry::Registry;
use pgop_core::strategy::{Names, UnknownStrategy};
use serde_json::{Value, json};
use thiserror::Error;

/// Why a resource would not become anything.
#[derive(Debug, Error)]
pub enum PreviewError {
    /// It would be refused.
    #[error("{kind} {name} is not valid: {}", invalid::summary(problems))]
    Invalid {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Why.
        problems: Vec<Invalid>,
    },
    /// Its strategy does not exist. The operator may know more of them than this program.
    #[error("{kind} {name}: {source}")]
    Strategy {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Which, and what there is.
        source: UnknownStrategy,
    },
    /// The strategy fails.
    #[error("{kind} {name}: {source}")]
    Plan {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Why.
        source: PlanError,
    },
}

/// What the operator would see when all that the spec names exists.
pub fn assumed<R: Managed>(resource: &R) -> Observed {
    let foreign = resource.foreign();
    let usable = |name: &String| {
        // The superuser's Secret has to be the superuser's; which one it is, the name of the field tells.
        let username = if is_superuser_secret(resource, name) {
            "postgres"
        } else {
            "app"
        };
        (
            name.clone(),
            SecretFacts::Usable {
                username: username.to_owned(),
            },
        )
    };
    Observed {
        claims: foreign
            .claims
            .iter()
            .map(|name| (name.clone(), Some(ClaimFacts::default())))
            .collect(),
        secrets: foreign.secrets.iter().map(usable).collect::<BTreeMap<_, _>>(),
        source: foreign.source.map(|source| match source.kind {
            SourceKind::PgDatabase => SourceFacts::Database(Box::new(PgDatabase::new(
                &source.name,
                pgop_core::crd::PgDatabaseSpec::default(),
            ))),
            SourceKind::PgCluster => SourceFacts::Cluster(Box::new(PgCluster::new(
                &source.name,
                pgop_core::crd::PgClusterSpec::default(),
            ))),
        }),
        ..Observed::default()
    }
}

fn is_superuser_secret<R: Managed>(resource: &R, name: &str) -> bool {
    resource
        .servers()
        .and_then(|spec| spec.credentials.superuser.as_deref())
        == Some(name)
}

/// Checks a resource as the operator will. A strategy that only the operator knows is left to it, with `false` for "not checked".
pub fn check<R: Managed>(registry: &Registry, resource: &R, observed: &Observed) -> Result<bool, PreviewError> {
    let Ok(strategy) = R::family(registry).get(resource.strategy()) else {
        return Ok(false);
    };
    match resource.validate(observed, strategy.description()) {
        Ok(_) => Ok(true),
        Err(problems) => Err(refused(resource, problems)),
    }
}

/// What the strategy of a resource calls what it makes; the usual names where only the operator knows the strategy.
pub fn names<R: Managed>(resource: &R) -> Names {
    let strategy = resource.strategy_in_use().unwrap_or(resource.strategy());
    let registry = pgop_strategies::builtin().ok();
    let known = registry.and_then(|registry| R::family(&registry).get(strategy).cloned().ok());
    known.map_or_else(Names::default, |strategy| strategy.description().names.clone())
}

/// The plan for a resource that does not exist yet.
pub fn plan<R: Managed>(registry: &Registry, resource: &R, observed: &Observed) -> Result<Plan, PreviewError> {
    let (kind, name) = (R::KIND.as_str(), name_of(resource));
    let strategy = R::family(registry)
        .get(resource.strategy())
        .map_err(|source| PreviewError::Strategy {
            kind,
            name: name.clone(),
            source,
        })?;
    let validated = resource
        .validate(observed, strategy.description())
        .map_err(|problems| refused(resource, problems))?;
    plan::plan(&**strategy, &validated, observed).map_err(|source| PreviewError::Plan { kind, name, source })
}

/// The manifests of a plan for people to read: Secrets without their password, and what waits for a Job is named.
pub fn manifests(plan: &Plan) -> Vec<Value> {
    let secrets = plan
        .secrets
        .iter()
        .filter(|secret| secret.change == SecretChange::Generate)
        .map(|secret| {
            let mut data = json!(secret.public);
            data["password"] = json!("(generated when it is created)");
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": secret.metadata, "stringData": data})
        });
    secrets
        .chain(plan.apply.iter().map(|apply| apply.manifest.value().clone()))
        .collect()
}

fn refused<R: Managed>(resource: &R, problems: Vec<Invalid>) -> PreviewError {
    PreviewError::Invalid {
        kind: R::KIND.as_str(),
        name: name_of(resource),
        problems,
    }
}

fn name_of<R: Managed>(resource: &R) -> String {
    resource.meta().name.clone().unwrap_or_default()
}

/// A resource of one of the three kinds.
#[derive(Clone, Debug)]
pub enum Resource {
    /// A database.
    Database(Box<PgDatabase>),
    /// A cluster.
    Cluster(Box<PgCluster>),
    /// A backup.
    Backup(Box<PgBackup>),
}

#[cfg(test)]
mod tests {
    use pgop_core::crd::PgDatabaseSpec;

    use super::*;

    fn database(strategy: &str) -> PgDatabase {
        let mut database = PgDatabase::new("orders", PgDatabaseSpec::default());
        database.metadata.namespace = Some("shop".into());
        database.spec.strategy = strategy.into();
        database
    }

    #[test]
    fn a_plan_can_be_made_without_a_cluster_and_holds_no_password() {
        let registry = pgop_strategies::builtin().unwrap();
        let database = database("1");
        let plan = plan(&registry, &database, &assumed(&database)).unwrap();
        let all = manifests(&plan);
        let names: Vec<_> = all.iter().map(crate::output::name).collect();
        for name in [
            "secret/orders-user",
            "persistentvolumeclaim/orders-pvc",
            "service/orders",
            "statefulset.apps/orders",
        ] {
            assert!(names.iter().any(|n| n == name), "{name} is not in {names:?}");
        }
        assert_eq!(all[0]["stringData"]["password"], "(generated when it is created)");
    }

    #[test]
    fn a_strategy_that_only_the_operator_knows_is_left_to_it() {
        let registry = pgop_strategies::builtin().unwrap();
        let database = database("ours");
        assert!(!check(&registry, &database, &assumed(&database)).unwrap());
        let error = plan(&registry, &database, &assumed(&database)).unwrap_err().to_string();
        assert!(
            error.contains("there is no strategy `ours` for a PgDatabase"),
            "{error}"
        );
    }

    #[test]
    fn problems_name_the_field() {
        let registry = pgop_strategies::builtin().unwrap();
        let mut database = database("1");
        database.metadata.name = Some("Orders".into());
        let error = check(&registry, &database, &assumed(&database))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("PgDatabase Orders is not valid: metadata.name `Orders` must be lower-case"),
            "{error}"
        );
    }

    #[test]
    fn named_secrets_are_taken_to_be_right() {
        let registry = pgop_strategies::builtin().unwrap();
        let mut database = database("1");
        database.spec.server.credentials.superuser = Some("mine".into());
        database.spec.server.credentials.user = Some("hers".into());
        assert!(check(&registry, &database, &assumed(&database)).unwrap());
    }
}
