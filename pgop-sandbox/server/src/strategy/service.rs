//! Services: their cluster addresses, out of 10.96.0.0/16, and their ports at the node.

mod node_port;

use std::collections::HashSet;
use std::net::Ipv4Addr;

use pgop_sandbox_schema::Cause;
use rand::RngExt as _;
use serde_json::{Value, json};

use crate::call::Call;
use crate::state::State;
use crate::status::{ApiError, Result};
use crate::write::put;

const NETWORK: u32 = u32::from_be_bytes([10, 96, 0, 0]);
const SIZE: u32 = 1 << 16;
/// Addresses at the beginning are for services that ask for a certain one, such as DNS.
const RESERVED: u32 = 256;

pub(super) fn create(call: &Call, service: &mut Value, name: &str) -> Result<()> {
    service["status"] = json!({"loadBalancer": {}});
    assign(call, service, name)?;
    node_port::assign(call, None, service, name)
}

pub(super) fn update(call: &Call, old: &Value, new: &mut Value, name: &str) -> Result<()> {
    node_port::assign(call, Some(old), new, name)?;
    if new["spec"]["type"] == "ExternalName" {
        for field in [
            "clusterIP",
            "clusterIPs",
            "ipFamilies",
            "ipFamilyPolicy",
            "internalTrafficPolicy",
        ] {
            put(&mut new["spec"], field, None);
        }
        return Ok(());
    }
    for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        if new["spec"]
            .get(field)
            .is_none_or(|value| value.is_null() || value == "")
        {
            put(&mut new["spec"], field, old["spec"].get(field).cloned());
        }
    }
    // It had none as long as it was an ExternalName.
    if new["spec"]["clusterIP"].is_null() {
        assign(call, new, name)
    } else {
        Ok(())
    }
}

fn assign(call: &Call, service: &mut Value, name: &str) -> Result<()> {
    let spec = &mut service["spec"];
    if spec["type"] == "ExternalName" {
        return Ok(());
    }
    let wanted = spec["clusterIP"]
        .as_str()
        .or_else(|| spec["clusterIPs"][0].as_str())
        .unwrap_or_default()
        .to_owned();
    let address = match wanted.as_str() {
        "None" => wanted,
        "" => free(&call.state).ok_or_else(|| ApiError::internal("failed to allocate a serviceIP: range is full"))?,
        _ => {
            check(&call.state, &wanted).map_err(|why| {
                let detail = format!("failed to allocate IP {wanted}: {why}");
                let cause = Cause::invalid("spec.clusterIPs", &json!([wanted]), &detail);
                ApiError::invalid(&call.resource, name, &[cause])
            })?;
            wanted
        }
    };
    spec["clusterIP"] = address.as_str().into();
    spec["clusterIPs"] = json!([address]);
    for (field, value) in [
        ("ipFamilies", json!(["IPv4"])),
        ("ipFamilyPolicy", json!("SingleStack")),
    ] {
        if spec.get(field).is_none_or(Value::is_null) {
            spec[field] = value;
        }
    }
    Ok(())
}

fn taken(state: &State) -> HashSet<String> {
    let (_, services) = state.store.list("services");
    services
        .values()
        .filter_map(|service| service.value()["spec"]["clusterIP"].as_str().map(str::to_owned))
        .collect()
}

fn free(state: &State) -> Option<String> {
    let taken = taken(state);
    let range = SIZE - 1 - RESERVED;
    let start = rand::rng().random_range(0..range);
    (0..range)
        .map(|step| Ipv4Addr::from(NETWORK + RESERVED + (start + step) % range).to_string())
        .find(|address| !taken.contains(address))
}

fn check(state: &State, address: &str) -> std::result::Result<(), &'static str> {
    let number = u32::from(address.parse::<Ipv4Addr>().map_err(|_| "not a valid IP address")?);
    if number <= NETWORK || number >= NETWORK + SIZE - 1 {
        return Err("the provided network does not match the current range");
    }
    if taken(state).contains(address) {
        Err("provided IP is already allocated")
    } else {
        Ok(())
    }
}
