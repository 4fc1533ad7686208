//! One kind of object: what there is, and what changed lately.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use serde_json::Value;
use tokio::sync::watch;

use super::JournalError;

/// The most changes that a table remembers.
pub(super) const HISTORY_CHANGES: usize = 10_000;
/// The most bytes (as JSON) of the changes that a table remembers.
pub(super) const HISTORY_BYTES: usize = 32 << 20;

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
    pub(super) key: Key,
}

impl Object {
    pub(super) fn new(value: Value, revision: u64) -> Self {
        Self {
            json: Bytes::from(value.to_string()),
            value,
            revision,
        }
    }

    pub(super) fn parse(json: &str) -> Result<Self, JournalError> {
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

pub(super) fn set_revision(value: &mut Value, revision: u64) {
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("resourceVersion".into(), Value::String(revision.to_string()));
    }
}

/// The objects of a kind and their history.
pub(super) struct Table {
    pub(super) objects: Objects,
    history: VecDeque<Change>,
    history_bytes: usize,
    /// The revision of the newest change that is no longer in the history.
    pub(super) forgotten: u64,
    /// Tells watchers the revision of each change.
    pub(super) changed: watch::Sender<u64>,
}

impl Table {
    pub(super) fn new(objects: Objects, forgotten: u64) -> Self {
        Self {
            objects,
            history: VecDeque::new(),
            history_bytes: 0,
            forgotten,
            changed: watch::Sender::new(forgotten),
        }
    }

    pub(super) fn remember(&mut self, change: Change) {
        self.history_bytes += change.object.json.len();
        self.history.push_back(change);
        while self.history.len() > HISTORY_CHANGES || (self.history_bytes > HISTORY_BYTES && self.history.len() > 1) {
            let Some(oldest) = self.history.pop_front() else { break };
            self.history_bytes -= oldest.object.json.len();
            self.forgotten = oldest.object.revision;
        }
    }

    /// The changes after a revision.
    pub(super) fn since(&self, revision: u64) -> impl DoubleEndedIterator<Item = &Change> {
        let start = self
            .history
            .partition_point(|change| change.object.revision <= revision);
        self.history.range(start..)
    }
}
