//! Carries connections from service addresses to pods, in this process: no iptables, so no rights are needed.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use pgop_sandbox_tasks::{spawn_in, spawn_tracked, supervise};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::services::{Protocol, Table, Target};
use super::{API, Network};

/// A pod that doesn't take a connection in that time is passed over.
const CONNECT: Duration = Duration::from_secs(5);
/// A UDP client that is silent that long is forgotten.
const UDP_IDLE: Duration = Duration::from_secs(60);

/// The listening sockets, kept equal to a table.
pub(crate) struct Forwarder {
    network: Arc<Network>,
    open: BTreeMap<(Protocol, SocketAddrV4), Open>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

struct Open {
    route: Arc<Route>,
    _stop: DropGuard,
}

#[derive(Default)]
struct Route {
    target: RwLock<Target>,
    next: AtomicUsize,
}

impl Route {
    /// The pods to try, the best first.
    fn order(&self, client: IpAddr) -> Vec<SocketAddr> {
        let target = self.target.read().unwrap_or_else(PoisonError::into_inner);
        let count = target.backends.len().max(1);
        let first = if target.sticky {
            let mut hasher = DefaultHasher::new();
            client.hash(&mut hasher);
            usize::try_from(hasher.finish() % count as u64).unwrap_or_default()
        } else {
            self.next.fetch_add(1, Ordering::Relaxed) % count
        };
        let (before, from) = target.backends.split_at(first.min(target.backends.len()));
        from.iter().chain(before).copied().collect()
    }
}

impl Forwarder {
    /// Nothing is forwarded yet but the API server's address.
    pub(crate) fn new(
        network: Arc<Network>,
        api: SocketAddr,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> io::Result<Self> {
        let listener = network.listen(API)?;
        let token = stop.clone();
        let listener = Arc::new(listener);
        spawn_tracked(&tasks, "connections to the API server", async move {
            let accepted = supervise("connections to the API server", || {
                accept_for_api(listener.clone(), api)
            });
            token.run_until_cancelled(accepted).await;
        });
        Ok(Self {
            network,
            open: BTreeMap::new(),
            tasks,
            stop,
        })
    }

    /// Opens and closes what the new table asks for. Connections that are there live on, as with a real kube-proxy.
    pub(crate) fn apply(&mut self, table: Table) {
        self.open.retain(|key, _| table.contains_key(key));
        for (key, target) in table {
            if key.1 == API {
                continue;
            }
            if let Some(open) = self.open.get(&key) {
                *open.route.target.write().unwrap_or_else(PoisonError::into_inner) = target;
                continue;
            }
            let route = Arc::new(Route {
                target: RwLock::new(target),
                next: AtomicUsize::new(0),
            });
            let stop = self.stop.child_token();
            match self.serve(key, route.clone(), stop.clone()) {
                Ok(()) => {
                    self.open.insert(
                        key,
                        Open {
                            route,
                            _stop: stop.drop_guard(),
                        },
                    );
                }
                Err(error) => tracing::warn!(address = %key.1, %error, "can't listen on a service's address"),
            }
        }
    }

    fn serve(
        &self,
        (protocol, address): (Protocol, SocketAddrV4),
        route: Arc<Route>,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let network = self.network.clone();
        let name = format!("service at {address}");
        match protocol {
            Protocol::Tcp => {
                let listener = Arc::new(network.listen(address)?);
                let (tasks, all) = (self.tasks.clone(), self.stop.clone());
                spawn_tracked(&self.tasks, name.clone(), async move {
                    let accepted = || {
                        accept(
                            listener.clone(),
                            network.clone(),
                            route.clone(),
                            tasks.clone(),
                            all.clone(),
                        )
                    };
                    stop.run_until_cancelled(supervise(name, accepted)).await;
                });
            }
            Protocol::Udp => {
                let socket = Arc::new(network.datagrams(Some(address))?);
                spawn_tracked(&self.tasks, name.clone(), async move {
                    let exchanged = || exchange(socket.clone(), network.clone(), route.clone());
                    stop.run_until_cancelled(supervise(name, exchanged)).await;
                });
            }
        }
        Ok(())
    }
}

async fn accept(
    listener: Arc<TcpListener>,
    network: Arc<Network>,
    route: Arc<Route>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    loop {
        let Some((client, from)) = accepted(&listener).await else {
            continue;
        };
        let (network, route, stop) = (network.clone(), route.clone(), stop.clone());
        spawn_tracked(&tasks, "connection to a service", async move {
            stop.run_until_cancelled_owned(async move {
                for backend in route.order(from.ip()) {
                    if let Ok(Ok(pod)) = timeout(CONNECT, network.connect(backend)).await {
                        join(client, pod).await;
                        return;
                    }
                }
            })
            .await;
        });
    }
}

async fn accept_for_api(listener: Arc<TcpListener>, api: SocketAddr) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Some((client, _)) = accepted(&listener).await else {
            continue;
        };
        while connections.try_join_next().is_some() {}
        spawn_in(&mut connections, "connection to the API server", async move {
            if let Ok(Ok(server)) = timeout(CONNECT, TcpStream::connect(api)).await {
                let _ = server.set_nodelay(true);
                join(client, server).await;
            }
        });
    }
}

