//! What a strategy says of itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

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
