//! Rules that every strategy has to keep, and a suite that anyone's strategy can be run through.
//!
//! ```
//! use pgop_core::crd::PgCluster;
//! use pgop_strategies::conformance;
//!
//! let registry = pgop_strategies::builtin()?;
//! let strategy = registry.clusters.get("streaming").unwrap();
//! assert_eq!(conformance::check::<PgCluster>(strategy.as_ref()), []);
//! # Ok::<(), pgop_strategies::BundleError>(())
//! ```
//!
//! The suite validates its own [fixtures](Conformant::fixtures) as the operator would, asks the strategy for manifests and looks at them. That
//! a strategy makes nothing outside [`pgop_core::manifest::Kind`] and no unknown field needs no rule: a `Manifest` can't hold them.

mod fixture;
mod hostile;
mod reference;
mod rules;

use std::fmt;

use pgop_core::manifest::{Kind, Manifest};
use pgop_core::owner::Owner;
use pgop_core::strategy::{Description, Names, Strategy};
use pgop_core::validated::Validated;
use serde_json::{Map, Value};

pub use fixture::{Conformant, Fixture, Given};
pub use hostile::{TEXTS, shape};

/// What a strategy has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Its description is complete: a name, a version from 1 on, one line of summary, the schema of an object, and labels for the roles that
    /// the kind has.
    DescribesItself,
    /// It makes manifests of every resource that validation accepts.
    Renders,
    /// It makes the same bytes of the same resource.
    RendersTheSame,
    /// No text that a person typed changes which objects, names and fields there are.
    KeepsStructure,
    /// It makes each object once.
    MakesEachOnce,
    /// The name of each object is made of the resource's name, or, for a claim of backups, of the source's.
    DerivesNames,
    /// The names fit Kubernetes' limits, even for the longest name of a resource.
    FitsNames,
    /// No password is in an environment variable, a command or a `ConfigMap`.
    KeepsPasswordsOut,
    /// Each `StatefulSet` has a container with startup, readiness and liveness probes.
    ProbesServers,
    /// Each selector selects pods of the strategy, and only those of this resource.
    SelectsItsPods,
    /// Each `StatefulSet` names a headless Service that the strategy makes.
    NamesItsService,
    /// The claims and Services that its description names are made.
    KeepsItsNames,
    /// Each image has a tag other than `latest`, or a digest.
    PinsImages,
    /// Whatever an object refers to by name exists, or the strategy makes it; a `RoleBinding` binds a Role of the strategy.
    RefersToWhatExists,
    /// No pod asks for more than the `restricted` Pod Security Standard allows, and no Role gives every right.
    AsksForNoPrivilege,
}

/// A rule that a strategy breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// The fixture that shows it; empty when it does not depend on one.
    pub fixture: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.message)?;
        if self.fixture.is_empty() {
            Ok(())
        } else {
            write!(f, " (fixture {})", self.fixture)
        }
    }
}

/// What a rule looks at: all that a strategy made of one fixture.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) owner: Owner,
    pub(crate) backup_source: Option<String>,
    pub(crate) given: Given,
    /// What its description names: claims and Services that have to be there.
    pub(crate) named: Vec<(Kind, String)>,
    /// The container with the server, where it has one.
    pub(crate) container: Option<String>,
    pub(crate) manifests: Vec<Manifest>,
}

/// Runs every rule on a strategy. An empty list is a pass.
pub fn check<R: Conformant>(strategy: &dyn Strategy<R>) -> Vec<Violation> {
    check_with(strategy, &Map::new())
}

/// The same, with `spec.strategyParameters` for a strategy that can't do without.
pub fn check_with<R: Conformant>(strategy: &dyn Strategy<R>, parameters: &Map<String, Value>) -> Vec<Violation> {
    let description = strategy.description();
    let mut violations: Vec<Violation> = rules::description(R::KIND, description)
        .into_iter()
        .map(|message| Violation {
            rule: Rule::DescribesItself,
            fixture: String::new(),
            message,
        })
        .collect();
    violations.extend(
        R::fixtures()
            .iter()
            .flat_map(|fixture| check_on(strategy, fixture, parameters)),
    );
    violations
}

