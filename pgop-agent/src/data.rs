//! Looks at a database before a server runs on it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::control::{Control, ControlError};
use crate::supervisor::{Data, Facts, Lineage, Recovery};

/// Name of the file that says which history a database has.
pub const LINEAGE: &str = "pgop.lineage";

/// What ALTER SYSTEM writes, and what counts more than any other file.
pub const AUTO_CONF: &str = "postgresql.auto.conf";
/// What kept a server from starting, beside its data.
pub const REFUSED: &str = "postgresql.auto.conf.refused";

/// Names of the settings in a file that `PostgreSQL` wrote itself.
pub fn names(file: &str) -> Vec<String> {
    let lines = file
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .filter_map(|line| Some(line.split(['=', ' ']).next()?.to_owned()))
        .collect()
}

/// What a file that kept a server from starting is kept as: why, and the file.
pub fn refusal(words: &str, file: &str) -> String {
    format!("{REFUSAL}{}\n{file}", words.replace('\n', " "))
}

/// Which settings were refused, and why.
pub fn refused(file: &str) -> String {
    let names = names(file).join(", ");
    match file.lines().next().and_then(|line| line.strip_prefix(REFUSAL)) {
        Some(words) if !words.is_empty() => format!("{names} ({words})"),
        _ => names,
    }
}

const REFUSAL: &str = "# PostgreSQL did not start with this: ";

/// Why it can't be told what is there.
#[derive(Debug, Error)]
pub enum DataError {
    /// A file can't be read.
    #[error("could not read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// `PG_VERSION` holds no number.
    #[error("{} holds `{text}`, which is no version", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// What it holds.
        text: String,
    },
    /// `pg_controldata` failed.
    #[error("pg_controldata: {0}")]
    Run(io::Error),
    /// It told something else.
    #[error(transparent)]
    Control(#[from] ControlError),
}

/// What is in a directory. `controldata` runs `pg_controldata` on it.
pub fn look(data: &Path, controldata: impl FnOnce(&Path) -> io::Result<String>) -> Result<Data, DataError> {
    let is_empty = fs::read_dir(data).map_or(true, |mut inside| inside.next().is_none());
    if is_empty && !data.is_file() {
        return Ok(Data::Absent);
    }
    let Some(version) = text(&data.join("PG_VERSION"))? else {
        return Ok(Data::Foreign);
    };
    let major = version.parse().map_err(|_| DataError::Version {
        path: data.join("PG_VERSION"),
        text: version,
    })?;
    let lineage = text(&data.join(LINEAGE))?.filter(|lineage| !lineage.is_empty());
    let recovery = match text(&data.join("recovery.signal"))? {
        None => Recovery::None,
        // What a restore of ours writes, with this very data's lineage.
        Some(says)
            if lineage
                .as_ref()
                .is_some_and(|lineage| says == format!("pgop restore {lineage}")) =>
        {
            Recovery::Ours
        }
        Some(_) => Recovery::Foreign,
    };
    Ok(Data::There(Facts {
        major,
        control: Control::read(&controldata(data).map_err(DataError::Run)?)?,
        lineage: lineage.map(Lineage),
        standby: text(&data.join("standby.signal"))?.is_some(),
        recovery,
    }))
}

/// A small file, without the blanks around its text; nothing where there is none.
fn text(path: &Path) -> Result<Option<String>, DataError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned())),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(source) => Err(DataError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "as what runs pg_controldata")]
    fn control(_: &Path) -> io::Result<String> {
        Ok("\
Database system identifier:           7
Latest checkpoint's TimeLineID:       1
max_connections setting:              100
max_worker_processes setting:         8
max_wal_senders setting:              64
max_prepared_xacts setting:           0
max_locks_per_xact setting:           64
Bytes per WAL segment:                16777216
"
        .to_owned())
    }

    fn facts(files: &[(&str, &str)]) -> Facts {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        match look(folder.path(), control).unwrap() {
            Data::There(facts) => facts,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_a_database_is_stands_in_its_files() {
        let plain = facts(&[("PG_VERSION", "17\n"), (LINEAGE, "abc\n")]);
        assert_eq!(
            (plain.major, plain.standby, plain.recovery),
            (17, false, Recovery::None)
        );
        assert_eq!(plain.lineage, Some(Lineage("abc".to_owned())));
        assert!(facts(&[("PG_VERSION", "17"), ("standby.signal", "")]).standby);
        let signal = |says| facts(&[("PG_VERSION", "17"), (LINEAGE, "abc"), ("recovery.signal", says)]).recovery;
        assert_eq!(signal("pgop restore abc\n"), Recovery::Ours);
        assert_eq!(signal("pgop restore other\n"), Recovery::Foreign);
        assert_eq!(signal(""), Recovery::Foreign);
        let without = facts(&[
            ("PG_VERSION", "17"),
            (LINEAGE, ""),
            ("recovery.signal", "pgop restore "),
        ]);
        assert_eq!((without.lineage, without.recovery), (None, Recovery::Foreign));
    }

    #[test]
    fn what_alter_system_has_set_is_known_by_name() {
        let file = "# Do not edit this file manually!\nwork_mem = '64MB'\npg_cron.host = 'a=b'\n\n";
        assert_eq!(names(file), ["work_mem", "pg_cron.host"]);
        assert!(names("").is_empty());
    }

    #[test]
    fn what_was_refused_is_told_with_its_reason() {
        let file = "# Do not edit\nshared_preload_libraries = 'nope'\nwork_mem = '1MB'\n";
        let kept = refusal("could not access\nfile \"nope\"", file);
        assert!(kept.ends_with(file));
        assert_eq!(
            refused(&kept),
            "shared_preload_libraries, work_mem (could not access file \"nope\")"
        );
        assert_eq!(
            refused(file),
            "shared_preload_libraries, work_mem",
            "of an agent of before"
        );
    }

    #[test]
    fn what_is_no_database_is_told_from_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(look(&folder.path().join("data"), control).unwrap(), Data::Absent);
        assert_eq!(look(folder.path(), control).unwrap(), Data::Absent);
        fs::write(folder.path().join("photo"), "").unwrap();
        assert_eq!(look(folder.path(), control).unwrap(), Data::Foreign);
        assert_eq!(look(&folder.path().join("photo"), control).unwrap(), Data::Foreign);
        fs::write(folder.path().join("PG_VERSION"), "seventeen").unwrap();
        let error = look(folder.path(), control).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("/PG_VERSION holds `seventeen`, which is no version"),
            "{error}"
        );
    }

    #[test]
    fn a_control_file_that_can_not_be_read_is_no_reason_to_guess() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("PG_VERSION"), "17").unwrap();
        let broken = |_: &Path| Err(io::Error::other("exit code 1"));
        assert!(matches!(look(folder.path(), broken), Err(DataError::Run(_))));
    }
}
