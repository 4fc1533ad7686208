//! The API server of the sandbox on a port: for what the real binary asks and writes, where no controller and no pod is needed.

use std::net::TcpListener;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use pgop_sandbox_server::{Config, Identity, Server};
use tokio::runtime::Runtime;

use crate::api::kubeconfig;
use crate::harness::Test;

/// One that ends with this value.
pub struct ApiServer {
    url: String,
    runtime: Runtime,
    client: kube::Client,
}

impl ApiServer {
    /// Starts an empty one. Whoever connects may do anything.
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let server = Server::open(Config::default()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        listener.set_nonblocking(true).unwrap();
        let client = {
            let _inside = runtime.enter();
            server.client()
        };
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service = TowerToHyperService::new(server.service(Some(Identity::admin())));
                tokio::spawn(async move {
                    // A client that goes away is no failure of the test.
                    let _ = Builder::new(TokioExecutor::new())
                        .serve_connection_with_upgrades(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { url, runtime, client }
    }

    /// A run of `pgo` that finds this server.
    pub fn pgo(&self, line: &str) -> Test {
        Test::new(line)
            .file("kubeconfig", &kubeconfig(&self.url, "", ""))
            .env("KUBECONFIG", "kubeconfig")
    }

    /// Something asked of it, or told, without `pgo`.
    pub fn ask<T>(&self, work: impl AsyncFnOnce(kube::Client) -> T) -> T {
        self.runtime.block_on(work(self.client.clone()))
    }
}
