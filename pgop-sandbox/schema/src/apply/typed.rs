//! Objects as server-side apply sees them: which fields there are, what changed, how two merge, what to take away.
//!
//! A *leaf* is owned and replaced as a whole: scalars, atomic lists and maps, and everything empty. Items of lists are found by
//! their keys, or by their value in sets.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use serde_json::{Map, Value};

use super::fields::{Element, FieldSet};
use crate::node::{List, Node, item_key};

/// What is known where nothing is known: maps are granular, lists atomic.
static UNKNOWN: LazyLock<Node> = LazyLock::new(Node::any);

fn below<'a>(node: &'a Node, name: &str) -> &'a Node {
    node.field(name).unwrap_or(&UNKNOWN)
}

fn items_of(node: &Node) -> &Node {
    node.items.as_deref().unwrap_or(&UNKNOWN)
}

/// A value's parts.
enum Parts<'a> {
    Leaf,
    Fields(&'a Map<String, Value>),
    Items(&'a [Value]),
}

fn parts<'a>(node: &Node, value: &'a Value) -> Parts<'a> {
    match value {
        Value::Object(fields) if !node.atomic => Parts::Fields(fields),
        Value::Array(items) if node.list != List::Atomic => Parts::Items(items),
        _ => Parts::Leaf,
    }
}

/// How an item of a list is told from the others.
fn element(node: &Node, at: usize, item: &Value) -> Element {
    match &node.list {
        List::Map(keys) => match item_key(keys, item, node.items.as_deref()) {
            Some(key) => Element::key(&key),
            None => Element::Index(at as u64),
        },
        List::Set => Element::Value(item.to_string()),
        List::Atomic => Element::Index(at as u64),
    }
}

fn elements<'a>(node: &Node, items: &'a [Value]) -> Vec<(Element, &'a Value)> {
    items
        .iter()
        .enumerate()
        .map(|(at, item)| (element(node, at, item), item))
        .collect()
}

/// All fields that an applied value names.
pub(super) fn field_set(node: &Node, value: &Value) -> FieldSet {
    match parts(node, value) {
        Parts::Fields(fields) if !fields.is_empty() => {
            let children = fields.iter().map(|(name, value)| {
                let mut set = field_set(below(node, name), value);
                set.member |= !node.properties.contains_key(name); // a map's entry is something that was said by itself
                (Element::field(name), set)
            });
            FieldSet {
                member: false,
                children: children.collect(),
            }
        }
        Parts::Items(items) if !items.is_empty() => {
            let mut children = BTreeMap::<Element, FieldSet>::new();
            for (element, item) in elements(node, items) {
                let set = field_set(items_of(node), item).union(&FieldSet::leaf());
                let merged = children.get(&element).map(|before| before.union(&set)).unwrap_or(set);
                children.insert(element, merged);
            }
            FieldSet {
                member: false,
                children,
            }
        }
        _ => FieldSet::leaf(),
    }
}

/// Makes declared fields members of which something below is: whoever sets `spec.template.spec` has set `spec.template`.
pub(super) fn with_named_fields(node: &Node, set: &FieldSet) -> FieldSet {
    let children = set.children.iter().map(|(element, child)| {
        let (declared, node) = match element {
            Element::Field(name) => (node.properties.contains_key(name), below(node, name)),
            _ => (false, items_of(node)),
        };
        let mut child = with_named_fields(node, child);
        child.member |= declared;
        (element.clone(), child)
    });
    FieldSet {
        member: set.member,
        children: children.collect(),
    }
}

/// The difference of two objects.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) added: FieldSet,
    pub(super) modified: FieldSet,
    pub(super) removed: FieldSet,
}

impl Comparison {
    pub(super) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }
}

/// What changed. `structs`: the fields that count as always there, as Go's structs are.
pub(super) fn compare(
    node: &Node,
    before: Option<&Value>,
    after: Option<&Value>,
    structs: &BTreeSet<&str>,
) -> Comparison {
    let mut compare = Compare {
        structs,
        path: Vec::new(),
        result: Comparison::default(),
    };
    compare.value(node, before, after);
    compare.result
}

struct Compare<'a> {
    structs: &'a BTreeSet<&'a str>,
    path: Vec<Element>,
    result: Comparison,
}

