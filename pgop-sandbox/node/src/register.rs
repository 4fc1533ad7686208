//! The Node object, and the Lease that says that it lives: <https://kubernetes.io/docs/concepts/architecture/nodes/>.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{Namespace, Node, NodeAddress, NodeCondition, NodeStatus, NodeSystemInfo};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use thiserror::Error;
use tokio::time::interval;

use crate::network::GATEWAY;
use crate::shared::Shared;

const LEASES: &str = "kube-node-lease";
const RENEW: Duration = Duration::from_secs(10);
const LEASE_SECONDS: i32 = 40;
/// More than a kubelet's 110: nobody else runs here.
const PODS: u32 = 500;

/// Why the node could not make itself known.
#[derive(Debug, Error)]
pub enum RegisterError {
    /// The Node object could not be written.
    #[error("could not write the Node object: {0}")]
    Node(#[source] Box<kube::Error>),
    /// The Lease could not be written.
    #[error("could not write the node's Lease: {0}")]
    Lease(#[source] Box<kube::Error>),
}

/// What this machine is.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    cpus: usize,
    memory: String,
    runtime: String,
}

impl Machine {
    /// This one.
    pub(crate) fn here(bwrap: &Path) -> Self {
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let version = Command::new(bwrap)
            .arg("--version")
            .output()
            .map(|o| String::from_utf8_lossy(&o.stdout).into_owned());
        let version = version
            .unwrap_or_default()
            .split_whitespace()
            .last()
            .unwrap_or("unknown")
            .to_owned();
        Self {
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory: memory(&meminfo).unwrap_or_else(|| "1Gi".to_owned()),
            runtime: format!("bubblewrap://{version}"),
        }
    }

    /// What it offers: pods are not limited, so all that there is.
    pub(crate) fn resources(&self) -> BTreeMap<String, Quantity> {
        let all = [
            ("cpu", self.cpus.to_string()),
            ("memory", self.memory.clone()),
            ("pods", PODS.to_string()),
            ("ephemeral-storage", "100Gi".to_owned()),
        ];
        all.into_iter()
            .map(|(name, value)| (name.to_owned(), Quantity(value)))
            .collect()
    }

    fn info(&self) -> NodeSystemInfo {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let os = read("/etc/os-release");
        let image = os
            .lines()
            .find_map(|l| l.strip_prefix("PRETTY_NAME="))
            .unwrap_or("Linux")
            .trim_matches('"');
        NodeSystemInfo {
            architecture: architecture().to_owned(),
            boot_id: read("/proc/sys/kernel/random/boot_id"),
            container_runtime_version: self.runtime.clone(),
            kernel_version: read("/proc/sys/kernel/osrelease"),
            kube_proxy_version: String::new(),
            kubelet_version: pgop_sandbox_kubelet::VERSION.to_owned(),
            machine_id: read("/etc/machine-id"),
            operating_system: "linux".to_owned(),
            os_image: image.to_owned(),
            ..NodeSystemInfo::default()
        }
    }

    fn status(&self, name: &str, now: Timestamp) -> NodeStatus {
        let address = |kind: &str, value: String| NodeAddress {
            type_: kind.to_owned(),
            address: value,
        };
        let condition = |kind: &str, status: &str, reason: &str, message: &str| NodeCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_heartbeat_time: Some(Time(now)),
            last_transition_time: Some(Time(now)),
        };
        NodeStatus {
            addresses: Some(vec![
                address("InternalIP", GATEWAY.to_string()),
                address("Hostname", name.to_owned()),
            ]),
            capacity: Some(self.resources()),
            allocatable: Some(self.resources()),
            conditions: Some(vec![
                condition(
                    "MemoryPressure",
                    "False",
                    "KubeletHasSufficientMemory",
                    "kubelet has sufficient memory available",
                ),
                condition(
                    "DiskPressure",
                    "False",
                    "KubeletHasNoDiskPressure",
                    "kubelet has no disk pressure",
                ),
                condition(
                    "PIDPressure",
                    "False",
                    "KubeletHasSufficientPID",
                    "kubelet has sufficient PID available",
                ),
                condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
            ]),
            node_info: Some(self.info()),
            ..NodeStatus::default()
        }
    }
}

