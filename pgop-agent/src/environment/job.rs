//! What the pod of a Job says of what is to be done.

use std::path::PathBuf;
use std::time::Duration;

use super::EnvironmentError;
use crate::snapshot::{self, Hidden};

/// How long what may mend itself is waited for, in seconds.
const PATIENCE: &str = "600";

/// What a backup is made of, and where it goes.
#[derive(Clone, Debug)]
pub struct Backup {
    /// `PGOP_SOURCE_HOST`.
    pub host: String,
    /// `PGOP_SOURCE_PORT`.
    pub port: u16,
    /// `PGOP_SOURCE_UID`: of the resource that is backed up. Empty: whoever answers is.
    pub source_uid: Option<String>,
    /// Whose snapshot, and where.
    pub target: Target,
    /// `PGOP_CHECKPOINT`.
    pub checkpoint: Checkpoint,
    /// `PGOP_MAX_RATE`: most to read in a second, as `pg_basebackup` takes it.
    pub max_rate: Option<String>,
    /// `PGOP_PATIENCE`: how long what may mend itself is waited for.
    pub patience: Duration,
    /// One directory a Secret.
    pub secrets: PathBuf,
    /// Lives as long as the pod.
    pub run: PathBuf,
    /// Where the last words go.
    pub termination_log: PathBuf,
}

/// Where a snapshot goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `PGOP_BACKUP_VOLUME`: the claim.
    pub volume: PathBuf,
    /// `PGOP_CLAIM`: its name, for what people read.
    pub claim: String,
    /// `PGOP_BACKUP_PATH`: of the snapshot on the claim. Relative, and nobody else's.
    pub path: String,
    /// `PGOP_BACKUP_UID`: of the resource whose backup this is.
    pub uid: String,
}

/// How the source begins: <https://www.postgresql.org/docs/current/app-pgbasebackup.html>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checkpoint {
    /// At once, with a burst of writes.
    Fast,
    /// At its usual pace.
    Spread,
}

/// What a restore is made of, and where it goes.
#[derive(Clone, Debug)]
pub struct Restore {
    /// `PGOP_OWNER`: `PgCluster/shop/hippo`.
    pub owner: String,
    /// `PGOP_OWNER_UID`: of that resource. One that is made again under its name is another.
    pub uid: String,
    /// `PGOP_INSTANCE`: name of the server, and of its directory on the claim.
    pub instance: String,
    /// `PGOP_CLAIM`: the server's, for what people read.
    pub claim: String,
    /// `PGOP_BACKUP_CLAIM`: the snapshot's, for what people read.
    pub backup_claim: String,
    /// `PGOP_BACKUP_PATH`: of the snapshot on its claim.
    pub path: String,
    /// `PGOP_PATIENCE`: how long what may mend itself is waited for.
    pub patience: Duration,
    /// `PGOP_BACKUP_VOLUME`: the claim with the snapshot.
    pub backup: PathBuf,
    /// `PGOP_VOLUME`: the claim of the server.
    pub volume: PathBuf,
    /// Where the last words go.
    pub termination_log: PathBuf,
}

/// Reads variables, and names the one that is at fault.
struct Variables<F>(F);

impl<F: Fn(&str) -> Option<String>> Variables<F> {
    fn optional(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|text| !text.is_empty())
    }

    fn needed(&self, name: &'static str) -> Result<String, EnvironmentError> {
        self.optional(name).ok_or(EnvironmentError::Missing(name))
    }

    fn path(&self, name: &str, usual: &str) -> PathBuf {
        PathBuf::from(self.optional(name).unwrap_or_else(|| usual.to_owned()))
    }

    fn patience(&self) -> Result<Duration, EnvironmentError> {
        let text = self.optional("PGOP_PATIENCE").unwrap_or_else(|| PATIENCE.to_owned());
        let seconds = text
            .parse()
            .map_err(|_| value("PGOP_PATIENCE", &text, "a number of seconds"))?;
        Ok(Duration::from_secs(seconds))
    }

    fn snapshot(&self, hidden: Hidden) -> Result<String, EnvironmentError> {
        let path = self.needed("PGOP_BACKUP_PATH")?;
        snapshot::check_path(&path, hidden).map_err(|wants| value("PGOP_BACKUP_PATH", &path, wants))?;
        Ok(path)
    }

    fn termination_log(&self) -> PathBuf {
        self.path("PGOP_TERMINATION_LOG", "/dev/termination-log")
    }

    /// What becomes the name of a file.
    fn name(&self, variable: &'static str) -> Result<String, EnvironmentError> {
        let text = self.needed(variable)?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        if !text.chars().all(is_name) || text.starts_with('.') {
            return Err(value(variable, &text, "letters, digits, `-` and `.`"));
        }
        Ok(text)
    }
}

fn value(name: &'static str, value: &str, wants: &'static str) -> EnvironmentError {
    EnvironmentError::Value {
        name,
        value: value.to_owned(),
        wants,
    }
}

