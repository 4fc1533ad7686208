//! A pod is deleted: the StatefulSet makes another one, which finds its data.

use pgop_e2e::api;

use crate::expected::Expectation;
use crate::settle;
use crate::state::Server;
use crate::world::World;

pub(super) fn carry_out(world: &World, server: &Server, pod: &str, at_once: bool) -> Result<(), String> {
    let space = &world.space;
    world
        .watch
        .expect(Expectation::default().gone(pod, 1).troubled(server.name));
    let old = settle::uid(space, pod)?;
    api::delete(space.name(), &api::kind("v1", "Pod"), pod, at_once);
    settle::replaced(space, pod, &old)
}
