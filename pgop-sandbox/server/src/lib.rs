//! The API server of an embedded Kubernetes, as one tower service.
//!
//! ```text
//! request ─► serve: path, credentials, permission ─► Call
//!               ├─ read, watch          ◄───────────────┐
//!               ├─ write, patch, delete ─► strategy     │
//!               │      decode, default, kind's rules,   ▼
//!               │      validate, owners ─────────────► store ─► journal
//!               ├─ connect: logs, exec, port-forward ─► Kubelet
//!               └─ discovery, openapi, metrics
//! ```

#![allow(clippy::unnecessary_box_returns)] // an error is large, and rare: it is boxed from where it is made

mod access;
mod bootstrap;
mod call;
mod catalog;
mod connect;
mod delete;
mod discovery;
mod identity;
mod jsonpath;
mod local;
mod metrics;
mod openapi;
mod ownership;
mod patch;
mod placement;
mod rbac;
mod read;
mod request;
mod resource;
mod response;
mod review;
mod scale;
mod selector;
mod serve;
mod state;
mod status;
mod store;
mod strategy;
mod table;
mod token;
mod watch;
mod write;

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use pgop_sandbox_kubelet::Kubelet;
use thiserror::Error;

pub use crate::identity::Identity;
use crate::local::Local;
pub use crate::response::Body;
use crate::state::State;
pub use crate::store::JournalError;
use crate::store::Store;

/// Where objects are kept.
#[derive(Clone, Debug, Default)]
pub enum Storage {
    /// Until the server is dropped.
    #[default]
    Memory,
    /// In a folder, which only one server may have open.
    Folder(PathBuf),
}

/// How a server is to be.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Where objects are kept.
    pub storage: Storage,
    /// The bearer token of the administrator. None: nobody gets in by it.
    pub admin_token: Option<String>,
}

/// Why a server can't be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Its folder can't be used.
    #[error("the state can't be opened: {0}")]
    Journal(#[from] JournalError),
    /// The objects that every cluster has can't be made.
    #[error("the first objects can't be made: {0}")]
    Bootstrap(String),
}

/// The API server. Clones are the same server.
#[derive(Clone)]
pub struct Server {
    state: Arc<State>,
}

impl Server {
    /// Opens a server with what its storage holds.
    pub fn open(config: Config) -> Result<Self, OpenError> {
        let store = match &config.storage {
            Storage::Memory => Store::in_memory(),
            Storage::Folder(folder) => Store::in_folder(folder)?,
        };
        let key = token::signing_key(&store).map_err(|error| OpenError::Bootstrap(error.to_string()))?;
        let state = Arc::new(State::new(Arc::new(store), config, key));
        bootstrap::bootstrap(&state).map_err(|error| OpenError::Bootstrap(error.to_string()))?;
        Ok(Self { state })
    }

    /// Through whom containers are reached. Before it is set, logs and the like answer that the node is not there.
    pub fn set_kubelet(&self, kubelet: Arc<dyn Kubelet>) {
        *self.state.kubelet.write() = Some(kubelet);
    }

    /// A client of this server, in process, that may do anything.
    pub fn client(&self) -> kube::Client {
        kube::Client::new(Local(self.service(Some(Identity::admin()))), "default")
    }

    /// The server as a service: for an identity that the caller vouches for, or (`None`) for who the bearer token says.
    pub fn service(&self, identity: Option<Identity>) -> Service {
        Service {
            state: self.state.clone(),
            identity,
        }
    }
}

/// The server as a tower service over any body.
#[derive(Clone)]
pub struct Service {
    state: Arc<State>,
    identity: Option<Identity>,
}

impl<B> tower::Service<Request<B>> for Service
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (state, identity) = (self.state.clone(), self.identity.clone());
        Box::pin(async move { Ok(serve::serve(state, identity, request).await) })
    }
}
