//! Answers the kubelet and Prometheus: `/startup`, `/ready`, `/live`, `/metrics`, and `/status` for programs and people.
//!
//! Nothing that is answered is a secret: anybody who reaches the pod may ask. Who asks slowly, or does not read the answer, is cut off, and when there
//! are too many, the oldest makes room: a probe never waits for somebody else.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use crate::metrics::{Measured, Metrics};
use crate::status::{Status, Turn};

/// So many connections at a time: a kubelet, some who scrape, some who look.
const CONNECTIONS: usize = 64;
/// For a request's headers.
const HEADERS: Duration = Duration::from_secs(5);
/// For a request and its answer. Metrics take four seconds at most.
const CONNECTION: Duration = Duration::from_secs(15);
const HEADER_BYTES: usize = 8 * 1024;
const HEADER_COUNT: usize = 32;

/// Why nobody is answered.
#[derive(Debug, Error)]
pub enum HttpError {
    /// The address can't be used.
    #[error("can't answer probes on {address}: {source}; choose another with PGOP_HTTP")]
    Bind {
        /// As given.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// Who answers, once it has its address.
pub struct Http {
    listener: TcpListener,
    answers: Arc<Answers>,
}

struct Answers {
    turn: watch::Receiver<Turn>,
    metrics: Metrics,
}

impl Http {
    /// Takes the address.
    pub async fn bind(address: SocketAddr, turn: watch::Receiver<Turn>, metrics: Metrics) -> Result<Self, HttpError> {
        let listener = listen(address)
            .await
            .map_err(|source| HttpError::Bind { address, source })?;
        Ok(Self {
            listener,
            answers: Arc::new(Answers { turn, metrics }),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until it is dropped.
    pub async fn serve(self) -> Infallible {
        let mut connections: VecDeque<AbortHandle> = VecDeque::new();
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                // Such as no file descriptors: some will be free again.
                Err(error) => {
                    tracing::warn!("can't take a connection for probes and metrics: {error}");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
            };
            let answers = Arc::clone(&self.answers);
            admit(&mut connections, tokio::spawn(converse(stream, answers)).abort_handle());
        }
    }
}

/// Takes one more in, in place of the oldest where there are too many.
fn admit(connections: &mut VecDeque<AbortHandle>, connection: AbortHandle) {
    connections.retain(|connection| !connection.is_finished());
    if connections.len() >= CONNECTIONS
        && let Some(oldest) = connections.pop_front()
    {
        oldest.abort();
    }
    connections.push_back(connection);
}

/// `[::]` takes IPv4 too. A machine without IPv6 has no such address.
async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(_) if address.is_ipv6() && address.ip().is_unspecified() => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        result => result,
    }
}

/// One request, and its answer.
async fn converse(stream: TcpStream, answers: Arc<Answers>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answers = Arc::clone(&answers);
        async move { Ok::<_, Infallible>(answer(&answers, request.method(), request.uri().path()).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(HEADER_BYTES)
        .max_headers(HEADER_COUNT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // Whoever asked has the answer, or has gone.
    drop(timeout(CONNECTION, connection).await);
}

/// What `/status` answers.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    status: &'a Status,
    live: bool,
    server: Measured,
}

async fn answer(answers: &Answers, method: &Method, path: &str) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        let mut response = sentence(StatusCode::METHOD_NOT_ALLOWED, "GET is all that is answered");
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    // Not held while anything is waited for: the agent's loop could not publish.
    let turn = answers.turn.borrow().clone();
    match path {
        "/startup" | "/ready" | "/live" => {
            let (code, words) = probe(path, &turn, Instant::now());
            sentence(code, &words)
        }
        "/metrics" => {
            let text = answers.metrics.text().await;
            response(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
        }
        "/status" => {
            let told = Told {
                status: &turn.status,
                live: turn.liveness(Instant::now()).is_ok(),
                server: answers.metrics.measured().await,
            };
            match serde_json::to_string(&told) {
                Ok(text) => response(StatusCode::OK, "application/json", text + "\n"),
                Err(error) => sentence(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
            }
        }
        _ => sentence(
            StatusCode::NOT_FOUND,
            "ask /startup, /ready, /live, /metrics or /status",
        ),
    }
}

/// What one of the kubelet's questions is answered.
fn probe(path: &str, turn: &Turn, now: Instant) -> (StatusCode, String) {
    let status = &turn.status;
    let (is_so, words) = match path {
        "/live" => match turn.liveness(now) {
            Ok(()) => (true, "the agent's loop turns".to_owned()),
            Err(words) => (false, words),
        },
        "/startup" if status.started && !status.ready => (true, "it was ready since the container began".to_owned()),
        "/startup" => (status.started, status.reason.clone()),
        _ => (status.ready, status.reason.clone()),
    };
    let code = if is_so {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (code, words)
}

fn sentence(code: StatusCode, words: &str) -> Response<Full<Bytes>> {
    response(code, "text/plain; charset=utf-8", format!("{words}\n"))
}

fn response(code: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
