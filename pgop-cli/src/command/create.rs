//! `pgo create`

mod send;

use std::time::Duration;

use pgop_core::Managed;
use pgop_core::crd::{PgBackup, PgCluster, PgDatabase, Servers, SourceKind};
use pgop_core::observed::Observed;
use pgop_core::registry::Registry;
use serde_json::Value;

use super::{Context, create_backup, for_each, restore, unique};
use crate::args::create::{Cluster, Create, Database, DryRun, Object, Sending};
use crate::cluster;
use crate::config::Settings;
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::output;
use crate::preview::{self, Resource};
use crate::request::{self, Password};
use crate::wait;

pub(super) use send::send;

/// Creates what was asked for.
pub async fn run(args: Create, context: &mut Context<'_>) -> Result<ExitCode, Error> {
    context.one_namespace("create")?;
    let registry = registry()?;
    match args.object {
        Some(Object::Database(args)) => databases(args, context, &registry).await,
        Some(Object::Cluster(args)) => clusters(args, context, &registry).await,
        Some(Object::Backup(args)) => create_backup::run(args, context, &registry).await,
        None => files(args, context, &registry).await,
    }
}

pub(super) fn registry() -> Result<Registry, Error> {
    pgop_strategies::builtin().map_err(|e| Error::Strategies(e.to_string()))
}

async fn databases(args: Database, context: &mut Context<'_>, registry: &Registry) -> Result<ExitCode, Error> {
    let Database { names, server, sending } = args;
    let namespace = namespace(context, &sending).await?;
    // Flags that make no resource are usage errors: nothing is created.
    let made = build(&names, |name| {
        request::database(name, &namespace, &server, &context.config.settings)
    })?;
    refuse_all(&names)?;
    create(made, context, registry, &sending).await
}

async fn clusters(args: Cluster, context: &mut Context<'_>, registry: &Registry) -> Result<ExitCode, Error> {
    let Cluster {
        names,
        replicas,
        server,
        sending,
    } = args;
    let namespace = namespace(context, &sending).await?;
    let made = build(&names, |name| {
        request::cluster(name, &namespace, replicas, &server, &context.config.settings)
    })?;
    refuse_all(&names)?;
    create(made, context, registry, &sending).await
}

fn build<R>(names: &[String], make: impl Fn(&str) -> Result<R, request::RequestError>) -> Result<Vec<R>, Error> {
    unique(names)
        .into_iter()
        .map(|name| make(name).map_err(Error::from))
        .collect()
}

/// `all` is no name: it would be a resource that no other verb could name.
fn refuse_all(names: &[String]) -> Result<(), Error> {
    match names.iter().find(|name| *name == "all") {
        Some(_) => Err(Error::Usage(
            "`all` can't be the name of a resource: show and delete take it for all of them".to_owned(),
        )),
        None => Ok(()),
    }
}

/// The namespace; for a dry run on the client it needs no cluster.
pub(super) async fn namespace(context: &mut Context<'_>, sending: &Sending) -> Result<String, Error> {
    match (&context.config.namespace, sending.dry_run) {
        (Some(namespace), _) => Ok(namespace.clone()),
        (None, Some(DryRun::Client)) => Ok(context
            .cluster()
            .await
            .map_or_else(|_| "default".to_owned(), |cluster| cluster.namespace)),
        (None, _) => Ok(context.cluster().await?.namespace),
    }
}

async fn create<R: Waitable>(
    resources: Vec<R>,
    context: &mut Context<'_>,
    registry: &Registry,
    sending: &Sending,
) -> Result<ExitCode, Error> {
    let mut created = Vec::new();
    let code = for_each(context, resources, async |context, resource| {
        let settings = &context.config.settings;
        let passwords = resource
            .servers()
            .map(|server| request::passwords(&name_of(&resource), server, settings));
        created.extend(one(resource, passwords.unwrap_or_default(), context, registry, sending).await?);
        Ok(ExitCode::Ok)
    })
    .await;
    finish(created, context, sending, code).await
}

