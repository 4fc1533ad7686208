//! The real binary, run as people run it. What needs a cluster is proven by `pgop-e2e`.

mod harness;

mod configuration;
mod dry_run;
mod help;
mod unreachable;
mod usage;
