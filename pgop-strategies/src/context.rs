//! What templates see: the contract with the authors of bundles.
//!
//! Keys are camelCase. Every key is always there; what does not apply is `null`, an empty list or an empty map, so a name that is
//! spelled wrongly is an error and never an empty text. Parameters that the bundle's schema declares are there too, `null` when they
//! have neither a value nor a default.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use pgop_core::crd::{PgBackup, PgCluster, PgDatabase, ServiceSettings};
use pgop_core::description::Names;
use pgop_core::managed::Managed;
use pgop_core::owner::Owner;
use pgop_core::validated::{ClaimStorage, Server, ValidatedBackup, ValidatedCluster, ValidatedDatabase};
use pgop_core::{label, parameter};
use serde::Serialize;
use serde_json::{Map, Value};

/// How long a server has to stop: a fast shutdown writes a checkpoint, and a server that is killed meanwhile has to recover.
pub const TERMINATION_GRACE_PERIOD_SECONDS: i64 = 300;

/// What a container asks for where nobody says: servers that asked for nothing would be the first to be killed when a node is short of memory.
fn modest() -> ResourceRequirements {
    let quantity = |name: &str, text: &str| (name.to_owned(), Quantity(text.to_owned()));
    ResourceRequirements {
        requests: Some([quantity("cpu", "50m"), quantity("memory", "256Mi")].into()),
        ..ResourceRequirements::default()
    }
}

/// A kind of resource whose templates have a context.
pub trait TemplateContext: Managed {
    /// What the templates see.
    type Context<'a>: Serialize;

    /// Gathers it. `names` are those of the bundle's description, and `files` its files, by name.
    fn context<'a>(
        validated: &'a Self::Validated,
        names: &Names,
        files: &'a BTreeMap<String, String>,
    ) -> Self::Context<'a>;
}

/// What the templates of a `PgDatabase` see.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerContext<'a> {
    /// `PgDatabase` or `PgCluster`.
    pub kind: &'static str,
    /// Name of the resource.
    pub name: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its uid: a resource that is made again under the same name has another.
    pub uid: &'a str,
    /// Labels that select every pod of the resource, and no other.
    pub selector: BTreeMap<String, String>,
    /// Image with the server programs.
    pub image: &'a str,
    /// `Always`, `IfNotPresent` or `Never`.
    pub image_pull_policy: &'a str,
    /// Port of the Services; the server itself listens on 5432.
    pub port: i32,
    /// Database to make.
    pub database: &'a str,
    /// Names of the Secrets, each with `username` and `password`.
    pub secrets: SecretsContext<'a>,
    /// Names of the replicas' pods; empty for a database.
    pub replica_pods: Vec<String>,
    /// As whom the servers' pods run.
    pub account: AccountContext,
    /// The claims.
    pub claims: ClaimsContext<'a>,
    /// How claims are made.
    pub storage: StorageContext<'a>,
    /// The primary's Service.
    pub service: ServiceContext<'a>,
    /// CPU and memory of the server's container; `{}` when the spec asks for nothing.
    pub resources: ResourceRequirements,
    /// Text of `postgresql.conf`.
    pub postgresql_conf: String,
    /// Hash of the settings that only a restart applies.
    pub restart_hash: String,
    /// Whether an empty volume may become an empty database.
    pub initialize: bool,
    /// The snapshot to start from, or `null`.
    pub restore: Option<RestoreContext<'a>>,
    /// Seconds that a server has to stop.
    pub termination_grace_period_seconds: i64,
    /// `spec.strategyParameters`, with the defaults of the bundle's schema.
    pub parameters: &'a Map<String, Value>,
    /// Texts of the bundle's files, by name.
    pub files: &'a BTreeMap<String, String>,
}

/// What the templates of a `PgCluster` see: all of [`ServerContext`], and the replicas.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterContext<'a> {
    /// The servers.
    #[serde(flatten)]
    pub server: ServerContext<'a>,
    /// Number of replicas beside the primary.
    pub replicas: i32,
    /// Replication slots of the replicas, in their order.
    pub slots: Vec<String>,
    /// The Service of the replicas.
    pub replica_service: ServiceContext<'a>,
}

