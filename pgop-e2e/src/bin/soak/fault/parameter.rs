//! Settings of a server are changed.

use serde_json::json;

use crate::expected::Expectation;
use crate::state::Server;
use crate::wait::patiently;
use crate::world::World;

/// One that is reloaded: nothing restarts for it.
pub(super) fn reloaded(world: &World, server: &Server) -> Result<(), String> {
    world.watch.expect(Expectation::default());
    let value = format!("{}MB", server.work_mem);
    world.patch(
        server,
        &json!({"spec": {"postgres": {"parameters": {"work_mem": value}}}}),
    )?;
    is_in_force(world, server, "work_mem", &value)
}

/// One that needs a restart: each pod is made anew, once.
pub(super) fn restarted(world: &World, server: &Server) -> Result<(), String> {
    let expectation = Expectation::default().troubled(server.name);
    let expectation = server.pods().into_iter().fold(expectation, |all, pod| all.gone(pod, 1));
    world.watch.expect(expectation);
    let value = server.max_connections.to_string();
    world.patch(
        server,
        &json!({"spec": {"postgres": {"parameters": {"max_connections": value}}}}),
    )?;
    is_in_force(world, server, "max_connections", &value)
}

/// In each pod: the kubelet brings the file within a minute or two.
fn is_in_force(world: &World, server: &Server, setting: &str, value: &str) -> Result<(), String> {
    server.pods().iter().try_for_each(|pod| {
        patiently(&format!("{setting} = {value} in {pod}"), || {
            match world.space.sql_in(pod, &format!("show {setting}"))? {
                shown if shown == value => Ok(()),
                shown => Err(format!("it is {shown}")),
            }
        })
    })
}
