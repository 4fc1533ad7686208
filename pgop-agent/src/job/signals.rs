//! The signals that ask a container to end.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// They are heard from when this is made.
pub struct Signals([Signal; 2]);

impl Signals {
    /// Listens.
    pub fn new() -> io::Result<Self> {
        Ok(Self([
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        ]))
    }

    /// Until one comes. May be given up and called again: none is lost.
    pub async fn stop(&mut self) {
        let [terminate, interrupt] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("asked to stop");
    }
}
