//! What a restore has to be told to serve what was backed up: role and database keep their names, and the server its version.

use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use pgop_core::crd::{PgBackup, PgCluster, PgDatabase, ServerSpec, Source, SourceKind};

use crate::args::create::Server;
use crate::cluster::{Cluster, ClusterError};
use crate::config::Settings;
use crate::request;

/// The database and the ordinary role where a spec names none.
const DEFAULT_NAME: &str = "app";

/// The spec of a source, while it exists.
pub async fn source(cluster: &Cluster, source: &Source) -> Result<Option<ServerSpec>, ClusterError> {
    Ok(match source.kind {
        SourceKind::PgDatabase => cluster.get::<PgDatabase>(&source.name).await?.map(|d| d.spec.server),
        SourceKind::PgCluster => cluster.get::<PgCluster>(&source.name).await?.map(|c| c.spec.server),
    })
}

/// The flags that a restore needs beside claim and path, where this configuration would choose something else than the source has.
/// Each is one word for a shell.
pub fn flags(source: &ServerSpec, server_version: Option<&str>, settings: &Settings) -> Vec<String> {
    // No flag is wrong, so nothing can be refused here.
    let Ok(chosen) = request::database("new", "default", &Server::default(), settings) else {
        return Vec::new();
    };
    let chosen = chosen.spec.server;
    let (was, is) = (&source.postgres, &chosen.postgres);
    let mut flags: Vec<(&str, String)> = Vec::new();
    if database(source) != database(&chosen) {
        flags.push(("database", database(source).to_owned()));
    }
    match &source.credentials.user {
        Some(secret) => flags.push(("user-secret", secret.clone())),
        None if user(source) != user(&chosen) => flags.push(("user", user(source).to_owned())),
        None => {}
    }
    let version = was
        .version
        .clone()
        .or_else(|| Some(server_version?.split('.').next()?.to_owned()));
    match (&was.image, &is.image, version) {
        (Some(image), chosen, _) if chosen.as_ref() != Some(image) => flags.push(("image", image.clone())),
        (None, Some(_), Some(version)) => flags.push(("image", format!("postgres:{version}"))),
        (None, None, Some(version)) if was.version != is.version => flags.push(("pg-version", version)),
        _ => {}
    }
    let secrets = was.image_pull_secrets.iter().cloned();
    flags.extend(secrets.map(|secret| ("image-pull-secret", secret)));
    if let Some(size) = source
        .storage
        .size
        .as_ref()
        .filter(|size| Some(*size) != chosen.storage.size.as_ref())
    {
        flags.push(("storage-size", size.0.clone()));
    }
    let ids = [
        ("run-as-user", source.pod.run_as_user, chosen.pod.run_as_user),
        ("fs-group", source.pod.fs_group, chosen.pod.fs_group),
    ];
    flags.extend(
        ids.into_iter()
            .filter_map(|(flag, was, is)| Some((flag, was.filter(|_| was != is)?.to_string()))),
    );
    flags
        .into_iter()
        .map(|(flag, value)| shell_word(&format!("--{flag}={value}")))
        .collect()
}

/// One word for a shell, quoted where it has to be: a name in `PostgreSQL` may hold nearly anything.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:@".contains(c);
    if text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// The database that a spec asks for.
pub fn database(spec: &ServerSpec) -> &str {
    spec.postgres.database.as_deref().unwrap_or(DEFAULT_NAME)
}

/// The ordinary role that a spec asks for, where no Secret names it.
pub fn user(spec: &ServerSpec) -> &str {
    spec.postgres.user.as_deref().unwrap_or(DEFAULT_NAME)
}

/// What is to be said before a snapshot is restored under other names than it was made with: `PostgreSQL` would make the new ones, empty.
/// `None` also where it can't be known: the source is gone, or this person may not look.
pub async fn other_names(cluster: &Cluster, wanted: &ServerSpec) -> Option<String> {
    let restore = wanted.restore.as_ref()?;
    let backups = cluster.list::<PgBackup>(&ListParams::default()).await.ok()?;
    let made = backups.items.into_iter().find(|backup| {
        let status = backup.status.as_ref();
        status.is_some_and(|s| s.claim.as_ref() == Some(&restore.claim) && s.path.as_ref() == Some(&restore.path))
    })?;
    let spec = source(cluster, &made.spec.source).await.ok()??;
    let (was, is) = (role(cluster, &spec).await, role(cluster, wanted).await);
    let name = format!("{} {}", made.spec.source.kind.as_str(), made.spec.source.name);
    differ(
        &name,
        (database(&spec), was.as_deref()),
        (database(wanted), is.as_deref()),
    )
}

