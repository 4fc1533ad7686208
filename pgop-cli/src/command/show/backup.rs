//! `pgo show backup`

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::ListParams;
use pgop_core::crd::{PgBackup, PgCluster, PgDatabase};
use pgop_core::name;
use serde_json::Value;

use super::browse::{self, User};
use super::wide;
use crate::args::show::Browsed;
use crate::claim::remark;
use crate::cluster::Cluster;
use crate::command::{Context, for_each, is_all, unique};
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::output::{self, age, bytes};
use crate::screen::Style;
use crate::tree::Tree;
use crate::volume;
use crate::volume::listing::Listing;
use crate::wait;

/// The backups of each source, and the snapshots that are really on their volume.
pub async fn run(args: Browsed, context: &mut Context<'_>) -> Result<ExitCode, Error> {
    let all = is_all(&args.names)?;
    let cluster = context.cluster().await?;
    let mut params = ListParams::default();
    params.label_selector.clone_from(&context.config.selector);
    let (mut backups, unreadable) = cluster
        .list_readable::<PgBackup>(&params, context.config.all_namespaces)
        .await?;
    let mut code = ExitCode::Ok;
    for problem in unreadable {
        code = code.and(context.fail(&Error::Object(problem)));
    }
    if !all {
        // A PgBackup may be named too: `pgo create backup` prints its name.
        backups.retain(|b| {
            args.names.contains(&b.spec.source.name) || b.metadata.name.as_ref().is_some_and(|n| args.names.contains(n))
        });
    }
    backups.sort_by_key(|b| {
        (
            b.metadata.namespace.clone(),
            b.spec.source.name.clone(),
            b.metadata.creation_timestamp.clone(),
        )
    });
    if context.config.output.is_some() {
        return Ok(code.and(table(&backups, all, &args, context, &cluster)));
    }
    if context.config.all_namespaces {
        return Err(Error::Usage(
            "pgo show backup looks into volumes of one namespace: give -n, or -o wide with -A".to_owned(),
        ));
    }
    let sources = sources(&args, all, &backups, &cluster).await?;
    if sources.is_empty() {
        context
            .screen
            .note_line(format!("there is no backup in namespace {}", cluster.namespace));
    }
    let shown = for_each(context, sources, async |context, source| {
        one(&source, &backups, &args, context).await
    });
    Ok(code.and(shown.await))
}

fn table(backups: &[PgBackup], all: bool, args: &Browsed, context: &mut Context<'_>, cluster: &Cluster) -> ExitCode {
    let values: Vec<Value> = backups
        .iter()
        .map(|b| serde_json::to_value(b).unwrap_or_default())
        .collect();
    let text = match output::resources(context.config.output, &values, true) {
        Some(text) => text,
        None => wide::backups(backups, context.config.all_namespaces, jiff::Timestamp::now()),
    };
    context.screen.raw(text.as_bytes());
    let mut code = ExitCode::Ok;
    let known = |name: &str| {
        backups
            .iter()
            .any(|b| b.spec.source.name == name || b.metadata.name.as_deref() == Some(name))
    };
    for name in unique(&args.names).into_iter().filter(|name| !all && !known(name)) {
        let error = Error::Object(format!(
            "there is no backup of {name} in namespace {}",
            cluster.namespace
        ));
        code = code.and(context.fail(&error));
    }
    code
}

/// The sources to show: those of the names, or every database and cluster that has a backup or might have one.
async fn sources(args: &Browsed, all: bool, backups: &[PgBackup], cluster: &Cluster) -> Result<Vec<String>, Error> {
    let mut names: Vec<String> = if all {
        backups.iter().map(|b| b.spec.source.name.clone()).collect()
    } else {
        let source = |name: &str| {
            let made = backups.iter().find(|b| b.metadata.name.as_deref() == Some(name));
            made.map_or_else(|| name.to_owned(), |b| b.spec.source.name.clone())
        };
        unique(&args.names).into_iter().map(source).collect()
    };
    if all {
        // Snapshots outlive their PgBackups: a claim tells of them.
        let claims = cluster
            .list::<PersistentVolumeClaim>(&ListParams::default().labels(pgop_core::label::BACKUPS_OF))
            .await;
        for claim in claims.map(|list| list.items).unwrap_or_default() {
            names.extend(
                claim
                    .metadata
                    .labels
                    .and_then(|mut labels| labels.remove(pgop_core::label::BACKUPS_OF)),
            );
        }
        names.sort();
    }
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    Ok(names)
}

