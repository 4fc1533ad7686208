//! Listening on the loopback, with TLS.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use pgop_sandbox_server::Server;
use pgop_sandbox_tasks::spawn;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
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
/// What could not be accepted is tried again.
const AGAIN: Duration = Duration::from_millis(50);
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
                let connection = connection(stream, acceptor.clone(), server.clone(), watcher);
                spawn("connection of a client", connection);
            }
            // Too many open files, most likely: some will be closed.
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                sleep(AGAIN).await;
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

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // a test sees a panic of its own tasks
mod tests {
    use k8s_openapi::api::core::v1::Namespace;
    use kube::api::{Api, ListParams};
    use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
    use pgop_sandbox_server::Config;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::folder::Folder;
    use crate::{kubeconfig, sandbox};

    /// What a client with that token is answered: its code, 200 when it gets the list.
    async fn answered(url: &str, credentials: &Credentials, token: &str) -> u16 {
        let text = kubeconfig::text("test", url, &credentials.ca, token);
        let mut config = Kubeconfig::from_yaml(&text).unwrap();
        if token.is_empty() {
            config.auth_infos[0].auth_info = Some(AuthInfo::default());
        }
        let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await;
        let client = kube::Client::try_from(config.unwrap()).unwrap();
        match Api::<Namespace>::all(client).list(&ListParams::default()).await {
            Ok(list) => {
                assert!(!list.items.is_empty());
                200
            }
            Err(kube::Error::Api(status)) => status.code,
            Err(other) => panic!("{other}"),
        }
    }

    #[tokio::test]
    async fn it_serves_the_loopback_only_and_whoever_has_the_token() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::new(place.path().join("sandbox"));
        let _held = folder.hold().unwrap();
        let credentials = Credentials::load(&folder.credentials()).unwrap();
        let server = Server::open(Config {
            admin_token: Some(credentials.token.clone()),
            ..Config::default()
        });
        let (listener, address) = sandbox::listen(&folder).await.unwrap();
        assert_eq!(listener.local_addr().unwrap(), address);
        assert!(address.ip().is_loopback(), "{address}");
        let (url, stop) = (format!("https://{address}"), CancellationToken::new());
        let serving = tokio::spawn(serve(
            listener,
            acceptor(&credentials).unwrap(),
            server.unwrap(),
            stop.clone(),
        ));

        assert_eq!(answered(&url, &credentials, &credentials.token).await, 200);
        assert_eq!(answered(&url, &credentials, "wrong").await, 401);
        assert_eq!(answered(&url, &credentials, &credentials.token[1..]).await, 401);
        assert_eq!(answered(&url, &credentials, "").await, 403);
        // Without TLS nothing is told.
        let mut plain = TcpStream::connect(address).await.unwrap();
        plain
            .write_all(b"GET /version HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        let mut told = Vec::new();
        let _ = plain.read_to_end(&mut told).await;
        assert!(!told.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&told));

        stop.cancel();
        serving.await.unwrap();
        // The next start has the same address, so that kubeconfigs hold.
        assert_eq!(sandbox::listen(&folder).await.unwrap().1, address);
    }
}