/// Shows what a dry run would do, or creates one resource.
pub(super) async fn one<R: Waitable>(
    resource: R,
    passwords: Vec<Password>,
    context: &mut Context<'_>,
    registry: &Registry,
    sending: &Sending,
) -> Result<Option<R>, Error> {
    let observed = preview::assumed(&resource);
    if sending.dry_run == Some(DryRun::Client) {
        show_plan(&resource, &observed, context, registry)?;
        return Ok(None);
    }
    if !preview::check(registry, &resource, &observed)? {
        let strategy = resource.strategy().to_owned();
        context.screen.note_line(format!(
            "strategy {strategy} is not built in: the operator has to know it"
        ));
    }
    let cluster = context.cluster().await?;
    send(resource, passwords, context, &cluster, sending.dry_run.is_some())
        .await
        .map(Some)
}

fn show_plan<R: Managed>(
    resource: &R,
    observed: &Observed,
    context: &mut Context<'_>,
    registry: &Registry,
) -> Result<(), Error> {
    let plan = preview::plan(registry, resource, observed)?;
    let manifests = preview::manifests(&plan);
    let format = context
        .config
        .output
        .filter(|format| *format != crate::args::Output::Wide);
    if let Some(text) = output::resources(format, &manifests, false) {
        // Documents of several resources have to stay apart.
        let divider = if format == Some(crate::args::Output::Yaml) {
            "---\n"
        } else {
            ""
        };
        context.screen.raw(format!("{divider}{text}").as_bytes());
    } else {
        let name = name_of(resource);
        context.screen.line(format!(
            "{} {name} is valid; with strategy {} it would make:",
            R::KIND.as_str(),
            resource.strategy()
        ));
        for manifest in &manifests {
            context.screen.line(format!("  {}", output::name(manifest)));
        }
    }
    for held in &plan.held {
        context
            .screen
            .note_line(format!("{} {} is made later: {}", held.kind, held.name, held.why));
    }
    Ok(())
}

/// A resource that can be waited for.
pub(super) trait Waitable: Managed {
    /// What it is to become.
    const GOAL: &'static str;
    /// How it stands.
    fn stands(&self) -> wait::Verdict;
    /// What a person does next.
    async fn hint(&self, cluster: &cluster::Cluster, settings: &Settings) -> String;
}

macro_rules! waitable_servers {
    ($resource:ty) => {
        impl Waitable for $resource {
            const GOAL: &'static str = "ready";

            fn stands(&self) -> wait::Verdict {
                wait::server(self.metadata.generation, self.status.as_ref())
            }

            async fn hint(&self, _: &cluster::Cluster, _: &Settings) -> String {
                connect_hint(self)
            }
        }
    };
}

waitable_servers!(PgDatabase);
waitable_servers!(PgCluster);

impl Waitable for PgBackup {
    const GOAL: &'static str = "complete";
    fn stands(&self) -> wait::Verdict {
        wait::backup(self)
    }
    async fn hint(&self, cluster: &cluster::Cluster, settings: &Settings) -> String {
        let source = &self.spec.source;
        let status = self.status.clone().unwrap_or_default();
        let server = restore::source(cluster, self).await;
        let flags = server.map(|server| restore::flags(&server, status.server_version.as_deref(), settings));
        let mut words = vec![format!(
            "restore it with: pgo create {} NEW -n {} --backup-pvc={} --backup-path={}",
            if source.kind == SourceKind::PgCluster {
                "cluster"
            } else {
                "database"
            },
            cluster.namespace,
            status.claim.unwrap_or_default(),
            status.path.unwrap_or_default()
        )];
        words.extend(flags.into_iter().flatten());
        words.join(" ")
    }
}

fn connect_hint<R: Managed + Servers>(resource: &R) -> String {
    let name = name_of(resource);
    let namespace = resource.meta().namespace.as_deref().unwrap_or("default");
    let server = resource.server();
    let told = resource.status().and_then(|status| status.endpoints.clone());
    let address = told.map_or_else(
        || {
            let service = preview::names(resource).read_write_of(&name);
            format!("{service}.{namespace}.svc:{}", server.postgres.port)
        },
        |endpoints| endpoints.read_write,
    );
    let given = server.credentials.user.clone();
    format!(
        "connect with: pgo psql {name} -n {namespace}; applications use {address} and Secret {}",
        given.unwrap_or_else(|| pgop_core::name::user_secret(&name))
    )
}

pub(super) fn name_of<R: Managed>(resource: &R) -> String {
    resource.meta().name.clone().unwrap_or_default()
}

