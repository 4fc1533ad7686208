//! Pods: one worker each, from the first look at it until its object is gone.

pub(crate) mod backoff;
pub(crate) mod downward;
pub(crate) mod env;
pub(crate) mod expand;
pub(crate) mod probe;
pub(crate) mod report;
pub(crate) mod state;
pub(crate) mod status;
pub(crate) mod worker;
mod writer;
