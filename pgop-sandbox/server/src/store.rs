//! Where objects are kept: tables of objects, one revision counter, and what changed lately.
//!
//! - A *table* is one kind of object, named `plural.group` (`pods`, `deployments.apps`).
//! - Every write takes the next *revision*, which becomes the object's `metadata.resourceVersion`.
//! - Each table remembers its last changes, bounded in number, bytes and age. Watchers *pull* from that history, each with its own
//!   cursor: nothing is queued per watcher, nothing can be lost or reordered, and a watcher that falls out of the history is told.
//! - A list at an earlier revision is the table of now with the changes since taken back; so continue tokens need no kept snapshots.

mod follow;
mod journal;
mod table;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use serde_json::Value;
use thiserror::Error;
use tokio::time::Instant;

pub(crate) use follow::Follower;
pub use journal::JournalError;
use journal::{Journal, Record};
pub(crate) use table::{Change, ChangeKind, Key, Object, Objects};
use table::{Table, set_revision};

/// The revision of an empty store. Not 0: that one means "any" in the API. Not 1: a real cluster has never kept its first revisions by the
/// time that anybody can ask for them, and clients rely on being told so.
const FIRST_REVISION: u64 = 10;

/// How often every table is swept: one in which nothing happens any more must not keep a busy hour's history, nor values that nobody looks at.
const SWEEP: Duration = Duration::from_secs(30);

/// What a writer believes is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// No object of that key.
    Absent,
    /// The object as of that revision.
    Revision(u64),
}

/// Why a write was not made.
#[derive(Debug, Error)]
pub(crate) enum WriteError {
    /// There is already an object of that key.
    #[error("exists already")]
    Exists,
    /// There is no object of that key.
    #[error("does not exist")]
    Missing,
    /// Another write came first.
    #[error("was changed meanwhile")]
    Changed,
    /// The write could not be made durable; it did not happen.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Why objects can't be shown as of a revision.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum RevisionError {
    /// The history does not reach back so far.
    #[error("too old resource version: {asked} ({oldest})")]
    Expired { asked: u64, oldest: u64 },
    /// The store has not come so far.
    #[error("Too large resource version: {asked}, current: {current}")]
    Future { asked: u64, current: u64 },
}

struct Inner {
    revision: u64,
    /// The revision at which the store was opened: nothing before it is remembered.
    opened: u64,
    tables: HashMap<Arc<str>, Table>,
    /// When the tables were last swept.
    swept: Instant,
    journal: Option<Journal>,
}

impl Inner {
    fn table(&mut self, name: &str) -> &mut Table {
        let opened = self.opened;
        if !self.tables.contains_key(name) {
            self.tables.insert(Arc::from(name), Table::new(Objects::new(), opened));
        }
        // `entry` would need an owned name each time.
        self.tables
            .get_mut(name)
            .unwrap_or_else(|| unreachable!("inserted above"))
    }
}

/// The store. Shared by reference counting; all its methods take `&self`.
pub(crate) struct Store {
    inner: RwLock<Inner>,
}

impl Store {
    /// A store that lives in memory only.
    pub(crate) fn in_memory() -> Self {
        Self::with(FIRST_REVISION, HashMap::new(), None)
    }

    /// A store kept in a folder, which is made when missing.
    pub(crate) fn in_folder(folder: &Path) -> Result<Self, JournalError> {
        let (journal, records) = Journal::open(folder)?;
        let mut revision = FIRST_REVISION;
        let mut tables: HashMap<Arc<str>, Objects> = HashMap::new();
        for record in records {
            revision = revision.max(record.revision);
            let objects = tables.entry(Arc::from(record.table.as_ref())).or_default();
            let key = Key::new(record.namespace, record.name);
            match record.object {
                Some(object) => {
                    let object = Object::parse(object.get())?;
                    revision = revision.max(object.revision);
                    objects.insert(key, Arc::new(object));
                }
                None => {
                    objects.remove(&key);
                }
            }
        }
        Ok(Self::with(revision, tables, Some(journal)))
    }

    fn with(revision: u64, tables: HashMap<Arc<str>, Objects>, journal: Option<Journal>) -> Self {
        let tables = tables
            .into_iter()
            .map(|(name, objects)| (name, Table::new(objects, revision)))
            .collect();
        Self {
            inner: RwLock::new(Inner {
                revision,
                opened: revision,
                tables,
                swept: Instant::now(),
                journal,
            }),
        }
    }

    /// The revision of the last write.
    pub(crate) fn revision(&self) -> u64 {
        self.inner.read().revision
    }

    pub(crate) fn get(&self, table: &str, key: &Key) -> Option<Arc<Object>> {
        self.inner.read().tables.get(table)?.objects.get(key).cloned()
    }

    /// All objects of a table, and the revision as of which they are so.
    pub(crate) fn list(&self, table: &str) -> (u64, Objects) {
        let inner = self.inner.read();
        (
            inner.revision,
            inner
                .tables
                .get(table)
                .map(|table| table.objects.clone())
                .unwrap_or_default(),
        )
    }

