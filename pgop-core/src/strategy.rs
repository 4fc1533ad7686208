//! Strategies: the named, pluggable units that decide what a resource becomes.
//!
//! A strategy returns data and does no IO. It is the only path by which anything is created.

use std::error::Error;
use std::fmt::Debug;

use thiserror::Error;

use crate::assessment::Assessment;
use crate::manifest::{Manifest, ManifestError};
use crate::observed::Live;
use crate::owner::ResourceKind;
use crate::roll::Roll;
use crate::validated::Checked;

pub use crate::description::{Description, Members, Names};

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
pub trait Strategy<R: Checked>: Debug + Send + Sync {
    /// What it is.
    fn description(&self) -> &Description;

    /// The desired objects: the same input gives the same bytes. Templates leave out metadata that every object has (namespace,
    /// owner, common labels) and what every pod has (security, scheduling); the planner adds it.
    fn manifests(&self, validated: &R::Validated) -> Result<Vec<Manifest>, StrategyError>;

    /// What has to be done next, one thing at a time. It is asked when all that pods start from is as it should be, and again after the step; where
    /// nothing comes, nothing is done. The default restarts the servers whose `StatefulSet` has `updateStrategy: OnDelete` and that are not as the
    /// spec says: replicas before their primary, each ready before the next ([`crate::roll`]).
    fn next(&self, validated: &R::Validated, live: &Live) -> Option<Step> {
        let _ = validated;
        let roll = Roll::of(self.description(), live);
        let why = roll.sentence()?;
        Some(Step::RestartPod { pod: roll.next?, why })
    }

    /// What the live objects amount to. The default reads the pods' conditions and the Jobs' results, which fits any strategy whose
    /// members are pods with honest readiness probes.
    fn assess(&self, validated: &R::Validated, live: &Live) -> Assessment {
        crate::assessment::assess(R::KIND, self.description(), validated, live)
    }
}

/// One thing to do at a time of the strategy's choosing, and why: the plan shows it, and the status tells it.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Delete a pod, so that its `StatefulSet` makes it anew.
    RestartPod {
        /// Its name.
        pod: String,
        /// Why, such as `hippo-replica-0 takes over new settings`.
        why: String,
    },
    /// Apply an object that is not among the desired ones, such as one that asks for a switchover. It goes with the resource, and the strategy's own
    /// containers may change or remove it.
    Apply {
        /// The object.
        manifest: Box<Manifest>,
        /// Why.
        why: String,
    },
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
