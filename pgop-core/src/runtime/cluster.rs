//! The few calls by which the engine changes a cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GetParams, GroupVersionKind, Patch, PatchParams, PostParams,
    Preconditions, PropagationPolicy,
};
use kube::core::Request;
use kube::{Client, Error, Resource};
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::kind::Kind;
use crate::label::{self, MANAGER};
use crate::owner::Owner;
use crate::reference::Referent;

/// Who creates objects, in their `managedFields`. [`apply`] takes over from it.
const CREATOR: &str = "pgop-create";
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

/// For a patch that is no apply.
pub(crate) fn as_manager() -> PatchParams {
    PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

/// Metadata of an object, or of a Secret.
pub(crate) async fn metadata(
    client: &Client,
    what: Referent,
    namespace: &str,
    name: &str,
) -> Result<Option<ObjectMeta>, CallError> {
    match what {
        Referent::Object(kind) => {
            let found = call(api(client, kind, namespace).get_metadata_opt(name)).await?;
            Ok(found.map(|object| object.metadata))
        }
        Referent::Secret => {
            let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
            let found = call(secrets.get_metadata_opt(name)).await?;
            Ok(found.map(|secret| secret.metadata))
        }
    }
}

/// Whether the API server knows an object of that name, as far as it can tell without asking its store: what is a moment old may be missing.
/// For many objects that is several times cheaper.
pub(crate) async fn may_exist(client: &Client, kind: Kind, namespace: &str, name: &str) -> Result<bool, CallError> {
    let found = call(api(client, kind, namespace).get_metadata_opt_with(name, &GetParams::any())).await?;
    Ok(found.is_some())
}

/// Creates an object. One of that name, whosever it is, stays as it is: 409.
///
/// An apply would make it too, but would also take over what somebody else made a moment ago.
pub(crate) async fn create(client: &Client, kind: Kind, namespace: &str, object: &Value) -> Result<(), CallError> {
    post(client, &resource(kind), namespace, CREATOR, object).await
}

/// What the server made of it comes with the watch, and is not read here.
async fn post(
    client: &Client,
    resource: &ApiResource,
    namespace: &str,
    manager: &str,
    object: &Value,
) -> Result<(), CallError> {
    let params = PostParams {
        field_manager: Some(manager.to_owned()),
        ..PostParams::default()
    };
    let request = Request::new(DynamicObject::url_path(resource, Some(namespace)))
        .create(&params, object.to_string().into_bytes())
        .map_err(|error| CallError::Api(Box::new(Error::BuildRequest(error))))?;
    call(client.request::<IgnoredAny>(request)).await.map(drop)
}

/// Server-side apply of a manifest to an object that exists.
pub(crate) async fn apply(
    client: &Client,
    kind: Kind,
    namespace: &str,
    name: &str,
    object: &Value,
) -> Result<(), CallError> {
    let api = api(client, kind, namespace);
    take_over(&api, name).await?;
    call(api.patch(name, &params(), &Patch::Apply(object))).await.map(drop)
}

/// Takes away what the API server filled in and nobody owns: an apply leaves it.
pub(crate) async fn clear(
    client: &Client,
    kind: Kind,
    namespace: &str,
    name: &str,
    change: &Value,
) -> Result<(), CallError> {
    let api = api(client, kind, namespace);
    call(api.patch_metadata(name, &as_manager(), &Patch::Merge(change)))
        .await
        .map(drop)
}

/// Makes the fields of which an object was created those that were applied to it, as `kubectl` does when it begins to apply on the server.
/// Otherwise what a manifest no longer has would stay for ever
/// (<https://kubernetes.io/docs/reference/using-api/server-side-apply/#upgrading-from-client-side-apply-to-server-side-apply>).
async fn take_over(api: &Api<DynamicObject>, name: &str) -> Result<(), CallError> {
    let Some(found) = call(api.get_metadata_opt(name)).await? else {
        return Ok(());
    };
    let mut managers = found.metadata.managed_fields.unwrap_or_default();
    let Some(at) = managers
        .iter()
        .position(|entry| entry.manager.as_deref() == Some(CREATOR))
    else {
        return Ok(());
    };
    let mut created = managers.swap_remove(at);
    let is_applied = |entry: &ManagedFieldsEntry| {
        entry.manager.as_deref() == Some(MANAGER) && entry.operation.as_deref() == Some("Apply")
    };
    if !managers.iter().any(is_applied) {
        created.manager = Some(MANAGER.to_owned());
        created.operation = Some("Apply".to_owned());
        managers.push(created);
    }
    // Of what was read: a conflict is tried again with the next round.
    let change = json!({"metadata": {
        "managedFields": managers,
        "resourceVersion": found.metadata.resource_version,
    }});
    call(api.patch_metadata(name, &as_manager(), &Patch::Merge(change)))
        .await
        .map(drop)
}

/// Creates a Secret.
pub(crate) async fn create_secret(client: &Client, namespace: &str, secret: &Value) -> Result<(), CallError> {
    // Another manager than the one that applies: the password stays when the public part is applied without it.
    post(
        client,
        &ApiResource::erase::<Secret>(&()),
        namespace,
        "pgop-generate",
        secret,
    )
    .await
}

/// Server-side apply of what of a Secret is no secret.
pub(crate) async fn apply_secret(
    client: &Client,
    namespace: &str,
    name: &str,
    secret: &Value,
) -> Result<(), CallError> {
    let api = Api::<Secret>::namespaced(client.clone(), namespace);
    call(api.patch(name, &params(), &Patch::Apply(secret))).await.map(drop)
}

/// Deletes that very object; one that is gone already is fine.
pub(crate) async fn delete(
    client: &Client,
    kind: Kind,
    namespace: &str,
    name: &str,
    uid: &str,
) -> Result<(), CallError> {
    let params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        ..only(uid)
    };
    let api = api(client, kind, namespace);
    gone(call(api.delete(name, &params)).await.map(drop))
}

