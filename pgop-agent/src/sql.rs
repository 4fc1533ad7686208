//! Talks to the server next door, as its superuser, over its socket.

use std::path::Path;
use std::time::Duration;

use postgres_protocol::password::scram_sha_256;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, Error, NoTls};

/// Ours whatever ALTER ROLE says: nobody's function is called by accident, a commit never waits for a replica that isn't there, and nothing of a
/// password is logged.
const OPTIONS: &str = "-c search_path=pg_catalog -c synchronous_commit=local -c statement_timeout=20s -c lock_timeout=10s \
    -c default_transaction_read_only=off -c client_min_messages=warning -c log_statement=none -c log_duration=off \
    -c log_min_duration_statement=-1 -c log_min_error_statement=panic -c password_encryption=scram-sha-256";

/// A session.
pub struct Session(Client);

/// What became of a try to get one.
pub enum Answer {
    /// Here it is.
    Session(Session),
    /// The server works and has no room.
    Full,
    /// It does not take connections.
    No,
}

/// Asks the server whose socket is in this directory.
pub async fn connect(socket: &Path) -> Answer {
    let mut config = Config::new();
    config.host_path(socket).port(5432).user("postgres").dbname("postgres");
    config
        .application_name("pgop")
        .connect_timeout(Duration::from_secs(5))
        .options(OPTIONS);
    match config.connect(NoTls).await {
        Ok((client, connection)) => {
            // It ends with the client.
            tokio::spawn(async move { drop(connection.await) });
            Answer::Session(Session(client))
        }
        Err(error) if error.code() == Some(&SqlState::TOO_MANY_CONNECTIONS) => Answer::Full,
        Err(_) => Answer::No,
    }
}

/// A role with its password.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Login {
    /// Its name.
    pub name: String,
    /// Never shown, never sent: only what it is checked with reaches the server.
    pub password: String,
}

/// The three roles of a server, and the database of the third.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Roles {
    /// For administrators.
    pub superuser: Login,
    /// For replicas and backups.
    pub replication: Login,
    /// For the application.
    pub user: Login,
    /// Which belongs to it.
    pub database: String,
}

impl Session {
    /// Whether it still answers.
    pub fn is_open(&self) -> bool {
        !self.0.is_closed()
    }

    /// When the server last read its settings, in seconds since 1970, and whether one of them waits for a start.
    pub async fn loaded(&self) -> Result<(f64, bool), Error> {
        let query = "select extract(epoch from pg_conf_load_time())::float8, exists (select from pg_settings where pending_restart)";
        let row = self.0.query_one(query, &[]).await?;
        Ok((row.get(0), row.get(1)))
    }

    /// Bytes by which WAL may still grow: to `max_wal_size`, and to what slots may keep where there are any and it is limited.
    pub async fn wal(&self) -> Result<u64, Error> {
        let query = "select greatest(0, pg_size_bytes(current_setting('max_wal_size')) \
            + case when exists (select from pg_replication_slots) \
                then greatest(0, pg_size_bytes(current_setting('max_slot_wal_keep_size'))) else 0 end \
            - (select coalesce(sum(size), 0) from pg_ls_waldir()))::int8";
        let row = self.0.query_one(query, &[]).await?;
        Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
    }

    /// Makes roles, passwords and database so.
    pub async fn set(&self, roles: &Roles) -> Result<(), Error> {
        let Roles {
            superuser,
            replication,
            user,
            database,
        } = roles;
        for (login, rights) in [
            (superuser, "superuser login"),
            (replication, "login replication"),
            (user, "login"),
        ] {
            let name = identifier(&login.name);
            if !self
                .is_there("select from pg_roles where rolname = $1", &login.name)
                .await?
            {
                self.0.batch_execute(&format!("create role {name} {rights}")).await?;
            }
            // A superuser of that name keeps what it has.
            let rights = if login == superuser { "login" } else { rights };
            let verifier = literal(&scram_sha_256(login.password.as_bytes()));
            self.0
                .batch_execute(&format!("alter role {name} {rights} password {verifier}"))
                .await?;
        }
        self.0
            .batch_execute(&format!("grant pg_monitor to {}", identifier(&replication.name)))
            .await?;
        if !self
            .is_there("select from pg_database where datname = $1", database)
            .await?
        {
            let (database, owner) = (identifier(database), identifier(&user.name));
            self.0
                .batch_execute(&format!("create database {database} owner {owner}"))
                .await?;
        }
        Ok(())
    }

    /// Makes the slots that are missing. Their WAL is kept once a replica has come.
    pub async fn make_slots(&self, names: &[String]) -> Result<(), Error> {
        let query = "select pg_create_physical_replication_slot(name) from unnest($1::text[]) name \
            where not exists (select from pg_replication_slots where slot_name = name)";
        self.0.execute(query, &[&names]).await.map(drop)
    }

    async fn is_there(&self, query: &str, name: &String) -> Result<bool, Error> {
        Ok(self.0.query_opt(query, &[name]).await?.is_some())
    }
}

/// <https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS>
fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
