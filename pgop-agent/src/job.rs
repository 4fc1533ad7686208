//! What the two Jobs share: how they wait, how they tell, and how they end.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use crate::supervisor::Time;

pub mod work;

/// How often what is waited for is told.
const TOLD: Duration = Duration::from_secs(30);
/// How long what failed waits before it is tried again.
pub const AGAIN: Duration = Duration::from_secs(3);

/// How a Job's container ends. Its exit code is what `podFailurePolicy` goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is done.
    Done,
    /// Another try, maybe elsewhere, may do better: it was stopped, or has waited as long as it may.
    Again,
    /// Every try would end so, until somebody changes something.
    Never,
}

impl Outcome {
    /// Of the container. 2 is left to a wrong command line.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Again => 1,
            Self::Never => 3,
        }
    }
}

/// Since when what is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waits<W>(BTreeMap<W, Time>);

impl<W> Default for Waits<W> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<W: Ord> Waits<W> {
    /// It is waited for, from now on or still.
    pub fn note(&mut self, what: W, now: Time) {
        self.0.entry(what).or_insert(now);
    }

    /// It came.
    pub fn forget(&mut self, what: &W) {
        self.0.remove(what);
    }

    /// For how long.
    pub fn passed(&self, what: &W, now: Time) -> Duration {
        self.0
            .get(what)
            .map_or(Duration::ZERO, |since| now.saturating_sub(*since))
    }
}

/// Remembers when what is waited for was told.
#[derive(Debug, Default)]
pub struct Teller(Option<Time>);

impl Teller {
    /// Whether it is to be told now: at first, and then every half minute.
    pub fn is_due(&mut self, now: Time) -> bool {
        let is_due = self.0.is_none_or(|last| now.saturating_sub(last) >= TOLD);
        if is_due {
            self.0 = Some(now);
        }
        is_due
    }
}

/// Room of a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// For whoever is not root.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

impl Room {
    /// Of the file system that a path is on.
    pub fn of(path: &Path) -> std::io::Result<Self> {
        let found = rustix::fs::statvfs(path)?;
        if found.f_blocks == 0 {
            return Ok(Self::UNKNOWN);
        }
        Ok(Self {
            free: found.f_bavail * found.f_frsize,
            total: found.f_blocks * found.f_frsize,
        })
    }

    /// Of a file system that does not tell: nothing is refused for it.
    pub const UNKNOWN: Self = Self {
        free: u64::MAX,
        total: u64::MAX,
    };
}

/// Whether what the system says of a volume stays so until somebody changes something. A full one may get room.
pub fn is_lasting(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::PermissionDenied
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::NotADirectory
            | ErrorKind::InvalidFilename
            | ErrorKind::AlreadyExists
    )
}

/// Bytes for people, rounded up, so that what is said to be needed is enough.
pub fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

/// Runs a Job. What keeps it from beginning is told where the rest is, and stays so until somebody changes something.
pub async fn main(
    variable: impl Fn(&str) -> Option<String>,
    job: impl AsyncFnOnce() -> Result<Outcome, String>,
) -> Outcome {
    match job().await {
        Ok(outcome) => outcome,
        Err(words) => {
            tracing::error!("{words}");
            let log = variable("PGOP_TERMINATION_LOG").unwrap_or_else(|| "/dev/termination-log".to_owned());
            leave(&words, Path::new(&log));
            Outcome::Never
        }
    }
}

/// Leaves the last words where Kubernetes shows them: one line.
pub fn leave(words: &str, termination_log: &Path) {
    let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Err(error) = std::fs::write(termination_log, format!("{line}\n")) {
        tracing::warn!("could not write {}: {error}", termination_log.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_is_told_at_first_and_every_half_minute() {
        let mut teller = Teller::default();
        let told: Vec<u64> = (5..100)
            .filter(|second| teller.is_due(Duration::from_secs(*second)))
            .collect();
        assert_eq!(told, [5, 35, 65, 95]);
    }

    #[test]
    fn a_wait_lasts_from_its_first_note() {
        let second = Duration::from_secs;
        let mut waits = Waits::default();
        waits.note("source", second(5));
        waits.note("source", second(9));
        assert_eq!(waits.passed(&"source", second(12)), second(7));
        assert_eq!(waits.passed(&"room", second(12)), second(0));
        waits.forget(&"source");
        assert_eq!(waits.passed(&"source", second(12)), second(0));
    }

    #[test]
    fn last_words_are_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        leave("connection refused\n\tIs the server running?\n", &log);
        let text = std::fs::read_to_string(log).unwrap();
        assert_eq!(text, "connection refused Is the server running?\n");
    }

    #[test]
    fn rooms_are_those_of_the_file_system() {
        let room = Room::of(Path::new("/")).unwrap();
        assert!(room.free < room.total, "{room:?}");
        assert_eq!(mebibytes(1), "1 MiB");
        assert_eq!(mebibytes(3 << 20), "3 MiB");
    }
}
