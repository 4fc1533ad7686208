//! What a primary looks after: roles, passwords, its database, and the slots of its replicas.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use super::{AGAIN, Agent, Part};
use crate::peer::PeerError;
use crate::secret::{self, Login, SecretError};
use crate::sql::Roles;
use crate::supervisor::{InForce, Time, Tried};
use crate::volume::Op;

/// A slot of ours that no list has named goes when it has been so for this long: the list that is mounted may be older than the replica. One that an earlier
/// list named goes at once: lists only get newer.
const UNLISTED: Duration = Duration::from_secs(300);

/// What has been done on the server that runs.
#[derive(Debug, Default)]
pub struct PrimaryPart {
    /// Digest of the Secrets as they are in force.
    roles: Option<u64>,
    /// Digest of those that could not be set, and why.
    refused: Option<(u64, String)>,
    slots: Option<String>,
    unlisted: BTreeMap<String, Time>,
    /// What a list has named since this agent started.
    once_listed: BTreeSet<String>,
}

impl PrimaryPart {
    /// Whether roles are what the Secrets say, which have this digest.
    pub fn roles(&self, wanted: u64) -> InForce {
        match &self.refused {
            _ if self.roles == Some(wanted) => InForce::Yes,
            Some((tried, words)) if *tried == wanted => InForce::Failed(words.clone()),
            // Of others nobody knows yet what becomes of them.
            _ => InForce::NotYet,
        }
    }

    /// Whether slots are those of this list.
    pub fn has_slots(&self, wanted: Option<&str>) -> bool {
        wanted.is_none() || self.slots.as_deref() == wanted
    }

    /// What was done is to be done again. Which slots were listed is still true, and the next server may see the next list first.
    pub fn server_ended(&mut self) {
        *self = Self {
            once_listed: std::mem::take(&mut self.once_listed),
            ..Self::default()
        };
    }

    /// Nothing is left of a start.
    pub fn is_settled(&self) -> bool {
        self.roles.is_some()
    }

    /// Those that the list names no longer, or that none has named for long enough. What is idle and unlisted now is remembered.
    fn forgotten(&mut self, idle: Vec<String>, listed: &[String], now: Time) -> Vec<String> {
        let unlisted = idle.into_iter().filter(|name| !listed.contains(name));
        self.unlisted = unlisted
            .map(|name| {
                let since = self.unlisted.get(&name).copied().unwrap_or(now);
                (name, since)
            })
            .collect();
        let is_old = |since: &Time| now.saturating_sub(*since) >= UNLISTED;
        let unlisted = self.unlisted.iter();
        let old = unlisted.filter(|(name, since)| self.once_listed.contains(*name) || is_old(since));
        let old = old.map(|(name, _)| name.clone()).collect();
        self.once_listed.extend(listed.iter().cloned());
        old
    }
}

impl Agent {
    fn roles_wanted(&self) -> Result<Roles, String> {
        let login = |role| self.login(role).map_err(|error| error.to_string());
        Ok(Roles {
            superuser: login("superuser")?,
            replication: login("replication")?,
            user: login("user")?,
            database: self.word("database").ok_or("the ConfigMap lacks `database`")?,
        })
    }

    /// Of the Secret that is mounted for a role.
    pub(super) fn login(&self, role: &str) -> Result<Login, SecretError> {
        secret::login(&self.environment.secrets, role)
    }

    /// What the Secrets hold, good or not: what has not changed is not tried more often than every few seconds.
    pub(super) fn roles_digest(&self) -> u64 {
        digest(&self.roles_wanted())
    }

    pub(super) async fn sync_roles(&mut self) {
        let session = self.server.as_ref().and_then(|server| server.session.as_ref());
        let wanted = self.roles_wanted();
        // Of what is set, and not of what the Secrets hold by then.
        let digest = digest(&wanted);
        let set = match (session, &wanted) {
            (_, Err(words)) => Err(words.clone()),
            (None, _) => Err("no connection is free".to_owned()),
            (Some(session), Ok(roles)) => session.set(roles).await.map_err(|error| error.to_string()),
        };
        if set.is_ok()
            && let Err(error) = Op::Remove(self.path(super::ROLES_PENDING)).run()
        {
            tracing::warn!("{error}");
        }
        match (set, &mut self.part) {
            (Ok(()), Part::Primary(part)) => {
                tracing::info!("roles and passwords are as the Secrets say");
                (part.roles, part.refused) = (Some(digest), None);
                self.tries.0.remove(&Tried::Roles);
            }
            (Ok(()), Part::Replica(_)) => {}
            (Err(words), part) => {
                tracing::warn!(
                    "roles could not be set and are tried again in {} s: {words}",
                    AGAIN.as_secs()
                );
                if let Part::Primary(part) = part {
                    part.refused = Some((digest, words));
                }
                self.tries.0.insert(Tried::Roles, self.began.elapsed() + AGAIN);
            }
        }
    }

