//! watch: <https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes>.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use pgop_sandbox_schema::Cause;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::call::{Call, is_shown_as_stored, present, present_one};
use crate::read::{parse_revision, partial, range};
use crate::request::{Accept, Form};
use crate::resource::Resource;
use crate::response::{Body, streamed};
use crate::selector::{FieldSelector, LabelSelector};
use crate::status::{ApiError, Result};
use crate::store::{Change, ChangeKind, Follower, Object};
use crate::table;

/// How long a watch lasts for which no time is asked.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(45 * 60);
/// So long after a change of the kind a watch says how far it is. While nothing changes there is nothing to say: history is kept for each
/// kind, so where the watch began is as good to go on from.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);
/// The annotation of the bookmark after the objects that were there already.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// Follows a resource, as a stream of events.
pub(crate) fn watch(call: &Call) -> Result<Response<Body>> {
    let watch = Watch::start(call)?;
    Ok(streamed(
        "application/json",
        futures::stream::unfold(watch, Watch::step),
    ))
}

struct Watch {
    resource: Arc<Resource>,
    accept: Accept,
    include: Option<String>,
    namespace: String,
    labels: LabelSelector,
    fields: FieldSelector,
    bookmarks: bool,
    /// Nothing: the watch could not begin, and ends after the event that says so.
    follower: Option<Follower>,
    /// Lines to be sent before anything else.
    pending: VecDeque<Bytes>,
    ends: Instant,
    /// Set by a change.
    next_bookmark: Option<Instant>,
}

impl Watch {
    fn start(call: &Call) -> Result<Self> {
        let timeout = call
            .query
            .number::<u64>("timeoutSeconds")?
            .filter(|&seconds| seconds > 0);
        let now = Instant::now();
        let mut watch = Self {
            resource: call.resource.clone(),
            accept: call.accept,
            include: call.query.get("includeObject").map(str::to_owned),
            namespace: call.path.namespace.clone(),
            labels: call.labels()?,
            fields: call.fields()?,
            bookmarks: call.query.flag("allowWatchBookmarks"),
            follower: None,
            pending: VecDeque::new(),
            // A number of seconds that overflows the clock is as good as none.
            ends: now
                .checked_add(timeout.map_or(DEFAULT_TIMEOUT, Duration::from_secs))
                .unwrap_or(now + DEFAULT_TIMEOUT),
            next_bookmark: None,
        };
        watch.begin(call)?;
        Ok(watch)
    }

    fn begin(&mut self, call: &Call) -> Result<()> {
        let query = &call.query;
        let asked = query
            .get("resourceVersion")
            .map(parse_revision)
            .transpose()?
            .unwrap_or(0);
        let initial = query.get("sendInitialEvents").map(|_| query.flag("sendInitialEvents"));
        let rule = query.get("resourceVersionMatch");
        if initial.is_some() && rule != Some("NotOlderThan") {
            return Err(invalid(
                "resourceVersionMatch",
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ));
        }
        if initial.is_none() && rule.is_some() {
            return Err(invalid(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ));
        }
        let (store, table) = (&call.state.store, &*self.resource.table);
        let (current, objects) = store.list(table);
        let from_now = asked == 0 || initial == Some(true);
        let revision = if from_now { current } else { asked };
        if asked > current {
            // A store that began anew knows less than its clients. They must begin anew too, which this makes them do.
            self.fail(&ApiError::expired(format!(
                "too old resource version: {asked} ({current})"
            )));
            return Ok(());
        }
        match store.follow(table, revision) {
            Ok(follower) => self.follower = Some(follower),
            Err(error) => {
                self.fail(&Box::from(error));
                return Ok(());
            }
        }
        if from_now && initial != Some(false) {
            let there = range(&objects, &self.namespace, None).filter(|(_, object)| self.selects(object));
            self.pending = there.map(|(_, object)| self.line("ADDED", object)).collect();
        }
        if initial == Some(true) && self.bookmarks {
            let line = self.bookmark(revision, true);
            self.pending.push_back(line);
        }
        Ok(())
    }

