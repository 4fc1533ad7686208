//! `/metrics` of a real primary and a real replica, over TCP, read as strictly as Prometheus reads it.
#![allow(clippy::unwrap_used, clippy::panic)] // a test may panic
#![allow(clippy::float_cmp)] // what is compared are whole numbers

mod exposition;
mod servers;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pgop_agent::http::Http;
use pgop_agent::metrics::{Metrics, query};
use pgop_agent::status::{InUse, Kind, Phase, Status, Turn};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

use exposition::{Families, read, value};
use servers::{PATIENCE, Server, pair};

/// What the agent tells of a server, without the agent's loop.
struct Told {
    address: SocketAddr,
    _turn: watch::Sender<Turn>,
}

impl Told {
    async fn of(server: &Server, role: Kind) -> Self {
        let status = Status {
            role,
            phase: Phase::Serving,
            started: true,
            ready: true,
            reason: "it takes connections".to_owned(),
            conditions: Vec::new(),
            settings: InUse {
                wanted: String::new(),
                read: None,
                whole: None,
            },
            roles: None,
            major: 15,
        };
        let (turn, watched) = watch::channel(Turn::now(status));
        let metrics = Metrics::new(server.home.clone(), server.home.clone(), watched.clone());
        let http = Http::bind("127.0.0.1:0".parse().unwrap(), watched, metrics)
            .await
            .unwrap();
        let address = http.address().unwrap();
        tokio::spawn(http.serve());
        Self { address, _turn: turn }
    }

