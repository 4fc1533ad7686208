//! Strategic merge patch.
//! <https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/#use-a-strategic-merge-patch-to-update-a-deployment>
//!
//! A JSON merge patch that knows the lists: with a merge key, items are merged instead of the list being replaced. Directives
//! in the patch say more: `$patch` (replace, delete, merge), `$deleteFromPrimitiveList/<list>`, `$setElementOrder/<list>` and
//! `$retainKeys`.

use serde_json::{Map, Value};

use crate::{Schema, node::Node};

const PATCH: &str = "$patch";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const ORDER: &str = "$setElementOrder/";
const RETAIN_KEYS: &str = "$retainKeys";

/// Why a patch can't be applied. The words are those of Kubernetes.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum StrategicError {
    /// `$patch` has a value that is not known.
    #[error("Unknown patch type: {0}")]
    UnknownDirective(String),
    /// An item in a patch of a merged list does not say which item it is about.
    #[error("map: {item} does not contain declared merge key: {key}")]
    NoMergeKey {
        /// The item, as JSON.
        item: String,
        /// The field that it lacks.
        key: String,
    },
    /// A directive does not have the shape it must have.
    #[error("invalid patch: {directive} must be {expected}")]
    BadDirective {
        /// Such as `$retainKeys`.
        directive: String,
        /// Such as `a list`.
        expected: &'static str,
    },
}

/// `live` with the patch merged into it.
///
/// # Errors
/// When directives in the patch are malformed, or items lack their merge key.
pub fn merge(schema: &Schema, live: &Value, patch: &Value) -> Result<Value, StrategicError> {
    let Some(patch) = patch.as_object() else {
        return Ok(patch.clone());
    };
    let empty = Map::new();
    let live = live.as_object().unwrap_or(&empty);
    object(&schema.root, live, patch).map(Value::Object)
}

/// What `$patch` asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Directive {
    Merge,
    Replace,
    Delete,
}

fn directive(patch: &Map<String, Value>) -> Result<Directive, StrategicError> {
    match patch.get(PATCH) {
        None => Ok(Directive::Merge),
        Some(Value::String(text)) if text == "merge" => Ok(Directive::Merge),
        Some(Value::String(text)) if text == "replace" => Ok(Directive::Replace),
        Some(Value::String(text)) if text == "delete" => Ok(Directive::Delete),
        Some(other) => Err(StrategicError::UnknownDirective(
            other.as_str().map_or_else(|| other.to_string(), str::to_owned),
        )),
    }
}

