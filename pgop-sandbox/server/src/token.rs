//! Tokens of service accounts: JSON web tokens, signed with a key that the store keeps.
//! <https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens>

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{Response, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::call::Call;
use crate::identity::Identity;
use crate::response::{self, Body, Style};
use crate::state::State;
use crate::status::{ApiError, Result};
use crate::store::{Expect, Key, Store, WriteError};

/// A table that no path leads to.
const SECRETS: &str = "-server";
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const DEFAULT_SECONDS: i64 = 3600;
const SHORTEST_SECONDS: i64 = 600;
const LONGEST_SECONDS: i64 = 1 << 32;

/// The key that signs, made when the store is new.
pub(crate) fn signing_key(store: &Store) -> std::result::Result<Vec<u8>, WriteError> {
    let key = Key::new("", "token-key");
    if let Some(stored) = store.get(SECRETS, &key) {
        let decoded = stored.value()["key"]
            .as_str()
            .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        return Ok(decoded.unwrap_or_default());
    }
    let bytes: [u8; 32] = rand::random();
    let object = json!({"metadata": {}, "key": URL_SAFE_NO_PAD.encode(bytes)});
    store.put(SECRETS, &key, Expect::Absent, object)?;
    Ok(bytes.to_vec())
}

/// `POST` to the subresource `token` of a service account.
pub(crate) fn issue(call: &Call, mut request: Value) -> Result<Response<Body>> {
    let account = call.stored()?;
    let spec = &request["spec"];
    let seconds = spec["expirationSeconds"].as_i64().unwrap_or(DEFAULT_SECONDS);
    if !(SHORTEST_SECONDS..=LONGEST_SECONDS).contains(&seconds) {
        let detail = if seconds < SHORTEST_SECONDS {
            "may not specify a duration less than 10 minutes"
        } else {
            "may not specify a duration larger than 2^32 seconds"
        };
        let cause = pgop_sandbox_schema::Cause::invalid("spec.expirationSeconds", &seconds.into(), detail);
        return Err(ApiError::invalid_kind(
            "authentication.k8s.io",
            "TokenRequest",
            &call.path.name,
            &[cause],
        ));
    }
    let now = pgop_sandbox_tasks::now().as_second();
    let audiences = match spec["audiences"].as_array() {
        Some(list) if !list.is_empty() => Value::Array(list.clone()),
        _ => json!([ISSUER]),
    };
    let (namespace, name) = (&call.path.namespace, &call.path.name);
    let mut bound = json!({
        "namespace": namespace, "serviceaccount": {"name": name, "uid": account.value()["metadata"]["uid"]},
    });
    if spec["boundObjectRef"]["kind"] == "Pod" {
        bound["pod"] = bound_pod(call, &spec["boundObjectRef"])?;
    }
    let claims = json!({
        "iss": ISSUER, "sub": format!("system:serviceaccount:{namespace}:{name}"), "aud": audiences,
        "iat": now, "nbf": now, "exp": now + seconds, "kubernetes.io": bound,
    });
    let expires = Timestamp::from_second(now + seconds).unwrap_or(Timestamp::MAX);
    request["kind"] = "TokenRequest".into();
    request["apiVersion"] = "authentication.k8s.io/v1".into();
    request["metadata"] = json!({"name": name, "namespace": namespace, "creationTimestamp": crate::write::now()});
    request["spec"]["audiences"] = audiences;
    request["spec"]["expirationSeconds"] = seconds.into();
    request["status"] =
        json!({"token": sign(&call.state.token_key, &claims), "expirationTimestamp": expires.to_string()});
    Ok(response::json(StatusCode::CREATED, &request, Style::default()))
}

fn bound_pod(call: &Call, reference: &Value) -> Result<Value> {
    let name = reference["name"].as_str().unwrap_or_default();
    let pod = call
        .state
        .store
        .get("pods", &Key::new(call.path.namespace.as_str(), name));
    let pod =
        pod.ok_or_else(|| ApiError::conflict(&call.resource, &call.path.name, &format!("pod \"{name}\" not found")))?;
    let uid = &pod.value()["metadata"]["uid"];
    if reference["uid"].is_string() && reference["uid"] != *uid {
        let why = format!(
            "the UID in the bound object reference ({}) does not match the UID in record",
            reference["uid"]
        );
        return Err(ApiError::conflict(&call.resource, &call.path.name, &why));
    }
    Ok(json!({"name": name, "uid": uid}))
}

fn mac(key: &[u8], text: &str) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(text.as_bytes());
    Some(mac)
}

fn sign(key: &[u8], claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({"alg": "HS256", "typ": "JWT"})), part(claims));
    let signature = mac(key, &signed).map(|mac| URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()));
    format!("{signed}.{}", signature.unwrap_or_default())
}

/// Whose token it is, if it is one of ours, holds still, and what it is bound to exists.
pub(crate) fn verify(state: &State, token: &str) -> Option<(Identity, Vec<String>)> {
    let (signed, signature) = token.rsplit_once('.')?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    mac(&state.token_key, signed)?.verify_slice(&signature).ok()?;
    let claims = URL_SAFE_NO_PAD.decode(signed.split_once('.')?.1).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    if claims["exp"].as_i64()? <= pgop_sandbox_tasks::now().as_second() {
        return None;
    }
    let bound = &claims["kubernetes.io"];
    let namespace = bound["namespace"].as_str()?;
    let exists = |table: &str, object: &Value| {
        let stored = state
            .store
            .get(table, &Key::new(namespace, object["name"].as_str().unwrap_or_default()));
        stored.is_some_and(|stored| stored.value()["metadata"]["uid"] == object["uid"])
    };
    let account = &bound["serviceaccount"];
    if !exists("serviceaccounts", account) || (bound["pod"].is_object() && !exists("pods", &bound["pod"])) {
        return None;
    }
    let audiences = claims["aud"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    let mut identity = Identity::service_account(namespace, account["name"].as_str()?, account["uid"].as_str()?);
    for (fact, value) in [("name", &bound["pod"]["name"]), ("uid", &bound["pod"]["uid"])] {
        if let Some(value) = value.as_str() {
            let key = format!("authentication.kubernetes.io/pod-{fact}");
            identity.extra.insert(key, vec![value.to_owned()]);
        }
    }
    Some((identity, audiences))
}

/// The audiences of the API server itself.
pub(crate) fn server_audiences() -> Vec<String> {
    vec![ISSUER.to_owned()]
}

/// Whether a token is for the API server itself.
pub(crate) fn is_for_server(audiences: &[String]) -> bool {
    audiences.iter().any(|audience| audience == ISSUER)
}
