//! The source of a backup is lost while it is copied: the backup fails and says so, or it was quicker. Nothing of it is left either way.

use pgop_e2e::api;

use super::backup;
use crate::expected::Expectation;
use crate::settle;
use crate::state::Server;
use crate::world::{Snapshot, World};
use pgop_e2e::patiently;

pub(super) fn carry_out(world: &mut World, server: &Server, number: u32) -> Result<(), String> {
    let name = backup::name(server.name, number);
    let primary = format!("{}-0", server.name);
    let expectation = Expectation::default()
        .gone(&*primary, 1)
        .failed(&*name)
        .restarted(&*name, 9);
    world.watch.expect(expectation.gone(&*name, 9).troubled(server.name));
    let old = settle::uid(&world.space, &primary)?;
    let least = world.writer(server.name)?.progress(&world.space)?.acknowledged;
    // As slow as a larger database would be.
    world.pgo(&[
        "create",
        "backup",
        server.name,
        "--name",
        &name,
        "--strategy-param",
        "maxRate=4M",
    ])?;
    patiently(&format!("backup {name} to run"), || match phase(world, &name) {
        running if ["Running", "Succeeded", "Failed"].contains(&running.as_str()) => Ok(()),
        other => Err(other),
    })?;
    api::delete(world.space.name(), &api::kind("v1", "Pod"), &primary, true);
    settle::replaced(&world.space, &primary, &old)?;
    let end = patiently(&format!("backup {name} to end"), || match phase(world, &name) {
        end if end == "Succeeded" || end == "Failed" => Ok(end),
        other => Err(other),
    })?;
    if end == "Succeeded" {
        // It is there, and is removed with the next one that is too old.
        let resource = world.space.resource("PgBackup", &name);
        let of = |pointer: &str| api::text(&resource, pointer);
        let (claim, path) = (of("/status/claim"), of("/status/path"));
        let most = world.writer(server.name)?.progress(&world.space)?.acknowledged + 1;
        world.snapshots.insert(
            (server.name, number),
            Snapshot {
                claim,
                path,
                least,
                most,
            },
        );
        return Ok(());
    }
    backup::remove(world, &name)
}

fn phase(world: &World, name: &str) -> String {
    api::text(&world.space.resource("PgBackup", name), "/status/phase")
}
