//! One story a file. All need a cluster: `make e2e`.
#![allow(clippy::unwrap_used, clippy::panic)] // a test speaks by panicking

mod backup_failures;
mod bad_input;
mod cluster;
mod database;
mod killed;
mod passwords;
mod stopped;
mod writes_nothing;
