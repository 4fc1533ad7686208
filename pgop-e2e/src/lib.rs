//! The end-to-end suite's language. It runs against any cluster that `KUBECONFIG` leads to, through the `pgo` binary and SQL, with the
//! operator as a pod under the rights that `pgo install` makes.
//!
//! ```text
//! Space        a namespace of a test's own; when the test fails it tells what was in it
//! Space::pgo   runs pgo there                      Done     exit code, stdout, stderr
//! Space::sql   asks the primary, or one pod        until    waits for something, never for a time
//! operator     installed once a run; killed, asked for its metrics
//! writer       an application that knows what was acknowledged; acknowledged: what of that a server has
//! reader       an application that reads through the read-only Service, and knows what failed
//! leak         looks for passwords where none may be
//! ```
//!
//! Variables: `KUBECONFIG`; `PGO`, the path of pgo; `PGOP_E2E_IMAGE` (default `pgop/operator:dev`), the operator's image;
//! `PGOP_E2E_POSTGRES_IMAGE` (default `lab/postgres:15`); `PGOP_E2E_KEEP=1` keeps the namespaces;
//! `PGOP_E2E_RUNNING` (default 1), how many of the twenty databases and twenty clusters of `writes_nothing` run a server: all of them are
//! too much for two cores that do other things besides.
//!
//! One stories binary holds all tests, so that the operator is installed once: `make e2e`, or
//! `cargo test -p pgop-e2e -- --ignored --test-threads=1`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::missing_panics_doc)] // a test speaks by panicking

pub mod acknowledged;
pub mod api;
mod application;
pub mod leak;
pub mod metrics;
pub mod operator;
pub mod pgo;
pub mod reader;
pub mod report;
pub mod settings;
pub mod space;
pub mod until;
pub mod writer;

pub use pgo::Done;
pub use space::Space;
pub use until::{hold, patiently, until, within};
