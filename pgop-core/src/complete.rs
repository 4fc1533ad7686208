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

/// Adds namespace, owner, labels, pod security and scheduling. [`seal`] comes last.
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
        add_to_pod(template, kind, owner, validated.pod());
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
}

/// Adds the hash of it all.
pub(crate) fn seal(manifest: &mut Manifest) {
    let hash = short_hash(&manifest.value().to_string());
    manifest.mark(label::APPLIED, &hash);
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
    let names = [
        ("priorityClassName", &settings.priority_class_name),
        ("serviceAccountName", &settings.service_account_name),
        ("schedulerName", &settings.scheduler_name),
        ("runtimeClassName", &settings.runtime_class_name),
    ];
    for (field, name) in names {
        add(field, json!(name), name.is_some());
    }
    let grace = settings.termination_grace_period_seconds;
    add("terminationGracePeriodSeconds", json!(grace), grace.is_some());
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

/// What people add to a pod, and the rules that need to know whose pod it is.
fn add_to_pod(template: &mut Value, kind: Kind, owner: &Owner, settings: &PodSettings) {
    let is_server = kind == Kind::StatefulSet;
    let selector = json!({"matchLabels": label::selector(owner)});
    let spec = object_at(template, "/spec");
    if is_server && owner.kind == ResourceKind::PgCluster {
        // Servers on one node are gone together. One node may be all there is, so it is a wish.
        let term = json!({"labelSelector": selector, "topologyKey": "kubernetes.io/hostname"});
        let apart =
            json!({"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": term}]});
        set_defaults(
            spec.entry("affinity").or_insert_with(|| json!({})),
            &json!({"podAntiAffinity": apart}),
        );
    }
    if !settings.topology_spread_constraints.is_empty() {
        let mut spread = json!(settings.topology_spread_constraints);
        for constraint in spread.as_array_mut().into_iter().flatten() {
            set_defaults(constraint, &json!({"labelSelector": selector}));
        }
        spec.insert("topologySpreadConstraints".to_owned(), spread);
    }
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            append(object_at(container, ""), "env", &settings.env);
            append(object_at(container, ""), "volumeMounts", &settings.volume_mounts);
        }
    }
    append(spec, "volumes", &settings.volumes);
    if is_server {
        let mut sidecars = json!(settings.containers);
        let restricted = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
        for sidecar in sidecars.as_array_mut().into_iter().flatten() {
            let security = object_at(sidecar, "")
                .entry("securityContext")
                .or_insert_with(|| json!({}));
            set_defaults(security, &restricted);
            // One that adds a capability drops the others all the same.
            set_defaults(&mut security["capabilities"], &restricted["capabilities"]);
        }
        append(spec, "containers", sidecars.as_array().map_or(&[][..], Vec::as_slice));
    }
}

/// Puts items at the end of a list, which is made when missing.
fn append<T: serde::Serialize>(object: &mut Map<String, Value>, list: &str, items: &[T]) {
    if !items.is_empty()
        && let Some(list) = object.entry(list).or_insert_with(|| json!([])).as_array_mut()
    {
        list.extend(items.iter().map(|item| json!(item)));
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
