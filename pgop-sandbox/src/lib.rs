//! An embedded Kubernetes for one Linux machine: API server, controllers and a node in one process. For trying, developing and testing.
//! It knows nothing of what runs on it.
//!
//! ```no_run
//! # async fn tour() -> Result<(), Box<dyn std::error::Error>> {
//! use pgop_sandbox::{Options, Sandbox};
//!
//! let sandbox = Sandbox::start(Options::default()).await?;
//! println!("export KUBECONFIG={}", sandbox.kubeconfig().display());
//! let client: kube::Client = sandbox.client();
//! // … any controller, any kubectl …
//! sandbox.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! Pods are processes in [bubblewrap](https://github.com/containers/bubblewrap), in a network of their own; images are not pulled: a container
//! sees the machine's programs. `DESIGN.md` beside this crate tells how it is built.

mod credentials;
mod folder;
mod kubeconfig;
mod sandbox;
mod serve;

pub use credentials::CredentialsError;
pub use folder::{Folder, FolderError, RemoveError, clean, remove};
pub use sandbox::{NODE, Options, Sandbox, StartError};
