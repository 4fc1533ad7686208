//! Talks to the server next door, as its superuser, over its socket.

use std::path::Path;
use std::time::Duration;

use postgres_protocol::password::scram_sha_256;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, Error, NoTls};

use crate::conninfo::Target;
use crate::peer::{self, PeerError, within};
use crate::secret::Login;
use crate::supervisor::{Lineage, Need, Primary, Slot};

/// Ours whatever ALTER ROLE says: nobody's function is called by accident, a commit never waits for a replica that isn't there, and nothing of a
/// password is logged.
const OPTIONS: &str = "-c search_path=pg_catalog -c synchronous_commit=local -c statement_timeout=20s -c lock_timeout=10s \
    -c default_transaction_read_only=off -c client_min_messages=warning -c log_statement=none -c log_duration=off \
    -c log_min_duration_statement=-1 -c log_min_error_statement=panic -c password_encryption=scram-sha-256";

/// One row, or none in recovery. $1 is the slot, $2 where the replica's WAL ends, where that is known.
const PRIMARY: &str = "
    with need as (select $2::text::pg_lsn as lsn),
         slot as (select coalesce(wal_status, 'unreserved') as status, restart_lsn from pg_replication_slots where slot_name = $1),
         here as (select pg_current_wal_lsn() as lsn where not pg_is_in_recovery())
    select (select system_identifier from pg_control_system())::text,
           ('x' || substr(pg_walfile_name(here.lsn), 1, 8))::bit(32)::bigint::text,
           coalesce(current_setting('pgop.lineage', true), ''),
           (select coalesce(sum(pg_database_size(oid)), 0) from pg_database)::bigint::text,
           (select status from slot),
           case when need.lsn is null then 'unknown'
                when need.lsn > here.lsn then 'ahead'
                when need.lsn = here.lsn or need.lsn >= (select restart_lsn from slot) then 'there'
                when exists (select from pg_ls_waldir() where name = pg_walfile_name(need.lsn + 1)) then 'there'
                else 'gone' end
    from need, here";

/// How a replica's stream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The process that gets WAL from the primary, where one says that it does.
    pub receiver: Option<i32>,
    /// Where what it has ends.
    pub lsn: Option<String>,
    /// Replay is paused.
    pub paused: bool,
}

/// What became of a server's settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// When it last read them, in seconds since 1970. It does not where a line of its files is none.
    pub at: f64,
    /// Settings that wait for a start.
    pub waits: Vec<String>,
    /// What is wrong with its files as they are now.
    pub errors: Vec<Wrong>,
}

/// A line of a server's files that it does not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// What it sets; nothing where it is no setting.
    pub name: String,
    /// Why it is not taken.
    pub words: String,
    /// Of the file, without its directory.
    pub file: String,
    /// Of the file.
    pub line: usize,
}

impl Wrong {
    /// Of four texts in JSON.
    fn read(text: &str) -> Self {
        let [name, words, file, line]: [String; 4] = serde_json::from_str(text).unwrap_or_default();
        let line = line.parse().unwrap_or_default();
        Self {
            name,
            words,
            file,
            line,
        }
    }

    /// Whether nothing of the files is read because of it.
    pub fn blocks(&self) -> bool {
        self.words != "setting could not be applied"
    }

    /// What a person reads; `own` lines of `postgresql.conf` are the agent's.
    pub fn told(&self, own: usize) -> String {
        let Self {
            name,
            words,
            file,
            line,
        } = self;
        let about = if name.is_empty() {
            String::new()
        } else {
            format!("{name}: ")
        };
        let line = if file == "postgresql.conf" {
            line.saturating_sub(own)
        } else {
            *line
        };
        format!("{about}{words} ({file} line {line})")
    }
}

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
    /// It does not say. It may be busy, or stand still.
    Silent,
}

/// Asks the server whose socket is in this directory.
pub async fn connect(socket: &Path) -> Answer {
    let mut config = Config::new();
    config.host_path(socket).port(5432).user("postgres").dbname("postgres");
    config.application_name("pgop").connect_timeout(LOOK).options(OPTIONS);
    match within(LOOK, config.connect(NoTls)).await {
        Ok((client, connection)) => {
            // It ends with the client.
            tokio::spawn(async move { drop(connection.await) });
            Answer::Session(Session(client))
        }
        Err(PeerError::Ask(error)) if error.code() == Some(&SqlState::TOO_MANY_CONNECTIONS) => Answer::Full,
        Err(PeerError::Ask(_)) => Answer::No,
        Err(_) => Answer::Silent,
    }
}

/// How long a look may take. A server that stands still has no timeouts of its own.
const LOOK: Duration = Duration::from_secs(5);
/// How long a change may take, and a primary's answer to a replica. The agent looks at nothing else meanwhile.
const ANSWER: Duration = Duration::from_secs(30);

