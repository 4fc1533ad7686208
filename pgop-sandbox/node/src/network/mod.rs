//! The pod network: a bridge in the holder's network namespace, a virtual cable from it to each pod, addresses, and sockets in there.
//!
//! Service addresses belong to the holder's loopback, so what a pod sends to one arrives at a listening socket of ours (`services`).

mod addresses;
pub(crate) mod dns;
pub(crate) mod forward;
pub(crate) mod services;
mod upstream;
pub(crate) mod zone;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream as StdTcpStream, UdpSocket as StdUdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::socket::{AddressFamily, SockType, SockaddrIn, bind, setsockopt, sockopt};
use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth, LinkMessage};
use rtnetlink::packet_route::route::{RouteScope, RouteType};
use rtnetlink::{Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};
use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};

use crate::holder::{Holder, routing};
pub(crate) use addresses::Addresses;

/// The bridge: the pods' way to services, and the address that probes and forwarded connections come from.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);
const PODS_PREFIX: u8 = 16;
const SERVICES: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 96, 0, 0), 16);
/// Where pods ask for names.
pub(crate) const DNS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
/// Service `kubernetes.default`: where pods find the API server.
pub(crate) const API: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 96, 0, 1), 443);
const LOOPBACK: u32 = 1; // the first interface of every network namespace

