//! A server that is made, written to, deleted, made again over the data that stayed, and deleted with its data.

use crate::expected::Expectation;
use crate::world::{WAIT, World};

/// Its name.
pub(super) fn name(number: u32) -> String {
    format!("passing-{number}")
}

pub(super) fn carry_out(world: &World, is_cluster: bool, number: u32) -> Result<(), String> {
    let name = name(number);
    world
        .watch
        .expect(Expectation::default().gone(&*name, 20).troubled(&*name));
    let noun = if is_cluster { "cluster" } else { "database" };
    let mut create = vec!["create", noun, &name];
    if is_cluster {
        create.push("--replicas=1");
    }
    let create = [&create[..], &WAIT].concat();
    let delete = [&["delete", noun, &name, "--yes"][..], &WAIT].concat();
    let primary = format!("{name}-0");
    world.pgo(&create)?;
    world.space.sql_in(&primary, "create table t as select 17 as n")?;
    world.pgo(&delete)?;
    world.pgo(&create)?;
    let found = world.space.sql_in(&primary, "select n from t")?;
    if found != "17" {
        return Err(format!("{name}, made again, does not have its row but `{found}`"));
    }
    world.pgo(&delete)?;
    world.space.leave_nothing(&name)
}
