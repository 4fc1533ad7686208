//! What the agent tells of its server to whoever asks: the kubelet, the operator, Prometheus, people. Pure.
//!
//! - **started**: it was ready once since the container began. A rollout waits for it; nobody is killed for it.
//! - **ready**: it answers as what it is. A server that is slow, that is full, or whose transactions are read-only still answers.
//! - **live**: the agent's loop turns. Whether `PostgreSQL` does is the agent's business, which restarts it in place.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::complaint::is_secret;
use crate::supervisor::{
    Condition, Data, InForce, Job, Lock, Need, Primary, Role, Seen, Server, Settings, Shutdown, Up, Verdict, conditions,
};

/// A turn of the agent's loop may take so long. Every wait in it is bounded, the longest being the statements that set roles, and a slow server is no
/// reason to kill the container.
pub const LONGEST_TURN: Duration = Duration::from_secs(120);

/// What was so once. The rest of a status follows from one look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// The data was made, and its roles have not been set since. Data of before, whatever a Secret holds, is not waiting for any.
    pub roles_pending: bool,
    /// The replica has followed its primary since the container began.
    pub followed: bool,
    /// The server was ready since the container began.
    pub served: bool,
}

impl Past {
    /// When the container begins. Whoever makes data leaves a mark beside it until its roles are set: `roles_pending` is whether the mark is there.
    pub fn new(roles_pending: bool) -> Self {
        Self {
            roles_pending,
            ..Self::default()
        }
    }

    /// With what is seen now.
    #[must_use]
    pub fn and(mut self, seen: &Seen) -> Self {
        match &seen.role {
            Role::Primary { roles, .. } => {
                self.roles_pending |= seen.running.is_some_and(|running| running.job == Job::Init);
                self.roles_pending &= *roles != InForce::Yes;
            }
            Role::Replica { primary } => self.followed |= follows(primary, seen.up()),
        }
        self.served |= readiness(seen, self).is_ok();
        self
    }
}

fn follows(primary: &Primary, up: Option<&Up>) -> bool {
    let is_moving = |up: &Up| up.answers && up.follows && up.stuck.is_none();
    matches!(primary, Primary::There { .. }) && up.is_some_and(is_moving)
}

/// What the agent tells of its server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// What the server is for.
    pub role: Kind,
    /// What it is doing.
    pub phase: Phase,
    /// Whether it was ready since the container began.
    pub started: bool,
    /// Whether it answers as what it is.
    pub ready: bool,
    /// Why, or why not. One sentence.
    pub reason: String,
    /// As in the pod's conditions.
    pub conditions: Vec<Condition>,
    /// Which settings the server runs with.
    pub settings: InUse,
    /// Whether roles, passwords and database are what the Secrets say; nothing of a replica, whose are its primary's.
    pub roles: Option<bool>,
    /// Major version of the image's programs.
    pub major: u32,
}

/// What a server is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It takes writes.
    Primary,
    /// It follows.
    Replica,
}

/// What a server is doing, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// There is no data to start a server on, or it may not be touched yet.
    Preparing,
    /// It copies its primary.
    Copying,
    /// There is data, and no server on it that takes connections.
    Starting,
    /// It takes connections.
    Serving,
    /// It was asked to end.
    Stopping,
}

impl Phase {
    /// All of them, in the order in which a server goes through them.
    pub const ALL: [Self; 5] = [
        Self::Preparing,
        Self::Copying,
        Self::Starting,
        Self::Serving,
        Self::Stopping,
    ];

    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Copying => "copying",
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Stopping => "stopping",
        }
    }
}

/// Digests of settings: 16 hexadecimal digits. Equal ones are the same settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InUse {
    /// Those of the resource.
    pub wanted: String,
    /// Those that the server read last; nothing where none runs.
    pub read: Option<String>,
    /// Those that it runs with whole: none of them waits for a start.
    pub whole: Option<String>,
}

