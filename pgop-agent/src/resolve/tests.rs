//! With name servers of the test, on this machine.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::{RData, Record};
use tokio::net::UdpSocket;

use super::*;

/// As the kubelet writes it for a pod of namespace `shop`.
const OF_A_POD: &str = "search shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n";
/// Nothing takes nearly that long.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy)]
enum Answer {
    Address([u8; 4]),
    Failure,
}

/// A name server. It answers what it does not know with NXDOMAIN.
struct Server {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn new(answers: &[(&str, Answer)]) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let answers: BTreeMap<String, Answer> = answers.iter().map(|(name, it)| ((*name).to_owned(), *it)).collect();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = asked.clone();
        let task = tokio::spawn(async move {
            let mut buffer = [0; 1500];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
                let question = Message::from_vec(&buffer[..length]).unwrap();
                let reply = reply(&question, &answers, &heard);
                socket.send_to(&reply.to_vec().unwrap(), from).await.unwrap();
            }
        });
        Self { port, asked, task }
    }

    /// What a pod knows when this is its server.
    fn names(&self) -> Names {
        self.names_with("nameserver 127.0.0.1\n", "")
    }

    fn names_with(&self, servers: &str, hosts: &str) -> Names {
        let text = format!("{servers}{OF_A_POD}");
        Names::parse(text.as_bytes(), hosts.as_bytes())
            .unwrap()
            .at_port(self.port)
    }

    /// For which names it was asked, each once.
    fn asked(&self) -> Vec<String> {
        let mut all = self.asked.lock().unwrap().clone();
        all.dedup();
        all
    }
}

impl Names {
    fn at_port(mut self, port: u16) -> Self {
        let mut servers = self.servers.name_servers().to_vec();
        for connection in servers.iter_mut().flat_map(|server| &mut server.connections) {
            connection.port = port;
        }
        self.servers = ResolverConfig::from_parts(None, self.servers.search().to_vec(), servers);
        self
    }
}

fn reply(question: &Message, answers: &BTreeMap<String, Answer>, heard: &Mutex<Vec<String>>) -> Message {
    let query = question.queries[0].clone();
    let name = query.name().to_string();
    heard.lock().unwrap().push(name.clone());
    let mut reply = Message::response(question.metadata.id, question.metadata.op_code);
    reply.metadata.message_type = MessageType::Response;
    reply.metadata.recursion_desired = true;
    reply.metadata.recursion_available = true;
    match answers.get(&name) {
        Some(Answer::Address(address)) => {
            // It has no address of the other kind.
            if query.query_type() == RecordType::A {
                let data = RData::A(Ipv4Addr::from(*address).into());
                reply.answers.push(Record::from_rdata(query.name().clone(), 5, data));
            }
        }
        Some(Answer::Failure) => reply.metadata.response_code = ResponseCode::ServFail,
        None => reply.metadata.response_code = ResponseCode::NXDomain,
    }
    reply.queries.push(query);
    reply
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn tried(name: &str, search: &[&str], ndots: usize) -> Vec<String> {
    let search: Vec<Name> = search.iter().map(|domain| Name::from_utf8(domain).unwrap()).collect();
    let all = candidates(&Name::from_utf8(name).unwrap(), &search, ndots);
    all.iter().map(Name::to_string).collect()
}

#[test]
fn search_domains_come_first_where_a_name_has_few_dots() {
    let search = ["shop.svc.cluster.local", "cluster.local."];
    assert_eq!(
        tried("orders", &search, 5),
        ["orders.shop.svc.cluster.local.", "orders.cluster.local.", "orders."]
    );
    assert_eq!(
        tried("a.example.org", &search, 2),
        [
            "a.example.org.",
            "a.example.org.shop.svc.cluster.local.",
            "a.example.org.cluster.local."
        ]
    );
    assert_eq!(tried("a.b.c.d.e", &[], 5), ["a.b.c.d.e."]);
    assert_eq!(tried("orders.shop.", &search, 5), ["orders.shop."]);
    let (long, label) = ([&*"a".repeat(60); 4].join("."), "b".repeat(60));
    assert_eq!(
        tried(&label, &[&long, "x"], 5),
        [format!("{label}.x."), format!("{label}.")]
    );
}

#[tokio::test]
async fn a_service_is_found_by_its_short_name() {
    let server = Server::new(&[("orders.shop.svc.cluster.local.", Answer::Address([10, 96, 0, 7]))]).await;
    let found = server.names().addresses("orders", PATIENCE).await.unwrap();
    assert_eq!(found, [ip("10.96.0.7")]);
    assert_eq!(server.asked(), ["orders.shop.svc.cluster.local."]);
}

#[tokio::test]
async fn one_of_another_namespace_is_found_through_the_second_domain() {
    let server = Server::new(&[("orders.bank.svc.cluster.local.", Answer::Address([10, 96, 0, 8]))]).await;
    let found = server.names().addresses("orders.bank", PATIENCE).await.unwrap();
    assert_eq!(found, [ip("10.96.0.8")]);
    assert_eq!(
        server.asked(),
        ["orders.bank.shop.svc.cluster.local.", "orders.bank.svc.cluster.local."]
    );
}

#[tokio::test]
async fn what_ends_in_a_dot_is_asked_for_as_it_is() {
    let server = Server::new(&[("db.example.org.", Answer::Address([192, 0, 2, 1]))]).await;
    let found = server.names().addresses("db.example.org.", PATIENCE).await.unwrap();
    assert_eq!(found, [ip("192.0.2.1")]);
    assert_eq!(server.asked(), ["db.example.org."]);
}

#[tokio::test]
async fn an_unknown_host_is_told_with_the_names_that_were_tried() {
    let server = Server::new(&[]).await;
    let error = server.names().addresses("orders", PATIENCE).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no host orders (asked for orders.shop.svc.cluster.local., orders.svc.cluster.local., orders.cluster.local., orders.): \
         is there a Service or a pod of that name, and is it ready?"
    );
}

