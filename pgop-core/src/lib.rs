//! Schemas, strategies and the reconcile engine of pgop, the `PostgreSQL` operator that is a library first.
//!
//! ```text
//! crd         what people write          validate    from a raw resource to a checked one
//! strategy    what a resource becomes    plan        what to do about it, as data
//! manifest    one desired object         assessment  what the live objects amount to
//! registry    which strategies there are status      what the resource's status says
//! ```
//!
//! Without features this crate is pure: no client, no async runtime, no templates. The feature `runtime` adds the engine that carries plans out.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod assessment;
pub mod complete;
pub mod condition;
pub mod crd;
pub mod difference;
pub mod install;
pub mod invalid;
pub mod label;
pub mod manifest;
pub mod name;
pub mod observed;
pub mod parameter;
pub mod plan;
pub mod quantity;
pub mod registry;
pub mod resource;
#[cfg(feature = "runtime")]
pub mod runtime;
pub mod status;
pub mod strategy;
pub mod validate;
pub mod validated;

pub use registry::Registry;
pub use resource::{Managed, Owner, ResourceKind};
pub use strategy::Strategy;
