//! What the pod says of the server.

use std::path::PathBuf;

use thiserror::Error;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It takes writes.
    Primary,
    /// It follows.
    Replica,
}

/// What is in the environment. Paths are where the pod mounts them.
#[derive(Clone, Debug)]
pub struct Environment {
    /// `PGOP_ROLE`.
    pub kind: Kind,
    /// `PGOP_OWNER`: `PgCluster/shop/hippo`.
    pub owner: String,
    /// `PGOP_INSTANCE`: name of the server, and of its directory on the claim.
    pub instance: String,
    /// `PGOP_CLAIM`: name of the claim, for what people read.
    pub claim: String,
    /// Settings; a `ConfigMap`.
    pub config: PathBuf,
    /// One directory a Secret.
    pub secrets: PathBuf,
    /// Lives as long as the pod: socket and files of the agent.
    pub run: PathBuf,
    /// The claim.
    pub volume: PathBuf,
    /// Where the last words go.
    pub termination_log: PathBuf,
}

/// Why the environment says nothing.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EnvironmentError {
    /// A variable is missing or empty.
    #[error("the variable {0} is not set: the agent runs in a pod that pgop made")]
    Missing(&'static str),
    /// It is neither `primary` nor `replica`.
    #[error("PGOP_ROLE is `{0}`, and is `primary` or `replica`")]
    Role(String),
}

/// Where the claim is: `PGOP_VOLUME`.
pub fn volume(variable: impl Fn(&str) -> Option<String>) -> PathBuf {
    variable("PGOP_VOLUME").unwrap_or_else(|| "/pgdata".to_owned()).into()
}

/// Where a container's last words go: `PGOP_TERMINATION_LOG`.
pub fn termination_log(variable: impl Fn(&str) -> Option<String>) -> PathBuf {
    let named = variable("PGOP_TERMINATION_LOG");
    named.unwrap_or_else(|| "/dev/termination-log".to_owned()).into()
}

impl Environment {
    /// Reads it from where `variable` finds it.
    ///
    /// ```
    /// use pgop_agent::environment::{Environment, EnvironmentError};
    /// let error = Environment::read(|_| None).unwrap_err();
    /// assert_eq!(error, EnvironmentError::Missing("PGOP_ROLE"));
    /// ```
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, EnvironmentError> {
        let needed = |name: &'static str| {
            let found = variable(name).filter(|text| !text.is_empty());
            found.ok_or(EnvironmentError::Missing(name))
        };
        let home = PathBuf::from(variable("PGOP_HOME").unwrap_or_else(|| "/pgop".to_owned()));
        Ok(Self {
            kind: match needed("PGOP_ROLE")?.as_str() {
                "primary" => Kind::Primary,
                "replica" => Kind::Replica,
                other => return Err(EnvironmentError::Role(other.to_owned())),
            },
            owner: needed("PGOP_OWNER")?,
            instance: needed("PGOP_INSTANCE")?,
            claim: needed("PGOP_CLAIM")?,
            config: home.join("config"),
            secrets: home.join("secrets"),
            run: home.join("run"),
            volume: volume(&variable),
            termination_log: termination_log(&variable),
        })
    }
}
