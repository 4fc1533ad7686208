//! A snapshot becomes a new server, which has exactly the rows that it must have, and goes again.

use crate::expected::Expectation;
use crate::state::Server;
use crate::world::{WAIT, World};
use pgop_e2e::acknowledged;

/// Name of the new server.
pub(super) fn name(number: u32) -> String {
    format!("restored-{number}")
}

pub(super) fn carry_out(
    world: &World,
    server: &Server,
    snapshot: u32,
    into_cluster: bool,
    number: u32,
) -> Result<(), String> {
    let name = name(number);
    let snapshot = world
        .snapshots
        .get(&(server.name, snapshot))
        .ok_or_else(|| format!("snapshot {snapshot} of {} was not made", server.name))?;
    world
        .watch
        .expect(Expectation::default().gone(&*name, 20).troubled(&*name));
    let noun = if into_cluster { "cluster" } else { "database" };
    let (claim, path) = (
        format!("--backup-pvc={}", snapshot.claim),
        format!("--backup-path={}", snapshot.path),
    );
    let mut words = vec!["create", noun, &name, &claim, &path];
    if into_cluster {
        words.push("--replicas=1");
    }
    world.pgo(&[&words[..], &WAIT].concat())?;
    let found = acknowledged::ask(&world.space, &format!("{name}-0"), snapshot.least)?;
    let fits = found.is_whole() && (snapshot.least..=snapshot.most).contains(&found.largest);
    if !fits {
        return Err(format!("{name} does not have what {snapshot:?} must have: {found:?}"));
    }
    world.pgo(&[&["delete", noun, &name, "--yes"][..], &WAIT].concat())?;
    world.space.leave_nothing(&name)
}
