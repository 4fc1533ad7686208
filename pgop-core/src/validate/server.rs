//! The part of validation that databases and clusters share.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::storage::{DEFAULT_SIZE, check_claim, check_storage};
use super::strategy_parameters::strategy_parameters;
use super::{check_name, pod, service};
use crate::crd::{Postgres, Restore, ServerSpec, ServerStatus};
use crate::description::Description;
use crate::invalid::Invalid;
use crate::name::{self, MAX_SERVER_NAME};
use crate::observed::{Foreign, Observed, SecretFacts};
use crate::owner::Owner;
use crate::parameter;
use crate::validated::{RestoreFrom, SecretUse, Secrets, Server};

const DEFAULT_VERSION: &str = "17";

/// What is known from before.
pub(super) struct Before<'a> {
    pub(super) meta: &'a ObjectMeta,
    pub(super) status: Option<&'a ServerStatus>,
}

/// Claims and Secrets of the spec that pgop did not make.
pub(crate) fn foreign(spec: &ServerSpec) -> Foreign {
    let credentials = &spec.credentials;
    Foreign {
        claims: spec
            .storage
            .claim
            .iter()
            .chain(spec.restore.iter().map(|r| &r.claim))
            .cloned()
            .collect(),
        secrets: [&credentials.superuser, &credentials.replication, &credentials.user]
            .into_iter()
            .flatten()
            .cloned()
            .collect(),
        source: None,
    }
}

pub(super) fn check(
    owner: &Owner,
    spec: &ServerSpec,
    before: &Before<'_>,
    observed: &Observed,
    strategy: &Description,
    invalid: &mut Vec<Invalid>,
) -> Server {
    check_name(
        owner.kind.as_str(),
        before.meta.name.as_deref().unwrap_or_default(),
        MAX_SERVER_NAME,
        invalid,
    );
    let postgres = &spec.postgres;
    check_postgres(postgres, invalid);
    let replica_claim = name::replica_claim(&owner.name, 0);
    let replica_claims = replica_claim.trim_end_matches('0');
    pod::check(&spec.pod, invalid, |claim| {
        spec.storage.claim.as_deref() == Some(claim)
            || claim == name::data_claim(&owner.name)
            || claim.starts_with(replica_claims)
    });
    service::check("spec.service", &spec.service, invalid);
    let version = postgres.version.as_deref().unwrap_or(DEFAULT_VERSION);
    Server {
        owner: owner.clone(),
        image: postgres.image.clone().unwrap_or_else(|| format!("postgres:{version}")),
        image_pull_policy: postgres
            .image_pull_policy
            .clone()
            .unwrap_or_else(|| "IfNotPresent".to_owned()),
        image_pull_secrets: postgres.image_pull_secrets.clone(),
        parameters: postgres.parameters.clone(),
        port: postgres.port,
        database: postgres.database.clone().unwrap_or_else(|| "app".to_owned()),
        secrets: check_secrets(&owner.name, spec, observed, invalid),
        storage: check_storage(
            &spec.storage,
            name::data_claim(&owner.name),
            DEFAULT_SIZE,
            before.status,
            observed,
            invalid,
        ),
        initialize: spec.restore.is_none() && !before.status.is_some_and(|status| status.initialized),
        deletion_policy: spec.deletion_policy,
        resources: spec.resources.clone(),
        pod: spec.pod.clone(),
        service: spec.service.clone(),
        restore: check_restore(&owner.name, spec.restore.as_ref(), before.status, observed, invalid),
        strategy_parameters: check_parameters(&spec.strategy_parameters, strategy, invalid),
    }
}

fn check_postgres(postgres: &Postgres, invalid: &mut Vec<Invalid>) {
    let field = |name: &str| format!("spec.postgres.{name}");
    if let Some(version) = &postgres.version {
        let major = version.split('.').next().unwrap_or_default().parse::<u32>().ok();
        let fine =
            version.chars().all(|c| c.is_ascii_digit() || c == '.') && major.is_some_and(|m| (14..=99).contains(&m));
        if !fine {
            invalid.push(Invalid::new(
                field("version"),
                format!("is `{version}`"),
                "give a version from 14 on, such as 17",
            ));
        }
    }
    if let Some(image) = &postgres.image
        && (image.is_empty() || image.chars().any(|c| c.is_whitespace() || c.is_control()))
    {
        invalid.push(Invalid::new(
            field("image"),
            "is no image name",
            "give one such as postgres:17",
        ));
    }
    if let Some(policy) = postgres.image_pull_policy.as_deref()
        && !["Always", "IfNotPresent", "Never"].contains(&policy)
    {
        invalid.push(Invalid::new(
            field("imagePullPolicy"),
            format!("is `{policy}`"),
            "give Always, IfNotPresent or Never",
        ));
    }
    if !(1..=65535).contains(&postgres.port) {
        invalid.push(Invalid::new(
            field("port"),
            format!("is {}", postgres.port),
            "give 1 to 65535",
        ));
    }
    if let Some(database) = postgres.database.as_deref() {
        let reserved = matches!(database, "template0" | "template1");
        match name::check_identifier(database) {
            Ok(()) if !reserved => {}
            Ok(()) => invalid.push(Invalid::new(
                field("database"),
                "is PostgreSQL's own template",
                "choose another name",
            )),
            Err(error) => invalid.push(Invalid::new(
                field("database"),
                error.to_string(),
                "choose another name",
            )),
        }
    }
    for (i, secret) in postgres.image_pull_secrets.iter().enumerate() {
        if let Err(error) = name::check_object(secret) {
            invalid.push(Invalid::new(
                field(&format!("imagePullSecrets[{i}]")),
                error.to_string(),
                "name a Secret of this namespace",
            ));
        }
    }
    for (which, role) in [
        ("user", &postgres.user),
        ("replicationUser", &postgres.replication_user),
    ] {
        if let Some(Err(error)) = role.as_deref().map(name::check_role) {
            invalid.push(Invalid::new(field(which), error.to_string(), "choose another name"));
        }
    }
    for (name, value) in &postgres.parameters {
        if let Some(problem) = parameter::refused(name, value) {
            invalid.push(Invalid::new(
                field(&format!("parameters.{name}")),
                problem,
                "leave it out or change it",
            ));
        }
    }
}

