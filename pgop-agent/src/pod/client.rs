//! The one kind of request that the agent makes of the API server.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::account::Account;
use super::condition::{PREFIX, PodCondition};
use crate::resolve::Names;

/// Who the fields belong to in `managedFields`. Part of what is kept in clusters: another name would leave the old one's conditions behind.
const MANAGER: &str = "pgop-agent";
const MERGE: &str = "application/merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";
/// Of a whole request.
const PATIENCE: Duration = Duration::from_secs(10);
/// Of an answer. `etcd` holds no larger object.
const LARGEST: usize = 4 << 20;

/// Asks the API server as the pod's service account. Each request is a connection of its own: there are hours between two.
pub struct Client(Account);

/// Why the API server did not do it.
#[derive(Debug, Error)]
pub enum ClientError {
    /// A file of the service account can't be read.
    #[error("could not read {}: {source}", path.display())]
    ReadAccount {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds no certificate authority.
    #[error("could not read a certificate authority in {}: {why}", path.display())]
    ReadAuthority {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Nobody takes the connection, or it is not the API server of this authority.
    #[error("could not connect to the API server at {address}: {source}")]
    Connect {
        /// Where.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// It can't be asked this.
    #[error("could not make a request to the API server at {address}: {source}")]
    Ask {
        /// Where.
        address: String,
        /// Why.
        source: hyper::http::Error,
    },
    /// It went away in between.
    #[error("could not get an answer of the API server at {address}: {source}")]
    Answer {
        /// Where.
        address: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It took too long.
    #[error("the API server at {address} did not answer within {} s", PATIENCE.as_secs())]
    TimedOut {
        /// Where.
        address: String,
    },
    /// It said no.
    #[error("{}", refused(*code, message))]
    Refused {
        /// The HTTP status.
        code: StatusCode,
        /// In its words.
        message: String,
    },
}

impl ClientError {
    /// Whether somebody has to change something before it can work.
    pub fn is_lasting(&self) -> bool {
        const LASTING: [StatusCode; 3] = [
            StatusCode::FORBIDDEN,
            StatusCode::NOT_FOUND,
            StatusCode::UNPROCESSABLE_ENTITY,
        ];
        matches!(self, Self::Refused { code, .. } if LASTING.contains(code))
    }
}

fn refused(code: StatusCode, message: &str) -> String {
    match code {
        StatusCode::FORBIDDEN => format!(
            "the pod's service account lacks a Role, or its RoleBinding, that allows `patch` on `pods/status` of this pod: {message}"
        ),
        StatusCode::NOT_FOUND => format!("this pod is gone: {message}"),
        StatusCode::UNPROCESSABLE_ENTITY => {
            format!("the API server does not take them, or this pod is gone and another has its name: {message}")
        }
        _ => format!("the API server answered {code}: {message}"),
    }
}

impl super::Api for Client {
    /// A patch that changes nothing is answered with the pod, and needs no right to read it.
    async fn read(&self) -> Result<Vec<PodCondition>, ClientError> {
        let nothing = json!({"metadata": {"uid": self.0.uid}});
        let pod = self.patch(MERGE, "", &nothing).await?;
        Ok(ours(&pod))
    }

    /// Server-side apply: what this manager applied before and does not now is removed, and nobody else's condition is touched. Forced, for the
    /// types are ours whoever wrote one by hand.
    async fn apply(&self, conditions: &[PodCondition]) -> Result<(), ClientError> {
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self.0.pod, "namespace": self.0.namespace, "uid": self.0.uid},
            "status": {"conditions": conditions},
        });
        self.patch(APPLY, "&force=true", &pod).await.map(drop)
    }
}

/// The conditions of ours.
fn ours(pod: &Value) -> Vec<PodCondition> {
    let all = pod.pointer("/status/conditions").and_then(Value::as_array);
    let read = |condition: &Value| serde_json::from_value::<PodCondition>(condition.clone()).ok();
    all.into_iter()
        .flatten()
        .filter_map(read)
        .filter(|condition| condition.kind.starts_with(PREFIX))
        .collect()
}

impl Client {
    /// For this pod.
    pub fn new(account: Account) -> Self {
        Self(account)
    }

