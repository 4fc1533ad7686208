//! Settings of `postgresql.conf`: which are refused, which need a restart, and the text of the file.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::crd::MAX_REPLICAS;
use crate::hash::short_hash;
use crate::validated::Server;

/// Settings that belong to pgop: the pods, the Services and replication are built on them.
const MANAGED: &[&str] = &[
    "allow_alter_system",
    "archive_cleanup_command",
    "cluster_name",
    "config_file",
    "data_directory",
    "event_source",
    "external_pid_file",
    "hba_file",
    "hot_standby",
    "ident_file",
    "listen_addresses",
    "log_destination",
    "log_directory",
    "log_file_mode",
    "log_filename",
    "logging_collector",
    "password_encryption",
    "port",
    "primary_conninfo",
    "primary_slot_name",
    "promote_trigger_file",
    "recovery_end_command",
    "restore_command",
    "ssl_ca_file",
    "ssl_cert_file",
    "ssl_crl_dir",
    "ssl_crl_file",
    "ssl_key_file",
    "ssl_passphrase_command",
    "standby_mode",
    "syslog_facility",
    "syslog_ident",
    "trigger_file",
    "unix_socket_directories",
    "unix_socket_group",
    "unix_socket_permissions",
];

/// Settings that lose or damage data in some value: the setting, the values that are safe, and why.
const SAFE_VALUES: &[(&str, &[&str], &str)] = &[
    ("fsync", &["on", "true", "yes", "1"], "a crash would corrupt the data"),
    (
        "full_page_writes",
        &["on", "true", "yes", "1"],
        "a crash would corrupt the data",
    ),
    ("zero_damaged_pages", &["off", "false", "no", "0"], "it destroys data"),
    (
        "ignore_checksum_failure",
        &["off", "false", "no", "0"],
        "it hides damaged data",
    ),
    (
        "ignore_invalid_pages",
        &["off", "false", "no", "0"],
        "it hides damaged data",
    ),
    ("data_sync_retry", &["off", "false", "no", "0"], "it can lose writes"),
    (
        "allow_system_table_mods",
        &["off", "false", "no", "0"],
        "it can destroy the catalog",
    ),
    (
        "ssl",
        &["off", "false", "no", "0"],
        "there is no certificate yet, and the server would not start again",
    ),
    (
        "wal_level",
        &["replica", "logical"],
        "replicas and backups need at least `replica`",
    ),
];

/// Numbers that replicas and backups need at least.
const AT_LEAST: &[(&str, i64)] = &[
    ("max_wal_senders", 3),
    ("max_replication_slots", 2),
    ("max_connections", 10),
];

/// Of these each replica needs one, beside the number that backups need.
const FOR_EACH_REPLICA: &[(&str, i64)] = &[("max_wal_senders", 2), ("max_replication_slots", 1)];

/// Settings that a running server can't take over, of `PostgreSQL` 14 to 18
/// (`select name from pg_settings where context = 'postmaster'`).
const RESTART: &[&str] = &[
    "archive_mode",
    "autovacuum_freeze_max_age",
    "autovacuum_max_workers",
    "autovacuum_multixact_freeze_max_age",
    "autovacuum_worker_slots",
    "bonjour",
    "bonjour_name",
    "commit_timestamp_buffers",
    "debug_io_direct",
    "dynamic_shared_memory_type",
    "huge_page_size",
    "huge_pages",
    "io_max_combine_limit",
    "io_max_concurrency",
    "io_method",
    "jit_provider",
    "max_active_replication_origins",
    "max_connections",
    "max_files_per_process",
    "max_locks_per_transaction",
    "max_logical_replication_workers",
    "max_notify_queue_pages",
    "max_pred_locks_per_transaction",
    "max_prepared_transactions",
    "max_replication_slots",
    "max_wal_senders",
    "max_worker_processes",
    "min_dynamic_shared_memory",
    "multixact_member_buffers",
    "multixact_offset_buffers",
    "notify_buffers",
    "old_snapshot_threshold",
    "recovery_target",
    "recovery_target_action",
    "recovery_target_inclusive",
    "recovery_target_lsn",
    "recovery_target_name",
    "recovery_target_time",
    "recovery_target_timeline",
    "recovery_target_xid",
    "reserved_connections",
    "serializable_buffers",
    "shared_buffers",
    "shared_memory_type",
    "shared_preload_libraries",
    "subtransaction_buffers",
    "summarize_wal",
    "superuser_reserved_connections",
    "track_activity_query_size",
    "track_commit_timestamp",
    "transaction_buffers",
    "wal_buffers",
    "wal_decode_buffer_size",
    "wal_level",
    "wal_log_hints",
];

