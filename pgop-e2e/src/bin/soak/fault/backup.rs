//! A backup; the oldest snapshot goes when there are too many.

use pgop_e2e::api;

use crate::expected::Expectation;
use crate::settle;
use crate::state::Server;
use crate::world::{Snapshot, WAIT, World};
use pgop_e2e::patiently;

/// Name of a `PgBackup`.
pub(super) fn name(server: &str, number: u32) -> String {
    format!("{server}-snapshot-{number}")
}

pub(super) fn carry_out(world: &mut World, server: &Server, number: u32) -> Result<(), String> {
    let name = name(server.name, number);
    world.watch.expect(Expectation::default());
    let least = world.writer(server.name)?.progress(&world.space)?.acknowledged;
    let words = ["create", "backup", server.name, "--name", &name];
    world.pgo(&[&words[..], &WAIT].concat())?;
    // The writer does not know of a write whose acknowledgement is on its way.
    let most = world.writer(server.name)?.progress(&world.space)?.acknowledged + 1;
    let (claim, path) = place(world, &name)?;
    let snapshot = Snapshot {
        claim,
        path,
        least,
        most,
    };
    world.snapshots.insert((server.name, number), snapshot);
    prune(world, server)?;
    settle::server(&world.space, server, world.writer(server.name)?).map(drop)
}

/// Where a backup lies.
fn place(world: &World, name: &str) -> Result<(String, String), String> {
    let backup = world.space.resource("PgBackup", name);
    match (api::text(&backup, "/status/claim"), api::text(&backup, "/status/path")) {
        (claim, path) if !claim.is_empty() && !path.is_empty() => Ok((claim, path)),
        _ => Err(format!(
            "PgBackup {name} does not say where it is: {}",
            backup["status"]
        )),
    }
}

/// Removes the snapshots that the state does not have any more, as a person would, and looks that nothing else is on the claim.
fn prune(world: &mut World, server: &Server) -> Result<(), String> {
    let is_old = |key: &&(&'static str, u32)| key.0 == server.name && !server.snapshots.contains(&key.1);
    let old: Vec<(&'static str, u32)> = world.snapshots.keys().filter(is_old).copied().collect();
    let removed: Vec<Snapshot> = old.iter().filter_map(|key| world.snapshots.remove(key)).collect();
    for (server, number) in old {
        remove(world, &name(server, number))?;
    }
    let kept: Vec<&Snapshot> = world
        .snapshots
        .iter()
        .filter(|(key, _)| key.0 == server.name)
        .map(|(_, kept)| kept)
        .collect();
    let claim = kept
        .first()
        .map(|snapshot| snapshot.claim.clone())
        .ok_or("no snapshot is left")?;
    let pod = format!("hand-{claim}");
    world
        .watch
        .expect(Expectation::default().gone(&*pod, 1).troubled(&*pod));
    let hand = world.space.hand(&claim);
    for snapshot in removed {
        world.space.bash(&hand, &format!("rm -rf '/claim/{}'", snapshot.path));
    }
    let there = world.space.bash(
        &hand,
        "cd /claim && find . -mindepth 2 -maxdepth 2 -type d | cut -c3- | sort",
    );
    let mut wanted: Vec<&str> = kept.iter().map(|snapshot| snapshot.path.as_str()).collect();
    wanted.sort_unstable();
    let pods = api::kind("v1", "Pod");
    api::delete(world.space.name(), &pods, &hand, true);
    patiently(&format!("pod {hand} to go"), || {
        match settle::uid(&world.space, &hand) {
            Err(_) => Ok(()),
            Ok(_) => Err("it is there".to_owned()),
        }
    })?;
    if there.lines().eq(wanted.iter().copied()) {
        Ok(())
    } else {
        Err(format!(
            "on claim {claim} there should be {wanted:?}, and there is\n{there}"
        ))
    }
}

/// Deletes a `PgBackup` with its Job and pods, and waits until they are gone. Its snapshot stays.
pub(super) fn remove(world: &World, name: &str) -> Result<(), String> {
    world.watch.expect(Expectation::default().gone(name, 9));
    world.pgo(&["delete", "backup", name, "--yes"])?;
    patiently(&format!("pods of {name} to go"), || {
        let pods = api::list(
            world.space.name(),
            &api::kind("v1", "Pod"),
            &format!("pgop.dev/backup={name}"),
        )?;
        if pods.is_empty() {
            Ok(())
        } else {
            Err(format!("{} are there", pods.len()))
        }
    })
}
