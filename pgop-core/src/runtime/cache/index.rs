//! What is known, by whose it is: a look costs what its own resource has, however many others there are. Pure: events in, who is concerned out.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde_json::Value;

use super::compact::{Compact, Pool};
use super::seen::{Seen, What};
use crate::label::BACKUPS_OF;
use crate::owner::ResourceKind;
use crate::runtime::backoff::Key;
use crate::runtime::queue::Cause;

/// What ties an object to a resource of its namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Tie {
    /// It was made for that one.
    Made(ResourceKind, Arc<str>),
    /// It holds the backups of the source of that name.
    BackupsOf(Arc<str>),
    /// It is a backup of that one.
    Source(ResourceKind, Arc<str>),
}

/// A list under way. What it does not name is gone.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    pub(crate) what: What,
    /// Of one namespace, or of all.
    pub(crate) namespace: Option<String>,
    /// Its number.
    pub(crate) epoch: u32,
}

/// Something of each namespace, by its name.
type Namespaces<T> = HashMap<Arc<str>, T>;
/// Names of the objects with each tie.
type Tied = HashMap<Tie, BTreeSet<(What, Arc<str>)>>;

/// Every object that is known.
#[derive(Debug, Default)]
pub(crate) struct Index {
    entries: BTreeMap<What, Namespaces<HashMap<Arc<str>, Entry>>>,
    tied: Namespaces<Tied>,
    long: Pool,
}

#[derive(Debug)]
struct Entry {
    compact: Arc<Compact>,
    ties: Box<[Tie]>,
    news: News,
    epoch: u32,
}

/// What an object has to say to whom, in digests: what is as it was concerns nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct News {
    /// To the resource itself: its spec and what people write on it, not the status that we write.
    to_itself: u64,
    /// To those that it is tied to.
    to_others: u64,
    /// A backup that has ended waits for nothing any more.
    over: bool,
}

impl Index {
    /// It is there, or is other than before.
    pub(crate) fn apply<const M: bool>(&mut self, what: What, seen: Seen<M>, epoch: u32) -> Vec<(Key, Cause)> {
        let (namespace, name): (Arc<str>, Arc<str>) = (seen.namespace().into(), seen.name().into());
        let value = seen.kept(what);
        let (ties, news) = (ties(what, &value), News::of(what, &value));
        let compact = Arc::new(Compact::of(value, &mut self.long));
        let entry = Entry {
            compact,
            ties,
            news,
            epoch,
        };
        for tie in &entry.ties {
            let here = self.tied.entry(Arc::clone(&namespace)).or_default();
            here.entry(tie.clone()).or_default().insert((what, Arc::clone(&name)));
        }
        let told = |new: &Entry, old: Option<&Entry>| {
            let mut ties: Vec<Tie> = new.ties.to_vec();
            ties.extend(old.iter().flat_map(|old| old.ties.iter().cloned()));
            let is_new = |field: fn(&News) -> u64| old.is_none_or(|old| field(&old.news) != field(&new.news));
            (ties, is_new(|news| news.to_itself), is_new(|news| news.to_others))
        };
        let names = self
            .entries
            .entry(what)
            .or_default()
            .entry(Arc::clone(&namespace))
            .or_default();
        let old = names.remove(&name);
        let (ties, itself, others) = told(&entry, old.as_ref());
        if let Some(old) = old {
            let left = old.ties.iter().filter(|tie| !entry.ties.contains(tie));
            left.for_each(|tie| untie(&mut self.tied, &namespace, tie, what, &name));
            self.long.forget(&old.compact);
        }
        names.insert(Arc::clone(&name), entry);
        self.touched(what, &namespace, &name, &ties, itself, others)
    }

    /// It is gone.
    pub(crate) fn delete(&mut self, what: What, namespace: &str, name: &str) -> Vec<(Key, Cause)> {
        let Some(names) = self.entries.get_mut(&what).and_then(|all| all.get_mut(namespace)) else {
            return Vec::new();
        };
        let Some(old) = names.remove(name) else {
            return Vec::new();
        };
        if names.is_empty()
            && let Some(all) = self.entries.get_mut(&what)
        {
            all.remove(namespace);
        }
        for tie in &old.ties {
            untie(&mut self.tied, namespace, tie, what, name);
        }
        self.long.forget(&old.compact);
        self.touched(what, namespace, name, &old.ties, true, true)
    }

    /// A list is complete: what was known and is not in it went while nobody watched.
    pub(crate) fn listed(&mut self, listing: &Listing) -> Vec<(Key, Cause)> {
        let in_scope = |namespace: &str| listing.namespace.as_deref().is_none_or(|scope| scope == namespace);
        let all = self.entries.get(&listing.what).into_iter().flatten();
        let vanished: Vec<(Arc<str>, Arc<str>)> = all
            .filter(|(namespace, _)| in_scope(namespace))
            .flat_map(|(namespace, names)| names.iter().map(move |(name, entry)| (namespace, name, entry)))
            .filter(|(.., entry)| entry.epoch != listing.epoch)
            .map(|(namespace, name, _)| (Arc::clone(namespace), Arc::clone(name)))
            .collect();
        vanished
            .iter()
            .flat_map(|(namespace, name)| self.delete(listing.what, namespace, name))
            .collect()
    }

