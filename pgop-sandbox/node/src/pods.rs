//! Which pods the node has: one worker for each that is bound to it.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::Pod;
use pgop_sandbox_kubelet::{KubeletError, Target};
use pgop_sandbox_tasks::{spawn_tracked, supervise};
use tokio::sync::watch;

use crate::pod::worker::PodRun;
use crate::shared::Shared;

struct Worked {
    object: watch::Sender<Option<Arc<Pod>>>,
    run: Arc<PodRun>,
}

/// The workers, by the uid of their pod.
pub(crate) struct Pods {
    shared: Arc<Shared>,
    workers: Mutex<HashMap<String, Worked>>,
}

impl Pods {
    pub(crate) fn new(shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self {
            shared,
            workers: Mutex::default(),
        })
    }

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The pod that is meant.
    pub(crate) fn find(&self, target: &Target) -> Result<Arc<PodRun>, KubeletError> {
        let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers
            .get(&target.uid)
            .map(|worked| worked.run.clone())
            .ok_or_else(|| KubeletError::NotRunning {
                container: target.container.clone(),
                pod: target.pod.clone(),
                why: "the pod is not on this node".to_owned(),
            })
    }

    /// Follows the pods of the node until it stops.
    pub(crate) async fn follow(self: Arc<Self>) {
        self.remove_leftovers();
        let mut changes = self.shared.cluster.pods.changes();
        while self
            .shared
            .stop
            .run_until_cancelled(changes.changed())
            .await
            .is_some_and(|changed| changed.is_ok())
        {
            changes.borrow_and_update();
            self.compare(self.shared.cluster.pods.all());
        }
    }

    /// Tells workers of changes, starts new ones and ends those whose object is gone.
    fn compare(self: &Arc<Self>, pods: Vec<Arc<Pod>>) {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        let there: HashSet<String> = pods.iter().filter_map(|p| p.metadata.uid.clone()).collect();
        for (_, worked) in workers.iter().filter(|(uid, _)| !there.contains(*uid)) {
            worked.object.send_if_modified(|object| object.take().is_some());
        }
        for pod in pods {
            let Some(uid) = pod.metadata.uid.clone() else { continue };
            if let Some(worked) = workers.get(&uid) {
                let new = |object: &mut Option<Arc<Pod>>| {
                    let changed = object
                        .as_ref()
                        .is_none_or(|o| o.metadata.resource_version != pod.metadata.resource_version);
                    *object = Some(pod.clone());
                    changed
                };
                worked.object.send_if_modified(new);
                continue;
            }
            let (object, receiver) = watch::channel(Some(pod.clone()));
            let run = PodRun::new(self.shared.clone(), pod, receiver);
            workers.insert(
                uid.clone(),
                Worked {
                    object,
                    run: run.clone(),
                },
            );
            let pods = self.clone();
            spawn_tracked(&self.shared.tasks, run.name(), pods.work(uid, run));
        }
    }

    /// Works on a pod. When that panics, what runs of it is ended and it begins again.
    async fn work(self: Arc<Self>, uid: String, run: Arc<PodRun>) {
        let (mut current, mut begun) = (run.clone(), false);
        supervise(run.name(), || {
            let former = begun.then(|| current.clone());
            if let Some(former) = &former {
                current = former.again();
                let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(worked) = workers.get_mut(&uid) {
                    worked.run = current.clone();
                }
            }
            begun = true;
            let run = current.clone();
            async move {
                if let Some(former) = former {
                    former.cleared().await;
                }
                Box::pin(run.work()).await;
            }
        })
        .await;
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).remove(&uid);
    }

    /// Folders of pods that were removed while the node was away.
    fn remove_leftovers(&self) {
        let there: HashSet<String> = self
            .shared
            .cluster
            .pods
            .all()
            .iter()
            .filter_map(|p| p.metadata.uid.clone())
            .collect();
        for folder in [self.shared.folder.join("pods"), self.shared.memory.clone()] {
            remove_others(&folder, &there);
        }
    }
}

fn remove_others(folder: &Path, keep: &HashSet<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if !keep.contains(&*entry.file_name().to_string_lossy())
            && let Err(error) = fs::remove_dir_all(entry.path())
        {
            tracing::warn!(folder = %entry.path().display(), %error, "can't remove what a pod has left");
        }
    }
}
