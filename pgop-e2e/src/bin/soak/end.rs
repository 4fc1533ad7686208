//! The end: everything is compared once more, then deleted, and nothing is left.

use std::sync::Arc;

use pgop_e2e::api;

use crate::expected::Expectation;
use crate::fault::Fault;
use crate::place::Place;
use crate::process;
use crate::state::State;
use crate::wait::patiently;
use crate::world::{WAIT, World};

/// How many processes a sandbox has, without the soak's servers.
pub(crate) fn processes(place: &Place) -> Option<usize> {
    let sandbox = place.sandbox.as_ref()?;
    Some(process::below(sandbox.process).len())
}

/// `before` is how many processes there were at the beginning.
pub(crate) fn carry_out(world: &mut World, state: &State, before: Option<usize>) -> Result<(), String> {
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
            "the processes of the beginning to be all there are",
            || match processes(&watch.place) {
                Some(now) if now <= before => Ok(()),
                now => Err(format!("{now:?} processes, {before} at the beginning")),
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
        .try_for_each(|server| world.leave_nothing(server.name))?;
    patiently("everything that was made to go", || match world.space.made() {
        left if left.is_empty() => Ok(()),
        left => Err(left.join(", ")),
    })
}
