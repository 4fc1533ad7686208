//! Strategies: the named, pluggable units that decide what a resource becomes.
//!
//! A strategy returns data and does no IO. It is the only path by which anything is created.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Debug;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::assessment::Assessment;
use crate::manifest::{Manifest, ManifestError};
use crate::observed::Live;
use crate::resource::{Managed, ResourceKind};

/// What a strategy is, as `strategy.yaml` of a bundle says it.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// Its name in `spec.strategy`.
    pub name: String,
    /// Other names; `1` is v1.0.0's name of the default one.
    pub aliases: Vec<String>,
    /// Version of what it renders; it is written to the status.
    pub version: i64,
    /// One line for people.
    pub summary: String,
    /// JSON schema of `spec.strategyParameters`.
    pub parameters: Value,
    /// Labels that tell the members apart.
    pub members: Members,
}

/// Labels of the pods of each role; empty where there is no such role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Members {
    /// Labels of the primary's pod.
    #[serde(default)]
    pub primary: BTreeMap<String, String>,
    /// Labels of the replicas' pods.
    #[serde(default)]
    pub replica: BTreeMap<String, String>,
}

impl Description {
    /// Checks `spec.strategyParameters` against the schema and fills in its defaults. An error names the parameter.
    pub fn check_parameters(&self, given: &Map<String, Value>) -> Result<Map<String, Value>, (String, String)> {
        let mut parameters = given.clone();
        if let Some(properties) = self.parameters.get("properties").and_then(Value::as_object) {
            for (name, schema) in properties {
                if let (false, Some(default)) = (parameters.contains_key(name), schema.get("default")) {
                    parameters.insert(name.clone(), default.clone());
                }
            }
        }
        let instance = Value::Object(parameters);
        let validator = jsonschema::validator_for(&self.parameters).map_err(|e| (String::new(), e.to_string()))?;
        if let Some(error) = validator.iter_errors(&instance).next() {
            return Err((error.instance_path().to_string().replace('/', "."), error.to_string()));
        }
        match instance {
            Value::Object(parameters) => Ok(parameters),
            _ => Ok(Map::new()),
        }
    }
}

/// A named way to turn a resource into Kubernetes objects.
///
/// ```
/// # use pgop_core::{crd::PgDatabase, manifest::Manifest, strategy::*, validated::ValidatedDatabase};
/// #[derive(Debug)]
/// struct JustAService(Description);
///
/// impl Strategy<PgDatabase> for JustAService {
///     fn description(&self) -> &Description {
///         &self.0
///     }
///
///     fn manifests(&self, database: &ValidatedDatabase) -> Result<Vec<Manifest>, StrategyError> {
///         let service = serde_json::json!({
///             "apiVersion": "v1", "kind": "Service", "metadata": {"name": database.server.owner.name},
///             "spec": {"ports": [{"port": database.server.port, "protocol": "TCP"}]}
///         });
///         Ok(vec![Manifest::from_value(service)?])
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a strategy for `{R}`",
    note = "implement `Strategy<{R}>`, or load a folder of templates with `pgop_strategies::bundle`"
)]
pub trait Strategy<R: Managed>: Debug + Send + Sync {
    /// What it is.
    fn description(&self) -> &Description;

    /// The desired objects: the same input gives the same bytes. Templates leave out metadata that every object has (namespace,
    /// owner, common labels) and what every pod has (security, scheduling); the planner adds it.
    fn manifests(&self, validated: &R::Validated) -> Result<Vec<Manifest>, StrategyError>;

    /// What the live objects amount to. The default reads the pods' conditions and the Jobs' results, which fits any strategy whose
    /// members are pods with honest readiness probes.
    fn assess(&self, validated: &R::Validated, live: &Live) -> Assessment {
        crate::assessment::assess(R::KIND, self.description(), validated, live)
    }
}

/// What a strategy can fail with.
#[derive(Debug, Error)]
pub enum StrategyError {
    /// It made something that is no manifest.
    #[error("strategy made a wrong manifest: {0}")]
    Manifest(#[from] ManifestError),
    /// A template could not be rendered.
    #[error("template {template} could not be rendered: {source}")]
    Render {
        /// File of the template.
        template: String,
        /// Line and reason.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A rendered template is not what it should be.
    #[error("template {template} made a wrong manifest: {source}")]
    Rendered {
        /// File of the template.
        template: String,
        /// What is wrong.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Anything else, in the strategy's own words.
    #[error("{0}")]
    Other(String),
}

/// A strategy that nobody knows.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("there is no strategy `{name}` for a {}; there is: {}", kind.as_str(), known.join(", "))]
pub struct UnknownStrategy {
    /// What was asked for.
    pub name: String,
    /// For what kind.
    pub kind: ResourceKind,
    /// What there is.
    pub known: Vec<String>,
}
