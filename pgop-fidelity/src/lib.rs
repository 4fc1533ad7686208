//! Assertions about the Kubernetes API: the same ones run against any real cluster and against the sandbox.
//!
//! This library is the language that the assertions in `tests/fidelity` are written in; it says nothing about pgop. In it,
//! a thing that isn't as Kubernetes promises is a panic with the request and the answer in its message.
//!
//! To run it: `KUBECONFIG=… cargo test -p pgop-fidelity --test fidelity -- --ignored [filter] [--test-threads n]`. Filters are parts of
//! names (`apply::`, `watches::a_watch_resumes`); without a cluster, `-- --list` lists them. The kubeconfig needs cluster-admin; the run makes
//! namespaces `fidelity-…` and definitions under `….example.com`, and deletes them. `FIDELITY_IMAGE` names the image of all containers
//! (`lab/postgres:15`): it has bash, coreutils, findutils and perl. Where versions differ: DIFFERENCES.md.
//!
//! ```text
//! Target  the cluster that KUBECONFIG names: raw requests, its minor version, one CRD shared by the run
//!   └─ Space   a namespace of one assertion: paths within it, patches, waits; deleted afterwards
//!        ├─ Reply   status, headers and body of an answer; `ok()`, `fails(409, "Conflict")`
//!        ├─ Watch   events of a watch, one at a time
//!        └─ pods    logs, exec and port-forward
//! Subject  assertions about one thing, some guarded by the server's version; `run` prints the table
//! ```
// A test language panics by design; clippy's own exception only reaches functions marked #[test].
#![allow(clippy::panic, clippy::unwrap_used, clippy::missing_panics_doc)]

mod objects;
mod pods;
mod reply;
mod space;
mod subject;
mod target;
mod watch;

pub use objects::{config_map, deployment, image, job, names, pod, service, stateful_set, uid, version, with};
pub use pods::Finished;
pub use reply::Reply;
pub use space::{Patch, Space};
pub use subject::{Subject, run};
pub use target::{Call, Target};
pub use watch::{Event, Next, Watch};
