//! The agent: process 1 of every server's container, and the command of every Job.
//!
//! Its core is a pure function: [`supervisor::decide()`] tells from what was seen what is to be done next. Everything else looks, acts or tells.

pub mod complaint;
pub mod control;
pub mod data;
pub mod environment;
pub mod lock;
pub mod pod;
pub mod postgres;
pub mod server;
pub mod settings;
pub mod sql;
pub mod supervisor;
pub mod volume;
