//! What a restore has to be told to serve what was backed up: role and database keep their names, and the server its version.

use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use pgop_core::crd::{PgBackup, PgBackupStatus, PgCluster, PgDatabase, ServerSpec, Source, SourceKind};

use crate::args::create::Server;
use crate::cluster::{Cluster, ClusterError};
use crate::config::Settings;
use crate::request;

/// The database and the ordinary role where a spec names none.
const DEFAULT_NAME: &str = "app";

/// What a backup was made of, as far as it can be known: its source may be gone, or this person may not look.
pub async fn source(cluster: &Cluster, backup: &PgBackup) -> Option<ServerSpec> {
    let spec = existing(cluster, backup).await.ok().flatten();
    made_of(spec, &backup.status.clone().unwrap_or_default())
}

/// The spec of a backup's source, while that very source exists.
async fn existing(cluster: &Cluster, backup: &PgBackup) -> Result<Option<ServerSpec>, ClusterError> {
    let Source { kind, name } = &backup.spec.source;
    let found = match kind {
        SourceKind::PgDatabase => cluster
            .get::<PgDatabase>(name)
            .await?
            .map(|it| (it.metadata, it.spec.server)),
        SourceKind::PgCluster => cluster
            .get::<PgCluster>(name)
            .await?
            .map(|it| (it.metadata, it.spec.server)),
    };
    Ok(found.filter(|(meta, _)| backup.is_of(meta)).map(|(_, spec)| spec))
}

/// The source's spec with the names that the backup recorded. Of a source that is gone the record is all that is left.
fn made_of(spec: Option<ServerSpec>, recorded: &PgBackupStatus) -> Option<ServerSpec> {
    let is_known = spec.is_some() || recorded.database.is_some();
    let mut spec = spec.unwrap_or_else(|| {
        let mut gone = ServerSpec::default();
        gone.postgres.version = recorded.server_version.as_deref().and_then(major);
        gone
    });
    let names = &mut spec.postgres;
    names.database = recorded.database.clone().or(names.database.take());
    names.user = recorded.user.clone().or(names.user.take());
    is_known.then_some(spec)
}

/// The major version of a `server_version`.
fn major(server_version: &str) -> Option<String> {
    server_version.split('.').next().map(str::to_owned)
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
    let version = was.version.clone().or_else(|| server_version.and_then(major));
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
/// `None` also where it can't be known: this person may not look, or the source is gone and an older pgop made the backup.
pub async fn other_names(cluster: &Cluster, wanted: &ServerSpec) -> Option<String> {
    let restore = wanted.restore.as_ref()?;
    let backups = cluster.list::<PgBackup>(&ListParams::default()).await.ok()?;
    let made = backups.items.into_iter().find(|backup| {
        let status = backup.status.as_ref();
        status.is_some_and(|s| s.claim.as_ref() == Some(&restore.claim) && s.path.as_ref() == Some(&restore.path))
    })?;
    let spec = source(cluster, &made).await?;
    let was = match made.status.and_then(|status| status.user) {
        Some(recorded) => Some(recorded),
        None => role(cluster, &spec).await,
    };
    let is = role(cluster, wanted).await;
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
            "the snapshot is of {source}, and has {}: what the snapshot lacks is made anew, without data or rights on it; \
             to serve what was backed up create it with the snapshot's names (--database, --user)",
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
    fn of_a_source_that_is_gone_the_hint_repeats_what_the_backup_recorded() {
        let recorded = PgBackupStatus {
            database: Some("goods".to_owned()),
            user: Some("shop".to_owned()),
            server_version: Some("15.18".to_owned()),
            ..PgBackupStatus::default()
        };
        let hint = |spec| {
            let source = made_of(spec, &recorded).unwrap();
            flags(&source, recorded.server_version.as_deref(), &settings(&[])).join(" ")
        };
        assert_eq!(hint(None), "--database=goods --user=shop --pg-version=15");
        // What the source asks for by now may be refused: what it had counts.
        let mut changed = ServerSpec::default();
        changed.postgres.database = Some("second".into());
        changed.postgres.version = Some("15".into());
        changed.pod.run_as_user = Some(70);
        assert_eq!(
            hint(Some(changed)),
            "--database=goods --user=shop --pg-version=15 --run-as-user=70"
        );
        // An older pgop recorded nothing.
        let nothing = PgBackupStatus::default();
        assert_eq!(made_of(None, &nothing), None);
        assert_eq!(
            made_of(Some(ServerSpec::default()), &nothing),
            Some(ServerSpec::default())
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
            text.contains("PgDatabase src, and has database `shop` and not `app` and role `shop` and not `app`"),
            "{text}"
        );
        assert!(
            said(("shop", Some("shop")), ("shop", Some("app")))
                .unwrap()
                .contains("role `shop`")
        );
    }
}
