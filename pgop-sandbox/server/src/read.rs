//! get and list: <https://kubernetes.io/docs/reference/using-api/api-concepts/>.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Response, StatusCode};
use pgop_sandbox_schema::Cause;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::call::{Call, is_shown_as_stored, present, present_one};
use crate::request::Form;
use crate::resource::Resource;
use crate::response::{self, Body, Style};
use crate::status::{ApiError, Result};
use crate::store::{Key, Object, Objects, RevisionError};
use crate::table;

/// One object.
pub(crate) fn get(call: &Call) -> Result<Response<Body>> {
    if let Some(revision) = call.query.get("resourceVersion") {
        let asked = parse_revision(revision)?;
        let current = call.state.store.revision();
        if asked > current {
            return Err(RevisionError::Future { asked, current }.into());
        }
    }
    let object = call.stored()?;
    if call.accept.form == Form::Whole && is_shown_as_stored(&call.resource) {
        return Ok(response::json_text(
            StatusCode::OK,
            object.json.clone(),
            Style::of(call.accept, &call.query),
        ));
    }
    Ok(one(call, StatusCode::OK, &present(&call.resource, object.value())))
}

/// The answer that shows one object, in the form that was asked for.
pub(crate) fn one(call: &Call, code: StatusCode, object: &Value) -> Response<Body> {
    let style = Style::of(call.accept, &call.query);
    match call.accept.form {
        Form::Table => {
            let include = call.query.get("includeObject");
            let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
            response::json(
                code,
                &table::table(&call.resource, &[object], &metadata, include),
                style,
            )
        }
        Form::Metadata => response::json(code, &partial(object), style),
        Form::Whole | Form::Discovery => response::json(code, object, style),
    }
}

/// Only the metadata: <https://kubernetes.io/docs/reference/using-api/api-concepts/#metadata-only-fetches>.
pub(crate) fn partial(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

pub(crate) fn parse_revision(text: &str) -> Result<u64> {
    text.parse().map_err(|_| {
        ApiError::bad_request(format!(
            "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
        ))
    })
}

/// Where a list goes on, sealed from clients only by being opaque.
#[derive(Serialize, Deserialize)]
struct Continue {
    #[serde(rename = "rv")]
    revision: u64,
    #[serde(rename = "ns")]
    namespace: String,
    #[serde(rename = "start")]
    name: String,
}

/// Which objects, as of when.
struct Page {
    revision: u64,
    objects: Objects,
    /// Only what comes after.
    after: Option<Key>,
}

/// All objects that are selected.
pub(crate) fn list(call: &Call) -> Result<Response<Body>> {
    let (labels, fields) = (call.labels()?, call.fields()?);
    let limit = call
        .query
        .number::<i64>("limit")?
        .and_then(|limit| usize::try_from(limit).ok())
        .filter(|&limit| limit > 0);
    let page = page(call, limit.is_some())?;
    let mut selected: Vec<&Arc<Object>> = Vec::new();
    let mut more = None;
    let everything = labels.is_empty() && fields.is_empty();
    let mut rest = range(&page.objects, &call.path.namespace, page.after.as_ref());
    while let Some((_, object)) = rest.next() {
        let shown = everything || {
            let object = present_one(&call.resource, object);
            labels.matches(&object) && fields.matches(&object)
        };
        if !shown {
            continue;
        }
        if limit.is_some_and(|limit| selected.len() == limit) {
            more = Some(1 + if everything { rest.count() } else { 0 });
            break;
        }
        selected.push(object);
    }
    let mut metadata = json!({"resourceVersion": page.revision.to_string()});
    if let (Some(remaining), Some(last)) = (more, selected.last()) {
        metadata["continue"] = seal(page.revision, last.value()).into();
        if everything {
            metadata["remainingItemCount"] = remaining.into();
        }
    }
    Ok(answer(call, &selected, &metadata))
}

/// The objects of a namespace (or of all), from a place on.
pub(crate) fn range<'a>(
    objects: &'a Objects,
    namespace: &'a str,
    after: Option<&Key>,
) -> impl Iterator<Item = (&'a Key, &'a Arc<Object>)> {
    use std::ops::Bound;
    let start = match after {
        Some(key) => Bound::Excluded(key.clone()),
        None => Bound::Included(Key::new(namespace, "")),
    };
    objects
        .range((start, Bound::Unbounded))
        .take_while(move |(key, _)| namespace.is_empty() || key.namespace == namespace)
}

fn seal(revision: u64, last: &Value) -> String {
    let text = |field: &str| last["metadata"][field].as_str().unwrap_or_default().to_owned();
    let token = Continue {
        revision,
        namespace: text("namespace"),
        name: text("name"),
    };
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default())
}