async fn one(source: &str, backups: &[PgBackup], args: &Browsed, context: &mut Context<'_>) -> Result<ExitCode, Error> {
    let cluster = context.cluster().await?;
    let mine: Vec<&PgBackup> = backups.iter().filter(|b| b.spec.source.name == source).collect();
    let user = user(&cluster, source).await?;
    let claims = claims(source, &mine, context);
    let mut tree = Tree::new(format!("backups : {source}"));
    for backup in &mine {
        tree.push(backup_line(backup, jiff::Timestamp::now()));
    }
    let mut code = ExitCode::Ok;
    let mut found = !mine.is_empty() || user.is_some();
    let mut errors = Vec::new();
    for claim in claims {
        let Some(there) = cluster.get::<PersistentVolumeClaim>(&claim).await? else {
            tree.push(Tree::styled(format!("claim : {claim} (does not exist)"), Style::Dim));
            continue;
        };
        found = true;
        let mut branch = match remark(&there, None) {
            None => Tree::new(format!("claim : {claim}")),
            Some(remark) => Tree::styled(format!("claim : {claim} ({remark})"), Style::Warn),
        };
        if !args.no_volume {
            let look = browse::look(
                &claim,
                &name::backup_folder(source),
                user.as_ref(),
                args,
                &context.config,
            );
            match volume::list(&cluster, &context.interrupt, &look).await {
                Ok(listing) => snapshots(&mut branch, source, &listing.unwrap_or_default()),
                Err(error) => {
                    branch.push(Tree::styled("snapshots : ? (see the error)", Style::Warn));
                    errors.push(Error::from(error));
                }
            }
        }
        tree.push(branch);
    }
    if !found {
        return Err(Error::Object(format!(
            "there is no database, cluster or backup {source} in namespace {}, and no claim with its backups",
            cluster.namespace
        )));
    }
    let text = tree.render(context.screen.colour());
    context.screen.raw(text.as_bytes());
    for error in errors {
        code = code.and(context.fail(&error));
        if error.is_final() {
            return Err(Error::Interrupted);
        }
    }
    Ok(code)
}

/// The claims with snapshots of a source: those that its backups name, the configured one, and the default one.
fn claims(source: &str, backups: &[&PgBackup], context: &Context<'_>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let named = backups.iter().filter_map(|b| {
        b.status
            .as_ref()
            .and_then(|s| s.claim.clone())
            .or_else(|| b.spec.storage.claim.clone())
    });
    all.extend(named);
    all.extend(context.config.settings.get("PVC_NAME").map(str::to_owned));
    if all.is_empty() {
        all.push(name::backup_claim(source));
    }
    all.sort();
    all.dedup();
    all
}

async fn user(cluster: &Cluster, source: &str) -> Result<Option<User>, Error> {
    if let Some(database) = cluster.get::<PgDatabase>(source).await? {
        return Ok(Some(User::of(&database)));
    }
    Ok(cluster
        .get::<PgCluster>(source)
        .await?
        .map(|cluster| User::of(&cluster)))
}

fn backup_line(backup: &PgBackup, now: jiff::Timestamp) -> Tree {
    let status = backup.status.clone().unwrap_or_default();
    let phase = status
        .phase
        .clone()
        .unwrap_or_else(|| "not seen by the operator yet".to_owned());
    let mut words = vec![phase.clone()];
    words.extend(status.size_bytes.and_then(|n| u64::try_from(n).ok()).map(bytes));
    let time = status
        .finished_at
        .as_ref()
        .or(backup.metadata.creation_timestamp.as_ref());
    words.extend(time.map(|time| age(time.0, now) + " ago"));
    let style = match phase.as_str() {
        "Succeeded" => Style::Good,
        "Failed" | "Invalid" => Style::Bad,
        _ => Style::Warn,
    };
    let name = backup.metadata.name.as_deref().unwrap_or_default();
    let mut line = Tree::styled(format!("backup : {name} ({})", words.join(", ")), style);
    let message = wait::message(&status.conditions, &phase);
    if !message.is_empty() && phase != "Succeeded" {
        line.push(Tree::styled(message, style));
    }
    line
}