    /// The next piece of the stream.
    async fn step(mut self) -> Option<(std::io::Result<Bytes>, Self)> {
        loop {
            if !self.pending.is_empty() {
                return Some((Ok(self.drain()), self));
            }
            let follower = self.follower.as_mut()?;
            let bookmark = self.next_bookmark.filter(|_| self.bookmarks);
            tokio::select! {
                biased;
                changes = follower.next() => match changes {
                    Ok(changes) => {
                        self.next_bookmark.get_or_insert_with(|| Instant::now() + BOOKMARK_INTERVAL);
                        for change in &changes {
                            self.tell(change);
                        }
                    }
                    Err(error) => self.fail(&Box::from(error)),
                },
                () = tokio::time::sleep_until(self.ends) => {
                    let seen = follower.seen();
                    self.follower = None;
                    if self.bookmarks {
                        let line = self.bookmark(seen, false);
                        self.pending.push_back(line);
                    }
                }
                () = tokio::time::sleep_until(bookmark.unwrap_or(self.ends)), if bookmark.is_some() => {
                    let seen = follower.seen();
                    self.next_bookmark = None;
                    let line = self.bookmark(seen, false);
                    self.pending.push_back(line);
                }
            }
        }
    }

    /// Several lines as one piece, but not all of a long list at once.
    fn drain(&mut self) -> Bytes {
        const PIECE: usize = 64 << 10;
        let Some(first) = self.pending.pop_front() else {
            return Bytes::new();
        };
        if self.pending.is_empty() || first.len() > PIECE {
            return first;
        }
        let mut piece = first.to_vec();
        while self
            .pending
            .front()
            .is_some_and(|line| piece.len() + line.len() <= PIECE)
        {
            piece.extend_from_slice(&self.pending.pop_front().unwrap_or_default());
        }
        Bytes::from(piece)
    }

    fn selects(&self, object: &Object) -> bool {
        if self.labels.is_empty() && self.fields.is_empty() {
            return true;
        }
        let shown = present_one(&self.resource, object);
        self.labels.matches(&shown) && self.fields.matches(&shown)
    }

    /// Tells a change as it looks through the selectors.
    fn tell(&mut self, change: &Change) {
        if !self.namespace.is_empty() && change.key.namespace != self.namespace {
            return;
        }
        let before = change.before.as_ref().is_some_and(|before| self.selects(before));
        let after = change.kind != ChangeKind::Deleted && self.selects(&change.object);
        let line = match (before, after) {
            (false, false) => return,
            (false, true) => self.line("ADDED", &change.object),
            (true, true) => self.line("MODIFIED", &change.object),
            (true, false) if change.kind == ChangeKind::Deleted => self.line("DELETED", &change.object),
            (true, false) => {
                // As it was when it was last selected, at the revision at which it no longer is.
                let mut last = change
                    .before
                    .as_ref()
                    .map(|before| before.value().clone())
                    .unwrap_or_default();
                last["metadata"]["resourceVersion"] = change.object.revision.to_string().into();
                self.line_of("DELETED", &present(&self.resource, &last))
            }
        };
        self.pending.push_back(line);
    }

    fn line(&self, event: &str, object: &Object) -> Bytes {
        if self.accept.form == Form::Whole && is_shown_as_stored(&self.resource) {
            let mut line = Vec::with_capacity(object.json.len() + 40);
            line.extend_from_slice(format!(r#"{{"type":"{event}","object":"#).as_bytes());
            line.extend_from_slice(&object.json);
            line.extend_from_slice(b"}\n");
            return Bytes::from(line);
        }
        self.line_of(event, &present_one(&self.resource, object))
    }

    fn line_of(&self, event: &str, object: &Value) -> Bytes {
        let shown = match self.accept.form {
            Form::Table => {
                let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
                table::table(&self.resource, &[object], &metadata, self.include.as_deref())
            }
            Form::Metadata => partial(object),
            Form::Whole | Form::Discovery => return line(event, object),
        };
        line(event, &shown)
    }

    fn bookmark(&self, revision: u64, initial: bool) -> Bytes {
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if initial {
            metadata["annotations"] = json!({INITIAL_EVENTS_END: "true"});
        }
        let object = match self.accept.form {
            Form::Metadata => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
            }
            Form::Table => {
                json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": [], "rows": []})
            }
            Form::Whole | Form::Discovery => {
                json!({"kind": self.resource.kind, "apiVersion": self.resource.api_version(), "metadata": metadata})
            }
        };
        line("BOOKMARK", &object)
    }

    /// Ends the watch with an error.
    fn fail(&mut self, error: &ApiError) {
        self.follower = None;
        self.pending.push_back(line("ERROR", &error.status()));
    }
}

fn line(event: &str, object: &Value) -> Bytes {
    Bytes::from(format!("{}\n", json!({"type": event, "object": object})))
}

fn invalid(field: &str, detail: &str) -> Box<ApiError> {
    ApiError::invalid_kind("meta.k8s.io", "ListOptions", "", &[Cause::forbidden(field, detail)])
}
