//! Tasks that are never to end by themselves, and their names for when one does.

use std::collections::HashMap;

use tokio::task::{Id, JoinSet};

/// Tasks with names; all end when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    running: JoinSet<()>,
    names: HashMap<Id, String>,
}

impl Tasks {
    pub(crate) fn spawn(&mut self, name: impl Into<String>, task: impl Future<Output = ()> + Send + 'static) {
        let id = self.running.spawn(task).id();
        self.names.insert(id, name.into());
    }

    /// Waits until one has ended, and says which and how; `None` when there is none left.
    pub(crate) async fn ended(&mut self) -> Option<Ended> {
        let ended = self.running.join_next_with_id().await?;
        let (id, panic) = match ended {
            Ok((id, ())) => (id, None),
            Err(error) => (error.id(), Some(error.to_string())),
        };
        let name = self.names.remove(&id).unwrap_or_default();
        Some(Ended { name, panic })
    }
}

/// A task that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) name: String,
    /// What it said when it panicked.
    pub(crate) panic: Option<String>,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.panic {
            Some(panic) => write!(f, "{}: {panic}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_that_panics_is_named_with_what_it_said() {
        let mut tasks = Tasks::default();
        tasks.spawn("the quiet one", std::future::pending());
        tasks.spawn("the watch of Pod", async { panic!("no such index") });
        let ended = tasks.ended().await.unwrap().to_string();
        assert!(
            ended.starts_with("the watch of Pod: ") && ended.contains("no such index"),
            "{ended}"
        );
    }
}
