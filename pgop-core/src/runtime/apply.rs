//! Step 4: carries a plan out, in its order. It may die after any call; the next reconcile goes on.
//!
//! An error stops nothing but what needs the object that failed.

use std::collections::BTreeSet;

use futures::future::join_all;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use serde_json::Value;
use thiserror::Error;

use super::cluster::{self, CallError, secret};
use super::password;
use crate::applied::{Applied, Done, Failed, Taken};
use crate::kind::Kind;
use crate::label::{self, BACKUPS_OF};
use crate::manifest::Manifest;
use crate::owner::Owner;
use crate::plan::{Action, Adopt, Apply, Held, NextStep, Plan, Poke, Prune, SecretChange, SecretRequest, Why};
use crate::reference::{Referent, references};

/// Why something of a plan could not be carried out.
#[derive(Debug, Error)]
pub(crate) enum ApplyError {
    /// An object of that name exists and is somebody else's.
    #[error("{what} {name} exists and belongs to {whose}: {mend}")]
    Taken {
        what: &'static str,
        name: String,
        whose: String,
        mend: String,
    },
    /// An object could not be looked up.
    #[error("could not look up {what} {name}: {source}")]
    LookUp {
        what: &'static str,
        name: String,
        source: CallError,
    },
    /// An object could not be applied.
    #[error("could not apply {what} {name}: {source}")]
    Apply {
        what: &'static str,
        name: String,
        source: CallError,
    },
    /// A Secret could not be made.
    #[error("could not make Secret {name}: {source}")]
    GenerateSecret { name: String, source: CallError },
    /// An object could not be deleted.
    #[error("could not delete {what} {name}: {source}")]
    Prune {
        what: &'static str,
        name: String,
        source: CallError,
    },
    /// A pod could not be restarted.
    #[error("could not restart pod {name}: {source}")]
    Restart { name: String, source: CallError },
    /// A claim could not be made to go with its resource.
    #[error("could not set the owner of claim {name}, which stays till then when its resource goes: {source}")]
    Adopt { name: String, source: CallError },
    /// A claim could not be kept from going with its resource.
    #[error("could not take the owner off claim {name}, which goes with its resource till then: {source}")]
    Release { name: String, source: CallError },
}

impl ApplyError {
    /// The word for conditions, events and metrics.
    fn reason(&self) -> &'static str {
        match self {
            Self::Taken { .. } => "NameTaken",
            Self::LookUp { .. } => "LookUpFailed",
            Self::Apply { .. } => "ApplyFailed",
            Self::GenerateSecret { .. } => "SecretFailed",
            Self::Prune { .. } => "PruneFailed",
            Self::Restart { .. } => "RestartFailed",
            Self::Adopt { .. } => "AdoptFailed",
            Self::Release { .. } => "ReleaseFailed",
        }
    }

    /// Whether the API server did not answer at all: whatever else is asked of it will not be answered either.
    fn is_silence(&self) -> bool {
        match self {
            Self::Taken { .. } => false,
            Self::LookUp { source, .. }
            | Self::Apply { source, .. }
            | Self::GenerateSecret { source, .. }
            | Self::Prune { source, .. }
            | Self::Restart { source, .. }
            | Self::Adopt { source, .. }
            | Self::Release { source, .. } => source.code().is_none(),
        }
    }
}

/// Carries the plan out, as far as the API server takes it.
pub(crate) async fn apply(client: &Client, owner: &Owner, plan: Plan) -> Applied {
    let Plan {
        secrets,
        apply,
        unchanged,
        prune,
        adopt,
        poke,
        held,
        step,
        unused_secrets,
    } = plan;
    let changed = apply.iter().filter(|apply| apply.why != Why::Missing);
    let mut existing = (unchanged.iter().map(|(kind, _)| *kind)).chain(changed.map(|apply| apply.manifest.kind()));
    let is_new = !existing.any(carries_data);
    let done = unchanged.into_iter().map(|(kind, name)| Done { kind, name, why: None });
    let mut run = Run {
        client,
        owner,
        applied: Applied {
            done: done.collect(),
            held,
            unused_secrets,
            ..Applied::default()
        },
        lacking: BTreeSet::new(),
        is_new,
        is_taken: false,
        is_silent: false,
    };
    if is_new {
        run.look_up(&apply).await;
        if !run.applied.failed.is_empty() {
            return run.applied;
        }
    }
    run.secrets(&secrets).await;
    run.objects(apply).await;
    run.prune(prune).await;
    run.adopt(adopt).await;
    run.poke(poke).await;
    run.step(step).await;
    run.applied
}

