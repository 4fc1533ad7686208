//! The assertions, one file a subject. They are about Kubernetes, never about pgop.
// They fail by panics (clippy's own exception only reaches #[test] functions), and a json!({..}) is given away where it is written.
#![allow(clippy::panic, clippy::unwrap_used, clippy::needless_pass_by_value)]

mod access;
mod apply;
mod crds;
mod deletion;
mod discovery;
mod errors;
mod jobs;
mod lists;
mod namespaces;
mod patches;
mod pods;
mod services;
mod storage;
mod streams;
mod watches;
mod workloads;
mod writes;

use std::process::ExitCode;

fn main() -> ExitCode {
    pgop_fidelity::run(vec![
        // Those that wait for the turn of a minute, or for a controller that the end of other assertions' namespaces keeps busy.
        jobs::subject(),
        namespaces::subject(),
        errors::subject(),
        writes::subject(),
        lists::subject(),
        watches::subject(),
        patches::subject(),
        apply::subject(),
        deletion::subject(),
        crds::subject(),
        discovery::subject(),
        access::subject(),
        workloads::subject(),
        services::subject(),
        pods::subject(),
        streams::subject(),
        storage::subject(),
    ])
}
