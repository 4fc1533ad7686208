//! `deploy/` is generated. `UPDATE=1 cargo test -p pgop-operator --test deploy` writes it.
#![allow(clippy::unwrap_used)] // a test may panic

use std::path::PathBuf;
use std::{env, fs};

use pgop_core::{crd, install};
use pgop_operator::yaml;

fn is_current(file: &str, usage: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(file);
    let text = format!("# {usage}\n# Generated: UPDATE=1 cargo test -p pgop-operator --test deploy\n{text}");
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == text,
        "deploy/{file} is stale: UPDATE=1 cargo test -p pgop-operator --test deploy"
    );
}

#[test]
fn the_definitions() {
    let usage = "kubectl apply -f crds.yaml";
    is_current("crds.yaml", usage, &yaml::documents(&crd::all()).unwrap());
}

#[test]
fn the_operator() {
    let usage = "kubectl apply -f operator.yaml; the operator then makes its definitions by itself. `pgo install` does the same.";
    is_current(
        "operator.yaml",
        usage,
        &yaml::documents(&install::manifests(&install::Options::default())).unwrap(),
    );
}
