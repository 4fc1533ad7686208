//! create and update, and what all writes go through: decode, prune, default, the kind's own rules, validation, field ownership, store.

use http::{Response, StatusCode};
use jiff::Timestamp;
use pgop_sandbox_schema::Cause;
use rand::seq::IndexedRandom as _;
use serde_json::{Map, Value, json};

use crate::call::{Call, present, to_stored};
use crate::read;
use crate::resource::Resource;
use crate::response::{Body, warn};
use crate::status::{ApiError, Result, write_error};
use crate::store::{Expect, Key, Object, WriteError};
use crate::{ownership, strategy};

/// What a write does besides writing.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) dry_run: bool,
    pub(crate) manager: String,
    pub(crate) unknown_fields: UnknownFields,
}

/// What happens with fields that the type does not have: <https://kubernetes.io/docs/reference/using-api/api-concepts/#field-validation>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnknownFields {
    Ignore,
    Warn,
    Refuse,
}

/// How the owners of the fields become known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owners {
    /// What differs is owned by the manager.
    Track,
    /// A server-side apply has written them down.
    Applied,
}

/// A write that was made, or would have been.
pub(crate) struct Written {
    pub(crate) object: Value,
    pub(crate) warnings: Vec<String>,
}

impl Options {
    pub(crate) fn of(call: &Call) -> Result<Self> {
        let unknown_fields = match call.query.get("fieldValidation") {
            None | Some("Warn") => UnknownFields::Warn,
            Some("Ignore") => UnknownFields::Ignore,
            Some("Strict") => UnknownFields::Refuse,
            Some(other) => {
                let cause = Cause::invalid(
                    "fieldValidation",
                    &other.into(),
                    "supported values: \"Ignore\", \"Warn\", \"Strict\"",
                );
                return Err(ApiError::invalid_kind("meta.k8s.io", "CreateOptions", "", &[cause]));
            }
        };
        Ok(Self {
            dry_run: call.dry_run()?,
            manager: call.field_manager()?,
            unknown_fields,
        })
    }
}

/// `POST` of a new object.
pub(crate) fn create(call: &Call, body: Value) -> Result<Response<Body>> {
    let options = Options::of(call)?;
    let written = create_object(call, body, &options, Owners::Track)?;
    Ok(answer(call, StatusCode::CREATED, &written))
}

/// `PUT` of an object.
pub(crate) fn update(call: &Call, body: &Value) -> Result<Response<Body>> {
    let options = Options::of(call)?;
    loop {
        let old = match call.stored() {
            Ok(old) => old,
            Err(error) if call.path.subresource.is_empty() && creates_on_update(&call.resource) => {
                // Only where there is nothing to change, and not when a certain state of it was meant.
                if !body["metadata"]["resourceVersion"]
                    .as_str()
                    .unwrap_or_default()
                    .is_empty()
                {
                    return Err(error);
                }
                call.require("create")?;
                let written = create_object(call, body.clone(), &options, Owners::Track)?;
                return Ok(answer(call, StatusCode::CREATED, &written));
            }
            Err(error) => return Err(error),
        };
        match update_object(call, &old, body.clone(), &options, Owners::Track) {
            Err(Failed::Raced) => {}
            Err(Failed::Refused(error)) => return Err(error),
            Ok(written) => return Ok(answer(call, StatusCode::OK, &written)),
        }
    }
}

pub(crate) fn answer(call: &Call, code: StatusCode, written: &Written) -> Response<Body> {
    let mut response = read::one(call, code, &written.object);
    warn(&mut response, &written.warnings);
    response
}

/// Kinds that a `PUT` makes when they are not there.
fn creates_on_update(resource: &Resource) -> bool {
    matches!(
        resource.built_in(),
        Some(("", "endpoints" | "events") | ("coordination.k8s.io", "leases") | ("rbac.authorization.k8s.io", _))
    )
}

