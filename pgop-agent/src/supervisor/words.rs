//! What a person reads: the last words of a container, and the conditions of its pod.

use std::fmt;

use super::act::{End, Job};
use super::seen::{InForce, Need, Primary, Role, Seen, Server, Slot, Up, Verdict, Volume};

/// Where a server's data is, as a person finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The resource: `PgCluster/shop/hippo`.
    pub resource: String,
    /// The claim.
    pub claim: String,
    /// The server's directory on it.
    pub directory: String,
    /// Nobody else's data is on the claim, so that it may be deleted for this server's.
    pub alone: bool,
    /// Its data is a copy of the primary's.
    pub copy: bool,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "directory {} on claim {}", self.directory, self.claim)
    }
}

impl Place {
    /// How to have a replica copy its primary anew.
    fn anew(&self) -> String {
        let what = if self.alone {
            format!("claim {}", self.claim)
        } else {
            self.to_string()
        };
        format!("delete {what} and then this pod, and the replica copies its primary anew")
    }

    /// What `PostgreSQL`'s programs can't work with, in their words, and what to do where the data is why.
    pub fn broken(&self, words: &str) -> String {
        let mend = if self.copy {
            self.anew()
        } else {
            "restore a backup under a new name".to_owned()
        };
        format!("PostgreSQL does not start in {self}: {words}; if the data is damaged, {mend}")
    }
}

impl End {
    /// One line: what happened, to what, and what to do.
    pub fn words(&self, place: &Place) -> String {
        match self {
            Self::Asked => "stopped".to_owned(),
            Self::InUse => format!(
                "{place} is in use by another pod: two servers must never share a data directory; stop the other one first"
            ),
            Self::BelongsTo(other) => format!(
                "{place} belongs to {other}, not to {}: use another claim, or remove that directory if its data is of no use",
                place.resource
            ),
            Self::NoDatabase => {
                format!("{place} holds something that is no PostgreSQL database: move it away, or use another claim")
            }
            Self::OtherMajor { data, image } => format!(
                "{place} was written by PostgreSQL {data} and the image has {image}: use an image of PostgreSQL {data} (a major upgrade needs dump and restore, or pg_upgrade)"
            ),
            Self::Vanished => format!(
                "there is no database in {place}, though there was one, or one was to be restored: bring the volume back, or restore a backup under a new name; no empty database is made in its place"
            ),
            Self::IsReplica => format!(
                "{place} holds standby.signal, so it is a replica's and is not started as a primary: if this data is to be the primary's, remove that file"
            ),
            Self::IsPrimary => format!(
                "{place} has no standby.signal, so it was promoted or is a primary's, and is not started as a replica: if it is of no use, {}",
                place.anew()
            ),
            Self::ForeignRecovery => format!(
                "{place} holds a recovery.signal that no restore of ours wrote, and would recover or wait in place of serving: remove that file, or restore through the resource"
            ),
            Self::OtherHistory => format!(
                "{place} has another history than the primary and is not wiped, as it may be the only copy: if it is of no use, {}",
                place.anew()
            ),
            Self::DoesNotStart(words) => place.broken(words),
        }
    }
}

/// One condition of the pod. Its sentence is there also when all is well.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Condition {
    /// What it is about: `SettingsInForce`, `RolesInForce`, `Following` or `Space`.
    pub about: &'static str,
    /// Nothing where nobody can tell.
    pub holds: Option<bool>,
    /// One word for machines.
    pub reason: &'static str,
    /// One sentence.
    pub message: String,
}

/// What the pod's conditions say.
pub fn conditions(seen: &Seen) -> Vec<Condition> {
    let mut all = vec![settings(seen)];
    match &seen.role {
        Role::Primary { roles, .. } => all.push(in_force(roles)),
        Role::Replica { primary } => all.push(following(seen, primary)),
    }
    all.push(space(&seen.volume));
    all
}

