//! `pgop-agent backup`: one base backup under a hidden name, verified, then given its own. Complete or absent.
//!
//! ```text
//! run.rs ──look──► Seen ──decide──► Act ──carry out──► run.rs
//! ```
//!
//! As with the supervisor, the agent may die between any two acts: the next one, in another pod of the same Job, sees what is there and goes on. A
//! snapshot that is finished is adopted only with its label *and* its seal (`shelf.rs`).

use std::time::Duration;

use crate::job::{Outcome, Room, Waits};
use crate::source::Facts;
use crate::supervisor::Time;

mod run;
pub mod shelf;
mod words;

pub use run::run;
pub use words::Place;

/// A predecessor that is being killed, with what it has started, lets go in this time: its grace period and some more.
const PREDECESSOR: Duration = Duration::from_secs(90);

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
    /// Uid of the resource that is to be backed up, where it is known.
    pub owner: Option<String>,
    /// What has the snapshot's name.
    pub target: Target,
    /// What is known of the source.
    pub source: Source,
    /// Our unfinished snapshot's directory.
    pub partial: Partial,
    /// What is left on the claim.
    pub room: Room,
    /// What was last done.
    pub work: Work,
    /// Since when what is waited for.
    pub waits: Waits<Waited>,
}

/// What has the snapshot's name on the claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Nothing.
    Absent,
    /// The snapshot that an earlier agent of this backup has finished.
    Ours,
    /// It has this backup's label, but this backup did not finish it.
    Forged,
    /// Somebody else's.
    Others,
}

/// The server that is copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// It was not asked yet, or something came between.
    Unknown,
    /// It did not answer.
    Away {
        /// Why not.
        words: String,
        /// When it is asked again.
        again: Time,
    },
    /// It did.
    There(Facts),
}

/// The directory in which the snapshot is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Partial {
    /// Not made by this agent yet.
    Unknown,
    /// It can't be made now.
    Held {
        /// Why not.
        by: Holder,
        /// When it is tried again.
        again: Time,
    },
    /// There is no hope for it, in the system's words.
    Refused(String),
    /// Here, and locked where the file system has locks.
    Ours,
}

/// Why something on the claim can't be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Another pod of this backup still writes to it.
    Predecessor,
    /// Another backup looks around on the same shelf.
    Shelf,
    /// In the system's words.
    Volume(String),
}

impl Holder {
    fn waited(&self) -> Waited {
        match self {
            Self::Predecessor => Waited::Predecessor,
            Self::Shelf => Waited::Shelf,
            Self::Volume(_) => Waited::Room,
        }
    }
}

/// How far the snapshot is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// Nothing is copied.
    Nothing,
    /// Something is under way.
    Running {
        /// What.
        job: Job,
        /// It was asked to end.
        cancelled: bool,
    },
    /// It failed, in `PostgreSQL`'s words.
    Failed {
        /// What.
        job: Job,
        /// Why.
        words: String,
        /// When it is tried again.
        again: Time,
    },
    /// It is done.
    Done(Job),
    /// The snapshot has its name. It was looked at again: is it the one that was copied?
    Published {
        /// Whether it is.
        ours: bool,
    },
    /// It can't be given its name now.
    Blocked {
        /// Why not.
        by: Holder,
        /// When it is tried again.
        again: Time,
    },
    /// It can't be given its name, in the system's words.
    Unpublished(String),
}

/// Something long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Job {
    /// Copies the source.
    Copy,
    /// Compares the copy with what the source has sent.
    Verify,
    /// Brings it to the disk.
    Sync,
    /// Looks at every byte of a snapshot that an earlier agent has finished.
    VerifyFinished,
}

/// What can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Waited {
    /// The source answers.
    Source,
    /// The predecessor is gone.
    Predecessor,
    /// The shelf is free.
    Shelf,
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
    /// Asks the source.
    Ask,
    /// Takes the lock of the shelf, removes what nobody works on, makes our directory and locks it.
    MakePartial,
    /// Begins something long.
    Begin(Job),
    /// Asks what is under way to end.
    Cancel,
    /// Gives the snapshot its name, and looks at it again.
    Publish,
    /// Removes what is unfinished, says the last words, and ends.
    End(End),
}

/// How it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The snapshot is complete, verified and ours.
    Done,
    /// It was asked to.
    Stopped,
    /// The name is somebody else's.
    Exists,
    /// The name is a snapshot's that says it was ours.
    Forged,
    /// What was finished by an earlier agent is no longer what it was.
    Damaged(String),
    /// The source has another major version than the image.
    OtherMajor,
    /// The server is another resource's: the source was deleted, and its name is used again.
    OtherSource,
    /// The source has tablespaces.
    Tablespaces,
    /// The claim is too small, even if it were empty.
    NeverFits,
    /// The claim does not take it, in the system's words.
    Volume(String),
    /// The snapshot has got its name, and something else has it now.
    Replaced,
    /// It was waited for long enough.
    Impatient(Waited),
}

impl End {
    /// What a Job makes of it.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Done => Outcome::Done,
            // What was finished is found again, or what is in its place.
            Self::Stopped | Self::Replaced | Self::Impatient(_) => Outcome::Again,
            Self::Exists
            | Self::Forged
            | Self::Damaged(_)
            | Self::OtherMajor
            | Self::OtherSource
            | Self::Tablespaces
            | Self::NeverFits
            | Self::Volume(_) => Outcome::Never,
        }
    }
}

