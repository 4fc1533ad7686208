//! What was seen in one look.

use std::collections::BTreeMap;
use std::time::Duration;

use super::act::{Job, Shutdown};
use crate::control::Control;

/// Time since the agent started.
pub type Time = Duration;

/// All that a decision stands on.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When this was.
    pub now: Time,
    /// What the server is for.
    pub role: Role,
    /// Major version of the image's programs.
    pub major: u32,
    /// The server's directory.
    pub volume: Volume,
    /// What runs in the background.
    pub running: Option<Running>,
    /// The server.
    pub server: Server,
    /// The settings that the resource wants, digested.
    pub wanted: Settings,
    /// What is known of them.
    pub verdict: Verdict,
    /// The settings with which the server last came up.
    pub kept: Option<Settings>,
    /// Set once the container is to end.
    pub stop: Option<Stop>,
    /// What went wrong lately.
    pub tries: Tries,
}

/// What a server is for.
#[derive(Clone, Debug)]
pub enum Role {
    /// It takes writes.
    Primary {
        /// Whether a database may be made where there is none.
        may_init: bool,
        /// Whether roles, passwords and database are what the Secrets say.
        roles: InForce,
        /// Whether the slots are those of the replicas.
        slots: bool,
    },
    /// It follows.
    Replica {
        /// Whom.
        primary: Primary,
    },
}

/// Whether something is as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InForce {
    /// It is.
    Yes,
    /// Nobody has tried yet.
    NotYet,
    /// It was tried, and is tried again. Why it failed.
    Failed(String),
}

/// A digest of settings: equal ones are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Settings(pub u64);

/// Whether `PostgreSQL` takes the wanted settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nobody asked it.
    Unknown,
    /// It reads them.
    Good,
    /// It does not read them, or did not come up with them. In its words.
    Bad(String),
}

/// The server's directory on the claim.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is seen by itself")]
pub struct Volume {
    /// Who may write.
    pub lock: Lock,
    /// Whose it is.
    pub owner: OwnerFile,
    /// What this pod has started before, a server or a job, may still write, and nobody looks after it.
    pub orphans: bool,
    /// Something of a try that was cut off is there.
    pub leftovers: bool,
    /// A complete copy waits for the name of the data.
    pub copy: bool,
    /// The data.
    pub data: Data,
    /// Names of the settings that ALTER SYSTEM has left in the data. They count more than the resource's.
    pub overrides: Vec<String>,
    /// Why a server would not come up with them, where that is known before it is tried.
    pub overrides_refused: Option<String>,
    /// Those that kept the server from starting were set aside: which, and why.
    pub set_aside: Option<String>,
    /// Bytes that can still be written.
    pub free: u64,
    /// Bytes that it has altogether; 0 where nobody can tell.
    pub size: u64,
    /// Bytes by which WAL may still grow, where the server has said so.
    pub wal: Option<u64>,
    /// It was short of space at the last look.
    pub short: bool,
}

impl Volume {
    /// Whether space is short: less than a tenth is free, or less than WAL may still grow by. Once it is, it stays so until a fiftieth of the
    /// volume more than that is free.
    pub fn is_short(&self) -> bool {
        let least = (self.size / 10).max(self.wal.unwrap_or(0));
        let more = if self.short { self.size / 50 } else { 0 };
        self.size > 0 && self.free < least.saturating_add(more)
    }
}

/// The lock that everybody who writes below the directory holds, the server's processes included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// Nobody has it.
    Free,
    /// This agent has it.
    Ours,
    /// Somebody else has it, and this agent waits since then.
    Taken {
        /// The first look.
        since: Time,
    },
    /// The volume's file system knows no locks. Kubernetes' promise of one pod a name is what is left.
    Unknown,
}

/// The file that says whose the directory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnerFile {
    /// Nobody's yet.
    Absent,
    /// This resource's.
    Ours,
    /// Somebody else's.
    Other(String),
}

/// What is where the data should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// Nothing.
    Absent,
    /// Something that is no database.
    Foreign,
    /// A database.
    There(Facts),
}

/// Which history a database has. Two restores of one snapshot share all but this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage(pub String);

/// What is known of data before a server runs on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// `PG_VERSION`.
    pub major: u32,
    /// `pg_controldata`.
    pub control: Control,
    /// `pgop.lineage`.
    pub lineage: Option<Lineage>,
    /// `standby.signal`.
    pub standby: bool,
    /// `recovery.signal`.
    pub recovery: Recovery,
}