/// The same of extensions that are often loaded, as far as their names tell nothing: what else an extension has is taken to be reloaded. Only the
/// server knows for sure, and says so with a condition of its pod.
const RESTART_OF_EXTENSIONS: &[&str] = &["pg_prewarm.autoprewarm", "pg_stat_statements.max"];

/// Why a setting is refused, or `None` when it is fine.
///
/// ```
/// use pgop_core::parameter::refused;
/// assert_eq!(refused("work_mem", "16MB"), None);
/// assert!(refused("fsync", "off").unwrap().contains("corrupt"));
/// assert!(refused("listen_addresses", "*").is_some());
/// ```
pub fn refused(name: &str, value: &str) -> Option<String> {
    let name = name.to_ascii_lowercase();
    let first = |c: char| c.is_ascii_lowercase() || c == '_';
    let rest = |c: char| first(c) || c.is_ascii_digit() || c == '$' || c == '.';
    if name.len() > 63 || !name.starts_with(first) || !name.chars().all(rest) {
        return Some("is no name of a setting".to_owned());
    }
    if name.starts_with("include") || name.starts_with("pgop.") || MANAGED.contains(&name.as_str()) {
        return Some("belongs to pgop".to_owned());
    }
    if name.starts_with("recovery_target") {
        return Some("would stop a replica or a restore midway".to_owned());
    }
    if value.chars().any(|c| c.is_control() && c != '\t') {
        return Some("has a line break or another control character in its value".to_owned());
    }
    let plain = value.trim().to_ascii_lowercase();
    if let Some((_, safe, why)) = SAFE_VALUES.iter().find(|(unsafe_name, ..)| *unsafe_name == name) {
        return (!safe.contains(&plain.as_str())).then(|| format!("= {value} is refused, because {why}"));
    }
    if let Some((_, least)) = AT_LEAST.iter().find(|(limited, _)| *limited == name) {
        return match plain.parse::<i64>() {
            Ok(number) if number >= *least => None,
            _ => Some(format!(
                "must be a number of at least {least}: replicas and backups need it"
            )),
        };
    }
    None
}

/// Why a setting is too small for the number of replicas, or `None` when it is fine.
///
/// ```
/// use pgop_core::parameter::too_few;
/// assert_eq!(too_few("max_wal_senders", "7", 5), None);
/// assert!(too_few("max_wal_senders", "6", 5).unwrap().contains("at least 7"));
/// ```
pub fn too_few(name: &str, value: &str, replicas: i32) -> Option<String> {
    let (_, more) = FOR_EACH_REPLICA
        .iter()
        .find(|(limited, _)| limited.eq_ignore_ascii_case(name))?;
    let least = i64::from(replicas) + more;
    let given: i64 = value.trim().parse().ok()?;
    (given < least)
        .then(|| format!("= {given} is too few for {replicas} replicas and a backup, which need at least {least}"))
}

