//! `pgo delete`

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{DeleteParams, ListParams, Preconditions};
use pgop_core::Managed;
use pgop_core::crd::{DeletionPolicy, PgBackup, PgCluster, PgDatabase};

use super::ask::confirm;
use super::show::find;
use super::{Context, for_each, is_all};
use crate::args::Output;
use crate::args::show::{Delete, Deleted, Deletion};
use crate::claim::{Partition, named, partition};
use crate::cluster::{Cluster, ClusterError};
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::preview::names;
use crate::wait::{self, Verdict};

/// Deletes what was asked for.
pub async fn run(args: Delete, context: &mut Context<'_>) -> Result<ExitCode, Error> {
    context.one_namespace("delete")?;
    if let Some(format @ (Output::Json | Output::Yaml)) = context.config.output {
        return Err(Error::Usage(format!(
            "pgo delete has no result in {}: use -o name, or leave -o out",
            if format == Output::Json { "JSON" } else { "YAML" }
        )));
    }
    match args.object {
        Deleted::Database(args) => delete::<PgDatabase>(&args, context).await,
        Deleted::Cluster(args) => delete::<PgCluster>(&args, context).await,
        Deleted::Backup(args) => delete::<PgBackup>(&args, context).await,
    }
}

/// A resource that can be deleted.
pub(super) trait Deletable: Managed {
    /// Path of the snapshot that it made.
    fn snapshot(&self) -> Option<&str> {
        None
    }
    /// Other words that name it.
    fn belongs_to(&self, _: &str) -> bool {
        false
    }
}

impl Deletable for PgDatabase {}

impl Deletable for PgCluster {}

impl Deletable for PgBackup {
    fn snapshot(&self) -> Option<&str> {
        self.status.as_ref()?.path.as_deref()
    }
    fn belongs_to(&self, name: &str) -> bool {
        self.spec.source.name == name
    }
}

async fn delete<R: Deletable>(args: &Deletion, context: &mut Context<'_>) -> Result<ExitCode, Error> {
    let all = is_all(&args.names)?;
    let broad = all || context.config.selector.is_some();
    let asks = context.env.stdin_terminal && context.env.stderr_terminal;
    if broad && !args.yes && !asks {
        return Err(Error::Usage(format!(
            "deleting {} without a terminal to ask on needs --yes",
            if all { "`all`" } else { "by --selector" }
        )));
    }
    let cluster = context.cluster().await?;
    let (found, mut code) = chosen::<R>(args, context).await?;
    if found.is_empty() {
        if code == ExitCode::Ok {
            context.screen.note_line(format!(
                "there is no {} to delete in namespace {}",
                R::KIND.component(),
                cluster.namespace
            ));
        }
        return Ok(code);
    }
    let claims = claims(&cluster).await?;
    let doomed: Vec<&str> = found
        .iter()
        .filter(|r| loses_data(*r, claims.as_deref()))
        .map(name)
        .collect();
    if !args.yes {
        if asks {
            confirm(context, &question(&found, claims.as_deref(), &doomed))?;
        } else if !doomed.is_empty() {
            return Err(Error::Usage(format!(
                "deleting {} deletes its data too (deletionPolicy: Delete); without a terminal to ask on that needs --yes",
                doomed.join(", ")
            )));
        }
    }
    let start = std::time::Instant::now();
    code = code.and(
        for_each(context, &found, async |context, resource| {
            one(resource, args.wait.wait, claims.as_deref(), context).await?;
            Ok(ExitCode::Ok)
        })
        .await,
    );
    if args.wait.wait {
        code = code.and(
            for_each(context, &found, async |context, resource| {
                let left = args.wait.timeout.saturating_sub(start.elapsed());
                gone(resource, context, left).await?;
                Ok(ExitCode::Ok)
            })
            .await,
        );
    }
    Ok(code)
}

/// The resources that the names mean. A backup is also meant by the name of its source.
async fn chosen<R: Deletable>(args: &Deletion, context: &mut Context<'_>) -> Result<(Vec<R>, ExitCode), Error> {
    let cluster = context.cluster().await?;
    let mut by_source: Vec<R> = Vec::new();
    let mut names = Vec::new();
    let listed = match R::KIND {
        pgop_core::ResourceKind::PgBackup if !is_all(&args.names)? => {
            let mut params = ListParams::default();
            params.label_selector.clone_from(&context.config.selector);
            cluster.list::<R>(&params).await?.items
        }
        _ => Vec::new(),
    };
    for given in &args.names {
        let of_source: Vec<R> = listed
            .iter()
            .filter(|r| r.belongs_to(given) && name(*r) != given)
            .cloned()
            .collect();
        let is_named = listed.iter().any(|r| name(r) == given);
        if of_source.is_empty() || is_named {
            names.push(given.clone());
        }
        by_source.extend(of_source);
    }
    let (mut found, code) = if names.is_empty() {
        (Vec::new(), ExitCode::Ok)
    } else {
        find::<R>(&names, context, &cluster).await?
    };
    for resource in by_source {
        if !found.iter().any(|r| name(r) == name(&resource)) {
            found.push(resource);
        }
    }
    Ok((found, code))
}

