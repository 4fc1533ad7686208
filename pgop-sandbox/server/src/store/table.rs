//! One kind of object: what there is, and what changed lately.

use std::collections::VecDeque;
use std::sync::Arc;
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
/// How many of the last changes are kept as values, for the watchers that keep up. A value takes ten times the memory of its JSON, and there are
/// dozens of tables.
pub(super) const RECENT: usize = 32;

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

    /// From the text that [`Self::new`] made.
    fn of_json(json: &Bytes, revision: u64) -> Self {
        Self {
            value: serde_json::from_slice(json).unwrap_or_default(),
            json: json.clone(),
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

/// A change of a while ago, as JSON.
struct Past {
    kind: ChangeKind,
    key: Key,
    revision: u64,
    json: Bytes,
    /// The revision and the JSON of the object before the write.
    before: Option<(u64, Bytes)>,
}

impl From<Change> for Past {
    fn from(change: Change) -> Self {
        Self {
            kind: change.kind,
            key: change.key,
            revision: change.object.revision,
            json: change.object.json.clone(),
            before: change.before.map(|before| (before.revision, before.json.clone())),
        }
    }
}

impl From<&Past> for Change {
    fn from(past: &Past) -> Self {
        Self {
            kind: past.kind,
            object: Arc::new(Object::of_json(&past.json, past.revision)),
            before: past
                .before
                .as_ref()
                .map(|(revision, json)| Arc::new(Object::of_json(json, *revision))),
            key: past.key.clone(),
        }
    }
}

/// The objects of a kind and their history.
pub(super) struct Table {
    pub(super) objects: Objects,
    /// The oldest first; `recent` goes on where it ends.
    past: VecDeque<(Instant, Past)>,
    recent: VecDeque<(Instant, Change)>,
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
            past: VecDeque::new(),
            recent: VecDeque::new(),
            history_bytes: 0,
            forgotten,
            changed: watch::Sender::new(forgotten),
        }
    }

    pub(super) fn remember(&mut self, change: Change) {
        let now = Instant::now();
        self.history_bytes += change.object.json.len();
        self.recent.push_back((now, change));
        if self.recent.len() > RECENT {
            let oldest = self.recent.pop_front();
            self.past.extend(oldest.map(|(made, change)| (made, change.into())));
        }
        while (self.past.len() + self.recent.len() > HISTORY_CHANGES || self.history_bytes > HISTORY_BYTES)
            && self.forget_oldest()
        {}
    }

    /// Forgets the changes of a while ago.
    pub(super) fn forget_old(&mut self, now: Instant) {
        while self.oldest().is_some_and(|made| now - made > HISTORY_AGE) && self.forget_oldest() {}
    }

    fn oldest(&self) -> Option<Instant> {
        let (past, recent) = (self.past.front(), self.recent.front());
        past.map(|(made, _)| *made).or(recent.map(|(made, _)| *made))
    }

    /// Whether there was one to forget: the newest change is always remembered.
    fn forget_oldest(&mut self) -> bool {
        let (revision, json) = if let Some((_, past)) = self.past.pop_front() {
            (past.revision, past.json)
        } else if self.recent.len() > 1
            && let Some((_, change)) = self.recent.pop_front()
        {
            (change.object.revision, change.object.json.clone())
        } else {
            return false;
        };
        self.history_bytes -= json.len();
        self.forgotten = revision;
        true
    }

    /// The changes after a revision.
    pub(super) fn since(&self, revision: u64) -> impl DoubleEndedIterator<Item = Change> {
        let past = self.past.partition_point(|(_, past)| past.revision <= revision);
        let recent = self
            .recent
            .partition_point(|(_, change)| change.object.revision <= revision);
        let past = self.past.range(past..).map(|(_, past)| past.into());
        past.chain(self.recent.range(recent..).map(|(_, change)| change.clone()))
    }
}
