//! Schemas, strategies and the reconcile engine of pgop, the `PostgreSQL` operator that is a library first.
//!
//! # For the author of a strategy
//!
//! All of it is here without any feature, and stays small: no client, no async runtime, no templates, no schema validator.
//!
//! | what | is |
//! |---|---|
//! | [`strategy::Strategy`] | what you implement; [`strategy::StrategyError`] is what it may fail with |
//! | [`description::Description`] | what your strategy says of itself |
//! | [`validated`] | what you get: a checked resource with every default filled in, such as [`validated::ValidatedCluster`] |
//! | [`crd::PodSettings`] | of it: scheduling, identity and metadata of the pods, which the planner adds to what you make |
//! | [`manifest::Manifest`] | what you return: one desired object whose shape is right; [`kind::Kind`] lists the kinds there may be |
//! | [`observed::Live`] | the objects and pods that were made |
//! | [`assessment::Assessment`] | what they amount to |
//! | [`registry::Registry`] | where your strategy is added |
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `steps` | the pure steps around a strategy: [`validate`], [`plan`], [`status`], and [`managed::Managed`], which joins them |
//! | `runtime` | the engine that carries plans out: [`runtime`]. It needs a client |
//! | `install` | what runs the stock operator in a cluster: [`install`] |
//!
//! # Layers
//!
//! Each module uses those of the lines before its own, and no other; `tests/layers.rs` holds them to it.
//!
//! ```text
//! crd  quantity  hash  kind  condition  invalid            what people write; words and numbers
//! owner  name  difference  description
//! label  validated                                         a checked resource
//! manifest  parameter                                      what is made of it
//! observed  reference  pod                                 what is live; what an object refers to
//! roll  ownership                                          who has to be restarted, and when
//! assessment                                               what that amounts to
//! strategy
//! registry  complete
//! plan                                                     what to do, as data
//! applied  validate                                        what became of it
//! round                                                    all that the status is made from
//! status
//! managed                                                  all steps of a kind of resource
//! runtime  install                                         what has a client in hand, and what runs the operator
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod assessment;
pub mod crd;
pub mod description;
pub mod hash;
pub mod kind;
pub mod label;
pub mod manifest;
pub mod name;
pub mod observed;
pub mod owner;
pub mod parameter;
mod pod;
pub mod quantity;
pub mod reference;
pub mod registry;
pub mod roll;
pub mod strategy;
pub mod validated;

#[cfg(feature = "steps")]
pub mod applied;
#[cfg(feature = "steps")]
mod complete;
#[cfg(feature = "steps")]
pub mod condition;
#[cfg(feature = "steps")]
pub mod difference;
#[cfg(feature = "steps")]
pub mod invalid;
#[cfg(feature = "steps")]
pub mod managed;
#[cfg(feature = "steps")]
pub mod ownership;
#[cfg(feature = "steps")]
pub mod plan;
#[cfg(feature = "steps")]
pub mod round;
#[cfg(feature = "steps")]
pub mod status;
#[cfg(feature = "steps")]
pub mod validate;

#[cfg(feature = "runtime")]
pub mod runtime;

#[cfg(feature = "install")]
pub mod install;

#[cfg(feature = "steps")]
pub use managed::Managed;
pub use owner::{Owner, ResourceKind};
pub use registry::Registry;
pub use strategy::Strategy;