fn condition(
    about: &'static str,
    holds: impl Into<Option<bool>>,
    reason: &'static str,
    message: impl Into<String>,
) -> Condition {
    Condition {
        about,
        holds: holds.into(),
        reason,
        message: message.into(),
    }
}

fn settings(seen: &Seen) -> Condition {
    const ABOUT: &str = "SettingsInForce";
    match (&seen.verdict, &seen.server) {
        (Verdict::Bad(words), Server::Up(_)) => condition(
            ABOUT,
            false,
            "Refused",
            format!("the server goes on with its former settings: {words}"),
        ),
        (Verdict::Bad(words), Server::Down { .. }) => {
            let before = if seen.kept.is_some() {
                "it starts with its former settings"
            } else {
                "nothing was started"
            };
            condition(ABOUT, false, "Refused", format!("{before}: {words}"))
        }
        (_, Server::Up(up)) if up.settings == seen.wanted => in_use(up, &seen.volume),
        (Verdict::Unknown, _) => condition(ABOUT, None, "Checking", "PostgreSQL reads them"),
        (Verdict::Good, _) => condition(ABOUT, None, "Applying", "they are being put in force"),
    }
}

/// Of a server that was told to read them.
fn in_use(up: &Up, volume: &Volume) -> Condition {
    const ABOUT: &str = "SettingsInForce";
    // A start brings what ALTER SYSTEM has set into force, which is no reason to ask for one.
    let waiting: Vec<&str> = up
        .waits
        .iter()
        .map(String::as_str)
        .filter(|name| !volume.overrides.iter().any(|set| set == name))
        .collect();
    let waits = format!("the former value holds until the next start: {}", waiting.join(", "));
    match &up.refused {
        Some(words) if up.reading => {
            let message = format!("the server goes on with its former settings: {words}");
            return condition(ABOUT, false, "Refused", message);
        }
        Some(words) => {
            let waits = if waiting.is_empty() {
                String::new()
            } else {
                format!("; {waits}")
            };
            let message = format!("the server goes on without: {words}{waits}");
            return condition(ABOUT, false, "Refused", message);
        }
        None if up.reading => return condition(ABOUT, None, "Applying", "they are being put in force"),
        None => {}
    }
    if !waiting.is_empty() {
        return condition(ABOUT, false, "RestartNeeded", waits);
    }
    if !up.in_vain.is_empty() {
        let message = format!(
            "pgop sets {} itself, whatever postgresql.conf says: take it out there",
            up.in_vain.join(", ")
        );
        return condition(ABOUT, false, "InVain", message);
    }
    let mut says = vec!["the server has read them".to_owned()];
    if !up.held.is_empty() {
        let held = up.held.join(", ");
        says.push(format!("a replica needs what its primary has: {held}"));
    }
    if up.read_only {
        let words =
            "with default_transaction_read_only = on a transaction that does not ask for READ WRITE can't write";
        says.push(words.to_owned());
    }
    let message = says.join("; ");
    overridden(volume).unwrap_or_else(|| condition(ABOUT, true, "InForce", message))
}

/// What ALTER SYSTEM has to do with it.
fn overridden(volume: &Volume) -> Option<Condition> {
    let message = if !volume.overrides.is_empty() {
        format!(
            "ALTER SYSTEM has set {}, which counts more than the resource: ALTER SYSTEM RESET ends that",
            volume.overrides.join(", ")
        )
    } else if let Some(what) = &volume.set_aside {
        format!(
            "the server does not start with what ALTER SYSTEM had set, {what}; that is in postgresql.auto.conf.refused beside its data now: read it, and remove the file"
        )
    } else {
        return None;
    };
    Some(condition("SettingsInForce", false, "Overridden", message))
}

