//! What objects refer to by name.

use std::collections::BTreeSet;

use pgop_core::manifest::{Kind, Manifest};
use serde_json::Value;

use super::Case;
use super::rules::{containers, list, of, text, title};

const CLAIM: &str = "claim";
const CONFIG_MAP: &str = "ConfigMap";
const JOB: &str = "Job";
const SECRET: &str = "Secret";

/// Every claim, Secret, `ConfigMap` and Job that is named exists: the strategy makes it, or it is given.
pub(super) fn exist(case: &Case) -> Vec<String> {
    let made = |kind| {
        of(case, kind)
            .map(|m| m.name().to_owned())
            .collect::<BTreeSet<String>>()
    };
    let claims = made(Kind::PersistentVolumeClaim)
        .union(&case.given.claims)
        .cloned()
        .collect();
    let (configs, jobs, secrets) = (made(Kind::ConfigMap), made(Kind::Job), case.given.secrets.clone());
    let known = [(CLAIM, claims), (CONFIG_MAP, configs), (JOB, jobs), (SECRET, secrets)];
    let is_known = |what: &str, name: &str| known.iter().any(|(kind, names)| *kind == what && names.contains(name));
    let mut problems = Vec::new();
    for m in &case.manifests {
        let missing = references(m).into_iter().filter(|(what, name)| !is_known(what, name));
        problems.extend(
            missing.map(|(what, name)| format!("{} refers to the {what} `{name}`, which nobody makes", title(m))),
        );
    }
    problems
}

/// What a manifest refers to, and under what name.
fn references(m: &Manifest) -> Vec<(&'static str, String)> {
    let mut all: Vec<(&'static str, String)> = m.after_job().map(|job| (JOB, job.to_owned())).into_iter().collect();
    all.extend(claims_of_templates(m).into_iter().map(|claim| (CLAIM, claim)));
    let mut add = |source: &Value, key: &str, field: &str, what: &'static str| {
        if let Some(reference) = source
            .get(key)
            .filter(|reference| reference.get("optional") != Some(&true.into()))
        {
            all.push((what, text(reference, field).to_owned()));
        }
    };
    for volume in list(m.value(), "/spec/template/spec/volumes") {
        add(volume, "persistentVolumeClaim", "/claimName", CLAIM);
        add(volume, "configMap", "/name", CONFIG_MAP);
        add(volume, "secret", "/secretName", SECRET);
        for source in list(volume, "/projected/sources") {
            add(source, "configMap", "/name", CONFIG_MAP);
            add(source, "secret", "/name", SECRET);
        }
    }
    for container in containers(m) {
        let variables = list(container, "/env")
            .iter()
            .filter_map(|variable| variable.get("valueFrom"));
        for source in variables.chain(list(container, "/envFrom")) {
            add(source, "secretKeyRef", "/name", SECRET);
            add(source, "secretRef", "/name", SECRET);
            add(source, "configMapKeyRef", "/name", CONFIG_MAP);
            add(source, "configMapRef", "/name", CONFIG_MAP);
        }
    }
    all
}

/// Claims that a `StatefulSet` would make of its templates: pgop makes them itself, so that they can grow.
fn claims_of_templates(manifest: &Manifest) -> Vec<String> {
    let replicas = manifest
        .value()
        .pointer("/spec/replicas")
        .and_then(Value::as_u64)
        .unwrap_or(1);
    let templates = list(manifest.value(), "/spec/volumeClaimTemplates").iter();
    let names = templates.map(|template| text(template, "/metadata/name"));
    names
        .flat_map(|name| (0..replicas).map(move |i| format!("{name}-{}-{i}", manifest.name())))
        .collect()
}
