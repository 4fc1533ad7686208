//! Looking into a claim: a short-lived pod mounts it read-only, lists it and is deleted, whatever happens.

pub mod listing;
mod pod;
pub(crate) mod reason;

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, LogParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use pgop_core::Owner;
use pgop_core::crd::PodSettings;
use pgop_core::install::Options;
use thiserror::Error;

use crate::cluster::{Cluster, ClusterError, say};
use crate::exit_code::ExitCode;
use crate::interrupt::Interrupt;
use listing::Listing;

/// Why a claim could not be looked into.
#[derive(Debug, Error)]
pub enum VolumeError {
    /// The cluster said no.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The pod did not start, and will not.
    #[error("claim {claim} can't be looked into: {reason}")]
    Stuck {
        /// The claim.
        claim: String,
        /// Why, as the scheduler or the kubelet tells.
        reason: String,
    },
    /// The pod did not end in time.
    #[error("claim {claim} could not be looked into within {} s: {reason}; give a longer --timeout, or --no-volume to leave it out", waited.as_secs())]
    TimedOut {
        /// The claim.
        claim: String,
        /// How long was waited.
        waited: Duration,
        /// How it stood last.
        reason: String,
    },
    /// The listing failed in the pod.
    #[error("claim {claim} could not be listed: {message}")]
    Listing {
        /// The claim.
        claim: String,
        /// What it wrote.
        message: String,
    },
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

impl VolumeError {
    /// What it means for scripts.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Cluster(error) => error.exit_code(),
            Self::Stuck { .. } | Self::Listing { .. } => ExitCode::Failed,
            Self::TimedOut { .. } => ExitCode::TimedOut,
            Self::Interrupted => ExitCode::Interrupted,
        }
    }
}

/// What to look at, and with what.
#[derive(Clone, Debug)]
pub struct Look {
    /// The claim.
    pub claim: String,
    /// Folder in it; empty for its root.
    pub folder: String,
    /// The database or cluster that uses the claim, if one does: the agent of its pods is the one that looks.
    pub user: Option<Owner>,
    /// Any image.
    pub image: String,
    /// When it is pulled.
    pub image_pull_policy: Option<String>,
    /// Secrets with the registry's credentials.
    pub image_pull_secrets: Vec<String>,
    /// Settings of the resource's pods: who may read its files.
    pub pod: PodSettings,
    /// Longest time from creating the pod to the end of the listing.
    pub timeout: Duration,
}

/// Lists a folder of a claim. `None`: there is no such folder.
pub async fn list(cluster: &Cluster, interrupt: &Interrupt, look: &Look) -> Result<Option<Listing>, VolumeError> {
    sweep(cluster).await;
    let pods = pods(cluster).await?;
    // A `ReadWriteOnce` volume can be mounted on the node of the pod that uses it, and nowhere else.
    let node = pods.iter().find_map(|pod| pod::node_that_mounts(pod, &look.claim));
    let agent_image = match pod::agent_image(&pods, look.user.as_ref(), &look.claim) {
        Some(image) => image.to_owned(),
        None => operators_image(cluster).await,
    };
    let api = cluster.api::<Pod>();
    let params = PostParams {
        dry_run: false,
        field_manager: Some("pgo".to_owned()),
    };
    let wanted = pod::build(look, &agent_image, node.as_deref(), &cluster.namespace);
    // From here on Ctrl-C has to wait until the pod is deleted.
    let _hold = interrupt.hold();
    let created = cluster
        .ask(
            format!(
                "create a pod that looks into claim {} in namespace {}",
                look.claim, cluster.namespace
            ),
            api.create(&params, &wanted),
        )
        .await?;
    let name = created.metadata.name.unwrap_or_default();
    let result = tokio::select! {
        result = read(cluster, &name, look) => result,
        () = interrupt.asked() => Err(VolumeError::Interrupted),
    };
    delete(cluster, &name).await;
    result
}

