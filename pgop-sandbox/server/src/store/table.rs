//! One kind of object: what there is, and what changed lately.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use imbl::OrdMap;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use super::JournalError;

/// The most changes that a table remembers.
pub(super) const HISTORY_CHANGES: usize = 10_000;
/// The most bytes (as JSON) of the changes that a table remembers.
pub(super) const HISTORY_BYTES: usize = 32 << 20;
/// How long a change is remembered: a real cluster's etcd is compacted as often
/// (<https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/>, `--etcd-compaction-interval`).
pub(super) const HISTORY_AGE: Duration = Duration::from_secs(5 * 60);

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
    /// With `metadata.resourceVersion` of its revision. It takes ten times the memory of its JSON, so it is there only while it is looked at.
    value: OnceLock<Value>,
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
    pub(crate) key: Key,
}

impl Object {
    pub(super) fn new(value: Value, revision: u64) -> Self {
        Self {
            json: Bytes::from(value.to_string()),
            value: value.into(),
            revision,
        }
    }

    /// The object.
    pub(crate) fn value(&self) -> &Value {
        self.value.get_or_init(|| self.read())
    }

    /// The object for one look, as one of many: nothing of it is kept.
    pub(crate) fn glance(&self) -> Cow<'_, Value> {
        self.value.get().map_or_else(|| Cow::Owned(self.read()), Cow::Borrowed)
    }

    fn read(&self) -> Value {
        // It is the text of a value.
        serde_json::from_slice(&self.json).unwrap_or_default()
    }

    /// The same without its value, where it has one.
    pub(super) fn cooled(&self) -> Option<Arc<Self>> {
        self.value.get()?;
        Some(Arc::new(Self {
            value: OnceLock::new(),
            json: self.json.clone(),
            revision: self.revision,
        }))
    }

    pub(super) fn parse(json: &str) -> Result<Self, JournalError> {
        let value: Value = serde_json::from_str(json).map_err(JournalError::Decode)?;
        let revision = value["metadata"]["resourceVersion"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        Ok(Self {
            json: Bytes::copy_from_slice(json.as_bytes()),
            value: value.into(),
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
    /// The oldest first.
    history: VecDeque<(Instant, Change)>,
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
        self.history.push_back((Instant::now(), change));
        while (self.history.len() > HISTORY_CHANGES || self.history_bytes > HISTORY_BYTES) && self.forget_oldest() {}
    }

    /// Whether there was one to forget: the newest change is always remembered.
    fn forget_oldest(&mut self) -> bool {
        if self.history.len() < 2 {
            return false;
        }
        if let Some((_, change)) = self.history.pop_front() {
            self.history_bytes -= change.object.json.len();
            self.forgotten = change.object.revision;
        }
        true
    }

    /// Forgets the changes of a while ago, and the values of everything: whoever looks at one again reads it again.
    pub(super) fn sweep(&mut self, now: Instant) {
        let is_old = |(made, _): &(Instant, Change)| now - *made > HISTORY_AGE;
        while self.history.front().is_some_and(is_old) && self.forget_oldest() {}
        for (_, Change { object, before, .. }) in &mut self.history {
            for object in std::iter::once(object).chain(before) {
                if let Some(cooled) = object.cooled() {
                    *object = cooled;
                }
            }
        }
        let warm = self.objects.iter();
        let cooled: Vec<_> = warm
            .filter_map(|(key, object)| Some((key.clone(), object.cooled()?)))
            .collect();
        self.objects.extend(cooled);
    }

    /// The changes after a revision.
    pub(super) fn since(&self, revision: u64) -> impl DoubleEndedIterator<Item = Change> {
        let from = self
            .history
            .partition_point(|(_, change)| change.object.revision <= revision);
        self.history.range(from..).map(|(_, change)| change.clone())
    }
}
