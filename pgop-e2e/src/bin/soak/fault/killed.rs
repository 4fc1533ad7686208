//! Processes of a server are killed.

use pgop_e2e::api;

use crate::expected::Expectation;
use crate::state::Server;
use crate::wait::patiently;
use crate::world::World;

/// The postmaster is the process of that name whose parent is not one.
const KILL_POSTMASTER: &str = r#"
name_of() { local n=; read -r n <"/proc/$1/comm"; printf %s "$n"; } 2>/dev/null
for p in /proc/[0-9]*; do
  p=${p#/proc/}
  [ "$(name_of "$p")" = postgres ] || continue
  parent=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$p/status")
  [ "$(name_of "$parent")" = postgres ] || { kill -9 "$p" && echo killed; }
done 2>/dev/null"#;

/// The whole server of one pod. Its container may end for that, or start the server again itself.
pub(super) fn postmaster(world: &World, server: &Server, pod: &str) -> Result<(), String> {
    let space = &world.space;
    world
        .watch
        .expect(Expectation::default().restarted(pod, 1).troubled(server.name));
    let since = || space.sql_in(pod, "select pg_postmaster_start_time()");
    let before = since()?;
    let said = api::exec(space.name(), pod, &["bash", "-c", KILL_POSTMASTER])?;
    if said.trim() != "killed" {
        return Err(format!("the postmaster of {pod} could not be killed: {said}"));
    }
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
