//! Listening on the loopback, with TLS.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use pgop_sandbox_server::Server;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_util::sync::CancellationToken;

use crate::credentials::Credentials;
use crate::sandbox::StartError;

/// A client that does not finish its handshake holds no connection for longer.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Watches never end by themselves: connections are cut after this when the sandbox stops.
const FAREWELL: Duration = Duration::from_secs(2);

/// The server's side of TLS.
pub(crate) fn acceptor(credentials: &Credentials) -> Result<TlsAcceptor, StartError> {
    let unreadable = |error: tokio_rustls::rustls::pki_types::pem::Error| StartError::Tls(error.to_string());
    let chain = CertificateDer::pem_slice_iter(credentials.certificate.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable)?;
    let key = PrivateKeyDer::from_pem_slice(credentials.key.as_bytes()).map_err(unreadable)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| StartError::Tls(error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves until `stop` is cancelled.
pub(crate) async fn serve(listener: TcpListener, acceptor: TlsAcceptor, server: Server, stop: CancellationToken) {
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let watcher = graceful.watcher();
                tokio::spawn(connection(stream, acceptor.clone(), server.clone(), watcher));
            }
            // Too many open files, most likely: some will be closed.
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::task::yield_now().await;
            }
        }
    }
    let _ = timeout(FAREWELL, graceful.shutdown()).await;
}

async fn connection(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    server: Server,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let _ = stream.set_nodelay(true);
    let stream = match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "handshake failed"),
        Err(_) => return tracing::debug!("handshake took too long"),
    };
    let service = TowerToHyperService::new(server.service(None));
    let builder = Builder::new(TokioExecutor::new());
    let connection = builder
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .into_owned();
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "connection ended");
    }
}