/// What the templates of a `PgBackup` see.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupContext<'a> {
    /// `PgBackup`.
    pub kind: &'static str,
    /// Name of the resource.
    pub name: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its uid: no other backup has it, not even one of the same name; empty in a dry run.
    pub uid: &'a str,
    /// Labels that select every pod of the resource, and no other.
    pub selector: BTreeMap<String, String>,
    /// What is backed up.
    pub source: SourceContext<'a>,
    /// Image of the source.
    pub image: &'a str,
    /// `Always`, `IfNotPresent` or `Never`.
    pub image_pull_policy: &'a str,
    /// Where snapshots go.
    pub claim: ClaimContext<'a>,
    /// How the claim is made.
    pub storage: StorageContext<'a>,
    /// Names of the Secrets.
    pub secrets: BackupSecretsContext<'a>,
    /// Path of the snapshot in the claim.
    pub path: &'a str,
    /// CPU and memory of the container; `{}` when the spec asks for nothing.
    pub resources: ResourceRequirements,
    /// `spec.strategyParameters`, with the defaults of the bundle's schema.
    pub parameters: &'a Map<String, Value>,
    /// Texts of the bundle's files, by name.
    pub files: &'a BTreeMap<String, String>,
}

/// Names of a server's Secrets, each with `username` and `password`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretsContext<'a> {
    /// Of `postgres`.
    pub superuser: &'a str,
    /// Of the replication role.
    pub replication: &'a str,
    /// Of the ordinary role.
    pub user: &'a str,
}

/// Names of a backup's Secrets.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupSecretsContext<'a> {
    /// Of the source's replication role.
    pub replication: &'a str,
}

/// The service account of the servers' pods.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountContext {
    /// Its name.
    pub name: String,
    /// Whether it is made; an existing one is used otherwise.
    pub make: bool,
}

/// The claims of a server.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimsContext<'a> {
    /// That of the primary, or the one that all servers share.
    pub primary: &'a str,
    /// Those of the replicas; empty where claims are not made.
    pub replicas: Vec<String>,
    /// Whether they are made; existing ones are used otherwise.
    pub make: bool,
}

/// A claim and whether it is made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimContext<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether it is made; an existing one is used otherwise.
    pub make: bool,
}

/// How claims are made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StorageContext<'a> {
    /// Size, such as `10Gi`.
    pub size: &'a str,
    /// Storage class; `null` is the cluster's default.
    pub class_name: Option<&'a str>,
    /// Access mode.
    pub access_mode: &'static str,
}

/// How a Service is reached.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceContext<'a> {
    /// `ClusterIP`, `NodePort` or `LoadBalancer`.
    #[serde(rename = "type")]
    pub service_type: &'static str,
    /// Labels that the user adds.
    pub labels: &'a BTreeMap<String, String>,
    /// Annotations that the user adds.
    pub annotations: &'a BTreeMap<String, String>,
    /// Class of the load balancer, or `null`.
    pub load_balancer_class: Option<&'a str>,
    /// Networks that the load balancer lets in; empty for all.
    pub load_balancer_source_ranges: &'a [String],
    /// `Cluster`, `Local` or `null`.
    pub external_traffic_policy: Option<&'static str>,
}

/// A snapshot to start from.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RestoreContext<'a> {
    /// Name of the Job that does it.
    pub job: &'a str,
    /// Claim with the snapshot.
    pub claim: &'a str,
    /// Its path.
    pub path: &'a str,
}

/// The source of a backup.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceContext<'a> {
    /// `PgDatabase` or `PgCluster`.
    pub kind: &'static str,
    /// Its name.
    pub name: &'a str,
    /// Its uid: one that is made again under the same name has another; empty in a dry run.
    pub uid: &'a str,
    /// Host name of its primary, as seen in the namespace.
    pub host: &'a str,
    /// Port of its Service.
    pub port: i32,
}

impl TemplateContext for PgDatabase {
    type Context<'a> = ServerContext<'a>;

    fn context<'a>(
        validated: &'a ValidatedDatabase,
        names: &Names,
        files: &'a BTreeMap<String, String>,
    ) -> ServerContext<'a> {
        server(&validated.server, 0, names, files)
    }
}

impl TemplateContext for PgCluster {
    type Context<'a> = ClusterContext<'a>;

