//! Ports at the node, out of 30000 to 32767: <https://kubernetes.io/docs/concepts/services-networking/service/#type-nodeport>.

use std::collections::HashSet;

use pgop_sandbox_schema::Cause;
use rand::RngExt as _;
use serde_json::{Value, json};

use crate::call::Call;
use crate::state::State;
use crate::status::{ApiError, Result};
use crate::write::put;

const FIRST: u64 = 30000;
const LAST: u64 = 32767;

/// Gives each port of a service that is reached at the node one there, and takes them from others. `old`: what it had.
pub(super) fn assign(call: &Call, old: Option<&Value>, service: &mut Value, name: &str) -> Result<()> {
    let spec = &service["spec"];
    let wants = match spec["type"].as_str() {
        Some("NodePort") => true,
        Some("LoadBalancer") => spec["allocateLoadBalancerNodePorts"] != false,
        _ => {
            if let Some(old) = old {
                release(old, service);
            }
            return Ok(());
        }
    };
    let own = old.map(numbers).unwrap_or_default();
    let taken = taken(&call.state, &call.path.namespace, name);
    let mut used: HashSet<u64> = numbers(service).into_iter().collect();
    let mut causes = Vec::new();
    let ports = service["spec"].get_mut("ports").and_then(Value::as_array_mut);
    for (index, port) in ports.into_iter().flatten().enumerate() {
        if port["nodePort"].as_u64().unwrap_or(0) == 0
            && let Some(kept) = old
                .and_then(|old| same_port(old, port))
                .filter(|kept| !used.contains(kept))
        {
            port["nodePort"] = kept.into();
            used.insert(kept);
        }
        match port["nodePort"].as_u64().unwrap_or(0) {
            0 if wants => {
                let free = free(&taken, &used)
                    .ok_or_else(|| ApiError::internal("failed to allocate a nodePort: range is full"))?;
                port["nodePort"] = free.into();
                used.insert(free);
            }
            0 => put(port, "nodePort", None),
            asked if own.contains(&asked) => {}
            asked => {
                let detail = if !(FIRST..=LAST).contains(&asked) {
                    format!("provided port is not in the valid range. The range of valid ports is {FIRST}-{LAST}")
                } else if taken.contains(&asked) {
                    "provided port is already allocated".to_owned()
                } else {
                    continue;
                };
                let field = format!("spec.ports[{index}].nodePort");
                causes.push(Cause::invalid(field, &asked.into(), &detail));
            }
        }
    }
    if causes.is_empty() {
        Ok(())
    } else {
        Err(ApiError::invalid(&call.resource, name, &causes))
    }
}

fn ports(service: &Value) -> impl Iterator<Item = &Value> {
    service["spec"]["ports"].as_array().into_iter().flatten()
}

fn numbers(service: &Value) -> Vec<u64> {
    let numbers = ports(service).filter_map(|port| port["nodePort"].as_u64());
    numbers.filter(|number| *number != 0).collect()
}

/// What the same port of the service had before.
fn same_port(old: &Value, port: &Value) -> Option<u64> {
    let of = |port: &Value| json!([port["port"], port["protocol"]]);
    ports(old).find(|before| of(before) == of(port))?["nodePort"].as_u64()
}

/// A service that is no longer reached at the node loses the ports that its owner left as they were.
fn release(old: &Value, service: &mut Value) {
    let own = numbers(old);
    let ports = service["spec"].get_mut("ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten() {
        if port["nodePort"].as_u64().is_some_and(|number| own.contains(&number)) {
            put(port, "nodePort", None);
        }
    }
}

/// What other services have.
fn taken(state: &State, namespace: &str, name: &str) -> HashSet<u64> {
    let (_, services) = state.store.list("services");
    let others = services
        .iter()
        .filter(|(key, _)| (key.namespace.as_str(), key.name.as_str()) != (namespace, name));
    others.flat_map(|(_, service)| numbers(service.value())).collect()
}

fn free(taken: &HashSet<u64>, used: &HashSet<u64>) -> Option<u64> {
    let size = LAST - FIRST + 1;
    let start = rand::rng().random_range(0..size);
    (0..size)
        .map(|step| FIRST + (start + step) % size)
        .find(|number| !taken.contains(number) && !used.contains(number))
}
