//! The 40 settings that people set most, each with a right value and a mistake that somebody makes.
//!
//! Chosen by what is written for the public: what `PGTune` writes (<https://github.com/le0pard/pgtune>, all of it), what Josh Berkus calls "the most common
//! options which most users need to modify" (<https://github.com/jberkus/annotated.conf>, `postgresql.10.simple.conf`, but for what belongs to pgop), and
//! of what clouds and other operators tell to set: `shared_preload_libraries` (<https://cloudnative-pg.io/documentation/current/postgresql_conf/>),
//! `max_locks_per_transaction` and `log_statement` (<https://support.huaweicloud.com/intl/en-us/usermanual-rds-pg/rds_pg_10_0001.html>), `shared_buffers`
//! that are too large (<https://github.com/awsdocs/amazon-rds-user-guide>, `Appendix.PostgreSQL.CommonDBATasks.Parameters.md`).

/// A setting.
pub struct Parameter {
    pub name: &'static str,
    /// As it stands in the file.
    pub right: &'static str,
    /// As the server then shows it.
    pub shown: &'static str,
    /// As it stands in the file.
    pub wrong: &'static str,
}

const fn parameter(name: &'static str, right: &'static str, shown: &'static str, wrong: &'static str) -> Parameter {
    Parameter {
        name,
        right,
        shown,
        wrong,
    }
}

pub const ALL: [Parameter; 40] = [
    // `PGTune`
    parameter("max_connections", "40", "40", "0"),
    parameter("shared_buffers", "24MB", "24MB", "8000GB"),
    parameter("huge_pages", "off", "off", "maybe"),
    parameter("effective_cache_size", "1GB", "1GB", "'1 gigabyte'"),
    parameter("maintenance_work_mem", "32MB", "32MB", "lots"),
    parameter("checkpoint_completion_target", "0.8", "0.8", "9"),
    parameter("wal_buffers", "1MB", "1MB", "-5"),
    parameter("default_statistics_target", "200", "200", "100000"),
    parameter("random_page_cost", "1.1", "1.1", "-1"),
    parameter("effective_io_concurrency", "200", "200", "1001"),
    parameter("work_mem", "8MB", "8MB", "8mb"),
    parameter("min_wal_size", "96MB", "96MB", "16MB"),
    parameter("max_wal_size", "512MB", "512MB", "'512 MB of it'"),
    parameter("max_worker_processes", "10", "10", "300000"),
    parameter("max_parallel_workers_per_gather", "1", "1", "all"),
    parameter("max_parallel_workers", "4", "4", "9999"),
    parameter("max_parallel_maintenance_workers", "1", "1", "-1"),
    parameter("wal_level", "logical", "logical", "minimal"),
    parameter("max_wal_senders", "12", "12", "300000"),
    parameter("jit", "off", "off", "maybe"),
    parameter("wal_compression", "pglz", "pglz", "gzip"),
    parameter("autovacuum_max_workers", "2", "2", "0"),
    parameter("autovacuum_work_mem", "64MB", "64MB", "'64 megs'"),
    // Josh Berkus
    parameter("idle_in_transaction_session_timeout", "5min", "5min", "'5 minutes'"),
    parameter("statement_timeout", "1min", "1min", "-1"),
    parameter("temp_file_limit", "1GB", "1GB", "-2"),
    parameter("hot_standby_feedback", "on", "on", "yes please"),
    parameter("track_commit_timestamp", "on", "on", "2"),
    parameter("max_replication_slots", "12", "12", "-1"),
    parameter("log_line_prefix", "'%m [%p] %u@%d '", "%m [%p] %u@%d", "%m [%p] %u@%d"),
    parameter("log_min_duration_statement", "10s", "10s", "5x"),
    parameter("log_checkpoints", "off", "off", "offf"),
    parameter("log_connections", "on", "on", "'never ever'"),
    parameter("log_disconnections", "on", "on", "1.5"),
    parameter("log_lock_waits", "on", "on", "si"),
    parameter("log_temp_files", "10MB", "10MB", "-2"),
    parameter("log_autovacuum_min_duration", "5s", "5s", "10q"),
    // Clouds and operators
    parameter(
        "shared_preload_libraries",
        "'pg_stat_statements'",
        "pg_stat_statements",
        "'pg_stat_statments'",
    ),
    parameter("max_locks_per_transaction", "80", "80", "5"),
    parameter("log_statement", "ddl", "ddl", "everything"),
];
