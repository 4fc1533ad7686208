//! What has to hold at any time, one thing a file.

pub(crate) mod acknowledged;
pub(crate) mod events;
pub(crate) mod growth;
pub(crate) mod logs;
pub(crate) mod pods;
