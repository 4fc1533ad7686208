//! `pgop-agent restore`: a snapshot becomes the data directory of a server that doesn't run yet. Complete or not at all.
//!
//! ```text
//! run.rs ──look──► Seen ──decide──► Act ──carry out──► run.rs
//! ```
//!
//! As with the backup, the agent may die between any two acts, and the next one goes on from what is there.

use std::time::Duration;

use crate::job::{Outcome, Room, Waits};
use crate::supervisor::{OwnerFile, Time};

mod copy;
mod run;
mod words;

pub use copy::{CopyError, copy};
pub use run::run;
pub use words::Place;

/// A pod that is being killed lets go of the server's directory in this time.
const DIRECTORY: Duration = Duration::from_secs(60);

/// All that a decision stands on.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The time.
    pub now: Time,
    /// How long what may mend itself is waited for.
    pub patience: Duration,
    /// The container is to end.
    pub stop: bool,
    /// Major version of the image.
    pub major: u32,
    /// The server's directory.
    pub directory: Directory,
    /// Whose it is.
    pub owner: OwnerFile,
    /// What is where the data is to be.
    pub data: Data,
    /// What is known of the snapshot.
    pub snapshot: Snapshot,
    /// A try that was cut off has left something.
    pub leftovers: bool,
    /// What is left on the server's claim.
    pub room: Room,
    /// What was last done.
    pub work: Work,
    /// Since when what is waited for.
    pub waits: Waits<Waited>,
}

/// The server's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Directory {
    /// Not made or locked by this agent yet.
    Unknown,
    /// Another pod has it.
    Taken {
        /// When it is tried again.
        again: Time,
    },
    /// It can't be written now, in the system's words.
    Away {
        /// Why not.
        words: String,
        /// When it is tried again.
        again: Time,
    },
    /// There is no hope for it, in the system's words.
    Refused(String),
    /// Here, and locked where the file system has locks.
    Ours,
}

/// What is where the data is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// Nothing.
    Absent,
    /// What this restore has made, maybe with what its server has written since.
    Restored,
    /// Some other database, maybe a copy that waits for the name.
    Other,
}

/// What is to be restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Snapshot {
    /// It was not looked at yet.
    Unknown,
    /// It can't be read now, in the system's words.
    Away {
        /// Why not.
        words: String,
        /// When it is looked at again.
        again: Time,
    },
    /// It can't be restored.
    Refused(Refusal),
    /// So many bytes, of a version that fits.
    There {
        /// Sum of its files.
        bytes: u64,
    },
}

/// Why it can't.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is none of that path, but some of these.
    Missing(Vec<String>),
    /// A file is missing, so it is not complete.
    Lacks(&'static str),
    /// It is of another major version.
    OtherMajor(u32),
    /// It has tablespaces.
    Tablespaces,
    /// It needs others to be whole.
    Incremental,
    /// It can't be read, in the system's words.
    Unreadable(String),
}

/// How far the copy is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// Nothing was done.
    Nothing,
    /// Something is under way.
    Running {
        /// What.
        job: Job,
        /// It was asked to end.
        cancelled: bool,
    },
    /// It failed.
    Failed {
        /// What.
        job: Job,
        /// Why.
        words: String,
        /// When it may be tried again.
        again: Time,
    },
    /// It is done.
    Done(Job),
    /// The copy has the name of the data.
    Finished,
}

/// Something long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Job {
    /// Looks whether all files of the snapshot are there, before they are copied.
    Check,
    /// Copies them.
    Copy,
    /// Compares every byte of the copy with what was backed up.
    Verify,
    /// Brings it to the disk.
    Sync,
}

/// What can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Waited {
    /// Another pod lets go of the directory.
    Directory,
    /// The server's volume can be written.
    Volume,
    /// The snapshot can be read.
    Snapshot,
    /// The claim has room.
    Room,
    /// A copy succeeds. Counted from the first that failed, however long they take.
    Copy,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Waits for what is under way.
    Wait,
    /// Waits, with a bound, and tells.
    WaitFor(Waited),
    /// Makes the server's directory and takes its lock.
    TakeDirectory,
    /// Writes whose it is.
    TakeOwner,
    /// Looks at the snapshot.
    LookAtSnapshot,
    /// Removes what a try that was cut off has left.
    Clear,
    /// Begins something long.
    Begin(Job),
    /// Asks what is under way to end.
    Cancel,
    /// Makes a server's data of the copy, and gives it the name.
    Finish,
    /// Removes what is unfinished, says the last words, and ends.
    End(End),
}

/// How it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The data is there.
    Done,
    /// It was there already.
    RestoredBefore,
    /// It was asked to.
    Stopped,
    /// The directory is another resource's.
    BelongsTo(String),
    /// The directory holds a database that no restore replaces.
    Holds,
    /// The snapshot can't be restored.
    Refused(Refusal),
    /// The snapshot is not what was backed up.
    Damaged(String),
    /// The claim is too small, even if it were empty.
    NeverFits,
    /// The claim does not take it, in the system's words.
    Volume(String),
    /// It was waited for long enough.
    Impatient(Waited),
}

impl End {
    /// What a Job makes of it.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Done | Self::RestoredBefore => Outcome::Done,
            Self::Stopped | Self::Impatient(_) => Outcome::Again,
            Self::BelongsTo(_)
            | Self::Holds
            | Self::Refused(_)
            | Self::Damaged(_)
            | Self::NeverFits
            | Self::Volume(_) => Outcome::Never,
        }
    }
}

