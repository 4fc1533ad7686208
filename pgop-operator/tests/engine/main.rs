//! The operator's engine on an API server and controllers in this process: real requests, no servers, milliseconds.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that can't go on has failed

mod backups;
mod carried;
mod cluster;
mod deaths;
mod panics;
mod refused;
mod restart;
mod rights;
mod roll;
mod vanished;
mod week;
