//! What of the machine a pod needs. The pod's own logic knows no more of it, so that it is tested without processes, in virtual time.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::sleep;

use super::action::{Action, Subject};
use super::plan::Plan;
use super::run::{Live, Run};
use super::start::{Place, StartError};
use crate::holder::Holder;
use crate::logs::Feed;
use crate::network::{Network, NetworkError, PodNetwork};

/// Makes networks and runs containers.
#[async_trait]
pub(crate) trait Runtime: Send + Sync {
    /// Makes a place in the network for a pod.
    async fn attach(&self) -> Result<PodNetwork, NetworkError>;

    /// Starts a container, with its outputs in `feed`. Returns when its program runs (or has ended already).
    async fn start(&self, place: &Place<'_>, plan: Plan, feed: Arc<Feed>) -> Result<Box<dyn Running>, StartError>;

    /// Does what a probe or a hook is for, within that time. The error is what the event says.
    async fn act(&self, subject: &Subject<'_>, action: &Action, patience: Duration) -> Result<(), String>;

    /// Ends whatever still runs in a pod's network. Returns when nothing does.
    async fn clear(&self, network: &PodNetwork);
}

/// A container that was started. Dropping it ends it.
#[async_trait]
pub(crate) trait Running: Send {
    /// What others need to reach into it.
    fn live(&self) -> &Arc<Live>;

    /// Sends a signal to its first process.
    fn signal(&self, number: i32);

    /// Waits for its end. Its exit code; the log is complete then.
    async fn wait(&mut self) -> i32;
}

/// Containers in bubblewrap, below the holder.
pub(crate) struct Bubblewrap {
    pub(crate) holder: Arc<Holder>,
    pub(crate) network: Arc<Network>,
    /// The program.
    pub(crate) program: PathBuf,
}

#[async_trait]
impl Runtime for Bubblewrap {
    async fn attach(&self) -> Result<PodNetwork, NetworkError> {
        self.network.attach().await
    }

    async fn start(&self, place: &Place<'_>, plan: Plan, feed: Arc<Feed>) -> Result<Box<dyn Running>, StartError> {
        Ok(Box::new(place.start(self, plan, feed).await?))
    }

    async fn act(&self, subject: &Subject<'_>, action: &Action, patience: Duration) -> Result<(), String> {
        subject.act(&self.network, action, patience).await
    }

    async fn clear(&self, network: &PodNetwork) {
        let Ok(own) = fs::read_link(format!("/proc/self/fd/{}", network.number())) else {
            return;
        };
        loop {
            let all = fs::read_dir("/proc").into_iter().flatten().flatten();
            let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
            let inside: Vec<i32> = pids
                .filter(|pid| fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|net| net == own))
                .collect();
            if inside.is_empty() {
                return;
            }
            for pid in inside {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            sleep(Duration::from_millis(5)).await; // they are children of others: their end can only be looked for
        }
    }
}

#[async_trait]
impl Running for Run {
    fn live(&self) -> &Arc<Live> {
        &self.live
    }

    fn signal(&self, number: i32) {
        self.live.signal(number);
    }

    async fn wait(&mut self) -> i32 {
        self.ended().await
    }
}
