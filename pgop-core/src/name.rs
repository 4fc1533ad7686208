//! Names: which are allowed, and which are derived from the name of a resource.
//!
//! Every derived name fits Kubernetes' limits because a resource's own name is short enough; see [`MAX_SERVER_NAME`].

use thiserror::Error;

use crate::hash::short_hash;

/// Longest name of a `PgDatabase` or `PgCluster`. The longest thing made of it is the label `controller-revision-hash` of a replica's
/// pod, `<name>-replica-<hash of 10>`; 40 leaves room for a custom strategy's own suffixes.
pub const MAX_SERVER_NAME: usize = 40;
/// Longest name of a `PgBackup`: the Job's pods carry it in a label.
pub const MAX_BACKUP_NAME: usize = 60;
/// Longest `PostgreSQL` identifier, in bytes:
/// <https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS>.
pub const MAX_IDENTIFIER: usize = 63;

/// Name of the init container that copies the agent into a pod.
pub const AGENT_CONTAINER: &str = "agent";

/// Why a name can't be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NameError {
    /// Nothing was given.
    #[error("is empty")]
    Empty,
    /// Too long; the limits leave room for the suffixes of derived names.
    #[error(
        "has {length} characters, and at most {limit} leave room for the names made from it (such as `-backup-pvc`)"
    )]
    TooLong {
        /// Its length.
        length: usize,
        /// What is allowed.
        limit: usize,
    },
    /// Not a DNS label.
    #[error("must be lower-case letters, digits and `-`, start with a letter and end with a letter or digit")]
    NotADnsLabel,
    /// Not the name of any object.
    #[error("is no name of an object: those have lower-case letters, digits, `-` and `.`")]
    NotAnObjectName,
    /// Not usable as the name of a role or database.
    #[error("must have 1 to 63 bytes and no control characters")]
    NotAnIdentifier,
    /// It belongs to `PostgreSQL`.
    #[error("is PostgreSQL's own name")]
    Reserved,
}

/// Checks the name of a resource: a DNS label that starts with a letter (Services want that before Kubernetes 1.36), at most `limit` long.
pub fn check(name: &str, limit: usize) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    let length = name.chars().count();
    if length > limit {
        return Err(NameError::TooLong { length, limit });
    }
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
    let ends = name.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    if starts && ends && name.chars().all(inner) {
        Ok(())
    } else {
        Err(NameError::NotADnsLabel)
    }
}

/// Checks the name of an object that a spec mentions, such as a claim or a Secret: a DNS subdomain.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names>
pub fn check_object(name: &str) -> Result<(), NameError> {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    match name.len() {
        0 => Err(NameError::Empty),
        254.. => Err(NameError::NotAnObjectName),
        _ if name
            .split('.')
            .all(|part| part.starts_with(edge) && part.ends_with(edge))
            && name.chars().all(|c| edge(c) || c == '-' || c == '.') =>
        {
            Ok(())
        }
        _ => Err(NameError::NotAnObjectName),
    }
}

/// Checks the name of a role or database that pgop makes. Any other text works: it is quoted wherever it is used.
pub fn check_identifier(name: &str) -> Result<(), NameError> {
    if name.is_empty() || name.len() > MAX_IDENTIFIER || name.chars().any(char::is_control) {
        return Err(NameError::NotAnIdentifier);
    }
    Ok(())
}

/// Checks the name of a role: an identifier that `PostgreSQL` does not keep for itself.
pub fn check_role(name: &str) -> Result<(), NameError> {
    check_identifier(name)?;
    if name == "postgres" || name == "public" || name == "none" || name.starts_with("pg_") {
        return Err(NameError::Reserved);
    }
    Ok(())
}

/// Claim that all backups of a database or cluster share.
pub fn backup_claim(source: &str) -> String {
    format!("{source}-backup-pvc")
}

/// Folder of a source's snapshots in a backup claim.
pub fn backup_folder(source: &str) -> String {
    format!("{source}-backups")
}

/// Secret of the superuser.
pub fn superuser_secret(server: &str) -> String {
    format!("{server}-superuser")
}

/// Secret of the replication role.
pub fn replication_secret(server: &str) -> String {
    format!("{server}-replication")
}

/// Secret of the ordinary role.
pub fn user_secret(server: &str) -> String {
    format!("{server}-user")
}

/// Job that restores `path` of `claim` into a server: another snapshot gives another Job.
pub fn restore_job(server: &str, claim: &str, path: &str) -> String {
    format!("{server}-restore-{}", short_hash(&format!("{claim}\0{path}")))
}

