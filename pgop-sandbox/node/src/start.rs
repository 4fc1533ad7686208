//! Puts the parts of a node together, and takes them apart.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pgop_sandbox_tasks::{spawn, spawn_tracked, supervise};
use thiserror::Error;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clean::{CleanError, clean, memory, note_holder};
use crate::cluster::Cluster;
use crate::container::Bubblewrap;
use crate::events::Events;
use crate::holder::Holder;
use crate::network::dns::Dns;
use crate::network::forward::Forwarder;
use crate::network::services::table;
use crate::network::zone::Zone;
use crate::network::{Network, NetworkError};
use crate::pods::Pods;
use crate::register::{self, RegisterError};
use crate::shared::Shared;
use crate::volumes::Tokens;
use crate::{Config, Node};

/// Why a node did not start.
#[derive(Debug, Error)]
pub enum NodeError {
    /// Its folder can't be used.
    #[error("could not use folder {path}: {source}", path = path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another node has the folder.
    #[error("another node runs in folder {folder}", folder = .0.display())]
    Taken(PathBuf),
    /// What a former node left could not be removed.
    #[error(transparent)]
    Clean(#[from] CleanError),
    /// The program bubblewrap is not there.
    #[error("bubblewrap (bwrap) is not installed: on Debian and Ubuntu, apt-get install bubblewrap")]
    NoBubblewrap,
    /// Namespaces can't be made.
    #[error(
        "could not make namespaces: {0}; does this machine forbid user namespaces (sysctl user.max_user_namespaces, \
         kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)?"
    )]
    Namespaces(#[source] io::Error),
    /// The pod network can't be set up.
    #[error("could not set up the pod network: {0}")]
    Network(String),
    /// The Node object could not be written.
    #[error(transparent)]
    Register(#[from] RegisterError),
}

impl From<NetworkError> for NodeError {
    fn from(error: NetworkError) -> Self {
        Self::Network(error.to_string())
    }
}

pub(crate) async fn start(
    config: Config,
    client: kube::Client,
    stop: CancellationToken,
) -> Result<Arc<Node>, NodeError> {
    let Config {
        name,
        folder,
        api,
        images,
        path,
    } = config;
    let lock = take(&folder)?;
    clean(&folder)?;
    let bwrap = find("bwrap").ok_or(NodeError::NoBubblewrap)?;
    let holder = Arc::new(Holder::start().map_err(NodeError::Namespaces)?);
    note_holder(&folder, holder.pid()).map_err(|source| NodeError::Folder {
        path: folder.clone(),
        source,
    })?;
    let network = Network::start(holder.clone()).await?;
    let memory = memory(&folder);
    fs::create_dir_all(&memory).map_err(|source| NodeError::Folder {
        path: memory.clone(),
        source,
    })?;

    let (tasks, hurry) = (TaskTracker::new(), CancellationToken::new());
    // Whatever fails from here on must not leave tasks behind.
    let own_stop = stop.child_token();
    let guard = own_stop.clone().drop_guard();
    let machine = register::Machine::here(&bwrap);
    register::register(&client, &name, &machine).await?;
    let events = Events::start(client.clone(), name.clone(), &tasks, own_stop.clone());
    let cluster = Cluster::start(&client, &name, &tasks, &own_stop).await;
    let shared = Arc::new(Shared {
        node: name,
        client,
        cluster,
        runtime: Arc::new(Bubblewrap {
            holder: holder.clone(),
            network: network.clone(),
            program: bwrap,
        }),
        users: holder.users().clone(),
        events,
        tokens: Tokens::default(),
        allocatable: machine.resources(),
        folder: folder.clone(),
        memory,
        images,
        path,
        stop: own_stop.clone(),
        hurry: hurry.clone(),
        tasks: tasks.clone(),
    });
    run(&shared, "lease of the node", register::keep);
    serve_network(&shared, &network, api.address)?;
    let pods = Pods::new(shared.clone());
    let followed = pods.clone();
    spawn_tracked(&tasks, "pods of the node", async move {
        supervise("pods of the node", || followed.clone().follow()).await;
    });

    let ended = CancellationToken::new();
    let node = Arc::new(Node {
        pods,
        network,
        hurry,
        ended: ended.clone(),
    });
    let own_stop = guard.disarm();
    spawn("end of the node", async move {
        let ended = ended.drop_guard(); // whoever waits for it does not wait for ever
        own_stop.cancelled().await;
        tasks.close();
        tasks.wait().await;
        holder.end().await;
        if let Err(error) = clean(&folder) {
            tracing::warn!(%error, "something of the node is left");
        }
        drop(lock);
        drop(ended);
    });
    Ok(node)
}

/// Runs an endless task of the node until the node stops.
pub(crate) fn run<F>(shared: &Arc<Shared>, name: &'static str, task: impl Fn(Arc<Shared>) -> F + Send + Sync + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (stop, own) = (shared.stop.clone(), shared.clone());
    spawn_tracked(&shared.tasks, name, async move {
        stop.run_until_cancelled(supervise(name, || task(own.clone()))).await;
    });
}

/// Services and names, following the cluster.
fn serve_network(shared: &Arc<Shared>, network: &Arc<Network>, api: std::net::SocketAddr) -> Result<(), NodeError> {
    let failed = |error: io::Error| NodeError::Network(error.to_string());
    let (tasks, stop) = (shared.tasks.clone(), shared.stop.clone());
    let forwarder = Forwarder::new(network.clone(), api, tasks, stop).map_err(failed)?;
    let dns = Dns::open(network).map_err(failed)?;
    let served = dns.clone();
    run(shared, "name server", move |_| served.clone().serve());
    let forwarder = Arc::new(Mutex::new(forwarder));
    run(shared, "services and names", move |shared| {
        follow(shared, forwarder.clone(), dns.clone())
    });
    Ok(())
}

async fn follow(shared: Arc<Shared>, forwarder: Arc<Mutex<Forwarder>>, dns: Arc<Dns>) {
    let (mut services, mut slices) = (shared.cluster.services.changes(), shared.cluster.slices.changes());
    loop {
        services.borrow_and_update();
        slices.borrow_and_update();
        let (all, parts) = (shared.cluster.services.all(), shared.cluster.slices.all());
        let mut forwarder = forwarder.lock().await;
        forwarder.apply(table(&all, &parts));
        drop(forwarder);
        dns.set(Zone::new(&all, &parts));
        let ended = tokio::select! {
            changed = services.changed() => changed.is_err(),
            changed = slices.changed() => changed.is_err(),
        };
        if ended {
            return;
        }
    }
}

/// The folder is this node's until this is dropped.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing alone would not do: a program that is just being started has a copy of the descriptor until it runs.
        let _ = self.0.unlock();
    }
}

/// Makes the folder and takes it for this node alone.
fn take(folder: &Path) -> Result<Lock, NodeError> {
    let failed = |source: io::Error| NodeError::Folder {
        path: folder.to_owned(),
        source,
    };
    fs::create_dir_all(folder.join("pods")).map_err(failed)?;
    let lock = File::create(folder.join("lock")).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(Lock(lock)),
        Err(TryLockError::WouldBlock) => Err(NodeError::Taken(folder.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// A program on PATH, or where it usually is.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/bin", "/bin", "/usr/local/bin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(usual)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::{find, take};

    #[test]
    fn a_folder_has_one_node() {
        let folder = tempfile::tempdir().unwrap();
        let lock = take(folder.path()).unwrap();
        assert!(
            take(folder.path())
                .unwrap_err()
                .to_string()
                .contains("another node runs")
        );
        drop(lock);
        assert!(take(folder.path()).is_ok());
    }

    #[test]
    fn programs_are_found_on_the_path() {
        assert!(find("sh").is_some());
        assert!(find("no-such-program-here").is_none());
    }
}
