//! `pgo create backup`

use std::time::Duration;

use jiff::Timestamp;
use kube::Resource;
use pgop_core::crd::{PgBackup, PgCluster, PgDatabase, Source, SourceKind};
use pgop_core::name::MAX_BACKUP_NAME;
use pgop_core::registry::Registry;

use super::create::{finish, namespace, one};
use super::{Context, for_each, unique};
use crate::args::create::{Backup, DryRun, Kind};
use crate::cluster::{Cluster, ClusterError};
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::request;

/// Starts one backup of each source.
pub async fn run(args: Backup, context: &mut Context<'_>, registry: &Registry) -> Result<ExitCode, Error> {
    let names: Vec<String> = unique(&args.names).into_iter().map(str::to_owned).collect();
    if args.name.is_some() && names.len() > 1 {
        return Err(Error::Usage(
            "--name is for one source: start the others apart".to_owned(),
        ));
    }
    let namespace = namespace(context, &args.sending).await?;
    let mut created = Vec::new();
    let code = for_each(context, names, async |context, name| {
        let source = find(&name, &args, context).await?;
        created.extend(start(source, &namespace, &args, context, registry).await?);
        Ok(ExitCode::Ok)
    })
    .await;
    finish(created, context, &args.sending, code).await
}

/// Creates the `PgBackup`. Its name holds the second, so a second one within it waits for the next.
async fn start(
    source: Source,
    namespace: &str,
    args: &Backup,
    context: &mut Context<'_>,
    registry: &Registry,
) -> Result<Option<PgBackup>, Error> {
    loop {
        let now = Timestamp::now();
        let name = args.name.clone().unwrap_or_else(|| backup_name(&source.name, now));
        let resource = request::backup(&name, namespace, source.clone(), args, &context.config.settings)?;
        match one(resource, Vec::new(), context, registry, &args.sending).await {
            Err(Error::Cluster(ClusterError::Exists { .. })) if args.name.is_none() => {
                tokio::time::sleep(until_next_second(now)).await;
            }
            other => return other,
        }
    }
}

fn backup_name(source: &str, now: Timestamp) -> String {
    let time = now.strftime("%Y%m%d-%H%M%S").to_string();
    // A source's name is short enough for this; another one is refused by the check that follows.
    let room = MAX_BACKUP_NAME - time.len() - 1;
    format!("{}-{time}", source.chars().take(room).collect::<String>())
}

fn until_next_second(now: Timestamp) -> Duration {
    let millis = u64::try_from(now.subsec_millisecond()).unwrap_or(0);
    Duration::from_millis(1000 - millis.min(999))
}

/// Which kind a source is. A database and a cluster may have one name only until the operator sees them, but it may happen.
async fn find(name: &str, args: &Backup, context: &mut Context<'_>) -> Result<Source, Error> {
    let source = |kind| Source {
        kind,
        name: name.to_owned(),
    };
    let kind = args.kind.map(|kind| match kind {
        Kind::Database => SourceKind::PgDatabase,
        Kind::Cluster => SourceKind::PgCluster,
    });
    if let (Some(kind), Some(DryRun::Client)) = (kind, args.sending.dry_run) {
        return Ok(source(kind)); // offline
    }
    let cluster = context.cluster().await?;
    let found = match kind {
        Some(SourceKind::PgDatabase) => (exists::<PgDatabase>(&cluster, name).await?, false),
        Some(SourceKind::PgCluster) => (false, exists::<PgCluster>(&cluster, name).await?),
        None => (
            exists::<PgDatabase>(&cluster, name).await?,
            exists::<PgCluster>(&cluster, name).await?,
        ),
    };
    match found {
        (true, false) => Ok(source(SourceKind::PgDatabase)),
        (false, true) => Ok(source(SourceKind::PgCluster)),
        (true, true) => Err(Error::Object(format!(
            "{name} is a database and a cluster in namespace {}: say which with --kind database or --kind cluster",
            cluster.namespace
        ))),
        (false, false) => Err(Error::Object(format!(
            "there is no {} {name} in namespace {}: `pgo show database all` and `pgo show cluster all` list what there is",
            kind.map_or("database or cluster", |kind| if kind == SourceKind::PgDatabase {
                "database"
            } else {
                "cluster"
            }),
            cluster.namespace
        ))),
    }
}

async fn exists<K>(cluster: &Cluster, name: &str) -> Result<bool, ClusterError>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug,
{
    Ok(cluster.get::<K>(name).await?.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_the_time_in_utc_and_fit() {
        let now: Timestamp = "2026-11-22T18:57:21.25+01:00".parse().unwrap();
        assert_eq!(backup_name("orders", now), "orders-20261122-175721");
        let longest = backup_name(&"a".repeat(pgop_core::name::MAX_SERVER_NAME), now);
        assert!(longest.ends_with("a-20261122-175721") && longest.len() <= MAX_BACKUP_NAME);
        assert_eq!(until_next_second(now), Duration::from_millis(750));
    }
}