/// The snapshots that are complete, each as `--backup-path` takes it; a word on the rest.
fn snapshots(branch: &mut Tree, source: &str, listing: &Listing) {
    let folder = name::backup_folder(source);
    let entries = &listing.entries;
    let (mut whole, mut other) = (0, 0);
    for entry in entries.iter().filter(|e| !e.name.starts_with('.')) {
        match &entry.snapshot {
            Some(snapshot) if snapshot.complete => {
                whole += 1;
                let size = entry.bytes.map_or_else(|| "?".to_owned(), bytes);
                let time = entry.modified.map(|time| format!(", {time}")).unwrap_or_default();
                branch.push(format!("{folder}/{} ({size}{time})", entry.shown()));
            }
            Some(snapshot) => {
                whole += 1;
                let line = format!("{folder}/{} ({})", entry.shown(), snapshot.words());
                branch.push(Tree::styled(line, Style::Warn));
            }
            None => other += 1,
        }
    }
    let running = entries.iter().filter(|e| e.name.starts_with(".partial-")).count();
    if running > 0 {
        branch.push(Tree::styled(
            format!("{running} unfinished (a running backup, or one that was cut off)"),
            Style::Dim,
        ));
    }
    if other > 0 {
        branch.push(Tree::styled(format!("{other} that is no snapshot"), Style::Dim));
    }
    match listing.rest() {
        Some(rest) => branch.push(Tree::styled(rest, Style::Warn)),
        None if whole == 0 && running == 0 && other == 0 => branch.push(Tree::styled("no snapshot", Style::Dim)),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::listing::{Entry, Kind, Snapshot};

    fn entry(name: &str, complete: Option<bool>) -> Entry {
        Entry {
            name: name.into(),
            raw: None,
            kind: Kind::Directory,
            snapshot: complete.map(|complete| Snapshot {
                version: "17.2".into(),
                complete,
            }),
            bytes: Some(31_400_000),
            modified: Some("2026-11-22T17:57:25Z".parse().unwrap()),
        }
    }

    fn drawn(entries: &[Entry], left_out: u64) -> String {
        let mut branch = Tree::new("claim : orders-backup-pvc");
        let listing = Listing {
            entries: entries.to_vec(),
            left_out,
        };
        snapshots(&mut branch, "orders", &listing);
        branch.render(false)
    }

    #[test]
    fn what_can_be_pasted_is_told_apart_from_what_can_not() {
        let entries = [
            entry(".lock", None),
            entry(".partial-1", None),
            entry("2026-11-22-17-57-21", Some(true)),
            entry("2026-11-22-18-00-00", Some(false)),
            entry("2017-03-21-15-57-21", None),
        ];
        let expected = "\
claim : orders-backup-pvc
├── orders-backups/2026-11-22-17-57-21 (31.4 MB, 2026-11-22T17:57:25Z)
├── orders-backups/2026-11-22-18-00-00 (snapshot of PostgreSQL 17.2, INCOMPLETE: its manifest is not whole)
├── 1 unfinished (a running backup, or one that was cut off)
└── 1 that is no snapshot
";
        assert_eq!(drawn(&entries, 0), expected);
    }

    #[test]
    fn only_a_whole_listing_can_say_that_there_is_no_snapshot() {
        let lock = [entry(".lock", None)];
        assert_eq!(drawn(&lock, 0), "claim : orders-backup-pvc\n└── no snapshot\n");
        assert_eq!(
            drawn(&lock, 3),
            "claim : orders-backup-pvc\n└── 3 more are not listed: only the first 1 by name are\n"
        );
    }
}
