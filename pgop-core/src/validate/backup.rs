//! Validation of a backup: most of its settings come from its source.

use super::server::check_parameters;
use super::storage::{DEFAULT_SIZE, check_storage};
use super::{check_name, created, pod};
use crate::crd::{PgBackup, Role, ServerSpec, SourceKind};
use crate::description::Description;
use crate::invalid::Invalid;
use crate::name::{self, MAX_BACKUP_NAME};
use crate::observed::{Observed, SourceFacts};
use crate::owner::Owner;
use crate::quantity::milli;
use crate::validated::ValidatedBackup;

/// Checks a backup against its source.
pub(crate) fn backup(
    backup: &PgBackup,
    observed: &Observed,
    strategy: &Description,
) -> Result<ValidatedBackup, Vec<Invalid>> {
    let mut invalid = Vec::new();
    let spec = &backup.spec;
    check_name(
        "PgBackup",
        backup.metadata.name.as_deref().unwrap_or_default(),
        MAX_BACKUP_NAME,
        &mut invalid,
    );
    let (source, status): (&ServerSpec, _) = match &observed.source {
        Some(SourceFacts::Database(database)) => (&database.spec.server, database.status.as_ref()),
        Some(SourceFacts::Cluster(cluster)) => (&cluster.spec.server, cluster.status.as_ref()),
        None => {
            let plural = match spec.source.kind {
                SourceKind::PgDatabase => "pgdatabases",
                SourceKind::PgCluster => "pgclusters",
            };
            invalid.push(Invalid::new(
                "spec.source",
                format!(
                    "names {} {}, which does not exist",
                    spec.source.kind.as_str(),
                    spec.source.name
                ),
                format!("create it, or name one that `kubectl get {plural}` lists"),
            ));
            return Err(invalid);
        }
    };
    let size = default_size(source);
    let storage = check_storage(
        &spec.storage,
        name::backup_claim(&spec.source.name),
        &size,
        None,
        observed,
        &mut invalid,
    );
    pod::check(&spec.pod, &mut invalid, |claim| claim == storage.claim);
    if !spec.pod.containers.is_empty() {
        invalid.push(Invalid::new(
            "spec.pod.containers",
            "has containers, and a backup could not end while one runs",
            "leave it out",
        ));
    }
    let strategy_parameters = check_parameters(&spec.strategy_parameters, strategy, &mut invalid);
    if !invalid.is_empty() {
        return Err(invalid);
    }
    let postgres = &source.postgres;
    let version = postgres.version.as_deref().unwrap_or("17");
    let mut pod = spec.pod.clone();
    pod.run_as_user = pod.run_as_user.or(source.pod.run_as_user);
    pod.run_as_group = pod.run_as_group.or(source.pod.run_as_group);
    pod.fs_group = pod.fs_group.or(source.pod.fs_group);
    if pod.supplemental_groups.is_empty() {
        pod.supplemental_groups.clone_from(&source.pod.supplemental_groups);
    }
    Ok(ValidatedBackup {
        owner: Owner::of(backup),
        source: spec.source.clone(),
        source_serves: status.is_some_and(|s| s.members.iter().any(|m| m.role == Role::Primary && m.ready)),
        port: postgres.port,
        image: postgres.image.clone().unwrap_or_else(|| format!("postgres:{version}")),
        image_pull_policy: postgres
            .image_pull_policy
            .clone()
            .unwrap_or_else(|| "IfNotPresent".to_owned()),
        image_pull_secrets: postgres.image_pull_secrets.clone(),
        replication_secret: source
            .credentials
            .replication
            .clone()
            .unwrap_or_else(|| name::replication_secret(&spec.source.name)),
        storage,
        path: name::snapshot(&spec.source.name, created(backup), backup.metadata.uid.as_deref()),
        resources: spec.resources.clone(),
        pod,
        strategy_parameters,
    })
}

/// Twice the source's size: room for a snapshot while another is kept.
fn default_size(source: &ServerSpec) -> String {
    let size = source.storage.size.as_ref().map_or(DEFAULT_SIZE, |q| q.0.as_str());
    milli(size).map_or_else(
        || DEFAULT_SIZE.to_owned(),
        |milli| format!("{}Mi", (2 * milli / 1000).div_euclid(1 << 20).max(1)),
    )
}
