//! Following the changes of a table.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Change, RevisionError, Store};

/// How many changes a watcher takes at once.
const BATCH: usize = 256;

/// A watcher's place in the history of a table.
pub(crate) struct Follower {
    pub(super) store: Arc<Store>,
    pub(super) table: Arc<str>,
    pub(super) cursor: u64,
    pub(super) changed: watch::Receiver<u64>,
}

impl Follower {
    /// The next changes in their order; waits until there are some. An error when the history no longer holds them.
    pub(crate) async fn next(&mut self) -> Result<Vec<Change>, RevisionError> {
        loop {
            self.changed.mark_unchanged();
            let changes = self.take()?;
            if !changes.is_empty() {
                return Ok(changes);
            }
            if self.changed.changed().await.is_err() {
                // The sender lives in the store that this holds: it can't have gone.
                std::future::pending::<()>().await;
            }
        }
    }

    /// The revision up to which the watcher has seen everything.
    pub(crate) fn seen(&self) -> u64 {
        self.cursor
    }

    /// The changes since the last call that are there already.
    pub(crate) fn take(&mut self) -> Result<Vec<Change>, RevisionError> {
        let inner = self.store.inner.read();
        let Some(table) = inner.tables.get(&self.table) else {
            return Ok(Vec::new());
        };
        if self.cursor < table.forgotten {
            return Err(RevisionError::Expired {
                asked: self.cursor,
                oldest: table.forgotten,
            });
        }
        let changes: Vec<Change> = table.since(self.cursor).take(BATCH).collect();
        // With nothing more in this table, the watcher has seen all that happened in the store.
        self.cursor = if changes.len() < BATCH {
            inner.revision
        } else {
            changes.last().map_or(self.cursor, |change| change.object.revision)
        };
        Ok(changes)
    }
}
