//! Who owns whom, over all resources. Pure: it takes in what the watches tell and says whose fate to look at.

use std::collections::{BTreeSet, HashMap, HashSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

pub(crate) const FOREGROUND: &str = "foregroundDeletion";
pub(crate) const ORPHAN: &str = "orphan";
/// How many uids of deleted objects are remembered.
const REMEMBERED: usize = 10_000;

/// What is known of one object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Item {
    /// [`Served::id`](crate::resources::Served::id) of its resource.
    pub(crate) resource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) owners: Vec<OwnerReference>,
    /// It is being deleted, and waits for those it owns.
    pub(crate) foreground: bool,
    /// It is being deleted, and those it owns are to stay.
    pub(crate) orphaning: bool,
}

impl Item {
    pub(crate) fn new(resource: &str, meta: &ObjectMeta) -> Self {
        let deleting = meta.deletion_timestamp.is_some();
        let has = |name: &str| meta.finalizers.iter().flatten().any(|finalizer| finalizer == name);
        Self {
            resource: resource.to_owned(),
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            owners: meta.owner_references.clone().unwrap_or_default(),
            foreground: deleting && has(FOREGROUND),
            orphaning: deleting && has(ORPHAN),
        }
    }
}

/// All objects by uid, and the way back from owners to those they own.
#[derive(Default)]
pub(crate) struct Graph {
    items: HashMap<String, Item>,
    owned: HashMap<String, BTreeSet<String>>,
    /// Uids that are gone for certain, so nobody has to ask.
    gone: HashSet<String>,
}

impl Graph {
    pub(crate) fn get(&self, uid: &str) -> Option<&Item> {
        self.items.get(uid)
    }

    pub(crate) fn is_gone(&self, uid: &str) -> bool {
        self.gone.contains(uid)
    }

    /// Uids of those that name `uid` as an owner.
    pub(crate) fn dependents(&self, uid: &str) -> impl Iterator<Item = (&String, &Item)> {
        self.owned
            .get(uid)
            .into_iter()
            .flatten()
            .filter_map(|uid| self.items.get_key_value(uid))
    }

    /// Takes in an object as it is now. Returns the uids to look at.
    pub(crate) fn apply(&mut self, uid: &str, item: Item) -> BTreeSet<String> {
        let mut concerned = BTreeSet::new();
        let before = self.items.get(uid).map(|item| item.owners.clone()).unwrap_or_default();
        self.disown(uid, &before);
        for owner in &item.owners {
            self.owned.entry(owner.uid.clone()).or_default().insert(uid.to_owned());
        }
        let wanted = item
            .owners
            .iter()
            .any(|owner| self.items.get(&owner.uid).is_none_or(|owner| owner.foreground));
        if item.foreground || item.orphaning || wanted {
            concerned.insert(uid.to_owned());
        }
        // An owner that waits may wait no longer for one that has let go of it.
        concerned.extend(self.waiting(&before));
        self.items.insert(uid.to_owned(), item);
        concerned
    }

    /// Takes in that an object is gone.
    pub(crate) fn remove(&mut self, uid: &str) -> BTreeSet<String> {
        let mut concerned = BTreeSet::new();
        if self.gone.len() >= REMEMBERED {
            self.gone.clear();
        }
        self.gone.insert(uid.to_owned());
        if let Some(item) = self.forget(uid) {
            concerned.extend(self.waiting(&item.owners));
        }
        concerned.extend(self.owned.get(uid).into_iter().flatten().cloned());
        concerned
    }

    /// Drops an object without a word on whether it is gone: its resource is no longer watched.
    pub(crate) fn forget(&mut self, uid: &str) -> Option<Item> {
        let item = self.items.remove(uid)?;
        self.disown(uid, &item.owners);
        Some(item)
    }