/// What is to be done next. The rules stand in the order of their weight: the first that has something to say decides.
pub fn decide(seen: &Seen) -> Act {
    const RULES: [fn(&Seen) -> Option<Act>; 7] = [published, stop, target, source, partial, room, work];
    let act = RULES.iter().find_map(|rule| rule(seen)).unwrap_or(Act::Wait);
    match act {
        Act::WaitFor(what) if is_over(seen, what) => end(seen, End::Impatient(what)),
        act => act,
    }
}

fn is_over(seen: &Seen, what: Waited) -> bool {
    let bound = match what {
        Waited::Predecessor => PREDECESSOR,
        Waited::Source | Waited::Shelf | Waited::Room | Waited::Copy => seen.patience,
    };
    seen.waits.passed(&what, seen.now) >= bound
}

/// Keeps in mind since when what is waited for: what came is forgotten.
pub fn remember(waits: &mut Waits<Waited>, act: &Act, now: Time) {
    match act {
        Act::WaitFor(what) => waits.note(*what, now),
        Act::MakePartial => waits.forget(&Waited::Source),
        Act::Begin(Job::Copy) => {
            for what in [Waited::Source, Waited::Predecessor, Waited::Shelf, Waited::Room] {
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

/// Once it has its name it is told so, whatever comes then. Only what was looked at again is called verified.
fn published(seen: &Seen) -> Option<Act> {
    match &seen.work {
        Work::Published { ours: true } | Work::Done(Job::VerifyFinished) => Some(Act::End(End::Done)),
        Work::Published { ours: false } => Some(Act::End(End::Replaced)),
        Work::Nothing
        | Work::Running { .. }
        | Work::Failed { .. }
        | Work::Done(Job::Copy | Job::Verify | Job::Sync)
        | Work::Blocked { .. }
        | Work::Unpublished(_) => None,
    }
}

fn stop(seen: &Seen) -> Option<Act> {
    seen.stop.then(|| end(seen, End::Stopped))
}

/// Nothing that has the name is overwritten. What is ours already is looked at again, and then it is done.
fn target(seen: &Seen) -> Option<Act> {
    match seen.target {
        Target::Absent => None,
        Target::Others => Some(end(seen, End::Exists)),
        Target::Forged => Some(end(seen, End::Forged)),
        Target::Ours => Some(match &seen.work {
            Work::Running {
                job: Job::VerifyFinished,
                ..
            }
            | Work::Running { cancelled: true, .. } => Act::Wait,
            // A predecessor has finished while this one was at it.
            Work::Running { cancelled: false, .. } => Act::Cancel,
            Work::Failed {
                job: Job::VerifyFinished,
                words,
                ..
            } => Act::End(End::Damaged(words.clone())),
            _ => Act::Begin(Job::VerifyFinished),
        }),
    }
}

/// It answers, and is one that can be backed up.
fn source(seen: &Seen) -> Option<Act> {
    match &seen.source {
        Source::Unknown => Some(Act::Ask),
        Source::Away { again, .. } => Some(wait_until(seen, *again, Waited::Source, Act::Ask)),
        Source::There(facts) if is_another(seen.owner.as_ref(), facts) => Some(end(seen, End::OtherSource)),
        Source::There(facts) if facts.major != seen.major => Some(end(seen, End::OtherMajor)),
        Source::There(facts) if !facts.tablespaces.is_empty() => Some(end(seen, End::Tablespaces)),
        Source::There(_) => None,
    }
}

/// A snapshot of a new server says nothing of what was committed in the former one.
fn is_another(owner: Option<&String>, facts: &Facts) -> bool {
    match (owner, &facts.owner) {
        (Some(wanted), Some(found)) => wanted != found,
        // One of them was made by an older pgop.
        _ => false,
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

fn partial(seen: &Seen) -> Option<Act> {
    match &seen.partial {
        Partial::Unknown => Some(Act::MakePartial),
        Partial::Held { by, again } => Some(wait_until(seen, *again, by.waited(), Act::MakePartial)),
        Partial::Refused(words) => Some(end(seen, End::Volume(words.clone()))),
        Partial::Ours => None,
    }
}

/// Nothing is begun that can't be finished.
fn room(seen: &Seen) -> Option<Act> {
    let Source::There(facts) = &seen.source else {
        return None;
    };
    if seen.work != Work::Nothing {
        return None;
    }
    if facts.bytes > seen.room.total {
        return Some(Act::End(End::NeverFits));
    }
    (facts.bytes > seen.room.free).then_some(Act::WaitFor(Waited::Room))
}

fn work(seen: &Seen) -> Option<Act> {
    Some(match &seen.work {
        Work::Nothing => Act::Begin(Job::Copy),
        Work::Running { .. } => Act::Wait,
        // The source is asked again: it may have restarted as something else.
        Work::Failed { again, .. } => wait_until(seen, *again, Waited::Copy, Act::Ask),
        Work::Done(Job::Copy) => Act::Begin(Job::Verify),
        Work::Done(Job::Verify) => Act::Begin(Job::Sync),
        Work::Done(Job::Sync) => Act::Publish,
        Work::Blocked { by, again } => wait_until(seen, *again, by.waited(), Act::Publish),
        Work::Unpublished(words) => Act::End(End::Volume(words.clone())),
        Work::Done(Job::VerifyFinished) | Work::Published { .. } => return None,
    })
}

#[cfg(test)]
mod tests;