/// Takes the owner references off claims that are to stay.
pub(crate) async fn release(client: &Client, owner: &Owner, claims: Vec<String>) -> Vec<Failed> {
    let mut failed = Vec::new();
    for claim in claims {
        match cluster::release(client, &owner.namespace, &claim, &owner.uid).await {
            Ok(()) => {}
            Err(error) if error.code() == Some(404) => {}
            Err(source) => {
                let name = claim.clone();
                let error = ApplyError::Release { name, source };
                failed.push(Failed {
                    object: Some((Kind::PersistentVolumeClaim, claim)),
                    reason: error.reason(),
                    message: error.to_string(),
                });
            }
        }
    }
    failed
}

/// Claims stay when their resource goes, and pods write to them.
fn carries_data(kind: Kind) -> bool {
    kind == Kind::PersistentVolumeClaim || kind.pod_template().is_some()
}

struct Run<'a> {
    client: &'a Client,
    owner: &'a Owner,
    applied: Applied,
    /// What is not there as it should be: who needs it waits.
    lacking: BTreeSet<(Referent, String)>,
    /// The resource has no claim and no pods yet.
    is_new: bool,
    /// One of its names is somebody else's.
    is_taken: bool,
    is_silent: bool,
}

impl Run<'_> {
    fn failed(&mut self, object: Option<(Kind, String)>, error: &ApplyError) {
        self.is_silent |= error.is_silence();
        self.is_taken |= matches!(error, ApplyError::Taken { .. });
        self.applied.failed.push(Failed {
            object,
            reason: error.reason(),
            message: error.to_string(),
        });
    }

    /// Tells which names are taken of what carries data: none of it is made for a resource that needs another name. Of the rest creating it tells.
    async fn look_up(&mut self, apply: &[Apply]) {
        let manifests: Vec<_> = (apply.iter().map(|apply| &apply.manifest))
            .filter(|manifest| carries_data(manifest.kind()))
            .collect();
        let this = &*self;
        let answers = join_all(manifests.iter().map(|manifest| this.stranger(manifest))).await;
        for (manifest, answer) in manifests.into_iter().zip(answers) {
            if let Err(error) = answer {
                self.failed(Some((manifest.kind(), manifest.name().to_owned())), &error);
            }
        }
    }

    async fn stranger(&self, manifest: &Manifest) -> Result<(), ApplyError> {
        let (kind, name) = (manifest.kind(), manifest.name());
        match cluster::may_exist(self.client, kind, &self.owner.namespace, name).await {
            Ok(false) => Ok(()),
            Ok(true) => self.refuse_stranger(manifest).await,
            Err(source) => Err(ApplyError::LookUp {
                what: kind.as_str(),
                name: name.to_owned(),
                source,
            }),
        }
    }

    async fn refuse_stranger(&self, manifest: &Manifest) -> Result<(), ApplyError> {
        let (kind, name) = (manifest.kind(), manifest.name());
        let labels = manifest.value().pointer("/metadata/labels");
        let of_backups = labels.and_then(|labels| labels.get(BACKUPS_OF)).and_then(Value::as_str);
        let tie = of_backups.map_or((self.owner.kind.label(), self.owner.name.as_str()), |source| {
            (BACKUPS_OF, source)
        });
        let mend = if kind == Kind::PersistentVolumeClaim {
            "choose another name, or name the claim in spec.storage.claim to use its data"
        } else {
            "choose another name, or delete it"
        };
        self.refuse_foreign(Referent::Object(kind), name, tie, mend).await
    }

    /// An error when an object of that name exists and is not ours: neither this very resource's, nor with its labels.
    async fn refuse_foreign(
        &self,
        what: Referent,
        name: &str,
        (key, value): (&str, &str),
        mend: &str,
    ) -> Result<(), ApplyError> {
        let word = match what {
            Referent::Object(kind) => kind.as_str(),
            Referent::Secret => "Secret",
        };
        let found = cluster::metadata(self.client, what, &self.owner.namespace, name)
            .await
            .map_err(|source| ApplyError::LookUp {
                what: word,
                name: name.to_owned(),
                source,
            })?;
        let Some(found) = found else { return Ok(()) };
        // The reference is proof, whatever somebody's policy made of the labels.
        let mut owners = found.owner_references.iter().flatten();
        if owners.any(|owner| owner.controller == Some(true) && owner.uid == self.owner.uid) {
            return Ok(());
        }
        let label = |key: &str| found.labels.as_ref()?.get(key).map(String::as_str);
        if label(label::MANAGED_BY) == Some(label::MANAGER) && label(key) == Some(value) {
            return Ok(());
        }
        Err(ApplyError::Taken {
            what: word,
            name: name.to_owned(),
            whose: whose(&found),
            mend: mend.to_owned(),
        })
    }

    async fn secrets(&mut self, requests: &[SecretRequest]) {
        for request in requests {
            if self.is_silent {
                return;
            }
            if let Err(error) = self.secret(request).await {
                self.failed(None, &error);
                // One that could not be brought up to date is there, with its password.
                if request.change == SecretChange::Generate {
                    self.lacking.insert((Referent::Secret, request.name.clone()));
                }
            }
        }
    }

    async fn secret(&self, request: &SecretRequest) -> Result<(), ApplyError> {
        let (name, namespace) = (&request.name, &self.owner.namespace);
        let failed = |source| ApplyError::GenerateSecret {
            name: name.clone(),
            source,
        };
        if request.change == SecretChange::Generate {
            let body = secret(&request.metadata, &request.public, Some(&password::generate()));
            match cluster::create_secret(self.client, namespace, &body).await {
                // It holds all of it. The first change of its public part is applied, and takes that over.
                Ok(()) => return Ok(()),
                Err(error) if error.code() == Some(409) => {
                    let mend = "name it in spec.credentials to use its password, or choose another name";
                    let tie = (self.owner.kind.label(), self.owner.name.as_str());
                    self.refuse_foreign(Referent::Secret, name, tie, mend).await?;
                }
                Err(error) => return Err(failed(error)),
            }
        }
        if request.change == SecretChange::None {
            return Ok(());
        }
        let body = secret(&request.metadata, &request.public, None);
        let sent = cluster::apply_secret(self.client, namespace, name, &body).await;
        sent.map_err(failed)
    }

    async fn objects(&mut self, apply: Vec<Apply>) {
        for Apply { manifest, clear, why } in apply {
            let (kind, name) = (manifest.kind(), manifest.name().to_owned());
            if let Some(waits) = self.waits(&manifest) {
                self.lacking.insert((Referent::Object(kind), name.clone()));
                self.applied.held.push(Held { kind, name, why: waits });
                continue;
            }
            match self.send(&manifest, clear.as_ref(), why == Why::Missing).await {
                Ok(()) => self.applied.done.push(Done {
                    kind,
                    name,
                    why: Some(why),
                }),
                Err(error) => {
                    // What exists does its work as it is: a claim that can't grow still holds the data. But no pod starts with settings of yesterday.
                    if why == Why::Missing || kind == Kind::ConfigMap {
                        self.lacking.insert((Referent::Object(kind), name.clone()));
                    }
                    self.failed(Some((kind, name)), &error);
                }
            }
        }
    }

    /// Makes an object so. What the caches do not show as ours may exist all the same, and an apply would take it over.
    async fn send(&self, manifest: &Manifest, clear: Option<&Value>, is_missing: bool) -> Result<(), ApplyError> {
        let (kind, name, namespace) = (manifest.kind(), manifest.name(), &self.owner.namespace);
        let failed = |source| ApplyError::Apply {
            what: kind.as_str(),
            name: name.to_owned(),
            source,
        };
        if is_missing {
            match cluster::create(self.client, kind, namespace, manifest.value()).await {
                Ok(()) => return Ok(()),
                Err(error) if error.code() == Some(409) => self.refuse_stranger(manifest).await?,
                Err(error) => return Err(failed(error)),
            }
        }
        if let Some(clear) = clear {
            let cleared = cluster::clear(self.client, kind, namespace, name, clear).await;
            cleared.map_err(failed)?;
        }
        let sent = cluster::apply(self.client, kind, namespace, name, manifest.value()).await;
        sent.map_err(failed)
    }

    /// For what of this round a manifest has to wait.
    fn waits(&self, manifest: &Manifest) -> Option<String> {
        if self.is_silent {
            return Some("the API server does not answer".to_owned());
        }
        // Its owner will choose another name for the resource, with which goes what is made already.
        if self.is_new && self.is_taken {
            return Some("a name that this resource needs is taken".to_owned());
        }
        let is_lacking = |it: &(Referent, String)| self.lacking.contains(it);
        let needed = references(manifest)
            .into_iter()
            .map(|reference| (reference.to, reference.name));
        let (what, name) = needed.into_iter().find(is_lacking)?;
        Some(match what {
            Referent::Object(kind) => format!("{kind} {name} has to be there first"),
            Referent::Secret => format!("Secret {name} has to be there first"),
        })
    }

    async fn prune(&mut self, prune: Vec<Prune>) {
        for Prune { kind, name, uid } in prune {
            if self.is_silent {
                return;
            }
            if let Err(source) = cluster::delete(self.client, kind, &self.owner.namespace, &name, &uid).await {
                let error = ApplyError::Prune {
                    what: kind.as_str(),
                    name: name.clone(),
                    source,
                };
                self.failed(Some((kind, name)), &error);
            }
        }
    }

    async fn adopt(&mut self, adopt: Vec<Adopt>) {
        for Adopt { claim: name, uid } in adopt {
            if self.is_silent {
                return;
            }
            if let Err(source) = cluster::adopt(self.client, self.owner, &name, &uid).await {
                self.failed(None, &ApplyError::Adopt { name, source });
            }
        }
    }

    /// Not told as a failure: what could not be told comes with the kubelet's next round.
    async fn poke(&mut self, poke: Vec<Poke>) {
        for Poke { pod, uid, content } in poke {
            if self.is_silent {
                return;
            }
            if let Err(error) = cluster::poke(self.client, &self.owner.namespace, &pod, &uid, &content).await {
                tracing::debug!(pod, "it learns later of what has changed: {error}");
            }
        }
    }

    async fn step(&mut self, step: Option<NextStep>) {
        // What a pod would start without, or with what is of yesterday.
        let is_hindered = |failed: &Failed| failed.object.as_ref().is_none_or(|(kind, _)| kind.is_of_pods());
        let Some(NextStep { why, action }) = step.filter(|_| !self.is_silent) else {
            return;
        };
        if self.applied.failed.iter().any(is_hindered) {
            return;
        }
        let namespace = &self.owner.namespace;
        let (reason, done) = match action {
            Action::RestartPod { name, uid } => {
                let deleted = cluster::delete_pod(self.client, namespace, &name, &uid).await;
                let failed = |source| ApplyError::Restart { name, source };
                ("RollingRestart", deleted.map_err(failed))
            }
            // It may be there already, from the round before.
            Action::Apply(manifest) => ("StrategyStep", self.send(&manifest, None, true).await),
        };
        match done {
            Ok(()) => self.applied.step = Some(Taken { reason, why }),
            Err(error) => self.failed(None, &error),
        }
    }
}

fn whose(found: &ObjectMeta) -> String {
    let label = |key: &str| found.labels.as_ref()?.get(key).map(String::as_str);
    if label(label::MANAGED_BY) == Some(label::MANAGER) {
        let component = label(label::COMPONENT).unwrap_or("resource");
        return format!("{component} {}", label(label::INSTANCE).unwrap_or("?"));
    }
    "somebody else (it is not labelled as pgop's)".to_owned()
}
