//! Which backup is disturbed, how and when: a pure function of how many there are to be and of a seeded source.
//!
//! Kinds are dealt from a shuffled deck, so that each happens before any comes again.

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

/// What happens to a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Nothing.
    Plain,
    /// The source's postmaster is killed.
    SourceKilled,
    /// The source's pod is deleted without a goodbye.
    SourceDeleted,
    /// The source's pod is deleted, and may shut down.
    SourceRestarted,
    /// The Job's pod is deleted.
    PodDeleted,
    /// The agent in the Job's pod is killed.
    AgentKilled,
    /// The Job is deleted; the operator makes it again.
    JobDeleted,
    /// The claim is full, and gets room when that was told.
    Filled,
    /// The claim is full, and stays so.
    StaysFull,
    /// The claim is too small for a snapshot, even if it were empty.
    TooSmall,
    /// Two of one source are made within one second.
    SameSecond,
    /// Something else gets the snapshot's name.
    NameTaken,
    /// A copy of another snapshot, with this backup's label, gets the snapshot's name.
    LabelForged,
}

/// One deck.
const DECK: [Kind; 12] = [
    Kind::SourceKilled,
    Kind::SourceDeleted,
    Kind::SourceRestarted,
    Kind::PodDeleted,
    Kind::AgentKilled,
    Kind::JobDeleted,
    Kind::Filled,
    Kind::StaysFull,
    Kind::TooSmall,
    Kind::SameSecond,
    Kind::NameTaken,
    Kind::LabelForged,
];

impl Kind {
    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "undisturbed",
            Self::SourceKilled => "source: postmaster killed",
            Self::SourceDeleted => "source: pod deleted at once",
            Self::SourceRestarted => "source: pod restarted",
            Self::PodDeleted => "Job: pod deleted",
            Self::AgentKilled => "Job: agent killed",
            Self::JobDeleted => "Job: Job deleted",
            Self::Filled => "claim: full, then freed",
            Self::StaysFull => "claim: full, and stays so",
            Self::TooSmall => "claim: too small",
            Self::SameSecond => "two in the same second",
            Self::NameTaken => "name: taken by something else",
            Self::LabelForged => "name: by a copy with forged label",
        }
    }

    /// How many backups it needs.
    pub(crate) fn backups(self) -> usize {
        if self == Self::SameSecond { 2 } else { 1 }
    }
}

/// When it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// As soon as it can.
    AtOnce,
    /// So many milliseconds after the first file was written.
    Copying(u64),
}

/// A backup, or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) kind: Kind,
    /// Number of its source.
    pub(crate) source: usize,
    pub(crate) moment: Moment,
    /// What is deleted has no time to say goodbye.
    pub(crate) now: bool,
}

/// As many backups of so many sources, half of them disturbed. The first ones are not: what is forged later has to look like one.
pub(crate) fn deal(count: usize, sources: usize, random: &mut StdRng) -> Vec<Case> {
    let mut kinds = Vec::new();
    let mut left = count / 2;
    while left > 0 {
        let mut deck = DECK;
        deck.shuffle(random);
        for kind in deck {
            if kind.backups() <= left {
                left -= kind.backups();
                kinds.push(kind);
            }
        }
    }
    let plain = count - count / 2;
    let first = sources.min(plain);
    kinds.extend(vec![Kind::Plain; plain - first]);
    kinds.shuffle(random);
    let mut case = |kind, source| Case {
        kind,
        source,
        moment: if random.random_bool(0.25) {
            Moment::AtOnce
        } else {
            Moment::Copying(random.random_range(0..5000))
        },
        now: random.random(),
    };
    let mut cases: Vec<Case> = (0..first).map(|source| case(Kind::Plain, source)).collect();
    cases.extend(kinds.into_iter().enumerate().map(|(i, kind)| case(kind, i % sources)));
    cases
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;

    use super::*;

    fn dealt(count: usize, seed: u64) -> Vec<Case> {
        deal(count, 2, &mut StdRng::seed_from_u64(seed))
    }

    #[test]
    fn half_of_them_are_disturbed_and_the_count_is_kept() {
        for seed in 0..20 {
            for count in [4, 5, 20, 31, 200] {
                let cases = dealt(count, seed);
                let backups = |plain: bool| -> usize {
                    let kinds = cases.iter().map(|case| case.kind);
                    kinds
                        .filter(|kind| (*kind == Kind::Plain) == plain)
                        .map(Kind::backups)
                        .sum()
                };
                assert_eq!((backups(false), backups(true)), (count / 2, count - count / 2));
                assert!(cases[..2].iter().all(|case| case.kind == Kind::Plain));
                assert_eq!((cases[0].source, cases[1].source), (0, 1));
            }
        }
    }

    #[test]
    fn every_kind_happens_and_a_seed_gives_the_same_again() {
        let kinds: BTreeSet<Kind> = dealt(30, 3).iter().map(|case| case.kind).collect();
        assert_eq!(kinds.len(), 1 + DECK.len());
        assert_eq!(dealt(200, 7), dealt(200, 7));
        assert_ne!(dealt(200, 7), dealt(200, 8));
    }
}
