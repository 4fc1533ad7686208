//! The rules for containers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::probe;
use crate::{
    Cause, path, quantity,
    validation::{
        entries, items,
        names::{dns_label, env_name, port_name},
        not_negative, text,
    },
};

/// Which list the container is in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Main,
    Init,
    Ephemeral,
}

/// A container. `volumes`: the names of the pod's volumes, and whether each is a claim.
pub(super) fn container(
    container: &Value,
    kind: Kind,
    at: &str,
    volumes: &BTreeMap<&str, bool>,
    causes: &mut Vec<Cause>,
) {
    let name = text(container, "name");
    if name.is_empty() {
        causes.push(Cause::required(path::child(at, "name"), ""));
    } else {
        causes.extend(
            dns_label(name)
                .iter()
                .map(|problem| Cause::invalid(path::child(at, "name"), &json!(name), problem)),
        );
    }
    let image = text(container, "image");
    if image.is_empty() {
        causes.push(Cause::required(path::child(at, "image"), ""));
    } else if image.trim() != image {
        causes.push(Cause::invalid(
            path::child(at, "image"),
            &json!(image),
            "must not have leading or trailing whitespace",
        ));
    }
    ports(container, at, causes);
    env(container, at, causes);
    mounts(container, at, volumes, causes);
    resources(&container["resources"], &path::child(at, "resources"), causes);
    for field in ["runAsUser", "runAsGroup"] {
        not_negative(
            &container["securityContext"],
            field,
            &path::child(at, "securityContext"),
            causes,
        );
    }
    probe::probes(container, kind, at, causes);
}

fn ports(container: &Value, at: &str, causes: &mut Vec<Cause>) {
    let mut names = BTreeSet::new();
    for (at, port) in items(container, "ports", at) {
        let name = text(port, "name");
        if !name.is_empty() {
            let at = path::child(&at, "name");
            causes.extend(
                port_name(name)
                    .iter()
                    .map(|problem| Cause::invalid(&*at, &json!(name), problem)),
            );
            if !names.insert(name) {
                causes.push(Cause::duplicate(at, &json!(name)));
            }
        }
        match port.get("containerPort").and_then(Value::as_i64) {
            None | Some(0) => causes.push(Cause::required(path::child(&at, "containerPort"), "")),
            Some(_) => in_range(port, "containerPort", &at, causes),
        }
        if port.get("hostPort").is_some_and(|port| port != 0) {
            in_range(port, "hostPort", &at, causes);
        }
    }
}

/// A number of a port.
pub(in crate::validation) fn in_range(object: &Value, field: &str, at: &str, causes: &mut Vec<Cause>) {
    let number = object.get(field).unwrap_or(&Value::Null);
    if number.as_i64().is_some_and(|number| !(1..=65535).contains(&number)) {
        causes.push(Cause::invalid(
            path::child(at, field),
            number,
            "must be between 1 and 65535, inclusive",
        ));
    }
}

/// A number or name of a port.
pub(in crate::validation) fn number_or_name(object: &Value, field: &str, at: &str, causes: &mut Vec<Cause>) {
    match object.get(field) {
        Some(Value::String(name)) => {
            let at = path::child(at, field);
            causes.extend(
                port_name(name)
                    .iter()
                    .map(|problem| Cause::invalid(&*at, &json!(name), problem)),
            );
        }
        _ => in_range(object, field, at, causes),
    }
}