fn object(
    node: &Node,
    live: &Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<Map<String, Value>, StrategicError> {
    match directive(patch)? {
        Directive::Delete => return Ok(Map::new()),
        Directive::Replace => return Ok(without_directives(patch)),
        Directive::Merge => {}
    }
    let mut merged = live.clone();
    retain_keys(&mut merged, patch)?;
    for (name, value) in patch.iter().filter(|(name, _)| !is_directive(name)) {
        if value.is_null() {
            merged.remove(name);
            continue;
        }
        let field = node.field(name);
        let result = match (merged.get(name), value) {
            (before, Value::Object(patch)) => match (before.and_then(Value::as_object), directive(patch)?) {
                (_, Directive::Delete) => None,
                (before, _) => {
                    let empty = Map::new();
                    Some(Value::Object(object(
                        field.unwrap_or(&Node::any()),
                        before.unwrap_or(&empty),
                        patch,
                    )?))
                }
            },
            (before, Value::Array(items)) => {
                let before = before.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                Some(Value::Array(list(field, before, items)?))
            }
            (_, scalar) => Some(scalar.clone()),
        };
        match result {
            Some(result) => merged.insert(name.clone(), result),
            None => merged.remove(name),
        };
    }
    delete_from_lists(&mut merged, patch)?;
    order_lists(node, &mut merged, live, patch)?;
    Ok(merged)
}

fn list(node: Option<&Node>, live: &[Value], patch: &[Value]) -> Result<Vec<Value>, StrategicError> {
    let is_merged = node.is_some_and(|node| node.patch.merge);
    let key = node.and_then(|node| node.patch.key.as_deref());
    match (is_merged, key) {
        (false, _) => Ok(patch.iter().map(cleaned).collect()),
        (true, None) => {
            let mut merged = live.to_vec();
            for item in patch {
                if !merged.contains(item) {
                    merged.push(item.clone());
                }
            }
            Ok(merged)
        }
        (true, Some(key)) => {
            let any = Node::any();
            let node = node.and_then(|node| node.items.as_deref()).unwrap_or(&any);
            keyed_list(node, key, live, patch)
        }
    }
}

fn keyed_list(node: &Node, key: &str, live: &[Value], patch: &[Value]) -> Result<Vec<Value>, StrategicError> {
    let mut merged = live.to_vec();
    // `{$patch: replace}` alone in a list replaces the list by the other items.
    for item in patch.iter().filter_map(Value::as_object) {
        if directive(item)? == Directive::Replace && !item.contains_key(key) {
            merged.clear();
        }
    }
    for item in patch {
        let Some(fields) = item.as_object() else {
            return Err(no_merge_key(item, key));
        };
        let directive = directive(fields)?;
        let Some(identity) = fields.get(key) else {
            if directive == Directive::Replace {
                continue;
            }
            return Err(no_merge_key(item, key));
        };
        let same = |item: &Value| item.get(key) == Some(identity);
        if directive == Directive::Delete {
            merged.retain(|item| !same(item));
            continue;
        }
        match merged.iter_mut().find(|item| same(item)) {
            Some(found) => {
                let empty = Map::new();
                *found = Value::Object(object(node, found.as_object().unwrap_or(&empty), fields)?);
            }
            None => merged.push(Value::Object(object(node, &Map::new(), fields)?)),
        }
    }
    Ok(merged)
}

fn no_merge_key(item: &Value, key: &str) -> StrategicError {
    StrategicError::NoMergeKey {
        item: item.to_string(),
        key: key.to_owned(),
    }
}

/// `$retainKeys` lists the only fields that stay.
fn retain_keys(merged: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<(), StrategicError> {
    let Some(keys) = patch.get(RETAIN_KEYS) else {
        return Ok(());
    };
    let keys = directive_list(RETAIN_KEYS, keys)?;
    merged.retain(|name, _| keys.iter().any(|key| key == name));
    Ok(())
}

fn delete_from_lists(merged: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<(), StrategicError> {
    for (name, gone) in patch {
        let Some(list) = name.strip_prefix(DELETE_FROM) else {
            continue;
        };
        let gone = directive_list(name, gone)?;
        if let Some(items) = merged.get_mut(list).and_then(Value::as_array_mut) {
            items.retain(|item| !gone.contains(item));
        }
    }
    Ok(())
}

/// `$setElementOrder` lists the items as the client wants them. Items that it does not list keep their place before the next
/// item that it does list.
fn order_lists(
    node: &Node,
    merged: &mut Map<String, Value>,
    live: &Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<(), StrategicError> {
    for (name, order) in patch {
        let Some(list) = name.strip_prefix(ORDER) else { continue };
        let order = directive_list(name, order)?;
        let key = node.field(list).and_then(|node| node.patch.key.as_deref());
        let identity = |item: &Value| match key {
            Some(key) => item.get(key).cloned().unwrap_or_default(),
            None => item.clone(),
        };
        let order: Vec<Value> = order.iter().map(identity).collect();
        let before: Vec<Value> = live
            .get(list)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(identity)
            .collect();
        if let Some(items) = merged.get_mut(list).and_then(Value::as_array_mut) {
            *items = ordered(std::mem::take(items), &identity, &order, &before);
        }
    }
    Ok(())
}

fn ordered(items: Vec<Value>, identity: &dyn Fn(&Value) -> Value, order: &[Value], before: &[Value]) -> Vec<Value> {
    let (listed, others): (Vec<Value>, Vec<Value>) =
        items.into_iter().partition(|item| order.contains(&identity(item)));
    let mut listed = listed;
    listed.sort_by_key(|item| order.iter().position(|wanted| *wanted == identity(item)));
    let place = |item: &Value| before.iter().position(|known| *known == identity(item));
    let mut result = Vec::with_capacity(listed.len() + others.len());
    let mut others = others.into_iter().peekable();
    for item in listed {
        // An item that was behind the other before stays behind it.
        while let (Some(mine), Some(other)) = (place(&item), others.peek().and_then(place)) {
            if other > mine {
                break;
            }
            result.extend(others.next());
        }
        result.push(item);
    }
    result.extend(others);
    result
}

fn directive_list<'a>(directive: &str, value: &'a Value) -> Result<&'a [Value], StrategicError> {
    let bad = || StrategicError::BadDirective {
        directive: directive.to_owned(),
        expected: "a list",
    };
    value.as_array().map(Vec::as_slice).ok_or_else(bad)
}

fn is_directive(name: &str) -> bool {
    name == PATCH || name == RETAIN_KEYS || name.starts_with(DELETE_FROM) || name.starts_with(ORDER)
}

fn without_directives(patch: &Map<String, Value>) -> Map<String, Value> {
    let kept = patch
        .iter()
        .filter(|(name, value)| !is_directive(name) && !value.is_null());
    kept.map(|(name, value)| (name.clone(), cleaned(value))).collect()
}

/// A value that arrives as a whole, without directives and nulls.
fn cleaned(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(without_directives(fields)),
        Value::Array(items) => items.iter().map(cleaned).collect(),
        scalar => scalar.clone(),
    }
}

#[cfg(test)]
mod tests;
