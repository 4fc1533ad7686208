//! Settings of a server are changed.

use serde_json::json;

use crate::expected::Expectation;
use crate::state::Server;
use crate::world::World;
use pgop_e2e::patiently;

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

/// One that needs a restart: each pod is made anew, and a replica once more where its primary had a higher limit until then.
pub(super) fn restarted(world: &World, server: &Server) -> Result<(), String> {
    let expectation = Expectation::default().troubled(server.name);
    let primary = format!("{}-0", server.name);
    let expectation = server.pods().into_iter().fold(expectation, |all, pod| {
        let times = if pod == primary { 1 } else { 2 };
        all.gone(pod, times)
    });
    world.watch.expect(expectation);
    let value = server.max_connections.to_string();
    world.patch(
        server,
        &json!({"spec": {"postgres": {"parameters": {"max_connections": value}}}}),
    )?;
    is_in_force(world, server, "max_connections", &value)
}

/// In each pod: at once where the operator is there to tell it, else within a minute or two.
pub(super) fn is_in_force(world: &World, server: &Server, setting: &str, value: &str) -> Result<(), String> {
    server.pods().iter().try_for_each(|pod| {
        patiently(&format!("{setting} of {} in {pod}", server.name), || {
            match world.space.sql_in(pod, &format!("show {setting}"))? {
                shown if shown == value => Ok(()),
                shown => Err(format!("it is {shown}")),
            }
        })
    })
}