/// Runs the rules that look at manifests on one fixture, which may be one of your own.
pub fn check_on<R: Conformant>(
    strategy: &dyn Strategy<R>,
    fixture: &Fixture<R>,
    parameters: &Map<String, Value>,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut broken = |rule: Rule, messages: Vec<String>| {
        let fixture = &fixture.name;
        violations.extend(messages.into_iter().map(|message| Violation {
            rule,
            fixture: fixture.clone(),
            message,
        }));
    };
    let mut resource = fixture.resource.clone();
    resource.set_strategy(&strategy.description().name, parameters);
    match case(strategy, &resource, fixture) {
        Err(message) => broken(Rule::Renders, vec![message]),
        Ok((validated, case)) => {
            broken(Rule::RendersTheSame, again(strategy, &validated, &case));
            for (rule, look) in rules::ALL {
                broken(*rule, look(&case));
            }
            broken(Rule::KeepsStructure, hostile::check(strategy, &validated));
            resource.meta_mut().name = Some("n".repeat(R::MAX_NAME));
            match self::case(strategy, &resource, fixture) {
                Err(message) => broken(Rule::Renders, vec![format!("with the longest name: {message}")]),
                Ok((_, case)) => broken(Rule::FitsNames, rules::fits_names(&case)),
            }
        }
    }
    violations
}

fn again<R: Conformant>(strategy: &dyn Strategy<R>, validated: &R::Validated, case: &Case) -> Vec<String> {
    match strategy.manifests(validated) {
        Ok(again) if bytes(&again) == bytes(&case.manifests) => Vec::new(),
        Ok(_) => vec!["two renderings of one resource differ".to_owned()],
        Err(error) => vec![format!("the second rendering failed: {error}")],
    }
}

/// Validates a resource and renders it.
fn case<R: Conformant>(
    strategy: &dyn Strategy<R>,
    resource: &R,
    fixture: &Fixture<R>,
) -> Result<(R::Validated, Case), String> {
    let description: &Description = strategy.description();
    let validated = resource.validate(&fixture.observed, description).map_err(|invalid| {
        let invalid = pgop_core::invalid::summary(&invalid);
        format!("the fixture is refused: {invalid}; if the strategy needs parameters, use check_with")
    })?;
    let manifests = strategy.manifests(&validated).map_err(|error| error.to_string())?;
    let case = Case {
        owner: validated.owner().clone(),
        backup_source: validated.backup_source().map(str::to_owned),
        given: R::given(&validated),
        named: named(&validated, &description.names),
        container: validated.server().map(|_| description.names.container.clone()),
        manifests,
    };
    Ok((validated, case))
}

/// What the description of a strategy says that there is of a resource that runs servers.
fn named<V: Validated>(validated: &V, names: &Names) -> Vec<(Kind, String)> {
    let Some(server) = validated.server() else {
        return Vec::new();
    };
    let (name, replicas) = (&server.owner.name, validated.replicas().unwrap_or(0));
    let mut wanted = vec![(Kind::Service, names.read_write_of(name))];
    if replicas > 0 {
        wanted.push((Kind::Service, names.read_only_of(name)));
    }
    if server.storage.make {
        let of_replicas = (0..replicas).map(|ordinal| names.claim_of_replica(name, ordinal));
        let claims = std::iter::once(names.claim_of(name)).chain(of_replicas);
        wanted.extend(claims.map(|claim| (Kind::PersistentVolumeClaim, claim)));
    }
    wanted
}

fn bytes(manifests: &[Manifest]) -> Vec<(String, Option<&str>)> {
    manifests
        .iter()
        .map(|manifest| (manifest.value().to_string(), manifest.after_job()))
        .collect()
}
