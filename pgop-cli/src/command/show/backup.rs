//! `pgo show backup`

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::ListParams;
use pgop_core::crd::{PgBackup, PgCluster, PgDatabase, ServerSpec};
use pgop_core::name;
use serde_json::Value;

use super::{browse, wide};
use crate::args::show::Browsed;
use crate::claim::remark;
use crate::cluster::Cluster;
use crate::command::{Context, for_each, is_all, unique};
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::output::{self, age, bytes};
use crate::screen::Style;
use crate::tree::Tree;
use crate::volume::{self, listing::Entry};
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
    let spec = server(&cluster, source).await?;
    let claims = claims(source, &mine, context);
    let mut tree = Tree::new(format!("backups : {source}"));
    for backup in &mine {
        tree.push(backup_line(backup, jiff::Timestamp::now()));
    }
    let mut code = ExitCode::Ok;
    let mut found = !mine.is_empty() || spec.is_some();
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
                spec.as_ref(),
                args,
                &context.config,
            );
            match volume::list(&cluster, &context.interrupt, &look).await {
                Ok(entries) => snapshots(&mut branch, source, &entries.unwrap_or_default()),
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

async fn server(cluster: &Cluster, source: &str) -> Result<Option<ServerSpec>, Error> {
    if let Some(database) = cluster.get::<PgDatabase>(source).await? {
        return Ok(Some(database.spec.server));
    }
    Ok(cluster.get::<PgCluster>(source).await?.map(|c| c.spec.server))
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
fn snapshots(branch: &mut Tree, source: &str, entries: &[Entry]) {
    let folder = name::backup_folder(source);
    let complete: Vec<&Entry> = entries
        .iter()
        .filter(|e| e.is_snapshot && !e.name.starts_with('.'))
        .collect();
    for entry in &complete {
        let size = entry.bytes.map_or_else(|| "?".to_owned(), bytes);
        let time = entry.modified.map(|time| format!(", {time}")).unwrap_or_default();
        branch.push(format!("{folder}/{} ({size}{time})", entry.name));
    }
    let running = entries.iter().filter(|e| e.name.starts_with(".partial-")).count();
    let other = entries
        .iter()
        .filter(|e| !e.is_snapshot && !e.name.starts_with('.'))
        .count();
    if running > 0 {
        branch.push(Tree::styled(
            format!("{running} unfinished (a running backup, or one that was cut off)"),
            Style::Dim,
        ));
    }
    if other > 0 {
        branch.push(Tree::styled(
            format!("{other} that is no complete snapshot of pgop"),
            Style::Dim,
        ));
    }
    if complete.is_empty() && running == 0 && other == 0 {
        branch.push(Tree::styled("no snapshot", Style::Dim));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, is_snapshot: bool) -> Entry {
        Entry {
            name: name.into(),
            is_directory: true,
            is_snapshot,
            bytes: Some(31_400_000),
            modified: Some("2026-11-22T17:57:25Z".parse().unwrap()),
        }
    }

    #[test]
    fn only_complete_snapshots_can_be_pasted() {
        let mut branch = Tree::new("claim : orders-backup-pvc");
        let entries = [
            entry(".lock", false),
            entry(".partial-1", false),
            entry("2026-11-22-17-57-21", true),
            entry("2017-03-21-15-57-21", false),
        ];
        snapshots(&mut branch, "orders", &entries);
        let expected = "\
claim : orders-backup-pvc
├── orders-backups/2026-11-22-17-57-21 (31.4 MB, 2026-11-22T17:57:25Z)
├── 1 unfinished (a running backup, or one that was cut off)
└── 1 that is no complete snapshot of pgop
";
        assert_eq!(branch.render(false), expected);
    }

    #[test]
    fn an_empty_volume_says_so() {
        let mut branch = Tree::new("claim : c");
        snapshots(&mut branch, "orders", &[entry(".lock", false)]);
        assert_eq!(branch.render(false), "claim : c\n└── no snapshot\n");
    }
}