    fn context<'a>(
        validated: &'a ValidatedCluster,
        names: &Names,
        files: &'a BTreeMap<String, String>,
    ) -> ClusterContext<'a> {
        let ValidatedCluster {
            server: servers,
            replicas,
            replica_service,
        } = validated;
        let slots = (0..*replicas).map(|ordinal| names.slot_of_replica(&servers.owner.name, ordinal));
        ClusterContext {
            server: server(servers, *replicas, names, files),
            replicas: *replicas,
            slots: slots.collect(),
            replica_service: service(replica_service),
        }
    }
}

impl TemplateContext for PgBackup {
    type Context<'a> = BackupContext<'a>;

    fn context<'a>(
        validated: &'a ValidatedBackup,
        _: &Names,
        files: &'a BTreeMap<String, String>,
    ) -> BackupContext<'a> {
        let Owner {
            kind,
            name,
            namespace,
            uid,
        } = &validated.owner;
        BackupContext {
            kind: kind.as_str(),
            name,
            namespace,
            uid,
            selector: label::selector(&validated.owner),
            source: SourceContext {
                kind: validated.source.kind.as_str(),
                name: &validated.source.name,
                uid: validated.source_uid.as_deref().unwrap_or_default(),
                host: &validated.host,
                port: validated.port,
            },
            image: &validated.image,
            image_pull_policy: &validated.image_pull_policy,
            claim: ClaimContext {
                name: &validated.storage.claim,
                make: validated.storage.make,
            },
            storage: storage(&validated.storage),
            secrets: BackupSecretsContext {
                replication: &validated.replication_secret,
            },
            path: &validated.path,
            resources: validated.resources.clone().unwrap_or_else(modest),
            parameters: &validated.strategy_parameters,
            files,
        }
    }
}

fn server<'a>(
    server: &'a Server,
    replicas: i32,
    names: &Names,
    files: &'a BTreeMap<String, String>,
) -> ServerContext<'a> {
    let Owner {
        kind,
        name,
        namespace,
        uid,
    } = &server.owner;
    let ClaimStorage { claim, make, .. } = &server.storage;
    let made = if *make { replicas } else { 0 };
    ServerContext {
        kind: kind.as_str(),
        name,
        namespace,
        uid,
        selector: label::selector(&server.owner),
        image: &server.image,
        image_pull_policy: &server.image_pull_policy,
        port: server.port,
        database: &server.database,
        secrets: SecretsContext {
            superuser: server.secrets.superuser.name(),
            replication: server.secrets.replication.name(),
            user: server.secrets.user.name(),
        },
        replica_pods: (0..replicas)
            .map(|ordinal| names.pod_of_replica(name, ordinal))
            .collect(),
        account: account(server),
        claims: ClaimsContext {
            primary: claim,
            replicas: (0..made).map(|ordinal| names.claim_of_replica(name, ordinal)).collect(),
            make: *make,
        },
        storage: storage(&server.storage),
        service: service(&server.service),
        resources: server.resources.clone().unwrap_or_else(modest),
        postgresql_conf: parameter::postgresql_conf(server),
        restart_hash: parameter::restart_hash(server),
        initialize: server.initialize,
        restore: server.restore.as_ref().map(|restore| RestoreContext {
            job: &restore.job,
            claim: &restore.claim,
            path: &restore.path,
        }),
        // The planner would set it on the pod anyway; here the server is told of it too.
        termination_grace_period_seconds: (server.pod.termination_grace_period_seconds)
            .unwrap_or(TERMINATION_GRACE_PERIOD_SECONDS),
        parameters: &server.strategy_parameters,
        files,
    }
}

/// The one that the user names, or one of the resource's own.
fn account(server: &Server) -> AccountContext {
    let given = server.pod.service_account_name.clone();
    AccountContext {
        make: given.is_none(),
        name: given.unwrap_or_else(|| format!("{}-agent", server.owner.name)),
    }
}

fn storage(storage: &ClaimStorage) -> StorageContext<'_> {
    StorageContext {
        size: &storage.size,
        class_name: storage.class_name.as_deref(),
        access_mode: storage.access_mode.as_str(),
    }
}

fn service(service: &ServiceSettings) -> ServiceContext<'_> {
    ServiceContext {
        service_type: service.service_type.as_str(),
        labels: &service.labels,
        annotations: &service.annotations,
        load_balancer_class: service.load_balancer_class.as_deref(),
        load_balancer_source_ranges: &service.load_balancer_source_ranges,
        external_traffic_policy: service
            .external_traffic_policy
            .map(pgop_core::crd::ExternalTrafficPolicy::as_str),
    }
}
