//! A running sandbox.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use pgop_sandbox_controllers::Controllers;
use pgop_sandbox_node::{ApiAccess, CleanError, Node, NodeError};
use pgop_sandbox_server::{Config, OpenError, Server, Storage};
use pgop_sandbox_tasks::spawn_essential;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::credentials::{Credentials, CredentialsError};
use crate::folder::{self, Folder, FolderError, Held};
use crate::{kubeconfig, serve};

/// Name of the only node.
pub const NODE: &str = "sandbox";

/// How a sandbox is to be.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where everything is kept. None: in memory and in a folder that goes with the sandbox.
    pub folder: Option<PathBuf>,
    /// Name of its context in the kubeconfig. Default: `pgop-sandbox`.
    pub name: Option<String>,
    /// Folders that come first on the PATH of containers.
    pub path: Vec<PathBuf>,
    /// Root folders of images. A container of another image sees the machine's programs.
    pub images: BTreeMap<String, PathBuf>,
}

/// Why a sandbox does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// Its folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A sandbox in memory needs a folder for its pods, too.
    #[error("can't make a folder for pods: {0}")]
    Temporary(#[source] std::io::Error),
    /// Its certificates.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// TLS with these certificates.
    #[error(
        "can't serve TLS with the certificates of the sandbox: {0}; delete its folder `credentials` to have new ones made"
    )]
    Tls(String),
    /// The objects.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The loopback.
    #[error("can't listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// What a process that was killed left behind.
    #[error(transparent)]
    Clean(#[from] CleanError),
    /// The node.
    #[error(transparent)]
    Node(#[from] NodeError),
}

/// A Kubernetes in this process. Stop it with [`stop`](Self::stop): dropping it leaves the node's processes to the kernel, which ends them
/// with this process.
pub struct Sandbox {
    server: Server,
    node: Arc<Node>,
    folder: Folder,
    url: String,
    stop: Stop,
    controlling: JoinSet<()>,
    serving: JoinSet<()>,
    broken: CancellationToken,
    _held: Held,
    _temporary: Option<tempfile::TempDir>,
}

impl Sandbox {
    /// Starts API server, node and controllers. Returns when the API is served.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let (folder, temporary) = place(options.folder)?;
        let held = folder.hold()?;
        // What a process that was killed left behind.
        pgop_sandbox_node::clean(&folder.node())?;
        let credentials = Credentials::load(&folder.credentials())?;
        let storage = match &temporary {
            Some(_) => Storage::Memory,
            None => Storage::Folder(folder.store()),
        };
        let server = Server::open(Config {
            storage,
            admin_token: Some(credentials.token.clone()),
        })?;
        let acceptor = serve::acceptor(&credentials)?;
        let (listener, address) = listen(&folder).await?;
        let url = format!("https://{address}");

        let stop = Stop::default();
        let (broken, mut serving, mut controlling) = (CancellationToken::new(), JoinSet::new(), JoinSet::new());
        let requests = serve::serve(listener, acceptor, server.clone(), stop.server.clone());
        spawn_essential(&mut serving, "API server", &broken, requests);
        let controllers = Controllers {
            volumes: folder.volumes(),
            node: NODE.to_owned(),
            ca_pem: credentials.ca.clone(),
        };
        let controlled = controllers.run(server.client(), stop.controllers.clone());
        spawn_essential(&mut controlling, "controllers", &broken, controlled);
        let config = pgop_sandbox_node::Config {
            name: NODE.to_owned(),
            folder: folder.node(),
            api: ApiAccess { address },
            images: options.images,
            path: options.path,
        };
        let node = Node::start(config, server.client(), stop.node.clone()).await?;
        server.set_kubelet(Arc::clone(&node) as Arc<dyn pgop_sandbox_kubelet::Kubelet>);
        // Last: whoever waits for this file finds all of it at work.
        let name = options.name.as_deref().unwrap_or("pgop-sandbox");
        let text = kubeconfig::text(name, &url, &credentials.ca, &credentials.token);
        folder::write(&folder.kubeconfig(), &text)?;
        Ok(Self {
            server,
            node,
            folder,
            url,
            stop,
            controlling,
            serving,
            broken,
            _held: held,
            _temporary: temporary,
        })
    }

    /// A client that may do anything. It works in process: no socket, no TLS; `exec`, `attach` and `port-forward` work over a pipe.
    /// What runs outside of this process uses the [kubeconfig](Self::kubeconfig).
    pub fn client(&self) -> kube::Client {
        self.server.client()
    }

    /// Path of a kubeconfig of its administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.kubeconfig()
    }

    /// Address of the API, `https://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Completes when a part has panicked without which the rest can't go on; the log tells which. The sandbox should be stopped then.
    /// (Most parts begin again by themselves.)
    pub async fn broken(&self) {
        self.broken.cancelled().await;
    }

    /// Ends all pods, then the rest: each gets its `SIGTERM` and its grace period, but 30 s at the most. Nothing of them is left on the
    /// machine; objects and volumes stay in the folder, and the next start runs the same pods again.
    pub async fn stop(self) {
        self.stop_unless(std::future::pending()).await;
    }

    /// As [`stop`](Self::stop); what still runs when `hurry` completes is killed.
    pub async fn stop_unless(mut self, hurry: impl Future<Output = ()>) {
        // Nothing is to be made of what happens from here on.
        self.stop.controllers.cancel();
        while self.controlling.join_next().await.is_some() {}
        self.stop.node.cancel();
        let node = &self.node;
        let hurried = async {
            hurry.await;
            node.hurry();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = node.stopped() => {}
            () = hurried => {}
        }
        // Last: pods may have something to say to it until they have ended.
        self.stop.server.cancel();
        while self.serving.join_next().await.is_some() {}
    }
}

