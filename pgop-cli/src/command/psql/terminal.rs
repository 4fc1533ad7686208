//! The person's terminal, while a program in a pod has it.

use std::io;

use crossterm::terminal;
use futures::SinkExt;
use futures::channel::mpsc::Sender;
use kube::api::TerminalSize;

/// Raw mode, given back when it is dropped.
#[derive(Debug)]
pub struct Raw(());

impl Raw {
    /// Keys are passed on as they are pressed, Ctrl-C too.
    pub fn enter() -> io::Result<Self> {
        terminal::enable_raw_mode()?;
        Ok(Self(()))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = terminal::disable_raw_mode();
    }
}

fn size() -> Option<TerminalSize> {
    terminal::size()
        .ok()
        .map(|(width, height)| TerminalSize { width, height })
}

/// Tells the program the size of the window, now and whenever it changes.
pub async fn follow_size(mut sender: Sender<TerminalSize>) {
    if let Some(size) = size() {
        let _ = sender.send(size).await;
    }
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let Ok(mut changes) = signal(SignalKind::window_change()) else {
            return;
        };
        while changes.recv().await.is_some() {
            if let Some(size) = size()
                && sender.send(size).await.is_err()
            {
                return;
            }
        }
    }
    // The sender is kept, as its end would be taken for the end of the session's sizes.
    std::future::pending::<()>().await;
}
