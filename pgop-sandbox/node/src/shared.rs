//! What all parts of the node share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cluster::Cluster;
use crate::container::Runtime;
use crate::events::Events;
use crate::holder::Users;
use crate::volumes::Tokens;

/// Made once at the start.
pub(crate) struct Shared {
    /// Name of the node.
    pub(crate) node: String,
    pub(crate) client: kube::Client,
    pub(crate) cluster: Cluster,
    /// Makes pods' networks and runs their containers.
    pub(crate) runtime: Arc<dyn Runtime>,
    /// Which users there are.
    pub(crate) users: Users,
    pub(crate) events: Events,
    pub(crate) tokens: Tokens,
    /// What the node offers to pods.
    pub(crate) allocatable: BTreeMap<String, Quantity>,
    /// Where pods have their folders.
    pub(crate) folder: PathBuf,
    /// Where their volumes in memory are.
    pub(crate) memory: PathBuf,
    /// Image name to root folder.
    pub(crate) images: BTreeMap<String, PathBuf>,
    /// Folders of programs, first on every PATH.
    pub(crate) path: Vec<PathBuf>,
    /// The node is to stop.
    pub(crate) stop: CancellationToken,
    /// It is to stop at once: pods have had time enough.
    pub(crate) hurry: CancellationToken,
    pub(crate) tasks: TaskTracker,
}
