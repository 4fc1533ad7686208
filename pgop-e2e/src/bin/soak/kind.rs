//! Which fault is next: a pure function of what was asked for so far and of a seeded source.
//!
//! Kinds are dealt from a shuffled deck, so that each happens before any comes again.

use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, RngExt};

use crate::fault::Fault;
use crate::state::{MOST_REPLICAS, Server, State};

/// The operator dies in one deck of so many: it has to live long enough in between for its memory to be judged.
const OPERATOR_EVERY: u32 = 5;
/// Claims grow by little: they are real disks elsewhere.
const LARGEST: u32 = 400;

/// A kind of fault, before it is known whom it hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    PodDeleted,
    PodDeletedAtOnce,
    ServerKilled,
    BackendKilled,
    OperatorDeleted,
    OperatorKilled,
    Reloaded,
    Restarted,
    Scaled,
    Grown,
    Labelled,
    PodsLabelled,
    BackedUp,
    BackupCutOff,
    Restored,
    CameAndWent,
}

/// One deck. What is in it twice happens twice as often.
const DECK: &[Kind] = &[
    Kind::PodDeleted,
    Kind::PodDeleted,
    Kind::PodDeletedAtOnce,
    Kind::ServerKilled,
    Kind::BackendKilled,
    Kind::Reloaded,
    Kind::Restarted,
    Kind::Scaled,
    Kind::Scaled,
    Kind::Grown,
    Kind::Labelled,
    Kind::PodsLabelled,
    Kind::BackedUp,
    Kind::BackedUp,
    Kind::BackupCutOff,
    Kind::Restored,
    Kind::CameAndWent,
];

/// The next fault, and what will have been asked for after it.
pub(crate) fn next(mut state: State, random: &mut impl Rng) -> (Fault, State) {
    loop {
        if state.deck.is_empty() {
            state.deck = DECK.to_vec();
            if state.decks.is_multiple_of(OPERATOR_EVERY) {
                state.deck.extend([Kind::OperatorDeleted, Kind::OperatorKilled]);
            }
            state.deck.shuffle(random);
            state.decks += 1;
        }
        // What is not possible yet, such as a restore before the first backup, waits for its turn.
        let dealt = (0..state.deck.len()).find_map(|at| Some((at, fault(state.deck[at], &state, random)?)));
        if let Some((at, fault)) = dealt {
            state.deck.remove(at);
            let after = state.after(&fault);
            return (fault, after);
        }
        state.deck.clear();
    }
}

/// A fault of that kind, where there is one.
fn fault(kind: Kind, state: &State, random: &mut impl Rng) -> Option<Fault> {
    let number = state.made + 1;
    let mut one = |fits: &dyn Fn(&Server) -> bool| {
        let all = state.servers.iter().enumerate();
        let fitting: Vec<usize> = all.filter(|(_, server)| fits(server)).map(|(i, _)| i).collect();
        fitting.choose(random).copied()
    };
    let any = |_: &Server| true;
    Some(match kind {
        Kind::PodDeleted | Kind::PodDeletedAtOnce => {
            let server = one(&any)?;
            let pod = state.servers[server].pods().choose(random)?.clone();
            let at_once = kind == Kind::PodDeletedAtOnce;
            Fault::PodDeleted { server, pod, at_once }
        }
        Kind::ServerKilled => {
            let server = one(&any)?;
            let pod = state.servers[server].pods().choose(random)?.clone();
            Fault::ServerKilled { server, pod }
        }
        Kind::BackendKilled => Fault::BackendKilled { server: one(&any)? },
        Kind::OperatorDeleted => Fault::OperatorDeleted,
        Kind::OperatorKilled => Fault::OperatorKilled,
        Kind::Reloaded => {
            let server = one(&any)?;
            let work_mem = other(state.servers[server].work_mem, 4..33, random);
            Fault::Reloaded { server, work_mem }
        }
        Kind::Restarted => {
            let server = one(&any)?;
            let max_connections = other(state.servers[server].max_connections, 50..151, random);
            Fault::Restarted {
                server,
                max_connections,
            }
        }
        Kind::Scaled => {
            let server = one(&|server| server.is_cluster)?;
            let replicas = other(state.servers[server].replicas, 0..MOST_REPLICAS + 1, random);
            Fault::Scaled { server, replicas }
        }
        Kind::Grown => {
            let server = one(&|server| state.grows && server.mebibytes < LARGEST)?;
            let mebibytes = state.servers[server].mebibytes + 8;
            Fault::Grown { server, mebibytes }
        }
        Kind::Labelled => {
            let server = one(&any)?;
            let label = state.servers[server].label + 1;
            Fault::Labelled { server, label }
        }
        Kind::PodsLabelled => {
            let server = one(&any)?;
            let label = state.servers[server].pod_label + 1;
            Fault::PodsLabelled { server, label }
        }
        Kind::BackedUp => Fault::BackedUp {
            server: one(&any)?,
            number,
        },
        Kind::BackupCutOff => Fault::BackupCutOff {
            server: one(&any)?,
            number,
        },
        Kind::Restored => {
            let server = one(&|server| !server.snapshots.is_empty())?;
            let snapshot = *state.servers[server].snapshots.choose(random)?;
            let into_cluster = random.random();
            Fault::Restored {
                server,
                snapshot,
                into_cluster,
                number,
            }
        }
        Kind::CameAndWent => Fault::CameAndWent {
            is_cluster: random.random(),
            number,
        },
    })
}

