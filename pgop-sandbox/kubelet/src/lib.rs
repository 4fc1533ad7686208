//! What an API server asks of the node that runs a pod: logs, exec, attach, port-forward and proxying.
//!
//! The server holds a `dyn Kubelet`; the node implements it. Neither knows the other.

use std::net::SocketAddr;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};

/// The minor version of Kubernetes that server and node announce: that of the built-in types' fields.
pub const MINOR: &str = "37";
/// The same as a whole version.
pub const VERSION: &str = "v1.37.0-sandbox";

/// One container of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Uid of the pod: a later pod of the same name is another one.
    pub uid: String,
    /// Name of the container, init containers included.
    pub container: String,
}

/// Which part of a log, as in <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#read-read-log-of-the-specified-pod>.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Go on with what is written from now on, until the container ends.
    pub follow: bool,
    /// Only that many lines from the end.
    pub tail_lines: Option<u64>,
    /// Only lines written since.
    pub since: Option<jiff::Timestamp>,
    /// Each line begins with its time, RFC 3339 with nanoseconds, and a space.
    pub timestamps: bool,
    /// Stop after that many bytes.
    pub limit_bytes: Option<u64>,
    /// Of the container's last run before this one.
    pub previous: bool,
}

/// A command to run in a container, or (`attach`) how to hold on to the one that runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // four switches of the API, each on its own
pub struct Streams {
    /// Something will be written to its input.
    pub stdin: bool,
    /// Its output is wanted.
    pub stdout: bool,
    /// Its errors are wanted; with a terminal they come with the output.
    pub stderr: bool,
    /// It gets a terminal.
    pub tty: bool,
}

/// A stream to read from.
pub type Reader = Box<dyn AsyncRead + Send + Unpin>;
/// A stream to write to. Shutting it down is the end of the input.
pub type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// Both ways: a connection to a port of a pod.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A process whose streams are held. Dropping it ends the process of an `exec`.
pub struct Session {
    /// Its input, where one was asked for.
    pub stdin: Option<Writer>,
    /// Its output, where it was asked for.
    pub stdout: Option<Reader>,
    /// Its errors, where they were asked for and there is no terminal.
    pub stderr: Option<Reader>,
    /// New sizes of its terminal: columns and rows.
    pub resize: Option<mpsc::Sender<(u16, u16)>>,
    /// Its exit code, when it ended; 128 and the signal's number when a signal ended it.
    pub exit: oneshot::Receiver<i32>,
}

/// Why the node can't do it.
#[derive(Debug, Error)]
pub enum KubeletError {
    /// The pod or container is not on the node, or has not started.
    #[error("container {container} in pod {pod} is not running: {why}")]
    NotRunning {
        /// The container.
        container: String,
        /// The pod.
        pod: String,
        /// In what state it is.
        why: String,
    },
    /// There is no log of that run.
    #[error("previous terminated container {container} in pod {pod} not found")]
    NoPreviousRun {
        /// The container.
        container: String,
        /// The pod.
        pod: String,
    },
    /// The process could not be started: no such program, or no right to run it.
    #[error("could not run {command}: {source}")]
    Start {
        /// Its first word.
        command: String,
        /// Why.
        source: std::io::Error,
    },
    /// Nobody listens on that port.
    #[error("could not connect to port {port} of pod {pod}: {source}")]
    Connect {
        /// The port.
        port: u16,
        /// The pod.
        pod: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file or stream of the container could not be opened.
    #[error("could not open {what}: {source}")]
    Open {
        /// What.
        what: String,
        /// Why.
        source: std::io::Error,
    },
}

/// The node's side.
#[async_trait]
pub trait Kubelet: Send + Sync + 'static {
    /// The log of a container, in pieces as they come.
    async fn logs(
        &self,
        target: &Target,
        options: LogOptions,
    ) -> Result<BoxStream<'static, std::io::Result<Bytes>>, KubeletError>;

    /// Runs a command in a container.
    async fn exec(&self, target: &Target, command: Vec<String>, streams: Streams) -> Result<Session, KubeletError>;

    /// The streams of a container's own process.
    async fn attach(&self, target: &Target, streams: Streams) -> Result<Session, KubeletError>;

    /// A connection to a port on the loopback of a pod.
    async fn connect(&self, target: &Target, port: u16) -> Result<Box<dyn Duplex>, KubeletError>;

    /// A connection to an address of the pod network, as another pod would make it.
    async fn dial(&self, address: SocketAddr) -> std::io::Result<Box<dyn Duplex>>;
}
