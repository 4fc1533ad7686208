//! The lease that only one operator holds: it works, the others wait.
//!
//! The rules are those of Kubernetes' own components (client-go's `leaderelection`):
//! - every write names the `resourceVersion` it is based on, so that of two that want the lease one gets a conflict;
//! - nobody trusts another machine's clock: a lease is free when it has not *changed* for its duration, by one's own clock;
//! - a holder that could not renew for two thirds of the duration says so while nobody else can have taken over yet;
//! - one request without an answer is not all of that time: it is given up, and asked again over another connection.
//!
//! That is why this is not `kube-lease-manager` 0.13: its holder goes on believing while the API server is out of reach
//! (`LeaseManager::watch` only logs), and an expired lease is released without a `resourceVersion`, which can take it from one
//! who has just got it.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, PostParams};
use pgop_core::runtime::plain;
use thiserror::Error;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// Why the lease is not held.
#[derive(Debug, Error)]
pub enum LeaseError {
    /// The account may not use it.
    #[error(
        "the account may not use the lease {namespace}/{name}: {}; `pgo install` grants that for the lease pgop-operator in the operator's own namespace, and --no-leader-elect does without a lease",
        plain(source)
    )]
    Forbidden {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The refusal.
        source: kube::Error,
    },
    /// Its namespace is missing.
    #[error(
        "the lease's namespace {namespace} does not exist: `kubectl create namespace {namespace}`, or choose another with --lease-namespace"
    )]
    NoNamespace {
        /// Its name.
        namespace: String,
    },
    /// It was held and could not be renewed in time.
    #[error(
        "the lease could not be renewed for {seconds} s ({reason}): another operator may take over, so this one stops"
    )]
    Silent {
        /// For how long.
        seconds: u64,
        /// What the last try said.
        reason: String,
    },
    /// It was held, and another has it now.
    #[error("the lease is held by {holder} now: this operator stops")]
    Taken {
        /// Who.
        holder: String,
    },
    /// The task that renews it is gone.
    #[error("the task that renews the lease ended, which is a fault of pgop: {0}; this operator stops")]
    Unkept(String),
    /// It could not be given back.
    #[error("the lease could not be released: {0}; another operator takes over when it has run out")]
    Release(#[source] Box<kube::Error>),
}

/// One who wants the lease.
#[derive(Clone, Debug)]
pub struct Candidate {
    api: Api<Lease>,
    namespace: String,
    name: String,
    identity: String,
    duration: Duration,
}

/// The lease, held and renewed until it is released or lost.
#[derive(Debug)]
pub struct Held {
    stop: oneshot::Sender<()>,
    keeper: JoinHandle<Result<(), LeaseError>>,
}

/// What one look at the lease came to.
enum Turn {
    /// It is ours, by this version.
    Ours(Box<Lease>),
    /// It belongs to somebody else.
    Theirs(String),
    /// Somebody was faster.
    Lost,
}

/// The last change of the lease that was seen, and when by our own clock.
struct Seen {
    spec: LeaseSpec,
    at: Instant,
}

impl Candidate {
    /// One who wants the lease `name`, as `identity`. A holder that is silent for `duration` loses it.
    pub fn new(client: kube::Client, namespace: &str, name: &str, identity: &str, duration: Duration) -> Self {
        let api = Api::namespaced(client, namespace);
        Self {
            api,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            identity: identity.to_owned(),
            duration,
        }
    }

    /// client-go's proportions are 15 s, 10 s and 2 s.
    fn renew_every(&self) -> Duration {
        self.duration * 2 / 15
    }

    /// From here on nobody else may have it for sure: the rest of the duration is for clocks that run at different speeds.
    fn give_up_after(&self) -> Duration {
        self.duration * 2 / 3
    }

    /// The longest that one request may take. A connection can be dead without anybody telling.
    fn try_for(&self) -> Duration {
        self.give_up_after() / 2
    }