/// Makes an object of what a client sent.
pub(crate) fn create_object(call: &Call, body: Value, options: &Options, owners: Owners) -> Result<Written> {
    let resource = &*call.resource;
    if resource.custom.as_ref().is_some_and(|custom| custom.terminating) {
        return Err(ApiError::method_not_allowed());
    }
    let (mut object, warnings) = decode(resource, body, options.unknown_fields)?;
    strategy::normalize(resource, &mut object);
    place(call, &mut object)?;
    let sent = object.clone();
    let addresses = strategy::needs_address(resource).then(|| call.state.addresses.lock());
    for attempt in 0.. {
        let mut object = sent.clone();
        let named = name(&mut object)?;
        let at = Key::new(call.path.namespace.as_str(), named.as_str());
        if let Some(namespace) = strategy::required_namespace(resource, &call.path.namespace) {
            strategy::check_namespace(call, namespace, &named)?;
        }
        begin(resource, &mut object);
        strategy::create(call, &mut object, &named)?;
        check(resource, &object, None)?;
        if owners == Owners::Track {
            ownership::track(resource, None, &mut object, &options.manager, "");
        }
        if call.state.store.get(&resource.table, &at).is_some() && object["metadata"]["generateName"].is_null() {
            return Err(ApiError::exists(resource, &named));
        }
        if options.dry_run {
            return Ok(Written { object, warnings });
        }
        match call
            .state
            .store
            .put(&resource.table, &at, Expect::Absent, to_stored(resource, object))
        {
            Ok(stored) => {
                drop(addresses);
                strategy::written(&call.state, resource);
                return Ok(Written {
                    object: present(resource, &stored.value).into_owned(),
                    warnings,
                });
            }
            // A random name that was taken: another one.
            Err(WriteError::Exists)
                if sent["metadata"]["name"].as_str().unwrap_or_default().is_empty() && attempt < 8 => {}
            Err(error) => return Err(write_error(error, resource, &named)),
        }
    }
    Err(ApiError::internal("no free name was found"))
}

/// Reads an object: it must be of the resource's kind; unknown fields go, defaults come.
pub(crate) fn decode(resource: &Resource, mut object: Value, unknown: UnknownFields) -> Result<(Value, Vec<String>)> {
    check_kind(resource, &mut object)?;
    let mut warnings: Vec<String> = Vec::new();
    let dropped = resource.schema.prune(&mut object);
    if !dropped.is_empty() {
        let told = dropped.iter().map(|field| format!("unknown field \"{field}\""));
        match unknown {
            UnknownFields::Ignore => {}
            UnknownFields::Warn => warnings.extend(told),
            UnknownFields::Refuse => {
                let told: Vec<String> = told.collect();
                let version = resource.api_version().rsplit('/').next().unwrap_or_default().to_owned();
                let kind = &resource.kind;
                return Err(ApiError::bad_request(if resource.custom.is_some() {
                    format!("strict decoding error: {}", told.join(", "))
                } else {
                    format!(
                        "{kind} in version \"{version}\" cannot be handled as a {kind}: strict decoding error: {}",
                        told.join(", ")
                    )
                }));
            }
        }
    }
    resource.schema.default(&mut object);
    if let Some(warning) = resource.custom.as_ref().and_then(|custom| custom.deprecation.clone()) {
        warnings.push(warning);
    }
    Ok((object, warnings))
}

fn check_kind(resource: &Resource, object: &mut Value) -> Result<()> {
    let expected = resource.api_version();
    let Some(fields) = object.as_object_mut() else {
        return Err(ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): it is no JSON object",
            resource.kind
        )));
    };
    for (field, expected) in [("kind", &resource.kind), ("apiVersion", &expected)] {
        match fields.get(field).and_then(Value::as_str) {
            Some(given) if given == expected => {}
            None | Some("") if resource.custom.is_none() => {
                fields.insert(field.into(), expected.as_str().into());
            }
            None | Some("") => {
                let missing = if field == "kind" { "Kind" } else { "apiVersion" };
                return Err(ApiError::bad_request(format!(
                    "the object provided is unrecognized: Object '{missing}' is missing in '{}'",
                    Value::Object(fields.clone())
                )));
            }
            Some(given) => {
                let what = if field == "kind" { "kind" } else { "API version" };
                return Err(ApiError::bad_request(format!(
                    "the {what} in the data ({given}) does not match the expected {what} ({expected})"
                )));
            }
        }
    }
    match fields.entry("metadata").or_insert_with(|| json!({})) {
        Value::Object(_) => Ok(()),
        null @ Value::Null => {
            *null = json!({});
            Ok(())
        }
        other => Err(ApiError::bad_request(format!(
            "metadata: Invalid value: {other}: must be an object"
        ))),
    }
}