    /// Patches the status of the pod, and gives the pod as it is then.
    async fn patch(&self, kind: &str, query: &str, patch: &Value) -> Result<Value, ClientError> {
        let asked = tokio::time::timeout(PATIENCE, self.ask(kind, query, patch)).await;
        asked.unwrap_or_else(|_| {
            Err(ClientError::TimedOut {
                address: self.0.authority(),
            })
        })
    }

    async fn ask(&self, kind: &str, query: &str, patch: &Value) -> Result<Value, ClientError> {
        let request = self.request(kind, query, patch)?;
        let lost = |source: Box<dyn std::error::Error + Send + Sync>| ClientError::Answer {
            address: self.0.authority(),
            source,
        };
        let stream = TokioIo::new(self.connect().await?);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream)
            .await
            .map_err(|error| lost(error.into()))?;
        let exchange = async move {
            let response = sender.send_request(request).await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, LARGEST).collect().await?.to_bytes();
            Ok((head.status, body))
        };
        // The connection ends when the exchange has let go of its sender; what went wrong with it is what the exchange says.
        let (answer, _) = tokio::join!(exchange, connection);
        let (code, body): (StatusCode, Bytes) = answer.map_err(lost)?;
        let read = serde_json::from_slice::<Value>(&body);
        if code == StatusCode::OK {
            return read.map_err(|error| lost(error.into()));
        }
        let status = read.unwrap_or_default();
        let message = status.get("message").and_then(Value::as_str);
        let message = message.unwrap_or("it gave no reason").to_owned();
        Err(ClientError::Refused { code, message })
    }

    fn request(&self, kind: &str, query: &str, patch: &Value) -> Result<Request<Full<Bytes>>, ClientError> {
        let Account { namespace, pod, .. } = &self.0;
        let token = String::from_utf8_lossy(&self.file("token")?).trim().to_owned();
        Request::patch(format!(
            "/api/v1/namespaces/{namespace}/pods/{pod}/status?fieldManager={MANAGER}{query}"
        ))
        .header(HOST, self.0.authority())
        .header(USER_AGENT, concat!("pgop-agent/", env!("CARGO_PKG_VERSION")))
        .header(AUTHORIZATION, format!("Bearer {token}"))
        .header(CONTENT_TYPE, kind)
        .body(Full::from(patch.to_string()))
        .map_err(|source| ClientError::Ask {
            address: self.0.authority(),
            source,
        })
    }

    fn file(&self, name: &str) -> Result<Vec<u8>, ClientError> {
        let path = self.0.directory.join(name);
        std::fs::read(&path).map_err(|source| ClientError::ReadAccount { path, source })
    }

    async fn connect(&self) -> Result<tokio_rustls::client::TlsStream<TcpStream>, ClientError> {
        let tls = TlsConnector::from(Arc::new(self.tls()?));
        let connected = async {
            let name = ServerName::try_from(self.0.host.clone()).map_err(io::Error::other)?;
            // Mostly an address; some providers give a name.
            let names = Names::of_machine().map_err(io::Error::other)?;
            let found = names
                .addresses(&self.0.host, PATIENCE)
                .await
                .map_err(io::Error::other)?;
            let addresses: Vec<SocketAddr> = found.into_iter().map(|ip| SocketAddr::new(ip, self.0.port)).collect();
            let stream = TcpStream::connect(&addresses[..]).await?;
            tls.connect(name, stream).await
        };
        connected.await.map_err(|source| ClientError::Connect {
            address: self.0.authority(),
            source,
        })
    }

    /// Trusts the cluster's own authority and no other.
    fn tls(&self) -> Result<rustls::ClientConfig, ClientError> {
        let unreadable = |error: &dyn std::fmt::Display| ClientError::ReadAuthority {
            path: self.0.directory.join("ca.crt"),
            why: error.to_string(),
        };
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&self.file("ca.crt")?) {
            let certificate = certificate.map_err(|error| unreadable(&error))?;
            roots.add(certificate).map_err(|error| unreadable(&error))?;
        }
        if roots.is_empty() {
            return Err(unreadable(&"it holds no certificate"));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unreadable(&error))?;
        Ok(config.with_root_certificates(roots).with_no_client_auth())
    }
}

#[cfg(test)]
mod tests;
