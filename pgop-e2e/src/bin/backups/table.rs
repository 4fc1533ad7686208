//! The table at the end.

use std::collections::BTreeMap;

use crate::judge::{End, Seen};
use crate::kind::Kind;

/// Figures of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Row {
    made: usize,
    succeeded: usize,
    failed: usize,
    again: usize,
    late: usize,
    exact: usize,
}

impl Row {
    fn add(&mut self, other: &Self) {
        self.made += other.made;
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.again += other.again;
        self.late += other.late;
        self.exact += other.exact;
    }

    fn print(&self, what: &str) {
        println!(
            "{what:<36} {:>7} {:>9} {:>6} {:>11} {:>8} {:>14}",
            self.made, self.succeeded, self.failed, self.again, self.late, self.exact
        );
    }
}

/// By kind.
#[derive(Debug, Default)]
pub(crate) struct Table(BTreeMap<Kind, Row>);

impl Table {
    /// One more has ended.
    pub(crate) fn ended(&mut self, seen: &Seen) {
        self.0.entry(seen.kind).or_default().add(&Row {
            made: 1,
            succeeded: usize::from(matches!(seen.end, End::Succeeded { .. })),
            failed: usize::from(seen.end == End::Failed),
            again: usize::from(seen.tries > 1),
            late: usize::from(!seen.is_disturbed && seen.kind != Kind::Plain),
            exact: 0,
        });
    }

    /// The snapshot of one more was restored, and has what it must have.
    pub(crate) fn restored(&mut self, kind: Kind) {
        self.0.entry(kind).or_default().exact += 1;
    }

    /// Shows it.
    pub(crate) fn print(&self) {
        println!(
            "\n{:<36} {:>7} {:>9} {:>6} {:>11} {:>8} {:>14}",
            "disturbance", "backups", "Succeeded", "Failed", "tried again", "too late", "restored exact"
        );
        let mut all = Row::default();
        for (kind, row) in &self.0 {
            row.print(kind.name());
            all.add(row);
        }
        all.print("all");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_is_counted_once_by_its_kind() {
        let seen = |end, tries, is_disturbed| Seen {
            name: String::new(),
            source: "pair",
            claim: "shelf",
            kind: Kind::Filled,
            is_disturbed,
            path: String::new(),
            end,
            message: String::new(),
            least: 0,
            most: 0,
            tries,
        };
        let mut table = Table::default();
        let path = String::new();
        table.ended(&seen(End::Succeeded { path }, 2, true));
        table.ended(&seen(End::Failed, 1, false));
        table.restored(Kind::Filled);
        let wanted = Row {
            made: 2,
            succeeded: 1,
            failed: 1,
            again: 1,
            late: 1,
            exact: 1,
        };
        assert_eq!(table.0[&Kind::Filled], wanted);
    }
}
