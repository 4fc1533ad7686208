//! `metadata.managedFields`: who owns what.

use serde_json::{Map, Value, json};

use super::{Manager, fields::FieldSet};

/// How a manager came to own fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

impl Operation {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// One entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) manager: String,
    pub(super) operation: Operation,
    pub(super) api_version: String,
    pub(super) subresource: Option<String>,
    pub(super) time: Option<String>,
    pub(super) fields: FieldSet,
}

impl Entry {
    pub(super) fn new(manager: &Manager<'_>, operation: Operation, fields: FieldSet) -> Self {
        Self {
            manager: manager.name.to_owned(),
            operation,
            api_version: manager.api_version.to_owned(),
            subresource: manager.subresource.map(str::to_owned),
            time: Some(now(manager)),
            fields,
        }
    }

    /// Whether the entry is this manager's. Appliers stay the same when they move on to another version of the type.
    pub(super) fn is_of(&self, manager: &Manager<'_>, operation: Operation) -> bool {
        self.manager == manager.name
            && self.operation == operation
            && self.subresource.as_deref() == manager.subresource
            && (operation == Operation::Apply || self.api_version == manager.api_version)
    }

    fn parse(entry: &Value) -> Option<Self> {
        let text = |name: &str| {
            entry
                .get(name)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let operation = match text("operation")?.as_str() {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        };
        Some(Self {
            manager: text("manager").unwrap_or_default(),
            operation,
            api_version: text("apiVersion")?,
            subresource: text("subresource"),
            time: text("time"),
            fields: FieldSet::parse(entry.get("fieldsV1")?),
        })
    }

    fn to_json(&self) -> Value {
        let mut entry = Map::new();
        entry.insert("manager".to_owned(), json!(self.manager));
        entry.insert("operation".to_owned(), json!(self.operation.name()));
        entry.insert("apiVersion".to_owned(), json!(self.api_version));
        if let Some(time) = &self.time {
            entry.insert("time".to_owned(), json!(time));
        }
        entry.insert("fieldsType".to_owned(), json!("FieldsV1"));
        entry.insert("fieldsV1".to_owned(), self.fields.to_json());
        if let Some(subresource) = &self.subresource {
            entry.insert("subresource".to_owned(), json!(subresource));
        }
        Value::Object(entry)
    }
}

/// The present, with seconds.
pub(super) fn now(manager: &Manager<'_>) -> String {
    manager.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The entries of an object. `None` when one of them can't be read.
pub(super) fn read(object: &Value) -> Option<Vec<Entry>> {
    let list = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    list.into_iter().flatten().map(Entry::parse).collect()
}

/// A copy of an object in which no manager has a time.
pub(super) fn without_times(object: &Value) -> Value {
    let mut object = object.clone();
    for entry in object
        .pointer_mut("/metadata/managedFields")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if let Some(entry) = entry.as_object_mut() {
            entry.remove("time");
        }
    }
    object
}

/// Whether a client asks to forget all managers: a list of one empty entry.
pub(super) fn is_reset(object: &Value) -> bool {
    object.pointer("/metadata/managedFields") == Some(&json!([{}]))
}

/// Writes the entries, in Kubernetes' order.
pub(super) fn write(object: &mut Value, mut entries: Vec<Entry>) {
    entries.retain(|entry| !entry.fields.is_empty());
    entries.sort_by(|a, b| {
        let order = |entry: &Entry| {
            (
                entry.operation,
                entry.time.clone(),
                entry.manager.clone(),
                entry.api_version.clone(),
                entry.subresource.clone(),
            )
        };
        order(a).cmp(&order(b))
    });
    let list: Vec<Value> = entries.iter().map(Entry::to_json).collect();
    let Some(object) = object.as_object_mut() else { return };
    let Some(metadata) = object.entry("metadata").or_insert_with(|| json!({})).as_object_mut() else {
        return;
    };
    if list.is_empty() {
        metadata.remove("managedFields");
    } else {
        metadata.insert("managedFields".to_owned(), Value::Array(list));
    }
}
