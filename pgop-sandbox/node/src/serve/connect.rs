//! Connections to ports of pods.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use pgop_sandbox_kubelet::{Duplex, KubeletError, Target};

use super::not_running;
use crate::network::Network;
use crate::pod::worker::PodRun;

/// Connects to the loopback of the pod: IPv4, or else IPv6.
pub(super) async fn connect(
    all: &Network,
    run: &PodRun,
    target: &Target,
    port: u16,
) -> Result<Box<dyn Duplex>, KubeletError> {
    let network = run.network().ok_or_else(|| not_running(run, target))?;
    let inside = async |to: SocketAddr| all.connect_in(&network.net, to).await;
    let first = inside((Ipv4Addr::LOCALHOST, port).into()).await;
    let stream = match first {
        Ok(stream) => Ok(stream),
        Err(error) => inside((Ipv6Addr::LOCALHOST, port).into()).await.map_err(|_| error),
    };
    match stream {
        Ok(stream) => Ok(Box::new(stream)),
        Err(source) => Err(KubeletError::Connect {
            port,
            pod: target.pod.clone(),
            source,
        }),
    }
}
