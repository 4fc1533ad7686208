//! delete and deletecollection: <https://kubernetes.io/docs/concepts/architecture/garbage-collection/>.

use std::borrow::Cow;

use http::{Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use pgop_sandbox_schema::Cause;
use serde_json::{Value, json};

use crate::call::{Call, present, present_one};
use crate::read;
use crate::request::{Form, Query};
use crate::resource::Resource;
use crate::response::{self, Body, Style};
use crate::status::{ApiError, Result, success, write_error};
use crate::store::{Expect, Key, Object, WriteError};
use crate::strategy;
use crate::write::is_done_for;

/// What becomes of the objects that the deleted one owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Propagation {
    /// They are deleted first.
    Foreground,
    /// They are deleted afterwards.
    Background,
    /// They stay.
    Orphan,
}

/// `DeleteOptions`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    dry_run: bool,
    grace: Option<i64>,
    propagation: Option<Propagation>,
    uid: Option<String>,
    revision: Option<String>,
}

impl Options {
    pub(crate) fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// Options come as a body, and as parameters of the request.
    pub(crate) fn read(call: &Call, body: &Value) -> Result<Self> {
        let query: &Query = &call.query;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let grace = match body["gracePeriodSeconds"].as_i64() {
            Some(seconds) => Some(seconds),
            None => query.number("gracePeriodSeconds")?,
        };
        let policy = text(&body["propagationPolicy"]).or_else(|| query.get("propagationPolicy").map(str::to_owned));
        let propagation = match policy.as_deref() {
            Some("Foreground") => Some(Propagation::Foreground),
            Some("Background") => Some(Propagation::Background),
            Some("Orphan") => Some(Propagation::Orphan),
            Some(other) => {
                let supported = ["Background", "Foreground", "Orphan"];
                let cause = Cause::not_supported("propagationPolicy", &other.into(), &supported);
                return Err(call.invalid_option(cause));
            }
            None => match body["orphanDependents"].as_bool() {
                Some(true) => Some(Propagation::Orphan),
                Some(false) => Some(Propagation::Background),
                None => None,
            },
        };
        let dry_run: Vec<String> = body["dryRun"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(text)
            .collect();
        Ok(Self {
            dry_run: call.dry_run_with(&dry_run)?,
            grace,
            propagation,
            uid: text(&body["preconditions"]["uid"]),
            revision: text(&body["preconditions"]["resourceVersion"]),
        })
    }
}

/// What a deletion came to.
pub(crate) enum Deletion {
    /// The object is gone; as it was last.
    Gone(Value),
    /// It is marked and stays until its finalizers are gone or its node has stopped it.
    Waits(Value),
}

/// `DELETE` of one object.
pub(crate) fn delete(call: &Call, body: &Value) -> Result<Response<Body>> {
    let options = Options::read(call, body)?;
    let deletion = delete_object(call, &call.key(), &options)?;
    let style = Style::of(call.accept, &call.query);
    Ok(match deletion {
        Deletion::Waits(object) => read::one(call, StatusCode::OK, &object),
        Deletion::Gone(object) if answers_object(&call.resource) && call.accept.form != Form::Table => {
            read::one(call, StatusCode::OK, &object)
        }
        Deletion::Gone(object) => {
            let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
            response::json(StatusCode::OK, &success(&call.resource, &call.path.name, uid), style)
        }
    })
}

/// `DELETE` of all selected objects.
pub(crate) fn delete_collection(call: &Call, body: &Value) -> Result<Response<Body>> {
    let options = Options::read(call, body)?;
    let (labels, fields) = (call.labels()?, call.fields()?);
    let (revision, objects) = call.state.store.list(&call.resource.table);
    let mut items = Vec::new();
    for (key, object) in read::range(&objects, &call.path.namespace, None) {
        let shown = present_one(&call.resource, object);
        if !(labels.matches(&shown) && fields.matches(&shown)) {
            continue;
        }
        match delete_object(call, key, &options) {
            Ok(Deletion::Gone(object) | Deletion::Waits(object)) => items.push(Cow::Owned(object)),
            Err(error) if error.code == StatusCode::NOT_FOUND => {}
            Err(error) => return Err(error),
        }
    }
    let metadata = json!({"resourceVersion": revision.to_string()});
    Ok(response::json_text(
        StatusCode::OK,
        read::list_text(&call.resource, items.into_iter(), &metadata),
        Style::of(call.accept, &call.query),
    ))
}

/// Kinds of which the deleted object is answered, instead of a status.
fn answers_object(resource: &Resource) -> bool {
    let names = [
        "pods",
        "services",
        "persistentvolumeclaims",
        "persistentvolumes",
        "serviceaccounts",
        "resourcequotas",
    ];
    resource
        .built_in()
        .is_some_and(|(group, plural)| group.is_empty() && names.contains(&plural))
}

pub(crate) fn delete_object(call: &Call, key: &Key, options: &Options) -> Result<Deletion> {
    let resource = &*call.resource;
    loop {
        let stored = call
            .state
            .store
            .get(&resource.table, key)
            .ok_or_else(|| ApiError::not_found(resource, &key.name))?;
        check_preconditions(resource, key, &stored, options)?;
        strategy::check_delete(call, stored.value())?;
        let mut object = stored.value().clone();
        let changed = mark(resource, &mut object, options);
        let shown = |object: &Value| present(resource, object).into_owned();
        let done = is_done_for(resource, &object);
        if options.dry_run {
            return Ok(if done {
                Deletion::Gone(shown(&object))
            } else {
                Deletion::Waits(shown(&object))
            });
        }
        let written = if done {
            // Nothing holds it: it goes without having been marked.
            call.state.store.remove(&resource.table, key, stored.revision, None)
        } else if changed {
            call.state
                .store
                .put(&resource.table, key, Expect::Revision(stored.revision), object)
        } else {
            Ok(stored)
        };
        match written {
            Ok(written) => {
                strategy::written(&call.state, resource);
                let shown = shown(written.value());
                if done {
                    strategy::removed(&call.state, resource);
                    return Ok(Deletion::Gone(shown));
                }
                strategy::marked(call, written.value())?;
                return Ok(Deletion::Waits(shown));
            }
            // With preconditions the next round finds out whether they still hold.
            Err(WriteError::Changed) => {}
            Err(error) => return Err(write_error(error, resource, &key.name)),
        }
    }
}

fn check_preconditions(resource: &Resource, key: &Key, stored: &Object, options: &Options) -> Result<()> {
    let metadata = &stored.value()["metadata"];
    for (what, wanted, field) in [
        ("UID", &options.uid, "uid"),
        ("ResourceVersion", &options.revision, "resourceVersion"),
    ] {
        let current = metadata[field].as_str().unwrap_or_default();
        if let Some(wanted) = wanted.as_deref().filter(|&wanted| wanted != current) {
            let why =
                format!("Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {current}");
            return Err(ApiError::conflict(resource, &key.name, &why));
        }
    }
    Ok(())
}

/// Marks an object as deleted: since when, with what grace, and what the garbage collector has to do first. Whether that changed it.
fn mark(resource: &Resource, object: &mut Value, options: &Options) -> bool {
    let before = object.clone();
    finalize(
        object,
        options.propagation.or_else(|| default_propagation(resource, object)),
    );
    let wanted = if resource.is("", "pods") {
        pod_grace(object, options.grace)
    } else {
        0
    };
    let marked = object["metadata"]
        .get("deletionTimestamp")
        .is_some_and(|time| !time.is_null());
    let previous = object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
    // A deletion under way can only be hastened.
    if !marked || wanted < previous {
        let began = if marked {
            began(object, previous)
        } else {
            pgop_sandbox_tasks::now()
        };
        let ends = began.saturating_add(SignedDuration::from_secs(wanted)).unwrap_or(began);
        let metadata = &mut object["metadata"];
        metadata["deletionTimestamp"] = ends.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into();
        metadata["deletionGracePeriodSeconds"] = wanted.into();
        if let Some(generation) = metadata["generation"]
            .as_i64()
            .filter(|&generation| generation > 0 && !marked)
        {
            metadata["generation"] = (generation + 1).into();
        }
        if resource.is("", "namespaces") {
            object["status"]["phase"] = "Terminating".into();
        }
    }
    *object != before
}

fn began(object: &Value, grace: i64) -> Timestamp {
    let ends = object["metadata"]["deletionTimestamp"]
        .as_str()
        .and_then(|text| text.parse::<Timestamp>().ok());
    let ends = ends.unwrap_or_else(pgop_sandbox_tasks::now);
    ends.saturating_sub(SignedDuration::from_secs(grace)).unwrap_or(ends)
}

/// Seconds that a pod gets to end by itself. None when no node runs it.
fn pod_grace(pod: &Value, asked: Option<i64>) -> i64 {
    let bound = pod["spec"]["nodeName"].as_str().is_some_and(|node| !node.is_empty());
    let ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    if !bound || ended {
        return 0;
    }
    let seconds = asked
        .or_else(|| pod["spec"]["terminationGracePeriodSeconds"].as_i64())
        .unwrap_or(30);
    // Negative: at once, but not without the node.
    if seconds < 0 { 1 } else { seconds }
}

/// Jobs let their pods stay unless told otherwise, as in the versions before `apps/v1`:
/// <https://kubernetes.io/docs/concepts/workloads/controllers/job/#clean-up-finished-jobs-automatically>.
fn default_propagation(resource: &Resource, object: &Value) -> Option<Propagation> {
    let mut finalizers = object["metadata"]["finalizers"].as_array().into_iter().flatten();
    let decided = finalizers.any(|name| *name == "orphan" || *name == "foregroundDeletion");
    (resource.is("batch", "jobs") && !decided).then_some(Propagation::Orphan)
}

/// The garbage collector's finalizers, as the propagation policy wants them.
fn finalize(object: &mut Value, propagation: Option<Propagation>) {
    let Some(propagation) = propagation else { return };
    let list = object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    let mut list: Vec<Value> = list
        .into_iter()
        .filter(|name| *name != "orphan" && *name != "foregroundDeletion")
        .collect();
    match propagation {
        Propagation::Foreground => list.push("foregroundDeletion".into()),
        Propagation::Orphan => list.push("orphan".into()),
        Propagation::Background => {}
    }
    crate::write::put(
        &mut object["metadata"],
        "finalizers",
        (!list.is_empty()).then_some(Value::Array(list)),
    );
}
