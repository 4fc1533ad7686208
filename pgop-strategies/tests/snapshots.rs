//! What each bundle makes of each fixture, for reading. Texts of files are shortened: they have tests of their own.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, and sees none in their helpers

use pgop_core::crd::{PgBackup, PgCluster, PgDatabase};
use pgop_core::manifest::Manifest;
use pgop_core::registry::Registry;
use pgop_strategies::Folder;
use pgop_strategies::conformance::Conformant;
use serde_json::{Value, json};

fn snapshot<R: Conformant>(registry: &Registry, folder: &str) {
    let files = Folder::builtin();
    for strategy in R::family(registry).iter() {
        for fixture in R::fixtures() {
            let validated = fixture
                .resource
                .validate(&fixture.observed, strategy.description())
                .unwrap();
            let manifests = strategy.manifests(&validated).unwrap();
            let values: Vec<Value> = manifests.iter().map(|manifest| readable(manifest, &files)).collect();
            let text = serde_saphyr::to_string_multiple(&values).unwrap();
            insta::assert_snapshot!(
                format!("{folder}-{}-{}", strategy.description().name, fixture.name),
                text
            );
        }
    }
}

/// The object as a template wrote it, with names instead of the texts of files.
fn readable(manifest: &Manifest, files: &Folder) -> Value {
    let mut value = manifest.value().clone();
    if let Some(job) = manifest.after_job() {
        value["metadata"]["annotations"]["pgop.dev/after-job"] = json!(job);
    }
    for (key, text) in value
        .get_mut("data")
        .and_then(Value::as_object_mut)
        .into_iter()
        .flatten()
    {
        if files.text(&format!("files/{key}")) == text.as_str() {
            *text = json!(format!("<files/{key}>"));
        }
    }
    value
}

#[test]
fn what_databases_become() {
    snapshot::<PgDatabase>(&pgop_strategies::builtin().unwrap(), "database");
}

#[test]
fn what_clusters_become() {
    snapshot::<PgCluster>(&pgop_strategies::builtin().unwrap(), "cluster");
}

#[test]
fn what_backups_become() {
    snapshot::<PgBackup>(&pgop_strategies::builtin().unwrap(), "backup");
}