/// Whether a Job of this name restores a snapshot into a server.
pub fn is_restore_job(server: &str, job: &str) -> bool {
    let hash = job.strip_prefix(server).and_then(|rest| rest.strip_prefix("-restore-"));
    hash.is_some_and(|hash| hash.len() == 8 && hash.chars().all(|c| c.is_ascii_hexdigit()))
}

/// Path of a snapshot in its claim, such as `orders-backups/2026-11-22-17-57-21-6f1c2a9e`: when its `PgBackup` was made (UTC), and the first
/// part of that one's uid, as several may be made within a second.
pub fn snapshot(source: &str, created: jiff::Timestamp, backup_uid: Option<&str>) -> String {
    let time = created.strftime("%Y-%m-%d-%H-%M-%S");
    let uid = backup_uid.and_then(|uid| uid.split('-').next()).unwrap_or_default();
    let tail = if uid.is_empty() {
        String::new()
    } else {
        format!("-{uid}")
    };
    format!("{}/{time}{tail}", backup_folder(source))
}

/// Checks the path of a snapshot: relative, and never out of its claim.
pub fn check_snapshot_path(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("is empty");
    }
    if path.starts_with('/') {
        return Err("is absolute; give it as `pgo show backup` prints it");
    }
    if path
        .split('/')
        .any(|part| part == ".." || part == "." || part.is_empty())
    {
        return Err("has an empty part, `.` or `..`");
    }
    if path.chars().any(char::is_control) {
        return Err("has control characters");
    }
    // The kubelet would put a variable's value in its place.
    if path.contains("$(") {
        return Err("has `$(`, which Kubernetes replaces");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels_of_limited_length() {
        assert_eq!(check("hippo", MAX_SERVER_NAME), Ok(()));
        assert_eq!(check("", MAX_SERVER_NAME), Err(NameError::Empty));
        for bad in [
            "Hippo", "1hippo", "-hippo", "hippo-", "hip.po", "hip po", "hip_po", "hîppo",
        ] {
            assert_eq!(check(bad, MAX_SERVER_NAME), Err(NameError::NotADnsLabel), "{bad}");
        }
        assert_eq!(check(&"a".repeat(40), 40), Ok(()));
        assert_eq!(
            check(&"a".repeat(41), 40),
            Err(NameError::TooLong { length: 41, limit: 40 })
        );
    }

    #[test]
    fn every_derived_name_fits_a_label() {
        let longest = "a".repeat(MAX_SERVER_NAME);
        for name in [
            backup_claim(&longest),
            superuser_secret(&longest),
            replication_secret(&longest),
            restore_job(&longest, "claim", "path"),
        ] {
            assert!(name.len() <= 63, "{name}");
        }
    }

    #[test]
    fn snapshot_paths_stay_inside_their_claim() {
        assert_eq!(check_snapshot_path("orders-backups/2026-11-22-17-57-21"), Ok(()));
        for bad in ["", "/etc", "../x", "a/../b", "a//b", "./a", "a/", "a\nb", "a/$(HOME)"] {
            assert!(check_snapshot_path(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn two_backups_of_one_second_have_two_snapshots() {
        let at: jiff::Timestamp = "2026-11-22T18:57:21+01:00".parse().unwrap();
        let of = |uid| snapshot("orders", at, uid);
        assert_eq!(
            of(Some("6f1c2a9e-0f7d-4bb5-9f43-4f0b2f0c9a11")),
            "orders-backups/2026-11-22-17-57-21-6f1c2a9e"
        );
        assert_ne!(of(Some("6f1c2a9e-0")), of(Some("0a1b2c3d-0")));
        assert_eq!(of(None), "orders-backups/2026-11-22-17-57-21");
    }

    #[test]
    fn objects_have_dns_subdomains_for_names() {
        for good in ["a", "9.a-b.c", "crunchy-pvc"] {
            assert_eq!(check_object(good), Ok(()), "{good}");
        }
        for bad in ["", "A", "a_b", "-a", "a.", "a..b", "a b", &"a".repeat(254)] {
            assert!(check_object(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn roles_of_postgresql_are_reserved() {
        assert_eq!(check_role("app"), Ok(()));
        assert_eq!(check_role("o'brien \"x\" {{y}}"), Ok(()));
        assert_eq!(check_role("postgres"), Err(NameError::Reserved));
        assert_eq!(check_role("pg_monitor"), Err(NameError::Reserved));
        assert_eq!(check_identifier(&"é".repeat(32)), Err(NameError::NotAnIdentifier));
    }
}