    /// Waits until the lease is ours. `waiting` hears the holder's name whenever that is somebody else.
    pub async fn acquire(&self, mut waiting: impl FnMut(&str)) -> Result<Held, LeaseError> {
        let mut seen = None;
        let mut refused = 0;
        loop {
            let asked = Instant::now();
            match timeout(self.try_for(), self.turn(&mut seen)).await {
                Ok(Ok(Turn::Ours(lease))) => return Ok(self.clone().keep(*lease, asked)),
                Ok(Ok(Turn::Theirs(holder))) => waiting(&holder),
                Ok(Ok(Turn::Lost)) => {}
                Ok(Err(source)) => {
                    // Rights that were granted a moment ago may not have reached every API server.
                    refused += 1;
                    if refused > 3 {
                        self.hopeless(&source)?;
                    }
                    tracing::warn!(lease = %self.name, error = %source, "could not ask for the lease, trying again");
                }
                Err(_) => tracing::warn!(lease = %self.name, "no answer about the lease, trying again"),
            }
            sleep(self.renew_every()).await;
        }
    }

    /// A missing right or namespace does not mend itself.
    fn hopeless(&self, error: &kube::Error) -> Result<(), LeaseError> {
        let kube::Error::Api(status) = error else { return Ok(()) };
        let (namespace, name) = (self.namespace.clone(), self.name.clone());
        if status.is_forbidden() {
            let source = kube::Error::Api(status.clone());
            return Err(LeaseError::Forbidden {
                namespace,
                name,
                source,
            });
        }
        if status.is_not_found() {
            Err(LeaseError::NoNamespace { namespace })
        } else {
            Ok(())
        }
    }