    async fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: pod\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        body.to_owned()
    }

    async fn scrape(&self) -> Families {
        read(&self.get("/metrics").await)
    }

    /// Scrapes until it is so.
    async fn until(&self, what: &str, is_so: impl Fn(&Families) -> bool) -> Families {
        let began = Instant::now();
        loop {
            let families = self.scrape().await;
            if is_so(&families) {
                return families;
            }
            assert!(began.elapsed() < PATIENCE, "never {what}: {families:#?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Families of the table that are not told.
fn missing(families: &Families) -> BTreeSet<String> {
    let Some(told) = families.get("pg_static").and_then(|samples| samples.keys().next()) else {
        return BTreeSet::from(["pg_static".to_owned()]);
    };
    let major = told
        .split_once("short_version=\"")
        .unwrap()
        .1
        .split('.')
        .next()
        .unwrap();
    let all = query::queries(major.parse::<u32>().unwrap() * 10_000).flat_map(|query| {
        let name = |value: &query::Value| format!("{}_{}", query.prefix, value.name);
        query.values.iter().map(name)
    });
    all.filter(|name| !families.contains_key(name)).collect()
}

fn failed(families: &Families) -> Vec<&String> {
    let told = families["pg_scrape_collector_success"].iter();
    told.filter(|(_, value)| **value != 1.0)
        .map(|(labels, _)| labels)
        .collect()
}

#[tokio::test]
async fn a_primary_and_its_replica_tell_everything_and_survive_what_befalls_them() {
    let home = tempfile::tempdir().unwrap();
    let (mut primary, replica) = pair(home.path()).await;
    let (told, told_by_replica) = (
        Told::of(&primary, Kind::Primary).await,
        Told::of(&replica, Kind::Replica).await,
    );

    // Everything that a primary has, but what only a replica has.
    let families = told
        .until("told everything", |families| {
            let missing = missing(families);
            failed(families).is_empty()
                && missing.len() == 5
                && missing
                    .iter()
                    .all(|name| name.starts_with("pg_stat_wal_receiver_") || name.ends_with("last_replay_seconds"))
                && value(families, "pg_stat_archiver_archived_count") >= 1.0
                && families["pg_replication_slots_active"].len() == 2
        })
        .await;
    assert_eq!(value(&families, "pg_up"), 1.0);
    assert_eq!(value(&families, "pg_replication_is_replica"), 0.0);
    assert_eq!(value(&families, "pg_replication_lag_seconds"), 0.0);
    assert_eq!(value(&families, "pg_settings_max_connections"), 10.0);
    assert_eq!(
        value(&families, "pg_settings_max_slot_wal_keep_size_bytes"),
        f64::from(1 << 30)
    );
    assert_eq!(value(&families, "pg_replication_slots_active"), 1.0);
    assert!(
        families["pg_database_size_bytes"].contains_key("{datname=\"it's \\\"mine\\\"\\\\\"}"),
        "{families:#?}"
    );
    assert!(value(&families, "pgop_volume_size_bytes") > value(&families, "pgop_volume_free_bytes"));
    is_read_by_promtool(&told.get("/metrics").await);

    // A replica replays everything, and the primary writes nothing: it is not late, whatever the clock says.
    let late = told_by_replica
        .until("replayed", |families| {
            families.contains_key("pg_replication_last_replay_seconds")
                && families.contains_key("pg_stat_wal_receiver_flushed_lsn")
        })
        .await;
    let missing = missing(&late);
    let of_a_primary = [
        "pg_stat_replication_",
        "pg_replication_slots_",
        "pg_stat_archiver_last_archive_age",
    ];
    assert!(
        missing
            .iter()
            .all(|name| of_a_primary.iter().any(|prefix| name.starts_with(prefix))),
        "{missing:?}"
    );
    assert!(failed(&late).is_empty());
    assert_eq!(value(&late, "pg_replication_is_replica"), 1.0);
    let caught_up = told_by_replica
        .until("caught up", |families| {
            value(families, "pg_replication_lag_bytes") == 0.0
        })
        .await;
    assert_eq!(value(&caught_up, "pg_replication_lag_seconds"), 0.0);
    assert!(value(&caught_up, "pg_replication_last_replay_seconds") > 0.0);
    is_late_where_replay_is_paused(&primary, &replica, &told_by_replica).await;

    ten_cost_as_one(&told_by_replica).await;
    is_up_where_there_is_no_room(&primary).await;
    is_told_as_down_where_it_hangs(&primary, &told).await;

    let before = told.until("up again", |families| value(families, "pg_up") == 1.0).await;
    primary.stop();
    let down = told
        .until("told as down", |families| value(families, "pg_up") == 0.0)
        .await;
    assert_eq!(
        value(&down, "pg_settings_max_connections"),
        10.0,
        "the last good values"
    );
    assert_eq!(
        down["pg_database_size_bytes"].len(),
        before["pg_database_size_bytes"].len()
    );
    primary.start();
    drop(primary.answers().await);
    let back = told
        .until("told as up", |families| value(families, "pg_up") == 1.0)
        .await;
    assert!(failed(&back).is_empty());

    let status: serde_json::Value = serde_json::from_str(&told_by_replica.get("/status").await).unwrap();
    assert_eq!(status["server"]["in_recovery"], true);
    assert!(
        status["server"]["version"]
            .as_str()
            .unwrap()
            .starts_with(|digit: char| digit.is_ascii_digit())
    );
}

/// What a dashboard or a rule asks for that nobody tells shows nothing, and says nothing of that.
#[tokio::test]
async fn the_dashboard_and_the_rules_ask_for_what_is_told() {
    let mut told: BTreeSet<String> = (query::QUERIES.iter())
        .flat_map(|query| {
            query
                .values
                .iter()
                .map(|value| format!("{}_{}", query.prefix, value.name))
        })
        .collect();
    let agent = Told::of(&Server::new(std::env::temp_dir()), Kind::Primary).await;
    told.extend(agent.scrape().await.into_keys());
    // There once a server has answered.
    told.extend(["pgop_metrics_age_seconds", "pg_scrape_collector_success"].map(str::to_owned));
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    // Rules match both wraparound families by one pattern; people are told of views of the server.
    let others = [
        "pg_database_wraparound_age_",
        "pg_basebackup",
        "pg_drop_replication_slot",
        "pg_exporter",
        "pgop_dev_role",
        "pg_stat_activity",
        "pg_settings",
        "pg_stat_archiver",
    ];
    let read = |file: &str| std::fs::read_to_string(deploy.join(file)).unwrap();
    for file in [
        "grafana/pgop.json",
        "alerts/pgop.yaml",
        "alerts/pgop.test.yaml",
        "../docs/monitoring.md",
    ] {
        let text = read(file);
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let mut names = words
            .filter(|word| word.starts_with("pg_") || word.starts_with("pgop_"))
            .peekable();
        assert!(names.peek().is_some(), "{file} asks for nothing");
        for name in names {
            assert!(told.contains(name) || others.contains(&name), "{file}: {name}");
        }
    }
    let (rules, page) = (read("alerts/pgop.yaml"), read("../docs/monitoring.md"));
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(
            page.contains(&format!("\n| `{alert}` |")),
            "docs/monitoring.md lacks {alert}"
        );
    }
}

async fn is_late_where_replay_is_paused(primary: &Server, replica: &Server, told: &Told) {
    let (writer, reader) = (primary.answers().await, replica.answers().await);
    reader.batch_execute("select pg_wal_replay_pause()").await.unwrap();
    writer.batch_execute("create table v as select 1 as n").await.unwrap();
    told.until("told as late", |families| {
        value(families, "pg_replication_lag_bytes") > 0.0 && value(families, "pg_replication_lag_seconds") > 0.0
    })
    .await;
    reader.batch_execute("select pg_wal_replay_resume()").await.unwrap();
    told.until("not late any more", |families| {
        value(families, "pg_replication_lag_bytes") == 0.0 && value(families, "pg_replication_lag_seconds") == 0.0
    })
    .await;
}

/// What changes with every look is the same to all of them, unless the answers' time is up amid them.
async fn ten_cost_as_one(told: &Told) {
    let mut seen = BTreeSet::new();
    let looks = (0..10).map(|_| told.scrape());
    for families in futures_join(looks).await {
        seen.insert(value(&families, "pg_replication_last_replay_seconds").to_bits());
    }
    assert!(seen.len() <= 2, "{} looks for ten who asked at once", seen.len());
}

/// All at once.
async fn futures_join<F: Future<Output = Families>>(looks: impl Iterator<Item = F>) -> Vec<Families> {
    let mut looks: Vec<_> = looks.map(Box::pin).collect();
    let mut done = Vec::new();
    std::future::poll_fn(move |context| {
        looks.retain_mut(|look| match look.as_mut().poll(context) {
            std::task::Poll::Ready(families) => {
                done.push(families);
                false
            }
            std::task::Poll::Pending => true,
        });
        if looks.is_empty() {
            std::task::Poll::Ready(std::mem::take(&mut done))
        } else {
            std::task::Poll::Pending
        }
    })
    .await
}

/// Finding KC12: sessions of superusers up to the last.
async fn is_up_where_there_is_no_room(primary: &Server) {
    let mut sessions = Vec::new();
    while let Ok(session) = primary.client().await {
        sessions.push(session);
        assert!(sessions.len() < 20, "no end of connections");
    }
    let told = Told::of(primary, Kind::Primary).await;
    assert_eq!(value(&told.scrape().await, "pg_up"), 1.0);
}

/// Processes that stand still accept connections, by the kernel, and never answer.
async fn is_told_as_down_where_it_hangs(primary: &Server, told: &Told) {
    let pids = primary.pids();
    Server::signal(&pids, "-STOP");
    let down = told
        .until("told as down", |families| value(families, "pg_up") == 0.0)
        .await;
    Server::signal(&pids, "-CONT");
    assert!(value(&down, "pgop_metrics_age_seconds") > 0.0);
    assert_eq!(value(&down, "pg_scrape_collector_success"), 0.0);
}

/// Where there is one: `make alerts` names it.
fn is_read_by_promtool(text: &str) {
    use std::io::Write as _;
    let Ok(promtool) = std::env::var("PROMTOOL") else {
        return;
    };
    let mut command = Command::new(promtool);
    command
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    // Names that people know are not changed for what it thinks of names.
    let taste = ["should have \"_total\" suffix", "should not have \"_count\" suffix"];
    for line in said.lines() {
        assert!(taste.iter().any(|words| line.contains(words)), "{said}");
    }
    assert_ne!(done.status.code(), Some(1), "{said}");
}
