//! The agent is killed at each of its steps, and comes to the same end.
//!
//! Whatever it was doing, an agent that starts again finishes it: what was acknowledged is there, nothing half-made is used, and no server is started
//! beside another's processes. Each piece of work is walked twice: with the agent as process 1, where all dies with it, and as one of others, where
//! what it has started goes on. `PGOP_STEPS=3` walks all steps, up to three of each name; without it a few are walked.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(clippy::unwrap_used, reason = "clippy knows the tests, not what they share")]

use pod::Init;

mod copies;
mod disturbed;
#[allow(dead_code, reason = "its other half is for the tests of backups")]
#[path = "../backup/ground.rs"]
mod ground;
#[path = "../kubelet/mod.rs"]
mod kubelet;
mod network;
mod pod;
mod server;
mod servers;
mod trace;
mod walk;

macro_rules! twice {
    ($($work:path: $whole:ident, $alone:ident;)*) => {$(
        #[test]
        fn $whole() {
            $work(Init::Agent);
        }

        #[test]
        fn $alone() {
            $work(Init::Other);
        }
    )*};
}

twice! {
    servers::walk_init: a_database_that_is_being_made, a_database_that_is_being_made_alone;
    servers::walk_reload: settings_that_are_being_reloaded, settings_that_are_being_reloaded_alone;
    servers::walk_restart: a_server_that_stops_and_starts, a_server_that_stops_and_starts_alone;
    servers::walk_again: a_server_that_was_killed, a_server_that_was_killed_alone;
    copies::walk_first_copy: a_replica_that_copies, a_replica_that_copies_alone;
    copies::walk_copy_again: a_replica_that_copies_again, a_replica_that_copies_again_alone;
    copies::walk_backup: a_snapshot_that_is_being_made, a_snapshot_that_is_being_made_alone;
    copies::walk_restore: data_that_is_being_restored, data_that_is_being_restored_alone;
}
