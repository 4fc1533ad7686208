//! The Secrets of a server, and the role and database that are made once.

use super::before::Before;
use crate::crd::ServerSpec;
use crate::invalid::Invalid;
use crate::name;
use crate::observed::{Observed, SecretFacts};
use crate::validated::{SecretUse, Secrets};

/// Name of the ordinary role, and of its database, where the spec has none.
const DEFAULT_USER: &str = "app";

/// The three Secrets, and the ordinary role where its name is known.
pub(super) fn check_secrets(
    spec: &ServerSpec,
    before: &Before<'_>,
    observed: &Observed,
    invalid: &mut Vec<Invalid>,
) -> (Secrets, Option<String>) {
    let server = before.name();
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
                Some(SecretFacts::UnusablePassword) => {
                    Some("has a line break or NUL in `password` (`printf %s` writes none, `echo` does)".to_owned())
                }
                Some(SecretFacts::Usable { username }) => match (which, username.as_str()) {
                    ("superuser", "postgres") => None,
                    ("superuser", other) => Some(format!("is for `{other}`, and the superuser is `postgres`")),
                    (_, role) => name::check_role(role)
                        .err()
                        .map(|error| format!("has a username that {error}")),
                },
            };
            if let Some(problem) = problem {
                // The Secret of a server that runs may vanish; what the server knows of it stays.
                invalid.push(Invalid::change(
                    field,
                    format!("names Secret {name}, which {problem}"),
                    "mend the Secret or leave the field out",
                ));
            }
            SecretUse::Given { name: name.clone() }
        }
    };
    let credentials = &spec.credentials;
    let user = postgres.user.as_deref().unwrap_or(DEFAULT_USER);
    let replicator = postgres.replication_user.as_deref().unwrap_or("replicator");
    let mut secrets = Secrets {
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
        let role = user.clone().unwrap_or_default();
        let problem = format!("`{role}` is the ordinary role and the replication role at once");
        invalid.push(Invalid::change(
            "spec.postgres.user",
            problem,
            "choose two names, also in Secrets of your own",
        ));
    }
    let user = check_user(user, spec, before, invalid);
    if let (SecretUse::Generated { username, .. }, Some(user)) = (&mut secrets.user, &user) {
        username.clone_from(user);
    }
    (secrets, user)
}

/// The database belongs to the role that it was made for: another one could log in and read nothing.
fn check_user(
    asked: Option<String>,
    spec: &ServerSpec,
    before: &Before<'_>,
    invalid: &mut Vec<Invalid>,
) -> Option<String> {
    let Some(old) = before.of_roles().and_then(|accepted| accepted.user.as_ref()) else {
        return asked;
    };
    if let Some(asked) = asked.filter(|asked| asked != old) {
        let (field, which) = match &spec.credentials.user {
            Some(secret) => (
                "spec.credentials.user",
                format!("names Secret {secret}, which is for `{asked}`"),
            ),
            None => ("spec.postgres.user", format!("is `{asked}`")),
        };
        let problem = format!("{which}, and the database belongs to `{old}`: `{asked}` could read nothing of it");
        let mend = format!("set it back to `{old}`, and make further roles with SQL");
        invalid.push(Invalid::change(field, problem, mend));
    }
    Some(old.clone())
}

/// The database that is made for the ordinary role: once, so another name leads to nothing.
pub(super) fn check_database(spec: &ServerSpec, before: &Before<'_>, invalid: &mut Vec<Invalid>) -> String {
    const FIELD: &str = "spec.postgres.database";
    let given = spec.postgres.database.as_deref();
    let asked = given.unwrap_or(DEFAULT_USER);
    let old = before.of_roles().and_then(|accepted| accepted.database.as_deref());
    if let Err(error) = name::check_identifier(asked) {
        invalid.push(Invalid::change(FIELD, error.to_string(), "choose another name"));
    } else if matches!(asked, "template0" | "template1") {
        invalid.push(Invalid::change(
            FIELD,
            "is PostgreSQL's own template",
            "choose another name",
        ));
    } else if asked == "postgres" && !before.has_served() {
        let problem = "is PostgreSQL's own database, in which the ordinary role may make nothing";
        invalid.push(Invalid::change(FIELD, problem, "choose another name"));
    } else if let Some(old) = old.filter(|old| *old != asked) {
        let problem = format!("is `{asked}`, and the resource was made with `{old}`, where the data stays");
        let mend = format!("set it back to `{old}`, and make further databases with SQL");
        invalid.push(Invalid::change(FIELD, problem, mend));
    }
    old.unwrap_or(asked).to_owned()
}
