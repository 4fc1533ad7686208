//! What Prometheus is told: of the server by a session of its own, asked when somebody wants to know; of the agent from its last turn.

pub mod query;
pub mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage, SimpleQueryRow};

use self::query::{QUERIES, Query};
use self::text::{Kind, Text};
use crate::status::{Kind as RoleKind, Phase, Turn};

/// Answers are so old at most: ten who ask cost as much as one.
const KEEP: Duration = Duration::from_secs(5);
/// All questions together. Prometheus waits for ten seconds.
const PATIENCE: Duration = Duration::from_secs(4);
/// Nothing that is asked waits for a lock, is logged, or runs on when nobody waits for it any more.
const OPTIONS: &str = "-c search_path=pg_catalog -c statement_timeout=3s -c lock_timeout=500ms -c default_transaction_read_only=on -c jit=off \
    -c client_min_messages=error -c log_statement=none -c log_duration=off -c log_min_duration_statement=-1 -c log_min_error_statement=panic \
    -c datestyle=ISO -c extra_float_digits=1";

/// Asks the server, and keeps its answers.
pub struct Metrics {
    socket: PathBuf,
    volume: PathBuf,
    turn: watch::Receiver<Turn>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    client: Option<Client>,
    version: u32,
    is_up: bool,
    /// When it was asked last.
    asked: Option<Instant>,
    /// When it answered last.
    answered: Option<Instant>,
    /// The last good answer to each question, by its name.
    answers: BTreeMap<&'static str, Taken>,
    failed: BTreeSet<&'static str>,
}

struct Taken {
    query: &'static Query,
    at: Instant,
    rows: Vec<Row>,
}

#[derive(Debug, PartialEq)]
struct Row {
    labels: Vec<String>,
    values: Vec<Option<f64>>,
}

/// What the server itself tells of what it is; of the last time that it did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Measured {
    /// Whether it answers.
    pub up: bool,
    /// `15.18 (Debian 15.18-0+deb12u1)`.
    pub version: Option<String>,
    /// Whether it is in recovery.
    pub in_recovery: Option<bool>,
    /// WAL that was received and not replayed.
    pub lag_bytes: Option<f64>,
    /// Zero where everything that was received is replayed.
    pub lag_seconds: Option<f64>,
}

/// What became of a round of questions.
enum Round {
    /// The server answered, to each question or not.
    Answered,
    /// It works, and has no room for one who asks.
    Full,
    /// It does not answer.
    Silent,
}

impl Metrics {
    /// Of the server whose socket is in this directory and whose data is on this volume. Asks nothing yet.
    pub fn new(socket: PathBuf, volume: PathBuf, turn: watch::Receiver<Turn>) -> Self {
        Self {
            socket,
            volume,
            turn,
            kept: Mutex::default(),
        }
    }

    /// In Prometheus' text format. Takes some seconds at most, whatever the server does.
    pub async fn text(&self) -> String {
        let mut text = Text::default();
        {
            let kept = self.fresh().await;
            of_server(&mut text, &kept);
        }
        of_agent(&mut text, &self.turn.borrow());
        of_volume(&mut text, &self.volume);
        of_process(&mut text);
        text.finish()
    }

    /// What the server tells of itself, for `/status`.
    pub async fn measured(&self) -> Measured {
        let kept = self.fresh().await;
        let row = |name| kept.answers.get(name).and_then(|taken: &Taken| taken.rows.first());
        let number = |at: usize| row("replication").and_then(|row| row.values[at]);
        Measured {
            up: kept.is_up,
            version: row("static").map(|row| row.labels[1].clone()),
            in_recovery: number(0).map(|value| value != 0.0),
            lag_seconds: number(1),
            lag_bytes: number(2),
        }
    }

