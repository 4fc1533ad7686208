//! From a request to its answer.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Method, Request, Response, StatusCode, request::Parts};
use hyper::upgrade::OnUpgrade;
use pgop_sandbox_tasks::watched;
use serde_json::Value;

use crate::call::Call;
use crate::identity::Identity;
use crate::request::{Accept, Form, Path, Query, ResourcePath, parse_body, read_body, verb};
use crate::response::{self, Body, Style};
use crate::state::State;
use crate::status::{ApiError, Result};
use crate::{
    access, access::Attempt, connect, delete, discovery, metrics::Labels, openapi, patch, placement, read, review,
    scale, token, watch, write,
};

/// Answers a request. Whatever goes wrong is an answer too.
pub(crate) async fn serve<B>(state: Arc<State>, identity: Option<Identity>, request: Request<B>) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (mut parts, body) = request.into_parts();
    let name = format!("{} {}", parts.method, parts.uri.path());
    let answered = watched(name, answer(&state, identity, &mut parts, body)).await;
    let response = match answered {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => response::error(&error),
        // A fault of ours, of which the log has told: this request fails, the server goes on.
        Err(_) => response::error(&ApiError::internal("the request could not be handled")),
    };
    count(&state, &parts, response.status());
    response
}

async fn answer<B>(state: &Arc<State>, identity: Option<Identity>, parts: &mut Parts, body: B) -> Result<Response<Body>>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let identity = access::authenticate(state, identity, &parts.headers)?;
    let query = Query::parse(parts.uri.query());
    match Path::parse(parts.uri.path())? {
        Path::Other(segments) => {
            let verb = parts.method.as_str().to_lowercase();
            let attempt = Attempt {
                verb,
                path: Some(parts.uri.path().to_owned()),
                ..Attempt::default()
            };
            access::require(state, &identity, &attempt)?;
            other(state, parts, &query, &segments)
        }
        Path::Resource(path) => {
            permit(state, &identity, &parts.method, &path, &query)?;
            let upgrade = parts.extensions.remove::<OnUpgrade>();
            let call = understand(state.clone(), identity, parts, path, query)?;
            match call.path.subresource.as_str() {
                "log" | "exec" | "attach" | "portforward" => connect::connect(&call, upgrade).await,
                "proxy" => connect::proxy(&call, parts, upgrade, body).await,
                _ => dispatch(&call, &read_body(body).await?),
            }
        }
    }
}

/// Whether the sender may do that. It comes before all other errors about the request, as they would tell what there is.
fn permit(state: &State, identity: &Identity, method: &Method, path: &ResourcePath, query: &Query) -> Result<()> {
    let verb = verb(method, path, query)?;
    let resource = match path.subresource.as_str() {
        "" => path.plural.clone(),
        subresource => format!("{}/{subresource}", path.plural),
    };
    // The permission to change a namespace is asked for within it.
    let within = path.group.is_empty() && path.plural == "namespaces" && !path.name.is_empty();
    let namespace = if within {
        path.name.clone()
    } else {
        path.namespace.clone()
    };
    let mut name = path.name.clone();
    if name.is_empty() && verb != "create" {
        // Who may see only certain objects may list and watch each of them.
        name = named_by_selector(query).unwrap_or_default();
    }
    let attempt = Attempt {
        verb: verb.into(),
        group: path.group.clone(),
        resource,
        namespace,
        name,
        path: None,
    };
    access::require(state, identity, &attempt)
}

/// The one name that a field selector leaves.
fn named_by_selector(query: &Query) -> Option<String> {
    let mut terms = query.get("fieldSelector")?.split(',').map(str::trim);
    let name = terms.find_map(|term| term.strip_prefix("metadata.name="))?;
    Some(name.trim_start_matches('=').to_owned())
}

fn count(state: &State, parts: &Parts, code: StatusCode) {
    let Ok(Path::Resource(path)) = Path::parse(parts.uri.path()) else {
        return;
    };
    // Only what exists: labels are not for clients to make up.
    if state.catalog().find(&path.group, &path.version, &path.plural).is_none() {
        return;
    }
    let query = Query::parse(parts.uri.query());
    let Ok(verb) = verb(&parts.method, &path, &query) else {
        return;
    };
    let ResourcePath {
        group,
        version,
        plural: resource,
        subresource,
        ..
    } = path;
    let subresource = if subresource.len() > 32 {
        String::new()
    } else {
        subresource
    };
    let is_apply = parts
        .headers
        .get(CONTENT_TYPE)
        .is_some_and(|media| media.as_bytes().starts_with(b"application/apply-patch"));
    let verb = match verb {
        "create" => "POST",
        "update" => "PUT",
        "patch" if is_apply => "APPLY",
        other => &other.to_uppercase(),
    };
    state.metrics.count(&Labels {
        verb: verb.into(),
        group,
        version,
        resource,
        subresource,
        code: code.as_u16(),
    });
}