/// The namespace and name of the path, which those in the object may not contradict.
pub(crate) fn place(call: &Call, object: &mut Value) -> Result<()> {
    let Some(metadata) = object["metadata"].as_object_mut() else {
        return Ok(());
    };
    let namespace = &call.path.namespace;
    let given = metadata.get("namespace").and_then(Value::as_str).unwrap_or_default();
    if call.resource.namespaced {
        if !given.is_empty() && given != namespace {
            return Err(ApiError::bad_request(format!(
                "the namespace of the provided object does not match the namespace sent on the request ({given} != {namespace})"
            )));
        }
        metadata.insert("namespace".into(), namespace.as_str().into());
    } else {
        metadata.remove("namespace");
    }
    let name = &call.path.name;
    if !name.is_empty() {
        let given = metadata.get("name").and_then(Value::as_str).unwrap_or_default();
        if !given.is_empty() && given != name {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({given}) does not match the name on the URL ({name})"
            )));
        }
        metadata.insert("name".into(), name.as_str().into());
    }
    Ok(())
}

/// The name of a new object, made up when asked for.
fn name(object: &mut Value) -> Result<String> {
    const LONGEST_PREFIX: usize = 58;
    let given = object["metadata"]["name"].as_str().unwrap_or_default();
    if !given.is_empty() {
        return Ok(given.to_owned());
    }
    let prefix = object["metadata"]["generateName"].as_str().unwrap_or_default();
    if prefix.is_empty() {
        let kind = object["kind"].as_str().unwrap_or_default();
        let group = object["apiVersion"]
            .as_str()
            .and_then(|version| version.split_once('/'))
            .map_or("", |(group, _)| group);
        let cause = Cause::required("metadata.name", "name or generateName is required");
        return Err(ApiError::invalid_kind(group, kind, "", &[cause]));
    }
    let prefix: String = prefix.chars().take(LONGEST_PREFIX).collect();
    let name = format!("{prefix}{}", random_suffix());
    object["metadata"]["name"] = name.clone().into();
    Ok(name)
}

/// Five letters and digits that spell no words.
pub(crate) fn random_suffix() -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut random = rand::rng();
    (0..5)
        .filter_map(|_| LETTERS.choose(&mut random))
        .map(|&letter| char::from(letter))
        .collect()
}

pub(crate) fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// What the server alone says of a new object.
fn begin(resource: &Resource, object: &mut Value) {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for field in [
            "resourceVersion",
            "selfLink",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
        ] {
            metadata.remove(field);
        }
        metadata.insert("uid".into(), uuid::Uuid::new_v4().to_string().into());
        metadata.insert("creationTimestamp".into(), now().into());
        if resource.counts_generation {
            metadata.insert("generation".into(), 1.into());
        }
    }
    // A node tells of itself when it registers.
    if resource.has_status
        && !resource.is("", "nodes")
        && let Some(fields) = object.as_object_mut()
    {
        fields.remove("status");
    }
}