fn in_force(roles: &InForce) -> Condition {
    const ABOUT: &str = "RolesInForce";
    match roles {
        InForce::Yes => condition(
            ABOUT,
            true,
            "InForce",
            "roles, passwords and database are as the Secrets say",
        ),
        InForce::NotYet => condition(ABOUT, None, "Pending", "they are set when the server takes connections"),
        InForce::Failed(words) => condition(ABOUT, false, "Failed", format!("the former ones go on: {words}")),
    }
}

fn following(seen: &Seen, primary: &Primary) -> Condition {
    const ABOUT: &str = "Following";
    if let Some(running) = seen.running.filter(|running| running.job == Job::Clone) {
        let copies = if running.cancelled {
            "the copy of the primary is being given up"
        } else {
            "it copies the primary"
        };
        return condition(ABOUT, false, "Copying", copies);
    }
    match primary {
        Primary::Unasked => condition(ABOUT, None, "Starting", "it begins to follow"),
        Primary::Away(why) => condition(
            ABOUT,
            false,
            "PrimaryAway",
            format!("the primary does not answer: {why}"),
        ),
        Primary::There { need: Need::Ahead, .. } => condition(
            ABOUT,
            false,
            "Ahead",
            "it is ahead of the primary, which has lost data; it is not touched, as it may be the only copy",
        ),
        Primary::There {
            need: Need::Gone, size, ..
        } if *size > seen.volume.free => condition(
            ABOUT,
            false,
            "NoSpace",
            format!(
                "the WAL that it needs is gone from the primary, and a new copy needs {} MiB beside the old one, of which {} are free: make the claim larger",
                size >> 20,
                seen.volume.free >> 20
            ),
        ),
        Primary::There { need: Need::Gone, .. } => condition(
            ABOUT,
            false,
            "LeftBehind",
            "the WAL that it needs is gone from the primary, which it will copy again",
        ),
        Primary::There { slot: Slot::Lost, .. } => {
            condition(ABOUT, false, "SlotLost", "its slot has lost its WAL and is made again")
        }
        Primary::There { .. } => match seen.up() {
            Some(up) if up.follows && up.stuck.is_none() => {
                condition(ABOUT, true, "Streaming", "it follows the primary")
            }
            Some(up) if up.paused => condition(ABOUT, false, "Paused", "replay is paused"),
            _ => condition(ABOUT, None, "Starting", "it begins to follow"),
        },
    }
}

/// No number here changes as long as nothing has to be done: each change is written to the pod.
fn space(volume: &Volume) -> Condition {
    const ABOUT: &str = "Space";
    let Volume { free, size, .. } = *volume;
    if size == 0 {
        return condition(ABOUT, None, "Unknown", "the volume does not say how much is free");
    }
    let whole = bytes(size);
    if !volume.is_short() {
        return condition(ABOUT, true, "Enough", format!("enough of the volume's {whole} is free"));
    }
    let is_below = |percent: &u64| u128::from(free) * 100 < u128::from(size) * u128::from(*percent);
    // The last is that of the way back.
    match [1, 2, 5, 10, 12].iter().find(|percent| is_below(percent)) {
        Some(percent) if volume.wal.is_none_or(|wal| free >= wal) => condition(
            ABOUT,
            false,
            "Low",
            format!(
                "less than {percent} % of the volume's {whole} is free, and PostgreSQL stops when nothing is: make the claim larger, or remove what is of no use"
            ),
        ),
        _ => condition(
            ABOUT,
            false,
            "TooLittleForWal",
            format!(
                "too little of the volume's {whole} is free for what WAL may still grow by, and PostgreSQL stops when nothing is: make the claim larger, or lower max_wal_size or max_slot_wal_keep_size"
            ),
        ),
    }
}

/// In the largest unit of which there are ten.
fn bytes(bytes: u64) -> String {
    let (unit, shift) = [("TiB", 40), ("GiB", 30), ("MiB", 20)]
        .into_iter()
        .find(|(_, shift)| bytes >> shift >= 10)
        .unwrap_or(("KiB", 10));
    format!("{} {unit}", bytes >> shift)
}
