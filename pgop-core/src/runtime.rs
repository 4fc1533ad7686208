//! The engine: it carries out what the pure steps decide. Start reading at `runtime/reconcile.rs`.
//!
//! ```text
//! watches ─► caches ─► queue ─► reconcile: observe ─► validate ─► plan ─► apply ─► status
//! ```

pub mod crds;
pub mod metrics;
pub mod operator;

mod apply;
mod backoff;
mod cache;
mod cluster;
mod finished;
mod observe;
mod password;
mod queue;
mod reconcile;
mod report;
mod tasks;
mod worker;

pub use cluster::plain;
pub use operator::{Operator, OperatorBuilder, OperatorError};
