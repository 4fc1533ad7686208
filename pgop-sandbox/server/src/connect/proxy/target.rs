//! To whom a request is passed on: the address in a name such as `web`, `web:8080` or `https:web:https`.

use std::net::{IpAddr, SocketAddr};

use rand::seq::IndexedRandom as _;
use serde_json::Value;

use crate::call::Call;
use crate::status::{ApiError, Result};
use crate::store::Key;

/// What is spoken there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Https,
}

/// An address of the pod network, and what is spoken there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) scheme: Scheme,
    pub(super) address: SocketAddr,
}

/// A name taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Asked<'a> {
    scheme: Scheme,
    name: &'a str,
    /// A number or a name; empty: whichever there is.
    port: &'a str,
}

impl<'a> Asked<'a> {
    fn parse(id: &'a str) -> Option<Self> {
        let parts: Vec<&str> = id.split(':').collect();
        let (scheme, name, port) = match parts.as_slice() {
            [name] => ("", *name, ""),
            [name, port] => ("", *name, *port),
            [scheme, name, port] => (*scheme, *name, *port),
            _ => return None,
        };
        let scheme = match scheme {
            "" | "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return None,
        };
        (!name.is_empty()).then_some(Self { scheme, name, port })
    }
}

/// Where the request of the path goes.
pub(super) fn of(call: &Call) -> Result<Target> {
    let (id, is_pod) = (call.path.name.as_str(), call.resource.plural == "pods");
    let asked = Asked::parse(id).ok_or_else(|| {
        let what = if is_pod { "pod" } else { "service" };
        ApiError::bad_request(format!("invalid {what} request {id:?}"))
    })?;
    let key = |name: &str| Key::new(call.path.namespace.as_str(), name);
    let stored = call
        .state
        .store
        .get(&call.resource.table, &key(asked.name))
        .ok_or_else(|| ApiError::not_found(&call.resource, asked.name))?;
    let address = if is_pod {
        pod(stored.value(), asked.port)?
    } else {
        let endpoints = call.state.store.get("endpoints", &key(asked.name));
        let endpoints = endpoints.map(|endpoints| endpoints.value().clone()).unwrap_or_default();
        service(stored.value(), &endpoints, &asked, id)?
    };
    Ok(Target {
        scheme: asked.scheme,
        address,
    })
}

fn pod(pod: &Value, port: &str) -> Result<SocketAddr> {
    let first = || {
        let containers = pod["spec"]["containers"].as_array()?;
        containers
            .iter()
            .find_map(|container| container["ports"][0]["containerPort"].as_u64())
    };
    let number = if port.is_empty() {
        u16::try_from(first().unwrap_or(80)).ok()
    } else {
        port.parse().ok()
    };
    let number = number.filter(|&number| number > 0).ok_or_else(|| {
        ApiError::unreachable(format!(
            "error trying to reach service: dial tcp: lookup tcp/{port}: unknown port"
        ))
    })?;
    let ip = pod["status"]["podIP"].as_str().unwrap_or_default();
    allowed(ip, number)
}

fn service(service: &Value, endpoints: &Value, asked: &Asked, id: &str) -> Result<SocketAddr> {
    let none = |what: &str| ApiError::unreachable(format!("no endpoints available for service {what:?}"));
    let name = match asked.port.parse::<u64>() {
        Ok(number) => {
            let ports = service["spec"]["ports"].as_array().into_iter().flatten();
            let found = ports.into_iter().find(|port| port["port"].as_u64() == Some(number));
            let found = found.ok_or_else(|| {
                ApiError::unreachable(format!("no service port {number} found for service {:?}", asked.name))
            })?;
            found["name"].as_str().unwrap_or_default()
        }
        Err(_) => asked.port,
    };
    let subsets = endpoints["subsets"].as_array().filter(|subsets| !subsets.is_empty());
    let subsets = subsets.ok_or_else(|| none(asked.name))?;
    let mut found = Vec::new();
    for subset in subsets {
        let ports = subset["ports"].as_array().into_iter().flatten();
        let port = ports
            .into_iter()
            .find(|port| port["name"].as_str().unwrap_or_default() == name);
        let port = port.and_then(|port| u16::try_from(port["port"].as_u64()?).ok());
        let addresses = subset["addresses"].as_array().into_iter().flatten();
        found.extend(addresses.filter_map(|address| Some((address["ip"].as_str()?, port?))));
    }
    let &(ip, port) = found.choose(&mut rand::rng()).ok_or_else(|| none(id))?;
    allowed(ip, port)
}

