//! What a strategy says of itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::crd::Role;

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
    /// Names of what others have to find.
    pub names: Names,
}

impl Description {
    /// A strategy of that name, with its first version, no parameters, the usual names, and nothing that tells members apart.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            aliases: Vec::new(),
            version: 1,
            summary: String::new(),
            parameters: json!({"type": "object", "additionalProperties": false}),
            members: Members::default(),
            names: Names::default(),
        }
    }
}

/// Names of what others have to find: `{name}` stands for the resource's name, `{ordinal}` for the number of a replica. Nothing else derives them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Names {
    /// Claim of a database, or of a cluster's primary.
    pub claim: String,
    /// Claim of a replica: what a `StatefulSet` makes of the name of its claim template.
    pub replica_claim: String,
    /// Pod of a replica.
    pub replica_pod: String,
    /// Service of the primary.
    pub read_write: String,
    /// Service of the replicas.
    pub read_only: String,
    /// Container that runs the server, in the pods of the members.
    pub container: String,
    /// Directory of the server's socket in that container.
    pub socket: String,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            claim: "{name}-pvc".to_owned(),
            replica_claim: "data-{name}-replica-{ordinal}".to_owned(),
            replica_pod: "{name}-replica-{ordinal}".to_owned(),
            read_write: "{name}".to_owned(),
            read_only: "{name}-replica".to_owned(),
            container: "postgres".to_owned(),
            socket: "/pgop/run".to_owned(),
        }
    }
}

impl Names {
    /// Claim of a database, or of a cluster's primary.
    pub fn claim_of(&self, server: &str) -> String {
        self.claim.replace("{name}", server)
    }

    /// Claim of a replica.
    pub fn claim_of_replica(&self, cluster: &str, ordinal: i32) -> String {
        numbered(&self.replica_claim, cluster, ordinal)
    }

    /// Pod of a replica.
    pub fn pod_of_replica(&self, cluster: &str, ordinal: i32) -> String {
        numbered(&self.replica_pod, cluster, ordinal)
    }

    /// Replication slot of a replica: its pod's name, but slots have no `-`.
    pub fn slot_of_replica(&self, cluster: &str, ordinal: i32) -> String {
        self.pod_of_replica(cluster, ordinal).replace('-', "_")
    }

    /// Service of the primary.
    pub fn read_write_of(&self, server: &str) -> String {
        self.read_write.replace("{name}", server)
    }

    /// Service of the replicas.
    pub fn read_only_of(&self, cluster: &str) -> String {
        self.read_only.replace("{name}", cluster)
    }

    /// The name that can't be used, and why.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let all = [
            ("names.claim", &self.claim, false),
            ("names.replicaClaim", &self.replica_claim, true),
            ("names.replicaPod", &self.replica_pod, true),
            ("names.readWrite", &self.read_write, false),
            ("names.readOnly", &self.read_only, false),
        ];
        if !self.socket.starts_with('/') {
            return Err(("names.socket", "is no directory: give its whole path"));
        }
        if self.container.is_empty() {
            return Err(("names.container", "is empty"));
        }
        for (field, name, is_numbered) in all {
            if !name.contains("{name}") {
                return Err((field, "has no `{name}`: two resources would share it"));
            }
            if is_numbered && !name.contains("{ordinal}") {
                return Err((field, "has no `{ordinal}`: two replicas would share it"));
            }
        }
        Ok(())
    }
}

fn numbered(pattern: &str, cluster: &str, ordinal: i32) -> String {
    pattern
        .replace("{name}", cluster)
        .replace("{ordinal}", &ordinal.to_string())
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

impl Members {
    /// Told apart by the label `pgop.dev/role`, as in the built-in strategies.
    pub fn by_role() -> Self {
        let of = |role: Role| [("pgop.dev/role".to_owned(), role.as_str().to_owned())].into();
        Self {
            primary: of(Role::Primary),
            replica: of(Role::Replica),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::MAX_SERVER_NAME;

    #[test]
    fn every_default_name_fits_a_label() {
        let (names, longest) = (Names::default(), "a".repeat(MAX_SERVER_NAME));
        let made = [
            names.claim_of(&longest),
            names.claim_of_replica(&longest, 49),
            names.slot_of_replica(&longest, 49),
            names.read_only_of(&longest),
            format!("{}-{}", names.read_only_of(&longest), "0123456789"), // controller-revision-hash
        ];
        for name in made {
            assert!(name.len() <= 63, "{name}");
        }
        assert_eq!(names.slot_of_replica("hippo", 1), "hippo_replica_1");
        assert_eq!(names.check(), Ok(()));
    }

    #[test]
    fn a_name_that_two_would_share_is_refused() {
        let shared = Names {
            replica_claim: "{name}-data".to_owned(),
            ..Names::default()
        };
        assert_eq!(shared.check().unwrap_err().0, "names.replicaClaim");
        let shared = Names {
            claim: "data".to_owned(),
            ..Names::default()
        };
        assert_eq!(shared.check().unwrap_err().0, "names.claim");
        let elsewhere = Names {
            socket: "run".to_owned(),
            ..Names::default()
        };
        assert_eq!(elsewhere.check().unwrap_err().0, "names.socket");
    }
}
