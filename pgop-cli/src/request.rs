//! From what was typed and configured to resources. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::ObjectMeta;
use pgop_core::crd::{
    AccessMode, Credentials, DeletionPolicy, PgBackup, PgBackupSpec, PgCluster, PgClusterSpec, PgDatabase,
    PgDatabaseSpec, PodSettings, Postgres, Restore, ServerSpec, ServiceSettings, Source, Storage,
};
use pgop_core::name;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::args::create::{Backup, Server};
use crate::config::Settings;

/// What can't be made a resource.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum RequestError {
    /// A flag has a value that it can't have.
    #[error("{flag} {value}: {expected}")]
    Flag {
        /// The flag.
        flag: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        expected: String,
    },
    /// One key twice, with different values.
    #[error("{flag} {key} is given twice")]
    Twice {
        /// The flag.
        flag: &'static str,
        /// The key.
        key: String,
    },
}

/// The resource of a database.
pub fn database(name: &str, namespace: &str, flags: &Server, settings: &Settings) -> Result<PgDatabase, RequestError> {
    let spec: PgDatabaseSpec = defaults();
    let strategy = chosen(flags.strategy.as_ref(), settings, "DB.STRATEGY").unwrap_or(spec.strategy);
    let spec = PgDatabaseSpec {
        strategy,
        server: server(flags, settings)?,
    };
    Ok(PgDatabase {
        metadata: metadata(name, namespace, flags)?,
        spec,
        status: None,
    })
}

/// The resource of a cluster.
pub fn cluster(
    name: &str,
    namespace: &str,
    replicas: Option<i32>,
    flags: &Server,
    settings: &Settings,
) -> Result<PgCluster, RequestError> {
    let spec: PgClusterSpec = defaults();
    let strategy = chosen(flags.strategy.as_ref(), settings, "CLUSTER.STRATEGY").unwrap_or(spec.strategy);
    let replicas = replicas
        .or_else(|| settings.number("CLUSTER.REPLICAS"))
        .unwrap_or(spec.replicas);
    let spec = PgClusterSpec {
        strategy,
        replicas,
        server: server(flags, settings)?,
        ..spec
    };
    Ok(PgCluster {
        metadata: metadata(name, namespace, flags)?,
        spec,
        status: None,
    })
}

/// The resource of a backup.
pub fn backup(
    name: &str,
    namespace: &str,
    source: Source,
    flags: &Backup,
    settings: &Settings,
) -> Result<PgBackup, RequestError> {
    let claim = chosen(flags.claim.as_ref(), settings, "PVC_NAME");
    // Size and class from the configuration are for claims that are made.
    let made = |flag: Option<&String>, key| match (&claim, flag) {
        (Some(_), None) => None,
        _ => chosen(flag, settings, key),
    };
    let storage = Storage {
        size: made(flags.storage_size.as_ref(), "BACKUP.PVC_SIZE").map(Quantity),
        class_name: made(flags.storage_class.as_ref(), "BACKUP.STORAGE_CLASS"),
        access_mode: None,
        claim,
    };
    let strategy =
        chosen(flags.strategy.as_ref(), settings, "BACKUP.STRATEGY").unwrap_or_else(|| "basebackup".to_owned());
    let spec = PgBackupSpec {
        source,
        strategy,
        strategy_parameters: parameters(&flags.strategy_params)?,
        storage,
        resources: None,
        pod: PodSettings::default(),
    };
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()),
        ..ObjectMeta::default()
    };
    Ok(PgBackup {
        metadata,
        spec,
        status: None,
    })
}

/// Passwords from the configuration, for the Secrets `<name>-user`, `-superuser` and `-replication`.
pub struct Password {
    /// Name of the Secret.
    pub secret: String,
    /// Name of the role.
    pub username: String,
    /// Its password.
    pub password: String,
}

