//! What the types of an embedded Kubernetes look like and how their objects change: pure functions over JSON.
//!
//! ```text
//! OpenAPI JSON ── of a CRD, or of k8s-openapi with our tables on top (built_in)
//!      │ read once
//!      ▼
//!   Schema ──► prune ──► default ──► validate (+ CEL)      what a write passes through
//!      └─────► strategic / merge / apply::apply            how a patch changes an object
//!              apply::track                                who set which field (metadata.managedFields)
//! validation::{metadata, built_in}                         rules that no schema can say
//! ```
//!
//! Objects are [`serde_json::Value`]. Nothing here speaks to a network, reads a clock or blocks.

pub mod apply;
mod built_in;
mod cause;
mod cel;
mod check;
mod decode;
mod defaulting;
mod encode;
mod format;
pub mod merge;
mod node;
mod path;
mod pattern;
mod prune;
pub mod quantity;
mod schema;
pub mod strategic;
mod structural;
pub mod validation;

pub use built_in::{REFERENCE, definition_name, definitions};
pub use cause::Cause;
pub use schema::Schema;
