//! Writes to the API server: each with a time limit, a precondition where it could hit the wrong object, and an error that names it.

use std::{fmt::Debug, future::Future, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy},
    core::Status,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use thiserror::Error;

/// A server that does not answer must not hold a controller for ever.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request that failed.
#[derive(Debug, Error)]
pub(crate) enum VerbError {
    /// The server refused, or could not be reached.
    #[error("{verb} {what}")]
    Refused {
        verb: &'static str,
        what: String,
        source: Box<kube::Error>,
    },
    /// The server did not answer in time.
    #[error("{verb} {what}: no answer in {} s", PATIENCE.as_secs())]
    TimedOut { verb: &'static str, what: String },
    /// Something on this machine failed (a volume's folder).
    #[error("{action}")]
    Local { action: String, source: std::io::Error },
    /// An object holds a value that no Kubernetes would store, or that this controller can't read.
    #[error("{0}")]
    Unreadable(String),
}

impl VerbError {
    /// The server's own words, if it answered with a `Status`.
    pub(crate) fn status(&self) -> Option<&Status> {
        match self {
            Self::Refused { source, .. } => match &**source {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            _ => None,
        }
    }

    pub(crate) fn is_not_found(&self) -> bool {
        self.status().is_some_and(Status::is_not_found)
    }

    pub(crate) fn is_already_exists(&self) -> bool {
        self.status().is_some_and(Status::is_already_exists)
    }

    pub(crate) fn is_conflict(&self) -> bool {
        self.status().is_some_and(Status::is_conflict)
    }

    /// The namespace is going away, so nothing can be made in it any more.
    pub(crate) fn is_namespace_ending(&self) -> bool {
        self.status().is_some_and(|status| {
            status.code == 403
                && (status.message.contains("being terminated") || status.message.contains("is terminating"))
        })
    }

    /// Someone else was first: expected with stale caches, and not worth a warning.
    pub(crate) fn is_race(&self) -> bool {
        self.is_not_found() || self.is_conflict() || self.is_already_exists()
    }

    /// What a person is told: the server's message, or the whole chain.
    pub(crate) fn message(&self) -> String {
        self.status().map_or_else(
            || match std::error::Error::source(self) {
                Some(source) => format!("{self}: {source}"),
                None => self.to_string(),
            },
            |status| status.message.clone(),
        )
    }
}

/// Waits for a request, up to the time limit.
pub(crate) async fn request<T>(
    verb: &'static str,
    what: impl FnOnce() -> String,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, VerbError> {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(source)) => Err(VerbError::Refused {
            verb,
            what: what(),
            source: Box::new(source),
        }),
        Err(_) => Err(VerbError::TimedOut { verb, what: what() }),
    }
}

fn what<K: Resource>(api: &Api<K>, name: &str) -> String {
    format!("{}/{name}", api.resource_url())
}

pub(crate) async fn get<K>(api: &Api<K>, name: &str) -> Result<Option<K>, VerbError>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    request("get", || what(api, name), api.get_opt(name)).await
}

/// All objects that the API reaches.
pub(crate) async fn list<K>(api: &Api<K>) -> Result<Vec<K>, VerbError>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let all = request(
        "list",
        || api.resource_url().to_owned(),
        api.list(&ListParams::default()),
    )
    .await?;
    Ok(all.items)
}

pub(crate) async fn create<K>(api: &Api<K>, object: &K) -> Result<K, VerbError>
where
    K: Resource + Clone + Serialize + DeserializeOwned + Debug,
{
    request(
        "create",
        || what(api, &object.name_any()),
        api.create(&PostParams::default(), object),
    )
    .await
}

/// Makes an object unless there is one of that name already, whoever made it.
pub(crate) async fn ensure<K>(api: &Api<K>, object: &K) -> Result<(), VerbError>
where
    K: Resource + Clone + Serialize + DeserializeOwned + Debug,
{
    match create(api, object).await {
        Err(error) if error.is_already_exists() => Ok(()),
        other => other.map(drop),
    }
}

/// Puts the status of `object`. Its resourceVersion is the precondition: a status made from an old object is refused as a conflict.
pub(crate) async fn put_status<K>(api: &Api<K>, object: &K) -> Result<K, VerbError>
where
    K: Resource + Clone + Serialize + DeserializeOwned + Debug,
{
    let name = object.name_any();
    request(
        "update status of",
        || what(api, &name),
        api.replace_status(&name, &PostParams::default(), object),
    )
    .await
}

/// Merges `patch` into the object that `meta` describes; refused as a conflict when the object has changed since.
pub(crate) async fn merge<K>(api: &Api<K>, meta: &ObjectMeta, patch: Value) -> Result<K, VerbError>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let name = meta.name.clone().unwrap_or_default();
    let patch = with_preconditions(meta, patch);
    request(
        "patch",
        || what(api, &name),
        api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)),
    )
    .await
}

/// Like [`merge`], for the status.
pub(crate) async fn merge_status<K>(api: &Api<K>, meta: &ObjectMeta, patch: Value) -> Result<K, VerbError>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let name = meta.name.clone().unwrap_or_default();
    let patch = with_preconditions(meta, patch);
    request(
        "patch status of",
        || what(api, &name),
        api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&patch)),
    )
    .await
}

fn with_preconditions(meta: &ObjectMeta, mut patch: Value) -> Value {
    if let Some(version) = &meta.resource_version {
        patch["metadata"]["resourceVersion"] = json!(version);
    }
    if let Some(uid) = &meta.uid {
        patch["metadata"]["uid"] = json!(uid);
    }
    patch
}

/// Deletes exactly the object that `meta` describes. One that is gone or has been replaced by another is fine.
pub(crate) async fn delete<K>(
    api: &Api<K>,
    meta: &ObjectMeta,
    policy: Option<PropagationPolicy>,
) -> Result<(), VerbError>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let name = meta.name.clone().unwrap_or_default();
    let params = DeleteParams {
        propagation_policy: policy,
        preconditions: Some(Preconditions {
            uid: meta.uid.clone(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match request("delete", || what(api, &name), api.delete(&name, &params)).await {
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
        other => other.map(drop),
    }
}

/// The patch that sets `finalizers`.
pub(crate) fn finalizers_patch(finalizers: &[String]) -> Value {
    json!({ "metadata": { "finalizers": finalizers } })
}

/// The patch that sets `ownerReferences`.
pub(crate) fn owners_patch(owners: &[OwnerReference]) -> Value {
    // An object without owners has no list of them.
    let owners = (!owners.is_empty()).then_some(owners);
    json!({ "metadata": { "ownerReferences": owners } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_names_the_object_it_was_made_for() {
        let meta = ObjectMeta {
            name: Some("a".into()),
            uid: Some("u-1".into()),
            resource_version: Some("7".into()),
            ..ObjectMeta::default()
        };
        assert_eq!(
            with_preconditions(&meta, json!({ "spec": { "replicas": 2 } })),
            json!({ "spec": { "replicas": 2 }, "metadata": { "uid": "u-1", "resourceVersion": "7" } })
        );
    }

    #[test]
    fn the_servers_words_are_what_people_are_told() {
        let status = Status::failure("exceeded quota", "Forbidden").with_code(403);
        let error = VerbError::Refused {
            verb: "create",
            what: "pods/a".into(),
            source: Box::new(kube::Error::Api(Box::new(status))),
        };
        assert_eq!(error.message(), "exceeded quota");
        assert_eq!(error.to_string(), "create pods/a");
        assert!(!error.is_race());
    }
}