/// The Secrets that have to be made first, because the configuration holds passwords. A Secret that is named by flag wins.
pub fn passwords(name: &str, spec: &ServerSpec, settings: &Settings) -> Vec<Password> {
    let postgres = &spec.postgres;
    let given = &spec.credentials;
    let or = |role: &Option<String>, default: &str| role.clone().unwrap_or_else(|| default.to_owned());
    [
        (
            &given.user,
            name::user_secret(name),
            or(&postgres.user, "app"),
            "DB.PG_PASSWORD",
        ),
        (
            &given.superuser,
            name::superuser_secret(name),
            "postgres".to_owned(),
            "DB.PG_ROOT_PASSWORD",
        ),
        (
            &given.replication,
            name::replication_secret(name),
            or(&postgres.replication_user, "replicator"),
            "DB.PG_MASTER_PASSWORD",
        ),
    ]
    .into_iter()
    .filter(|(given, ..)| given.is_none())
    .filter_map(|(_, secret, username, key)| {
        let password = settings.get(key)?.to_owned();
        Some(Password {
            secret,
            username,
            password,
        })
    })
    .collect()
}

/// A spec as the API server would fill it in.
fn defaults<S: serde::de::DeserializeOwned + Default>() -> S {
    serde_json::from_value(Value::Object(Map::new())).unwrap_or_default()
}

/// The flag, or the key.
fn chosen(flag: Option<&String>, settings: &Settings, key: &str) -> Option<String> {
    flag.cloned()
        .or_else(|| settings.get(key).map(|value| value.trim().to_owned()))
}

fn metadata(name: &str, namespace: &str, flags: &Server) -> Result<ObjectMeta, RequestError> {
    let map = |flag, pairs: &[(String, String)]| unique(flag, pairs).map(|map| (!map.is_empty()).then_some(map));
    Ok(ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()),
        labels: map("--label", &flags.labels)?,
        annotations: map("--annotation", &flags.annotations)?,
        ..ObjectMeta::default()
    })
}

fn server(flags: &Server, settings: &Settings) -> Result<ServerSpec, RequestError> {
    let port = flags.port.map(i32::from).or_else(|| settings.number("DB.PORT"));
    let restore = match (&flags.backup_pvc, &flags.backup_path) {
        (Some(claim), Some(path)) => Some(Restore {
            claim: claim.clone(),
            path: snapshot_path(path)?,
        }),
        _ => None,
    };
    Ok(ServerSpec {
        postgres: Postgres {
            version: chosen(flags.pg_version.as_ref(), settings, "DB.PG_VERSION"),
            image: chosen(flags.image.as_ref(), settings, "DB.IMAGE"),
            image_pull_policy: chosen(flags.image_pull_policy.as_ref(), settings, "DB.IMAGE_PULL_POLICY"),
            image_pull_secrets: flags.image_pull_secrets.clone(),
            parameters: unique("--parameter", &flags.parameters)?,
            port: port.unwrap_or(Postgres::default().port),
            database: chosen(flags.database.as_ref(), settings, "DB.PG_DATABASE"),
            user: chosen(flags.user.as_ref(), settings, "DB.PG_USER"),
            replication_user: chosen(None, settings, "DB.PG_MASTER_USER"),
        },
        credentials: Credentials {
            superuser: flags.superuser_secret.clone(),
            replication: flags.replication_secret.clone(),
            user: flags.user_secret.clone(),
        },
        storage: storage(flags, settings)?,
        deletion_policy: word(
            "--deletion-policy",
            flags.deletion_policy.as_deref(),
            "Retain or Delete",
        )?
        .unwrap_or(DeletionPolicy::Retain),
        resources: resources(flags)?,
        service: ServiceSettings::default(),
        pod: PodSettings {
            run_as_user: flags.run_as_user.or_else(|| settings.number("DB.RUN_AS_USER")),
            fs_group: flags.fs_group.or_else(|| settings.number("DB.FSGROUP")),
            supplemental_groups: settings.numbers("DB.SUPPLEMENTALGROUPS"),
            node_selector: unique("--node-selector", &flags.node_selector)?,
            ..PodSettings::default()
        },
        restore,
        strategy_parameters: parameters(&flags.strategy_params)?,
    })
}

/// The path as people paste it: a slash at its ends does no harm.
fn snapshot_path(path: &str) -> Result<String, RequestError> {
    let path = path.trim().trim_end_matches('/');
    name::check_snapshot_path(path)
        .map_err(|problem| flag("--backup-path", path, format!("it {problem}")))
        .map(|()| path.to_owned())
}

fn flag(flag: &'static str, value: &str, expected: impl Into<String>) -> RequestError {
    RequestError::Flag {
        flag,
        value: value.to_owned(),
        expected: expected.into(),
    }
}

