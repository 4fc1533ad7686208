//! Tokens of service accounts, asked for through the `token` subresource and kept until they are old.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount, ServiceAccountTokenProjection};
use kube::Api;
use kube::api::PostParams;

use super::VolumeError;

const DEFAULT_SECONDS: i64 = 3600;

#[derive(Clone)]
struct Token {
    text: String,
    renew: Timestamp,
}

/// The tokens that pods of this node have.
#[derive(Default)]
pub(crate) struct Tokens {
    known: Mutex<HashMap<(String, String, i64), Token>>,
}

impl Tokens {
    /// A token for a pod: the one it has, until four fifths of its time are over.
    pub(super) async fn get(
        &self,
        client: &kube::Client,
        pod: &Pod,
        wanted: &ServiceAccountTokenProjection,
    ) -> Result<String, VolumeError> {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let audience = wanted.audience.clone().unwrap_or_default();
        let seconds = wanted.expiration_seconds.unwrap_or(DEFAULT_SECONDS);
        let key = (uid, audience, seconds);
        let now = pgop_sandbox_tasks::now();
        if let Some(token) = self.lock().get(&key).filter(|token| token.renew > now) {
            return Ok(token.text.clone());
        }
        let token = request(client, pod, &key.1, seconds).await?;
        let text = token.text.clone();
        self.lock().insert(key, token);
        Ok(text)
    }

    /// The pod is gone.
    pub(crate) fn forget(&self, uid: &str) {
        self.lock().retain(|(pod, ..), _| pod != uid);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String, i64), Token>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn request(client: &kube::Client, pod: &Pod, audience: &str, seconds: i64) -> Result<Token, VolumeError> {
    let account = pod
        .spec
        .as_ref()
        .and_then(|s| s.service_account_name.clone())
        .unwrap_or_else(|| "default".to_owned());
    let accounts: Api<ServiceAccount> =
        Api::namespaced(client.clone(), pod.metadata.namespace.as_deref().unwrap_or("default"));
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: (!audience.is_empty()).then(|| vec![audience.to_owned()]),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: pod.metadata.name.clone(),
                uid: pod.metadata.uid.clone(),
            }),
            expiration_seconds: Some(seconds),
            ..TokenRequestSpec::default()
        }),
        ..TokenRequest::default()
    };
    let asked = pgop_sandbox_tasks::now();
    let answer = accounts
        .create_token_request(&account, &PostParams::default(), &request)
        .await;
    let failed = |source| VolumeError::Token {
        account,
        source: Box::new(source),
    };
    let status = answer.map_err(failed)?.status.unwrap_or_default();
    let (Some(text), Some(end)) = (status.token, status.expiration_timestamp) else {
        return Err(VolumeError::NoObject {
            kind: "token of a TokenRequest",
            name: request.metadata.name.unwrap_or_default(),
        });
    };
    let life = end.0.duration_since(asked).as_secs().max(1);
    Ok(Token {
        text,
        renew: asked + SignedDuration::from_secs(life / 5 * 4),
    })
}
