//! The node as [`Kubelet`]: logs, exec, attach and connections into pods.

mod attach;
mod connect;
mod exec;
mod logs;
pub(crate) mod terminal;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use pgop_sandbox_kubelet::{Duplex, Kubelet, KubeletError, LogOptions, Session, Streams, Target};

use crate::Node;
use crate::container::Live;
use crate::pod::state::State;
use crate::pod::worker::PodRun;

#[async_trait]
impl Kubelet for Node {
    async fn logs(
        &self,
        target: &Target,
        options: LogOptions,
    ) -> Result<BoxStream<'static, std::io::Result<Bytes>>, KubeletError> {
        logs::logs(&*self.pods.find(target)?, target, options).await
    }

    async fn exec(&self, target: &Target, command: Vec<String>, streams: Streams) -> Result<Session, KubeletError> {
        let live = running(&*self.pods.find(target)?, target)?;
        exec::exec(&live, command, &streams).await
    }

    async fn attach(&self, target: &Target, streams: Streams) -> Result<Session, KubeletError> {
        let run = self.pods.find(target)?;
        attach::attach(&run, &running(&run, target)?, target, &streams)
    }

    async fn connect(&self, target: &Target, port: u16) -> Result<Box<dyn Duplex>, KubeletError> {
        connect::connect(&self.network, &*self.pods.find(target)?, target, port).await
    }

    async fn dial(&self, address: SocketAddr) -> io::Result<Box<dyn Duplex>> {
        Ok(Box::new(self.network.connect(address).await?))
    }
}

/// The container, if it runs.
fn running(run: &PodRun, target: &Target) -> Result<Arc<Live>, KubeletError> {
    run.live(&target.container).ok_or_else(|| not_running(run, target))
}

fn not_running(run: &PodRun, target: &Target) -> KubeletError {
    let state = run.watch();
    let state = state.borrow();
    let why = match state
        .containers
        .iter()
        .find(|c| c.name == target.container)
        .map(|c| &c.state)
    {
        None => "the pod has no such container".to_owned(),
        Some(State::Waiting { reason, .. }) => (*reason).to_owned(),
        Some(State::Terminated(ended)) => format!("it ended with code {}", ended.code),
        Some(State::Running { .. }) => "it is just starting".to_owned(),
    };
    KubeletError::NotRunning {
        container: target.container.clone(),
        pod: target.pod.clone(),
        why,
    }
}
