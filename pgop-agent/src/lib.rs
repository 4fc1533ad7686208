//! The agent: process 1 of every server's container, and the command of every Job.
//!
//! Its core is a pure function: [`supervisor::decide()`] tells from what was seen what is to be done next. Everything else looks, acts or tells.

pub mod backup;
pub mod browse;
pub mod check;
pub mod command;
pub mod complaint;
pub mod conninfo;
pub mod control;
pub mod data;
pub mod environment;
pub mod http;
pub mod install;
pub mod job;
pub mod lock;
pub mod memory;
pub mod metrics;
pub mod peer;
pub mod pod;
pub mod postgres;
pub mod psql;
pub mod resolve;
pub mod restore;
pub mod secret;
pub mod server;
pub mod settings;
pub mod snapshot;
pub mod source;
pub mod sql;
pub mod status;
pub mod stop;
pub mod supervisor;
pub mod volume;
