//! What a controller has done and its cache does not show yet.
//!
//! Controllers whose pods have random names would make too many if they planned on a cache that lags behind their own writes.
//! They choose the name before the request, note it here, and plan again only when the cache has shown it.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use tokio::time::Instant;

use crate::{cache::Change, ownership::controller_of, queue::Key};

/// After this time a write counts as lost, as in Kubernetes' own controllers.
const GIVE_UP: Duration = Duration::from_secs(300);

struct Pending {
    /// Names of pods that were asked for.
    appear: HashSet<String>,
    /// Uids of pods that were told to go.
    vanish: HashSet<String>,
    since: Instant,
}

impl Pending {
    fn new() -> Self {
        Self {
            appear: HashSet::new(),
            vanish: HashSet::new(),
            since: Instant::now(),
        }
    }
}

/// Pending writes per owner, for owners of one kind.
pub(crate) struct Expectations {
    owner_kind: &'static str,
    pending: Mutex<HashMap<Key, Pending>>,
}

impl Expectations {
    pub(crate) fn new(owner_kind: &'static str) -> Self {
        Self {
            owner_kind,
            pending: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Call before the pod is created.
    pub(crate) fn will_create(&self, owner: &Key, pod: &str) {
        let mut pending = self.lock();
        let pending = pending.entry(owner.clone()).or_insert_with(Pending::new);
        pending.appear.insert(pod.to_owned());
        pending.since = Instant::now();
    }

    /// Call when the creation failed.
    pub(crate) fn did_not_create(&self, owner: &Key, pod: &str) {
        if let Some(pending) = self.lock().get_mut(owner) {
            pending.appear.remove(pod);
        }
    }

    /// Call before the pod is deleted.
    pub(crate) fn will_delete(&self, owner: &Key, uid: &str) {
        let mut pending = self.lock();
        let pending = pending.entry(owner.clone()).or_insert_with(Pending::new);
        pending.vanish.insert(uid.to_owned());
        pending.since = Instant::now();
    }

    /// Call when the deletion failed.
    pub(crate) fn did_not_delete(&self, owner: &Key, uid: &str) {
        if let Some(pending) = self.lock().get_mut(owner) {
            pending.vanish.remove(uid);
        }
    }

    /// Takes in what the pods' watch tells.
    pub(crate) fn observe(&self, change: &Change<Pod>) {
        let mut all = self.lock();
        for pod in change.versions() {
            let Some(owner) = controller_of(&pod.metadata).filter(|owner| owner.kind == self.owner_kind) else {
                continue;
            };
            let key = Key::new(pod.namespace().unwrap_or_default(), &owner.name);
            let Some(pending) = all.get_mut(&key) else { continue };
            pending.appear.remove(&pod.name_any());
            let going = pod.metadata.deletion_timestamp.is_some()
                || change.new.as_ref().is_none_or(|new| new.uid() != pod.uid());
            if going {
                pending.vanish.remove(&pod.uid().unwrap_or_default());
            }
        }
    }

    /// Whether the cache shows all that was done for this owner.
    pub(crate) fn met(&self, owner: &Key) -> bool {
        let mut all = self.lock();
        let Some(pending) = all.get(owner) else { return true };
        let met = (pending.appear.is_empty() && pending.vanish.is_empty()) || pending.since.elapsed() > GIVE_UP;
        if met {
            all.remove(owner);
        }
        met
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    fn pod(name: &str, uid: &str, deleting: bool) -> Arc<Pod> {
        let mut pod = json!({
            "metadata": {
                "name": name, "namespace": "shop", "uid": uid,
                "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "rs", "controller": true,
                }],
            },
        });
        if deleting {
            pod["metadata"]["deletionTimestamp"] = json!("2026-11-01T10:00:00Z");
        }
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn owner() -> Key {
        Key::new("shop", "web")
    }

    #[test]
    fn a_creation_is_met_when_the_pod_shows() {
        let expectations = Expectations::new("ReplicaSet");
        expectations.will_create(&owner(), "web-abcde");
        assert!(!expectations.met(&owner()));
        expectations.observe(&Change {
            old: None,
            new: Some(pod("web-other", "1", false)),
        });
        assert!(!expectations.met(&owner()));
        expectations.observe(&Change {
            old: None,
            new: Some(pod("web-abcde", "2", false)),
        });
        assert!(expectations.met(&owner()));
    }

    #[test]
    fn a_failed_creation_is_not_waited_for() {
        let expectations = Expectations::new("ReplicaSet");
        expectations.will_create(&owner(), "web-abcde");
        expectations.did_not_create(&owner(), "web-abcde");
        assert!(expectations.met(&owner()));
    }

    #[test]
    fn a_deletion_is_met_when_the_pod_is_going_or_gone() {
        let expectations = Expectations::new("ReplicaSet");
        expectations.will_delete(&owner(), "1");
        expectations.observe(&Change {
            old: Some(pod("a", "1", false)),
            new: Some(pod("a", "1", false)),
        });
        assert!(!expectations.met(&owner()), "an unrelated update says nothing");
        expectations.observe(&Change {
            old: Some(pod("a", "1", false)),
            new: Some(pod("a", "1", true)),
        });
        assert!(expectations.met(&owner()));

        expectations.will_delete(&owner(), "2");
        expectations.observe(&Change {
            old: Some(pod("b", "2", false)),
            new: None,
        });
        assert!(expectations.met(&owner()));
    }

    #[test]
    fn pods_of_another_kind_of_owner_do_not_count() {
        let expectations = Expectations::new("Job");
        expectations.will_create(&owner(), "web-abcde");
        expectations.observe(&Change {
            old: None,
            new: Some(pod("web-abcde", "2", false)),
        });
        assert!(!expectations.met(&owner()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_write_is_given_up() {
        let expectations = Expectations::new("ReplicaSet");
        expectations.will_create(&owner(), "web-abcde");
        tokio::time::advance(GIVE_UP + Duration::from_secs(1)).await;
        assert!(expectations.met(&owner()));
    }
}