/// Text of `postgresql.conf`: our defaults, the user's settings over them, and what is fixed last.
pub fn postgresql_conf(server: &Server) -> String {
    let mut text = String::from("# Made by pgop from spec.postgres.parameters; edit that instead.\n");
    for (name, value) in effective(server) {
        // Writing to a String can't fail.
        let _ = writeln!(text, "{name} = '{}'", value.replace('\\', "\\\\").replace('\'', "''"));
    }
    text
}

/// Hash of the settings that only a restart applies; it is an annotation of the pods.
pub fn restart_hash(server: &Server) -> String {
    let relevant: Vec<String> = effective(server)
        .into_iter()
        .filter(|(name, _)| needs_restart(name))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    short_hash(&relevant.join("\n"))
}

fn needs_restart(name: &str) -> bool {
    RESTART.contains(&name) || RESTART_OF_EXTENSIONS.contains(&name)
}

fn effective(server: &Server) -> BTreeMap<String, String> {
    // Room for the most replicas there can be, and for backups: scaling must not restart the primary.
    let senders = MAX_REPLICAS + 14;
    let defaults = [
        ("max_wal_senders", senders.to_string()),
        ("max_replication_slots", senders.to_string()),
        ("wal_level", "replica".to_owned()),
        ("log_line_prefix", "%m [%p] %q%u@%d ".to_owned()),
        ("log_checkpoints", "off".to_owned()),
        ("log_timezone", "UTC".to_owned()),
        ("timezone", "UTC".to_owned()),
        ("lc_messages", "C".to_owned()),
        ("wal_receiver_status_interval", "2s".to_owned()),
        ("tcp_keepalives_idle", "30".to_owned()),
        ("tcp_keepalives_interval", "10".to_owned()),
        ("tcp_keepalives_count", "3".to_owned()),
    ];
    let fixed = [
        ("hot_standby", "on"),
        ("password_encryption", "scram-sha-256"),
        ("log_destination", "stderr"),
        ("logging_collector", "off"),
    ];
    let mut all: BTreeMap<String, String> = defaults.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    all.extend(
        server
            .parameters
            .iter()
            .map(|(k, v)| (k.to_ascii_lowercase(), v.clone())),
    );
    all.extend(fixed.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_settings_are_refused_whatever_the_case() {
        for (name, value) in [
            ("fsync", "off"),
            ("FSYNC", "OFF"),
            ("full_page_writes", "no"),
            ("wal_level", "minimal"),
            ("listen_addresses", "localhost"),
            ("include_dir", "/tmp"),
            ("pgop.lineage", "x"),
            ("max_wal_senders", "0"),
            ("recovery_target_time", "2026-01-01"),
            ("zero_damaged_pages", "on"),
            ("work_mem", "1MB'\nfsync = off"),
            ("work mem", "1MB"),
            ("work_mem = '1'\n#", "x"),
            ("", ""),
        ] {
            assert!(refused(name, value).is_some(), "{name} = {value}");
        }
        for (name, value) in [
            ("work_mem", "16MB"),
            ("fsync", "on"),
            ("wal_level", "logical"),
            ("auto_explain.log_min_duration", "1s"),
            ("max_wal_senders", "20"),
            ("search_path", "\"$user\", public, it's"),
        ] {
            assert_eq!(refused(name, value), None, "{name} = {value}");
        }
    }

    #[test]
    fn the_lists_are_sorted_and_apart() {
        assert!(MANAGED.is_sorted());
        assert!(RESTART.is_sorted());
        assert!(RESTART_OF_EXTENSIONS.is_sorted());
        assert!(RESTART.iter().all(|name| !MANAGED.contains(name)));
    }

    #[test]
    fn a_setting_of_an_extension_restarts_only_where_it_is_known_to_need_it() {
        for (name, restarts) in [
            ("auto_explain.log_min_duration", false),
            ("pg_stat_statements.track", false),
            ("pg_stat_statements.max", true),
            ("shared_buffers", true),
            ("work_mem", false),
        ] {
            assert_eq!(needs_restart(name), restarts, "{name}");
        }
    }
}