fn env(container: &Value, at: &str, causes: &mut Vec<Cause>) {
    for (at, variable) in items(container, "env", at) {
        let name = text(variable, "name");
        if name.is_empty() {
            causes.push(Cause::required(path::child(&at, "name"), ""));
        } else {
            let at = path::child(&at, "name");
            causes.extend(
                env_name(name)
                    .iter()
                    .map(|problem| Cause::invalid(&*at, &json!(name), problem)),
            );
        }
        let Some(source) = variable.get("valueFrom") else {
            continue;
        };
        let at = path::child(&at, "valueFrom");
        if !text(variable, "value").is_empty() {
            causes.push(Cause::invalid(
                &*at,
                &json!(""),
                "may not be specified when `value` is not empty",
            ));
        }
        match source.as_object().map_or(0, serde_json::Map::len) {
            0 => {
                let detail = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
                causes.push(Cause::invalid(&*at, &json!(""), detail));
            }
            1 => {}
            _ => causes.push(Cause::invalid(
                &*at,
                &json!(""),
                "may not have more than one field specified at a time",
            )),
        }
        for reference in ["configMapKeyRef", "secretKeyRef"] {
            if source
                .get(reference)
                .is_some_and(|reference| text(reference, "key").is_empty())
            {
                causes.push(Cause::required(format!("{at}.{reference}.key"), ""));
            }
        }
    }
}

fn mounts(container: &Value, at: &str, volumes: &BTreeMap<&str, bool>, causes: &mut Vec<Cause>) {
    let mut paths = BTreeSet::new();
    let lists = [("volumeMounts", "mountPath"), ("volumeDevices", "devicePath")];
    for (list, field) in lists {
        for (at, mount) in items(container, list, at) {
            let name = text(mount, "name");
            match volumes.get(name) {
                _ if name.is_empty() => causes.push(Cause::required(path::child(&at, "name"), "")),
                None => causes.push(Cause::not_found(path::child(&at, "name"), &json!(name))),
                Some(false) if list == "volumeDevices" => {
                    let detail = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                    causes.push(Cause::invalid(path::child(&at, "name"), &json!(name), detail));
                }
                Some(_) => {}
            }
            let target = text(mount, field);
            if target.is_empty() {
                causes.push(Cause::required(path::child(&at, field), ""));
            } else if !paths.insert(target) {
                causes.push(Cause::invalid(
                    path::child(&at, field),
                    &json!(target),
                    "must be unique",
                ));
            }
            sub_path(mount, &at, causes);
        }
    }
}

fn sub_path(mount: &Value, at: &str, causes: &mut Vec<Cause>) {
    for field in ["subPath", "subPathExpr"] {
        let below = text(mount, field);
        if below.starts_with('/') {
            causes.push(Cause::invalid(
                path::child(at, field),
                &json!(below),
                "must be a relative path",
            ));
        }
        if below.split('/').any(|part| part == "..") {
            causes.push(Cause::invalid(
                path::child(at, field),
                &json!(below),
                "must not contain '..'",
            ));
        }
    }
    if !text(mount, "subPath").is_empty() && !text(mount, "subPathExpr").is_empty() {
        let detail = "subPathExpr and subPath are mutually exclusive";
        causes.push(Cause::invalid(
            path::child(at, "subPathExpr"),
            &mount["subPathExpr"],
            detail,
        ));
    }
}

/// Requests and limits of resources.
pub(in crate::validation) fn resources(resources: &Value, at: &str, causes: &mut Vec<Cause>) {
    for list in ["limits", "requests"] {
        for (resource, quantity) in entries(resources, list) {
            let at = path::key(&path::child(at, list), resource);
            self::quantity(quantity, &at, causes);
        }
    }
    for (resource, request) in entries(resources, "requests") {
        let limit = resources.get("limits").and_then(|limits| limits.get(resource));
        let Some(limit) = limit else { continue };
        let [asked, most] = [request, limit].map(quantity::thousandths);
        if asked.zip(most).is_some_and(|(asked, most)| asked > most) {
            let limit = limit.as_str().map_or_else(|| limit.to_string(), str::to_owned);
            let detail = format!("must be less than or equal to {resource} limit of {limit}");
            causes.push(Cause::invalid(path::child(at, "requests"), request, &detail));
        }
    }
}

/// An amount that is not negative.
pub(in crate::validation) fn quantity(quantity: &Value, at: &str, causes: &mut Vec<Cause>) {
    match quantity::thousandths(quantity) {
        None => {
            let detail = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
            causes.push(Cause::invalid(at, quantity, detail));
        }
        Some(amount) if amount < 0 => causes.push(Cause::invalid(at, quantity, "must be greater than or equal to 0")),
        Some(_) => {}
    }
}
