//! The claims of a server grow; nothing restarts for it.

use pgop_e2e::api;
use serde_json::{Value, json};

use crate::expected::Expectation;
use crate::settle;
use crate::state::Server;
use crate::world::World;
use pgop_e2e::patiently;

pub(super) fn carry_out(world: &World, server: &Server) -> Result<(), String> {
    world.watch.expect(Expectation::default());
    let (space, size) = (&world.space, format!("{}Mi", server.mebibytes));
    world.patch(server, &json!({"spec": {"storage": {"size": size}}}))?;
    patiently(&format!("claims of {size}"), || {
        let resource = settle::resource(space, server)?;
        let claims = api::list(space.name(), &api::kind("v1", "PersistentVolumeClaim"), "")?;
        let used = resource
            .pointer("/status/claims")
            .and_then(Value::as_array)
            .ok_or("status.claims is empty")?;
        for name in used {
            let claim = claims.iter().find(|claim| claim["metadata"]["name"] == *name);
            let has = claim.map_or_else(String::new, |claim| api::text(claim, "/status/capacity/storage"));
            if has != size {
                return Err(format!("{name} has {has}"));
            }
        }
        Ok(())
    })
}