fn list_options_invalid(field: &str, detail: &str) -> Box<ApiError> {
    ApiError::invalid_kind("meta.k8s.io", "ListOptions", "", &[Cause::forbidden(field, detail)])
}

/// The rules for `resourceVersion`, `resourceVersionMatch` and `continue` together:
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-get-and-list>.
fn page(call: &Call, limited: bool) -> Result<Page> {
    let (store, table) = (&call.state.store, &*call.resource.table);
    let (version, rule) = (
        call.query.get("resourceVersion"),
        call.query.get("resourceVersionMatch"),
    );
    if let Some(token) = call.query.get("continue") {
        if rule.is_some() {
            return Err(list_options_invalid(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden when continue is provided",
            ));
        }
        if version.is_some_and(|version| version != "0") {
            return Err(ApiError::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let token = URL_SAFE_NO_PAD
            .decode(token)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Continue>(&bytes).ok());
        let token = token.ok_or_else(|| ApiError::bad_request("continue key is not valid"))?;
        let objects = store.list_at(table, token.revision).map_err(|_| {
            ApiError::expired("The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.")
        })?;
        return Ok(Page {
            revision: token.revision,
            objects,
            after: Some(Key::new(token.namespace, token.name)),
        });
    }
    let asked = version.map(parse_revision).transpose()?;
    let exact = match (rule, asked) {
        (None, _) | (Some("NotOlderThan"), Some(_)) if !(rule.is_none() && limited) => false,
        // Without a rule, a limited list is exact: what older clients rely on.
        (None, asked) => asked.is_some_and(|asked| asked > 0),
        (Some(_), None) => {
            return Err(list_options_invalid(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            ));
        }
        (Some("Exact"), Some(0)) => {
            return Err(list_options_invalid(
                "resourceVersionMatch",
                "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            ));
        }
        (Some("Exact"), Some(_)) => true,
        (Some(other), _) => {
            let supported = ["Exact", "NotOlderThan", ""];
            let cause = Cause::not_supported("resourceVersionMatch", &other.into(), &supported);
            return Err(call.invalid_option(cause));
        }
    };
    if let (true, Some(revision)) = (exact, asked) {
        return Ok(Page {
            revision,
            objects: store.list_at(table, revision)?,
            after: None,
        });
    }
    let (revision, objects) = store.list(table);
    match asked {
        Some(asked) if asked > revision => Err(RevisionError::Future {
            asked,
            current: revision,
        }
        .into()),
        _ => Ok(Page {
            revision,
            objects,
            after: None,
        }),
    }
}

fn answer(call: &Call, objects: &[&Arc<Object>], metadata: &Value) -> Response<Body> {
    let style = Style::of(call.accept, &call.query);
    let resource = &call.resource;
    let shown = || objects.iter().map(|object| present_one(resource, object));
    match call.accept.form {
        Form::Table => {
            let shown: Vec<_> = shown().collect();
            let shown: Vec<&Value> = shown.iter().map(AsRef::as_ref).collect();
            response::json(
                StatusCode::OK,
                &table::table(resource, &shown, metadata, call.query.get("includeObject")),
                style,
            )
        }
        Form::Metadata => {
            let items: Vec<Value> = shown().map(|object| partial(&object)).collect();
            let list = json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "items": items});
            response::json(StatusCode::OK, &list, style)
        }
        Form::Whole | Form::Discovery => {
            response::json_text(StatusCode::OK, list_text(resource, shown(), metadata), style)
        }
    }
}

/// A list as text. Items of built-in kinds leave out what the list says of them all.
pub(crate) fn list_text<'a>(
    resource: &Resource,
    items: impl Iterator<Item = Cow<'a, Value>>,
    metadata: &Value,
) -> Bytes {
    let (kind, version) = (
        Value::from(resource.list_kind.as_str()),
        Value::from(resource.api_version()),
    );
    let mut text = format!(r#"{{"kind":{kind},"apiVersion":{version},"metadata":{metadata},"items":["#).into_bytes();
    for (index, item) in items.enumerate() {
        if index > 0 {
            text.push(b',');
        }
        let is_said = |field: &str| resource.custom.is_none() && ["kind", "apiVersion"].contains(&field);
        let fields = item.as_object().into_iter().flatten();
        let fields = fields.filter(|(name, _)| !is_said(name));
        let fields: Vec<String> = fields
            .map(|(name, value)| format!("{}:{value}", Value::from(name.as_str())))
            .collect();
        text.extend_from_slice(format!("{{{}}}", fields.join(",")).as_bytes());
    }
    text.extend_from_slice(b"]}");
    Bytes::from(text)
}
