//! One request about a resource, understood as far as all verbs need it.

use std::borrow::Cow;
use std::sync::Arc;

use http::HeaderMap;
use pgop_sandbox_schema::Cause;
use serde_json::Value;

use crate::access::{self, Attempt};
use crate::identity::Identity;
use crate::request::{Accept, Query, ResourcePath};
use crate::resource::Resource;
use crate::selector::{FieldSelector, LabelSelector};
use crate::state::State;
use crate::status::{ApiError, Result};
use crate::store::{Key, Object};

pub(crate) struct Call {
    pub(crate) state: Arc<State>,
    pub(crate) resource: Arc<Resource>,
    pub(crate) verb: &'static str,
    pub(crate) path: ResourcePath,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) accept: Accept,
    pub(crate) identity: Identity,
}

impl Call {
    /// A call of the server to itself.
    pub(crate) fn internal(state: &Arc<State>, group: &str, plural: &str, namespace: &str) -> Result<Self> {
        let resource = state
            .catalog()
            .find(group, "v1", plural)
            .ok_or_else(ApiError::unknown_path)?;
        let path = ResourcePath {
            namespace: namespace.into(),
            ..ResourcePath::default()
        };
        let (query, headers) = (Query::default(), HeaderMap::new());
        let (accept, identity) = (Accept::default(), Identity::admin());
        Ok(Self {
            state: state.clone(),
            resource,
            verb: "create",
            path,
            query,
            headers,
            accept,
            identity,
        })
    }

    /// The error for a sender who may not do this too with the object of the path.
    pub(crate) fn require(&self, verb: &str) -> Result<()> {
        let attempt = Attempt {
            verb: verb.into(),
            group: self.resource.group.clone(),
            resource: self.resource.plural.clone(),
            namespace: self.path.namespace.clone(),
            name: self.path.name.clone(),
            path: None,
        };
        access::require(&self.state, &self.identity, &attempt)
    }

    /// Where the object of the path is.
    pub(crate) fn key(&self) -> Key {
        Key::new(self.path.namespace.as_str(), self.path.name.as_str())
    }

    /// The object of the path as it is stored.
    pub(crate) fn stored(&self) -> Result<Arc<Object>> {
        self.state
            .store
            .get(&self.resource.table, &self.key())
            .ok_or_else(|| ApiError::not_found(&self.resource, &self.path.name))
    }

    pub(crate) fn labels(&self) -> Result<LabelSelector> {
        LabelSelector::parse(self.query.get("labelSelector").unwrap_or_default())
            .map_err(|error| ApiError::bad_request(error.to_string()))
    }

    pub(crate) fn fields(&self) -> Result<FieldSelector> {
        let mut text = self.query.get("fieldSelector").unwrap_or_default().to_owned();
        if !self.path.name.is_empty() {
            text = format!("metadata.name={},{text}", self.path.name);
        }
        FieldSelector::parse(&text, &self.resource).map_err(|error| ApiError::bad_request(error.to_string()))
    }

    /// A wrong option of the request, in the query or (of a deletion) in the body.
    pub(crate) fn invalid_option(&self, cause: Cause) -> Box<ApiError> {
        let kind = match self.verb {
            "get" => "GetOptions",
            "list" | "watch" => "ListOptions",
            "create" => "CreateOptions",
            "update" => "UpdateOptions",
            "patch" => "PatchOptions",
            _ => "DeleteOptions",
        };
        ApiError::invalid_kind("meta.k8s.io", kind, "", &[cause])
    }

    /// Whether the write is only tried out: by what the query says, or these further values.
    pub(crate) fn dry_run_with(&self, more: &[String]) -> Result<bool> {
        let said = self.query.all("dryRun").filter(|value| !value.is_empty());
        let said: Vec<&str> = said.chain(more.iter().map(String::as_str)).collect();
        match said.iter().find(|value| **value != "All") {
            Some(other) => Err(self.invalid_option(Cause::not_supported("dryRun", &(*other).into(), &["All"]))),
            None => Ok(!said.is_empty()),
        }
    }

    pub(crate) fn dry_run(&self) -> Result<bool> {
        self.dry_run_with(&[])
    }

    /// Who is written down as the one that set fields.
    pub(crate) fn field_manager(&self) -> Result<String> {
        if let Some(manager) = self.query.get("fieldManager") {
            if manager.len() > 128 {
                return Err(self.invalid_option(Cause::too_long("fieldManager", 128)));
            }
            if manager.chars().any(char::is_control) {
                let detail = "should only contain printable characters";
                return Err(self.invalid_option(Cause::invalid("fieldManager", &manager.into(), detail)));
            }
            return Ok(manager.to_owned());
        }
        let agent = self
            .headers
            .get(http::header::USER_AGENT)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let name: String = agent.split('/').next().unwrap_or_default().chars().take(128).collect();
        Ok(if name.is_empty() { "unknown".into() } else { name })
    }
}

/// A stored object as a version of its API shows it. Objects of CRDs follow the schema of now, whatever it was when they were written:
/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#defaulting>.
pub(crate) fn present<'a>(resource: &Resource, object: &'a Value) -> Cow<'a, Value> {
    if is_shown_as_stored(resource) {
        return Cow::Borrowed(object);
    }
    let mut object = object.clone();
    if resource.is("events.k8s.io", "events") {
        crate::strategy::event::to_new(&mut object);
    }
    object["apiVersion"] = resource.api_version().into();
    if resource.custom.is_some() {
        resource.schema.prune(&mut object);
        resource.schema.default(&mut object);
    }
    Cow::Owned(object)
}

/// The same of one of many.
pub(crate) fn present_one<'a>(resource: &Resource, object: &'a Object) -> Cow<'a, Value> {
    match object.glance() {
        Cow::Borrowed(value) => present(resource, value),
        Cow::Owned(value) if is_shown_as_stored(resource) => Cow::Owned(value),
        Cow::Owned(value) => Cow::Owned(present(resource, &value).into_owned()),
    }
}

/// Whether the version shows objects as they are stored.
pub(crate) fn is_shown_as_stored(resource: &Resource) -> bool {
    if resource.custom.is_some() {
        return false;
    }
    let (group, version) = resource.stored_as.split_once('/').unwrap_or(("", &resource.stored_as));
    resource.group == group && resource.version == version
}

/// An object of a version of the API as it is stored.
pub(crate) fn to_stored(resource: &Resource, mut object: Value) -> Value {
    if !is_shown_as_stored(resource) {
        if resource.is("events.k8s.io", "events") {
            crate::strategy::event::to_core(&mut object);
        }
        object["apiVersion"] = resource.stored_as.clone().into();
    }
    object
}