/// Waits until the pod has ended, and reads what it wrote.
async fn read(cluster: &Cluster, name: &str, look: &Look) -> Result<Option<Listing>, VolumeError> {
    let ended = ended(cluster, name, look).await?;
    let claim = look.claim.clone();
    match ended.code {
        0 => {
            let api = cluster.api::<Pod>();
            let log = cluster
                .ask(
                    format!("read the log of pod {name}"),
                    api.logs(name, &LogParams::default()),
                )
                .await?;
            listing::parse(&log)
                .map(Some)
                .map_err(|message| VolumeError::Listing { claim, message })
        }
        pod::NO_FOLDER => Ok(None),
        code => {
            let message = if ended.message.is_empty() {
                format!("the pod ended with code {code}")
            } else {
                ended.message
            };
            Err(VolumeError::Listing { claim, message })
        }
    }
}

struct Ended {
    code: i32,
    message: String,
}

async fn ended(cluster: &Cluster, name: &str, look: &Look) -> Result<Ended, VolumeError> {
    let start = tokio::time::Instant::now();
    let mut stream = watcher::watch_object(cluster.api::<Pod>(), name)
        .default_backoff()
        .boxed();
    let mut last: Option<Pod> = None;
    loop {
        let Ok(next) = tokio::time::timeout_at(start + look.timeout, stream.next()).await else {
            break;
        };
        match next {
            Some(Ok(Some(pod))) => {
                if let Some(state) = terminated(&pod) {
                    return Ok(state);
                }
                if let Some(reason) = reason::hopeless(&pod) {
                    return Err(VolumeError::Stuck {
                        claim: look.claim.clone(),
                        reason,
                    });
                }
                last = Some(pod);
            }
            Some(Ok(None)) => {
                return Err(VolumeError::Stuck {
                    claim: look.claim.clone(),
                    reason: format!("its pod {name} was deleted"),
                });
            }
            Some(Err(watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error))) => {
                if let error @ ClusterError::Forbidden { .. } = cluster.explain(format!("watch pod {name}"), &error) {
                    return Err(error.into());
                }
            }
            Some(Err(_)) => {}
            None => break,
        }
    }
    let reason = match &last {
        Some(pod) => reason::waiting(pod, &reason::warnings(cluster, name).await),
        None => "nothing is known of its pod".to_owned(),
    };
    Err(VolumeError::TimedOut {
        claim: look.claim.clone(),
        waited: look.timeout,
        reason,
    })
}

fn terminated(pod: &Pod) -> Option<Ended> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let state = statuses.first()?.state.as_ref()?.terminated.as_ref()?;
    let message = state.message.clone().unwrap_or_default().trim().to_owned();
    Some(Ended {
        code: state.exit_code,
        message,
    })
}

/// The pods of the namespace. Whoever may create pods and not list them gets the scheduler's choice of a node.
async fn pods(cluster: &Cluster) -> Result<Vec<Pod>, ClusterError> {
    match cluster.list::<Pod>(&ListParams::default()).await {
        Ok(pods) => Ok(pods.items),
        Err(ClusterError::Forbidden { .. }) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Image of the operator, which carries the agent: of the one that is installed, where it may be asked for, or of this version.
async fn operators_image(cluster: &Cluster) -> String {
    let installed = cluster.operators().await.ok();
    let deployment = installed.and_then(|found| serde_json::to_value(found.first()?).ok());
    deployment
        .map_or_else(Options::default, |found| Options::installed(&found))
        .image
}

async fn delete(cluster: &Cluster, name: &str) {
    let api = cluster.api::<Pod>();
    let params = DeleteParams::default().grace_period(0);
    let deleted = cluster
        .ask(format!("delete pod {name}"), api.delete(name, &params))
        .await;
    if let Err(error) = deleted
        && !matches!(error, ClusterError::NotFound { .. })
    {
        say(format_args!(
            "pgo: warning: pod {name} in namespace {} could not be deleted: {error}",
            cluster.namespace
        ));
    }
}

/// Deletes what a killed pgo left: pods that ended long ago.
async fn sweep(cluster: &Cluster) {
    let Ok(pods) = cluster.list::<Pod>(&ListParams::default().labels(pod::SELECTOR)).await else {
        return;
    };
    let now = jiff::Timestamp::now();
    for pod in pods.items.iter().filter(|pod| pod::is_left_over(pod, now)) {
        if let Some(name) = &pod.metadata.name {
            delete(cluster, name).await;
        }
    }
}
