//! Questions that are answered and not stored: may somebody do something, whose token is this, who am I.

use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::access::{self, Attempt};
use crate::call::Call;
use crate::identity::Identity;
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
        "SelfSubjectAccessReview" => access_of(call, &call.identity, spec),
        "SubjectAccessReview" | "LocalSubjectAccessReview" => access_of(call, &subject(spec), spec),
        "SelfSubjectRulesReview" => rules(call, spec["namespace"].as_str().unwrap_or_default()),
        "TokenReview" => whose(call, spec),
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

fn texts(list: &Value) -> Vec<String> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn subject(spec: &Value) -> Identity {
    let text = |field: &str| spec[field].as_str().unwrap_or_default().to_owned();
    let mut groups = texts(&spec["groups"]);
    if !groups.iter().any(|group| group == "system:unauthenticated") {
        groups.push("system:authenticated".into());
    }
    Identity {
        username: text("user"),
        uid: text("uid"),
        groups,
    }
}

fn access_of(call: &Call, identity: &Identity, spec: &Value) -> Value {
    let resource = &spec["resourceAttributes"];
    let text = |object: &Value, field: &str| object[field].as_str().unwrap_or_default().to_owned();
    let attempt = if resource.is_object() {
        let subresource = text(resource, "subresource");
        let plural = text(resource, "resource");
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
    } else {
        let path = &spec["nonResourceAttributes"];
        Attempt {
            verb: text(path, "verb"),
            path: Some(text(path, "path")),
            ..Attempt::default()
        }
    };
    let allowed = access::allows(&call.state, identity, &attempt);
    let mut status = json!({"allowed": allowed});
    if allowed && !call.state.config.enforce_rbac && !identity.is_admin() {
        status["reason"] = "roles are stored but not enforced".into();
    }
    status
}

fn rules(call: &Call, namespace: &str) -> Value {
    let everything = json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]);
    let paths = json!([{"verbs": ["*"], "nonResourceURLs": ["*"]}]);
    if call.identity.is_admin() || !call.state.config.enforce_rbac {
        return json!({"resourceRules": everything, "nonResourceRules": paths, "incomplete": false});
    }
    let rules = access::rules_for(&call.state, &call.identity, namespace);
    let (paths, resources): (Vec<Value>, Vec<Value>) =
        rules.into_iter().partition(|rule| rule["nonResourceURLs"].is_array());
    json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false})
}

fn user(identity: &Identity) -> Value {
    let mut user = json!({"username": identity.username, "groups": identity.groups});
    if !identity.uid.is_empty() {
        user["uid"] = identity.uid.as_str().into();
    }
    user
}

fn whose(call: &Call, spec: &Value) -> Value {
    let token = spec["token"].as_str().unwrap_or_default();
    let asked = texts(&spec["audiences"]);
    let Some((identity, audiences)) = token::verify(&call.state, token) else {
        return json!({"authenticated": false, "error": "invalid bearer token", "user": {}});
    };
    let fits = if asked.is_empty() {
        token::is_for_server(&audiences)
    } else {
        asked.iter().any(|one| audiences.contains(one))
    };
    if !fits {
        return json!({"authenticated": false, "error": "the token is for another audience", "user": {}});
    }
    let common: Vec<&String> = audiences
        .iter()
        .filter(|audience| asked.is_empty() || asked.contains(audience))
        .collect();
    json!({"authenticated": true, "user": user(&identity), "audiences": common})
}