/// What is to be done next. The rules stand in the order of their weight: the first that has something to say decides.
pub fn decide(seen: &Seen) -> Act {
    const RULES: [fn(&Seen) -> Option<Act>; 9] =
        [finished, stop, directory, owner, data, snapshot, leftovers, room, work];
    let act = RULES.iter().find_map(|rule| rule(seen)).unwrap_or(Act::Wait);
    match act {
        Act::WaitFor(what) if is_over(seen, what) => end(seen, End::Impatient(what)),
        act => act,
    }
}

fn is_over(seen: &Seen, what: Waited) -> bool {
    let bound = match what {
        Waited::Directory => DIRECTORY,
        Waited::Volume | Waited::Snapshot | Waited::Room | Waited::Copy => seen.patience,
    };
    seen.waits.passed(&what, seen.now) >= bound
}

/// Keeps in mind since when what is waited for: what came is forgotten.
pub fn remember(waits: &mut Waits<Waited>, act: &Act, now: Time) {
    match act {
        Act::WaitFor(what) => waits.note(*what, now),
        Act::Begin(Job::Copy) => {
            for what in [Waited::Directory, Waited::Volume, Waited::Snapshot, Waited::Room] {
                waits.forget(&what);
            }
        }
        _ => {}
    }
}

/// Ends, once nothing is under way.
fn end(seen: &Seen, end: End) -> Act {
    match seen.work {
        Work::Running { cancelled: false, .. } => Act::Cancel,
        Work::Running { cancelled: true, .. } => Act::Wait,
        _ => Act::End(end),
    }
}

/// Tries again when it is time to, but not when patience is at its end.
fn wait_until(seen: &Seen, again: Time, what: Waited, act: Act) -> Act {
    if seen.now < again || is_over(seen, what) {
        Act::WaitFor(what)
    } else {
        act
    }
}

/// Once the data has its name it is told so, whatever comes then.
fn finished(seen: &Seen) -> Option<Act> {
    (seen.work == Work::Finished).then_some(Act::End(End::Done))
}

fn stop(seen: &Seen) -> Option<Act> {
    seen.stop.then(|| end(seen, End::Stopped))
}

/// Nobody writes below the directory who does not hold its lock.
fn directory(seen: &Seen) -> Option<Act> {
    match &seen.directory {
        Directory::Ours => None,
        Directory::Unknown => Some(Act::TakeDirectory),
        Directory::Taken { again } => Some(wait_until(seen, *again, Waited::Directory, Act::TakeDirectory)),
        Directory::Away { again, .. } => Some(wait_until(seen, *again, Waited::Volume, Act::TakeDirectory)),
        Directory::Refused(words) => Some(end(seen, End::Volume(words.clone()))),
    }
}

/// Another resource that is given the same claim does not get its data replaced.
fn owner(seen: &Seen) -> Option<Act> {
    match &seen.owner {
        OwnerFile::Ours => None,
        OwnerFile::Absent => Some(Act::TakeOwner),
        OwnerFile::Other(other) => Some(end(seen, End::BelongsTo(other.clone()))),
    }
}

/// A database is never replaced: what this very restore has made is left as it is now.
fn data(seen: &Seen) -> Option<Act> {
    match seen.data {
        Data::Absent => None,
        Data::Restored => Some(end(seen, End::RestoredBefore)),
        Data::Other => Some(end(seen, End::Holds)),
    }
}

/// It can be restored, as far as can be told without reading all of it.
fn snapshot(seen: &Seen) -> Option<Act> {
    match &seen.snapshot {
        Snapshot::Unknown => Some(Act::LookAtSnapshot),
        Snapshot::Away { again, .. } => Some(wait_until(seen, *again, Waited::Snapshot, Act::LookAtSnapshot)),
        Snapshot::Refused(refusal) => Some(end(seen, End::Refused(refusal.clone()))),
        Snapshot::There { .. } => None,
    }
}

fn leftovers(seen: &Seen) -> Option<Act> {
    (seen.leftovers && seen.work == Work::Nothing).then_some(Act::Clear)
}

/// Nothing is begun that can't be finished.
fn room(seen: &Seen) -> Option<Act> {
    let Snapshot::There { bytes } = seen.snapshot else {
        return None;
    };
    if seen.work != Work::Nothing {
        return None;
    }
    if bytes > seen.room.total {
        return Some(Act::End(End::NeverFits));
    }
    (bytes > seen.room.free).then_some(Act::WaitFor(Waited::Room))
}

fn work(seen: &Seen) -> Option<Act> {
    Some(match &seen.work {
        Work::Nothing => Act::Begin(Job::Check),
        Work::Running { .. } => Act::Wait,
        Work::Failed {
            job: Job::Check | Job::Verify,
            words,
            ..
        } => Act::End(End::Damaged(words.clone())),
        Work::Failed {
            job: Job::Copy | Job::Sync,
            again,
            ..
        } => wait_until(seen, *again, Waited::Copy, Act::Clear),
        Work::Done(Job::Check) => Act::Begin(Job::Copy),
        Work::Done(Job::Copy) => Act::Begin(Job::Verify),
        Work::Done(Job::Verify) => Act::Begin(Job::Sync),
        Work::Done(Job::Sync) => Act::Finish,
        Work::Finished => return None,
    })
}

#[cfg(test)]
mod tests;