/// Not to the node itself: whoever may write the status of a pod must not reach what only the node may reach.
fn allowed(ip: &str, port: u16) -> Result<SocketAddr> {
    let unicast = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_link_local() && !ip.is_broadcast(),
        IpAddr::V6(ip) => !ip.is_unicast_link_local(),
    };
    let ip: Option<IpAddr> = ip.parse().ok();
    ip.filter(|ip| unicast(ip) && !ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast())
        .map(|ip| SocketAddr::new(ip, port))
        .ok_or_else(|| ApiError::bad_request("address not allowed"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Asked, Scheme, pod, service};

    #[test]
    fn names_are_taken_apart() {
        let told = |id| Asked::parse(id).map(|asked| (asked.scheme, asked.name, asked.port));
        assert_eq!(told("web"), Some((Scheme::Http, "web", "")));
        assert_eq!(told("web:8080"), Some((Scheme::Http, "web", "8080")));
        assert_eq!(told("http:web:"), Some((Scheme::Http, "web", "")));
        assert_eq!(told("https:web:https"), Some((Scheme::Https, "web", "https")));
        for wrong in ["", ":80", "ftp:web:80", "a:b:c:d"] {
            assert_eq!(told(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_pod_is_reached_at_its_address() {
        let mut web = json!({"spec": {"containers": [{"name": "a"}, {"name": "b", "ports": [{"containerPort": 8080}]}]}, "status": {"podIP": "10.244.0.7"}});
        let at = |web: &_, port: &str| pod(web, port).map_err(|error| error.to_string());
        assert_eq!(at(&web, "9"), Ok("10.244.0.7:9".parse().unwrap()));
        assert_eq!(at(&web, ""), Ok("10.244.0.7:8080".parse().unwrap()));
        assert!(at(&web, "http").unwrap_err().contains("unknown port"));
        for ip in ["", "127.0.0.1", "169.254.1.1", "::1", "0.0.0.0", "224.0.0.1"] {
            web["status"]["podIP"] = ip.into();
            assert_eq!(at(&web, "9"), Err("address not allowed".into()), "{ip}");
        }
    }

    #[test]
    fn a_service_is_reached_at_one_of_its_endpoints() {
        let web = json!({"spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}, {"name": "more", "port": 81}]}});
        let endpoints = json!({"subsets": [
            {"notReadyAddresses": [{"ip": "10.244.0.9"}], "ports": [{"name": "http", "port": 8080}]},
            {"addresses": [{"ip": "10.244.0.7"}], "ports": [{"name": "http", "port": 8080}]}]});
        let at =
            |id, endpoints| service(&web, endpoints, &Asked::parse(id).unwrap(), id).map_err(|error| error.to_string());
        for id in ["web:80", "web:http"] {
            assert_eq!(at(id, &endpoints), Ok("10.244.0.7:8080".parse().unwrap()), "{id}");
        }
        assert!(
            at("web:82", &endpoints)
                .unwrap_err()
                .contains("no service port 82 found for service \"web\"")
        );
        for (id, endpoints) in [("web:more", &endpoints), ("web:80", &json!({}))] {
            assert!(
                at(id, endpoints)
                    .unwrap_err()
                    .contains("no endpoints available for service"),
                "{id}"
            );
        }
    }
}
