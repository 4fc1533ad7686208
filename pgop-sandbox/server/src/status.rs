//! Errors as Kubernetes tells them: <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/>.

use http::StatusCode;
use pgop_sandbox_schema::Cause;
use serde_json::{Map, Value, json};

use crate::resource::Resource;
use crate::store::{RevisionError, WriteError};

/// A request that failed, as its sender is told.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub(crate) code: StatusCode,
    reason: &'static str,
    message: String,
    details: Map<String, Value>,
}

/// The answer to something that may fail.
pub(crate) type Result<T, E = Box<ApiError>> = std::result::Result<T, E>;

impl ApiError {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Box<Self> {
        Box::new(Self {
            code,
            reason,
            message: message.into(),
            details: Map::new(),
        })
    }

    fn about(self: Box<Self>, resource: &Resource, kind: &str, name: &str) -> Box<Self> {
        self.named(&resource.group, kind, name)
    }

    fn named(mut self: Box<Self>, group: &str, kind: &str, name: &str) -> Box<Self> {
        if !name.is_empty() {
            self.details.insert("name".into(), name.into());
        }
        if !group.is_empty() {
            self.details.insert("group".into(), group.into());
        }
        self.details.insert("kind".into(), kind.into());
        self
    }

    /// What clients may do: try again after so many seconds.
    fn retry_after(mut self: Box<Self>, seconds: u64) -> Box<Self> {
        self.details.insert("retryAfterSeconds".into(), seconds.into());
        self
    }

    fn causes(mut self: Box<Self>, causes: Vec<Value>) -> Box<Self> {
        self.details.insert("causes".into(), Value::Array(causes));
        self
    }

    /// No such object.
    pub(crate) fn not_found(resource: &Resource, name: &str) -> Box<Self> {
        let message = format!("{} \"{name}\" not found", resource.qualified());
        Self::new(StatusCode::NOT_FOUND, "NotFound", message).about(resource, &resource.plural, name)
    }

    /// No such path.
    pub(crate) fn unknown_path() -> Box<Self> {
        Self::new(
            StatusCode::NOT_FOUND,
            "NotFound",
            "the server could not find the requested resource",
        )
    }

    /// The name is taken; `going`: by an object that is being deleted.
    pub(crate) fn exists(resource: &Resource, name: &str, going: bool) -> Box<Self> {
        let start = if going { "object is being deleted: " } else { "" };
        let message = format!("{start}{} \"{name}\" already exists", resource.qualified());
        Self::new(StatusCode::CONFLICT, "AlreadyExists", message).about(resource, &resource.plural, name)
    }