fn name<R: Managed>(resource: &R) -> &str {
    resource.meta().name.as_deref().unwrap_or_default()
}

/// Whether data goes with it. The spec may say otherwise than the claims, which follow it only when the operator has seen it; what
/// Kubernetes acts on is the claims.
pub(super) fn loses_data<R: Deletable>(resource: &R, claims: Option<&[PersistentVolumeClaim]>) -> bool {
    by_policy(resource) || !of(resource, claims.unwrap_or_default()).go.is_empty()
}

fn by_policy<R: Deletable>(resource: &R) -> bool {
    resource
        .servers()
        .is_some_and(|server| server.deletion_policy == DeletionPolicy::Delete)
}

/// What becomes of the claims of a resource.
fn of<'a, R: Deletable>(resource: &R, claims: &'a [PersistentVolumeClaim]) -> Partition<'a> {
    let is_mine = |claim: &&PersistentVolumeClaim| {
        let labels = claim.metadata.labels.as_ref();
        labels.and_then(|all| all.get(R::KIND.label())).map(String::as_str) == Some(name(resource))
    };
    let uid = resource.meta().uid.as_deref();
    partition(claims.iter().filter(is_mine), uid, by_policy(resource))
}

/// The claims of the namespace; `None` for a person who may not list them.
async fn claims(cluster: &Cluster) -> Result<Option<Vec<PersistentVolumeClaim>>, Error> {
    match cluster.list::<PersistentVolumeClaim>(&ListParams::default()).await {
        Ok(claims) => Ok(Some(claims.items)),
        Err(ClusterError::Forbidden { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn question<R: Deletable>(found: &[R], claims: Option<&[PersistentVolumeClaim]>, doomed: &[&str]) -> String {
    let names: Vec<&str> = found.iter().map(name).collect();
    let going: Vec<&PersistentVolumeClaim> = found
        .iter()
        .flat_map(|resource| of(resource, claims.unwrap_or_default()).going)
        .collect();
    let mut kept = match (doomed.is_empty(), R::KIND) {
        (_, pgop_core::ResourceKind::PgBackup) => "Their snapshots stay on their volumes.".to_owned(),
        (true, _) if going.is_empty() => "Their claims stay, with the data.".to_owned(),
        (true, _) => "Other claims stay, with the data.".to_owned(),
        (false, _) => format!(
            "THE DATA OF {} IS DELETED TOO (deletionPolicy: Delete).",
            doomed.join(", ")
        ),
    };
    if !going.is_empty() {
        kept = format!("Being deleted already, with the data: {}. {kept}", named(&going));
    }
    let (count, kind) = (found.len(), R::KIND.component());
    let plural = if count == 1 { "" } else { "s" };
    format!("Delete {count} {kind}{plural}: {}? {kept}", names.join(", "))
}

async fn one<R: Deletable>(
    resource: &R,
    waits: bool,
    claims: Option<&[PersistentVolumeClaim]>,
    context: &mut Context<'_>,
) -> Result<(), Error> {
    let cluster = context.cluster().await?;
    let (kind, name) = (R::KIND.as_str(), name(resource));
    // What was shown and confirmed is deleted, and not one of the same name that somebody makes meanwhile.
    let preconditions = Preconditions {
        uid: resource.meta().uid.clone(),
        resource_version: None,
    };
    // Whoever waits, waits for the pods too: in the foreground, the resource goes after all that was made for it.
    let policy = if waits {
        DeleteParams::foreground()
    } else {
        DeleteParams::background()
    };
    let params = DeleteParams {
        preconditions: Some(preconditions),
        ..policy
    };
    let api = cluster.api::<R>();
    let action = format!("delete {}", cluster.object::<R>(name));
    let deleted = cluster.ask(action, api.delete(name, &params)).await?;
    let lingers = deleted.left().is_some_and(|r| r.meta().deletion_timestamp.is_some());
    if context.config.output == Some(Output::Name) {
        context
            .screen
            .line(format!("{}.{}/{name}", kind.to_lowercase(), pgop_core::crd::GROUP));
        return Ok(());
    }
    let word = if lingers { "is being deleted" } else { "deleted" };
    context
        .screen
        .line(format!("{kind} {name} {word}{}", kept(resource, claims)));
    Ok(())
}

/// What becomes of what it held, as it stood a moment before.
fn kept<R: Deletable>(resource: &R, claims: Option<&[PersistentVolumeClaim]>) -> String {
    let Some(server) = resource.servers() else {
        return resource.snapshot().map_or_else(
            || "; it had made no snapshot".to_owned(),
            |path| format!("; its snapshot {path} stays on the volume"),
        );
    };
    if let Some(claim) = &server.storage.claim {
        return format!("; claim {claim} stays, with its data");
    }
    let Some(claims) = claims else {
        return if by_policy(resource) {
            "; its claims go with it (deletionPolicy: Delete)".to_owned()
        } else {
            "; what becomes of its claims can't be told without the right to list persistentvolumeclaims".to_owned()
        };
    };
    let sorted = of(resource, claims);
    let primary = names(resource).claim_of(name(resource));
    let mut said = Vec::new();
    if !sorted.going.is_empty() {
        said.push(format!(
            "{} was being deleted already, with its data",
            named(&sorted.going)
        ));
    }
    if !sorted.go.is_empty() {
        said.push(format!("{} goes with it (deletionPolicy: Delete)", named(&sorted.go)));
    }
    if sorted
        .stay
        .iter()
        .any(|claim| claim.metadata.name.as_ref() == Some(&primary))
    {
        said.push(format!(
            "its claims stay: a new one named {} serves claim {primary} again, `kubectl delete pvc` frees it",
            name(resource)
        ));
    } else if !sorted.stay.is_empty() {
        said.push(format!("{} stays", named(&sorted.stay)));
    }
    if said.is_empty() {
        said.push("it had no claim".to_owned());
    }
    format!("; {}", said.join("; "))
}

async fn gone<R: Deletable>(
    resource: &R,
    context: &mut Context<'_>,
    timeout: std::time::Duration,
) -> Result<(), Error> {
    let cluster = context.cluster().await?;
    let (name, uid) = (name(resource), resource.meta().uid.clone());
    let still = |there: Option<&R>| match there {
        Some(r) if r.meta().uid == uid => Verdict::NotYet("is being deleted".to_owned()),
        _ => Verdict::Done,
    };
    wait::until::<R>(&cluster, &mut context.screen, name, "gone", timeout, still).await?;
    context.screen.note_line(format!("{} {name} is gone", R::KIND.as_str()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use pgop_core::crd::PgDatabaseSpec;

    use super::*;
    use crate::claim::tests::claim;

    fn database(policy: DeletionPolicy) -> PgDatabase {
        let mut database = PgDatabase::new("hippo", PgDatabaseSpec::default());
        database.metadata.uid = Some("u1".to_owned());
        database.spec.server.deletion_policy = policy;
        database
    }

    #[test]
    fn the_question_says_what_becomes_of_the_data() {
        let keep = database(DeletionPolicy::Retain);
        let stays = [claim("hippo-pvc", None, false)];
        assert_eq!(
            question(std::slice::from_ref(&keep), Some(&stays), &[]),
            "Delete 1 database: hippo? Their claims stay, with the data."
        );
        let lose = database(DeletionPolicy::Delete);
        assert!(loses_data(&lose, Some(&stays)) && loses_data(&lose, None) && !loses_data(&keep, Some(&stays)));
        // The spec was set back to `Retain`, and the claims do not know yet: Kubernetes would delete them.
        assert!(loses_data(&keep, Some(&[claim("hippo-pvc", Some("u1"), false)])));
        assert_eq!(
            question(&[keep.clone(), lose], Some(&stays), &["b"]),
            "Delete 2 databases: hippo, hippo? THE DATA OF b IS DELETED TOO (deletionPolicy: Delete)."
        );
        assert_eq!(
            question(&[keep], Some(&[claim("hippo-pvc", None, true)]), &[]),
            "Delete 1 database: hippo? Being deleted already, with the data: claim hippo-pvc. Other claims stay, with the data."
        );
    }

    #[test]
    fn the_answer_tells_what_becomes_of_the_claims_that_there_are() {
        let retain = database(DeletionPolicy::Retain);
        let said = |claims: &[PersistentVolumeClaim]| kept(&retain, Some(claims));
        assert!(said(&[claim("hippo-pvc", None, false)]).contains("serves claim hippo-pvc again"));
        assert_eq!(
            said(&[claim("hippo-pvc", None, true)]),
            "; claim hippo-pvc was being deleted already, with its data"
        );
        assert_eq!(
            said(&[
                claim("hippo-pvc", None, true),
                claim("data-hippo-replica-0", None, false)
            ]),
            "; claim hippo-pvc was being deleted already, with its data; claim data-hippo-replica-0 stays"
        );
        assert_eq!(
            said(&[claim("hippo-pvc", Some("u1"), false)]),
            "; claim hippo-pvc goes with it (deletionPolicy: Delete)"
        );
        assert_eq!(said(&[]), "; it had no claim");
        assert!(kept(&retain, None).contains("can't be told"));
        assert!(kept(&database(DeletionPolicy::Delete), None).contains("go with it"));
        let mut shared = database(DeletionPolicy::Delete);
        shared.spec.server.storage.claim = Some("shared".into());
        assert_eq!(kept(&shared, Some(&[])), "; claim shared stays, with its data");
    }
}
