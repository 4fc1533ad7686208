//! Tables, for `-o wide`. Pure.

use jiff::Timestamp;
use pgop_core::Managed;
use pgop_core::crd::{PgBackup, Servers};

use crate::output::{Table, age, bytes};
use crate::wait::message;

/// A row for each database or cluster.
pub fn servers<R: Managed + Servers>(all: &[R], with_namespace: bool, now: Timestamp) -> String {
    let is_cluster = all.iter().any(|r| r.replicas().is_some());
    let mut headings = vec!["NAME", "STATUS", "PRIMARY"];
    if is_cluster {
        headings.push("REPLICAS");
    }
    headings.extend(["ADDRESS", "STRATEGY", "LAST-BACKUP", "AGE", "MESSAGE"]);
    let mut table = table(headings, with_namespace);
    for resource in all {
        let meta = resource.meta();
        let status = resource.status().cloned().unwrap_or_default();
        let phase = status.phase.clone().unwrap_or_default();
        let mut row = vec![
            meta.name.clone().unwrap_or_default(),
            phase.clone(),
            status.primary.clone().unwrap_or_default(),
        ];
        if let Some(replicas) = resource.replicas() {
            row.push(format!("{}/{replicas}", status.ready_replicas.unwrap_or(0)));
        }
        let last = status
            .last_backup
            .and_then(|last| last.finished_at)
            .map(|time| age(time.0, now) + " ago");
        row.extend([
            status.endpoints.map(|e| e.read_write).unwrap_or_default(),
            resource.strategy().to_owned(),
            last.unwrap_or_else(|| "none".to_owned()),
            meta.creation_timestamp
                .as_ref()
                .map(|time| age(time.0, now))
                .unwrap_or_default(),
            message(&status.conditions, &phase),
        ]);
        if with_namespace {
            row.insert(0, meta.namespace.clone().unwrap_or_default());
        }
        table.push(&row);
    }
    table.render()
}

/// A row for each backup.
pub fn backups(all: &[PgBackup], with_namespace: bool, now: Timestamp) -> String {
    let mut table = table(
        vec!["NAME", "SOURCE", "STATUS", "CLAIM", "PATH", "SIZE", "AGE", "MESSAGE"],
        with_namespace,
    );
    for backup in all {
        let meta = &backup.metadata;
        let status = backup.status.clone().unwrap_or_default();
        let phase = status.phase.clone().unwrap_or_default();
        let mut row = vec![
            meta.name.clone().unwrap_or_default(),
            backup.spec.source.name.clone(),
            phase.clone(),
            status.claim.unwrap_or_default(),
            status.path.unwrap_or_default(),
            status
                .size_bytes
                .and_then(|n| u64::try_from(n).ok())
                .map(bytes)
                .unwrap_or_default(),
            meta.creation_timestamp
                .as_ref()
                .map(|time| age(time.0, now))
                .unwrap_or_default(),
            message(&status.conditions, &phase),
        ];
        if with_namespace {
            row.insert(0, meta.namespace.clone().unwrap_or_default());
        }
        table.push(&row);
    }
    table.render()
}

fn table(mut headings: Vec<&str>, with_namespace: bool) -> Table {
    if with_namespace {
        headings.insert(0, "NAMESPACE");
    }
    Table::new(&headings)
}
