//! The assertions, one file a subject. They are about Kubernetes, never about pgop.
#![allow(clippy::panic, clippy::unwrap_used)] // they fail by panics; clippy's own exception only reaches #[test] functions

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
        errors::subject(),
        writes::subject(),
        lists::subject(),
        watches::subject(),
        patches::subject(),
        apply::subject(),
        deletion::subject(),
        crds::subject(),
        discovery::subject(),
        namespaces::subject(),
        access::subject(),
        workloads::subject(),
        jobs::subject(),
        services::subject(),
        pods::subject(),
        streams::subject(),
        storage::subject(),
    ])
}
