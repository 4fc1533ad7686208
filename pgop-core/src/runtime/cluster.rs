//! The few calls by which the engine changes a cluster: a port, so that tests can let it die after any of them.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams, Preconditions,
    PropagationPolicy,
};
use kube::{Client, Error};
use serde_json::{Value, json};

use crate::kind::Kind;
use crate::label::{self, MANAGER};

/// Longest time one call may take.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The API server refused it, or could not be reached.
    #[error("{}", plain(.0))]
    Api(#[source] Box<Error>),
    /// No answer came.
    #[error("the API server did not answer within {} s", CALL_TIMEOUT.as_secs())]
    Timeout,
}

/// The API server's own sentence where it sent one; `kube::Error` prints the whole answer around it.
pub fn plain(error: &Error) -> String {
    match error {
        Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => other.to_string(),
    }
}

impl CallError {
    /// HTTP status of the answer, if one came.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Api(error) => match &**error {
                Error::Api(status) => Some(status.code),
                _ => None,
            },
            Self::Timeout => None,
        }
    }
}

/// Waits for a call, but not for ever.
pub(crate) async fn call<T>(future: impl Future<Output = Result<T, Error>> + Send) -> Result<T, CallError> {
    match tokio::time::timeout(CALL_TIMEOUT, future).await {
        Ok(answer) => answer.map_err(|error| CallError::Api(Box::new(error))),
        Err(_) => Err(CallError::Timeout),
    }
}

/// Writes of the engine, and the one read that guards strangers' objects.
#[async_trait]
pub(crate) trait Cluster: Send + Sync {
    /// Metadata of an object, or of a Secret when `kind` is `None`.
    async fn metadata(&self, kind: Option<Kind>, namespace: &str, name: &str) -> Result<Option<Value>, CallError>;

    /// Server-side apply of a manifest.
    async fn apply(&self, kind: Kind, namespace: &str, name: &str, object: &Value) -> Result<(), CallError>;

    /// Creates a Secret.
    async fn create_secret(&self, namespace: &str, secret: &Value) -> Result<(), CallError>;

    /// Server-side apply of what of a Secret is no secret.
    async fn apply_secret(&self, namespace: &str, name: &str, secret: &Value) -> Result<(), CallError>;

    /// Deletes that very object; one that is gone already is fine.
    async fn delete(&self, kind: Kind, namespace: &str, name: &str, uid: &str) -> Result<(), CallError>;
}

/// A real cluster.
#[derive(Clone)]
pub(crate) struct KubeCluster(pub(crate) Client);

/// API of a kind in a namespace.
pub(crate) fn api(client: &Client, kind: Kind, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &resource(kind))
}

/// Path parts of a kind.
pub(crate) fn resource(kind: Kind) -> ApiResource {
    ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk(kind.group(), kind.version(), kind.as_str()),
        kind.plural(),
    )
}

fn params() -> PatchParams {
    PatchParams::apply(MANAGER).force()
}

#[async_trait]
impl Cluster for KubeCluster {
    async fn metadata(&self, kind: Option<Kind>, namespace: &str, name: &str) -> Result<Option<Value>, CallError> {
        let metadata = if let Some(kind) = kind {
            call(api(&self.0, kind, namespace).get_metadata_opt(name))
                .await?
                .map(|object| object.metadata)
        } else {
            let secrets = Api::<Secret>::namespaced(self.0.clone(), namespace);
            call(secrets.get_metadata_opt(name))
                .await?
                .map(|secret| secret.metadata)
        };
        Ok(metadata.map(|metadata| json!({"metadata": metadata})))
    }

    async fn apply(&self, kind: Kind, namespace: &str, name: &str, object: &Value) -> Result<(), CallError> {
        call(api(&self.0, kind, namespace).patch(name, &params(), &Patch::Apply(object)))
            .await
            .map(drop)
    }

    async fn create_secret(&self, namespace: &str, secret: &Value) -> Result<(), CallError> {
        let typed: Secret =
            serde_json::from_value(secret.clone()).map_err(|e| CallError::Api(Box::new(Error::SerdeError(e))))?;
        // Another manager than the one that applies: the password stays when the public part is applied without it.
        let params = PostParams {
            field_manager: Some("pgop-generate".to_owned()),
            ..PostParams::default()
        };
        call(Api::<Secret>::namespaced(self.0.clone(), namespace).create(&params, &typed))
            .await
            .map(drop)
    }

    async fn apply_secret(&self, namespace: &str, name: &str, secret: &Value) -> Result<(), CallError> {
        call(Api::<Secret>::namespaced(self.0.clone(), namespace).patch(name, &params(), &Patch::Apply(secret)))
            .await
            .map(drop)
    }

    async fn delete(&self, kind: Kind, namespace: &str, name: &str, uid: &str) -> Result<(), CallError> {
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(uid.to_owned()),
                ..Preconditions::default()
            }),
            propagation_policy: Some(PropagationPolicy::Background),
            ..DeleteParams::default()
        };
        match call(api(&self.0, kind, namespace).delete(name, &params)).await {
            Ok(_) => Ok(()),
            // Gone, or another object has the name now.
            Err(error) if matches!(error.code(), Some(404 | 409)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// A Secret's body for apply or create.
pub(crate) fn secret(metadata: &Value, public: &BTreeMap<String, String>, password: Option<&str>) -> Value {
    let mut data = json!(public);
    if let Some(password) = password {
        data["password"] = json!(password);
    }
    json!({"apiVersion": "v1", "kind": "Secret", "type": label::SECRET_TYPE, "metadata": metadata, "stringData": data})
}
