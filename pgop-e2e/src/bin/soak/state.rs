//! What the soak has asked for so far. It follows from the seed alone; what the cluster makes of it is looked at elsewhere.

use crate::fault::Fault;
use crate::kind::Kind;

/// Most replicas that a cluster is scaled to.
pub(crate) const MOST_REPLICAS: u32 = 2;
/// Snapshots of one server that are kept.
const KEPT: usize = 2;

/// A server under load that lives as long as the soak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) name: &'static str,
    /// A cluster; otherwise a database.
    pub(crate) is_cluster: bool,
    pub(crate) replicas: u32,
    pub(crate) mebibytes: u32,
    pub(crate) work_mem: u32,
    pub(crate) max_connections: u32,
    /// Of the resource.
    pub(crate) label: u32,
    /// Of its pods.
    pub(crate) pod_label: u32,
    /// Numbers of the snapshots that are there, oldest first.
    pub(crate) snapshots: Vec<u32>,
}

impl Server {
    fn new(name: &'static str, is_cluster: bool, replicas: u32) -> Self {
        Self {
            name,
            is_cluster,
            replicas,
            mebibytes: 200,
            work_mem: 4,
            max_connections: 100,
            label: 0,
            pod_label: 0,
            snapshots: Vec::new(),
        }
    }

    /// The kind of its resource.
    pub(crate) fn kind(&self) -> &'static str {
        if self.is_cluster { "PgCluster" } else { "PgDatabase" }
    }

    /// The word that `pgo` has for it.
    pub(crate) fn word(&self) -> &'static str {
        if self.is_cluster { "cluster" } else { "database" }
    }

    /// Its pods, the primary first.
    pub(crate) fn pods(&self) -> Vec<String> {
        let replicas = (0..self.replicas).map(|i| format!("{}-replica-{i}", self.name));
        std::iter::once(format!("{}-0", self.name)).chain(replicas).collect()
    }
}

/// All of it, and the faults that come before any comes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) servers: Vec<Server>,
    /// Whether claims can grow on this cluster.
    pub(crate) grows: bool,
    /// Numbers what is made once.
    pub(crate) made: u32,
    /// What is still to be dealt.
    pub(crate) deck: Vec<Kind>,
    /// How many decks were begun.
    pub(crate) decks: u32,
}

impl State {
    /// So many clusters, and a database.
    pub(crate) fn new(clusters: usize, grows: bool) -> Self {
        let names = ["hippo", "rhino", "bison", "otter", "heron"];
        let clusters = names.iter().take(clusters).zip((1..=MOST_REPLICAS).cycle());
        let mut servers: Vec<Server> = clusters
            .map(|(name, replicas)| Server::new(name, true, replicas))
            .collect();
        servers.push(Server::new("orders", false, 0));
        Self {
            servers,
            grows,
            made: 0,
            deck: Vec::new(),
            decks: 0,
        }
    }

    /// What has been asked for when that has been done.
    pub(crate) fn after(mut self, fault: &Fault) -> Self {
        match *fault {
            Fault::Reloaded { server, work_mem } => self.servers[server].work_mem = work_mem,
            Fault::Restarted {
                server,
                max_connections,
            } => self.servers[server].max_connections = max_connections,
            Fault::Scaled { server, replicas } => self.servers[server].replicas = replicas,
            Fault::Grown { server, mebibytes } => self.servers[server].mebibytes = mebibytes,
            Fault::Labelled { server, label } => self.servers[server].label = label,
            Fault::PodsLabelled { server, label } => self.servers[server].pod_label = label,
            Fault::BackedUp { server, number } => {
                self.made = number;
                self.servers[server].snapshots.push(number);
                if let Some(oldest) = self.to_prune(server) {
                    self.servers[server].snapshots.retain(|kept| *kept != oldest);
                }
            }
            Fault::BackupCutOff { number, .. } | Fault::Restored { number, .. } | Fault::CameAndWent { number, .. } => {
                self.made = number;
            }
            Fault::PodDeleted { .. }
            | Fault::ServerKilled { .. }
            | Fault::BackendKilled { .. }
            | Fault::OperatorDeleted
            | Fault::OperatorKilled => {}
        }
        self
    }

    /// The snapshot that is one too many.
    pub(crate) fn to_prune(&self, server: usize) -> Option<u32> {
        let snapshots = &self.servers[server].snapshots;
        (snapshots.len() > KEPT).then(|| snapshots[0])
    }
}
