//! What every object of every strategy has: metadata, and pods that meet the `restricted` Pod Security Standard.
//!
//! Strategies leave these out, so no strategy can forget one of them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::crd::{DeletionPolicy, PodSettings};
use crate::hash::short_hash;
use crate::kind::Kind;
use crate::label;
use crate::manifest::Manifest;
use crate::owner::{Owner, ResourceKind};
use crate::validated::Validated;

/// The `postgres` of the official image: <https://hub.docker.com/_/postgres>.
pub(crate) const DEFAULT_USER: i64 = 999;

/// Adds namespace, owner, labels, pod security and scheduling, and the hash of it all.
pub(crate) fn complete<V: Validated>(manifest: &mut Manifest, validated: &V, backup_source: Option<&str>) {
    let owner = validated.owner();
    let kind = manifest.kind();
    let labels = match backup_source.filter(|_| kind == Kind::PersistentVolumeClaim) {
        Some(source) => backup_claim_labels(source),
        None => label::common(owner),
    };
    if let Some(template) = manifest.pod_template_mut() {
        merge_strings(template, "/metadata/labels", &validated.pod().labels);
        merge_strings(template, "/metadata/labels", &labels);
        merge_strings(template, "/metadata/annotations", &validated.pod().annotations);
        complete_pod(template, validated.pod(), validated.image_pull_secrets());
    }
    let value = manifest.value_mut();
    if kind == Kind::CronJob {
        merge_strings(value, "/spec/jobTemplate/metadata/labels", &labels);
    }
    for claim in value
        .pointer_mut("/spec/volumeClaimTemplates")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        // A claim that the StatefulSet makes again, because somebody deleted it, has to be known as ours.
        merge_strings(claim, "/metadata/labels", &labels);
    }
    merge_strings(value, "/metadata/labels", &labels);
    let metadata = object_at(value, "/metadata");
    metadata.insert("namespace".to_owned(), json!(owner.namespace));
    if is_owned(kind, validated) && !owner.uid.is_empty() {
        metadata.insert("ownerReferences".to_owned(), json!([owner.reference()]));
    }
    let hash = short_hash(&value.to_string());
    merge_strings(
        value,
        "/metadata/annotations",
        &BTreeMap::from([(label::APPLIED.to_owned(), hash)]),
    );
}

/// Everything goes with its resource, but for claims: those stay unless the policy says otherwise, and snapshots always stay.
fn is_owned<V: Validated>(kind: Kind, validated: &V) -> bool {
    kind != Kind::PersistentVolumeClaim
        || validated
            .server()
            .is_some_and(|server| server.deletion_policy == DeletionPolicy::Delete)
}

/// The claim belongs to no single backup, so each backup has to ask for the same labels.
fn backup_claim_labels(source: &str) -> BTreeMap<String, String> {
    let owner = Owner {
        kind: ResourceKind::PgBackup,
        name: source.to_owned(),
        namespace: String::new(),
        uid: String::new(),
    };
    let mut labels = label::common(&owner);
    labels.remove(ResourceKind::PgBackup.label());
    labels.insert(label::BACKUPS_OF.to_owned(), source.to_owned());
    labels
}

fn complete_pod(template: &mut Value, settings: &PodSettings, pull_secrets: &[String]) {
    let user = settings.run_as_user.unwrap_or(DEFAULT_USER);
    let group = settings.run_as_group.unwrap_or(user);
    let mut security = json!({
        "runAsNonRoot": true,
        "runAsUser": user,
        "runAsGroup": group,
        "fsGroup": settings.fs_group.unwrap_or(group),
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    if !settings.supplemental_groups.is_empty() {
        security["supplementalGroups"] = json!(settings.supplemental_groups);
    }
    let spec = object_at(template, "/spec");
    set_defaults(spec.entry("securityContext").or_insert_with(|| json!({})), &security);
    spec.entry("automountServiceAccountToken").or_insert(json!(false));
    spec.entry("enableServiceLinks").or_insert(json!(false));
    let mut add = |key: &str, value: Value, is_set: bool| {
        if is_set {
            spec.insert(key.to_owned(), value);
        }
    };
    let secrets: Vec<Value> = pull_secrets.iter().map(|name| json!({"name": name})).collect();
    add("imagePullSecrets", json!(secrets), !secrets.is_empty());
    add(
        "nodeSelector",
        json!(settings.node_selector),
        !settings.node_selector.is_empty(),
    );
    add(
        "tolerations",
        json!(settings.tolerations),
        !settings.tolerations.is_empty(),
    );
    add("affinity", json!(settings.affinity), settings.affinity.is_some());
    let spread = &settings.topology_spread_constraints;
    add("topologySpreadConstraints", json!(spread), !spread.is_empty());
    let restricted = json!({
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": true,
    });
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            set_defaults(
                object_at(container, "")
                    .entry("securityContext")
                    .or_insert_with(|| json!({})),
                &restricted,
            );
        }
    }
}

/// Sets each key of `defaults` that `value` does not have.
fn set_defaults(value: &mut Value, defaults: &Value) {
    if let (Some(value), Some(defaults)) = (value.as_object_mut(), defaults.as_object()) {
        for (key, default) in defaults {
            value.entry(key.clone()).or_insert_with(|| default.clone());
        }
    }
}

/// Sets the pairs in the string map at `pointer`, which is made when missing.
fn merge_strings(value: &mut Value, pointer: &str, pairs: &BTreeMap<String, String>) {
    if !pairs.is_empty() {
        let map = object_at(value, pointer);
        map.extend(pairs.iter().map(|(key, value)| (key.clone(), json!(value))));
    }
}

/// The object at a JSON pointer of plain keys; what is missing on the way is made.
fn object_at<'a>(value: &'a mut Value, pointer: &str) -> &'a mut Map<String, Value> {
    let mut at = value;
    for key in pointer.split('/').filter(|key| !key.is_empty()) {
        if !at.is_object() {
            *at = json!({});
        }
        at = at.as_object_mut().map_or_else(
            || unreachable!("made an object above"),
            |map| map.entry(key).or_insert_with(|| json!({})),
        );
    }
    if !at.is_object() {
        *at = json!({});
    }
    at.as_object_mut()
        .unwrap_or_else(|| unreachable!("made an object above"))
}
