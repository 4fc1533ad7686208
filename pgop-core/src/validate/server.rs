//! The part of validation that databases and clusters share.

use std::collections::BTreeMap;

use super::before::Before;
use super::image::check_image;
use super::restore::{self, check_restore};
use super::secrets::{check_database, check_secrets};
use super::storage::{DEFAULT_SIZE, check_same_claim, check_storage};
use super::strategy_parameters::strategy_parameters;
use super::{check_name, pod as pod_settings, service, unchanged_strategy};
use crate::complete::DEFAULT_USER;
use crate::crd::{Accepted, MAX_REPLICAS, PodSettings, Postgres, ServerSpec};
use crate::description::Description;
use crate::invalid::Invalid;
use crate::name::{self, MAX_SERVER_NAME};
use crate::observed::{Foreign, Observed};
use crate::owner::Owner;
use crate::parameter;
use crate::quantity;
use crate::validated::Server;

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
    replicas: i32,
    invalid: &mut Vec<Invalid>,
) -> Server {
    check_name(owner.kind.as_str(), before.name(), MAX_SERVER_NAME, invalid);
    unchanged_strategy(strategy, before, invalid);
    let postgres = &spec.postgres;
    check_postgres(postgres, invalid);
    let image_pull_secrets = check_pull_secrets(postgres, invalid);
    let names = &strategy.names;
    let pod = pod_settings::check(&spec.pod, &names.container, invalid, |claim| {
        spec.storage.claim.as_deref() == Some(claim)
            || claim == names.claim_of(&owner.name)
            || (0..MAX_REPLICAS).any(|ordinal| claim == names.claim_of_replica(&owner.name, ordinal))
    });
    let service = service::check("spec.service", &spec.service, invalid);
    let parameters = check_settings(postgres, replicas, invalid);
    let image = check_image(postgres, before, invalid);
    let database = check_database(spec, before, invalid);
    let (secrets, user) = check_secrets(spec, before, observed, invalid);
    let mut storage = check_storage(
        &spec.storage,
        strategy.names.claim_of(&owner.name),
        DEFAULT_SIZE,
        before.status,
        observed,
        invalid,
    );
    let claim = check_same_claim(&spec.storage, before, invalid);
    storage.make = claim.is_none();
    storage.claim = claim.clone().unwrap_or_else(|| strategy.names.claim_of(&owner.name));
    let restore = check_restore(spec.restore.as_ref(), before, observed, invalid);
    let pod = check_user_of_data(pod, before, invalid);
    let accepted = Accepted {
        image: image.name.clone(),
        version: image.version.map(|major| major.to_string()),
        user,
        database: Some(database.clone()),
        run_as_user: Some(pod.run_as_user.unwrap_or(DEFAULT_USER)),
        claim,
        restore: restore.clone(),
    };
    Server {
        owner: owner.clone(),
        created: before.meta.creation_timestamp.as_ref().map(|time| time.0),
        change: before.change(),
        image: image.name,
        image_pull_policy: postgres
            .image_pull_policy
            .clone()
            .unwrap_or_else(|| "IfNotPresent".to_owned()),
        image_pull_secrets,
        parameters,
        port: postgres.port,
        database,
        secrets,
        storage,
        initialize: restore.is_none() && !before.has_data(),
        deletion_policy: spec.deletion_policy,
        service,
        resources: spec.resources.as_ref().map(quantity::canonical_resources),
        pod,
        restore: restore.map(|restore| restore::job(&owner.name, restore)),
        strategy_parameters: check_parameters(&spec.strategy_parameters, strategy, invalid),
        accepted,
    }
}

fn check_postgres(postgres: &Postgres, invalid: &mut Vec<Invalid>) {
    let field = |name: &str| format!("spec.postgres.{name}");
    if let Some(version) = &postgres.version {
        let major = version.split('.').next().unwrap_or_default().parse::<u32>().ok();
        let fine =
            version.chars().all(|c| c.is_ascii_digit() || c == '.') && major.is_some_and(|m| (14..=99).contains(&m));
        if !fine {
            invalid.push(Invalid::change(
                field("version"),
                format!("is `{version}`"),
                "give a version from 14 on, such as 17",
            ));
        }
    }
    if let Some(image) = &postgres.image
        && (image.is_empty() || image.chars().any(|c| c.is_whitespace() || c.is_control()))
    {
        invalid.push(Invalid::change(
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
    for (which, role) in [
        ("user", &postgres.user),
        ("replicationUser", &postgres.replication_user),
    ] {
        if let Some(Err(error)) = role.as_deref().map(name::check_role) {
            invalid.push(Invalid::change(field(which), error.to_string(), "choose another name"));
        }
    }
}

/// The names that can be those of Secrets.
fn check_pull_secrets(postgres: &Postgres, invalid: &mut Vec<Invalid>) -> Vec<String> {
    let mut fine = Vec::new();
    for (i, secret) in postgres.image_pull_secrets.iter().enumerate() {
        match name::check_object(secret) {
            Ok(()) => fine.push(secret.clone()),
            Err(error) => invalid.push(Invalid::change(
                format!("spec.postgres.imagePullSecrets[{i}]"),
                error.to_string(),
                "name a Secret of this namespace",
            )),
        }
    }
    fine
}

/// The settings that are not refused.
fn check_settings(postgres: &Postgres, replicas: i32, invalid: &mut Vec<Invalid>) -> BTreeMap<String, String> {
    let mut fine = postgres.parameters.clone();
    fine.retain(|name, value| {
        let problem = parameter::refused(name, value);
        let field = format!("spec.postgres.parameters.{name}");
        if let Some(problem) = &problem {
            invalid.push(Invalid::change(field, problem, "leave it out or change it"));
        } else if let Some(problem) = parameter::too_few(name, value, replicas) {
            invalid.push(Invalid::change(
                field,
                problem,
                "raise it, leave it out, or ask for fewer replicas",
            ));
        }
        problem.is_none()
    });
    fine
}

/// The files of a server belong to its user, so that another one can't read them.
fn check_user_of_data(mut pod: PodSettings, before: &Before<'_>, invalid: &mut Vec<Invalid>) -> PodSettings {
    let user = pod.run_as_user.unwrap_or(DEFAULT_USER);
    if let Some(old) = before
        .of_data()
        .and_then(|accepted| accepted.run_as_user)
        .filter(|old| *old != user)
    {
        let problem = format!("is {user}, and the data belongs to user {old}: the server could not read it");
        let mend = format!("set it back to {old}, or restore a backup into a new resource");
        invalid.push(Invalid::change("spec.pod.runAsUser", problem, mend));
        pod.run_as_user = Some(old);
    }
    pod
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
