//! The name server of the pods, at 10.96.0.10: the cluster's names from a [`Zone`], others from the machine's name servers.

use std::net::SocketAddrV4;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{CNAME, PTR, SOA, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use pgop_sandbox_tasks::spawn_in;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::upstream::Upstream;
use super::zone::{DOMAIN, Data, Found, Zone};
use super::{DNS, Network};

const TTL: u32 = 5; // names follow pods: nobody should remember one for long
const TCP_IDLE: Duration = Duration::from_secs(10);

/// The name server.
pub(crate) struct Dns {
    zone: RwLock<Arc<Zone>>,
    upstream: Upstream,
    udp: Arc<UdpSocket>,
    tcp: TcpListener,
}

/// What becomes of a question.
#[derive(Debug)]
enum Answer {
    Here(Box<Message>),
    /// Ask the machine's name servers, and hand on what they say.
    Elsewhere,
}

impl Dns {
    /// Opens its sockets. It knows no names yet.
    pub(crate) fn open(network: &Network) -> std::io::Result<Arc<Self>> {
        let address = SocketAddrV4::new(DNS, 53);
        let (udp, tcp) = (Arc::new(network.datagrams(Some(address))?), network.listen(address)?);
        Ok(Arc::new(Self {
            zone: RwLock::default(),
            upstream: Upstream::of_this_machine(),
            udp,
            tcp,
        }))
    }

    /// From now on these names.
    pub(crate) fn set(&self, zone: Zone) {
        *self.zone.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(zone);
    }

    /// Answers until its future is dropped.
    pub(crate) async fn serve(self: Arc<Self>) {
        tokio::join!(self.clone().serve_udp(), self.clone().serve_tcp());
    }

    async fn serve_udp(self: Arc<Self>) {
        let mut tasks = JoinSet::new();
        let mut buffer = vec![0; 4096];
        loop {
            let Ok((length, from)) = self.udp.recv_from(&mut buffer).await else {
                continue;
            };
            while tasks.try_join_next().is_some() {}
            let (dns, question) = (self.clone(), buffer.get(..length).unwrap_or_default().to_vec());
            spawn_in(&mut tasks, "answer to a name", async move {
                if let Some(answer) = dns.reply(&question, false).await {
                    let _ = dns.udp.send_to(&answer, from).await;
                }
            });
        }
    }

    async fn serve_tcp(self: Arc<Self>) {
        let mut tasks = JoinSet::new();
        loop {
            let Ok((stream, _)) = self.tcp.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await; // out of descriptors
                continue;
            };
            while tasks.try_join_next().is_some() {}
            spawn_in(
                &mut tasks,
                "connection for names",
                self.clone().serve_connection(stream),
            );
        }
    }

    async fn serve_connection(self: Arc<Self>, mut stream: TcpStream) {
        while let Ok(Ok(length)) = timeout(TCP_IDLE, stream.read_u16()).await {
            let mut question = vec![0; usize::from(length)];
            let Ok(Ok(_)) = timeout(TCP_IDLE, stream.read_exact(&mut question)).await else {
                return;
            };
            let Some(answer) = self.reply(&question, true).await else {
                return;
            };
            let Ok(length) = u16::try_from(answer.len()) else {
                return;
            };
            if stream.write_u16(length).await.is_err() || stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }

    /// The bytes of the answer to a question's; none where nothing sensible can be said.
    async fn reply(&self, question: &[u8], tcp: bool) -> Option<Vec<u8>> {
        let request = Message::from_vec(question).ok()?;
        let zone = self.zone.read().unwrap_or_else(PoisonError::into_inner).clone();
        match answer(&zone, &request) {
            Answer::Elsewhere => match self.upstream.ask(question, tcp).await {
                Some(answer) => Some(answer),
                None => failure(&request, ResponseCode::ServFail).to_vec().ok(),
            },
            Answer::Here(message) => {
                let bytes = message.to_vec().ok()?;
                if !tcp && bytes.len() > usize::from(request.max_payload().max(512)) {
                    return message.truncate().to_vec().ok();
                }
                Some(bytes)
            }
        }
    }
}

fn failure(request: &Message, code: ResponseCode) -> Message {
    let mut message = Message::response(request.metadata.id, request.metadata.op_code);
    message.metadata = Metadata::response_from_request(&request.metadata);
    message.metadata.response_code = code;
    message.queries.clone_from(&request.queries);
    message
}

fn answer(zone: &Zone, request: &Message) -> Answer {
    let [query] = request.queries.as_slice() else {
        return Answer::Here(Box::new(failure(request, ResponseCode::FormErr)));
    };
    if request.metadata.message_type != MessageType::Query || request.metadata.op_code != OpCode::Query {
        return Answer::Here(Box::new(failure(request, ResponseCode::NotImp)));
    }
    let name = query.name().clone();
    let (found, exists) = match zone.find(&name.to_utf8()) {
        Found::Foreign => return Answer::Elsewhere,
        Found::Nothing => (Vec::new(), false),
        Found::Data(data) => (data, true),
    };
    let mut message = failure(
        request,
        if exists {
            ResponseCode::NoError
        } else {
            ResponseCode::NXDomain
        },
    );
    message.metadata.authoritative = true;
    message.metadata.recursion_available = true;
    for data in &found {
        add(&mut message, &name, query.query_type(), data, zone);
    }
    if message.answers.is_empty() {
        message.authorities.extend(soa()); // so that the asker may remember that there is nothing
    }
    if request.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(1232);
        message.set_edns(edns);
    }
    Answer::Here(Box::new(message))
}