    /// One object.
    pub(crate) fn get(&self, what: What, namespace: &str, name: &str) -> Option<Arc<Compact>> {
        let entry = self.entries.get(&what)?.get(namespace)?.get(name)?;
        Some(Arc::clone(&entry.compact))
    }

    /// Everything with that tie.
    pub(crate) fn tied(&self, namespace: &str, tie: &Tie) -> Vec<(What, Arc<str>, Arc<Compact>)> {
        let all = self
            .tied
            .get(namespace)
            .and_then(|ties| ties.get(tie))
            .into_iter()
            .flatten();
        all.filter_map(|(what, name)| Some((*what, Arc::clone(name), self.get(*what, namespace, name)?)))
            .collect()
    }

    fn touched(
        &self,
        what: What,
        namespace: &str,
        name: &str,
        ties: &[Tie],
        itself: bool,
        others: bool,
    ) -> Vec<(Key, Cause)> {
        let key = |kind: ResourceKind, name: &str| (kind, namespace.to_owned(), name.to_owned());
        let mut touched = Vec::new();
        if let What::Resource(kind) = what {
            if itself {
                touched.push((key(kind, name), Cause::Changed));
            }
            if others && kind != ResourceKind::PgBackup {
                touched.extend(
                    self.waiting(namespace, kind, name)
                        .map(|backup| (backup, Cause::Around)),
                );
            }
        }
        for tie in ties.iter().filter(|_| others) {
            match tie {
                Tie::Made(kind, name) | Tie::Source(kind, name) => touched.push((key(*kind, name), Cause::Around)),
                Tie::BackupsOf(name) => {
                    for kind in [ResourceKind::PgDatabase, ResourceKind::PgCluster] {
                        touched.extend(
                            self.waiting(namespace, kind, name)
                                .map(|backup| (backup, Cause::Around)),
                        );
                    }
                }
            }
        }
        touched.sort();
        touched.dedup();
        touched
    }

    /// Backups of a source that have not ended.
    fn waiting<'a>(&'a self, namespace: &'a str, kind: ResourceKind, source: &str) -> impl Iterator<Item = Key> + 'a {
        let what = What::Resource(ResourceKind::PgBackup);
        let known = self.entries.get(&what).and_then(|all| all.get(namespace));
        let tied = self
            .tied
            .get(namespace)
            .and_then(|ties| ties.get(&Tie::Source(kind, source.into())));
        tied.into_iter()
            .flatten()
            .filter(move |(_, name)| {
                known
                    .and_then(|known| known.get(name))
                    .is_some_and(|backup| !backup.news.over)
            })
            .map(|(_, name)| (ResourceKind::PgBackup, namespace.to_owned(), name.as_ref().to_owned()))
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.entries.values().all(HashMap::is_empty) && self.tied.is_empty() && self.long.len() == 0
    }
}

fn untie(all: &mut Namespaces<Tied>, namespace: &str, tie: &Tie, what: What, name: &str) {
    let Some(ties) = all.get_mut(namespace) else { return };
    if let Some(tied) = ties.get_mut(tie) {
        tied.remove(&(what, name.into()));
        if tied.is_empty() {
            ties.remove(tie);
        }
    }
    if ties.is_empty() {
        all.remove(namespace);
    }
}

fn ties(what: What, value: &Value) -> Box<[Tie]> {
    if let What::Resource(kind) = what {
        let source = (kind == ResourceKind::PgBackup).then(|| source(value)).flatten();
        return source.into_iter().collect();
    }
    let labels = value.pointer("/metadata/labels");
    let label = |key: &str| labels?.get(key)?.as_str().map(Arc::from);
    let made = ResourceKind::ALL
        .into_iter()
        .filter_map(|kind| Some(Tie::Made(kind, label(kind.label())?)));
    made.chain(label(BACKUPS_OF).map(Tie::BackupsOf)).collect()
}

/// The source that a backup names.
fn source(backup: &Value) -> Option<Tie> {
    let source = backup.pointer("/spec/source")?;
    let kind = source.get("kind")?.as_str()?;
    let kind = ResourceKind::ALL.into_iter().find(|known| known.as_str() == kind)?;
    Some(Tie::Source(kind, source.get("name")?.as_str()?.into()))
}

impl News {
    fn of(what: What, value: &Value) -> Self {
        let digest = |pointers: &[&str]| {
            let mut hasher = DefaultHasher::new();
            for pointer in pointers {
                value.pointer(pointer).hash(&mut hasher);
            }
            hasher.finish()
        };
        let What::Resource(kind) = what else {
            return Self {
                to_others: digest(&[""]),
                ..Self::default()
            };
        };
        let written_by_people = [
            "/metadata/uid",
            "/metadata/generation",
            "/metadata/labels",
            "/metadata/annotations",
            "/metadata/deletionTimestamp",
        ];
        let to_others = match kind {
            // Its source's status names the newest one.
            ResourceKind::PgBackup => digest(&["/spec/source", "/status/path", "/status/claim", "/status/finishedAt"]),
            // A backup that waits may ask for anything of its source.
            ResourceKind::PgDatabase | ResourceKind::PgCluster => digest(&["/metadata/uid", "/spec", "/status"]),
        };
        Self {
            to_itself: digest(&written_by_people),
            to_others,
            over: value.pointer("/status/finishedAt").is_some(),
        }
    }
}

#[cfg(test)]
mod tests;
