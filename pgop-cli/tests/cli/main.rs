//! The real binary, run as people run it. What needs a cluster is proven by `pgop-e2e`.

#![allow(clippy::unwrap_used, clippy::too_many_lines)] // a test that can't go on has failed
#![cfg(unix)] // the tests make symlinks

mod api;
mod harness;
mod server;

mod configuration;
mod data;
mod dry_run;
mod help;
mod install;
mod surroundings;
mod unreachable;
mod upgrade;
mod usage;
mod volume;
