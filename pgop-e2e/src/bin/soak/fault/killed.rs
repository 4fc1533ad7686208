//! Processes of a server are killed.

use pgop_e2e::api;

use crate::expected::Expectation;
use crate::state::Server;
use crate::world::World;
use pgop_e2e::patiently;

/// The whole server of one pod. Its container may end for that, or start the server again itself.
pub(super) fn postmaster(world: &World, server: &Server, pod: &str) -> Result<(), String> {
    let space = &world.space;
    world
        .watch
        .expect(Expectation::default().restarted(pod, 1).troubled(server.name));
    let since = || space.sql_in(pod, "select pg_postmaster_start_time()");
    let before = since()?;
    space.kill_postmaster(pod)?;
    patiently(&format!("another server in {pod}"), || match since()? {
        now if now != before => Ok(()),
        _ => Err("it is the old one".to_owned()),
    })
}

/// The backend of the writer, so that the primary recovers in place.
pub(super) fn backend(world: &World, server: &Server) -> Result<(), String> {
    let space = &world.space;
    world.watch.expect(Expectation::default().troubled(server.name));
    let primary = format!("{}-0", server.name);
    let backend = patiently("a backend to kill", || {
        let query =
            "select pid from pg_stat_activity where usename = 'app' and backend_type = 'client backend' limit 1";
        match space.sql_in(&primary, query)? {
            none if none.is_empty() => Err("nobody is connected".to_owned()),
            pid => Ok(pid),
        }
    })?;
    api::exec(space.name(), &primary, &["bash", "-c", &format!("kill -9 {backend}")]).map(drop)
}
