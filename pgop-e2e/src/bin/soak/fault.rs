//! What is done to the cluster, one thing a file.

mod backup;
mod backup_cut_off;
mod came_and_went;
mod killed;
mod labels;
mod operator_lost;
mod parameter;
mod pod_deleted;
mod replicas;
mod restore;
mod size;

use std::fmt;

use crate::state::State;
use crate::world::World;

/// One fault. Servers are named by their place in the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A pod is deleted, with its grace period or without.
    PodDeleted { server: usize, pod: String, at_once: bool },
    /// The postmaster is killed: the container ends.
    ServerKilled { server: usize, pod: String },
    /// A backend of the primary is killed: the server recovers in place.
    BackendKilled { server: usize },
    /// The operator's pod is deleted.
    OperatorDeleted,
    /// The operator's process is killed.
    OperatorKilled,
    /// A setting that is reloaded, in MB.
    Reloaded { server: usize, work_mem: u32 },
    /// A setting that needs a restart.
    Restarted { server: usize, max_connections: u32 },
    /// More or fewer replicas.
    Scaled { server: usize, replicas: u32 },
    /// Larger claims.
    Grown { server: usize, mebibytes: u32 },
    /// A label of the resource, which concerns nobody.
    Labelled { server: usize, label: u32 },
    /// A label of its pods, which are made anew.
    PodsLabelled { server: usize, label: u32 },
    /// A backup; the oldest one goes when there are too many.
    BackedUp { server: usize, number: u32 },
    /// A backup whose source is lost meanwhile.
    BackupCutOff { server: usize, number: u32 },
    /// A snapshot becomes a new server, is compared, and goes again.
    Restored {
        server: usize,
        snapshot: u32,
        into_cluster: bool,
        number: u32,
    },
    /// A server that is made, written to, deleted, made again over its data, and deleted with it.
    CameAndWent { is_cluster: bool, number: u32 },
}

impl Fault {
    /// Its kind, for the table.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::PodDeleted { at_once: false, .. } => "pod deleted",
            Self::PodDeleted { at_once: true, .. } => "pod deleted without grace",
            Self::ServerKilled { .. } => "postmaster killed",
            Self::BackendKilled { .. } => "backend killed",
            Self::OperatorDeleted => "operator's pod deleted",
            Self::OperatorKilled => "operator killed",
            Self::Reloaded { .. } => "setting reloaded",
            Self::Restarted { .. } => "setting that restarts",
            Self::Scaled { .. } => "scaled",
            Self::Grown { .. } => "claims grown",
            Self::Labelled { .. } => "resource labelled",
            Self::PodsLabelled { .. } => "pods labelled",
            Self::BackedUp { .. } => "backup",
            Self::BackupCutOff { .. } => "backup cut off",
            Self::Restored { .. } => "restore, compared",
            Self::CameAndWent { .. } => "created and deleted",
        }
    }

    /// The sentence that is printed.
    pub(crate) fn describe(&self, state: &State) -> String {
        let name = |server: &usize| state.servers[*server].name;
        let name_of = |is_cluster: &bool| if *is_cluster { "cluster" } else { "database" };
        match self {
            Self::PodDeleted { pod, .. } | Self::ServerKilled { pod, .. } => format!("{self}: {pod}"),
            Self::BackendKilled { server } => format!("{self}: {}", name(server)),
            Self::OperatorDeleted | Self::OperatorKilled => self.to_string(),
            Self::Reloaded { server, work_mem } => format!("{self}: {}, work_mem = {work_mem}MB", name(server)),
            Self::Restarted {
                server,
                max_connections,
            } => {
                format!("{self}: {}, max_connections = {max_connections}", name(server))
            }
            Self::Scaled { server, replicas } => format!("{self}: {} to {replicas} replicas", name(server)),
            Self::Grown { server, mebibytes } => format!("{self}: {} to {mebibytes}Mi", name(server)),
            Self::Labelled { server, label } | Self::PodsLabelled { server, label } => {
                format!("{self}: {}, soak = {label}", name(server))
            }
            Self::BackedUp { server, number } | Self::BackupCutOff { server, number } => {
                format!("{self}: {}", backup::name(name(server), *number))
            }
            Self::Restored {
                server,
                snapshot,
                into_cluster,
                number,
            } => format!(
                "{self}: {} into {} {}",
                backup::name(name(server), *snapshot),
                name_of(into_cluster),
                restore::name(*number)
            ),
            Self::CameAndWent { is_cluster, number } => {
                format!("{self}: {} {}", name_of(is_cluster), came_and_went::name(*number))
            }
        }
    }

    /// Does it, and waits until all is well again. `state` is what was asked for when it has been done.
    pub(crate) fn carry_out(&self, state: &State, world: &mut World) -> Result<(), String> {
        let of = |server: &usize| &state.servers[*server];
        match self {
            Self::PodDeleted { server, pod, at_once } => pod_deleted::carry_out(world, of(server), pod, *at_once),
            Self::ServerKilled { server, pod } => killed::postmaster(world, of(server), pod),
            Self::BackendKilled { server } => killed::backend(world, of(server)),
            Self::OperatorDeleted => operator_lost::deleted(world),
            Self::OperatorKilled => operator_lost::killed(world),
            Self::Reloaded { server, .. } => parameter::reloaded(world, of(server)),
            Self::Restarted { server, .. } => parameter::restarted(world, of(server)),
            Self::Scaled { server, .. } => replicas::carry_out(world, of(server)),
            Self::Grown { server, .. } => size::carry_out(world, of(server)),
            Self::Labelled { server, .. } => labels::of_the_resource(world, of(server)),
            Self::PodsLabelled { server, .. } => labels::of_the_pods(world, of(server)),
            Self::BackedUp { server, number } => backup::carry_out(world, of(server), *number),
            Self::BackupCutOff { server, number } => backup_cut_off::carry_out(world, of(server), *number),
            Self::Restored {
                server,
                snapshot,
                into_cluster,
                number,
            } => restore::carry_out(world, of(server), *snapshot, *into_cluster, *number),
            Self::CameAndWent { is_cluster, number } => came_and_went::carry_out(world, *is_cluster, *number),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