    /// One asks, and those who come meanwhile wait for it.
    async fn fresh(&self) -> tokio::sync::MutexGuard<'_, Kept> {
        let mut kept = self.kept.lock().await;
        if kept.asked.is_none_or(|at| at.elapsed() >= KEEP) {
            let round = timeout(PATIENCE, self.ask(&mut kept)).await.unwrap_or(Round::Silent);
            kept.is_up = !matches!(round, Round::Silent);
            if !matches!(round, Round::Answered) {
                // What it still does ends by its statement timeout.
                kept.client = None;
                kept.failed = query::queries(kept.version).map(|query| query.name).collect();
            }
            kept.asked = Some(Instant::now());
        }
        kept
    }

    async fn ask(&self, kept: &mut Kept) -> Round {
        if kept.client.as_ref().is_none_or(Client::is_closed) {
            match self.connect().await {
                Ok((client, version)) => (kept.client, kept.version) = (Some(client), version),
                Err(error) if error.code() == Some(&SqlState::TOO_MANY_CONNECTIONS) => return Round::Full,
                Err(_) => return Round::Silent,
            }
        }
        let Kept {
            client,
            version,
            answers,
            failed,
            ..
        } = kept;
        let Some(client) = client else { return Round::Silent };
        failed.clear();
        for query in query::queries(*version) {
            let is_due = |taken: &Taken| taken.at.elapsed() >= query.keep || !std::ptr::eq(taken.query, query);
            if !answers.get(query.name).is_none_or(is_due) {
                continue;
            }
            match client.simple_query(query.sql).await {
                Ok(messages) => {
                    let taken = Taken {
                        query,
                        at: Instant::now(),
                        rows: messages.iter().filter_map(|message| row(query, message)).collect(),
                    };
                    answers.insert(query.name, taken);
                }
                // One that fails, such as the size of a database that is just dropped, is no reason to tell nothing.
                Err(error) if error.as_db_error().is_some() && !client.is_closed() => {
                    tracing::debug!("{} was not told: {error}", query.name);
                    failed.insert(query.name);
                }
                Err(_) => return Round::Silent,
            }
        }
        kept.answered = Some(Instant::now());
        Round::Answered
    }

    async fn connect(&self) -> Result<(Client, u32), tokio_postgres::Error> {
        let mut config = Config::new();
        config
            .host_path(&self.socket)
            .port(5432)
            .user("postgres")
            .dbname("postgres");
        config.application_name("pgop metrics").options(OPTIONS);
        let (client, connection) = config.connect(NoTls).await?;
        // It ends with the client.
        tokio::spawn(async move { drop(connection.await) });
        let version = client
            .query_one("select current_setting('server_version_num')::int", &[])
            .await?;
        Ok((client, version.get::<_, i32>(0).unsigned_abs()))
    }
}

fn row(query: &Query, message: &SimpleQueryMessage) -> Option<Row> {
    let SimpleQueryMessage::Row(row) = message else {
        return None;
    };
    let labels = query.labels.len();
    Some(Row {
        labels: (0..labels)
            .map(|at| text(row, at).unwrap_or_default().to_owned())
            .collect(),
        values: (0..query.values.len())
            .map(|at| {
                text(row, labels + at)?
                    .parse()
                    .ok()
                    .filter(|value: &f64| value.is_finite())
            })
            .collect(),
    })
}

fn text(row: &SimpleQueryRow, at: usize) -> Option<&str> {
    row.try_get(at).ok().flatten()
}