/// What a `recovery.signal` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// There is none.
    None,
    /// A restore of ours wrote it for this very data.
    Ours,
    /// Nobody knows who wrote it.
    Foreign,
}

/// What runs in the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    /// What it does.
    pub job: Job,
    /// It was asked to end.
    pub cancelled: bool,
}

/// `PostgreSQL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// It does not run.
    Down {
        /// So many starts in a row ended before it answered.
        in_vain: u32,
        /// Its last words, where it ended without having been asked to.
        words: Option<String>,
    },
    /// It runs.
    Up(Up),
}

/// A server that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is seen by itself")]
pub struct Up {
    /// It hears signals: before that, any would end it.
    pub hears: bool,
    /// It takes connections.
    pub answers: bool,
    /// The settings that it runs with whole: it came up with them, or read them later and none of them waits for a start.
    pub proven: Settings,
    /// Those that it was told to read last. Nobody knows yet whether it comes up with one that waits for a start.
    pub settings: Settings,
    /// It was told to, and nobody knows yet that it did.
    pub reading: bool,
    /// What it says of settings that it does not take, though all seemed well.
    pub refused: Option<String>,
    /// Settings of which pgop has the last word, by name, and of which the file says something else.
    pub in_vain: Vec<String>,
    /// Limits that a replica's WAL keeps higher than its settings, as `name = value`.
    pub held: Vec<String>,
    /// Whoever does not ask for more can only read.
    pub read_only: bool,
    /// The limits with which it was started.
    pub limits: crate::control::Limits,
    /// Settings that wait for its next start, by name.
    pub waits: Vec<String>,
    /// How it was asked to end.
    pub asked: Option<Shutdown>,
    /// A replica knows whom to follow.
    pub follows: bool,
    /// Replay is paused.
    pub paused: bool,
    /// It neither streams nor moves since then.
    pub stuck: Option<Time>,
}

/// The server that a replica follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Primary {
    /// It has not been asked yet.
    Unasked,
    /// It does not answer. Why.
    Away(String),
    /// It answers.
    There {
        /// Its system identifier.
        system: u64,
        /// Its timeline.
        timeline: u32,
        /// Its lineage.
        lineage: Lineage,
        /// Bytes of its data.
        size: u64,
        /// This replica's slot.
        slot: Slot,
        /// The WAL that this replica needs next.
        need: Need,
    },
}

/// A replica's slot at its primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// There is none.
    Missing,
    /// It keeps what the replica needs.
    Good,
    /// Its WAL is gone.
    Lost,
}

/// The WAL that a replica needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The primary has it.
    There,
    /// The primary has it no more.
    Gone,
    /// The replica is ahead: the primary has lost data.
    Ahead,
    /// Nobody can tell yet.
    Unknown,
}

/// The end of the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// When it was asked for.
    pub asked: Time,
    /// How long until it is killed.
    pub grace: Duration,
}

/// What failed and when it is tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tries(pub BTreeMap<Tried, Time>);

/// What can fail and is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tried {
    /// A background job.
    Job(Job),
    /// A start of the server.
    Start,
    /// Having the server read its settings.
    Reload,
    /// Making a slot.
    Slot,
    /// Setting roles.
    Roles,
    /// Setting slots.
    Slots,
    /// Keeping settings to fall back on.
    Keep,
}

impl Seen {
    /// Whether nothing speaks against trying it now.
    pub fn is_due(&self, what: Tried) -> bool {
        self.tries.0.get(&what).is_none_or(|at| *at <= self.now)
    }

    /// The facts of the data.
    pub fn facts(&self) -> Option<&Facts> {
        match &self.volume.data {
            Data::There(facts) => Some(facts),
            Data::Absent | Data::Foreign => None,
        }
    }

    /// The server, where it runs.
    pub fn up(&self) -> Option<&Up> {
        match &self.server {
            Server::Up(up) => Some(up),
            Server::Down { .. } => None,
        }
    }

    /// The server's primary, where it has one and it answers.
    pub fn primary(&self) -> Option<&Primary> {
        match &self.role {
            Role::Replica { primary } if matches!(primary, Primary::There { .. }) => Some(primary),
            _ => None,
        }
    }
}
