//! Server-side apply and the tracking of who set which field.
//! <https://kubernetes.io/docs/reference/using-api/server-side-apply/>
//!
//! `fields` are sets of paths, `typed` applies a schema to objects, `managed` is the list in the object's metadata.

mod conflict;
mod fields;
mod managed;
mod typed;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

pub use conflict::{ApplyError, Conflict, Owner};

use self::{
    fields::FieldSet,
    managed::{Entry, Operation},
    typed::Comparison,
};
use crate::{Schema, node::Node};

/// Who changes an object.
#[derive(Clone, Copy, Debug)]
pub struct Manager<'a> {
    /// The field manager, such as `kubectl-client-side-apply`.
    pub name: &'a str,
    /// The version in which the fields are named, such as `apps/v1`.
    pub api_version: &'a str,
    /// Through which subresource, such as `status`.
    pub subresource: Option<&'a str>,
    /// When.
    pub now: jiff::Timestamp,
}

/// Owned by nobody, because the server sets them or they say which object it is.
const UNOWNED: [&[&str]; 12] = [
    &["apiVersion"],
    &["kind"],
    &["metadata", "name"],
    &["metadata", "namespace"],
    &["metadata", "creationTimestamp"],
    &["metadata", "deletionTimestamp"],
    &["metadata", "deletionGracePeriodSeconds"],
    &["metadata", "selfLink"],
    &["metadata", "uid"],
    &["metadata", "generation"],
    &["metadata", "managedFields"],
    &["metadata", "resourceVersion"],
];

/// Fields that are never absent in Kubernetes' Go types, as long as those above them are neither: structs, and lists that are
/// written as `null`. So nobody adds them, and managers own only what is in them.
const STRUCTS: [&str; 12] = [
    "metadata",
    "spec",
    "status",
    "template",
    "jobTemplate",
    "strategy",
    "updateStrategy",
    "resources",
    "loadBalancer",
    "names",
    "acceptedNames",
    "containers",
];

/// Who owns the fields of an object that was written when nobody kept track.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Sets what `config` says, and removes what this manager applied before, no longer says, and nobody else owns.
///
/// Values that others own and that differ are conflicts, unless `force` takes them over. An apply that changes nothing returns
/// an object equal to `live`, `managedFields` included. `null` says nothing, unless the schema allows it.
///
/// Like Kubernetes it compares before defaults are filled in. An atomic list whose items got defaults (a stateful set's claim
/// templates) therefore looks changed: fill in the defaults again, then let [`settle`] see that nothing is new.
///
/// # Errors
/// [`ApplyError::Conflicts`], and configurations that can't be applied.
pub fn apply(
    schema: &Schema,
    live: Option<&Value>,
    config: &Value,
    manager: &Manager<'_>,
    force: bool,
) -> Result<Value, ApplyError> {
    let config = applicable(schema, config, manager)?;
    let empty = json!({});
    let base = live.unwrap_or(&empty);
    let mut others = owners(schema, live, manager);
    let mine = others
        .iter()
        .position(|entry| entry.is_of(manager, Operation::Apply))
        .map(|at| others.remove(at));

    let applied = owned(schema, manager, typed::field_set(&schema.root, &config));
    let mut merged = typed::merge(&schema.root, base, &config);
    if let Some(mine) = &mine {
        let gone = abandoned(&schema.root, &mine.fields, &applied, &others);
        typed::remove(&schema.root, &mut merged, &gone);
    }
    let changes = changes(schema, manager, Some(base), &merged);

    let taken = changes.added.union(&changes.modified);
    let conflicts = conflict::between(&others, &taken);
    if !conflicts.is_empty() && !force {
        return Err(ApplyError::Conflicts(conflicts));
    }
    if live.is_some()
        && changes.is_empty()
        && conflicts.is_empty()
        && mine.as_ref().is_some_and(|mine| mine.fields == applied)
    {
        return Ok(base.clone());
    }
    for entry in &mut others {
        entry.fields = entry.fields.difference(&taken).difference(&changes.removed);
    }
    others.push(Entry::new(manager, Operation::Apply, applied));
    managed::write(&mut merged, others);
    Ok(merged)
}

/// For create, update and patch: whoever changed a field becomes its owner with the operation `Update`.
///
/// Fields that are gone are dropped from every manager, and managers without fields vanish. `before` is the stored object,
/// `after` what will be stored; a `managedFields` in `after` replaces the list, as in Kubernetes: it is how `kubectl` renames
/// managers. A list of one empty entry (`[{}]`) forgets all managers; an empty or unreadable list changes nothing.
pub fn track(schema: &Schema, before: Option<&Value>, after: &mut Value, manager: &Manager<'_>) {
    let sent = manager.subresource.is_none().then(|| proposed(after)).flatten();
    let mut entries = sent.unwrap_or_else(|| before.and_then(managed::read).unwrap_or_default());
    let changes = changes(schema, manager, before, after);
    let taken = changes.added.union(&changes.modified);
    let mut mine = None;
    entries.retain_mut(|entry| {
        let is_mine = entry.is_of(manager, Operation::Update);
        let lost = if is_mine {
            entry.fields.clone()
        } else {
            entry.fields.difference(&taken)
        };
        entry.fields = lost.difference(&changes.removed);
        if is_mine {
            mine = Some(entry.clone());
        }
        !is_mine
    });
    if taken.is_empty() {
        entries.extend(mine);
    } else {
        let fields = mine.map_or_else(FieldSet::default, |mine| mine.fields).union(&taken);
        entries.push(Entry::new(manager, Operation::Update, fields));
    }
    managed::write(after, entries);
}

