//! What has to hold of a backup, of what was seen of it. Pure.

use pgop_e2e::acknowledged::Found;

use crate::kind::Kind;

/// How a `PgBackup` has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It says that its snapshot is there.
    Succeeded {
        /// Where.
        path: String,
    },
    /// It says that there is none.
    Failed,
    /// It says neither.
    Other(String),
}

/// What was seen of one.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) name: String,
    pub(crate) source: &'static str,
    pub(crate) claim: &'static str,
    pub(crate) kind: Kind,
    /// What was to happen to it did happen, before it had ended.
    pub(crate) is_disturbed: bool,
    /// The only path that may be its own.
    pub(crate) path: String,
    pub(crate) end: End,
    /// Of condition Complete.
    pub(crate) message: String,
    /// Numbers that were acknowledged before it was made: its snapshot has them.
    pub(crate) least: u64,
    /// Numbers that may have been written when it had ended: it has no more.
    pub(crate) most: u64,
    /// How often it was tried.
    pub(crate) tries: usize,
}

/// What is wrong with its end.
pub(crate) fn of_end(seen: &Seen) -> Vec<String> {
    let Seen { kind, message, .. } = seen;
    let mut wrong = Vec::new();
    match &seen.end {
        End::Other(phase) => wrong.push(format!("did not end: {phase}: {message}")),
        End::Succeeded { path } if *path != seen.path => {
            wrong.push(format!("says that it is in {path}, and {} is its name", seen.path));
        }
        End::Succeeded { .. } if seen.is_disturbed && must_fail(*kind) => {
            wrong.push(format!("says Succeeded: {message}"));
        }
        End::Succeeded { .. } => {}
        End::Failed if !seen.is_disturbed => wrong.push(format!("failed, and nothing was done to it: {message}")),
        End::Failed => {
            let told = words(seen);
            let is_told = told.iter().any(|all| all.iter().all(|word| message.contains(word)));
            if !is_told {
                wrong.push(format!("the message does not name what happened ({told:?}): {message}"));
            }
        }
    }
    wrong.into_iter().map(|what| named(seen, &what)).collect()
}

/// What is wrong with what was restored from its snapshot.
pub(crate) fn of_restore(seen: &Seen, found: Found) -> Option<String> {
    let (least, most) = (seen.least, seen.most);
    let fits = found.is_whole() && found.up_to == least && (least..=most).contains(&found.largest);
    (!fits).then(|| {
        named(
            seen,
            &format!("has to hold all numbers to {least} and none above {most}: {found:?}"),
        )
    })
}

fn named(seen: &Seen, what: &str) -> String {
    format!("{} ({}, of {}): {what}", seen.name, seen.kind.name(), seen.source)
}

/// Whether a snapshot can't be what it says.
fn must_fail(kind: Kind) -> bool {
    use Kind::{LabelForged, NameTaken, StaysFull, TooSmall};
    matches!(kind, StaysFull | TooSmall | NameTaken | LabelForged)
}

/// What its message has to say: all words of one of these.
fn words(seen: &Seen) -> Vec<Vec<&str>> {
    let (claim, path) = (seen.claim, seen.path.as_str());
    match seen.kind {
        Kind::Plain | Kind::SameSecond => Vec::new(),
        Kind::SourceKilled | Kind::SourceDeleted | Kind::SourceRestarted => vec![vec![seen.source]],
        Kind::PodDeleted | Kind::JobDeleted => vec![vec!["was stopped"], vec!["is gone"], vec!["exit code 137"]],
        Kind::AgentKilled => vec![vec!["exit code 137"]],
        Kind::Filled | Kind::StaysFull => vec![vec![claim, "MiB free"], vec![claim, "No space left"]],
        Kind::TooSmall => vec![vec![claim, "too small"]],
        Kind::NameTaken => vec![vec![path, "exists already", "isn't overwritten"]],
        Kind::LabelForged => vec![vec![path, "exists already", "label", "isn't overwritten"]],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(kind: Kind, end: End, message: &str) -> Seen {
        Seen {
            name: "b-1".to_owned(),
            source: "pair",
            claim: "shelf",
            kind,
            is_disturbed: kind != Kind::Plain,
            path: "pair-backups/1".to_owned(),
            end,
            message: message.to_owned(),
            least: 5,
            most: 7,
            tries: 1,
        }
    }

    fn done() -> End {
        let path = "pair-backups/1".to_owned();
        End::Succeeded { path }
    }

    #[test]
    fn who_says_succeeded_has_its_own_snapshot_and_may_have_one() {
        assert_eq!(of_end(&seen(Kind::Plain, done(), "")), [""; 0]);
        assert_eq!(of_end(&seen(Kind::SourceKilled, done(), "")), [""; 0]);
        let path = "pair-backups/2".to_owned();
        let other = End::Succeeded { path };
        assert_eq!(of_end(&seen(Kind::SameSecond, other, "")).len(), 1);
        for kind in [Kind::StaysFull, Kind::TooSmall, Kind::NameTaken, Kind::LabelForged] {
            assert_eq!(of_end(&seen(kind, done(), "")).len(), 1, "{kind:?}");
            let late = Seen {
                is_disturbed: false,
                ..seen(kind, done(), "")
            };
            assert_eq!(of_end(&late), [""; 0], "{kind:?}");
        }
    }

    #[test]
    fn who_failed_says_what_happened() {
        let failed = |kind, message: &str| of_end(&seen(kind, End::Failed, message)).len();
        assert_eq!(failed(Kind::SourceKilled, "the copy of pair:5432 failed"), 0);
        assert_eq!(failed(Kind::SourceKilled, "BackoffLimitExceeded"), 1);
        assert_eq!(failed(Kind::StaysFull, "claim shelf has 3 MiB free"), 0);
        assert_eq!(failed(Kind::StaysFull, "claim other has 3 MiB free"), 1);
        assert_eq!(
            failed(Kind::NameTaken, "pair-backups/1 exists already and isn't overwritten"),
            0
        );
        assert_eq!(failed(Kind::Plain, "whatever it says"), 1);
        assert_eq!(
            of_end(&seen(Kind::Plain, End::Other("Running".to_owned()), "")).len(),
            1
        );
    }

    #[test]
    fn a_snapshot_holds_what_was_acknowledged_before_it_and_no_more_than_was_written() {
        let found = |least: u64, count: u64| Found {
            up_to: least,
            count,
            largest: count,
            spoilt: 0,
            total: count,
        };
        let wrong = |found| of_restore(&seen(Kind::Plain, done(), ""), found).is_some();
        for count in 5..=7 {
            assert!(!wrong(found(5, count)), "{count}");
        }
        assert!(wrong(found(4, 4)) && wrong(found(5, 8)));
        let gap = Found {
            count: 5,
            ..found(5, 6)
        };
        assert!(wrong(gap));
    }
}
