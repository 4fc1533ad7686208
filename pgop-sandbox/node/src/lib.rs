//! The node of an embedded Kubernetes: kubelet, pod network, names and services. Pods are processes of this machine in bubblewrap.
//!
//! It speaks only [`kube::Client`], so it would run against any API server. It needs no rights: it works for root and for ordinary users.
//!
//! ```text
//! Node ── pods         a worker for each pod that is bound to the node
//!      ├─ pod          the worker, and what a pod's status, environment, probes and back-off are (pure)
//!      ├─ container    plan, start in bubblewrap, life, end of one container
//!      ├─ volumes      folders for volumes, files that follow their objects
//!      ├─ network      bridge, addresses, services, names
//!      ├─ holder       the process in whose namespaces all of it lives; the only unsafe code
//!      ├─ logs, events, register (Node and Lease), cluster (watches)
//!      └─ serve        logs, exec, attach, connections: the `Kubelet` trait
//! ```

mod clean;
mod cluster;
mod container;
mod events;
mod holder;
mod logs;
mod network;
mod pod;
mod pods;
mod register;
mod serve;
mod shared;
mod start;
mod volumes;
#[cfg(test)]
mod week;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub use clean::{CleanError, clean};
pub use start::NodeError;

/// How pods reach the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiAccess {
    /// Where it listens on this machine. Connections of pods to 10.96.0.1:443 are carried there.
    pub address: SocketAddr,
}

/// What a node is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the node: pods with this `spec.nodeName` are run.
    pub name: String,
    /// Where it keeps its state: pods' folders and logs. One node a folder.
    pub folder: PathBuf,
    /// How pods reach the API server.
    pub api: ApiAccess,
    /// Image name to root folder. A container of another image sees the programs of this machine.
    pub images: BTreeMap<String, PathBuf>,
    /// Folders of programs, put first on `PATH`, like `/usr/lib/postgresql/15/bin`.
    pub path: Vec<PathBuf>,
}

/// A running node.
pub struct Node {
    pods: Arc<pods::Pods>,
    network: Arc<network::Network>,
    hurry: CancellationToken,
    ended: CancellationToken,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Node")
            .field("ended", &self.ended.is_cancelled())
            .finish_non_exhaustive()
    }
}

impl Node {
    /// Starts a node. It runs until `stop` is cancelled, then ends all containers as in a deletion of their pods, but within 30 s at the
    /// most; pods keep their status and are started again by the next node. What a former node in the same folder has left is removed first.
    ///
    /// Must be called in a tokio runtime, which the node's tasks run on.
    pub async fn start(config: Config, client: kube::Client, stop: CancellationToken) -> Result<Arc<Self>, NodeError> {
        start::start(config, client, stop).await
    }

    /// Cuts the time short that pods have to end once the node stops: what still runs is killed.
    pub fn hurry(&self) {
        self.hurry.cancel();
    }

    /// Waits until the node has ended: no process, mount, namespace or socket is left.
    pub async fn stopped(&self) {
        self.ended.cancelled().await;
    }
}
