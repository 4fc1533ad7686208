//! The server that a backup is made of, asked over the network as its replication role.

use std::time::Duration;

use crate::conninfo::Target;
use crate::peer::{self, PeerError, within};
use crate::secret::Login;

/// How long an answer may take: the size of a database is that of each of its files, and there may be millions.
const ANSWER: Duration = Duration::from_secs(180);
/// Nobody's function is called by accident.
const OPTIONS: &str = "-c search_path=pg_catalog -c statement_timeout=170s -c default_transaction_read_only=on";

/// A snapshot needs room for databases, shared catalogs, and the WAL that is written meanwhile: at least the segment in which it begins and the next.
/// `pg_monitor`, which the role has, may ask.
const QUERY: &str = "select current_setting('server_version'), current_setting('server_version_num')::int4 / 10000, \
    ((select sum(pg_database_size(oid)) from pg_database) + pg_tablespace_size('pg_global') \
        + 2 * pg_size_bytes(current_setting('wal_segment_size')))::int8, \
    array(select spcname::text from pg_tablespace where spcname not in ('pg_default', 'pg_global') order by 1), \
    current_setting('pgop.owner_uid', true), current_setting('pgop.lineage', true)";

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
    /// Uid of the resource whose server it is. A server that an older pgop has started does not tell.
    pub owner: Option<String>,
    /// What its data directory is known by (`pgop.lineage`); a copy has it too.
    pub lineage: Option<String>,
}

/// Asks it.
pub async fn ask(source: &Target, login: &Login) -> Result<Facts, PeerError> {
    let client = peer::connect(source, login, OPTIONS).await?;
    let row = within(ANSWER, client.query_one(QUERY, &[])).await?;
    let (version, major, bytes): (String, i32, i64) = (row.get(0), row.get(1), row.get(2));
    Ok(Facts {
        // Distributions add their own after a blank.
        version: version.split(' ').next().unwrap_or_default().to_owned(),
        major: u32::try_from(major).unwrap_or_default(),
        bytes: u64::try_from(bytes).unwrap_or_default(),
        tablespaces: row.get(3),
        owner: told(row.get(4)),
        lineage: told(row.get(5)),
    })
}

/// A parameter that nobody has set in a session where it was once known reads as an empty text.
fn told(setting: Option<String>) -> Option<String> {
    setting.filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_does_not_answer_is_told_with_the_reason() {
        let login = Login {
            name: "replicator".to_owned(),
            password: b"hidden-away".to_vec(),
        };
        let port = {
            let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            taken.local_addr().unwrap().port()
        };
        let source = Target {
            host: "127.0.0.1".to_owned(),
            port,
            user: login.name.clone(),
            application: "test".to_owned(),
        };
        let words = ask(&source, &login).await.unwrap_err().to_string();
        assert!(words.contains("Connection refused"), "{words}");
        assert!(!words.contains("hidden-away"), "{words}");
    }
}
