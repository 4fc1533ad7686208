//! Sets of fields, as `metadata.managedFields` writes them (`FieldsV1`).
//! <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#System> and
//! <https://pkg.go.dev/sigs.k8s.io/structured-merge-diff/v6/fieldpath>

use std::{collections::BTreeMap, fmt};

use serde_json::{Map, Value, json};

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Element {
    /// A field of an object or the key of a map.
    Field(String),
    /// An item of a list-map, by its keys: JSON with sorted keys.
    Key(String),
    /// An item of a set: JSON.
    Value(String),
    /// An item of a list without keys. Kubernetes does not write it, but reads it.
    Index(u64),
}

impl Element {
    pub(super) fn field(name: &str) -> Self {
        Self::Field(name.to_owned())
    }

    pub(super) fn key(keys: &Map<String, Value>) -> Self {
        let sorted: BTreeMap<&String, &Value> = keys.iter().collect();
        Self::Key(json!(sorted).to_string())
    }

    /// Reads `f:name`, `k:{...}`, `v:...` or `i:0`.
    fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        match kind {
            "f" => Some(Self::field(rest)),
            "k" => Some(Self::key(serde_json::from_str::<Value>(rest).ok()?.as_object()?)),
            "v" => Some(Self::Value(serde_json::from_str::<Value>(rest).ok()?.to_string())),
            "i" => rest.parse().ok().map(Self::Index),
            _ => None,
        }
    }

    fn to_key(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(keys) => format!("k:{keys}"),
            Self::Value(value) => format!("v:{value}"),
            Self::Index(index) => format!("i:{index}"),
        }
    }
}

/// As Kubernetes writes paths in conflicts: `.spec.containers[name="web"].image`.
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(keys) => {
                let keys: BTreeMap<String, Value> = serde_json::from_str(keys).unwrap_or_default();
                let pairs: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
                write!(f, "[{}]", pairs.join(","))
            }
            Self::Value(value) => write!(f, "[={value}]"),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// A set of fields: a tree, in which a field and something below it can both be members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FieldSet {
    pub(super) member: bool,
    pub(super) children: BTreeMap<Element, FieldSet>,
}

impl FieldSet {
    /// Of the place itself and nothing below.
    pub(super) fn leaf() -> Self {
        Self {
            member: true,
            children: BTreeMap::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.member && self.children.values().all(Self::is_empty)
    }

    pub(super) fn insert(&mut self, path: &[Element]) {
        match path.split_first() {
            None => self.member = true,
            Some((first, rest)) => self.children.entry(first.clone()).or_default().insert(rest),
        }
    }

    pub(super) fn union(&self, other: &Self) -> Self {
        self.combine(other, |mine, theirs| mine || theirs)
    }

    pub(super) fn difference(&self, other: &Self) -> Self {
        self.combine(other, |mine, theirs| mine && !theirs)
    }

    pub(super) fn intersection(&self, other: &Self) -> Self {
        self.combine(other, |mine, theirs| mine && theirs)
    }

    fn combine(&self, other: &Self, keep: fn(bool, bool) -> bool) -> Self {
        let nothing = Self::default();
        let names = self
            .children
            .keys()
            .chain(other.children.keys().filter(|name| !self.children.contains_key(*name)));
        let children = names.filter_map(|name| {
            let mine = self.children.get(name).unwrap_or(&nothing);
            let theirs = other.children.get(name).unwrap_or(&nothing);
            let child = mine.combine(theirs, keep);
            (!child.is_empty()).then(|| (name.clone(), child))
        });
        Self {
            member: keep(self.member, other.member),
            children: children.collect(),
        }
    }

    /// Forgets a path with all that is below.
    pub(super) fn forget(&mut self, path: &[&str]) {
        match path {
            [] => {}
            [last] => drop(self.children.remove(&Element::field(last))),
            [first, rest @ ..] => {
                let name = Element::field(first);
                if let Some(child) = self.children.get_mut(&name) {
                    child.forget(rest);
                    if child.is_empty() {
                        self.children.remove(&name);
                    }
                }
            }
        }
    }

    /// Forgets that the place of a path is a member, and keeps what is below.
    pub(super) fn forget_place(&mut self, name: &str) {
        if let Some(child) = self.children.get_mut(&Element::field(name)) {
            child.member = false;
            if child.is_empty() {
                self.children.remove(&Element::field(name));
            }
        }
    }

    /// The members' paths, such as `.spec.replicas`.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect("", &mut paths);
        paths
    }

    fn collect(&self, at: &str, paths: &mut Vec<String>) {
        if self.member && !at.is_empty() {
            paths.push(at.to_owned());
        }
        for (element, child) in &self.children {
            child.collect(&format!("{at}{element}"), paths);
        }
    }

    /// Reads `fieldsV1`. What is not understood is left out.
    pub(super) fn parse(fields: &Value) -> Self {
        let Some(fields) = fields.as_object() else {
            return Self::default();
        };
        let children = fields.iter().filter_map(|(key, below)| {
            let mut child = Self::parse(below);
            child.member |= below
                .as_object()
                .is_some_and(|below| below.is_empty() || below.contains_key("."));
            Some((Element::parse(key)?, child))
        });
        Self {
            member: false,
            children: children.collect(),
        }
    }

    /// Writes `fieldsV1`.
    pub(super) fn to_json(&self) -> Value {
        let mut fields = Map::new();
        for (element, child) in &self.children {
            let mut below = child.to_json();
            if child.member && !child.children.is_empty() {
                below["."] = json!({});
            }
            fields.insert(element.to_key(), below);
        }
        Value::Object(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> Value {
        json!({"f:metadata": {"f:labels": {".": {}, "f:app": {}}, "f:finalizers": {"v:\"a\"": {}}},
            "f:spec": {"f:replicas": {}, "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:name": {}}}}})
    }

    #[test]
    fn fields_v1_is_read_and_written_unchanged() {
        assert_eq!(FieldSet::parse(&fields()).to_json(), fields());
    }

    #[test]
    fn keys_are_sorted_so_that_equal_paths_are_equal() {
        let set = FieldSet::parse(&json!({"f:ports": {"k:{ \"protocol\": \"TCP\", \"containerPort\": 80 }": {}}}));
        assert_eq!(
            set.to_json(),
            json!({"f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {}}})
        );
    }

    #[test]
    fn paths_are_written_as_in_conflicts() {
        assert_eq!(
            FieldSet::parse(&fields()).paths(),
            [
                r#".metadata.finalizers[="a"]"#,
                ".metadata.labels",
                ".metadata.labels.app",
                r#".spec.ports[containerPort=80,protocol="TCP"]"#,
                r#".spec.ports[containerPort=80,protocol="TCP"].name"#,
                ".spec.replicas",
            ]
        );
    }

    #[test]
    fn sets_are_sets() {
        let one = FieldSet::parse(&json!({"f:a": {".": {}, "f:b": {}}, "f:c": {}}));
        let other = FieldSet::parse(&json!({"f:a": {"f:b": {}}, "f:d": {}}));
        assert_eq!(
            one.union(&other).to_json(),
            json!({"f:a": {".": {}, "f:b": {}}, "f:c": {}, "f:d": {}})
        );
        assert_eq!(one.difference(&other).to_json(), json!({"f:a": {}, "f:c": {}}));
        assert_eq!(one.intersection(&other).to_json(), json!({"f:a": {"f:b": {}}}));
        assert!(one.difference(&one).is_empty());
    }
}