/// Connects to a primary, as the role that may replicate.
pub async fn reach(target: &Target, login: &Login) -> Result<Session, PeerError> {
    let options = "-c search_path=pg_catalog -c statement_timeout=20s";
    peer::connect(target, login, options).await.map(Session)
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
    /// Ends the sessions on this machine that call themselves so.
    pub async fn end(&self, application: &str) -> Result<(), PeerError> {
        let query = "select pg_terminate_backend(pid) from pg_stat_activity
            where application_name = $1 and client_addr is null and pid <> pg_backend_pid()";
        within(LOOK, self.0.execute(query, &[&application])).await.map(drop)
    }

    /// Whether it still answers.
    pub fn is_open(&self) -> bool {
        !self.0.is_closed()
    }

    /// When the server last read its settings, and what became of them.
    pub async fn loaded(&self) -> Result<Loaded, PeerError> {
        let query = "with waits as (select name from pg_settings where pending_restart order by name)
            select extract(epoch from pg_conf_load_time())::float8, array(select name from waits),
            array(select json_build_array(coalesce(name, ''), error, regexp_replace(sourcefile, '.*/', ''), sourceline::text)::text
                from pg_file_settings file where error is not null and not exists (select from waits where waits.name = file.name))";
        let row = within(LOOK, self.0.query_one(query, &[])).await?;
        Ok(Loaded {
            at: row.get(0),
            waits: row.get(1),
            errors: row
                .get::<_, Vec<String>>(2)
                .iter()
                .map(|text| Wrong::read(text))
                .collect(),
        })
    }

    /// Bytes by which WAL may still grow: to `max_wal_size`, and to what slots may keep where there are any and it is limited.
    pub async fn wal(&self) -> Result<u64, PeerError> {
        let query = "select greatest(0, pg_size_bytes(current_setting('max_wal_size')) \
            + case when exists (select from pg_replication_slots) \
                then greatest(0, pg_size_bytes(current_setting('max_slot_wal_keep_size'))) else 0 end \
            - (select coalesce(sum(size), 0) from pg_ls_waldir()))::int8";
        let row = within(LOOK, self.0.query_one(query, &[])).await?;
        Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
    }

    /// Makes roles, passwords and database so.
    pub async fn set(&self, roles: &Roles) -> Result<(), PeerError> {
        within(ANSWER, self.set_all(roles)).await
    }

    async fn set_all(&self, roles: &Roles) -> Result<(), Error> {
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
            let verifier = literal(&scram_sha_256(&login.password));
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
    pub async fn make_slots(&self, names: &[String]) -> Result<(), PeerError> {
        let query = "select pg_create_physical_replication_slot(name) from unnest($1::text[]) name \
            where not exists (select from pg_replication_slots where slot_name = name)";
        within(ANSWER, self.0.execute(query, &[&names])).await.map(drop)
    }

    /// Drops these slots, unless somebody uses one.
    pub async fn drop_slots(&self, names: &[String]) -> Result<(), PeerError> {
        let query = "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = any ($1::text[]) and not active";
        within(ANSWER, self.0.execute(query, &[&names])).await.map(drop)
    }

    /// Physical slots that nobody uses and whose names begin so and end with a number.
    pub async fn idle_slots(&self, prefix: &str) -> Result<Vec<String>, PeerError> {
        let query = "select slot_name::text from pg_replication_slots where slot_type = 'physical' and not active
            and starts_with(slot_name, $1) and substr(slot_name, length($1) + 1) ~ '^[0-9]+$'";
        let rows = within(LOOK, self.0.query(query, &[&prefix])).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// How a replica's stream is.
    pub async fn stream(&self) -> Result<Stream, PeerError> {
        let query = "select (select pid from pg_stat_wal_receiver where status = 'streaming'),
            greatest(pg_last_wal_replay_lsn(), pg_last_wal_receive_lsn())::text,
            case when pg_is_in_recovery() then pg_is_wal_replay_paused() else false end";
        let row = within(LOOK, self.0.query_one(query, &[])).await?;
        Ok(Stream {
            receiver: row.get(0),
            lsn: row.get(1),
            paused: row.get(2),
        })
    }

    /// What a primary says of itself, of a slot, and of the WAL from `lsn` on.
    pub async fn primary(&self, slot: &String, lsn: Option<&str>) -> Result<Primary, PeerError> {
        let row = within(ANSWER, self.0.query_opt(PRIMARY, &[slot, &lsn])).await?;
        let Some(row) = row else {
            return Ok(Primary::Away("it is in recovery itself".to_owned()));
        };
        let number = |at: usize| -> u64 { row.get::<_, String>(at).parse().unwrap_or_default() };
        Ok(Primary::There {
            system: number(0),
            timeline: u32::try_from(number(1)).unwrap_or_default(),
            lineage: Lineage(row.get(2)),
            size: number(3),
            slot: match row.get::<_, Option<&str>>(4) {
                None => Slot::Missing,
                Some("lost") => Slot::Lost,
                Some(_) => Slot::Good,
            },
            need: match row.get(5) {
                "there" => Need::There,
                "gone" => Need::Gone,
                "ahead" => Need::Ahead,
                _ => Need::Unknown,
            },
        })
    }

    /// Makes a slot that keeps WAL from now on, in place of one that has lost its own.
    pub async fn make_slot(&self, name: &String) -> Result<(), PeerError> {
        let lost = "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1 and wal_status = 'lost'";
        within(ANSWER, self.0.execute(lost, &[name])).await?;
        let create = "select pg_create_physical_replication_slot($1, true)";
        match within(ANSWER, self.0.execute(create, &[name])).await {
            // The primary makes the slots of its replicas too.
            Err(PeerError::Ask(error)) if error.code() == Some(&SqlState::DUPLICATE_OBJECT) => Ok(()),
            made => made.map(drop),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_wrong_keeps_no_other_from_being_read() {
        let wrong = |words: &str| Wrong::read(&format!("[\"jit\", \"{words}\", \"postgresql.conf\", \"7\"]"));
        assert!(!wrong("setting could not be applied").blocks());
        assert!(wrong("syntax error").blocks() && wrong("unrecognized configuration parameter").blocks());
    }

    #[test]
    fn what_is_wrong_is_told_with_the_line_that_a_person_wrote() {
        let told = |json| Wrong::read(json).told(4);
        assert_eq!(
            told(r#"["a.b", "setting could not be applied", "postgresql.conf", "7"]"#),
            "a.b: setting could not be applied (postgresql.conf line 3)"
        );
        assert_eq!(
            told(r#"["", "syntax error", "postgresql.auto.conf", "7"]"#),
            "syntax error (postgresql.auto.conf line 7)"
        );
    }
}