fn check_secrets(server: &str, spec: &ServerSpec, observed: &Observed, invalid: &mut Vec<Invalid>) -> Secrets {
    let postgres = &spec.postgres;
    let mut one = |which: &str, given: &Option<String>, generated: String, username: &str| match given {
        None => SecretUse::Generated {
            name: generated,
            username: username.to_owned(),
        },
        Some(name) => {
            let field = format!("spec.credentials.{which}");
            let problem = match observed.secrets.get(name) {
                _ if name::check_object(name).is_err() => Some("is no name of a Secret".to_owned()),
                None | Some(SecretFacts::Missing) => Some("does not exist".to_owned()),
                Some(SecretFacts::NoKey(key)) => Some(format!("has no `{key}`, or an empty one")),
                Some(SecretFacts::UnusablePassword) => Some("has a line break or NUL in `password`".to_owned()),
                Some(SecretFacts::Usable { username }) => match (which, username.as_str()) {
                    ("superuser", "postgres") => None,
                    ("superuser", other) => Some(format!("is for `{other}`, and the superuser is `postgres`")),
                    (_, role) => name::check_role(role)
                        .err()
                        .map(|error| format!("has a username that {error}")),
                },
            };
            if let Some(problem) = problem {
                invalid.push(Invalid::new(
                    field,
                    format!("names Secret {name}, which {problem}"),
                    "mend the Secret or leave the field out",
                ));
            }
            SecretUse::Given { name: name.clone() }
        }
    };
    let credentials = &spec.credentials;
    let user = postgres.user.as_deref().unwrap_or("app");
    let replicator = postgres.replication_user.as_deref().unwrap_or("replicator");
    let secrets = Secrets {
        superuser: one(
            "superuser",
            &credentials.superuser,
            name::superuser_secret(server),
            "postgres",
        ),
        replication: one(
            "replication",
            &credentials.replication,
            name::replication_secret(server),
            replicator,
        ),
        user: one("user", &credentials.user, name::user_secret(server), user),
    };
    let role = |usage: &SecretUse| match usage {
        SecretUse::Generated { username, .. } => Some(username.clone()),
        SecretUse::Given { name } => match observed.secrets.get(name) {
            Some(SecretFacts::Usable { username }) => Some(username.clone()),
            _ => None,
        },
    };
    let user = role(&secrets.user);
    if user.is_some() && user == role(&secrets.replication) {
        let role = user.unwrap_or_default();
        let problem = format!("`{role}` is the ordinary role and the replication role at once");
        invalid.push(Invalid::new(
            "spec.postgres.user",
            problem,
            "choose two names, also in Secrets of your own",
        ));
    }
    secrets
}

/// A restore that was done is not done again, and its claim may be gone.
fn check_restore(
    server: &str,
    restore: Option<&Restore>,
    status: Option<&ServerStatus>,
    observed: &Observed,
    invalid: &mut Vec<Invalid>,
) -> Option<RestoreFrom> {
    let restore = restore?;
    if let Some(done) = status.and_then(|s| s.restored_from.as_ref()) {
        if done != restore {
            invalid.push(Invalid::new(
                "spec.restore",
                format!(
                    "names another snapshot than {} in {}, which the data was restored from",
                    done.path, done.claim
                ),
                "set it back, or create a new resource to restore that snapshot",
            ));
        }
        return None;
    }
    check_claim("spec.restore.claim", &restore.claim, observed, invalid);
    if let Err(problem) = name::check_snapshot_path(&restore.path) {
        invalid.push(Invalid::new(
            "spec.restore.path",
            problem,
            "give a path as `pgo show backup` prints it",
        ));
    }
    Some(RestoreFrom {
        claim: restore.claim.clone(),
        path: restore.path.clone(),
        job: name::restore_job(server, &restore.claim, &restore.path),
    })
}

pub(super) fn check_parameters(
    given: &serde_json::Map<String, serde_json::Value>,
    strategy: &Description,
    invalid: &mut Vec<Invalid>,
) -> serde_json::Map<String, serde_json::Value> {
    strategy_parameters(strategy, given).unwrap_or_else(|(path, problem)| {
        let known = strategy
            .parameters
            .get("properties")
            .and_then(serde_json::Value::as_object);
        let known: Vec<&str> = known.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        invalid.push(Invalid::new(
            format!("spec.strategyParameters{path}"),
            format!("is refused: {problem}"),
            format!(
                "strategy {} takes: {}",
                strategy.name,
                if known.is_empty() {
                    "none".to_owned()
                } else {
                    known.join(", ")
                }
            ),
        ));
        serde_json::Map::new()
    })
}
