//! The operator as a process of this machine, looked at from outside.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pgop_e2e::metrics::Samples;
use pgop_e2e::operator::WRITES;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

const PAUSE: Duration = Duration::from_millis(20);
/// Nothing is written for so long where nothing is to be done.
const QUIET: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(1800);

type Labels = BTreeMap<String, String>;

/// What the kernel knows of it.
#[derive(Clone, Copy)]
pub struct Facts {
    pub resident: u64,
    pub peak: u64,
    /// In seconds.
    pub cpu: f64,
}

pub struct Process {
    child: Child,
    address: String,
    ready_after: Duration,
    slowest: Arc<Mutex<Duration>>,
    watch: JoinHandle<()>,
}

impl Process {
    /// Starts it, for one namespace, and waits until it works.
    pub async fn start(namespace: &str) -> Self {
        let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/release/pgop-operator");
        let program = std::env::var_os("PGOP_OPERATOR").map_or_else(|| PathBuf::from(built), PathBuf::from);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let started = Instant::now();
        let log = std::fs::File::create(std::env::temp_dir().join("bench-fleet.log")).unwrap();
        let mut command = Command::new(&program);
        command
            .args([
                "--namespaces",
                namespace,
                "--lease-namespace",
                namespace,
                "--no-crds",
                "--admin-address",
                &address,
            ])
            .stdin(Stdio::null())
            .stderr(log);
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; set PGOP_OPERATOR", program.display()));
        let slowest = Arc::new(Mutex::new(Duration::ZERO));
        let mut process = Self {
            child,
            address: address.clone(),
            ready_after: Duration::ZERO,
            slowest: slowest.clone(),
            watch: tokio::spawn(async {}),
        };
        while process.ask("/readyz").await.as_deref() != Some("working\n") {
            assert!(
                process.child.try_wait().unwrap().is_none(),
                "the operator ended: {}/bench-fleet.log",
                std::env::temp_dir().display()
            );
            assert!(started.elapsed() < PATIENCE, "the operator does not become ready");
            sleep(PAUSE).await;
        }
        process.ready_after = started.elapsed();
        process.watch = tokio::spawn(async move {
            loop {
                let asked = Instant::now();
                let _ = ask(&address, "/healthz").await;
                {
                    let mut slowest = slowest.lock().unwrap();
                    *slowest = asked.elapsed().max(*slowest);
                }
                sleep(Duration::from_millis(200)).await;
            }
        });
        process
    }

    /// From the start of the process.
    pub fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// Of all that a kubelet would have waited for so far.
    pub fn slowest_answer(&self) -> Duration {
        *self.slowest.lock().unwrap()
    }

    async fn ask(&self, path: &str) -> Option<String> {
        ask(&self.address, path).await
    }

    pub async fn metrics(&self) -> Samples {
        Samples::read(&self.ask("/metrics").await.expect("the operator answers"))
    }

    pub fn facts(&self) -> Facts {
        let id = self.child.id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
        };
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
        let times: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = times[11..=12].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        Facts {
            resident: field("VmRSS:"),
            peak: field("VmHWM:"),
            cpu: ticks as f64 / 100.0,
        }
    }

    /// Waits until it has sent that many of a resource. It is asked, not the server: one that counts thousands of objects three times a second
    /// has less time for whoever is measured (7 % of its work with 300 clusters).
    pub async fn has_sent(&self, resource: &str, count: usize) {
        let is_sent = |labels: &Labels| labels["verb"] == "create" && labels["resource"] == resource;
        self.has_counted("pgop_api_requests_total", is_sent, count).await;
    }

    /// Waits until it has looked at that many clusters.
    pub async fn has_reconciled(&self, count: usize) {
        self.has_counted("pgop_reconciles_total", |_| true, count).await;
    }

    async fn has_counted(&self, metric: &str, wanted: impl Fn(&Labels) -> bool, count: usize) {
        let started = Instant::now();
        while self.metrics().await.sum(metric, &wanted) < count as f64 {
            assert!(started.elapsed() < PATIENCE, "{metric} does not come to {count}");
            sleep(PAUSE * 10).await;
        }
    }

    /// Waits until it writes nothing and has nothing to do.
    pub async fn is_quiet(&self) {
        let mut before = (-1.0, 0.0);
        loop {
            let metrics = self.metrics().await;
            let writes = metrics.sum("pgop_api_requests_total", |labels| {
                WRITES.contains(&labels["verb"].as_str())
            });
            let now = (writes, metrics.sum("pgop_reconciles_total", |_| true));
            if now == before {
                return;
            }
            before = now;
            sleep(QUIET).await;
        }
    }

    /// Asks it to stop, and waits until it has.
    pub async fn stop(mut self) {
        self.watch.abort();
        let id = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &id]).status().unwrap();
        let asked = Instant::now();
        loop {
            if let Some(ended) = self.child.try_wait().unwrap() {
                assert!(ended.success(), "{ended}");
                return;
            }
            assert!(asked.elapsed() < Duration::from_secs(30), "it does not stop");
            sleep(PAUSE).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.watch.abort();
        // It has ended already, unless the benchmark panics.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The body of an answer.
async fn ask(address: &str, path: &str) -> Option<String> {
    let answer = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream
            .write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())
            .await
            .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        Some(answer.split_once("\r\n\r\n")?.1.to_owned())
    };
    timeout(Duration::from_secs(30), answer).await.ok()?
}
