//! What is on the claims, and what should be. One at a time changes or looks at it: snapshots are made, restored and removed side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pgop_e2e::{Space, api, within};

/// An agent that was killed is not there to tidy up after itself; the next one does.
const TIDIED: Duration = Duration::from_secs(60);

/// All claims with snapshots.
#[derive(Debug)]
pub(crate) struct Shelves<'a> {
    space: &'a Space,
    /// Paths of what should be on each claim.
    wanted: Mutex<BTreeMap<&'static str, BTreeSet<String>>>,
}

impl<'a> Shelves<'a> {
    pub(crate) fn new(space: &'a Space) -> Self {
        Self {
            space,
            wanted: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, BTreeSet<String>>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A snapshot is there. False: there was one of that path already.
    pub(crate) fn add(&self, claim: &'static str, path: &str) -> bool {
        self.lock().entry(claim).or_default().insert(path.to_owned())
    }

    /// How many snapshots are on a claim.
    pub(crate) fn count(&self, claim: &str) -> usize {
        self.lock().get(claim).map_or(0, BTreeSet::len)
    }

    /// Removes a snapshot as a person would, with the seal of its backup.
    pub(crate) fn remove(&self, claim: &'static str, path: &str, uid: &str) -> Result<(), String> {
        let mut wanted = self.lock();
        let script = format!("cd /claim && rm -r '{path}' && rm -f \"$(dirname '{path}')/.finished-{uid}\"");
        self.bash(claim, &script)?;
        wanted.entry(claim).or_default().remove(path);
        Ok(())
    }

    /// Runs a script beside a claim, which is `/claim`.
    pub(crate) fn bash(&self, claim: &str, script: &str) -> Result<String, String> {
        let hand = self.hand(claim);
        api::exec(self.space.name(), &hand, &["bash", "-c", &format!("set -e; {script}")])
    }

    /// The pod that holds it.
    fn hand(&self, claim: &str) -> String {
        let name = format!("hand-{claim}");
        match api::find(self.space.name(), &api::kind("v1", "Pod"), &name) {
            Some(_) => name,
            None => self.space.hand(claim),
        }
    }

    /// On a claim there is nothing but the snapshots that should be there: nothing unfinished, nothing that looks like one.
    pub(crate) fn look(&self, claim: &'static str) -> Result<(), String> {
        within(TIDIED, &format!("claim {claim} to be as it should"), || {
            let mut wanted = self.lock();
            let there = self.bash(claim, "cd /claim && find . -mindepth 2 -maxdepth 2 -type d | cut -c3-")?;
            let there: BTreeSet<String> = there.lines().map(str::to_owned).collect();
            let wanted = wanted.entry(claim).or_default();
            if there == *wanted {
                return Ok(());
            }
            let more: Vec<&String> = there.difference(wanted).collect();
            let gone: Vec<&String> = wanted.difference(&there).collect();
            Err(format!("there is {more:?} besides, and {gone:?} is missing"))
        })
    }
}