fn storage(flags: &Server, settings: &Settings) -> Result<Storage, RequestError> {
    let claim = match (
        &flags.claim,
        flags.storage_class.is_some() || flags.storage_size.is_some(),
    ) {
        (Some(claim), _) => Some(claim.clone()),
        // Somebody who asks for a size or a class wants a claim to be made, whatever DB.PVC_NAME is.
        (None, true) => None,
        (None, false) => chosen(None, settings, "DB.PVC_NAME"),
    };
    let of_new = |flag: Option<&String>, key| match (&claim, flag) {
        (Some(_), None) => None,
        _ => chosen(flag, settings, key),
    };
    let mode = of_new(flags.access_mode.as_ref(), "DB.PVC_ACCESS_MODE");
    Ok(Storage {
        size: of_new(flags.storage_size.as_ref(), "DB.PVC_SIZE").map(Quantity),
        class_name: of_new(flags.storage_class.as_ref(), "DB.STORAGE_CLASS"),
        access_mode: word::<AccessMode>(
            "--access-mode",
            mode.as_deref(),
            "ReadWriteOnce, ReadWriteOncePod or ReadWriteMany",
        )?,
        claim,
    })
}

/// One of the words of an enum of the schema, in any case.
fn word<T: serde::de::DeserializeOwned>(
    name: &'static str,
    value: Option<&str>,
    allowed: &'static str,
) -> Result<Option<T>, RequestError> {
    let Some(value) = value else { return Ok(None) };
    let words = allowed.split([',', ' ']).filter(|w| !w.is_empty());
    let spelled = words
        .into_iter()
        .find(|word| word.eq_ignore_ascii_case(value))
        .unwrap_or(value);
    serde_json::from_value(Value::from(spelled))
        .map(Some)
        .map_err(|_| flag(name, value, format!("give {allowed}")))
}

fn resources(flags: &Server) -> Result<Option<ResourceRequirements>, RequestError> {
    let (mut requests, mut limits) = (BTreeMap::new(), BTreeMap::new());
    if let Some(cpu) = &flags.cpu {
        // A CPU limit throttles a server that could use what is idle, so there is none unless it is asked for.
        let (request, limit) = cpu.split_once(':').map_or((cpu.as_str(), None), |(a, b)| (a, Some(b)));
        requests.insert("cpu".to_owned(), quantity("--cpu", request)?);
        if let Some(limit) = limit {
            limits.insert("cpu".to_owned(), quantity("--cpu", limit)?);
        }
    }
    if let Some(memory) = &flags.memory {
        // Memory over the request can be taken back only by killing, so the limit is the request.
        let (request, limit) = memory.split_once(':').unwrap_or((memory, memory));
        requests.insert("memory".to_owned(), quantity("--memory", request)?);
        limits.insert("memory".to_owned(), quantity("--memory", limit)?);
    }
    if requests.is_empty() {
        return Ok(None);
    }
    Ok(Some(ResourceRequirements {
        requests: Some(requests),
        limits: (!limits.is_empty()).then_some(limits),
        ..ResourceRequirements::default()
    }))
}

fn quantity(name: &'static str, text: &str) -> Result<Quantity, RequestError> {
    match pgop_core::quantity::milli(text) {
        Some(n) if n > 0 => Ok(Quantity(text.to_owned())),
        _ => Err(flag(name, text, "give a quantity such as 500m or 2Gi")),
    }
}

/// The pairs as a map; one key twice is a slip.
fn unique(name: &'static str, pairs: &[(String, String)]) -> Result<BTreeMap<String, String>, RequestError> {
    let mut map = BTreeMap::new();
    for (key, value) in pairs {
        if map
            .insert(key.clone(), value.clone())
            .is_some_and(|before| before != *value)
        {
            return Err(RequestError::Twice {
                flag: name,
                key: key.clone(),
            });
        }
    }
    Ok(map)
}

/// Values that read as JSON are numbers, switches or lists; the rest is text.
fn parameters(pairs: &[(String, String)]) -> Result<Map<String, Value>, RequestError> {
    let map = unique("--strategy-param", pairs)?;
    Ok(map
        .into_iter()
        .map(|(key, value)| {
            let value = serde_json::from_str(&value).unwrap_or(Value::String(value));
            (key, value)
        })
        .collect())
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
