//! What step 1 found, as plain data: the only thing the pure steps know of the cluster.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use crate::crd::{LastBackup, PgCluster, PgDatabase, Source};
use crate::kind::Kind;
use crate::owner::ResourceKind;

/// All that the pure steps may know of the cluster.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The objects and pods made for the resource.
    pub live: Live,
    /// Claims that the spec names; `None` where there is none of that name.
    pub claims: BTreeMap<String, Option<ClaimFacts>>,
    /// Secrets that the spec names.
    pub secrets: BTreeMap<String, SecretFacts>,
    /// The source of a backup; `None` when it does not exist, or the resource is no backup.
    pub source: Option<SourceFacts>,
    /// The newest snapshot of the resource.
    pub last_backup: Option<LastBackup>,
}

/// The objects that carry a resource's label.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// By kind and name.
    pub objects: BTreeMap<(Kind, String), Value>,
    /// Metadata of the Secrets, by name. The engine never keeps their data.
    pub secrets: BTreeMap<String, Value>,
    /// The pods.
    pub pods: Vec<Pod>,
}

impl Live {
    /// One object.
    pub fn get(&self, kind: Kind, name: &str) -> Option<&Value> {
        self.objects.get(&(kind, name.to_owned()))
    }

    /// What is this very resource's own: not what a deleted one of the same name left, nor what another made with our labels. Claims are
    /// nobody's.
    #[must_use]
    pub fn own(&self, uid: &str) -> Self {
        let is_own = |value: &Value| controller_uid(value) == Some(uid);
        let objects: BTreeMap<_, _> = self
            .objects
            .iter()
            .filter(|((kind, _), value)| *kind == Kind::PersistentVolumeClaim || is_own(value))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let mut uids: BTreeSet<&str> = objects.values().filter_map(uid_of).collect();
        // Between a CronJob and its pods there is a Job, and between a Deployment and its pods a ReplicaSet, which nobody watches.
        let jobs = self.objects.iter().filter(|((kind, _), _)| *kind == Kind::Job);
        let of_own = jobs.filter(|(_, job)| controller_uid(job).is_some_and(|uid| uids.contains(uid)));
        uids.extend(of_own.filter_map(|(_, job)| uid_of(job)).collect::<Vec<_>>());
        let is_made_by_own = |pod: &&Pod| {
            let mut owners = pod.metadata.owner_references.iter().flatten();
            owners.any(|owner| {
                let of_deployment = || Some(owner.name.rsplit_once('-')?.0).filter(|_| owner.kind == "ReplicaSet");
                owner.controller == Some(true)
                    && (uids.contains(owner.uid.as_str())
                        || of_deployment()
                            .is_some_and(|name| objects.contains_key(&(Kind::Deployment, name.to_owned()))))
            })
        };
        let pods = self.pods.iter().filter(is_made_by_own).cloned().collect();
        Self {
            pods,
            secrets: self.secrets.clone(),
            objects,
        }
    }

    /// Whether a Job ended, and how: `Some(true)` is success.
    pub fn job_result(&self, name: &str) -> Option<bool> {
        let conditions = self.get(Kind::Job, name)?.pointer("/status/conditions")?.as_array()?;
        conditions.iter().find_map(|condition| {
            let is_true = condition.get("status").and_then(Value::as_str) == Some("True");
            match condition.get("type").and_then(Value::as_str) {
                Some("Complete") if is_true => Some(true),
                Some("Failed") if is_true => Some(false),
                _ => None,
            }
        })
    }
}

fn uid_of(value: &Value) -> Option<&str> {
    value.pointer("/metadata/uid")?.as_str()
}

/// The reference of the object's controller.
pub(crate) fn controller(value: &Value) -> Option<&Value> {
    let references = value.pointer("/metadata/ownerReferences")?.as_array()?;
    references
        .iter()
        .find(|reference| reference.get("controller") == Some(&Value::Bool(true)))
}