impl Backup {
    /// Reads it from where `variable` finds it.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, EnvironmentError> {
        let variables = Variables(variable);
        let home = variables.path("PGOP_HOME", "/pgop");
        let port = variables.needed("PGOP_SOURCE_PORT")?;
        let checkpoint = variables.optional("PGOP_CHECKPOINT");
        let max_rate = variables.optional("PGOP_MAX_RATE");
        Ok(Self {
            host: variables.needed("PGOP_SOURCE_HOST")?,
            port: port
                .parse()
                .map_err(|_| value("PGOP_SOURCE_PORT", &port, "a port's number"))?,
            source_uid: variables.optional("PGOP_SOURCE_UID"),
            target: Target {
                volume: variables.path("PGOP_BACKUP_VOLUME", "/backup"),
                claim: variables.needed("PGOP_CLAIM")?,
                path: variables.snapshot(Hidden::Refused)?,
                uid: variables.name("PGOP_BACKUP_UID")?,
            },
            checkpoint: match checkpoint.as_deref() {
                None | Some("fast") => Checkpoint::Fast,
                Some("spread") => Checkpoint::Spread,
                Some(other) => return Err(value("PGOP_CHECKPOINT", other, "fast or spread")),
            },
            max_rate: max_rate.map(rate).transpose()?,
            patience: variables.patience()?,
            secrets: home.join("secrets"),
            run: home.join("run"),
            termination_log: variables.termination_log(),
        })
    }
}

/// A rate with its unit, in the bounds of `pg_basebackup`. A bare number is kilobytes there, and bytes to most people.
fn rate(text: String) -> Result<String, EnvironmentError> {
    let kilobytes = text
        .strip_suffix('k')
        .map(|digits| (digits, 1))
        .or_else(|| text.strip_suffix('M').map(|digits| (digits, 1024)))
        .and_then(|(digits, unit)| Some(digits.parse::<u64>().ok()?.saturating_mul(unit)));
    match kilobytes {
        Some(32..=1_048_576) => Ok(text),
        _ => Err(value(
            "PGOP_MAX_RATE",
            &text,
            "bytes in a second with their unit, from 32k to 1024M",
        )),
    }
}

impl Restore {
    /// Reads it from where `variable` finds it.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, EnvironmentError> {
        let variables = Variables(variable);
        Ok(Self {
            owner: variables.needed("PGOP_OWNER")?,
            uid: variables.optional("PGOP_OWNER_UID").unwrap_or_else(|| "-".to_owned()),
            instance: variables.name("PGOP_INSTANCE")?,
            claim: variables.needed("PGOP_CLAIM")?,
            backup_claim: variables.needed("PGOP_BACKUP_CLAIM")?,
            path: variables.snapshot(Hidden::Taken)?,
            patience: variables.patience()?,
            backup: variables.path("PGOP_BACKUP_VOLUME", "/backup"),
            volume: variables.path("PGOP_VOLUME", "/pgdata"),
            termination_log: variables.termination_log(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKUP: [(&str, &str); 5] = [
        ("PGOP_SOURCE_HOST", "hippo"),
        ("PGOP_SOURCE_PORT", "5432"),
        ("PGOP_CLAIM", "hippo-backup-pvc"),
        ("PGOP_BACKUP_PATH", "hippo-backups/2026-11-22-17-57-21-6f1c2a9e"),
        ("PGOP_BACKUP_UID", "6f1c2a9e-0f7d"),
    ];

    fn backup(name: &str, value: &str) -> Result<Backup, String> {
        let of = |asked: &str| {
            let usual = BACKUP.iter().find(|(name, _)| *name == asked).map(|(_, value)| *value);
            Some(if asked == name { value } else { usual? }.to_owned())
        };
        Backup::read(of).map_err(|error| error.to_string())
    }

    #[test]
    fn what_the_template_leaves_out_has_a_usual_value() {
        let backup = backup("PGOP_MAX_RATE", "").unwrap();
        assert_eq!(
            (backup.port, backup.checkpoint, backup.max_rate),
            (5432, Checkpoint::Fast, None)
        );
        assert_eq!(backup.patience, Duration::from_secs(600));
        assert_eq!(backup.target.volume, PathBuf::from("/backup"));
    }

    #[test]
    fn what_can_not_be_done_is_told_before_anything_is_done() {
        for (name, value) in [
            ("PGOP_SOURCE_PORT", "postgres"),
            ("PGOP_SOURCE_HOST", ""),
            ("PGOP_BACKUP_UID", "../x"),
            ("PGOP_BACKUP_PATH", "a/../b"),
            ("PGOP_BACKUP_PATH", "a/.hidden"),
            ("PGOP_CHECKPOINT", "slow"),
            ("PGOP_PATIENCE", "10m"),
        ] {
            let error = backup(name, value).unwrap_err();
            assert!(error.contains(name) && error.contains(value), "{error}");
        }
    }

    #[test]
    fn a_rate_has_its_unit_and_is_one_that_pg_basebackup_takes() {
        for good in ["32k", "500k", "20M", "1024M"] {
            let rate = backup("PGOP_MAX_RATE", good).unwrap().max_rate;
            assert_eq!(rate.as_deref(), Some(good));
        }
        for bad in ["20000", "1k", "31k", "1025M", "M", "-5M", "9999999999999999999M", "20G"] {
            assert!(backup("PGOP_MAX_RATE", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_restore_reads_what_its_template_says() {
        let of = |name: &str| {
            let value = match name {
                "PGOP_OWNER" => "PgCluster/shop/hippo",
                "PGOP_INSTANCE" | "PGOP_CLAIM" => "hippo",
                "PGOP_BACKUP_CLAIM" => "shelf",
                "PGOP_BACKUP_PATH" => "hippo-backups/.kept/one",
                "PGOP_PATIENCE" => "5",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let restore = Restore::read(of).unwrap();
        assert_eq!((restore.uid.as_str(), restore.patience), ("-", Duration::from_secs(5)));
        let without = Restore::read(|name| of(name).filter(|_| name != "PGOP_OWNER"));
        assert_eq!(without.unwrap_err(), EnvironmentError::Missing("PGOP_OWNER"));
    }
}
