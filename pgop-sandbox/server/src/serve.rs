//! From a request to its answer.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, request::Parts};
use serde_json::Value;

use crate::call::Call;
use crate::identity::Identity;
use crate::request::{Accept, Form, Path, Query, ResourcePath, parse_body, read_body, verb};
use crate::response::{self, Body, Style};
use crate::state::State;
use crate::status::{ApiError, Result};
use crate::{delete, discovery, patch, read, scale, watch, write};

/// Answers a request. Whatever goes wrong is an answer too.
pub(crate) async fn serve<B>(state: Arc<State>, identity: Option<Identity>, request: Request<B>) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (mut parts, body) = request.into_parts();
    match answer(state, identity, &mut parts, body).await {
        Ok(response) => response,
        Err(error) => response::error(&error),
    }
}

async fn answer<B>(state: Arc<State>, identity: Option<Identity>, parts: &mut Parts, body: B) -> Result<Response<Body>>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let identity = identity.unwrap_or_else(Identity::anonymous);
    let query = Query::parse(parts.uri.query());
    match Path::parse(parts.uri.path())? {
        Path::Other(segments) => other(&state, parts, &query, &segments),
        Path::Resource(path) => {
            let call = understand(state, identity, parts, path, query)?;
            let body = read_body(body).await?;
            dispatch(&call, &body)
        }
    }
}

fn understand(state: Arc<State>, identity: Identity, parts: &Parts, path: ResourcePath, query: Query) -> Result<Call> {
    let resource = state.catalog().find(&path.group, &path.version, &path.plural).ok_or_else(ApiError::unknown_path)?;
    let verb = verb(&parts.method, &path, &query)?;
    // A cluster-scoped resource is not within a namespace; a namespaced one is written to only within one.
    if !resource.namespaced && !path.namespace.is_empty() {
        return Err(ApiError::unknown_path());
    }
    let across = path.name.is_empty() && matches!(verb, "list" | "watch" | "deletecollection");
    if resource.namespaced && path.namespace.is_empty() && !across {
        return Err(if path.name.is_empty() { ApiError::method_not_allowed() } else { ApiError::unknown_path() });
    }
    if path.subresource.is_empty() {
        if !resource.verbs().contains(&verb) {
            return Err(ApiError::method_not_allowed());
        }
    } else {
        let subresources = resource.subresources();
        let served = subresources.iter().find(|sub| sub.name == path.subresource).ok_or_else(ApiError::unknown_path)?;
        if !served.verbs.contains(&verb) {
            return Err(ApiError::method_not_allowed());
        }
    }
    let mut accept = Accept::parse(&parts.headers)?;
    if path.subresource == "scale" {
        accept.form = scale::form(accept.form);
    }
    Ok(Call { state, resource, verb, path, query, headers: parts.headers.clone(), accept, identity })
}

fn dispatch(call: &Call, body: &[u8]) -> Result<Response<Body>> {
    match (call.verb, call.path.subresource.as_str()) {
        (_, "scale") => scale::scale(call, body),
        ("get", "" | "status") => read::get(call),
        ("list", "") => read::list(call),
        ("watch", "") => watch::watch(call),
        ("create", "") => write::create(call, parse_body(&call.headers, body)?),
        ("update", "" | "status" | "finalize") => write::update(call, &parse_body(&call.headers, body)?),
        ("patch", "" | "status") => patch::patch(call, body),
        ("delete", "") => delete::delete(call, &options_body(call, body)?),
        ("deletecollection", "") => delete::delete_collection(call, &options_body(call, body)?),
        _ => Err(ApiError::method_not_allowed()),
    }
}

/// The options of a deletion, of which there may be none.
fn options_body(call: &Call, body: &[u8]) -> Result<Value> {
    if body.is_empty() { Ok(Value::Null) } else { parse_body(&call.headers, body) }
}

/// What is not a resource.
fn other(state: &State, parts: &Parts, query: &Query, segments: &[String]) -> Result<Response<Body>> {
    if parts.method != Method::GET && parts.method != Method::HEAD {
        return Err(ApiError::method_not_allowed());
    }
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    if let ["healthz" | "livez" | "readyz", ..] = segments.as_slice() {
        return Ok(response::text(StatusCode::OK, "ok"));
    }
    let accept = Accept::parse(&parts.headers)?;
    let catalog = state.catalog();
    let told = match (segments.as_slice(), accept.form) {
        (["version"], _) => Some(discovery::version()),
        (["api"], Form::Discovery) => return Ok(aggregated(&discovery::aggregated(&catalog, true))),
        (["apis"], Form::Discovery) => return Ok(aggregated(&discovery::aggregated(&catalog, false))),
        (["api"], _) => Some(discovery::core_versions()),
        (["apis"], _) => Some(discovery::groups(&catalog)),
        (["api", version], _) => discovery::resources(&catalog, "", version),
        (["apis", group], _) => discovery::group(&catalog, group),
        (["apis", group, version], _) => discovery::resources(&catalog, group, version),
        _ => None,
    };
    let told = told.ok_or_else(ApiError::unknown_path)?;
    Ok(response::json(StatusCode::OK, &told, Style::of(accept, query)))
}

fn aggregated(list: &Value) -> Response<Body> {
    const MEDIA: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    response::whole(StatusCode::OK, MEDIA, list.to_string())
}