/// The ordinary role: of the spec, or of the Secret that it names.
async fn role(cluster: &Cluster, spec: &ServerSpec) -> Option<String> {
    let Some(secret) = &spec.credentials.user else {
        return Some(user(spec).to_owned());
    };
    let data = cluster.get::<Secret>(secret).await.ok()??.data?;
    String::from_utf8(data.get("username")?.0.clone()).ok()
}

fn differ(source: &str, was: (&str, Option<&str>), is: (&str, Option<&str>)) -> Option<String> {
    let roles = was.1.zip(is.1).filter(|(was, is)| was != is);
    let mut said = Vec::new();
    if was.0 != is.0 {
        said.push(format!("database `{}` and not `{}`", was.0, is.0));
    }
    if let Some((was, is)) = roles {
        said.push(format!("role `{was}` and not `{is}`"));
    }
    (!said.is_empty()).then(|| {
        format!(
            "the snapshot is of {source}, which has {}: what the snapshot lacks is made anew, without data or rights on it; \
             to serve what was backed up create it with the source's names (--database, --user)",
            said.join(" and ")
        )
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

    use super::*;
    use crate::args::Global;
    use crate::config;
    use crate::env::Env;

    fn settings(keys: &[(&str, &str)]) -> Settings {
        let variables = keys.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        config::resolve(&Global::default(), &Env::of(variables, Path::new("/nowhere")))
            .unwrap()
            .settings
    }

    #[test]
    fn a_source_with_the_default_names_needs_no_flag() {
        assert!(flags(&ServerSpec::default(), None, &settings(&[])).is_empty());
        // Nobody chose a version: the operator's default made it 17 then, and may be another one now.
        assert!(flags(&ServerSpec::default(), Some("17.2"), &settings(&[])).is_empty());
    }

    #[test]
    fn the_hint_repeats_what_the_source_has_and_this_configuration_would_not_choose() {
        let mut source = ServerSpec::default();
        source.postgres.database = Some("Order Data".into());
        source.postgres.user = Some("shop".into());
        source.postgres.version = Some("15".into());
        source.storage.size = Some(Quantity("20Gi".into()));
        source.pod.run_as_user = Some(70);
        assert_eq!(
            flags(&source, None, &settings(&[])).join(" "),
            "'--database=Order Data' --user=shop --pg-version=15 --storage-size=20Gi --run-as-user=70"
        );
        // What the configuration says already is left out.
        let keys = [
            ("PGO_DB_PG_USER", "shop"),
            ("PGO_DB_PG_VERSION", "15"),
            ("PGO_DB_PVC_SIZE", "20Gi"),
        ];
        assert_eq!(
            flags(&source, None, &settings(&keys)).join(" "),
            "'--database=Order Data' --run-as-user=70"
        );
        // What it would say otherwise has to be said back.
        let plain = ServerSpec::default();
        let keys = [("PGO_DB_PG_DATABASE", "shop"), ("PGO_DB_IMAGE", "mine:1")];
        assert_eq!(
            flags(&plain, Some("15.18"), &settings(&keys)).join(" "),
            "--database=app --image=postgres:15"
        );
        // A Secret of one's own is the role's name too.
        let mut named = ServerSpec::default();
        named.credentials.user = Some("shop-login".into());
        assert_eq!(
            flags(&named, None, &settings(&[])).join(" "),
            "--user-secret=shop-login"
        );
    }

    #[test]
    fn a_shell_reads_a_name_as_it_was_written() {
        let name = "--database=se'lect=$(id) \"x\"";
        let output = std::process::Command::new("sh")
            .arg("-c")
            .arg(format!("printf %s {}", shell_word(name)))
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), name);
    }

    #[test]
    fn a_restore_under_other_names_is_told() {
        let said = |was, is| differ("PgDatabase src", was, is);
        assert_eq!(said(("shop", Some("shop")), ("shop", Some("shop"))), None);
        assert_eq!(said(("shop", None), ("shop", Some("other"))), None);
        let text = said(("shop", Some("shop")), ("app", Some("app"))).unwrap();
        assert!(
            text.contains("PgDatabase src, which has database `shop` and not `app` and role `shop` and not `app`"),
            "{text}"
        );
        assert!(
            said(("shop", Some("shop")), ("shop", Some("app")))
                .unwrap()
                .contains("role `shop`")
        );
    }
}
