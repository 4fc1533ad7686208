//! The rules for volumes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    Cause, path,
    validation::{items, names::dns_label, text},
};

/// Source, the field that it can't do without.
const REQUIRED: [(&str, &str); 6] = [
    ("secret", "secretName"),
    ("configMap", "name"),
    ("persistentVolumeClaim", "claimName"),
    ("hostPath", "path"),
    ("nfs", "server"),
    ("csi", "driver"),
];

/// Checks the volumes of a pod. Returns their names and whether each is a claim, which alone can be a block device.
pub(super) fn volumes<'a>(spec: &'a Value, at: &str, causes: &mut Vec<Cause>) -> BTreeMap<&'a str, bool> {
    let mut names = BTreeMap::new();
    for (at, volume) in items(spec, "volumes", at) {
        let name = text(volume, "name");
        let at_name = path::child(&at, "name");
        if name.is_empty() {
            causes.push(Cause::required(at_name, ""));
        } else {
            causes.extend(
                dns_label(name)
                    .iter()
                    .map(|problem| Cause::invalid(&*at_name, &json!(name), problem)),
            );
            let is_claim = ["persistentVolumeClaim", "ephemeral"]
                .iter()
                .any(|source| volume.get(source).is_some());
            if names.insert(name, is_claim).is_some() {
                causes.push(Cause::duplicate(at_name, &json!(name)));
            }
        }
        source(volume, &at, causes);
    }
    names
}

fn source(volume: &Value, at: &str, causes: &mut Vec<Cause>) {
    let sources = volume
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, value)| *name != "name" && !value.is_null());
    let mut sources = sources.map(|(name, _)| name);
    if sources.next().is_none() {
        causes.push(Cause::required(at, "must specify a volume type"));
    }
    for name in sources {
        causes.push(Cause::forbidden(
            path::child(at, name),
            "may not specify more than 1 volume type",
        ));
    }
    for (source, field) in REQUIRED {
        if volume.get(source).is_some_and(|source| text(source, field).is_empty()) {
            causes.push(Cause::required(format!("{at}.{source}.{field}"), ""));
        }
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        let Some(value) = volume.get(source) else { continue };
        let at = path::child(at, source);
        mode(value, "defaultMode", &at, causes);
        for (at, item) in items(value, "items", &at) {
            mode(item, "mode", &at, causes);
            let target = text(item, "path");
            if target.is_empty() {
                causes.push(Cause::required(path::child(&at, "path"), ""));
            } else if target.starts_with('/') || target.split('/').any(|part| part == "..") {
                let detail = if target.starts_with('/') {
                    "must be a relative path"
                } else {
                    "must not contain '..'"
                };
                causes.push(Cause::invalid(path::child(&at, "path"), &json!(target), detail));
            }
        }
    }
}

fn mode(object: &Value, field: &str, at: &str, causes: &mut Vec<Cause>) {
    let mode = object.get(field).unwrap_or(&Value::Null);
    if mode.as_i64().is_some_and(|mode| !(0..=0o777).contains(&mode)) {
        let detail = "must be a number between 0 and 0777 (octal), both inclusive";
        causes.push(Cause::invalid(path::child(at, field), mode, detail));
    }
}
