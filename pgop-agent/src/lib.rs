//! The agent: process 1 of every server's container, and the command of every Job.
//!
//! Its core is a pure function: [`supervisor::decide()`] tells from what was seen what is to be done next. Everything else looks, acts or tells.

pub mod complaint;
pub mod control;
pub mod data;
pub mod lock;
pub mod supervisor;
pub mod volume;