    /// All objects of a table as of an earlier revision.
    pub(crate) fn list_at(&self, table: &str, revision: u64) -> Result<Objects, RevisionError> {
        let inner = self.inner.read();
        check_not_future(revision, inner.revision)?;
        let Some(table) = inner.tables.get(table) else {
            return if revision < inner.opened {
                Err(RevisionError::Expired {
                    asked: revision,
                    oldest: inner.opened,
                })
            } else {
                Ok(Objects::new())
            };
        };
        if revision < table.forgotten {
            return Err(RevisionError::Expired {
                asked: revision,
                oldest: table.forgotten,
            });
        }
        let mut objects = table.objects.clone();
        for change in table.since(revision).rev() {
            match change.before {
                Some(before) => objects.insert(change.key, before),
                None => objects.remove(&change.key),
            };
        }
        Ok(objects)
    }

    /// Follows the changes of a table after a revision.
    pub(crate) fn follow(self: &Arc<Self>, table: &str, after: u64) -> Result<Follower, RevisionError> {
        let mut inner = self.inner.write();
        check_not_future(after, inner.revision)?;
        let entry = inner.table(table);
        if after < entry.forgotten {
            return Err(RevisionError::Expired {
                asked: after,
                oldest: entry.forgotten,
            });
        }
        let changed = entry.changed.subscribe();
        Ok(Follower {
            store: self.clone(),
            table: Arc::from(table),
            cursor: after,
            changed,
        })
    }

    /// Puts an object, if what the writer believes is true. Its `metadata.resourceVersion` is set here.
    pub(crate) fn put(
        &self,
        table: &str,
        key: &Key,
        expect: Expect,
        mut value: Value,
    ) -> Result<Arc<Object>, WriteError> {
        let mut inner = self.inner.write();
        let revision = inner.revision + 1;
        let before = inner.expect(table, key, expect)?;
        set_revision(&mut value, revision);
        let object = Arc::new(Object::new(value, revision));
        inner.log(revision, table, key, Some(&object))?;
        inner.revision = revision;
        inner.table(table).objects.insert(key.clone(), object.clone());
        let kind = if before.is_some() {
            ChangeKind::Modified
        } else {
            ChangeKind::Added
        };
        let change = Change {
            kind,
            object: object.clone(),
            before,
            key: key.clone(),
        };
        inner.tell(table, change);
        Ok(object)
    }

    /// Takes an object out, if it is as the writer believes. Answers it as it was last: `last`, or as it was stored.
    pub(crate) fn remove(
        &self,
        table: &str,
        key: &Key,
        expected: u64,
        last: Option<Value>,
    ) -> Result<Arc<Object>, WriteError> {
        let mut inner = self.inner.write();
        let revision = inner.revision + 1;
        let Some(before) = inner.expect(table, key, Expect::Revision(expected))? else {
            return Err(WriteError::Missing);
        };
        let mut value = last.unwrap_or_else(|| before.value().clone());
        set_revision(&mut value, revision);
        let object = Arc::new(Object::new(value, revision));
        inner.log(revision, table, key, None)?;
        inner.revision = revision;
        inner.table(table).objects.remove(key);
        let change = Change {
            kind: ChangeKind::Deleted,
            object: object.clone(),
            before: Some(before),
            key: key.clone(),
        };
        inner.tell(table, change);
        Ok(object)
    }
}

impl Inner {
    /// What is stored under a key, if it is what the writer believes.
    fn expect(&mut self, table: &str, key: &Key, expect: Expect) -> Result<Option<Arc<Object>>, WriteError> {
        let stored = self.table(table).objects.get(key).cloned();
        match (expect, &stored) {
            (Expect::Absent, None) => Ok(None),
            (Expect::Absent, Some(_)) => Err(WriteError::Exists),
            (Expect::Revision(_), None) => Err(WriteError::Missing),
            (Expect::Revision(expected), Some(object)) if object.revision == expected => Ok(stored),
            (Expect::Revision(_), Some(_)) => Err(WriteError::Changed),
        }
    }

    fn log(&mut self, revision: u64, table: &str, key: &Key, object: Option<&Object>) -> Result<(), JournalError> {
        match &mut self.journal {
            Some(journal) => journal.append(&Record::of(revision, table, key, object)?),
            None => Ok(()),
        }
    }

    /// Remembers a change and tells the watchers. What has grown is made smaller from time to time.
    fn tell(&mut self, table: &str, change: Change) {
        let revision = change.object.revision;
        let entry = self.table(table);
        entry.remember(change);
        entry.changed.send_replace(revision);
        self.sweep();
        self.compact();
    }

    fn sweep(&mut self) {
        let now = Instant::now();
        if now - self.swept < SWEEP {
            return;
        }
        self.swept = now;
        for table in self.tables.values_mut() {
            table.sweep(now);
        }
    }

    /// Writes the journal anew, without what was overwritten, when it has grown enough. A failure only leaves it long.
    fn compact(&mut self) {
        let Some(journal) = self.journal.as_mut().filter(|journal| journal.is_long()) else {
            return;
        };
        let objects = self.tables.iter().flat_map(|(table, entry)| {
            entry
                .objects
                .iter()
                .map(move |(key, object)| (table.as_ref(), key, object))
        });
        let records = objects.map(|(table, key, object)| Record::of(object.revision, table, key, Some(object)));
        if let Err(error) = journal.rewrite(self.revision, records) {
            tracing::warn!(%error, "the journal could not be compacted");
        }
    }
}

fn check_not_future(asked: u64, current: u64) -> Result<(), RevisionError> {
    if asked > current {
        Err(RevisionError::Future { asked, current })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
