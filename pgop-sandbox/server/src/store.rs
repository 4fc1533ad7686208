//! Where objects are kept: tables of objects, one revision counter, and what changed lately.
//!
//! - A *table* is one kind of object, named `plural.group` (`pods`, `deployments.apps`).
//! - Every write takes the next *revision*, which becomes the object's `metadata.resourceVersion`.
//! - Each table remembers its last changes, bounded in number and bytes. Watchers *pull* from that history, each with its own
//!   cursor: nothing is queued per watcher, nothing can be lost or reordered, and a watcher that falls out of the history is told.
//! - A list at an earlier revision is the table of now with the changes since taken back; so continue tokens need no kept snapshots.

mod journal;

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use parking_lot::RwLock;
use serde_json::Value;
use thiserror::Error;
use tokio::sync::watch;

pub use journal::JournalError;
use journal::{Journal, Record};

/// The most changes that a table remembers.
const HISTORY_CHANGES: usize = 10_000;
/// The most bytes (as JSON) of the changes that a table remembers.
const HISTORY_BYTES: usize = 32 << 20;
/// How many changes a watcher takes at once.
const BATCH: usize = 256;
/// The revision of an empty store. Not 0: that one means "any" in the API.
const FIRST_REVISION: u64 = 1;

/// Where an object is in its table. Cluster-scoped objects have the empty namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

/// A stored object, never changed: a write puts another in its place.
#[derive(Debug)]
pub(crate) struct Object {
    /// With `metadata.resourceVersion` of its revision.
    pub(crate) value: Value,
    /// The same as JSON text, made once for all watchers and the journal.
    pub(crate) json: Bytes,
    /// The revision of the write that made it so.
    pub(crate) revision: u64,
}

/// The objects of one table at one revision; cheap to clone.
pub(crate) type Objects = OrdMap<Key, Arc<Object>>;

/// What a write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    Added,
    Modified,
    Deleted,
}

/// One write, as watchers see it.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) kind: ChangeKind,
    /// The object after the write; of a deletion: as it was last, with the revision of the deletion.
    pub(crate) object: Arc<Object>,
    /// The object before the write.
    pub(crate) before: Option<Arc<Object>>,
    key: Key,
}

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

struct Table {
    objects: Objects,
    history: VecDeque<Change>,
    history_bytes: usize,
    /// The revision of the newest change that is no longer in the history.
    forgotten: u64,
    /// Tells watchers the revision of each change.
    changed: watch::Sender<u64>,
}

impl Table {
    fn new(objects: Objects, forgotten: u64) -> Self {
        Self {
            objects,
            history: VecDeque::new(),
            history_bytes: 0,
            forgotten,
            changed: watch::Sender::new(forgotten),
        }
    }

    fn remember(&mut self, change: Change) {
        self.history_bytes += change.object.json.len();
        self.history.push_back(change);
        while self.history.len() > HISTORY_CHANGES || (self.history_bytes > HISTORY_BYTES && self.history.len() > 1) {
            let Some(oldest) = self.history.pop_front() else { break };
            self.history_bytes -= oldest.object.json.len();
            self.forgotten = oldest.object.revision;
        }
    }

    /// The changes after a revision.
    fn since(&self, revision: u64) -> impl DoubleEndedIterator<Item = &Change> {
        let start = self
            .history
            .partition_point(|change| change.object.revision <= revision);
        self.history.range(start..)
    }
}

struct Inner {
    revision: u64,
    /// The revision at which the store was opened: nothing before it is remembered.
    opened: u64,
    tables: HashMap<Arc<str>, Table>,
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
            match &change.before {
                Some(before) => objects.insert(change.key.clone(), before.clone()),
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
        let entry = inner.table(table);
        entry.objects.insert(key.clone(), object.clone());
        let kind = if before.is_some() {
            ChangeKind::Modified
        } else {
            ChangeKind::Added
        };
        entry.remember(Change {
            kind,
            object: object.clone(),
            before,
            key: key.clone(),
        });
        entry.changed.send_replace(revision);
        inner.compact();
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
        let mut value = last.unwrap_or_else(|| before.value.clone());
        set_revision(&mut value, revision);
        let object = Arc::new(Object::new(value, revision));
        inner.log(revision, table, key, None)?;
        inner.revision = revision;
        let entry = inner.table(table);
        entry.objects.remove(key);
        entry.remember(Change {
            kind: ChangeKind::Deleted,
            object: object.clone(),
            before: Some(before),
            key: key.clone(),
        });
        entry.changed.send_replace(revision);
        inner.compact();
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

impl Object {
    fn new(value: Value, revision: u64) -> Self {
        Self {
            json: Bytes::from(value.to_string()),
            value,
            revision,
        }
    }

    fn parse(json: &str) -> Result<Self, JournalError> {
        let value: Value = serde_json::from_str(json).map_err(JournalError::Decode)?;
        let revision = value["metadata"]["resourceVersion"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        Ok(Self {
            json: Bytes::copy_from_slice(json.as_bytes()),
            value,
            revision,
        })
    }
}

fn check_not_future(asked: u64, current: u64) -> Result<(), RevisionError> {
    if asked > current {
        Err(RevisionError::Future { asked, current })
    } else {
        Ok(())
    }
}

fn set_revision(value: &mut Value, revision: u64) {
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("resourceVersion".into(), Value::String(revision.to_string()));
    }
}

/// A watcher's place in the history of a table.
pub(crate) struct Follower {
    store: Arc<Store>,
    table: Arc<str>,
    cursor: u64,
    changed: watch::Receiver<u64>,
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
        let changes: Vec<Change> = table.since(self.cursor).take(BATCH).cloned().collect();
        // With nothing more in this table, the watcher has seen all that happened in the store.
        self.cursor = if changes.len() < BATCH {
            inner.revision
        } else {
            changes.last().map_or(self.cursor, |change| change.object.revision)
        };
        Ok(changes)
    }
}

#[cfg(test)]
mod tests;
