//! What `pg_controldata` tells of a data directory: <https://www.postgresql.org/docs/current/app-pgcontroldata.html>.

use std::fmt;

use thiserror::Error;

/// What of it matters to whoever starts a server on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// Made by initdb; every copy of the data has the same.
    pub system: u64,
    /// Counts the promotions in its history.
    pub timeline: u32,
    /// Those of the last record that was replayed or written.
    pub limits: Limits,
    /// Bytes of a WAL segment, as initdb was told.
    pub segment: u64,
}

/// Settings that a replica needs to be at least what they are at the primary:
/// <https://www.postgresql.org/docs/current/hot-standby.html#HOT-STANDBY-ADMIN>.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits([u32; 5]);

/// Name of each limit as a setting, and in the control file.
const NAMES: [(&str, &str); 5] = [
    ("max_connections", "max_connections setting"),
    ("max_worker_processes", "max_worker_processes setting"),
    ("max_wal_senders", "max_wal_senders setting"),
    ("max_prepared_transactions", "max_prepared_xacts setting"),
    ("max_locks_per_transaction", "max_locks_per_xact setting"),
];

/// A limit that is too low.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lack {
    /// The setting.
    pub name: &'static str,
    /// What it is.
    pub has: u32,
    /// What the WAL was written under.
    pub needs: u32,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, has, needs } = self;
        write!(
            f,
            "{name} is {has}, and the primary had {needs} at this point of its WAL"
        )
    }
}

impl Limits {
    /// In the order of `max_connections`, `max_worker_processes`, `max_wal_senders`, `max_prepared_transactions`, `max_locks_per_transaction`.
    pub const fn new(values: [u32; 5]) -> Self {
        Self(values)
    }

    /// Name and value of each.
    pub fn settings(&self) -> impl Iterator<Item = (&'static str, u32)> {
        NAMES.iter().zip(self.0).map(|((name, _), value)| (*name, value))
    }

    /// Each at least what the other has.
    #[must_use]
    pub fn raised_to(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at].max(other.0[at])))
    }

    /// Those that are lower than in `needed`, with what is needed.
    pub fn lacks(&self, needed: &Self) -> Vec<(&'static str, u32)> {
        let pairs = self.settings().zip(needed.0);
        let lacks = pairs.filter(|((_, has), needs)| has < needs);
        lacks.map(|((name, _), needs)| (name, needs)).collect()
    }

    /// The first that is lower than in `needed`.
    pub fn lack(&self, needed: &Self) -> Option<Lack> {
        let pairs = self.settings().zip(needed.0);
        let lack =
            |((name, has), needs): ((&'static str, u32), u32)| (has < needs).then_some(Lack { name, has, needs });
        pairs.into_iter().find_map(lack)
    }
}

/// Why the output of `pg_controldata` tells nothing.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ControlError {
    /// A line is not there.
    #[error("pg_controldata does not tell the `{0}`")]
    Missing(&'static str),
    /// A value is no number.
    #[error("pg_controldata tells `{value}` as the `{name}`")]
    NoNumber {
        /// Of the line.
        name: &'static str,
        /// As it stands there.
        value: String,
    },
}

impl Control {
    /// Reads the output of `pg_controldata` with `LC_ALL=C`.
    ///
    /// ```
    /// use pgop_agent::control::{Control, ControlError};
    /// let error = Control::read("pg_control version number: 1300\n").unwrap_err();
    /// assert_eq!(error, ControlError::Missing("Database system identifier"));
    /// ```
    pub fn read(text: &str) -> Result<Self, ControlError> {
        let mut control = Self {
            system: number(text, "Database system identifier")?,
            timeline: number(text, "Latest checkpoint's TimeLineID")?,
            limits: Limits::default(),
            segment: number(text, "Bytes per WAL segment")?,
        };
        for (limit, (_, name)) in control.limits.0.iter_mut().zip(NAMES) {
            *limit = number(text, name)?;
        }
        Ok(control)
    }
}

fn number<T: std::str::FromStr>(text: &str, name: &'static str) -> Result<T, ControlError> {
    let of_line = |line: &'_ str| -> Option<String> {
        let value = line.strip_prefix(name)?.strip_prefix(':')?;
        Some(value.trim().to_owned())
    };
    let value = text.lines().find_map(of_line).ok_or(ControlError::Missing(name))?;
    value.parse().map_err(|_| ControlError::NoNumber { name, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of `PostgreSQL` 15's, as they came.
    const TEXT: &str = "\
pg_control version number:            1300
Database system identifier:           7713769676786692128
Database cluster state:               in production
Latest checkpoint's TimeLineID:       3
Latest checkpoint's PrevTimeLineID:   1
wal_level setting:                    replica
max_connections setting:              100
max_worker_processes setting:         8
max_wal_senders setting:              64
max_prepared_xacts setting:           0
max_locks_per_xact setting:           64
Bytes per WAL segment:                16777216
";

    #[test]
    fn what_matters_is_read() {
        let control = Control::read(TEXT).unwrap();
        assert_eq!((control.system, control.timeline), (7_713_769_676_786_692_128, 3));
        assert_eq!(control.limits, Limits::new([100, 8, 64, 0, 64]));
        assert_eq!(control.segment, 16 << 20);
    }

    #[test]
    fn what_is_no_number_is_told() {
        let error = Control::read(&TEXT.replace("         8\n", "         ?\n")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "pg_controldata tells `?` as the `max_worker_processes setting`"
        );
    }

    #[test]
    fn the_first_limit_that_is_too_low_is_named() {
        let (low, high) = (Limits::new([100, 8, 10, 0, 64]), Limits::new([100, 8, 64, 2, 64]));
        let lack = low.lack(&high).unwrap();
        assert_eq!(
            lack.to_string(),
            "max_wal_senders is 10, and the primary had 64 at this point of its WAL"
        );
        assert_eq!(high.lack(&low), None);
        assert_eq!(
            low.lacks(&high),
            [("max_wal_senders", 64), ("max_prepared_transactions", 2)]
        );
        assert_eq!(low.raised_to(high).lack(&high), None);
    }
}
