//! The machine's own name servers, for names that are not the cluster's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(2);

/// The name servers of `/etc/resolv.conf`.
#[derive(Debug, Default)]
pub(super) struct Upstream {
    servers: Vec<SocketAddr>,
}

impl Upstream {
    pub(super) fn of_this_machine() -> Self {
        Self {
            servers: servers(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default()),
        }
    }

    /// The first answer to a question, both as bytes.
    pub(super) async fn ask(&self, question: &[u8], tcp: bool) -> Option<Vec<u8>> {
        for server in &self.servers {
            let asked = async {
                if tcp {
                    over_tcp(*server, question).await
                } else {
                    over_udp(*server, question).await
                }
            };
            if let Ok(Ok(answer)) = timeout(PATIENCE, asked).await {
                return Some(answer);
            }
        }
        None
    }
}

fn servers(resolv_conf: &str) -> Vec<SocketAddr> {
    let words = resolv_conf
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"));
    words
        .filter_map(|rest| rest.trim().parse::<IpAddr>().ok())
        .map(|ip| SocketAddr::new(ip, 53))
        .collect()
}

async fn over_udp(server: SocketAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let any: IpAddr = if server.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut buffer = vec![0; 65_536];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // The first two bytes are the question's number: another's is no answer to ours.
        if buffer.get(..2) == question.get(..2) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn over_tcp(server: SocketAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    stream
        .write_u16(u16::try_from(question.len()).map_err(std::io::Error::other)?)
        .await?;
    stream.write_all(question).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::servers;

    #[test]
    fn name_servers_are_read_and_the_rest_is_not() {
        let text =
            "# nameserver 9.9.9.9\nsearch lan\nnameserver 192.168.1.1\nnameserver\tfd00::1\nnameserver nonsense\n";
        let found: Vec<_> = servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.168.1.1:53", "[fd00::1]:53"]);
    }
}
