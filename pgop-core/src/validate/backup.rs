//! Validation of a backup: most of its settings come from its source.

use super::image::image_of;
use super::server::check_parameters;
use super::storage::{DEFAULT_SIZE, check_storage};
use super::{check_name, created, pod};
use crate::crd::{PgBackup, PgBackupSpec, Postgres, Role, ServerSpec, ServerStatus, SourceKind};
use crate::description::Description;
use crate::invalid::Invalid;
use crate::name::{self, MAX_BACKUP_NAME};
use crate::observed::{Observed, SourceFacts};
use crate::owner::Owner;
use crate::quantity::{self, milli};
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
    let (source, status, meta): (&ServerSpec, _, _) = match &observed.source {
        Some(SourceFacts::Database(it)) => (&it.spec.server, it.status.as_ref(), &it.metadata),
        Some(SourceFacts::Cluster(it)) => (&it.spec.server, it.status.as_ref(), &it.metadata),
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
    let mut pod = pod::check(&spec.pod, &strategy.names.container, &mut invalid, |claim| {
        claim == storage.claim
    });
    if !spec.pod.containers.is_empty() {
        invalid.push(Invalid::new(
            "spec.pod.containers",
            "has containers, and a backup could not end while one runs",
            "leave it out",
        ));
    }
    check_backup_claim(spec, source, observed, &mut invalid);
    let strategy_parameters = check_parameters(&spec.strategy_parameters, strategy, &mut invalid);
    if !invalid.is_empty() {
        return Err(invalid);
    }
    let postgres = &source.postgres;
    let (host, port) = address(&spec.source.name, postgres, status);
    // What runs counts, and not what the source's spec may ask for and be refused.
    let in_force = status.and_then(|status| status.accepted.as_ref());
    let image = in_force.map_or_else(|| image_of(postgres, None).name, |accepted| accepted.image.clone());
    let user_of_data = in_force.and_then(|accepted| accepted.run_as_user);
    pod.run_as_user = pod.run_as_user.or(user_of_data).or(source.pod.run_as_user);
    pod.run_as_group = pod.run_as_group.or(source.pod.run_as_group);
    pod.fs_group = pod.fs_group.or(source.pod.fs_group);
    if pod.supplemental_groups.is_empty() {
        pod.supplemental_groups.clone_from(&source.pod.supplemental_groups);
    }
    Ok(ValidatedBackup {
        owner: Owner::of(backup),
        source: spec.source.clone(),
        source_uid: meta.uid.clone(),
        source_database: in_force.and_then(|accepted| accepted.database.clone()),
        source_user: in_force.and_then(|accepted| accepted.user.clone()),
        source_serves: in_force.is_some()
            && status.is_some_and(|s| s.members.iter().any(|m| m.role == Role::Primary && m.ready)),
        host,
        port,
        image,
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
        resources: spec.resources.as_ref().map(quantity::canonical_resources),
        pod,
        strategy_parameters,
    })
}

/// A snapshot beside the data would fill the volume that the server needs, and be lost with it.
fn check_backup_claim(spec: &PgBackupSpec, source: &ServerSpec, observed: &Observed, invalid: &mut Vec<Invalid>) {
    let Some(claim) = &spec.storage.claim else { return };
    let facts = observed.claims.get(claim).and_then(Option::as_ref);
    let whose = match facts.and_then(|facts| facts.data_of.clone()) {
        Some(whose) => whose,
        None if source.storage.claim.as_ref() == Some(claim) => {
            format!("{} {}", spec.source.kind.as_str(), spec.source.name)
        }
        None => return,
    };
    let problem = format!(
        "names claim {claim}, which holds the data of {whose}: a snapshot there would fill its volume, and be lost with it"
    );
    let mend = "leave it out, or name a claim that holds no database";
    invalid.push(Invalid::new("spec.storage.claim", problem, mend));
}

/// Service and port of a source, as its strategy calls it: its status tells. Before it does the source does not serve, and nothing is made.
fn address(source: &str, postgres: &Postgres, status: Option<&ServerStatus>) -> (String, i32) {
    let told = status
        .and_then(|status| status.endpoints.as_ref())
        .and_then(|endpoints| {
            let (host, port) = endpoints.read_write.split_once(':')?;
            Some((host.split('.').next()?.to_owned(), port.parse().ok()?))
        });
    told.unwrap_or_else(|| (source.to_owned(), postgres.port))
}

/// Twice the source's size: room for a snapshot while another is kept.
fn default_size(source: &ServerSpec) -> String {
    let size = source.storage.size.as_ref().map_or(DEFAULT_SIZE, |q| q.0.as_str());
    milli(size).map_or_else(
        || DEFAULT_SIZE.to_owned(),
        |milli| format!("{}Mi", (2 * milli / 1000).div_euclid(1 << 20).max(1)),
    )
}
