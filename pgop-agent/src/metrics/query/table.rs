//! The questions.

use std::ops::Range;
use std::time::Duration;

use super::super::text::Kind::{Counter, Gauge};
use super::{Query, Value};

const fn counter(name: &'static str, help: &'static str) -> Value {
    Value {
        name,
        kind: Counter,
        help,
    }
}

const fn gauge(name: &'static str, help: &'static str) -> Value {
    Value {
        name,
        kind: Gauge,
        help,
    }
}

/// Every version that pgop runs.
const ALL: Range<u32> = 140_000..u32::MAX;
const BEFORE_17: Range<u32> = 140_000..170_000;
const SINCE_17: Range<u32> = 170_000..u32::MAX;
const AT_ONCE: Duration = Duration::ZERO;

/// All of them.
pub static QUERIES: [Query; 18] = [
    Query {
        name: "static",
        versions: ALL,
        keep: AT_ONCE,
        prefix: "pg",
        labels: &["version", "short_version"],
        values: &[gauge("static", "1; the version is in the labels.")],
        sql: "select version(), current_setting('server_version'), 1",
    },
    Query {
        name: "postmaster",
        versions: ALL,
        keep: AT_ONCE,
        prefix: "pg_postmaster",
        labels: &[],
        values: &[gauge(
            "start_time_seconds",
            "When the server was started, in seconds since 1970.",
        )],
        sql: "select extract(epoch from pg_postmaster_start_time())",
    },
    // A primary that writes nothing does not make its replicas late: where everything that was received is replayed, they are not.
    Query {
        name: "replication",
        versions: ALL,
        keep: AT_ONCE,
        prefix: "pg_replication",
        labels: &[],
        values: &[
            gauge("is_replica", "Whether the server is a replica."),
            gauge(
                "lag_seconds",
                "How old the last transaction is that a replica has replayed, while it has received more than it has replayed; 0 otherwise, and of a \
                 primary. What a replica does not receive it can't tell: see pgop_condition{about=\"Following\"}.",
            ),
            gauge(
                "lag_bytes",
                "WAL that a replica has received and not replayed; 0 of a primary.",
            ),
            gauge(
                "last_replay_seconds",
                "How old the last transaction is that a replica has replayed, late or not.",
            ),
        ],
        sql: "select pg_is_in_recovery()::int, \
            case when not pg_is_in_recovery() or coalesce(pg_last_wal_receive_lsn() <= pg_last_wal_replay_lsn(), true) then 0 \
              else greatest(0, extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())) end, \
            case when not pg_is_in_recovery() then 0 \
              else coalesce(greatest(0, pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())), 0) end, \
            case when pg_is_in_recovery() \
              then greatest(0, extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())) end",
    },
    Query {
        name: "stat_replication",
        versions: ALL,
        keep: AT_ONCE,
        prefix: "pg_stat_replication",
        labels: &["application_name", "client_addr", "state", "slot_name", "pid"],
        values: &[
            gauge(
                "pg_wal_lsn_diff",
                "WAL that this replica has not replayed yet, in bytes.",
            ),
            gauge(
                "replay_lag_seconds",
                "How long this replica took to replay what it has told of last; 0 where it has replayed everything.",
            ),
        ],
        sql: "with here as (select case when pg_is_in_recovery() then pg_last_wal_receive_lsn() else pg_current_wal_lsn() end as lsn) \
            select r.application_name, host(r.client_addr), r.state, s.slot_name, r.pid, \
              greatest(0, pg_wal_lsn_diff(here.lsn, r.replay_lsn)), \
              case when r.replay_lsn >= here.lsn then 0 else extract(epoch from r.replay_lag) end \
            from here cross join pg_stat_replication r left join pg_replication_slots s on s.active_pid = r.pid",
    },
    Query {
        name: "stat_wal_receiver",
        versions: ALL,
        keep: AT_ONCE,
        prefix: "pg_stat_wal_receiver",
        labels: &["upstream_host", "slot_name", "status"],
        values: &[
            gauge(
                "flushed_lsn",
                "WAL position up to which a replica has received and flushed, in bytes.",
            ),
            gauge("received_tli", "Timeline of that position."),
            gauge(
                "last_msg_receipt_time",
                "When the last message of the primary came, in seconds since 1970.",
            ),
            gauge(
                "latest_end_time",
                "When the position was reported to the primary, in seconds since 1970.",
            ),
        ],
        sql: "select sender_host, slot_name, status, pg_wal_lsn_diff(flushed_lsn, '0/0'), received_tli, \
              extract(epoch from last_msg_receipt_time), extract(epoch from latest_end_time) \
            from pg_stat_wal_receiver where pid is not null",
    },
    Query {
        name: "replication_slots",
        versions: ALL,
        keep: AT_ONCE,
        prefix: "pg_replication_slots",
        labels: &["slot_name", "slot_type", "database"],
        values: &[
            gauge("active", "Whether somebody reads from the slot."),
            gauge("pg_wal_lsn_diff", "WAL that the slot retains, in bytes."),
            gauge(
                "safe_wal_size_bytes",
                "WAL that can be written until the slot may be lost, where there is a limit.",
            ),
            gauge("lost", "Whether WAL that the slot should have retained is gone."),
        ],
        sql: "select slot_name, slot_type, database, active::int, \
              greatest(0, pg_wal_lsn_diff(case when pg_is_in_recovery() then coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) \
                else pg_current_wal_lsn() end, restart_lsn)), \
              safe_wal_size, coalesce(wal_status = 'lost', false)::int \
            from pg_replication_slots",
    },
    Query {
        name: "wal",
        versions: ALL,
        keep: AT_ONCE,
        prefix: "pg_wal",
        labels: &[],
        values: &[
            gauge(
                "lsn_location_bytes",
                "WAL position: of a primary the one it writes at, of a replica the one it has replayed.",
            ),
            gauge("segments", "Files of WAL."),
            gauge("size_bytes", "Size of all files of WAL."),
        ],
        sql: "select pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end, '0/0'), \
              count(*), coalesce(sum(size), 0) from pg_ls_waldir() where name ~ '^[0-9A-F]{24}$'",
    },
    // Looks at every file of every table.
    Query {
        name: "database",
        versions: ALL,
        keep: Duration::from_secs(60),
        prefix: "pg_database",
        labels: &["datname"],
        values: &[gauge("size_bytes", "Disk space that the database uses.")],
        sql: "select datname, pg_database_size(oid) from pg_database where not datistemplate",
    },
    Query {
        name: "database_wraparound",
        versions: ALL,
        keep: AT_ONCE,
        prefix: "pg_database_wraparound",
        labels: &["datname"],
        values: &[
            gauge(
                "age_datfrozenxid_seconds",
                "How many transactions ago, not seconds, the oldest one was that is not frozen. At 2 thousand millions the server takes no more.",
            ),
            gauge("age_datminmxid_seconds", "The same of multi-transactions."),
        ],
        sql: "select datname, age(datfrozenxid), mxid_age(datminmxid) from pg_database",
    },
    Query {
        name: "stat_database",
        versions: ALL,
        keep: AT_ONCE,
        prefix: "pg_stat_database",
        labels: &["datname"],
        values: &[
            gauge("numbackends", "Connections."),
            counter("xact_commit", "Transactions that were committed."),
            counter("xact_rollback", "Transactions that were rolled back."),
            counter("blks_read", "Blocks that were read from disk or the system's cache."),
            counter("blks_hit", "Blocks that were found in shared buffers."),
            counter("tup_returned", "Rows that scans went through."),
            counter("tup_fetched", "Rows that index scans fetched."),
            counter("tup_inserted", "Rows that were inserted."),
            counter("tup_updated", "Rows that were updated."),
            counter("tup_deleted", "Rows that were deleted."),
            counter(
                "conflicts",
                "Queries that were cancelled as they were in the way of replay.",
            ),
            counter("temp_files", "Temporary files."),
            counter("temp_bytes", "Data that was written to temporary files."),
            counter("deadlocks", "Deadlocks."),
            counter("checksum_failures", "Pages whose checksum was wrong."),
            counter(
                "blk_read_time",
                "Time that reads took, in milliseconds, with track_io_timing.",
            ),
            counter(
                "blk_write_time",
                "Time that writes took, in milliseconds, with track_io_timing.",
            ),
        ],
        sql: "select datname, numbackends, xact_commit, xact_rollback, blks_read, blks_hit, tup_returned, tup_fetched, tup_inserted, \
              tup_updated, tup_deleted, conflicts, temp_files, temp_bytes, deadlocks, checksum_failures, blk_read_time, blk_write_time \
            from pg_stat_database where datname is not null",
    },
    Query {
        name: "stat_activity",
        versions: ALL,
        keep: AT_ONCE,
        prefix: "pg_stat_activity",
        labels: &["datname", "state"],
        values: &[
            gauge(
                "count",
                "Connections of clients, in this state; the agent's are among them.",
            ),
            gauge(
                "max_tx_duration",
                "How long the oldest transaction has been open, in seconds.",
            ),
        ],
        sql: "select datname, coalesce(state, 'unknown'), count(*), \
              coalesce(max(extract(epoch from clock_timestamp() - xact_start)) filter (where pid <> pg_backend_pid()), 0) \
            from pg_stat_activity where backend_type = 'client backend' group by 1, 2",
    },
    Query {
        name: "locks",
        versions: ALL,
        keep: AT_ONCE,
        prefix: "pg_locks",
        labels: &["datname", "mode"],
        values: &[
            gauge("count", "Locks, held or waited for."),
            gauge("waiting", "Locks that are waited for."),
        ],
        sql: "select d.datname, lower(l.mode), count(*), count(*) filter (where not l.granted) \
            from pg_locks l join pg_database d on d.oid = l.database group by 1, 2",
    },
    Query {
        name: "stat_archiver",
        versions: ALL,
        keep: AT_ONCE,
        prefix: "pg_stat_archiver",
        labels: &[],
        values: &[
            counter("archived_count", "Files of WAL that were archived."),
            counter("failed_count", "Tries to archive one that failed."),
            gauge(
                "last_archive_age",
                "Seconds since a file of WAL was archived last, where one was.",
            ),
        ],
        sql: "select archived_count, failed_count, extract(epoch from clock_timestamp() - last_archived_time) from pg_stat_archiver",
    },
    Query {
        name: "stat_bgwriter",
        versions: BEFORE_17,
        keep: AT_ONCE,
        prefix: "pg_stat_bgwriter",
        labels: &[],
        values: &[
            counter("checkpoints_timed_total", "Checkpoints that were due."),
            counter(
                "checkpoints_req_total",
                "Checkpoints that were asked for, by WAL that grew too much among others.",
            ),
            counter(
                "checkpoint_write_time_total",
                "Time that checkpoints took to write, in milliseconds.",
            ),
            counter(
                "checkpoint_sync_time_total",
                "Time that checkpoints took to sync, in milliseconds.",
            ),
            counter("buffers_checkpoint_total", "Buffers that checkpoints wrote."),
            counter("buffers_clean_total", "Buffers that the background writer wrote."),
            counter(
                "maxwritten_clean_total",
                "How often the background writer stopped as it had written too much.",
            ),
            counter("buffers_backend_total", "Buffers that backends wrote themselves."),
            counter(
                "buffers_backend_fsync_total",
                "How often backends had to sync themselves.",
            ),
            counter("buffers_alloc_total", "Buffers that were allocated."),
        ],
        sql: "select checkpoints_timed, checkpoints_req, checkpoint_write_time, checkpoint_sync_time, buffers_checkpoint, buffers_clean, \
              maxwritten_clean, buffers_backend, buffers_backend_fsync, buffers_alloc from pg_stat_bgwriter",
    },
    // From 17 on checkpoints have a view of their own, and buffers of backends are in pg_stat_io.
    Query {
        name: "stat_bgwriter",
        versions: SINCE_17,
        keep: AT_ONCE,
        prefix: "pg_stat_bgwriter",
        labels: &[],
        values: &[
            counter("buffers_clean_total", "Buffers that the background writer wrote."),
            counter(
                "maxwritten_clean_total",
                "How often the background writer stopped as it had written too much.",
            ),
            counter("buffers_alloc_total", "Buffers that were allocated."),
        ],
        sql: "select buffers_clean, maxwritten_clean, buffers_alloc from pg_stat_bgwriter",
    },
    Query {
        name: "stat_checkpointer",
        versions: SINCE_17,
        keep: AT_ONCE,
        prefix: "pg_stat_checkpointer",
        labels: &[],
        values: &[
            counter("num_timed_total", "Checkpoints that were due."),
            counter(
                "num_requested_total",
                "Checkpoints that were asked for, by WAL that grew too much among others.",
            ),
            counter("restartpoints_timed_total", "Restartpoints of a replica that were due."),
            counter(
                "restartpoints_req_total",
                "Restartpoints of a replica that were asked for.",
            ),
            counter("restartpoints_done_total", "Restartpoints of a replica that were made."),
            counter(
                "write_time_total",
                "Time that checkpoints took to write, in milliseconds.",
            ),
            counter(
                "sync_time_total",
                "Time that checkpoints took to sync, in milliseconds.",
            ),
            counter("buffers_written_total", "Buffers that checkpoints wrote."),
        ],
        sql: "select num_timed, num_requested, restartpoints_timed, restartpoints_req, restartpoints_done, write_time, sync_time, \
              buffers_written from pg_stat_checkpointer",
    },
    Query {
        name: "settings",
        versions: ALL,
        keep: AT_ONCE,
        prefix: "pg_settings",
        labels: &[],
        values: &[
            gauge("max_connections", "Connections of clients that there can be."),
            gauge(
                "superuser_reserved_connections",
                "Those of them that only superusers get.",
            ),
            gauge("max_wal_senders", "Replicas and backups that can read WAL at a time."),
            gauge("max_replication_slots", "Slots that there can be."),
            gauge("max_locks_per_transaction", "Locks for each connection, on average."),
            gauge(
                "autovacuum_freeze_max_age",
                "Age in transactions at which a table is vacuumed whatever else.",
            ),
            gauge("shared_buffers_bytes", "Memory for pages of tables and indexes."),
            gauge("max_wal_size_bytes", "WAL between checkpoints."),
            gauge(
                "max_slot_wal_keep_size_bytes",
                "WAL that slots retain at most; -1 for no limit.",
            ),
            gauge("wal_segment_size_bytes", "Size of a file of WAL."),
            gauge("pending_restart", "Settings that wait for a start of the server."),
        ],
        sql: "select current_setting('max_connections'), current_setting('superuser_reserved_connections'), current_setting('max_wal_senders'), \
              current_setting('max_replication_slots'), current_setting('max_locks_per_transaction'), current_setting('autovacuum_freeze_max_age'), \
              pg_size_bytes(current_setting('shared_buffers')), pg_size_bytes(current_setting('max_wal_size')), \
              pg_size_bytes(current_setting('max_slot_wal_keep_size')), pg_size_bytes(current_setting('wal_segment_size')), \
              (select count(*) from pg_settings where pending_restart)",
    },
    // A transaction that was prepared and forgotten keeps rows from being vacuumed, and no connection shows it.
    Query {
        name: "prepared_xacts",
        versions: ALL,
        keep: AT_ONCE,
        prefix: "pg",
        labels: &[],
        values: &[
            gauge("prepared_xacts", "Transactions that are prepared and not ended."),
            gauge(
                "prepared_xacts_max_age_seconds",
                "How long ago the oldest of them was prepared.",
            ),
        ],
        sql: "select count(*), coalesce(max(extract(epoch from clock_timestamp() - prepared)), 0) from pg_prepared_xacts",
    },
];
