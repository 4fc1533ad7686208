//! port-forward: connections to ports of a pod, two channels of a websocket or two streams of SPDY each: data, and what went wrong.

mod channels;
mod streams;

use std::sync::Arc;

use http::Response;
use hyper::upgrade::OnUpgrade;
use pgop_sandbox_kubelet::{Duplex, Kubelet, KubeletError, Target};
use pgop_sandbox_tasks::spawn;

use super::upgrade::{Opened, Pending, Spoken};
use super::{kubelet, pod, reason, target_pod};
use crate::call::Call;
use crate::request::Query;
use crate::response::Body;
use crate::status::{ApiError, Result};

const SPOKEN: Spoken = Spoken {
    channels: &["v4.channel.k8s.io", "portforward.k8s.io"],
    tunnels: &["SPDY/3.1+portforward.k8s.io"],
    streams: &["portforward.k8s.io"],
};

type Broken = Box<dyn std::error::Error + Send + Sync>;

pub(super) fn forward(call: &Call, upgrade: Option<OnUpgrade>) -> Result<Response<Body>> {
    let pod = pod(call)?;
    let target = target_pod(call, &pod);
    let kubelet = kubelet(call)?;
    let (pending, response) = Pending::of(call, upgrade, &SPOKEN)?;
    // Streams name their port themselves.
    let ports = if pending.has_channels() {
        ports(&call.query)?
    } else {
        Vec::new()
    };
    spawn("port-forward", async move {
        let served = async {
            match pending.open().await? {
                Opened::Channels(websocket) => channels::serve(*websocket, &kubelet, &target, &ports).await,
                Opened::Streams(io) => streams::serve(io, &kubelet, &target).await,
            }
        };
        if let Err(error) = served.await {
            tracing::debug!(%error, protocol = "port-forward", "the connection broke");
        }
    });
    Ok(response)
}

fn ports(query: &Query) -> Result<Vec<u16>> {
    query
        .all("ports")
        .flat_map(|ports| ports.split(','))
        .map(|port| port.trim().parse().ok().filter(|&port| port > 0))
        .collect::<Option<_>>()
        .filter(|ports: &Vec<u16>| !ports.is_empty() && ports.len() <= 100)
        .ok_or_else(|| ApiError::bad_request("query parameter \"ports\" is required: numbers of ports"))
}

/// A connection to a port of the pod, or what the client is told.
async fn connect(
    kubelet: &Arc<dyn Kubelet>,
    target: &Target,
    port: u16,
) -> std::result::Result<Box<dyn Duplex>, String> {
    kubelet.connect(target, port).await.map_err(|error| {
        let why = match &error {
            KubeletError::Connect { source, .. } => format!("dial tcp 127.0.0.1:{port}: connect: {}", reason(source)),
            other => other.to_string(),
        };
        let Target { pod, uid, .. } = target;
        format!("error forwarding port {port} to pod {pod}, uid {uid}: {why}")
    })
}