fn of_server(text: &mut Text, kept: &Kept) {
    let up = f64::from(u8::from(kept.is_up));
    text.single(
        "pg_up",
        Kind::Gauge,
        "Whether the server answers. Where it does not, everything else is of the time before.",
        up,
    );
    if let Some(at) = kept.answered {
        text.single(
            "pgop_metrics_age_seconds",
            Kind::Gauge,
            "How long ago the server told what is told here.",
            at.elapsed().as_secs_f64(),
        );
    }
    let success = "pg_scrape_collector_success";
    let help = "Whether the server told this the last time that it was asked.";
    if kept.version > 0 {
        text.family(success, Kind::Gauge, help);
    }
    for query in query::queries(kept.version) {
        let value = f64::from(u8::from(!kept.failed.contains(query.name)));
        text.sample(success, [("collector", query.name)], value);
    }
    // In the order of the table, so that two texts can be compared.
    for query in &QUERIES {
        let Some(taken) = kept
            .answers
            .get(query.name)
            .filter(|taken| std::ptr::eq(taken.query, query))
        else {
            continue;
        };
        for (at, value) in query.values.iter().enumerate() {
            let name = format!("{}_{}", query.prefix, value.name);
            let samples = || taken.rows.iter().filter_map(|row| Some((&row.labels, row.values[at]?)));
            if samples().next().is_some() {
                text.family(&name, value.kind, value.help);
            }
            for (labels, number) in samples() {
                text.sample(
                    &name,
                    query.labels.iter().copied().zip(labels.iter().map(String::as_str)),
                    number,
                );
            }
        }
    }
}

fn of_agent(text: &mut Text, turn: &Turn) {
    let flag = |is: bool| f64::from(u8::from(is));
    let status = &turn.status;
    text.single(
        "pgop_ready",
        Kind::Gauge,
        "Whether the server answers as what it is.",
        flag(status.ready),
    );
    text.family("pgop_phase", Kind::Gauge, "1 for what the server is doing.");
    for phase in Phase::ALL {
        text.sample("pgop_phase", [("phase", phase.word())], flag(phase == status.phase));
    }
    let role = match status.role {
        RoleKind::Primary => "primary",
        RoleKind::Replica => "replica",
    };
    text.family("pgop_role", Kind::Gauge, "1; what the server is for is in the label.");
    text.sample("pgop_role", [("role", role)], 1.0);
    text.family(
        "pgop_condition",
        Kind::Gauge,
        "Whether a condition of the pod holds; nothing while nobody can tell.",
    );
    for condition in &status.conditions {
        if let Some(holds) = condition.holds {
            text.sample("pgop_condition", [("about", condition.about)], flag(holds));
        }
    }
    let since = turn.at.elapsed().as_secs_f64();
    text.single(
        "pgop_turn_age_seconds",
        Kind::Gauge,
        "How long ago the agent's loop turned last.",
        since,
    );
    text.family("pgop_build_info", Kind::Gauge, "1; what runs is in the label.");
    text.sample("pgop_build_info", [("version", env!("CARGO_PKG_VERSION"))], 1.0);
}

#[allow(clippy::cast_precision_loss)] // no volume has 2^53 bytes
fn of_volume(text: &mut Text, volume: &std::path::Path) {
    let Ok(stat) = rustix::fs::statvfs(volume) else { return };
    let bytes = |blocks: u64| (blocks * stat.f_frsize) as f64;
    text.single(
        "pgop_volume_size_bytes",
        Kind::Gauge,
        "Size of the volume.",
        bytes(stat.f_blocks),
    );
    text.single(
        "pgop_volume_free_bytes",
        Kind::Gauge,
        "What can still be written to it.",
        bytes(stat.f_bavail),
    );
}

/// The agent's own; those of the server are the container's, of which the kubelet tells.
fn of_process(text: &mut Text) {
    if let Some(bytes) = resident_bytes() {
        text.single(
            "process_resident_memory_bytes",
            Kind::Gauge,
            "Resident memory of the agent.",
            bytes,
        );
    }
    if let Some(seconds) = cpu_seconds() {
        text.single(
            "process_cpu_seconds_total",
            Kind::Counter,
            "Processor time of the agent.",
            seconds,
        );
    }
}

fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024.0)
}

/// Fields 14 and 15 of proc(5)'s `stat`, in hundredths of a second on every architecture.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name before it may hold spaces and brackets.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
    Some((ticks(14)? + ticks(15)?) / 100.0)
}
