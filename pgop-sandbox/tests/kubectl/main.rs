//! Real kubectl on a real sandbox. `PGOP_KUBECTL` names the programs (a list like PATH); by default it is the one on the PATH. Without any
//! the tests fail: they were asked for.
//!
//! ```text
//! PGOP_KUBECTL=/opt/kubectl-1.20:/opt/kubectl-1.33 cargo test -p pgop-sandbox --test kubectl -- --ignored
//! ```
#![allow(clippy::unwrap_used, clippy::panic)] // a test that can't go on has failed

mod access;
mod kubectl;
mod nodes;
mod objects;
mod streams;
mod workloads;
