//! What objects refer to by name.

use std::collections::BTreeSet;

use pgop_core::manifest::{Kind, Manifest};
use serde_json::Value;

use super::Case;
use super::rules::{containers, list, of, text, title};

/// Every claim, Secret, `ConfigMap` and Job that is named exists: the strategy makes it, or it is given.
pub(super) fn exist(case: &Case) -> Vec<String> {
    let names = |kind| {
        of(case, kind)
            .map(|m| m.name().to_owned())
            .collect::<BTreeSet<String>>()
    };
    let claims: BTreeSet<String> = names(Kind::PersistentVolumeClaim)
        .union(&case.given.claims)
        .cloned()
        .collect();
    let (configs, jobs) = (names(Kind::ConfigMap), names(Kind::Job));
    let mut problems = Vec::new();
    for m in &case.manifests {
        let mut refer = |what: &str, name: &str, known: &BTreeSet<String>| {
            if !known.contains(name) {
                problems.push(format!(
                    "{} refers to the {what} `{name}`, which nobody makes",
                    title(m)
                ));
            }
        };
        m.after_job().into_iter().for_each(|job| refer("Job", job, &jobs));
        claims_of_templates(m)
            .iter()
            .for_each(|claim| refer("claim", claim, &claims));
        for volume in list(m.value(), "/spec/template/spec/volumes") {
            let projected = list(volume, "/projected/sources");
            for source in std::iter::once(volume).chain(projected) {
                let mandatory = |at: &str| {
                    source
                        .pointer(at)
                        .filter(|s| s.get("optional") != Some(&Value::Bool(true)))
                };
                source
                    .get("persistentVolumeClaim")
                    .into_iter()
                    .for_each(|c| refer("claim", text(c, "/claimName"), &claims));
                mandatory("/configMap")
                    .into_iter()
                    .for_each(|c| refer("ConfigMap", text(c, "/name"), &configs));
                if let Some(secret) = mandatory("/secret") {
                    let name = if projected.is_empty() {
                        text(secret, "/secretName")
                    } else {
                        text(secret, "/name")
                    };
                    refer("Secret", name, &case.given.secrets);
                }
            }
        }
        for container in containers(m) {
            let variables = list(container, "/env")
                .iter()
                .filter_map(|variable| variable.get("valueFrom"));
            for source in variables.chain(list(container, "/envFrom")) {
                for (key, what, known) in [
                    ("secretKeyRef", "Secret", &case.given.secrets),
                    ("secretRef", "Secret", &case.given.secrets),
                    ("configMapKeyRef", "ConfigMap", &configs),
                    ("configMapRef", "ConfigMap", &configs),
                ] {
                    let named = source
                        .get(key)
                        .filter(|s| s.get("optional") != Some(&Value::Bool(true)));
                    named.into_iter().for_each(|s| refer(what, text(s, "/name"), known));
                }
            }
        }
    }
    problems
}

/// Claims that a `StatefulSet` would make of its templates: pgop makes them itself, so that they can grow.
fn claims_of_templates(manifest: &Manifest) -> Vec<String> {
    let replicas = manifest
        .value()
        .pointer("/spec/replicas")
        .and_then(Value::as_u64)
        .unwrap_or(1);
    let templates = list(manifest.value(), "/spec/volumeClaimTemplates");
    templates
        .iter()
        .flat_map(|template| {
            (0..replicas).map(move |i| format!("{}-{}-{i}", text(template, "/metadata/name"), manifest.name()))
        })
        .collect()
}