    /// Looks at the lease, and takes it when it is free.
    async fn turn(&self, seen: &mut Option<Seen>) -> Result<Turn, kube::Error> {
        let Some(lease) = self.api.get_opt(&self.name).await? else {
            let metadata = ObjectMeta {
                name: Some(self.name.clone()),
                ..ObjectMeta::default()
            };
            let lease = Lease {
                metadata,
                spec: Some(self.claim(&LeaseSpec::default())),
            };
            return won(self.api.create(&PostParams::default(), &lease).await);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        if !holder.is_empty() && holder != self.identity {
            let last = match seen.take() {
                Some(last) if last.spec == spec => last,
                _ => Seen {
                    spec: spec.clone(),
                    at: Instant::now(),
                },
            };
            let duration = spec
                .lease_duration_seconds
                .and_then(|s| u64::try_from(s).ok())
                .map(Duration::from_secs);
            let is_free = last.at.elapsed() >= duration.unwrap_or(self.duration);
            *seen = Some(last);
            if !is_free {
                return Ok(Turn::Theirs(holder));
            }
        }
        self.write(&lease, self.claim(&spec)).await
    }

    /// Replaces what was read; if that has changed since, somebody was faster.
    async fn write(&self, read: &Lease, spec: LeaseSpec) -> Result<Turn, kube::Error> {
        let lease = Lease {
            metadata: read.metadata.clone(),
            spec: Some(spec),
        };
        won(self.api.replace(&self.name, &PostParams::default(), &lease).await)
    }

    /// The lease as ours, renewed now.
    fn claim(&self, old: &LeaseSpec) -> LeaseSpec {
        let now = || Some(MicroTime(Timestamp::now()));
        let is_ours = old.holder_identity.as_deref() == Some(&self.identity);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.duration.as_secs()).ok(),
            renew_time: now(),
            acquire_time: if is_ours { old.acquire_time.clone() } else { now() },
            lease_transitions: Some(old.lease_transitions.unwrap_or(0) + i32::from(!is_ours)),
            ..old.clone()
        }
    }

    /// Renews in a task of its own.
    fn keep(self, lease: Lease, since: Instant) -> Held {
        let (stop, stopped) = oneshot::channel();
        let keeper = tokio::spawn(async move {
            let mut lease = lease;
            tokio::select! {
                lost = self.renew(&mut lease, since) => Err(lost),
                _ = stopped => self.release(&lease).await,
            }
        });
        Held { stop, keeper }
    }

    /// Renews until that fails.
    async fn renew(&self, lease: &mut Lease, since: Instant) -> LeaseError {
        let mut renewed = since;
        let mut reason = "no answer".to_owned();
        let mut pause = self.renew_every();
        loop {
            sleep(pause).await;
            // The old renewal counts from when it was asked for, because nobody knows when the server heard of it.
            let asked = Instant::now();
            let left = (renewed + self.give_up_after()).saturating_duration_since(asked);
            if left.is_zero() {
                return LeaseError::Silent {
                    seconds: renewed.elapsed().as_secs(),
                    reason,
                };
            }
            match timeout(left.min(self.try_for()), self.renewal(lease)).await {
                Ok(Ok(Turn::Ours(new))) => {
                    (*lease, renewed, pause) = (*new, asked, self.renew_every());
                    continue;
                }
                Ok(Ok(Turn::Theirs(holder))) => return LeaseError::Taken { holder },
                Ok(Ok(Turn::Lost)) => "it keeps changing".clone_into(&mut reason),
                Ok(Err(error)) => reason = error.to_string(),
                Err(_) => "no answer".clone_into(&mut reason),
            }
            tracing::warn!(lease = %self.name, reason, "could not renew the lease, trying again");
            pause = self.renew_every() / 2;
        }
    }

    /// One request as a rule; a conflict makes it look who has it.
    async fn renewal(&self, lease: &Lease) -> Result<Turn, kube::Error> {
        let spec = self.claim(&lease.spec.clone().unwrap_or_default());
        match self.write(lease, spec).await {
            Ok(Turn::Lost) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            result => return result,
        }
        // Not `turn`: a lease of somebody else is lost here, even if that one is silent. A deleted one is made again.
        let Some(lease) = self.api.get_opt(&self.name).await? else {
            return self.turn(&mut None).await;
        };
        let spec = lease.spec.clone().unwrap_or_default();
        match spec.holder_identity.clone() {
            Some(holder) if holder != self.identity => Ok(Turn::Theirs(holder)),
            _ => self.write(&lease, self.claim(&spec)).await,
        }
    }

    /// Gives it back, so that the next one need not wait.
    async fn release(&self, lease: &Lease) -> Result<(), LeaseError> {
        let old = lease.spec.clone().unwrap_or_default();
        // Without a holder: Kubernetes 1.31 and newer refuse an empty name.
        let spec = LeaseSpec {
            lease_duration_seconds: Some(1),
            renew_time: Some(MicroTime(Timestamp::now())),
            lease_transitions: old.lease_transitions,
            ..LeaseSpec::default()
        };
        match timeout(self.give_up_after(), self.write(lease, spec)).await {
            Ok(Err(error)) => Err(LeaseError::Release(Box::new(error))),
            // A conflict means that somebody else has it: nothing to give back.
            Ok(Ok(_)) | Err(_) => Ok(()),
        }
    }
}

fn won(result: Result<Lease, kube::Error>) -> Result<Turn, kube::Error> {
    match result {
        Ok(lease) => Ok(Turn::Ours(Box::new(lease))),
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => Ok(Turn::Lost),
        Err(error) => Err(error),
    }
}

impl Held {
    /// Waits until it is lost.
    pub async fn lost(&mut self) -> LeaseError {
        match (&mut self.keeper).await {
            Ok(Err(error)) => error,
            Ok(Ok(())) => LeaseError::Silent {
                seconds: 0,
                reason: "it was released".to_owned(),
            },
            Err(error) => LeaseError::Unkept(error.to_string()),
        }
    }

    /// Gives it back.
    pub async fn release(self) -> Result<(), LeaseError> {
        let Self { stop, keeper } = self;
        let _ = stop.send(());
        keeper.await.unwrap_or(Ok(()))
    }
}
