//! create and update, and what all writes go through: decode, prune, default, the kind's own rules, validation, field ownership, store.

mod decode;
mod metadata;
mod options;

use http::{Response, StatusCode};
use pgop_sandbox_schema::Cause;
use serde_json::Value;

use crate::call::{Call, present, to_stored};
use crate::read;
use crate::resource::Resource;
use crate::response::{Body, warn};
use crate::status::{ApiError, Result, write_error};
use crate::store::{Expect, Key, Object, WriteError};
use crate::{ownership, strategy};

use decode::decode;
use metadata::{begin, carry_over, count_generation, name, place, same};
pub(crate) use metadata::{is_done_for, now, put, random_suffix};
pub(crate) use options::{Options, UnknownFields};

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
    if !matches!(object["metadata"]["resourceVersion"].as_str(), None | Some("" | "0")) {
        return Err(ApiError::unclassified(
            "resourceVersion should not be set on objects to be created",
        ));
    }
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
        let generated = sent["metadata"]["name"].is_null();
        if let Some(taken) = call.state.store.get(&resource.table, &at).filter(|_| !generated) {
            let going = taken.value()["metadata"].get("deletionTimestamp").is_some();
            return Err(ApiError::exists(resource, &named, going));
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
                    object: present(resource, stored.value()).into_owned(),
                    warnings,
                });
            }
            // A random name that was taken: another one.
            Err(WriteError::Exists) if generated && attempt < 8 => {}
            Err(error) => return Err(write_error(error, resource, &named)),
        }
    }
    Err(ApiError::internal("no free name was found"))
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
    let old = present(resource, stored.value());
    let _addresses = strategy::needs_address(resource).then(|| call.state.addresses.lock());
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
                object: present(resource, stored.value()).into_owned(),
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
    let current = stored.value()["metadata"]["uid"].as_str().unwrap_or_default();
    if !uid.is_empty() && uid != current {
        if call.verb == "patch" {
            let cause = Cause::invalid("metadata.uid", &uid.into(), "field is immutable");
            return Err(ApiError::invalid(resource, name, &[cause]));
        }
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {current}");
        return Err(ApiError::conflict(resource, name, &why));
    }
    match new["metadata"]["resourceVersion"].as_str().unwrap_or_default() {
        "" | "0"
            if call.verb == "update"
                && call.path.subresource != "scale"
                && !strategy::allows_unconditional_update(resource) =>
        {
            // Kubernetes prints the number that is missing in hexadecimal.
            let cause = Cause {
                reason: "FieldValueInvalid",
                field: "metadata.resourceVersion".into(),
                message: "Invalid value: 0: must be specified for an update".into(),
            };
            Err(ApiError::invalid(resource, name, &[cause]))
        }
        "" | "0" => Ok(false),
        revision if read::parse_revision(revision)? == stored.revision => Ok(true),
        _ => Err(ApiError::modified(resource, name)),
    }
}
