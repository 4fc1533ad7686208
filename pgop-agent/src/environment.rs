//! What the pod says of the server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

mod job;

pub use job::{Backup, Checkpoint, Restore, Target};

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
    /// `PGOP_OWNER_UID`: of the resource. One that is made again under its name is another. Pods of an older pgop don't have it.
    pub owner_uid: Option<String>,
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
    /// `PGOP_GRACE_SECONDS`: how long after it is asked to end the pod is killed; Kubernetes' own default where it is not set.
    pub grace: Duration,
    /// `PGOP_HTTP`: where probes and metrics are answered.
    pub http: SocketAddr,
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
    /// A variable says something that can't be done.
    #[error("{name} is `{value}`: {wants}")]
    Value {
        /// The variable.
        name: &'static str,
        /// What it says.
        value: String,
        /// What it has to be.
        wants: &'static str,
    },
}

/// Patroni's port, which people who run `PostgreSQL` know; neither the operator's (8080) nor `postgres_exporter`'s (9187), which may be in the pod too.
const HTTP: &str = "[::]:8008";
/// Lives as long as the pod: below `PGOP_HOME`.
pub fn run(variable: impl Fn(&str) -> Option<String>) -> PathBuf {
    let home = variable("PGOP_HOME").unwrap_or_else(|| "/pgop".to_owned());
    PathBuf::from(home).join("run")
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
            owner_uid: variable("PGOP_OWNER_UID").filter(|uid| !uid.is_empty()),
            owner: needed("PGOP_OWNER")?,
            instance: needed("PGOP_INSTANCE")?,
            claim: needed("PGOP_CLAIM")?,
            config: home.join("config"),
            secrets: home.join("secrets"),
            run: home.join("run"),
            grace: match variable("PGOP_GRACE_SECONDS") {
                None => Duration::from_secs(30),
                Some(text) => Duration::from_secs(text.parse().map_err(|_| EnvironmentError::Value {
                    name: "PGOP_GRACE_SECONDS",
                    value: text,
                    wants: "a number of seconds",
                })?),
            },
            http: {
                let text = variable("PGOP_HTTP").unwrap_or_else(|| HTTP.to_owned());
                text.parse().map_err(|_| EnvironmentError::Value {
                    name: "PGOP_HTTP",
                    value: text,
                    wants: "an address with a port, such as `[::]:8008` or `0.0.0.0:8008`",
                })?
            },
            volume: volume(&variable),
            termination_log: termination_log(&variable),
        })
    }

    /// The replication slot of this server at its primary.
    pub fn slot(&self) -> String {
        self.instance.replace('-', "_")
    }
}
