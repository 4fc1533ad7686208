//! What became of a plan. An error is data: the status tells of it, beside what runs.

use crate::kind::Kind;
use crate::observed::Live;
use crate::plan::{Held, Why};

/// What became of a plan: all that the status knows of it. A plan that was only made says nothing about the cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    /// Objects that are as they should be.
    pub done: Vec<Done>,
    /// What the API server did not take.
    pub failed: Vec<Failed>,
    /// Objects that wait.
    pub held: Vec<Held>,
    /// Secrets that were generated for the resource and that it does not use any more.
    pub unused_secrets: Vec<String>,
    /// The step that the strategy asked for.
    pub step: Option<Taken>,
}

/// A step that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// One word, as in events.
    pub reason: &'static str,
    /// Why, in the strategy's words.
    pub why: String,
}

/// An object that is as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Why it was sent; nothing where it was as it should be already.
    pub why: Option<Why>,
}

/// Something that could not be done. It is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The object, where it is one of a plan's.
    pub object: Option<(Kind, String)>,
    /// One word, as in conditions and events.
    pub reason: &'static str,
    /// What happened, to which object, and what to do.
    pub message: String,
}

impl Applied {
    /// Names of the claims that the resource uses and that pgop made: also of those that could not be changed, or are going.
    pub fn claims(&self, live: &Live) -> Vec<String> {
        let done = self.done.iter().map(|done| (done.kind, &done.name));
        let held = self.held.iter().map(|held| (held.kind, &held.name));
        let failed = self.failed.iter().filter_map(|failed| failed.object.as_ref());
        let not_done = held.chain(failed.map(|(kind, name)| (*kind, name)));
        let mut claims: Vec<String> = done
            .chain(not_done.filter(|(kind, name)| live.get(*kind, name).is_some()))
            .filter(|(kind, _)| *kind == Kind::PersistentVolumeClaim)
            .map(|(_, name)| name.clone())
            .collect();
        claims.sort();
        claims
    }
}
