//! The assertions, one file a subject. They are about Kubernetes, never about pgop.
#![allow(clippy::panic, clippy::unwrap_used)] // they fail by panics; clippy's own exception only reaches #[test] functions

mod apply;
mod crds;
mod deletion;
mod errors;
mod lists;
mod patches;
mod watches;
mod writes;

use std::process::ExitCode;

fn main() -> ExitCode {
    pgop_fidelity::run(vec![
        errors::subject(),
        writes::subject(),
        lists::subject(),
        watches::subject(),
        patches::subject(),
        apply::subject(),
        deletion::subject(),
        crds::subject(),
    ])
}