#[tokio::test]
async fn an_answer_is_not_kept() {
    let server = Server::new(&[]).await;
    let names = server.names();
    for _ in 0..2 {
        assert!(names.addresses("orders.", PATIENCE).await.is_err());
    }
    assert!(
        server
            .asked
            .lock()
            .unwrap()
            .iter()
            .filter(|name| *name == "orders.")
            .count()
            >= 4
    );
}

#[tokio::test]
async fn a_server_that_fails_is_no_server_that_knows_nothing() {
    let server = Server::new(&[("orders.shop.svc.cluster.local.", Answer::Failure)]).await;
    let error = server.names().addresses("orders", PATIENCE).await.unwrap_err();
    assert!(matches!(error, ResolveError::Ask { .. }), "{error}");
    assert!(error.to_string().contains("host orders"), "{error}");
    assert_eq!(server.asked().last().unwrap(), "orders.");
}

#[tokio::test]
async fn one_of_two_servers_is_enough() {
    let server = Server::new(&[("orders.shop.svc.cluster.local.", Answer::Address([10, 96, 0, 7]))]).await;
    // It hears and says nothing.
    let _silent = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 2), server.port))
        .await
        .unwrap();
    for servers in [
        "nameserver 127.0.0.2\nnameserver 127.0.0.1\n",
        "nameserver 127.0.0.1\nnameserver 127.0.0.2\n",
    ] {
        let names = server.names_with(servers, "");
        assert_eq!(names.addresses("orders", PATIENCE).await.unwrap(), [ip("10.96.0.7")]);
    }
}

#[tokio::test(start_paused = true)]
async fn where_nobody_answers_the_wait_has_an_end() {
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let text = format!("nameserver 127.0.0.1\n{OF_A_POD}");
    let names = Names::parse(text.as_bytes(), b"").unwrap();
    let names = names.at_port(silent.local_addr().unwrap().port());
    let began = tokio::time::Instant::now();
    let error = names.addresses("orders", Duration::from_secs(3)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no name server told the address of host orders within 3 s; see whether the cluster's DNS works"
    );
    assert_eq!(began.elapsed().as_secs(), 3);
    // With more patience the servers' own limits come first, and none is asked for the other names.
    let error = names.addresses("orders", Duration::from_secs(3600)).await.unwrap_err();
    assert!(matches!(error, ResolveError::Ask { .. }), "{error}");
    assert!(began.elapsed().as_secs() < 60);
}

#[tokio::test]
async fn addresses_and_known_hosts_need_no_server() {
    let hosts = b"# kubelet\n127.0.0.1 localhost\n10.0.0.5 orders-0.orders-pods.shop.svc.cluster.local Orders-0\nfe80::1 orders-0\nodd \xff\n";
    let names = Names::parse(b"", hosts).unwrap();
    for (host, expected) in [
        ("10.1.2.3", vec!["10.1.2.3"]),
        ("fe80::9", vec!["fe80::9"]),
        ("localhost", vec!["127.0.0.1"]),
        ("ORDERS-0", vec!["10.0.0.5", "fe80::1"]),
        ("orders-0.orders-pods.shop.svc.cluster.local.", vec!["10.0.0.5"]),
    ] {
        let found = names.addresses(host, PATIENCE).await.unwrap();
        let expected: Vec<IpAddr> = expected.into_iter().map(ip).collect();
        assert_eq!(found, expected, "{host}");
    }
}

#[tokio::test]
async fn what_is_no_name_is_told() {
    let names = Names::parse(b"nameserver 127.0.0.1", b"").unwrap();
    let host = "a".repeat(64);
    let error = names.addresses(&host, PATIENCE).await.unwrap_err();
    assert!(
        error.to_string().starts_with(&format!("`{host}` is no name of a host")),
        "{error}"
    );
}
