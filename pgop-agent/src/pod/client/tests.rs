//! The client against an HTTPS server in this process.

use std::convert::Infallible;
use std::fs;

use hyper::service::service_fn;
use hyper::{Method, Response, body::Incoming};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::pod::{Api as _, Status};

/// A request as the server got it.
struct Got {
    method: Method,
    path: String,
    kind: String,
    token: String,
    body: Value,
}

/// An API server that answers everybody the same, and the pod that knows it.
struct Cluster {
    client: Client,
    directory: tempfile::TempDir,
    got: mpsc::UnboundedReceiver<Got>,
}

async fn got(request: Request<Incoming>) -> Got {
    let header = |name| request.headers()[name].to_str().unwrap().to_owned();
    Got {
        method: request.method().clone(),
        path: request.uri().to_string(),
        kind: header("content-type"),
        token: header("authorization"),
        body: {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            serde_json::from_slice(&body).unwrap()
        },
    }
}

impl Cluster {
    /// One that answers this.
    async fn answering(code: u16, answer: Value) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Whoever does not trust this certificate ends here.
                let Ok(stream) = acceptor.accept(stream).await else {
                    continue;
                };
                let serve = service_fn(|request| {
                    let (sender, answer) = (sender.clone(), answer.to_string());
                    async move {
                        drop(sender.send(got(request).await));
                        let response = Response::builder()
                            .status(code)
                            .body(Full::<Bytes>::from(answer))
                            .unwrap();
                        Ok::<_, Infallible>(response)
                    }
                });
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), serve);
                drop(connection.await);
            }
        });
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("ca.crt"), certificate.pem()).unwrap();
        fs::write(directory.path().join("token"), "first\n").unwrap();
        Self {
            client: client(port, &directory),
            directory,
            got: receiver,
        }
    }
}

fn client(port: u16, directory: &tempfile::TempDir) -> Client {
    Client::new(Account {
        host: "127.0.0.1".to_owned(),
        port,
        namespace: "shop".to_owned(),
        pod: "hippo-0".to_owned(),
        uid: "0d92833f".to_owned(),
        directory: directory.path().to_owned(),
    })
}

fn condition(kind: &str) -> PodCondition {
    PodCondition {
        kind: kind.to_owned(),
        status: Status::False,
        reason: "Refused".to_owned(),
        message: "work_mem = '…'".to_owned(),
        last_transition_time: "2026-11-30T06:00:00Z".to_owned(),
    }
}

#[tokio::test]
async fn it_applies_its_conditions_to_the_status_of_its_own_pod() {
    let mut cluster = Cluster::answering(200, json!({})).await;
    cluster
        .client
        .apply(&[condition("pgop.dev/SettingsInForce")])
        .await
        .unwrap();
    let got = cluster.got.recv().await.unwrap();
    assert_eq!(got.method, Method::PATCH);
    assert_eq!(
        got.path,
        "/api/v1/namespaces/shop/pods/hippo-0/status?fieldManager=pgop-agent&force=true"
    );
    assert_eq!(
        (got.kind.as_str(), got.token.as_str()),
        ("application/apply-patch+yaml", "Bearer first")
    );
    assert_eq!(
        got.body,
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "hippo-0", "namespace": "shop", "uid": "0d92833f"},
            "status": {"conditions": [{
                "type": "pgop.dev/SettingsInForce",
                "status": "False",
                "reason": "Refused",
                "message": "work_mem = '…'",
                "lastTransitionTime": "2026-11-30T06:00:00Z",
            }]},
        })
    );
}

#[tokio::test]
async fn it_reads_what_is_its_own_by_a_patch_of_nothing() {
    let pod = json!({"metadata": {"name": "hippo-0"}, "status": {"conditions": [
        {"type": "Ready", "status": "True", "lastProbeTime": null, "lastTransitionTime": "2026-11-30T05:00:00Z"},
        condition("pgop.dev/Space"),
        {"type": "pgop.dev/Odd", "status": "Perhaps"},
    ]}});
    let mut cluster = Cluster::answering(200, pod).await;
    assert_eq!(cluster.client.read().await.unwrap(), [condition("pgop.dev/Space")]);
    let got = cluster.got.recv().await.unwrap();
    assert_eq!(
        (got.path.as_str(), got.kind.as_str()),
        (
            "/api/v1/namespaces/shop/pods/hippo-0/status?fieldManager=pgop-agent",
            "application/merge-patch+json"
        )
    );
    assert_eq!(got.body, json!({"metadata": {"uid": "0d92833f"}}));
}

#[tokio::test]
async fn a_new_token_is_used_at_once() {
    let mut cluster = Cluster::answering(200, json!({})).await;
    cluster.client.read().await.unwrap();
    fs::write(cluster.directory.path().join("token"), "second").unwrap();
    cluster.client.read().await.unwrap();
    let tokens = [
        cluster.got.recv().await.unwrap().token,
        cluster.got.recv().await.unwrap().token,
    ];
    assert_eq!(tokens, ["Bearer first", "Bearer second"]);
}

#[tokio::test]
async fn a_refusal_is_told_in_the_servers_words_with_what_is_missing() {
    let refusals = [
        (
            403,
            true,
            "the pod's service account lacks a Role, or its RoleBinding, that allows `patch` on `pods/status` of this pod: pods \"hippo-0\" is",
        ),
        (404, true, "this pod is gone: pods \"hippo-0\" is"),
        (
            422,
            true,
            "the API server does not take them, or this pod is gone and another has its name: pods \"hippo-0\" is",
        ),
        (
            401,
            false,
            "the API server answered 401 Unauthorized: pods \"hippo-0\" is",
        ),
        (
            503,
            false,
            "the API server answered 503 Service Unavailable: pods \"hippo-0\" is",
        ),
    ];
    for (code, lasting, words) in refusals {
        let cluster = Cluster::answering(code, json!({"kind": "Status", "message": "pods \"hippo-0\" is"})).await;
        let error = cluster.client.read().await.unwrap_err();
        assert_eq!((error.to_string().as_str(), error.is_lasting()), (words, lasting));
    }
}

#[tokio::test]
async fn another_authority_and_nobody_at_all_are_not_the_api_server() {
    let cluster = Cluster::answering(200, json!({})).await;
    let other = Cluster::answering(200, json!({})).await;
    let ca = |cluster: &Cluster| cluster.directory.path().join("ca.crt");
    fs::copy(ca(&other), ca(&cluster)).unwrap();
    let error = cluster.client.read().await.unwrap_err();
    assert!(
        matches!(error, ClientError::Connect { .. }) && error.to_string().contains("certificate"),
        "{error}"
    );
    for text in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        fs::write(ca(&cluster), text).unwrap();
        let error = cluster.client.read().await.unwrap_err();
        assert!(matches!(error, ClientError::ReadAuthority { .. }), "{error}");
    }
    fs::remove_file(ca(&cluster)).unwrap();
    let error = cluster.client.read().await.unwrap_err();
    assert!(matches!(error, ClientError::ReadAccount { .. }), "{error}");

    // Bound, and nobody listens.
    let closed = TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = closed.local_addr().unwrap().port();
    let error = client(port, &other.directory).read().await.unwrap_err();
    assert!(
        matches!(error, ClientError::Connect { .. }) && !error.is_lasting(),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cluster = Cluster::answering(200, json!({})).await;
    let client = client(listener.local_addr().unwrap().port(), &cluster.directory);
    let error = client.read().await.unwrap_err();
    assert!(matches!(error, ClientError::TimedOut { .. }), "{error}");
}