fn add(message: &mut Message, name: &Name, kind: RecordType, data: &Data, zone: &Zone) {
    let any = kind == RecordType::ANY;
    let record = match data {
        Data::A(address) if any || kind == RecordType::A => Some(RData::from(*address)),
        Data::Alias(other) => Name::from_utf8(format!("{other}."))
            .ok()
            .map(|other| RData::CNAME(CNAME(other))),
        Data::Pointer(to) if any || kind == RecordType::PTR => {
            Name::from_utf8(format!("{to}.")).ok().map(|to| RData::PTR(PTR(to)))
        }
        Data::Port(port, owner) if any || kind == RecordType::SRV => {
            let target = Name::from_utf8(format!("{owner}.")).ok();
            if let (Some(target), Found::Data(of_owner)) = (&target, zone.find(owner)) {
                for data in of_owner {
                    if let Data::A(address) = data {
                        message.add_additional(Record::from_rdata(target.clone(), TTL, RData::from(address)));
                    }
                }
            }
            target.map(|target| RData::SRV(SRV::new(0, 100, *port, target)))
        }
        _ => None,
    };
    if let Some(data) = record {
        message.add_answer(Record::from_rdata(name.clone(), TTL, data));
    }
}

fn soa() -> Option<Record> {
    let zone = Name::from_utf8(format!("{DOMAIN}.")).ok()?;
    let server = Name::from_utf8(format!("ns.dns.{DOMAIN}.")).ok()?;
    let person = Name::from_utf8(format!("hostmaster.{DOMAIN}.")).ok()?;
    Some(Record::from_rdata(
        zone,
        TTL,
        RData::SOA(SOA::new(server, person, 1, 7200, 1800, 86_400, TTL)),
    ))
}

#[cfg(test)]
mod tests {
    use super::{Answer, answer};
    use crate::network::zone::Zone;
    use hickory_proto::op::{Message, Query, ResponseCode};
    use hickory_proto::rr::{Name, RData, RecordType};
    use k8s_openapi::api::core::v1::Service;
    use serde_json::{from_value, json};
    use std::sync::Arc;

    fn services() -> Vec<Arc<Service>> {
        let all: Vec<Service> = from_value(json!([
            {"metadata": {"name": "orders", "namespace": "shop"},
             "spec": {"clusterIP": "10.96.3.4", "ports": [{"name": "postgres", "port": 5432}]}},
            {"metadata": {"name": "outside", "namespace": "shop"}, "spec": {"type": "ExternalName", "externalName": "db.example.org"}},
        ]))
        .unwrap();
        all.into_iter().map(Arc::new).collect()
    }

    fn zone() -> Zone {
        Zone::new(
            &services(),
            &Vec::<Arc<k8s_openapi::api::discovery::v1::EndpointSlice>>::new(),
        )
    }

    fn ask(name: &str, kind: RecordType) -> Message {
        let mut message = Message::query();
        message.add_query(Query::query(Name::from_utf8(name).unwrap(), kind));
        message
    }

    fn here(name: &str, kind: RecordType) -> Message {
        match answer(&zone(), &ask(name, kind)) {
            Answer::Here(message) => *message,
            Answer::Elsewhere => panic!("{name} is the cluster's"),
        }
    }

    #[test]
    fn an_address_is_told_with_the_id_of_the_question() {
        let question = ask("orders.shop.svc.cluster.local.", RecordType::A);
        let Answer::Here(message) = answer(&zone(), &question) else {
            panic!("not answered")
        };
        assert_eq!(message.metadata.id, question.metadata.id);
        assert_eq!(
            message.answers[0].data,
            RData::from(std::net::Ipv4Addr::new(10, 96, 3, 4))
        );
    }

    #[test]
    fn a_name_without_ipv6_exists_and_an_unknown_one_does_not() {
        let known = here("orders.shop.svc.cluster.local.", RecordType::AAAA);
        assert_eq!(
            (
                known.metadata.response_code,
                known.answers.len(),
                known.authorities.len()
            ),
            (ResponseCode::NoError, 0, 1)
        );
        assert_eq!(
            here("none.shop.svc.cluster.local.", RecordType::A)
                .metadata
                .response_code,
            ResponseCode::NXDomain
        );
    }

    #[test]
    fn ports_come_with_the_address_of_their_owner() {
        let message = here("_postgres._tcp.orders.shop.svc.cluster.local.", RecordType::SRV);
        assert!(matches!(&message.answers[0].data, RData::SRV(srv) if srv.port == 5432));
        assert_eq!(message.additionals.len(), 1);
    }

    #[test]
    fn an_external_name_is_an_alias_whatever_is_asked() {
        let message = here("outside.shop.svc.cluster.local.", RecordType::A);
        assert!(matches!(&message.answers[0].data, RData::CNAME(to) if to.0.to_utf8() == "db.example.org."));
    }

    #[test]
    fn other_names_are_asked_elsewhere() {
        assert!(matches!(
            answer(&zone(), &ask("example.org.", RecordType::A)),
            Answer::Elsewhere
        ));
    }
}
