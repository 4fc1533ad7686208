//! The server that a backup is made of, asked over the network as its replication role.

use std::path::Path;
use std::time::Duration;

use thiserror::Error;
use tokio_postgres::{Config, NoTls};

use crate::secret::quoted;
use crate::sql::Login;

/// How long a connection may take, at each address.
const CONNECT: Duration = Duration::from_secs(10);
/// How long it may take with all that is said before the first query: a peer that takes connections and says nothing is away.
const GREETING: Duration = Duration::from_secs(20);
/// How long an answer may take: the size of a database is that of each of its files, and there may be millions.
const ANSWER: Duration = Duration::from_secs(180);
/// A peer that vanished is noticed within half a minute.
const VANISHED: Duration = Duration::from_secs(30);

/// Nobody's function is called by accident.
const OPTIONS: &str = "-c search_path=pg_catalog -c statement_timeout=170s -c default_transaction_read_only=on";

/// A snapshot needs room for databases, shared catalogs, and the WAL that is written meanwhile: at least the segment in which it begins and the next.
/// `pg_monitor`, which the role has, may ask.
const QUERY: &str = "select current_setting('server_version'), current_setting('server_version_num')::int4 / 10000, \
    ((select sum(pg_database_size(oid)) from pg_database) + pg_tablespace_size('pg_global') \
        + 2 * pg_size_bytes(current_setting('wal_segment_size')))::int8, \
    array(select spcname::text from pg_tablespace where spcname not in ('pg_default', 'pg_global') order by 1)";

/// Why the server told nothing. All of it may mend itself: it restarts, its name or a password is on its way, others have all connections.
#[derive(Debug, Error)]
pub enum SourceError {
    /// In its own words.
    #[error("{}", told(.0))]
    Ask(#[source] tokio_postgres::Error),
    /// It took too long.
    #[error("no answer within {} s", .0.as_secs())]
    Silent(Duration),
}

/// The chain of reasons: the outermost says no more than that there was an error.
fn told(error: &tokio_postgres::Error) -> String {
    if let Some(error) = error.as_db_error() {
        return format!("{}: {}", error.severity(), error.message());
    }
    let mut words = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        let inner_words = inner.to_string();
        if !words.contains(&inner_words) {
            words = format!("{words}: {inner_words}");
        }
        source = inner.source();
    }
    words
}

/// What it tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// `15.18`.
    pub version: String,
    /// 15.
    pub major: u32,
    /// Room that a snapshot of it needs, in bytes; less if there are unlogged tables, which are not copied.
    pub bytes: u64,
    /// Names of the tablespaces that lie outside of its directory.
    pub tablespaces: Vec<String>,
}

/// Asks it.
pub async fn ask(host: &str, port: u16, login: &Login, application: &str) -> Result<Facts, SourceError> {
    let mut config = Config::new();
    config.host(host).port(port).user(&login.name).password(&login.password);
    config.dbname("postgres").application_name(application).options(OPTIONS);
    config.connect_timeout(CONNECT);
    config
        .tcp_user_timeout(VANISHED)
        .keepalives_idle(Duration::from_secs(10))
        .keepalives_interval(Duration::from_secs(5))
        .keepalives_retries(4);
    let (client, connection) = within(GREETING, config.connect(NoTls)).await?;
    // It ends with the client.
    tokio::spawn(async move { drop(connection.await) });
    let row = within(ANSWER, client.query_one(QUERY, &[])).await?;
    let (version, major, bytes): (String, i32, i64) = (row.get(0), row.get(1), row.get(2));
    Ok(Facts {
        // Distributions add their own after a blank.
        version: version.split(' ').next().unwrap_or_default().to_owned(),
        major: u32::try_from(major).unwrap_or_default(),
        bytes: u64::try_from(bytes).unwrap_or_default(),
        tablespaces: row.get(3),
    })
}

async fn within<T>(
    bound: Duration,
    asked: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, SourceError> {
    match tokio::time::timeout(bound, asked).await {
        Ok(answer) => answer.map_err(SourceError::Ask),
        Err(_) => Err(SourceError::Silent(bound)),
    }
}

/// The connection string for `pg_basebackup`, without the password. A peer that vanished is noticed within half a minute.
pub fn conninfo(host: &str, port: u16, user: &str, application: &str, passfile: &Path) -> String {
    format!(
        "host={} port={port} user={} application_name={} passfile={} connect_timeout={} keepalives=1 keepalives_idle=10 keepalives_interval=5 \
        keepalives_count=4 tcp_user_timeout=30000",
        quoted(host),
        quoted(user),
        quoted(application),
        quoted(&passfile.display().to_string()),
        CONNECT.as_secs()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_string_holds_names_as_they_are_and_no_password() {
        let text = conninfo("hippo", 5432, "re pl'", "backup/a", Path::new("/pgop/run/pgpass"));
        assert!(
            text.starts_with(
                "host='hippo' port=5432 user='re pl\\'' application_name='backup/a' passfile='/pgop/run/pgpass' "
            ),
            "{text}"
        );
    }

    /// In virtual time: nobody waits for it.
    #[tokio::test(start_paused = true)]
    async fn who_takes_connections_and_says_nothing_is_away() {
        let silent = within(GREETING, std::future::pending::<Result<(), _>>()).await;
        assert_eq!(silent.unwrap_err().to_string(), "no answer within 20 s");
    }

    #[tokio::test]
    async fn who_does_not_answer_is_told_with_the_reason() {
        let login = Login {
            name: "replicator".to_owned(),
            password: "hidden-away".to_owned(),
        };
        let port = {
            let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            taken.local_addr().unwrap().port()
        };
        let words = ask("127.0.0.1", port, &login, "test").await.unwrap_err().to_string();
        assert!(words.contains("Connection refused"), "{words}");
        assert!(!words.contains("hidden-away"), "{words}");
    }
}