/// A number from `range` that is not `than`.
fn other(than: u32, range: std::ops::Range<u32>, random: &mut impl Rng) -> u32 {
    loop {
        let number = random.random_range(range.clone());
        if number != than {
            return number;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn faults(seed: u64, count: usize) -> Vec<(Fault, State)> {
        let mut random = StdRng::seed_from_u64(seed);
        let mut state = State::new(3, true);
        let mut all = Vec::new();
        for _ in 0..count {
            let (fault, after) = next(state, &mut random);
            state = after.clone();
            all.push((fault, after));
        }
        all
    }

    #[test]
    fn a_seed_gives_the_same_faults_in_the_same_order() {
        assert_eq!(faults(7, 200), faults(7, 200));
        assert_ne!(faults(7, 200), faults(8, 200));
    }

    #[test]
    fn every_kind_happens_before_any_deck_is_dealt_again() {
        for seed in 0..20 {
            let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
            for (fault, _) in faults(seed, DECK.len() + 2) {
                *counts.entry(fault.name()).or_default() += 1;
            }
            assert_eq!(counts.len(), 16, "seed {seed}: {counts:?}");
        }
    }

    #[test]
    fn only_what_is_there_is_hit() {
        for seed in 0..20 {
            let mut before = State::new(2, true);
            for (fault, after) in faults_of(&before, seed, 300) {
                match &fault {
                    Fault::PodDeleted { server, pod, .. } | Fault::ServerKilled { server, pod } => {
                        assert!(before.servers[*server].pods().contains(pod), "{fault:?}");
                    }
                    Fault::Restored { server, snapshot, .. } => {
                        assert!(before.servers[*server].snapshots.contains(snapshot), "{fault:?}");
                    }
                    Fault::Scaled { server, replicas } => {
                        assert!(before.servers[*server].is_cluster && *replicas <= MOST_REPLICAS);
                        assert_ne!(before.servers[*server].replicas, *replicas);
                    }
                    Fault::Grown { server, mebibytes } => {
                        assert!(*mebibytes > before.servers[*server].mebibytes && *mebibytes <= LARGEST);
                    }
                    _ => {}
                }
                assert!(after.servers.iter().all(|server| server.snapshots.len() <= 2));
                before = after;
            }
        }
    }

    fn faults_of(state: &State, seed: u64, count: usize) -> Vec<(Fault, State)> {
        let mut random = StdRng::seed_from_u64(seed);
        let mut state = state.clone();
        let mut step = || {
            let (fault, after) = next(state.clone(), &mut random);
            state = after.clone();
            (fault, after)
        };
        (0..count).map(|_| step()).collect()
    }

    #[test]
    fn a_claim_that_can_not_grow_is_left_alone_and_the_soak_goes_on() {
        let state = State::new(1, false);
        let all = faults_of(&state, 3, 200);
        assert!(!all.iter().any(|(fault, _)| matches!(fault, Fault::Grown { .. })));
    }

    #[test]
    fn between_two_deaths_of_the_operator_lie_whole_decks() {
        let dead: Vec<usize> = faults(5, 400)
            .iter()
            .enumerate()
            .filter(|(_, (fault, _))| matches!(fault, Fault::OperatorKilled | Fault::OperatorDeleted))
            .map(|(i, _)| i)
            .collect();
        let pairs = dead.windows(2).filter(|pair| pair[1] - pair[0] > 3 * DECK.len());
        assert!(pairs.count() >= 3, "{dead:?}");
    }
}