    /// Another write came first.
    pub(crate) fn modified(resource: &Resource, name: &str) -> Box<Self> {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, why)
    }

    pub(crate) fn conflict(resource: &Resource, name: &str, why: &str) -> Box<Self> {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": {why}",
            resource.qualified()
        );
        Self::new(StatusCode::CONFLICT, "Conflict", message).about(resource, &resource.plural, name)
    }

    /// Server-side apply: others own fields. Each cause is a field and who owns it.
    pub(crate) fn apply_conflicts<'a>(message: String, causes: impl Iterator<Item = (&'a str, String)>) -> Box<Self> {
        let causes = causes
            .map(|(field, message)| json!({"reason": "FieldManagerConflict", "message": message, "field": field}))
            .collect();
        Self::new(StatusCode::CONFLICT, "Conflict", message).causes(causes)
    }

    /// The object breaks rules.
    pub(crate) fn invalid(resource: &Resource, name: &str, causes: &[Cause]) -> Box<Self> {
        Self::invalid_kind(&resource.group, &resource.kind, name, causes)
    }

    /// An object of a kind that has no resource of its own breaks rules.
    pub(crate) fn invalid_kind(group: &str, kind: &str, name: &str, causes: &[Cause]) -> Box<Self> {
        let told: Vec<String> = causes
            .iter()
            .map(|cause| match cause.field.as_str() {
                "" => cause.message.clone(),
                field => format!("{field}: {}", cause.message),
            })
            .collect();
        let told = if let [one] = told.as_slice() {
            one.clone()
        } else {
            format!("[{}]", told.join(", "))
        };
        let qualified = if group.is_empty() {
            kind.to_owned()
        } else {
            format!("{kind}.{group}")
        };
        let message = format!("{qualified} \"{name}\" is invalid: {told}");
        let mut error = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message);
        error.details.insert("name".into(), name.into());
        if !group.is_empty() {
            error.details.insert("group".into(), group.into());
        }
        error.details.insert("kind".into(), kind.into());
        let causes = causes
            .iter()
            .map(|cause| json!({"reason": cause.reason, "message": cause.message, "field": cause.field}))
            .collect();
        error.causes(causes)
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Box<Self> {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// A patch that reads well but can't be applied to the object. Kubernetes does not say why.
    pub(crate) fn unprocessable() -> Box<Self> {
        let message = "the server rejected our request due to an error in our request";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message)
    }

    pub(crate) fn is_exists(&self) -> bool {
        self.reason == "AlreadyExists"
    }

    pub(crate) fn unauthorized() -> Box<Self> {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    pub(crate) fn forbidden(resource: &Resource, name: &str, why: &str) -> Box<Self> {
        Self::forbidden_resource(&resource.group, &resource.plural, name, why)
    }

    /// The same for a resource that need not exist.
    pub(crate) fn forbidden_resource(group: &str, plural: &str, name: &str, why: &str) -> Box<Self> {
        let qualified = if group.is_empty() {
            plural.to_owned()
        } else {
            format!("{plural}.{group}")
        };
        let message = if name.is_empty() {
            format!("{qualified} is forbidden: {why}")
        } else {
            format!("{qualified} \"{name}\" is forbidden: {why}")
        };
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message).named(group, plural, name)
    }

    /// The namespace for which an object is meant is being deleted.
    pub(crate) fn terminating(resource: &Resource, name: &str, namespace: &str) -> Box<Self> {
        let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
        let cause = json!({
            "reason": "NamespaceTerminating", "field": "metadata.namespace",
            "message": format!("namespace {namespace} is being terminated"),
        });
        Self::forbidden(resource, name, &why).causes(vec![cause])
    }

    /// A path outside of the resources that the sender may not use.
    pub(crate) fn forbidden_path(why: &str) -> Box<Self> {
        Self::new(StatusCode::FORBIDDEN, "Forbidden", format!("forbidden: {why}"))
    }

    pub(crate) fn method_not_allowed() -> Box<Self> {
        let message = "the server does not allow this method on the requested resource";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    pub(crate) fn not_acceptable(offered: &str) -> Box<Self> {
        let message = format!("only the following media types are accepted: {offered}");
        Self::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message)
    }

    pub(crate) fn unsupported_media(accepted: &str) -> Box<Self> {
        let message =
            format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    }

    pub(crate) fn too_large(limit: usize) -> Box<Self> {
        let message = format!("Request entity too large: limit is {limit}");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
    }

    /// A disruption budget stands against an eviction.
    pub(crate) fn disruption_budget(why: &str) -> Box<Self> {
        let message = "Cannot evict pod as it would violate the pod's disruption budget.";
        let cause = json!({"reason": "DisruptionBudget", "message": why});
        Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message).causes(vec![cause])
    }

    pub(crate) fn expired(message: impl Into<String>) -> Box<Self> {
        Self::new(StatusCode::GONE, "Expired", message)
    }

    /// An error for which Kubernetes has no reason of its own.
    pub(crate) fn unclassified(message: impl Into<String>) -> Box<Self> {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "", message)
    }

    pub(crate) fn internal(error: &(impl std::fmt::Display + ?Sized)) -> Box<Self> {
        let message = format!("Internal error occurred: {error}");
        let cause = json!({"message": error.to_string()});
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message).causes(vec![cause])
    }

    /// The node refused or could not be reached.
    pub(crate) fn unavailable(message: impl Into<String>) -> Box<Self> {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message).retry_after(1)
    }

    /// What is asked for can't be reached; to try again at once is no use.
    pub(crate) fn unreachable(message: impl Into<String>) -> Box<Self> {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
    }

    /// The object that is told: <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/>.
    pub(crate) fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code.as_u16(),
        });
        if !self.reason.is_empty() {
            status["reason"] = self.reason.into();
        }
        // kubectl looks into the details of these whether there are any or not.
        let asked_for = [StatusCode::NOT_FOUND, StatusCode::UNPROCESSABLE_ENTITY].contains(&self.code);
        if !self.details.is_empty() || asked_for {
            status["details"] = Value::Object(self.details.clone());
        }
        status
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<RevisionError> for Box<ApiError> {
    fn from(error: RevisionError) -> Self {
        match error {
            RevisionError::Expired { .. } => ApiError::expired(error.to_string()),
            RevisionError::Future { .. } => {
                let cause = json!({"reason": "ResourceVersionTooLarge", "message": "Too large resource version"});
                let message = format!("Timeout: {error}");
                ApiError::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message)
                    .retry_after(1)
                    .causes(vec![cause])
            }
        }
    }
}

/// A write that the store refused, in words about an object.
pub(crate) fn write_error(error: WriteError, resource: &Resource, name: &str) -> Box<ApiError> {
    match error {
        WriteError::Exists => ApiError::exists(resource, name, false),
        WriteError::Missing => ApiError::not_found(resource, name),
        WriteError::Changed => ApiError::modified(resource, name),
        WriteError::Journal(error) => ApiError::internal(&error),
    }
}

/// The answer to a deletion that is done.
pub(crate) fn success(resource: &Resource, name: &str, uid: &str) -> Value {
    let mut details = json!({"name": name, "kind": resource.plural, "uid": uid});
    if !resource.group.is_empty() {
        details["group"] = resource.group.clone().into();
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}