    pub(super) async fn sync_slots(&mut self) {
        self.tries.0.insert(Tried::Slots, self.began.elapsed() + AGAIN);
        let (now, wanted) = (self.now(), self.config("slots"));
        let listed = names(wanted.as_deref().unwrap_or_default());
        let prefix = format!("{}_replica_", self.environment.slot());
        let session = self.server.as_ref().and_then(|server| server.session.as_ref());
        let (Some(session), Part::Primary(part)) = (session, &mut self.part) else {
            return;
        };
        let synced = async {
            session.make_slots(&listed).await?;
            let forgotten = part.forgotten(session.idle_slots(&prefix).await?, &listed, now);
            session.drop_slots(&forgotten).await?;
            Ok::<_, PeerError>(forgotten)
        };
        match synced.await {
            Err(error) => tracing::warn!("slots could not be made: {error}"),
            Ok(dropped) => {
                for name in &dropped {
                    tracing::info!("dropped slot {name}, whose replica is gone");
                    part.unlisted.remove(name);
                }
                if part.unlisted.is_empty() {
                    part.slots = wanted;
                }
            }
        }
    }
}

fn digest(wanted: &Result<Roles, String>) -> u64 {
    let mut hasher = DefaultHasher::new();
    wanted.hash(&mut hasher);
    hasher.finish()
}

/// Slots that a list names.
fn names(list: &str) -> Vec<String> {
    let names = list.split([' ', '"', '\n']).filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

/// Random: two restores of one snapshot must not be taken for each other.
pub fn new_lineage() -> String {
    format!("{:032x}", rand::random::<u128>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_goes_when_no_list_has_named_it_for_five_minutes() {
        let mut part = PrimaryPart::default();
        let (slot, listed) = ("hippo_replica_1".to_owned(), "hippo_replica_0".to_owned());
        let mut at = |seconds, idle: &[&String], list: &[String]| {
            let idle = idle.iter().map(|name| (*name).clone()).collect();
            part.forgotten(idle, list, Duration::from_secs(seconds))
        };
        let list = std::slice::from_ref(&listed);
        assert!(at(0, &[&listed, &slot], list).is_empty());
        assert!(at(299, &[&slot], list).is_empty());
        assert_eq!(at(300, &[&slot], list), std::slice::from_ref(&slot));
        assert!(at(301, &[], list).is_empty(), "its replica has come");
        assert!(at(700, &[&slot], list).is_empty(), "and it counts anew");
        let both = [listed.clone(), slot.clone()];
        assert!(at(999, &[&slot], &both).is_empty());
        assert_eq!(
            at(1000, &[&slot], list),
            [slot],
            "a list that had it was followed by one that has it not"
        );
    }

    #[test]
    fn a_slot_goes_with_the_list_also_when_the_server_was_started_again_meanwhile() {
        let mut part = PrimaryPart::default();
        let both = ["hippo_replica_0", "hippo_replica_1"].map(str::to_owned);
        part.slots = Some("both".to_owned());
        assert!(part.forgotten(Vec::new(), &both, Duration::ZERO).is_empty());
        part.server_ended();
        assert!(!part.has_slots(Some("both")), "another server is looked at");
        let gone = part.forgotten(vec![both[1].clone()], &both[..1], Duration::from_secs(1));
        assert_eq!(gone, both[1..]);
    }

    #[test]
    fn a_secret_that_was_mended_is_not_what_has_failed() {
        let mut part = PrimaryPart {
            roles: Some(1),
            ..PrimaryPart::default()
        };
        assert_eq!(part.roles(1), InForce::Yes);
        part.refused = Some((2, "a line break".to_owned()));
        assert_eq!(part.roles(2), InForce::Failed("a line break".to_owned()));
        assert_eq!(part.roles(3), InForce::NotYet);
        assert_eq!(part.roles(1), InForce::Yes, "the former one was put back");
    }

    #[test]
    fn what_secrets_hold_is_told_apart_good_or_not() {
        let bad = |words: &str| digest(&Err(words.to_owned()));
        assert_eq!(bad("a line break"), bad("a line break"));
        assert_ne!(bad("a line break"), bad("no password"));
    }

    #[test]
    fn a_list_is_read_as_the_template_writes_it() {
        assert_eq!(
            names("\"hippo_replica_0\"\n\"hippo_replica_1\"\n"),
            ["hippo_replica_0", "hippo_replica_1"]
        );
        assert!(names("").is_empty());
    }
}