async fn accepted(listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
    match listener.accept().await {
        Ok((stream, from)) => {
            let _ = stream.set_nodelay(true);
            Some((stream, from))
        }
        Err(error) => {
            // Out of descriptors: the client tries again; so must we, but not in a tight loop.
            tracing::warn!(%error, "can't take a connection");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

async fn join(mut one: TcpStream, mut other: TcpStream) {
    // A connection that breaks is an error here; both ends see it as one, which is all there is to do.
    let _ = tokio::io::copy_bidirectional(&mut one, &mut other).await;
}

/// UDP: each client gets a socket of its own towards a pod, so that answers find back.
async fn exchange(socket: Arc<UdpSocket>, network: Arc<Network>, route: Arc<Route>) {
    let mut clients: HashMap<SocketAddr, (Arc<UdpSocket>, tokio::task::AbortHandle)> = HashMap::new();
    let mut answers = tokio::task::JoinSet::new();
    let mut buffer = vec![0; 65_536];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        while answers.try_join_next().is_some() {}
        clients.retain(|_, (_, task)| !task.is_finished());
        let pod = match clients.entry(from) {
            Entry::Occupied(known) => known.get().0.clone(),
            Entry::Vacant(new) => {
                let Some(backend) = route.order(from.ip()).first().copied() else {
                    continue;
                };
                let Ok(pod) = network.datagrams(None) else { continue };
                if pod.connect(backend).await.is_err() {
                    continue;
                }
                let pod = Arc::new(pod);
                let task = spawn_in(
                    &mut answers,
                    "answers of a pod",
                    answer(socket.clone(), pod.clone(), from),
                );
                new.insert((pod.clone(), task));
                pod
            }
        };
        let _ = pod.send(buffer.get(..length).unwrap_or_default()).await;
    }
}

async fn answer(socket: Arc<UdpSocket>, pod: Arc<UdpSocket>, client: SocketAddr) {
    let mut buffer = vec![0; 65_536];
    while let Ok(Ok(length)) = timeout(UDP_IDLE, pod.recv(&mut buffer)).await {
        let _ = socket.send_to(buffer.get(..length).unwrap_or_default(), client).await;
    }
}

#[cfg(test)]
mod tests {
    use super::{Route, Target};
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};
    use std::sync::RwLock;

    fn route(sticky: bool) -> Route {
        let backends = (1..=3).map(|n| SocketAddr::from(([10, 244, 0, n], 5432))).collect();
        Route {
            target: RwLock::new(Target { backends, sticky }),
            ..Route::default()
        }
    }

    #[test]
    fn connections_go_around_and_every_pod_is_tried() {
        let route = route(false);
        let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let firsts: Vec<_> = (0..4).map(|_| route.order(client)[0].ip().to_string()).collect();
        assert_eq!(firsts, ["10.244.0.1", "10.244.0.2", "10.244.0.3", "10.244.0.1"]);
        assert_eq!(route.order(client).len(), 3);
    }

    #[test]
    fn a_sticky_client_stays() {
        let route = route(true);
        let client = IpAddr::V4(Ipv4Addr::new(10, 244, 0, 77));
        assert_eq!(route.order(client), route.order(client));
    }

    #[test]
    fn without_pods_there_is_nothing_to_try() {
        assert!(Route::default().order(IpAddr::V4(Ipv4Addr::LOCALHOST)).is_empty());
    }
}
