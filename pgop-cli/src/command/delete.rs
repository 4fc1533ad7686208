//! `pgo delete`

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{DeleteParams, ListParams, Preconditions};
use pgop_core::crd::{DeletionPolicy, PgBackup, PgCluster, PgDatabase, ServerSpec};
use pgop_core::resource::Managed;

use super::ask::confirm;
use super::show::find;
use super::{Context, for_each, is_all};
use crate::args::show::{Delete, Deleted, Deletion};
use crate::cluster::{Cluster, ClusterError};
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::wait::{self, Verdict};

/// Deletes what was asked for.
pub async fn run(args: Delete, context: &mut Context<'_>) -> Result<ExitCode, Error> {
    context.one_namespace("delete")?;
    match args.object {
        Deleted::Database(args) => delete::<PgDatabase>(&args, context).await,
        Deleted::Cluster(args) => delete::<PgCluster>(&args, context).await,
        Deleted::Backup(args) => delete::<PgBackup>(&args, context).await,
    }
}

/// A resource that can be deleted.
trait Deletable: Managed {
    /// Its servers, if it has any.
    fn server(&self) -> Option<&ServerSpec>;
    /// Path of the snapshot that it made.
    fn snapshot(&self) -> Option<&str> {
        None
    }
    /// Other words that name it.
    fn belongs_to(&self, _: &str) -> bool {
        false
    }
}

impl Deletable for PgDatabase {
    fn server(&self) -> Option<&ServerSpec> {
        Some(&self.spec.server)
    }
}

impl Deletable for PgCluster {
    fn server(&self) -> Option<&ServerSpec> {
        Some(&self.spec.server)
    }
}

impl Deletable for PgBackup {
    fn server(&self) -> Option<&ServerSpec> {
        None
    }
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
    let owned = owners_of_claims(&cluster).await?;
    let doomed: Vec<&str> = found.iter().filter(|r| loses_data(*r, &owned)).map(name).collect();
    if !args.yes {
        if asks {
            confirm(context, &question(&found, &doomed))?;
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
            one(resource, args.wait.wait, loses_data(resource, &owned), context).await?;
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
fn loses_data<R: Deletable>(resource: &R, owned: &BTreeSet<String>) -> bool {
    let by_policy = resource
        .server()
        .is_some_and(|server| server.deletion_policy == DeletionPolicy::Delete);
    by_policy || resource.meta().uid.as_ref().is_some_and(|uid| owned.contains(uid))
}

/// Uids of the resources that claims go with. Who may not list claims can't be told.
async fn owners_of_claims(cluster: &Cluster) -> Result<BTreeSet<String>, Error> {
    let claims = match cluster.list::<PersistentVolumeClaim>(&ListParams::default()).await {
        Ok(claims) => claims.items,
        Err(ClusterError::Forbidden { .. }) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let owners = claims
        .into_iter()
        .flat_map(|claim| claim.metadata.owner_references.unwrap_or_default());
    Ok(owners.map(|owner| owner.uid).collect())
}

fn question<R: Deletable>(found: &[R], doomed: &[&str]) -> String {
    let names: Vec<&str> = found.iter().map(name).collect();
    let kept = match (doomed.is_empty(), R::KIND) {
        (_, pgop_core::ResourceKind::PgBackup) => "Their snapshots stay on their volumes.".to_owned(),
        (true, _) => "Their claims stay, with the data.".to_owned(),
        (false, _) => format!(
            "THE DATA OF {} IS DELETED TOO (deletionPolicy: Delete).",
            doomed.join(", ")
        ),
    };
    let (count, kind) = (found.len(), R::KIND.component());
    let plural = if count == 1 { "" } else { "s" };
    format!("Delete {count} {kind}{plural}: {}? {kept}", names.join(", "))
}

async fn one<R: Deletable>(resource: &R, waits: bool, is_doomed: bool, context: &mut Context<'_>) -> Result<(), Error> {
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
    if context.config.output == Some(crate::args::Output::Name) {
        context
            .screen
            .line(format!("{}.{}/{name}", kind.to_lowercase(), pgop_core::crd::GROUP));
        return Ok(());
    }
    let word = if lingers { "is being deleted" } else { "deleted" };
    context
        .screen
        .line(format!("{kind} {name} {word}{}", kept(resource, is_doomed)));
    Ok(())
}

fn kept<R: Deletable>(resource: &R, is_doomed: bool) -> String {
    let Some(server) = resource.server() else {
        return resource.snapshot().map_or_else(
            || "; it had made no snapshot".to_owned(),
            |path| format!("; its snapshot {path} stays on the volume"),
        );
    };
    let name = name(resource);
    match (&server.storage.claim, is_doomed) {
        (Some(claim), _) => format!("; claim {claim} stays, with its data"),
        (None, true) => "; its claims go with it (deletionPolicy: Delete)".to_owned(),
        (None, false) => format!(
            "; its claims stay: a new one named {name} serves claim {} again, `kubectl delete pvc` frees it",
            pgop_core::name::data_claim(name)
        ),
    }
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

    fn database(name: &str, policy: DeletionPolicy) -> PgDatabase {
        let mut database = PgDatabase::new(name, PgDatabaseSpec::default());
        database.spec.server.deletion_policy = policy;
        database
    }

    #[test]
    fn the_question_says_what_becomes_of_the_data() {
        let keep = database("a", DeletionPolicy::Retain);
        assert_eq!(
            question(std::slice::from_ref(&keep), &[]),
            "Delete 1 database: a? Their claims stay, with the data."
        );
        let lose = database("b", DeletionPolicy::Delete);
        let nobody = BTreeSet::new();
        assert!(loses_data(&lose, &nobody) && !loses_data(&keep, &nobody));
        // The spec was set back to `Retain`, and the claims do not know yet: Kubernetes would delete them.
        let mut late = database("a", DeletionPolicy::Retain);
        late.metadata.uid = Some("u1".to_owned());
        assert!(loses_data(&late, &BTreeSet::from(["u1".to_owned()])));
        let text = question(&[keep, lose], &["b"]);
        assert_eq!(
            text,
            "Delete 2 databases: a, b? THE DATA OF b IS DELETED TOO (deletionPolicy: Delete)."
        );
    }

    #[test]
    fn the_answer_names_the_claim_that_stays() {
        assert!(kept(&database("a", DeletionPolicy::Retain), false).contains("serves claim a-pvc again"));
        assert!(kept(&database("a", DeletionPolicy::Delete), true).contains("go with it"));
        let mut shared = database("a", DeletionPolicy::Delete);
        shared.spec.server.storage.claim = Some("shared".into());
        assert_eq!(kept(&shared, false), "; claim shared stays, with its data");
    }
}