/// Deletes that very pod, with the grace that it has. It is looked at once more, and only deleted as it is then: one that goes already is let be.
pub(crate) async fn delete_pod(client: &Client, namespace: &str, name: &str, uid: &str) -> Result<(), CallError> {
    let api = Api::<Pod>::namespaced(client.clone(), namespace);
    let Some(found) = call(api.get_metadata_opt(name)).await? else {
        return Ok(());
    };
    let meta = found.metadata;
    if meta.uid.as_deref() != Some(uid) || meta.deletion_timestamp.is_some() {
        return Ok(());
    }
    let mut params = only(uid);
    if let Some(preconditions) = &mut params.preconditions {
        preconditions.resource_version = meta.resource_version;
    }
    gone(call(api.delete(name, &params)).await.map(drop))
}

fn only(uid: &str) -> DeleteParams {
    DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(uid.to_owned()),
            ..Preconditions::default()
        }),
        ..DeleteParams::default()
    }
}

pub(crate) fn gone(answer: Result<(), CallError>) -> Result<(), CallError> {
    match answer {
        // Gone, or another object has the name now.
        Err(error) if matches!(error.code(), Some(404 | 409)) => Ok(()),
        other => other,
    }
}

/// Makes the kubelet look at that very pod, by an annotation. Through its status: the operator may change no more of a pod.
pub(crate) async fn poke(
    client: &Client,
    namespace: &str,
    name: &str,
    uid: &str,
    content: &str,
) -> Result<(), CallError> {
    let change = json!({"metadata": {"uid": uid, "annotations": {label::MOUNTED: content}}});
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let poked = call(pods.patch_status(name, &as_manager(), &Patch::Merge(change))).await;
    gone(poked.map(drop))
}

/// Makes an owner that of this very claim; one that is gone already is fine.
pub(crate) async fn adopt(client: &Client, owner: &Owner, claim: &str, uid: &str) -> Result<(), CallError> {
    let change = json!({"metadata": {"uid": uid, "ownerReferences": [owner.reference()]}});
    gone(patch_claim(client, &owner.namespace, claim, &change).await)
}

/// Takes an owner off a claim.
pub(crate) async fn release(client: &Client, namespace: &str, claim: &str, uid: &str) -> Result<(), CallError> {
    let change = json!({"metadata": {"ownerReferences": [{"$patch": "delete", "uid": uid}]}});
    patch_claim(client, namespace, claim, &change).await
}

async fn patch_claim(client: &Client, namespace: &str, claim: &str, change: &Value) -> Result<(), CallError> {
    let api = api(client, Kind::PersistentVolumeClaim, namespace);
    call(api.patch(claim, &as_manager(), &Patch::Strategic(change)))
        .await
        .map(drop)
}

/// A Secret's body for apply or create.
pub(crate) fn secret(metadata: &Value, public: &BTreeMap<String, String>, password: Option<&str>) -> Value {
    let mut data = json!(public);
    if let Some(password) = password {
        data["password"] = json!(password);
    }
    json!({"apiVersion": "v1", "kind": "Secret", "type": label::SECRET_TYPE, "metadata": metadata, "stringData": data})
}
