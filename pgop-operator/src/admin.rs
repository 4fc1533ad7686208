//! What the kubelet and Prometheus ask: `/healthz`, `/readyz`, `/metrics`.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use pgop_core::runtime::metrics::Metrics;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Why nothing can be served.
#[derive(Debug, Error)]
pub enum AdminError {
    /// The address can't be used.
    #[error("can't serve /healthz, /readyz and /metrics on {address}: {source}; choose another with --admin-address")]
    Bind {
        /// As given.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// It served and stopped.
    #[error("the admin server ended{0}")]
    Ended(String),
}

/// What the operator is doing.
#[derive(Clone, Debug)]
pub enum Stage {
    /// It looks for its cluster, or reads what there is.
    Starting,
    /// Another operator works; this one waits for its lease.
    Standby {
        /// Who holds the lease.
        holder: String,
    },
    /// It works, and is ready when its caches are.
    Working(watch::Receiver<bool>),
    /// It was asked to stop.
    Stopping,
}

impl Stage {
    /// Whether the pod counts as ready, and why.
    fn readiness(&self) -> (bool, String) {
        match self {
            Self::Starting => (false, "starting".to_owned()),
            Self::Standby { holder } => (true, format!("standby: {holder} holds the lease")),
            Self::Working(synced) if *synced.borrow() => (true, "working".to_owned()),
            Self::Working(_) => (false, "reading what there is".to_owned()),
            Self::Stopping => (false, "stopping".to_owned()),
        }
    }
}

#[derive(Clone)]
struct Admin {
    stage: watch::Receiver<Stage>,
    metrics: Arc<Metrics>,
}

/// The server, once it has its address; it serves while it is waited for.
pub async fn start(
    address: SocketAddr,
    stage: watch::Receiver<Stage>,
    metrics: Arc<Metrics>,
) -> Result<impl Future<Output = AdminError> + Send, AdminError> {
    let listener = bind(address)
        .await
        .map_err(|source| AdminError::Bind { address, source })?;
    let router = router(stage, metrics);
    Ok(async move {
        let ended = axum::serve(listener, router).await;
        AdminError::Ended(ended.err().map_or_else(String::new, |error| format!(": {error}")))
    })
}

/// `[::]` takes IPv4 too. A machine without IPv6 has no such address.
async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(_) if address.is_ipv6() && address.ip().is_unspecified() => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        result => result,
    }
}

fn router(stage: watch::Receiver<Stage>, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(serve_metrics))
        .with_state(Admin { stage, metrics })
}

async fn readyz(State(admin): State<Admin>) -> impl IntoResponse {
    let (is_ready, why) = admin.stage.borrow().readiness();
    (
        if is_ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        },
        format!("{why}\n"),
    )
}

async fn serve_metrics(State(admin): State<Admin>) -> impl IntoResponse {
    let is_leader = matches!(*admin.stage.borrow(), Stage::Working(_));
    let text = with_process(&admin.metrics.encode(), is_leader, resident_bytes(), cpu_seconds());
    (
        [(
            header::CONTENT_TYPE,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        )],
        text,
    )
}

/// Adds what only the process knows, before the line that ends an `OpenMetrics` text.
fn with_process(text: &str, is_leader: bool, resident: Option<u64>, cpu: Option<f64>) -> String {
    use std::fmt::Write;
    let mut text = text.trim_end().trim_end_matches("# EOF").to_owned();
    let version = env!("CARGO_PKG_VERSION");
    let _ = write!(
        text,
        "# HELP pgop_build_info What runs.\n# TYPE pgop_build_info gauge\npgop_build_info{{version=\"{version}\"}} 1\n"
    );
    let _ = write!(
        text,
        "# HELP pgop_leader Whether this operator works; it waits for the lease otherwise.\n# TYPE pgop_leader gauge\npgop_leader {}\n",
        u8::from(is_leader)
    );
    if let Some(bytes) = resident {
        let _ = write!(
            text,
            "# HELP process_resident_memory_bytes Resident memory.\n# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes {bytes}\n"
        );
    }
    if let Some(seconds) = cpu {
        let _ = write!(
            text,
            "# HELP process_cpu_seconds Processor time, user and system.\n# TYPE process_cpu_seconds counter\nprocess_cpu_seconds_total {seconds}\n"
        );
    }
    text.push_str("# EOF\n");
    text
}

/// Processor time as Linux tells it: fields 14 and 15 of proc(5)'s `stat`, in hundredths of a second on every architecture.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name before it may hold spaces and brackets.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3)?.parse::<u32>().ok();
    Some(f64::from(ticks(14)? + ticks(15)?) / 100.0)
}

/// Resident memory as Linux tells it.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()
        .map(|kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn ask(address: SocketAddr, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    #[tokio::test]
    async fn readiness_follows_the_stage_and_the_caches() {
        let (stage, watched) = watch::channel(Stage::Starting);
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = router(watched, Arc::new(Metrics::default()));
        tokio::spawn(async move { axum::serve(listener, router).await });

        assert_eq!(ask(address, "/healthz").await, (200, "ok\n".to_owned()));
        assert_eq!(ask(address, "/readyz").await, (503, "starting\n".to_owned()));
        stage.send_replace(Stage::Standby {
            holder: "pgop-a".to_owned(),
        });
        assert_eq!(
            ask(address, "/readyz").await,
            (200, "standby: pgop-a holds the lease\n".to_owned())
        );
        let (synced, is_synced) = watch::channel(false);
        stage.send_replace(Stage::Working(is_synced));
        assert_eq!(
            ask(address, "/readyz").await,
            (503, "reading what there is\n".to_owned())
        );
        synced.send_replace(true);
        assert_eq!(ask(address, "/readyz").await, (200, "working\n".to_owned()));
        let (code, text) = ask(address, "/metrics").await;
        assert_eq!(code, 200);
        assert!(
            text.contains("\npgop_leader 1\n") && text.ends_with("# EOF\n"),
            "{text}"
        );
        assert_eq!(text.matches("# EOF").count(), 1);
        stage.send_replace(Stage::Stopping);
        assert_eq!(ask(address, "/readyz").await.0, 503);
    }

    #[tokio::test]
    async fn a_taken_port_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let held = TcpListener::bind(taken).await.unwrap();
        let (_stage, watched) = watch::channel(Stage::Starting);
        let started = start(held.local_addr().unwrap(), watched, Arc::new(Metrics::default())).await;
        let error = started.err().unwrap();
        assert!(error.to_string().contains("--admin-address"), "{error}");
    }

    #[test]
    fn the_process_knows_its_memory_and_its_processor_time() {
        assert!(resident_bytes().unwrap() > 100_000);
        let before = cpu_seconds().unwrap();
        let started = std::time::Instant::now();
        while cpu_seconds().unwrap() == before {
            assert!(started.elapsed().as_secs() < 60, "this loop takes no time?");
        }
    }
}