/// What tells the parts to stop. Dropped, it tells them all.
#[derive(Default)]
struct Stop {
    controllers: CancellationToken,
    node: CancellationToken,
    server: CancellationToken,
}

impl Drop for Stop {
    fn drop(&mut self) {
        for part in [&self.controllers, &self.node, &self.server] {
            part.cancel();
        }
    }
}

fn place(path: Option<PathBuf>) -> Result<(Folder, Option<tempfile::TempDir>), StartError> {
    if let Some(path) = path {
        return Ok((Folder::new(path), None));
    }
    let temporary = tempfile::Builder::new()
        .prefix("pgop-sandbox-")
        .tempdir()
        .map_err(StartError::Temporary)?;
    Ok((Folder::new(temporary.path()), Some(temporary)))
}

/// The port of the last time when it is free, so that kubeconfigs of before hold.
pub(crate) async fn listen(folder: &Folder) -> Result<(TcpListener, SocketAddr), StartError> {
    let file = folder.path().join("port");
    let last = folder::read(&file)?.and_then(|text| text.trim().parse::<u16>().ok());
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let again = match last {
        Some(port) => TcpListener::bind(at(port)).await.ok(),
        None => None,
    };
    let failed = |source| StartError::Listen { address: at(0), source };
    let listener = match again {
        Some(listener) => listener,
        None => TcpListener::bind(at(0)).await.map_err(failed)?,
    };
    let address = listener.local_addr().map_err(failed)?;
    folder::write(&file, &address.port().to_string())?;
    Ok((listener, address))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// What `pgo sandbox run` ends by.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_part_that_panics_breaks_it_and_it_still_stops_in_order() {
        let mut sandbox = Sandbox::start(Options::default()).await.unwrap();
        assert!(timeout(Duration::from_millis(100), sandbox.broken()).await.is_err());
        let panics = async { panic!("of a test") };
        spawn_essential(&mut sandbox.serving, "a part", &sandbox.broken, panics);
        timeout(Duration::from_secs(60), sandbox.broken()).await.unwrap();
        sandbox.client().apiserver_version().await.unwrap();
        timeout(Duration::from_secs(60), sandbox.stop()).await.unwrap();
    }
}
