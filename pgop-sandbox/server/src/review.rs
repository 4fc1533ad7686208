//! Questions that are answered and not stored: may somebody do something, whose token is this, who am I.

use std::collections::BTreeMap;

use http::{Response, StatusCode};
use pgop_sandbox_schema::Cause;
use serde_json::{Value, json};

use crate::access::{self, Attempt};
use crate::call::Call;
use crate::identity::Identity;
use crate::rbac;
use crate::rbac::rule::texts;
use crate::response::{self, Body, Style};
use crate::status::{ApiError, Result};
use crate::token;

/// `POST` of a review.
pub(crate) fn review(call: &Call, mut review: Value) -> Result<Response<Body>> {
    if !review.is_object() {
        return Err(ApiError::bad_request(
            "the object provided is unrecognized: it is no JSON object",
        ));
    }
    let spec = &review["spec"];
    let status = match call.resource.kind.as_str() {
        "SelfSubjectAccessReview" => access_of(call, &call.identity, spec)?,
        "SubjectAccessReview" | "LocalSubjectAccessReview" => access_of(call, &subject(call, spec)?, spec)?,
        "SelfSubjectRulesReview" => rules(call, spec)?,
        "TokenReview" => whose(call, spec)?,
        _ => json!({"userInfo": user(&call.identity)}),
    };
    review["kind"] = call.resource.kind.as_str().into();
    review["apiVersion"] = call.resource.api_version().into();
    review["metadata"] = json!({"creationTimestamp": null});
    review["status"] = status;
    Ok(response::json(
        StatusCode::CREATED,
        &review,
        Style::of(call.accept, &call.query),
    ))
}

fn text(object: &Value, field: &str) -> String {
    object[field].as_str().unwrap_or_default().to_owned()
}

fn invalid(call: &Call, cause: Cause) -> Box<ApiError> {
    ApiError::invalid(&call.resource, "", &[cause])
}

/// Of whom a review asks.
fn subject(call: &Call, spec: &Value) -> Result<Identity> {
    let namespace = &spec["resourceAttributes"]["namespace"];
    if call.resource.namespaced && *namespace != *call.path.namespace {
        let field = "spec.resourceAttributes.namespace";
        return Err(invalid(
            call,
            Cause::invalid(field, namespace, "must match metadata.namespace"),
        ));
    }
    let identity = Identity {
        username: text(spec, "user"),
        uid: text(spec, "uid"),
        groups: texts(&spec["groups"]),
        extra: BTreeMap::new(),
    };
    if identity.username.is_empty() && identity.groups.is_empty() {
        let detail = "at least one of user or group must be specified";
        return Err(invalid(call, Cause::invalid("spec.user", &"".into(), detail)));
    }
    Ok(identity)
}

fn access_of(call: &Call, identity: &Identity, spec: &Value) -> Result<Value> {
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let attempt = match (resource.is_object(), path.is_object()) {
        (true, false) => {
            let (plural, subresource) = (text(resource, "resource"), text(resource, "subresource"));
            Attempt {
                verb: text(resource, "verb"),
                group: text(resource, "group"),
                resource: if subresource.is_empty() {
                    plural
                } else {
                    format!("{plural}/{subresource}")
                },
                namespace: text(resource, "namespace"),
                name: text(resource, "name"),
                path: None,
            }
        }
        (false, true) => Attempt {
            verb: text(path, "verb"),
            path: Some(text(path, "path")),
            ..Attempt::default()
        },
        (both, _) => {
            let (field, detail) = if both {
                (
                    "spec.nonResourceAttributes",
                    "cannot be specified in combination with resourceAttributes",
                )
            } else {
                (
                    "spec.resourceAttributes",
                    "exactly one of nonResourceAttributes or resourceAttributes must be specified",
                )
            };
            return Err(invalid(call, Cause::invalid(field, &Value::Null, detail)));
        }
    };
    let reason = access::allows(&call.state, identity, &attempt);
    let mut status = json!({"allowed": reason.is_some()});
    if let Some(reason) = reason.filter(|reason| !reason.is_empty()) {
        status["reason"] = reason.into();
    }
    Ok(status)
}

/// What the sender may do in a namespace.
fn rules(call: &Call, spec: &Value) -> Result<Value> {
    let namespace = text(spec, "namespace");
    if namespace.is_empty() {
        return Err(ApiError::bad_request("no namespace on request"));
    }
    let rules = rbac::rules_for(&call.state, &call.identity, &namespace);
    let told = |of_paths: bool| -> Vec<Value> {
        let rules = rules.iter().filter(|rule| rule.paths.is_empty() != of_paths);
        rules.map(rbac::rule::Rule::to_json).collect()
    };
    Ok(json!({"resourceRules": told(false), "nonResourceRules": told(true), "incomplete": false}))
}

fn user(identity: &Identity) -> Value {
    let mut user = json!({"username": identity.username, "groups": identity.groups});
    if !identity.uid.is_empty() {
        user["uid"] = identity.uid.as_str().into();
    }
    if !identity.extra.is_empty() {
        user["extra"] = json!(identity.extra);
    }
    user
}

/// Whose a token is.
fn whose(call: &Call, spec: &Value) -> Result<Value> {
    let token = text(spec, "token");
    if token.is_empty() {
        return Err(ApiError::bad_request(
            "token is required for TokenReview in authentication",
        ));
    }
    let asked = texts(&spec["audiences"]);
    let Some((identity, audiences)) = access::of_any_token(&call.state, &token) else {
        return Ok(json!({"error": "invalid bearer token", "user": {}}));
    };
    let fits = if asked.is_empty() {
        token::is_for_server(&audiences)
    } else {
        asked.iter().any(|one| audiences.contains(one))
    };
    if !fits {
        return Ok(json!({"error": "the token is for another audience", "user": {}}));
    }
    let common: Vec<&String> = audiences
        .iter()
        .filter(|audience| asked.is_empty() || asked.contains(audience))
        .collect();
    Ok(json!({"authenticated": true, "user": user(&identity), "audiences": common}))
}