fn understand(state: Arc<State>, identity: Identity, parts: &Parts, path: ResourcePath, query: Query) -> Result<Call> {
    let resource = state
        .catalog()
        .find(&path.group, &path.version, &path.plural)
        .ok_or_else(ApiError::unknown_path)?;
    let verb = verb(&parts.method, &path, &query)?;
    // A cluster-scoped resource is not within a namespace; a namespaced one is written to only within one.
    if !resource.namespaced && !path.namespace.is_empty() {
        return Err(ApiError::unknown_path());
    }
    let across = path.name.is_empty() && matches!(verb, "list" | "watch" | "deletecollection");
    if resource.namespaced && path.namespace.is_empty() && !across {
        return Err(if path.name.is_empty() {
            ApiError::method_not_allowed()
        } else {
            ApiError::unknown_path()
        });
    }
    if path.subresource.is_empty() {
        if !resource.verbs().contains(&verb) {
            return Err(ApiError::method_not_allowed());
        }
    } else {
        let subresources = resource.subresources();
        let served = subresources
            .iter()
            .find(|sub| sub.name == path.subresource)
            .ok_or_else(ApiError::unknown_path)?;
        if !served.verbs.contains(&verb) && !verb.is_empty() {
            return Err(ApiError::method_not_allowed());
        }
    }
    let mut accept = match path.subresource.as_str() {
        // They answer in a form of their own, whatever is accepted.
        "log" | "exec" | "attach" | "portforward" | "proxy" => Accept::default(),
        _ => Accept::parse(&parts.headers)?,
    };
    if path.subresource == "scale" {
        accept.form = scale::form(accept.form);
    }
    Ok(Call {
        state,
        resource,
        verb,
        path,
        query,
        headers: parts.headers.clone(),
        accept,
        identity,
    })
}

fn dispatch(call: &Call, body: &[u8]) -> Result<Response<Body>> {
    let object = || parse_body(&call.headers, body);
    match (call.verb, call.path.subresource.as_str()) {
        ("create", "") if call.resource.is_virtual() => review::review(call, object()?),
        ("create", "binding") => placement::bind(call, &object()?),
        ("create", "eviction") => placement::evict(call, &object()?),
        ("create", "token") => token::issue(call, object()?),
        (_, "scale") => scale::scale(call, body),
        ("get", "" | "status") => read::get(call),
        ("list", "") => read::list(call),
        ("watch", "") => watch::watch(call),
        ("create", "") => write::create(call, object()?),
        ("update", "" | "status" | "finalize") => write::update(call, &object()?),
        ("patch", "" | "status") => patch::patch(call, body),
        ("delete", "") => delete::delete(call, &options_body(call, body)?),
        ("deletecollection", "") => delete::delete_collection(call, &options_body(call, body)?),
        _ => Err(ApiError::method_not_allowed()),
    }
}

/// The options of a deletion, of which there may be none.
fn options_body(call: &Call, body: &[u8]) -> Result<Value> {
    if body.is_empty() {
        Ok(Value::Null)
    } else {
        parse_body(&call.headers, body)
    }
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
    if let ["metrics"] = segments.as_slice() {
        return Ok(response::text(StatusCode::OK, state.metrics.text()));
    }
    let catalog = state.catalog();
    let asked = parts
        .headers
        .get(ACCEPT)
        .and_then(|media| media.to_str().ok())
        .unwrap_or_default();
    if segments == ["openapi", "v2"] && [openapi::PROTOBUF_ASKED, openapi::PROTOBUF].contains(&asked) {
        let document = openapi::protobuf(&openapi::all(&catalog));
        return Ok(response::whole(StatusCode::OK, openapi::PROTOBUF, document));
    }
    let accept = Accept::parse(&parts.headers)?;
    let told = match (segments.as_slice(), accept.form) {
        (["version"], _) => Some(discovery::version()),
        (["api"], Form::Discovery) => return Ok(aggregated(&discovery::aggregated(&catalog, true))),
        (["apis"], Form::Discovery) => return Ok(aggregated(&discovery::aggregated(&catalog, false))),
        (["api"], _) => Some(discovery::core_versions()),
        (["apis"], _) => Some(discovery::groups(&catalog)),
        (["openapi", "v2"], _) => Some(openapi::all(&catalog)),
        (["openapi", "v3"], _) => Some(openapi::index(&catalog)),
        (["openapi", "v3", "api", version], _) => openapi::version(&catalog, "", version),
        (["openapi", "v3", "apis", group, version], _) => openapi::version(&catalog, group, version),
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
