//! The operator goes away; another one comes and works.

use pgop_e2e::api;
use pgop_e2e::operator::{self, Killer};

use crate::expected::Expectation;
use crate::world::World;
use pgop_e2e::patiently;

const NAME: &str = pgop_core::install::NAME;

/// Its pod is deleted.
pub(super) fn deleted(world: &World) -> Result<(), String> {
    world.watch.expect(Expectation::default().gone(NAME, 1).troubled(NAME));
    let old = the_one_that_works()?;
    api::delete(operator::NAMESPACE, &api::kind("v1", "Pod"), &old, false);
    another_than(&old)
}

/// Its process is killed, and its pod deleted after that. The container may have started again in between.
pub(super) fn killed(world: &World) -> Result<(), String> {
    let killer = "pgop-e2e-killer";
    let expectation = Expectation::default()
        .gone(NAME, 1)
        .restarted(NAME, 1)
        .failed(NAME)
        .troubled(NAME);
    world.watch.expect(expectation.gone(killer, 1).troubled(killer));
    let old = the_one_that_works()?;
    let killer_pod = Killer::start();
    killer_pod.kill(&old);
    another_than(&old)?;
    drop(killer_pod);
    patiently("the pod that killed to go", || {
        let pods = api::list(operator::NAMESPACE, &api::kind("v1", "Pod"), "")?;
        if pods.iter().any(|pod| api::text(pod, "/metadata/name") == killer) {
            return Err("it is there".to_owned());
        }
        Ok(())
    })
}

fn the_one_that_works() -> Result<String, String> {
    patiently("an operator that works", || {
        let working = operator::pods().into_iter().find(|pod| operator::works(pod));
        working.ok_or_else(|| format!("none of {:?} works", operator::pods()))
    })
}

fn another_than(old: &str) -> Result<(), String> {
    patiently("another operator", || match the_one_that_works()? {
        new if new != old && operator::pods() == [new.as_str()] => Ok(()),
        _ => Err(format!("{:?}", operator::pods())),
    })
}
