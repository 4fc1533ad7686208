//! What a client sees of a server, and one that writes all the time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

/// Asks the server whose socket is in a directory: the first value, or nothing where it does not answer.
pub fn ask(socket: &Path, query: &str) -> Option<String> {
    runtime().block_on(async {
        let answer = async {
            let client = connect(socket).await.ok()?;
            first(&client, query).await
        };
        tokio::time::timeout(Duration::from_secs(20), answer).await.ok()?
    })
}

/// Asks for what has to be there.
pub fn value(socket: &Path, query: &str) -> String {
    let answer = ask(socket, query);
    assert!(answer.is_some(), "no answer to: {query}");
    answer.unwrap_or_default()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

async fn connect(socket: &Path) -> Result<Client, tokio_postgres::Error> {
    let mut config = Config::new();
    config
        .host_path(socket)
        .user("postgres")
        .dbname("postgres")
        .application_name("test");
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn first(client: &Client, query: &str) -> Option<String> {
    let messages = client.simple_query(query).await.ok()?;
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
        _ => None,
    });
    Some(rows.last().unwrap_or_default())
}

/// Writes one number after the other, each once the one before is acknowledged.
pub struct Writer {
    socket: PathBuf,
    acknowledged: Arc<AtomicI64>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub fn start(socket: &Path) -> Self {
        let (acknowledged, ends) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicBool::new(false)));
        let (socket, told, asked) = (socket.to_owned(), Arc::clone(&acknowledged), Arc::clone(&ends));
        let of_thread = socket.clone();
        let thread = thread::spawn(move || runtime().block_on(write(&of_thread, &told, &asked)));
        Self {
            socket,
            acknowledged,
            ends,
            thread: Some(thread),
        }
    }

    /// How many were acknowledged.
    pub fn count(&self) -> i64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// All that was acknowledged before is there.
    pub fn check(&self) {
        let count = self.count();
        let query = format!("select count(*) from journal where id <= {count}");
        assert_eq!(
            value(&self.socket, &query),
            count.to_string(),
            "acknowledged rows are lost"
        );
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

async fn write(socket: &Path, acknowledged: &AtomicI64, ends: &AtomicBool) {
    while !ends.load(Ordering::SeqCst) {
        let _ = tokio::time::timeout(Duration::from_secs(20), session(socket, acknowledged, ends)).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Until it fails.
async fn session(socket: &Path, acknowledged: &AtomicI64, ends: &AtomicBool) -> Option<()> {
    let client = connect(socket).await.ok()?;
    first(&client, "create table if not exists journal (id bigint primary key)").await?;
    while !ends.load(Ordering::SeqCst) {
        let next = acknowledged.load(Ordering::SeqCst) + 1;
        // One that was written and not acknowledged is written again.
        first(
            &client,
            &format!("insert into journal values ({next}) on conflict do nothing"),
        )
        .await?;
        acknowledged.store(next, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Some(())
}