impl Status {
    /// Of what is seen, and of what was so before it: `past` is already [with](Past::and) what is seen.
    pub fn of(seen: &Seen, past: Past) -> Self {
        let (ready, reason) = match readiness(seen, past) {
            Ok(why) => (true, why.to_owned()),
            Err(why) => (false, why),
        };
        let digits = |settings: Settings| format!("{:016x}", settings.0);
        let told = |condition: Condition| Condition {
            message: unsecret(&condition.message),
            ..condition
        };
        Self {
            role: match seen.role {
                Role::Primary { .. } => Kind::Primary,
                Role::Replica { .. } => Kind::Replica,
            },
            phase: phase(seen),
            started: past.served,
            ready,
            reason: unsecret(&reason),
            conditions: conditions(seen).into_iter().map(told).collect(),
            settings: InUse {
                wanted: digits(seen.wanted),
                read: seen.up().map(|up| digits(up.settings)),
                whole: seen.up().map(|up| digits(up.proven)),
            },
            roles: match seen.role {
                Role::Primary { ref roles, .. } => Some(*roles == InForce::Yes),
                Role::Replica { .. } => None,
            },
            major: seen.major,
        }
    }
}

fn phase(seen: &Seen) -> Phase {
    let job = seen.running.map(|running| running.job);
    match &seen.server {
        _ if seen.stop.is_some() => Phase::Stopping,
        Server::Up(up) if up.asked.is_some() => Phase::Stopping,
        Server::Up(up) if up.answers => Phase::Serving,
        Server::Down { .. } if job == Some(Job::Clone) => Phase::Copying,
        Server::Down { .. } if waits_for(seen).is_some() => Phase::Preparing,
        Server::Up(_) | Server::Down { .. } => Phase::Starting,
    }
}

/// What keeps a server from being started, where something does.
fn waits_for(seen: &Seen) -> Option<String> {
    match (&seen.volume.lock, &seen.volume.data, &seen.role) {
        (Lock::Taken { .. }, ..) => {
            Some("another pod works on the server's directory; this one waits for it to end".to_owned())
        }
        (Lock::Free, ..) => Some("the agent looks at the server's directory".to_owned()),
        (_, Data::Absent | Data::Foreign, Role::Primary { .. }) => Some("the database is being made".to_owned()),
        (
            _,
            Data::Absent | Data::Foreign,
            Role::Replica {
                primary: Primary::Away(why),
            },
        ) => Some(format!("it has no data yet and the primary does not answer: {why}")),
        (_, Data::Absent | Data::Foreign, Role::Replica { .. }) => Some("it prepares to copy the primary".to_owned()),
        (_, Data::There(_), _) => match &seen.verdict {
            Verdict::Bad(words) if seen.kept.is_none() => Some(format!(
                "PostgreSQL does not read its settings, and it never ran with others: {words}"
            )),
            Verdict::Bad(_) | Verdict::Good | Verdict::Unknown => None,
        },
    }
}

/// Whether it answers as what it is, and why.
fn readiness(seen: &Seen, past: Past) -> Result<&'static str, String> {
    if seen.stop.is_some() {
        return Err("the container was asked to stop".to_owned());
    }
    let up = match &seen.server {
        Server::Up(up) => up,
        Server::Down { .. } if seen.running.is_some_and(|running| running.job == Job::Clone) => {
            return Err("it copies the primary".to_owned());
        }
        Server::Down { words, .. } => return Err(why_down(seen, words.as_deref())),
    };
    match up.asked {
        Some(Shutdown::Smart) => return Err("PostgreSQL stops when its clients have gone".to_owned()),
        Some(Shutdown::Fast | Shutdown::Immediate) => return Err("PostgreSQL stops".to_owned()),
        None if !up.answers => return Err("PostgreSQL starts, and takes no connections yet".to_owned()),
        None => {}
    }
    match &seen.role {
        Role::Primary { roles, .. } if past.roles_pending => Err(match roles {
            InForce::Failed(words) => {
                format!("roles, passwords and database could not be set since the data was made: {words}")
            }
            InForce::NotYet | InForce::Yes => {
                "roles, passwords and database have not been set since the data was made".to_owned()
            }
        }),
        Role::Primary { .. } => Ok("it takes connections as a primary"),
        Role::Replica { primary } => replica(primary, up, past),
    }
}

