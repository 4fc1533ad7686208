//! Containers: what they are started with, their start, life and end.

mod action;
mod enter;
mod etc;
mod files;
mod identity;
mod life;
mod plan;
mod probes;
mod root;
mod run;
mod runtime;
mod start;
mod streams;

pub(crate) use enter::{Given, enter};
pub(crate) use identity::groups_not_given;
pub(crate) use life::{Life, StopOrder};
pub(crate) use run::Live;
pub(crate) use runtime::{Bubblewrap, Runtime};
#[cfg(test)]
pub(crate) use {
    action::{Action, Subject},
    plan::Plan,
    runtime::Running,
    start::{Place, StartError},
};
