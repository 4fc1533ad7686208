//! From start to stop, in order: strategies, admin server, cluster, lease, definitions, rights, work.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use pgop_core::runtime::metrics::Metrics;
use pgop_core::runtime::{Operator, OperatorError};
use pgop_strategies::Loader;
use std::sync::Arc;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::admin::{self, Stage};
use crate::args::RunArgs;
use crate::aside::{Aside, AsideError};
use crate::cluster;
use crate::lease::{Candidate, Held, LeaseError};
use crate::{bundles, telemetry};

/// What is being worked on may be finished within this time after SIGTERM.
const GRACE: Duration = Duration::from_secs(6);

/// Why the operator ended other than by being asked to.
#[derive(Debug, Error)]
pub enum RunError {
    /// The process has no threads or no signals.
    #[error("the process can't start: {0}")]
    Runtime(#[source] std::io::Error),
    /// There is no log.
    #[error(transparent)]
    Telemetry(#[from] telemetry::TelemetryError),
    /// The strategies can't be used.
    #[error(transparent)]
    Bundles(#[from] bundles::BundlesError),
    /// The admin server can't be started, or ended.
    #[error(transparent)]
    Admin(#[from] admin::AdminError),
    /// The lease or the admin server is gone.
    #[error(transparent)]
    Aside(#[from] AsideError),
    /// The cluster is not as it has to be.
    #[error(transparent)]
    Cluster(#[from] cluster::ClusterError),
    /// The lease can't be had, or was lost.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// The engine could not start, or stopped by itself.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// Work did not stop in time. The lease is kept until it runs out, because something may still be written.
    #[error("work in progress did not stop within {} s", GRACE.as_secs())]
    Stuck,
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(args: RunArgs) -> Result<(), RunError> {
    let RunArgs {
        namespaces,
        strategies,
        agent_image,
        concurrency,
        log_format,
        log_level,
        admin_address,
        leader_elect,
        no_leader_elect,
        lease_name,
        lease_namespace,
        lease_duration,
        identity,
        no_crds,
        kubeconfig,
        context,
    } = args;
    telemetry::start(log_format, &log_level)?;
    // One that is named twice would only be asked for twice.
    let namespaces: BTreeSet<String> = namespaces.into_iter().filter(|name| !name.is_empty()).collect();
    let namespaces = Vec::from_iter(namespaces);
    let mut asked_to_stop = stop_signal()?;
    let registry = bundles::load(&Loader { agent_image }, &strategies)?;
    let metrics = Arc::new(Metrics::default());
    let (stage, watched) = watch::channel(Stage::Starting);
    let aside = Aside::start().map_err(RunError::Runtime)?;
    let admin = admin::start(admin_address, watched, Arc::clone(&metrics));
    let admin = aside.run("the admin server", admin).await??;
    let work = async {
        let connection = cluster::connect(kubeconfig, context, &metrics);
        let Some(connection) = unless_stopped(&mut asked_to_stop, connection).await.transpose()? else {
            return Ok(());
        };
        let held = if leader_elect && !no_leader_elect {
            let wanted = Wanted {
                namespace: lease_namespace.unwrap_or(connection.namespace),
                name: lease_name,
                identity: identity.unwrap_or_else(default_identity),
                duration: Duration::from_secs(lease_duration.into()),
            };
            let acquired = acquire(&aside, connection.config, wanted, stage.clone());
            let Some(held) = unless_stopped(&mut asked_to_stop, acquired).await.transpose()? else {
                return Ok(());
            };
            stage.send_replace(Stage::Starting);
            Some(held)
        } else {
            None
        };
        let client = connection.client;
        let work = async {
            if !no_crds {
                cluster::ensure_crds(&client).await?;
            }
            cluster::check_rights(&client, &namespaces).await?;
            let operator = Operator::builder(client.clone())
                .registry(registry)
                .namespaces(namespaces.clone())
                .concurrency(concurrency)
                .metrics(Arc::clone(&metrics))
                .build();
            stage.send_replace(Stage::Working(operator.ready()));
            tracing::info!(
                namespaces = namespaces.join(","),
                version = env!("CARGO_PKG_VERSION"),
                "working"
            );
            let mut stop = asked_to_stop.clone();
            let stopped = async move { wait_for(&mut stop).await };
            operator.run(stopped).await.map_err(RunError::Operator)
        };
        supervise(Box::pin(work), held, asked_to_stop.clone(), &stage).await
    };
    let result = tokio::select! {
        result = work => result,
        ended = aside.run("the admin server", admin) => Err(match ended {
            Ok(error) => error.into(),
            Err(error) => error.into(),
        }),
    };
    if result.is_ok() {
        tracing::info!("stopped");
    }
    result
}

/// A lease, as the arguments name it.
struct Wanted {
    namespace: String,
    name: String,
    identity: String,
    duration: Duration,
}

/// Waits for the lease, which is then kept by a thread and over connections that know of no work.
async fn acquire(
    aside: &Aside,
    config: kube::Config,
    wanted: Wanted,
    stage: watch::Sender<Stage>,
) -> Result<Held, RunError> {
    let Wanted {
        namespace,
        name,
        identity,
        duration,
    } = wanted;
    let acquired = async move {
        let no_client = |error| RunError::Cluster(cluster::ClusterError::NoClient(Box::new(error)));
        let client = kube::Client::try_from(config).map_err(no_client)?;
        let candidate = Candidate::new(client, &namespace, &name, &identity, duration);
        let held = candidate
            .acquire(|holder| {
                let is_news = stage.send_if_modified(|stage| match stage {
                    Stage::Standby { holder: old } if old == holder => false,
                    stage => {
                        *stage = Stage::Standby {
                            holder: holder.to_owned(),
                        };
                        true
                    }
                });
                if is_news {
                    tracing::info!(holder, lease = name, "another operator works: waiting");
                }
            })
            .await?;
        tracing::info!(identity, lease = name, namespace, "holding the lease");
        Ok(held)
    };
    aside.run("the wait for the lease", acquired).await?
}

/// Lets `work` go on until it ends, the lease is lost, or it does not stop when asked to. The lease is given back only when
/// nothing can be written any more.
async fn supervise(
    work: impl Future<Output = Result<(), RunError>>,
    held: Option<Held>,
    mut asked_to_stop: watch::Receiver<bool>,
    stage: &watch::Sender<Stage>,
) -> Result<(), RunError> {
    let mut held = held;
    let lost = async {
        match &mut held {
            Some(held) => held.lost().await,
            None => std::future::pending().await,
        }
    };
    let too_late = async {
        wait_for(&mut asked_to_stop).await;
        stage.send_replace(Stage::Stopping);
        sleep(GRACE).await;
    };
    let result = tokio::select! {
        biased;
        error = lost => return Err(error.into()),
        result = work => result,
        () = too_late => return Err(RunError::Stuck),
    };
    if let Some(held) = held
        && let Err(error) = timeout(GRACE, held.release()).await.unwrap_or(Ok(()))
    {
        tracing::warn!(%error, "the lease stays");
    }
    result
}

/// True from the first SIGTERM or SIGINT on.
fn stop_signal() -> Result<watch::Receiver<bool>, RunError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Runtime)?;
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "stopping");
        sender.send_replace(true);
        sender.closed().await;
    });
    Ok(receiver)
}

async fn wait_for(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        tracing::error!(
            "the task that hears signals ended, which is a fault of pgop: stopping while nobody can ask for it"
        );
    }
}

/// What `future` comes to, or nothing when the stop comes first.
async fn unless_stopped<T>(stop: &mut watch::Receiver<bool>, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        result = future => Some(result),
        () = wait_for(stop) => None,
    }
}

/// Unique enough outside a pod, where `PGOP_IDENTITY` is not set.
fn default_identity() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| "pgop-operator".to_owned());
    format!("{}-{}", host.trim(), std::process::id())
}
