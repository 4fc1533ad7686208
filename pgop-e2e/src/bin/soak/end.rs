//! The end: everything is compared once more, then deleted, and nothing is left.

use std::sync::Arc;

use pgop_e2e::api;

use crate::expected::Expectation;
use crate::fault::Fault;
use crate::place::Place;
use crate::process;
use crate::state::State;
use crate::world::{WAIT, World};
use pgop_e2e::patiently;

/// What a sandbox uses while the soak has made nothing: afterwards it must be the same again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Footprint {
    processes: usize,
    descriptors: f64,
    /// In the folder of its node.
    files: u32,
}

/// Connections of the moment.
const FEW_DESCRIPTORS: f64 = 16.0;
/// Logs that were begun anew.
const FEW_FILES: u32 = 16;

impl Footprint {
    /// Of the sandbox at that place, if it is one.
    pub(crate) fn of(place: &Place) -> Option<Self> {
        let sandbox = place.sandbox.as_ref()?;
        Some(Self {
            processes: process::below(sandbox.process).len(),
            descriptors: process::usage(sandbox.process)?.descriptors,
            files: process::size(&sandbox.node()).1,
        })
    }

    fn is_as_small_as(self, before: Self) -> bool {
        self.processes <= before.processes
            && self.descriptors <= before.descriptors + FEW_DESCRIPTORS
            && self.files <= before.files + FEW_FILES
    }
}

/// `before` is what was used at the beginning.
pub(crate) fn carry_out(world: &mut World, state: &State, before: Option<Footprint>) -> Result<(), String> {
    let watch = Arc::clone(&world.watch);
    println!("{} the end: everything is compared", watch.time());
    world.settle(state)?;
    for writer in &world.writers {
        let progress = writer.progress(&world.space)?;
        println!(
            "      {}: {} acknowledged writes, all there; the longest pause between two was {:.1} s",
            writer.server,
            progress.acknowledged,
            std::time::Duration::from_millis(progress.longest_ms).as_secs_f64()
        );
    }
    for (at, server) in state.servers.iter().enumerate() {
        if let Some(&snapshot) = server.snapshots.last() {
            let number = state.made + 1 + u32::try_from(at).unwrap_or(0);
            let restore = Fault::Restored {
                server: at,
                snapshot,
                into_cluster: false,
                number,
            };
            println!("{} {}", watch.time(), restore.describe(state));
            restore.carry_out(state, world)?;
            *watch.seen().done.entry(restore.name()).or_default() += 1;
        }
    }
    println!("{} the end: everything is deleted", watch.time());
    delete(world, state)?;
    if let Some(before) = before {
        patiently(
            "the sandbox to use no more than at the beginning",
            || match Footprint::of(&watch.place) {
                Some(now) if now.is_as_small_as(before) => Ok(()),
                now => Err(format!("{now:?}, and at the beginning {before:?}")),
            },
        )?;
    }
    Ok(())
}

fn delete(world: &World, state: &State) -> Result<(), String> {
    let all = state
        .servers
        .iter()
        .flat_map(|server| [server.name.to_owned(), format!("writer-{}", server.name)]);
    let expectation = all.fold(Expectation::default(), |all, name| all.gone(&*name, 99).troubled(name));
    world.watch.expect(expectation);
    for writer in &world.writers {
        api::delete(
            world.space.name(),
            &api::kind("v1", "Pod"),
            &format!("writer-{}", writer.server),
            false,
        );
    }
    for word in ["backup", "cluster", "database"] {
        let delete = ["delete", word, "all", "--yes"];
        world.pgo(&[&delete[..], &WAIT].concat())?;
    }
    state
        .servers
        .iter()
        .try_for_each(|server| world.space.leave_nothing(server.name))?;
    patiently("everything that was made to go", || match world.space.made() {
        left if left.is_empty() => Ok(()),
        left => Err(left.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_one_pod_is_seen() {
        let before = Footprint {
            processes: 12,
            descriptors: 100.0,
            files: 300,
        };
        assert!(before.is_as_small_as(before));
        for left in [
            Footprint {
                processes: 13,
                ..before
            },
            Footprint {
                descriptors: 120.0,
                ..before
            },
            Footprint { files: 330, ..before },
        ] {
            assert!(!left.is_as_small_as(before), "{left:?}");
        }
    }
}