/// Prints what was created, and waits for it where that was asked for.
pub(super) async fn finish<R: Waitable>(
    created: Vec<R>,
    context: &mut Context<'_>,
    sending: &Sending,
    mut code: ExitCode,
) -> Result<ExitCode, Error> {
    if sending.wait.wait && sending.dry_run.is_none() {
        let start = std::time::Instant::now();
        code = code.and(
            for_each(context, &created, async |context, resource| {
                let left = sending.wait.timeout.saturating_sub(start.elapsed());
                let now = wait_for(resource, context, left).await?;
                if context.config.output.is_none() {
                    let cluster = cluster_of(&context.cluster().await?, resource);
                    let now = now.as_ref().unwrap_or(resource);
                    let hint = now.hint(&cluster, &context.config.settings).await;
                    context.screen.note_line(hint);
                }
                Ok(ExitCode::Ok)
            })
            .await,
        );
    }
    let values: Vec<Value> = created
        .iter()
        .map(|r| serde_json::to_value(r).unwrap_or_default())
        .collect();
    if let Some(text) = output::resources(context.config.output, &values, false).filter(|_| !values.is_empty()) {
        context.screen.raw(text.as_bytes());
    }
    Ok(code)
}

/// Waits until a resource is as it should be, and returns it as it is then.
pub(super) async fn wait_for<R: Waitable>(
    resource: &R,
    context: &mut Context<'_>,
    timeout: Duration,
) -> Result<Option<R>, Error> {
    let name = name_of(resource);
    let cluster = context
        .cluster()
        .await?
        .in_namespace(resource.meta().namespace.as_deref().unwrap_or("default"));
    wait::until::<R>(
        &cluster,
        &mut context.screen,
        &name,
        R::GOAL,
        timeout,
        |found| match found {
            Some(found) => found.stands(),
            None => wait::Verdict::Failed(String::new()),
        },
    )
    .await?;
    let (kind, goal) = (R::KIND.as_str(), R::GOAL);
    if context.config.output.is_none() {
        context.screen.line(format!("{kind} {name} is {goal}"));
    }
    Ok(cluster.get::<R>(&name).await?)
}

async fn files(args: Create, context: &mut Context<'_>, registry: &Registry) -> Result<ExitCode, Error> {
    let mut all = Vec::new();
    for path in &args.files {
        all.extend(crate::input::read(path, &context.env.directory)?);
    }
    let default = namespace(context, &args.sending).await?;
    let chosen = context.config.namespace.is_some();
    let sending = &args.sending;
    let code = for_each(context, all, async |context, resource| match resource {
        Resource::Database(resource) => one_of_file(*resource, &default, chosen, context, registry, sending).await,
        Resource::Cluster(resource) => one_of_file(*resource, &default, chosen, context, registry, sending).await,
        Resource::Backup(resource) => one_of_file(*resource, &default, chosen, context, registry, sending).await,
    })
    .await;
    Ok(code)
}

async fn one_of_file<R: Waitable>(
    mut resource: R,
    namespace: &str,
    chosen: bool,
    context: &mut Context<'_>,
    registry: &Registry,
    sending: &Sending,
) -> Result<ExitCode, Error> {
    let name = name_of(&resource);
    if name.is_empty() {
        return Err(Error::Object(format!("a {} has no metadata.name", R::KIND.as_str())));
    }
    match resource.meta().namespace.as_deref() {
        Some(own) if chosen && own != namespace => {
            return Err(Error::Object(format!(
                "{} {name} is of namespace {own} and --namespace (or the configuration) says {namespace}: change one of them",
                R::KIND.as_str()
            )));
        }
        Some(_) => {}
        None => resource.meta_mut().namespace = Some(namespace.to_owned()),
    }
    let created = one(resource, Vec::new(), context, registry, sending).await?;
    finish(created.into_iter().collect(), context, sending, ExitCode::Ok).await
}

/// The cluster in the namespace of a resource.
pub(super) fn cluster_of<R: Managed>(cluster: &cluster::Cluster, resource: &R) -> cluster::Cluster {
    match resource.meta().namespace.as_deref() {
        Some(namespace) => cluster.in_namespace(namespace),
        None => cluster.clone(),
    }
}
