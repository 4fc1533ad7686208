//! When all is as it was asked for.

use pgop_e2e::{Space, api};
use serde_json::Value;

use crate::check::acknowledged;
use crate::state::Server;
use pgop_e2e::patiently;
use pgop_e2e::writer::{Progress, Writer};

/// Waits until a server is what the state says, takes writes, and has all that were acknowledged on every member.
pub(crate) fn server(space: &Space, server: &Server, writer: &Writer) -> Result<Progress, String> {
    let name = server.name;
    patiently(&format!("{} {name} to be ready", server.kind()), || {
        is_ready(space, server)
    })?;
    let progress = writer.goes_on(space)?;
    acknowledged::check(space, server, progress)?;
    Ok(progress)
}

fn is_ready(space: &Space, server: &Server) -> Result<(), String> {
    let resource = resource(space, server)?;
    let number = |object: &Value, pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    let is_seen =
        |object: &Value| number(object, "/status/observedGeneration") == number(object, "/metadata/generation");
    if !is_seen(&resource) || api::text(&resource, "/status/phase") != "Ready" {
        return Err(resource["status"].to_string());
    }
    let labels = format!("app.kubernetes.io/instance={}", server.name);
    for set in api::list(space.name(), &api::kind("apps/v1", "StatefulSet"), &labels)? {
        let wanted = number(&set, "/spec/replicas");
        let all = ["/status/replicas", "/status/readyReplicas", "/status/updatedReplicas"];
        if !is_seen(&set) || all.iter().any(|count| number(&set, count) != wanted) {
            return Err(format!(
                "StatefulSet {}: {}",
                api::text(&set, "/metadata/name"),
                set["status"]
            ));
        }
    }
    let pods = api::list(
        space.name(),
        &api::kind("v1", "Pod"),
        &format!("{labels},pgop.dev/role"),
    )?;
    let mut names: Vec<String> = pods.iter().map(|pod| api::text(pod, "/metadata/name")).collect();
    names.sort();
    let leaving = pods
        .iter()
        .any(|pod| pod.pointer("/metadata/deletionTimestamp").is_some());
    if names != server.pods() || leaving {
        return Err(format!("its pods are {names:?}"));
    }
    Ok(())
}

/// The resource of a server.
pub(crate) fn resource(space: &Space, server: &Server) -> Result<Value, String> {
    let all = api::list(space.name(), &api::pgop(server.kind()), "")?;
    let found = all
        .into_iter()
        .find(|object| api::text(object, "/metadata/name") == server.name);
    found.ok_or_else(|| format!("no {} {}", server.kind(), server.name))
}

/// The uid of a pod, while there is one of that name.
pub(crate) fn uid(space: &Space, pod: &str) -> Result<String, String> {
    let pods = api::list(space.name(), &api::kind("v1", "Pod"), "")?;
    let found = pods.iter().find(|found| api::text(found, "/metadata/name") == pod);
    found
        .map(|pod| api::text(pod, "/metadata/uid"))
        .ok_or_else(|| format!("there is no pod {pod}"))
}

/// Waits until another pod has the name.
pub(crate) fn replaced(space: &Space, pod: &str, old: &str) -> Result<(), String> {
    patiently(&format!("another pod {pod}"), || match uid(space, pod)? {
        new if new != old => Ok(()),
        _ => Err("it is the old one".to_owned()),
    })
}
