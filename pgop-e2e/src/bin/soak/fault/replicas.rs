//! A cluster gets more or fewer replicas.

use super::parameter::is_in_force;
use crate::expected::Expectation;
use crate::state::{MOST_REPLICAS, Server};
use crate::world::{WAIT, World};

pub(super) fn carry_out(world: &World, server: &Server) -> Result<(), String> {
    // Those that are too many; and one that comes back to its data of before may have a limit of before, and is restarted once it needs it no more.
    let expectation = Expectation::default().troubled(server.name);
    let expectation = (0..MOST_REPLICAS).fold(expectation, |all, i| {
        all.gone(format!("{}-replica-{i}", server.name), 1)
    });
    world.watch.expect(expectation);
    let replicas = format!("--replicas={}", server.replicas);
    let words = ["scale", "cluster", server.name, &replicas];
    world.pgo(&[&words[..], &WAIT].concat())?;
    is_in_force(world, server, "max_connections", &server.max_connections.to_string())
}
