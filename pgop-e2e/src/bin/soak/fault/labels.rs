//! Labels are changed.

use pgop_e2e::api;
use serde_json::json;

use crate::expected::Expectation;
use crate::state::Server;
use crate::world::World;
use pgop_e2e::patiently;

/// Those of the resource: nothing happens.
pub(super) fn of_the_resource(world: &World, server: &Server) -> Result<(), String> {
    world.watch.expect(Expectation::default());
    world.patch(
        server,
        &json!({"metadata": {"labels": {"soak": server.label.to_string()}}}),
    )
}

/// Those of the pods: each is made anew, once.
pub(super) fn of_the_pods(world: &World, server: &Server) -> Result<(), String> {
    let expectation = Expectation::default().troubled(server.name);
    let expectation = server.pods().into_iter().fold(expectation, |all, pod| all.gone(pod, 1));
    world.watch.expect(expectation);
    let label = server.pod_label.to_string();
    world.patch(server, &json!({"spec": {"pod": {"labels": {"soak": label}}}}))?;
    patiently("pods with the label", || {
        let labels = format!("app.kubernetes.io/instance={},soak={label}", server.name);
        match api::list(world.space.name(), &api::kind("v1", "Pod"), &labels)?.len() {
            all if all == server.pods().len() => Ok(()),
            some => Err(format!("{some} of {}", server.pods().len())),
        }
    })
}