impl Compare<'_> {
    fn value(&mut self, node: &Node, before: Option<&Value>, after: Option<&Value>) {
        if before == after {
            return;
        }
        match (
            before.map(|value| parts(node, value)),
            after.map(|value| parts(node, value)),
        ) {
            (None | Some(Parts::Fields(_)), Some(Parts::Fields(_))) | (Some(Parts::Fields(_)), None) => {
                self.fields(node, before, after);
            }
            (None | Some(Parts::Items(_)), Some(Parts::Items(_))) | (Some(Parts::Items(_)), None) => {
                self.items(node, before, after);
            }
            (Some(Parts::Leaf) | None, Some(Parts::Leaf) | None) => self.leaf(before, after),
            _ => {
                // Another type of value: the place was modified, and what is below is gone or new.
                self.value(node, before, None);
                self.value(node, None, after);
                self.result.modified.insert(&self.path);
            }
        }
    }

    fn leaf(&mut self, before: Option<&Value>, after: Option<&Value>) {
        let set = match (before, after) {
            (None, _) => &mut self.result.added,
            (_, None) => &mut self.result.removed,
            _ => &mut self.result.modified,
        };
        set.insert(&self.path);
    }

    fn fields(&mut self, node: &Node, before: Option<&Value>, after: Option<&Value>) {
        let empty = Map::new();
        let [old, new] = [before, after].map(|value| value.and_then(Value::as_object).unwrap_or(&empty));
        if old.is_empty() && new.is_empty() {
            if !(before.is_none() && self.is_struct()) {
                self.leaf(before, after);
            }
            return;
        }
        for name in old.keys().chain(new.keys().filter(|name| !old.contains_key(*name))) {
            self.path.push(Element::field(name));
            self.value(below(node, name), old.get(name), new.get(name));
            self.path.pop();
        }
        self.place(before, after);
    }

    fn items(&mut self, node: &Node, before: Option<&Value>, after: Option<&Value>) {
        let [old, new] = [before, after].map(|value| value.and_then(Value::as_array).map_or(&[][..], Vec::as_slice));
        if old.is_empty() && new.is_empty() {
            self.leaf(before, after);
            return;
        }
        let [old, new]: [BTreeMap<Element, &Value>; 2] =
            [old, new].map(|items| elements(node, items).into_iter().collect());
        for element in old
            .keys()
            .chain(new.keys().filter(|element| !old.contains_key(element)))
        {
            self.path.push(element.clone());
            self.value(items_of(node), old.get(element).copied(), new.get(element).copied());
            self.path.pop();
        }
        self.place(before, after);
    }

    /// Whether the place itself came or went.
    fn place(&mut self, before: Option<&Value>, after: Option<&Value>) {
        if (before.is_none() || after.is_none()) && !self.is_struct() {
            self.leaf(before, after);
        }
    }

    fn is_struct(&self) -> bool {
        self.path
            .iter()
            .all(|element| matches!(element, Element::Field(name) if self.structs.contains(name.as_str())))
    }
}

/// `applied` merged into `live`.
pub(super) fn merge(node: &Node, live: &Value, applied: &Value) -> Value {
    match (parts(node, live), parts(node, applied)) {
        (Parts::Fields(live), Parts::Fields(applied)) => {
            let mut merged = live.clone();
            for (name, value) in applied {
                let value = match live.get(name) {
                    Some(live) => merge(below(node, name), live, value),
                    None => value.clone(),
                };
                merged.insert(name.clone(), value);
            }
            Value::Object(merged)
        }
        (Parts::Items(live), Parts::Items(applied)) => merge_items(node, live, applied),
        _ => applied.clone(),
    }
}

/// The applied order wins. An item that only the live list has stays behind the shared item that it follows there.
fn merge_items(node: &Node, live: &[Value], applied: &[Value]) -> Value {
    let live = elements(node, live);
    let applied = elements(node, applied);
    let in_live = |element: &Element| live.iter().find(|(known, _)| known == element).map(|(_, item)| *item);
    let is_applied: BTreeSet<&Element> = applied.iter().map(|(element, _)| element).collect();
    let mut merged = Vec::with_capacity(live.len().max(applied.len()));
    let mut done = BTreeSet::new();
    let mut rest = live.iter().peekable();
    let mut shared = applied
        .iter()
        .map(|(element, _)| element)
        .filter(|element| in_live(element).is_some());
    let mut next_shared = shared.next();
    for (element, item) in &applied {
        // Up to the next item that both have, live-only items come first. Shared items on the way are placed by the applied order.
        while let Some((known, item)) = rest.next_if(|(known, _)| {
            !is_applied.contains(known) || done.contains(known) || next_shared.is_some_and(|next| next != known)
        }) {
            if !is_applied.contains(known) {
                merged.push((*item).clone());
            }
        }
        merged.push(in_live(element).map_or_else(|| (*item).clone(), |live| merge(items_of(node), live, item)));
        done.insert(element);
        if next_shared == Some(element) {
            next_shared = shared.next();
        }
    }
    let left = rest.filter(|(known, _)| !is_applied.contains(known));
    merged.extend(left.map(|(_, item)| (*item).clone()));
    Value::Array(merged)
}

/// Takes the members of a set out of a value.
pub(super) fn remove(node: &Node, value: &mut Value, gone: &FieldSet) {
    if gone.is_empty() {
        return;
    }
    match value {
        Value::Object(fields) if !node.atomic => {
            fields.retain(|name, value| match gone.children.get(&Element::field(name)) {
                Some(gone) if gone.member => false,
                Some(gone) => {
                    remove(below(node, name), value, gone);
                    true
                }
                None => true,
            });
        }
        Value::Array(items) if node.list != List::Atomic => {
            let mut at = 0;
            items.retain_mut(|item| {
                let element = element(node, at, item);
                at += 1;
                match gone.children.get(&element) {
                    Some(gone) if gone.member => false,
                    Some(gone) => {
                        remove(items_of(node), item, gone);
                        true
                    }
                    None => true,
                }
            });
        }
        _ => {}
    }
}