/// Why the network, or a pod's part of it, could not be set up.
#[derive(Debug, Error)]
pub(crate) enum NetworkError {
    #[error("could not make a socket inside the pod network: {0}")]
    Socket(#[from] io::Error),
    #[error("could not {what}: {source}")]
    Route {
        what: &'static str,
        #[source]
        source: Box<rtnetlink::Error>,
    },
    #[error("no interface {0} in the network namespace")]
    NoInterface(&'static str),
    #[error("no address is left in 10.244.0.0/16")]
    NoAddress,
}

fn route(what: &'static str) -> impl FnOnce(rtnetlink::Error) -> NetworkError {
    move |source| NetworkError::Route {
        what,
        source: Box::new(source),
    }
}

/// The pod network.
pub(crate) struct Network {
    holder: Arc<Holder>,
    handle: Handle,
    bridge: u32,
    addresses: Arc<Mutex<Addresses>>,
}

/// A pod's place in it. When it is dropped and no process of the pod is left, the kernel takes it down.
pub(crate) struct PodNetwork {
    /// The pod's network namespace.
    pub(crate) net: Arc<OwnedFd>,
    /// The pod's address.
    pub(crate) address: Ipv4Addr,
    addresses: Arc<Mutex<Addresses>>,
}

impl PodNetwork {
    /// The number of the descriptor of its namespace.
    pub(crate) fn number(&self) -> i32 {
        self.net.as_raw_fd()
    }

    /// Takes an address, in a network namespace.
    pub(crate) fn new(net: Arc<OwnedFd>, addresses: &Arc<Mutex<Addresses>>) -> Option<Self> {
        let address = addresses.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(Self {
            net,
            address,
            addresses: addresses.clone(),
        })
    }
}

impl Drop for PodNetwork {
    fn drop(&mut self) {
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .give_back(self.address);
    }
}

impl Network {
    /// Sets up the bridge and the service addresses.
    pub(crate) async fn start(holder: Arc<Holder>) -> Result<Arc<Self>, NetworkError> {
        let handle = routing(holder.socket(AddressFamily::Netlink, SockType::Raw)?)?;
        up(&handle, LOOPBACK).await?;
        handle
            .link()
            .add(LinkBridge::new("pods").address(hardware_address(GATEWAY)).up().build())
            .execute()
            .await
            .map_err(route("add the bridge (is the kernel's bridge module there?)"))?;
        let bridge = index(&handle, "pods").await?;
        handle
            .address()
            .add(bridge, IpAddr::V4(GATEWAY), PODS_PREFIX)
            .execute()
            .await
            .map_err(route("give the bridge its address"))?;
        let services = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(SERVICES.0, SERVICES.1)
            .output_interface(LOOPBACK)
            .kind(RouteType::Local)
            .scope(RouteScope::Host)
            .table_id(255) // the kernel's table of addresses that are its own
            .build();
        handle
            .route()
            .add(services)
            .execute()
            .await
            .map_err(route("make the service addresses its own"))?;
        Ok(Arc::new(Self {
            holder,
            handle,
            bridge,
            addresses: Arc::default(),
        }))
    }

    /// Makes a pod's network: a namespace with `eth0` on the bridge.
    pub(crate) async fn attach(&self) -> Result<PodNetwork, NetworkError> {
        let net = Arc::new(self.holder.new_net()?);
        let pod = PodNetwork::new(net, &self.addresses).ok_or(NetworkError::NoAddress)?;
        let address = pod.address;
        let [_, _, high, low] = address.octets();
        let peer = LinkMessageBuilder::<LinkUnspec>::new()
            .name("eth0")
            .address(hardware_address(address))
            .setns_by_fd(pod.net.as_raw_fd())
            .build();
        let cable = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
            .name(format!("pod{high}.{low}"))
            .controller(self.bridge)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .up()
            .build();
        self.handle
            .link()
            .add(cable)
            .execute()
            .await
            .map_err(route("add the pod's interface (is the kernel's veth module there?)"))?;

        let inside = routing(self.holder.socket_in(&pod.net, AddressFamily::Netlink, SockType::Raw)?)?;
        up(&inside, LOOPBACK).await?;
        let eth0 = index(&inside, "eth0").await?;
        inside
            .address()
            .add(eth0, IpAddr::V4(address), PODS_PREFIX)
            .execute()
            .await
            .map_err(route("give the pod its address"))?;
        up(&inside, eth0).await?;
        let gateway = RouteMessageBuilder::<Ipv4Addr>::new().gateway(GATEWAY).build();
        inside
            .route()
            .add(gateway)
            .execute()
            .await
            .map_err(route("set the pod's default route"))?;
        Ok(pod)
    }

    /// Connects to an address of the pod network.
    pub(crate) async fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        self.connect_in(self.holder.net(), to).await
    }

    /// Connects from within a pod.
    pub(crate) async fn connect_in(&self, net: &OwnedFd, to: SocketAddr) -> io::Result<TcpStream> {
        let family = if to.is_ipv4() {
            AddressFamily::Inet
        } else {
            AddressFamily::Inet6
        };
        let socket = StdTcpStream::from(self.holder.socket_in(net, family, SockType::Stream)?);
        socket.set_nonblocking(true)?;
        let stream = TcpSocket::from_std_stream(socket).connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Listens on an address of the holder: a service's.
    pub(crate) fn listen(&self, on: SocketAddrV4) -> io::Result<TcpListener> {
        let socket = self.holder.socket(AddressFamily::Inet, SockType::Stream)?;
        setsockopt(&socket, sockopt::ReuseAddr, &true)?;
        let socket = StdTcpStream::from(socket);
        socket.set_nonblocking(true)?;
        let socket = TcpSocket::from_std_stream(socket);
        socket.bind(SocketAddr::V4(on))?;
        socket.listen(1024)
    }

    /// A UDP socket in the holder's network; bound, where an address is given.
    pub(crate) fn datagrams(&self, on: Option<SocketAddrV4>) -> io::Result<UdpSocket> {
        let socket = self.holder.socket(AddressFamily::Inet, SockType::Datagram)?;
        if let Some(on) = on {
            bind(socket.as_raw_fd(), &SockaddrIn::from(on))?;
        }
        let socket = StdUdpSocket::from(socket);
        socket.set_nonblocking(true)?;
        UdpSocket::from_std(socket)
    }
}

/// The hardware address of an IP address. A bridge without one takes that of a port, and another one when that port goes: all pods would then
/// send to nobody, until their entry for the gateway has aged. A pod's address that is given again has to mean the same hardware, too.
fn hardware_address(ip: Ipv4Addr) -> Vec<u8> {
    const LOCALLY_ADMINISTERED: [u8; 2] = [0x0a, 0x58];
    [&LOCALLY_ADMINISTERED[..], &ip.octets()].concat()
}

async fn up(handle: &Handle, index: u32) -> Result<(), NetworkError> {
    let message: LinkMessage = LinkUnspec::new_with_index(index).up().build();
    handle
        .link()
        .set(message)
        .execute()
        .await
        .map_err(route("take an interface up"))
}

async fn index(handle: &Handle, name: &'static str) -> Result<u32, NetworkError> {
    use futures::TryStreamExt;
    let mut links = handle.link().get().match_name(name.to_owned()).execute();
    let link = links.try_next().await.map_err(route("look up an interface"))?;
    link.map(|link| link.header.index)
        .ok_or(NetworkError::NoInterface(name))
}
