//! Step 4: carries a plan out, in its order. It may die after any call; the next reconcile goes on.

use serde_json::Value;
use thiserror::Error;

use super::cluster::{CallError, Cluster, secret};
use super::password;
use crate::kind::Kind;
use crate::label::{self, BACKUPS_OF};
use crate::owner::Owner;
use crate::plan::{Apply, Plan, SecretChange, SecretRequest, Why};

/// Why a plan could not be carried out.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// An object of that name exists and is somebody else's.
    #[error("{kind} {name} exists and belongs to {whose}: {mend}")]
    Taken {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Whose it is.
        whose: String,
        /// What to do.
        mend: String,
    },
    /// An object could not be looked up.
    #[error("could not look up {kind} {name}: {source}")]
    LookUp {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The answer.
        source: CallError,
    },
    /// An object could not be applied.
    #[error("could not apply {kind} {name}: {source}")]
    Apply {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The answer.
        source: CallError,
    },
    /// A Secret could not be made.
    #[error("could not make Secret {name}: {source}")]
    GenerateSecret {
        /// Its name.
        name: String,
        /// The answer.
        source: CallError,
    },
    /// An object could not be deleted.
    #[error("could not delete {kind} {name}: {source}")]
    Prune {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The answer.
        source: CallError,
    },
}

impl ApplyError {
    /// The word for conditions, events and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Taken { .. } => "NameTaken",
            Self::LookUp { .. } => "LookUpFailed",
            Self::Apply { .. } => "ApplyFailed",
            Self::GenerateSecret { .. } => "SecretFailed",
            Self::Prune { .. } => "PruneFailed",
        }
    }
}

/// Carries the plan out.
pub(crate) async fn apply(cluster: &dyn Cluster, owner: &Owner, plan: &Plan) -> Result<(), ApplyError> {
    // Nothing is made when one of the names is somebody else's.
    for missing in plan.apply.iter().filter(|apply| apply.why == Why::Missing) {
        let (kind, name) = (missing.manifest.kind(), missing.manifest.name());
        refuse_strangers(cluster, owner, kind, name, missing.manifest.value()).await?;
    }
    for request in &plan.secrets {
        apply_secret(cluster, owner, request).await?;
    }
    let mut late = None;
    for Apply { manifest, why } in &plan.apply {
        let (kind, name) = (manifest.kind(), manifest.name());
        let failed = |source| ApplyError::Apply {
            kind: kind.as_str(),
            name: name.to_owned(),
            source,
        };
        let sent = cluster.apply(kind, &owner.namespace, name, manifest.value()).await;
        match sent.map_err(failed) {
            Ok(()) => {}
            // A claim that can't grow still holds the data: the rest goes on, and the refusal is told.
            Err(error) if kind == Kind::PersistentVolumeClaim && *why != Why::Missing => late = Some(error),
            Err(error) => return Err(error),
        }
    }
    for prune in &plan.prune {
        let failed = |source| ApplyError::Prune {
            kind: prune.kind.as_str(),
            name: prune.name.clone(),
            source,
        };
        cluster
            .delete(prune.kind, &owner.namespace, &prune.name, &prune.uid)
            .await
            .map_err(failed)?;
    }
    late.map_or(Ok(()), Err)
}

/// An object that the caches do not show as ours may exist all the same: apply would take it over.
async fn refuse_strangers(
    cluster: &dyn Cluster,
    owner: &Owner,
    kind: Kind,
    name: &str,
    desired: &Value,
) -> Result<(), ApplyError> {
    let failed = |source| ApplyError::LookUp {
        kind: kind.as_str(),
        name: name.to_owned(),
        source,
    };
    let Some(found) = cluster
        .metadata(Some(kind), &owner.namespace, name)
        .await
        .map_err(failed)?
    else {
        return Ok(());
    };
    let key = if desired
        .pointer("/metadata/labels")
        .and_then(|l| l.get(BACKUPS_OF))
        .is_some()
    {
        BACKUPS_OF
    } else {
        owner.kind.label()
    };
    let of = |value: &Value, key: &str| {
        value
            .pointer("/metadata/labels")
            .and_then(|l| l.get(key))
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    if of(&found, label::MANAGED_BY).as_deref() == Some(label::MANAGER) && of(&found, key) == of(desired, key) {
        return Ok(()); // ours; the cache is behind
    }
    let mend = if kind == Kind::PersistentVolumeClaim {
        "choose another name, or name the claim in spec.storage.claim to use its data"
    } else {
        "choose another name, or delete it"
    };
    Err(ApplyError::Taken {
        kind: kind.as_str(),
        name: name.to_owned(),
        whose: whose(&found),
        mend: mend.to_owned(),
    })
}

fn whose(found: &Value) -> String {
    let labels = found.pointer("/metadata/labels");
    let label = |key: &str| labels.and_then(|l| l.get(key)).and_then(Value::as_str);
    if label(label::MANAGED_BY) == Some(label::MANAGER) {
        let (component, instance) = (
            label(label::COMPONENT).unwrap_or("resource"),
            label(label::INSTANCE).unwrap_or("?"),
        );
        return format!("{component} {instance}");
    }
    "somebody else (it is not labelled as pgop's)".to_owned()
}

async fn apply_secret(cluster: &dyn Cluster, owner: &Owner, request: &SecretRequest) -> Result<(), ApplyError> {
    let name = &request.name;
    let failed = |source| ApplyError::GenerateSecret {
        name: name.clone(),
        source,
    };
    if request.change == SecretChange::Generate {
        let password = password::generate();
        match cluster
            .create_secret(
                &owner.namespace,
                &secret(&request.metadata, &request.public, Some(&password)),
            )
            .await
        {
            // It holds all of it. The first change of its public part is applied, and takes that over.
            Ok(()) => return Ok(()),
            Err(error) if error.code() == Some(409) => refuse_foreign_secret(cluster, owner, name).await?,
            Err(error) => return Err(failed(error)),
        }
    }
    if request.change != SecretChange::None {
        let body = secret(&request.metadata, &request.public, None);
        cluster
            .apply_secret(&owner.namespace, name, &body)
            .await
            .map_err(failed)?;
    }
    Ok(())
}

async fn refuse_foreign_secret(cluster: &dyn Cluster, owner: &Owner, name: &str) -> Result<(), ApplyError> {
    let failed = |source| ApplyError::LookUp {
        kind: "Secret",
        name: name.to_owned(),
        source,
    };
    let found = cluster
        .metadata(None, &owner.namespace, name)
        .await
        .map_err(failed)?
        .unwrap_or_default();
    let label = |key: &str| {
        found
            .pointer("/metadata/labels")
            .and_then(|l| l.get(key))
            .and_then(Value::as_str)
    };
    if label(label::MANAGED_BY) == Some(label::MANAGER) && label(owner.kind.label()) == Some(&owner.name) {
        return Ok(());
    }
    Err(ApplyError::Taken {
        kind: "Secret",
        name: name.to_owned(),
        whose: whose(&found),
        mend: "name it in spec.credentials to use its password, or choose another name".to_owned(),
    })
}

#[cfg(test)]
mod tests;