/// `MemTotal` as a quantity.
fn memory(meminfo: &str) -> Option<String> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(format!("{}Ki", line.split_whitespace().next()?))
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn labels(name: &str) -> BTreeMap<String, String> {
    let all = [
        ("kubernetes.io/hostname", name),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", architecture()),
        ("node.kubernetes.io/instance-type", "sandbox"),
        ("node-role.kubernetes.io/control-plane", ""),
    ];
    all.into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// Writes the Node object and its Lease.
pub(crate) async fn register(client: &Client, name: &str, machine: &Machine) -> Result<(), RegisterError> {
    let failed = |error: kube::Error| RegisterError::Node(Box::new(error));
    let nodes: Api<Node> = Api::all(client.clone());
    let node = Node {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(labels(name)),
            ..ObjectMeta::default()
        },
        ..Node::default()
    };
    match nodes.create(&PostParams::default(), &node).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            let patch = json!({"metadata": {"labels": labels(name)}});
            nodes
                .patch(name, &PatchParams::default(), &Patch::Merge(patch))
                .await
                .map_err(failed)?;
        }
        other => drop(other.map_err(failed)?),
    }
    let status = json!({"status": machine.status(name, whole(pgop_sandbox_tasks::now()))});
    let node = nodes
        .patch_status(name, &PatchParams::default(), &Patch::Merge(status))
        .await
        .map_err(failed)?;
    lease(client, name, node.metadata.uid)
        .await
        .map_err(|error| RegisterError::Lease(Box::new(error)))
}

fn whole(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

async fn lease(client: &Client, name: &str, uid: Option<String>) -> Result<(), kube::Error> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), LEASES);
    let owner = uid.map(|uid| OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: name.to_owned(),
        uid,
        ..OwnerReference::default()
    });
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            owner_references: owner.map(|o| vec![o]),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(name.to_owned()),
            lease_duration_seconds: Some(LEASE_SECONDS),
            renew_time: Some(MicroTime(pgop_sandbox_tasks::now())),
            ..LeaseSpec::default()
        }),
    };
    match leases.create(&PostParams::default(), &lease).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => renew(&leases, name).await,
        Err(kube::Error::Api(status)) if status.is_not_found() => {
            let namespace = Namespace {
                metadata: ObjectMeta {
                    name: Some(LEASES.to_owned()),
                    ..ObjectMeta::default()
                },
                ..Namespace::default()
            };
            let namespaces: Api<Namespace> = Api::all(client.clone());
            namespaces.create(&PostParams::default(), &namespace).await?;
            leases.create(&PostParams::default(), &lease).await.map(drop)
        }
        other => other.map(drop),
    }
}

async fn renew(leases: &Api<Lease>, name: &str) -> Result<(), kube::Error> {
    let patch = json!({"spec": {"holderIdentity": name, "renewTime": MicroTime(pgop_sandbox_tasks::now())}});
    leases
        .patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .map(drop)
}

/// Renews the lease for ever.
pub(crate) async fn keep(shared: Arc<Shared>) {
    let leases: Api<Lease> = Api::namespaced(shared.client.clone(), LEASES);
    let mut ticks = interval(RENEW);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let renewed = match renew(&leases, &shared.node).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => lease(&shared.client, &shared.node, None).await,
            other => other,
        };
        if let Err(error) = renewed {
            tracing::warn!(%error, "the node's lease could not be renewed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Machine, memory};

    #[test]
    fn memory_is_read() {
        assert_eq!(
            memory("MemTotal:       24683128 kB\nMemFree: 1 kB\n").as_deref(),
            Some("24683128Ki")
        );
        assert_eq!(memory(""), None);
    }

    #[test]
    fn a_node_is_ready_and_says_what_it_has() {
        let machine = Machine {
            cpus: 4,
            memory: "1Gi".into(),
            runtime: "bubblewrap://1".into(),
        };
        let status = machine.status("sandbox", jiff::Timestamp::UNIX_EPOCH);
        assert!(
            status
                .conditions
                .unwrap()
                .iter()
                .any(|c| c.type_ == "Ready" && c.status == "True")
        );
        assert_eq!(status.allocatable.unwrap()["cpu"].0, "4");
    }
}
