//! The API on plain HTTP, for trying it with kubectl: `cargo run --example plain -- 8001`.
#![allow(clippy::disallowed_methods)] // a test sees a panic of its own tasks

use std::net::Ipv4Addr;

use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use pgop_sandbox_server::{Config, Identity, Server};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::args()
        .nth(1)
        .and_then(|port| port.parse().ok())
        .unwrap_or(8001);
    let server = Server::open(Config::default())?;
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(server.service(Some(Identity::admin())));
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection.with_upgrades());
    }
}
