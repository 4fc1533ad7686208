//! `deploy/` and most of `charts/` are generated. `UPDATE=1 cargo test -p pgop-operator --test deploy` writes them.
#![allow(clippy::unwrap_used)] // a test may panic

mod chart;
mod helm;

use std::path::PathBuf;
use std::{env, fs};

use pgop_core::{crd, install};
use pgop_operator::yaml;
use serde_json::{Value, json};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn deploys(file: &str, usage: &str, text: &str) {
    let generated = "Generated: UPDATE=1 cargo test -p pgop-operator --test deploy";
    is_current(&format!("deploy/{file}"), &format!("# {usage}\n# {generated}\n{text}"));
}

fn is_current(file: &str, text: &str) {
    let path = root().join(file);
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, text).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == text,
        "{file} is stale: UPDATE=1 cargo test -p pgop-operator --test deploy"
    );
}

#[test]
fn the_definitions() {
    let usage = "kubectl apply -f crds.yaml";
    deploys("crds.yaml", usage, &yaml::documents(&crd::all()).unwrap());
}

#[test]
fn the_operator() {
    let usage = "Put your image in the two places of the one below, which is not published; kubectl apply -f operator.yaml. \
                 The operator then makes its definitions by itself. `pgo install` does the same.";
    deploys(
        "operator.yaml",
        usage,
        &yaml::documents(&install::manifests(&install::Options::default())).unwrap(),
    );
}

#[test]
fn the_chart() {
    for (file, text) in chart::files() {
        is_current(&format!("charts/pgop/{file}"), &text);
    }
}

#[test]
fn a_chart_that_is_told_nothing_installs_what_pgo_installs() {
    let options = install::Options::default();
    let text = fs::read_to_string(root().join("charts/pgop/values.yaml")).unwrap();
    let values: Value = serde_saphyr::from_str(&text).unwrap();
    let expected = json!({
        "image": {
            "repository": options.image.rsplit_once(':').unwrap().0,
            "tag": "",
            "pullPolicy": options.image_pull_policy,
        },
        "imagePullSecrets": options.image_pull_secrets,
        "replicas": options.replicas,
        "watchNamespaces": options.watch_namespaces,
        "strategies": options.strategies,
        "crds": {"enabled": true},
        "aggregatedRoles": options.aggregated_roles,
        "logFormat": options.log_format,
        "resources": options.resources,
        "podMonitor": {"enabled": false, "interval": "30s", "labels": {}},
        "podLabels": options.pod_labels,
        "podAnnotations": options.pod_annotations,
        "nodeSelector": options.node_selector,
        "tolerations": options.tolerations,
        "priorityClassName": "",
    });
    assert_eq!(values, expected);
}