/// Uid of the controller that an object's metadata name.
pub(crate) fn controller_uid_of(meta: &ObjectMeta) -> Option<&str> {
    let mut owners = meta.owner_references.iter().flatten();
    Some(owners.find(|owner| owner.controller == Some(true))?.uid.as_str())
}

/// Uid of the object's controller.
pub(crate) fn controller_uid(value: &Value) -> Option<&str> {
    controller(value)?.get("uid")?.as_str()
}

/// Names that a spec mentions and that are not ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Foreign {
    /// Claims.
    pub claims: Vec<String>,
    /// Secrets.
    pub secrets: Vec<String>,
    /// The source of a backup.
    pub source: Option<Source>,
}

/// What matters of a claim that pgop did not make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimFacts {
    /// It is being deleted.
    pub deleting: bool,
    /// The database or cluster that it was made for, where its labels name one: `PgCluster hippo`.
    pub data_of: Option<String>,
}

impl ClaimFacts {
    /// What a claim's metadata tells.
    pub fn of(meta: &ObjectMeta) -> Self {
        let label = |kind: ResourceKind| Some((kind, meta.labels.as_ref()?.get(kind.label())?));
        let whose = [ResourceKind::PgDatabase, ResourceKind::PgCluster]
            .into_iter()
            .find_map(label);
        Self {
            deleting: meta.deletion_timestamp.is_some(),
            data_of: whose.map(|(kind, name)| format!("{} {name}", kind.as_str())),
        }
    }
}

/// What matters of a Secret that a person made. Its values are looked at and forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretFacts {
    /// There is none of that name.
    Missing,
    /// It has no such key, or nothing in it.
    NoKey(&'static str),
    /// The password has a line break or a NUL, which no client can send.
    UnusablePassword,
    /// It has both keys.
    Usable {
        /// Name of the role.
        username: String,
    },
}

impl SecretFacts {
    /// What its data says. A password is any bytes that a client can send, as for the agent (`pgop-agent/src/secret.rs`); a name is text.
    #[must_use]
    pub fn of(data: &BTreeMap<String, ByteString>) -> Self {
        let bytes = |key: &str| data.get(key).map_or(&[][..], |bytes| bytes.0.as_slice());
        let (username, password) = (std::str::from_utf8(bytes("username")), bytes("password"));
        let Some(username) = username.ok().filter(|name| !name.is_empty()) else {
            return Self::NoKey("username");
        };
        if password.is_empty() {
            return Self::NoKey("password");
        }
        if password.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0)) {
            return Self::UnusablePassword;
        }
        Self::Usable {
            username: username.to_owned(),
        }
    }
}

/// The source of a backup.
#[derive(Clone, Debug)]
pub enum SourceFacts {
    /// A database.
    Database(Box<PgDatabase>),
    /// A cluster.
    Cluster(Box<PgCluster>),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The inputs are those of `pgop-agent/src/secret.rs`.
    #[test]
    fn a_password_is_what_a_client_can_send() {
        let facts = |username: &[u8], password: &[u8]| {
            let data = [("username", username), ("password", password)];
            let data = data.map(|(key, bytes)| (key.to_owned(), ByteString(bytes.to_vec())));
            SecretFacts::of(&data.into())
        };
        let usable = SecretFacts::Usable {
            username: "app".to_owned(),
        };
        for fine in [&b"geheim"[..], b" geheim\t", "p\u{e4}\u{20ac}".as_bytes(), b"\xff\xfe"] {
            assert_eq!(facts(b"app", fine), usable);
        }
        for broken in [&b"geheim\n"[..], b"abc\r\n", b"abc\r", b"a\nb", b"\n", b"a\0b"] {
            assert_eq!(facts(b"app", broken), SecretFacts::UnusablePassword);
        }
        assert_eq!(facts(b"app", b""), SecretFacts::NoKey("password"));
        assert_eq!(facts(b"\xff", b"geheim"), SecretFacts::NoKey("username"));
        assert_eq!(SecretFacts::of(&BTreeMap::new()), SecretFacts::NoKey("username"));
    }
}