/// Gives back the times of `live` when nothing but times of managers differs, so that the object is equal and not written.
///
/// Defaults and other normalisation come after [`apply`] and [`track`], and can undo what looked like a change: `null` in a
/// field that can't be null, `stringData` of a secret that already has the data.
pub fn settle(live: &Value, object: &mut Value) {
    if managed::without_times(live) == managed::without_times(object) {
        object.clone_from(live);
    }
}

/// The list of managers that a client sent, if it means something.
fn proposed(after: &Value) -> Option<Vec<Entry>> {
    if managed::is_reset(after) {
        return Some(Vec::new());
    }
    managed::read(after).filter(|entries| !entries.is_empty())
}

/// The owners of the stored object's fields.
fn owners(schema: &Schema, live: Option<&Value>, manager: &Manager<'_>) -> Vec<Entry> {
    let Some(live) = live else { return Vec::new() };
    let entries = managed::read(live).unwrap_or_default();
    if !entries.is_empty() {
        return entries;
    }
    let nobody = Manager {
        name: BEFORE_FIRST_APPLY,
        subresource: None,
        ..*manager
    };
    let all = changes(schema, &nobody, None, live).added;
    vec![Entry::new(&nobody, Operation::Update, all)]
}

/// What changed between two objects, as far as it can be owned.
fn changes(schema: &Schema, manager: &Manager<'_>, before: Option<&Value>, after: &Value) -> Comparison {
    let structs: BTreeSet<&str> = if schema.is_built_in() {
        STRUCTS.into()
    } else {
        BTreeSet::from(["metadata"])
    };
    let all = typed::compare(&schema.root, before, Some(after), &structs);
    Comparison {
        added: owned(schema, manager, all.added),
        modified: owned(schema, manager, all.modified),
        removed: owned(schema, manager, all.removed),
    }
}

/// The set without what nobody owns, and what can't be written this way.
fn owned(schema: &Schema, manager: &Manager<'_>, mut set: FieldSet) -> FieldSet {
    set.member = false;
    for path in UNOWNED {
        set.forget(path);
    }
    set.forget_place("metadata");
    if schema.status_subresource {
        set.forget(&[unreachable_field(manager)]);
    }
    set
}

/// What a write to this endpoint can't change.
fn unreachable_field(manager: &Manager<'_>) -> &'static str {
    if manager.subresource == Some("status") {
        "spec"
    } else {
        "status"
    }
}

/// What the manager applied before, does not apply now, and nobody else owns.
fn abandoned(root: &Node, before: &FieldSet, applied: &FieldSet, others: &[Entry]) -> FieldSet {
    let kept = others
        .iter()
        .fold(applied.clone(), |all, entry| all.union(&entry.fields));
    typed::with_named_fields(root, before).difference(&typed::with_named_fields(root, &kept))
}

/// The configuration without what it can't say.
fn applicable(schema: &Schema, config: &Value, manager: &Manager<'_>) -> Result<Value, ApplyError> {
    let mut config = config.as_object().ok_or(ApplyError::NotAnObject)?.clone();
    let managers = config
        .get("metadata")
        .and_then(|metadata| metadata.get("managedFields"));
    if managers
        .and_then(Value::as_array)
        .is_some_and(|managers| !managers.is_empty())
    {
        return Err(ApplyError::HasManagedFields);
    }
    if let Some(metadata) = config.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    if schema.status_subresource {
        config.remove(unreachable_field(manager));
    }
    without_null(&schema.root, &mut config);
    let mut config = Value::Object(config);
    let unknown = schema.prune(&mut config);
    if unknown.is_empty() {
        Ok(config)
    } else {
        Err(ApplyError::Undeclared(
            unknown.iter().map(|field| format!(".{field}")).collect(),
        ))
    }
}

/// Drops `null` where the schema does not allow it.
fn without_null(node: &Node, fields: &mut Map<String, Value>) {
    fields.retain(|name, value| {
        let Some(node) = node.field(name) else { return true };
        without_null_below(node, value);
        !value.is_null() || node.nullable || node.preserve
    });
}

fn without_null_below(node: &Node, value: &mut Value) {
    match value {
        Value::Object(fields) => without_null(node, fields),
        Value::Array(items) => {
            let Some(node) = &node.items else { return };
            for item in items {
                without_null_below(node, item);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
