//! A cluster gets more or fewer replicas.

use crate::expected::Expectation;
use crate::state::{MOST_REPLICAS, Server};
use crate::world::{WAIT, World};

pub(super) fn carry_out(world: &World, server: &Server) -> Result<(), String> {
    let too_many = server.replicas..MOST_REPLICAS;
    let expectation = Expectation::default().troubled(server.name);
    let expectation = too_many.fold(expectation, |all, i| {
        all.gone(format!("{}-replica-{i}", server.name), 1)
    });
    world.watch.expect(expectation);
    let replicas = format!("--replicas={}", server.replicas);
    let words = ["scale", "cluster", server.name, &replicas];
    world.pgo(&[&words[..], &WAIT].concat()).map(drop)
}