    /// Uids of all objects of a resource.
    pub(crate) fn of_resource(&self, resource: &str) -> HashSet<String> {
        self.items
            .iter()
            .filter(|(_, item)| item.resource == resource)
            .map(|(uid, _)| uid.clone())
            .collect()
    }

    fn waiting<'a>(&'a self, owners: &'a [OwnerReference]) -> impl Iterator<Item = String> + 'a {
        owners
            .iter()
            .filter(|owner| self.items.get(&owner.uid).is_some_and(|owner| owner.foreground))
            .map(|owner| owner.uid.clone())
    }

    fn disown(&mut self, uid: &str, owners: &[OwnerReference]) {
        for owner in owners {
            if let Some(owned) = self.owned.get_mut(&owner.uid) {
                owned.remove(uid);
                if owned.is_empty() {
                    self.owned.remove(&owner.uid);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn item(meta: Value) -> Item {
        Item::new("pods.", &serde_json::from_value(meta).unwrap())
    }

    fn owned_by(uid: &str) -> Value {
        json!({ "name": "x", "ownerReferences": [{ "apiVersion": "v1", "kind": "Pod", "name": "owner", "uid": uid }] })
    }

    fn uids(concerned: &BTreeSet<String>) -> Vec<&str> {
        concerned.iter().map(String::as_str).collect()
    }

    #[test]
    fn an_object_whose_owner_is_known_is_left_alone() {
        let mut graph = Graph::default();
        assert!(graph.apply("owner", item(json!({ "name": "owner" }))).is_empty());
        assert!(graph.apply("child", item(owned_by("owner"))).is_empty());
    }

    #[test]
    fn an_object_whose_owner_was_never_seen_is_looked_at() {
        let mut graph = Graph::default();
        assert_eq!(uids(&graph.apply("child", item(owned_by("owner")))), ["child"]);
    }

    #[test]
    fn when_an_owner_goes_those_it_owns_are_looked_at() {
        let mut graph = Graph::default();
        graph.apply("owner", item(json!({ "name": "owner" })));
        graph.apply("a", item(owned_by("owner")));
        graph.apply("b", item(owned_by("owner")));
        assert_eq!(uids(&graph.remove("owner")), ["a", "b"]);
        assert!(graph.is_gone("owner"));
    }

    #[test]
    fn an_owner_that_waits_is_looked_at_when_one_it_owns_goes_or_lets_go() {
        let mut graph = Graph::default();
        graph.apply("a", item(owned_by("owner")));
        graph.apply("b", item(owned_by("owner")));
        let waiting = json!({ "name": "owner", "deletionTimestamp": "2026-11-01T10:00:00Z", "finalizers": ["foregroundDeletion"] });
        assert_eq!(uids(&graph.apply("owner", item(waiting))), ["owner"]);
        assert_eq!(uids(&graph.remove("a")), ["owner"]);
        assert_eq!(uids(&graph.apply("b", item(json!({ "name": "b" })))), ["owner"]);
        assert_eq!(graph.dependents("owner").count(), 0);
    }

    #[test]
    fn an_object_added_to_an_owner_that_waits_is_looked_at() {
        let mut graph = Graph::default();
        let waiting = json!({ "name": "owner", "deletionTimestamp": "2026-11-01T10:00:00Z", "finalizers": ["foregroundDeletion"] });
        graph.apply("owner", item(waiting));
        assert_eq!(uids(&graph.apply("late", item(owned_by("owner")))), ["late"]);
    }

    #[test]
    fn what_is_only_forgotten_counts_as_neither_there_nor_gone() {
        let mut graph = Graph::default();
        graph.apply("owner", item(json!({ "name": "owner" })));
        graph.forget("owner");
        assert!(graph.get("owner").is_none() && !graph.is_gone("owner"));
    }

    #[test]
    fn finalizers_only_count_on_objects_being_deleted() {
        let idle = item(json!({ "name": "a", "finalizers": ["orphan", "foregroundDeletion"] }));
        assert!(!idle.foreground && !idle.orphaning);
    }
}