/// A replica's data was copied from its primary, whole, or it would not have that name; and `PostgreSQL` lets nobody in before it is consistent.
/// So whatever answers here is the primary's data as of some time, and how old it is, is a condition and a metric: with its primary away, or unable to
/// follow it, it goes on serving, also after a restart. What a rollout waits for is that it follows again once, where it can.
fn replica(primary: &Primary, up: &Up, past: Past) -> Result<&'static str, String> {
    match primary {
        // Not for the moment that it takes to tell: only once it does not stream either.
        Primary::There { need: Need::Ahead, .. } if up.stuck.is_some() => {
            Err("it is ahead of the primary, which has lost data: a client would read what is no longer so".to_owned())
        }
        Primary::There { .. } if follows(primary, Some(up)) => Ok("it follows the primary"),
        Primary::Unasked if past.followed => Ok("it takes connections, and asks its primary"),
        Primary::Unasked => Err("it has not asked its primary yet".to_owned()),
        Primary::Away(_) => Ok("it takes connections, and its primary does not answer"),
        Primary::There { need: Need::Gone, .. } => {
            Ok("it takes connections with older data: it can't follow the primary")
        }
        Primary::There { .. } if past.followed => Ok("it takes connections, and does not follow at the moment"),
        Primary::There { .. } => Err("it has not followed the primary since it was started".to_owned()),
    }
}

fn why_down(seen: &Seen, words: Option<&str>) -> String {
    match (waits_for(seen), words) {
        (Some(why), _) => why,
        (None, Some(words)) => format!("PostgreSQL has ended and is started again: {words}"),
        (None, None) => "PostgreSQL is about to be started".to_owned(),
    }
}

/// Anybody who reaches the pod may ask. What quotes `PostgreSQL` may quote a setting's value, and some of them hold passwords.
fn unsecret(sentence: &str) -> String {
    const SECRET: [&str; 3] = ["password=", "password =", "passfile"];
    let lower = sentence.to_lowercase();
    let is_secret = SECRET.iter().any(|word| lower.contains(word)) || holds_login(&lower) || quotes_value(&lower);
    if is_secret {
        "told in the server's log only, as it may quote a password".to_owned()
    } else {
        sentence.to_owned()
    }
}

/// `parameter "archive_command": "curl -u me:password"`, and not where only the setting is named.
fn quotes_value(text: &str) -> bool {
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic()) {
        let end = rest[start..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let end = end.map_or(rest.len(), |end| start + end);
        let (name, after) = (&rest[start..end], &rest[end..]);
        let between = after.find(|c: char| !matches!(c, '"' | '\'' | ':' | '=' | ' '));
        let between = &after[..between.unwrap_or(after.len())];
        let is_value = between.contains([':', '=']) || between.ends_with(" \"") || between.ends_with(" '");
        if is_secret(name) && is_value {
            return true;
        }
        rest = after;
    }
    false
}

/// `postgres://user:password@host`.
fn holds_login(text: &str) -> bool {
    let mut parts = text.split("://").skip(1);
    parts.any(|part| {
        let host = part.split(['/', ' ', '"', '\'']).next().unwrap_or_default();
        host.split_once('@').is_some_and(|(login, _)| login.contains(':'))
    })
}

/// What the agent's loop publishes each time it turns.
#[derive(Clone, Debug)]
pub struct Turn {
    /// What was seen.
    pub status: Status,
    /// When.
    pub at: Instant,
}

impl Turn {
    /// Now.
    pub fn now(status: Status) -> Self {
        Self {
            status,
            at: Instant::now(),
        }
    }

    /// Whether the loop turns, and since when it does not.
    pub fn liveness(&self, now: Instant) -> Result<(), String> {
        let since = now.saturating_duration_since(self.at);
        if since <= LONGEST_TURN {
            Ok(())
        } else {
            Err(format!("the agent's loop has not turned for {} s", since.as_secs()))
        }
    }
}

#[cfg(test)]
mod tests;