/// All rules about an object that is to be stored.
fn check(resource: &Resource, object: &Value, old: Option<&Value>) -> Result<()> {
    let causes = strategy::validate(resource, object, old);
    if causes.is_empty() {
        return Ok(());
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    Err(ApiError::invalid(resource, name, &causes))
}

/// Why an update was not made.
pub(crate) enum Failed {
    /// Another write came first, which the client did not rule out: to be done again upon that.
    Raced,
    Refused(Box<ApiError>),
}

impl From<Box<ApiError>> for Failed {
    fn from(error: Box<ApiError>) -> Self {
        Self::Refused(error)
    }
}

/// Puts what a client sent in the place of an object, or of its part that a subresource is.
pub(crate) fn update_object(
    call: &Call,
    stored: &Object,
    body: Value,
    options: &Options,
    owners: Owners,
) -> Result<Written, Failed> {
    let resource = &*call.resource;
    let (mut new, warnings) = decode(resource, body, options.unknown_fields)?;
    strategy::normalize(resource, &mut new);
    place(call, &mut new)?;
    let old = present(resource, &stored.value);
    let checked = check_identity(call, stored, &new)?;
    carry_over(resource, &call.path.subresource, &old, &mut new);
    strategy::update(call, &old, &mut new)?;
    count_generation(resource, &old, &mut new);
    check(resource, &new, Some(&old))?;
    if owners == Owners::Track {
        ownership::track(resource, Some(&old), &mut new, &options.manager, &call.path.subresource);
    }
    if same(&old, &new) {
        return Ok(Written {
            object: old.into_owned(),
            warnings,
        });
    }
    if options.dry_run {
        return Ok(Written { object: new, warnings });
    }
    let gone = is_done_for(resource, &new);
    let table = &resource.table;
    let (key, stored_form) = (call.key(), to_stored(resource, new));
    let result = if gone {
        // The last finalizer was taken away: this write is the deletion.
        call.state.store.remove(table, &key, stored.revision, Some(stored_form))
    } else {
        call.state
            .store
            .put(table, &key, Expect::Revision(stored.revision), stored_form)
    };
    match result {
        Ok(stored) => {
            strategy::written(&call.state, resource);
            if gone {
                strategy::removed(&call.state, resource);
            }
            Ok(Written {
                object: present(resource, &stored.value).into_owned(),
                warnings,
            })
        }
        Err(WriteError::Changed | WriteError::Missing) if !checked => Err(Failed::Raced),
        Err(error) => Err(write_error(error, resource, &call.path.name).into()),
    }
}

/// Whether the client said upon which state it writes; an error if that is not the state.
fn check_identity(call: &Call, stored: &Object, new: &Value) -> Result<bool> {
    let (resource, name) = (&*call.resource, call.path.name.as_str());
    let uid = new["metadata"]["uid"].as_str().unwrap_or_default();
    let current = stored.value["metadata"]["uid"].as_str().unwrap_or_default();
    if !uid.is_empty() && uid != current {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {current}");
        return Err(ApiError::conflict(resource, name, &why));
    }
    match new["metadata"]["resourceVersion"].as_str().unwrap_or_default() {
        "" | "0"
            if call.verb == "update"
                && call.path.subresource != "scale"
                && !strategy::allows_unconditional_update(resource) =>
        {
            let zero = Value::from(0);
            let cause = Cause::invalid("metadata.resourceVersion", &zero, "must be specified for an update");
            Err(ApiError::invalid(resource, name, &[cause]))
        }
        "" | "0" => Ok(false),
        revision if read::parse_revision(revision)? == stored.revision => Ok(true),
        _ => Err(ApiError::modified(resource, name)),
    }
}

/// Takes from the old object what the request can't change.
fn carry_over(resource: &Resource, subresource: &str, old: &Value, new: &mut Value) {
    if subresource == "status" {
        let status = new.get("status").cloned();
        let managed = new["metadata"].get("managedFields").cloned();
        *new = old.clone();
        put(new, "status", status);
        put(&mut new["metadata"], "managedFields", managed);
        return;
    }
    if resource.has_status {
        put(new, "status", old.get("status").cloned());
    }
    for field in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "resourceVersion",
        "selfLink",
    ] {
        put(&mut new["metadata"], field, old["metadata"].get(field).cloned());
    }
    if new["metadata"].get("managedFields").is_none() {
        put(
            &mut new["metadata"],
            "managedFields",
            old["metadata"].get("managedFields").cloned(),
        );
    }
}

/// Sets a field, or takes it away.
pub(crate) fn put(object: &mut Value, field: &str, value: Option<Value>) {
    let Some(fields) = object.as_object_mut() else { return };
    match value {
        Some(value) => fields.insert(field.into(), value),
        None => fields.remove(field),
    };
}

/// What counts as the desired state: of custom resources everything that is not status or metadata.
fn count_generation(resource: &Resource, old: &Value, new: &mut Value) {
    if !resource.counts_generation {
        return;
    }
    let changed = if resource.custom.is_some() {
        fn desired<'a>(resource: &Resource, object: &'a Value) -> Map<String, Value> {
            let fields: &'a Map<String, Value> = match object.as_object() {
                Some(fields) => fields,
                None => return Map::new(),
            };
            let told =
                |name: &str| name == "metadata" || name == "apiVersion" || (name == "status" && resource.has_status);
            fields
                .iter()
                .filter(|(name, _)| !told(name))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect()
        }
        desired(resource, old) != desired(resource, new)
    } else {
        old.get("spec") != new.get("spec")
    };
    if changed {
        let generation = old["metadata"]["generation"].as_i64().unwrap_or(0);
        new["metadata"]["generation"] = (generation + 1).into();
    }
}

/// Whether a write would change nothing. Times at which managers last wrote don't count.
fn same(old: &Value, new: &Value) -> bool {
    let bare = |object: &Value| {
        let mut object = object.clone();
        for entry in object["metadata"]
            .get_mut("managedFields")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            put(entry, "time", None);
        }
        object
    };
    old == new || bare(old) == bare(new)
}

/// Whether a deleted object has nothing more that holds it.
pub(crate) fn is_done_for(resource: &Resource, object: &Value) -> bool {
    let metadata = &object["metadata"];
    let held = |list: &Value| list.as_array().is_some_and(|list| !list.is_empty());
    metadata.get("deletionTimestamp").is_some_and(|time| !time.is_null())
        && metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
        && !held(&metadata["finalizers"])
        && !(resource.is("", "namespaces") && held(&object["spec"]["finalizers"]))
}
