//! A worker takes resources from the queue and reconciles them, one at a time.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use tracing::error;

use super::backoff::Key;
use super::queue::{Action, Queue};
use super::reconcile::{Context, on_error, reconcile};
use crate::crd::{PgBackup, PgCluster, PgDatabase};
use crate::managed::Managed;
use crate::owner::ResourceKind;

/// Works until the queue is closed. A panic is the failure of one resource, not of all.
pub(crate) async fn work(queue: Queue, context: Arc<Context>) {
    while let Some(key) = queue.take().await {
        let one = match key.0 {
            ResourceKind::PgDatabase => look::<PgDatabase>(&key, &context).boxed(),
            ResourceKind::PgCluster => look::<PgCluster>(&key, &context).boxed(),
            ResourceKind::PgBackup => look::<PgBackup>(&key, &context).boxed(),
        };
        let action = match AssertUnwindSafe(one).catch_unwind().await {
            Ok(action) => action,
            Err(panic) => panicked(&key, panic.as_ref(), &context),
        };
        queue.done(key, action);
    }
}

async fn look<R: Managed>(key: &Key, context: &Arc<Context>) -> Action {
    let (kind, namespace, name) = key;
    let Some(object) = context.caches.object(*kind, namespace, name).map(Arc::new) else {
        // Deleted since it was queued.
        context.metrics.taken(key);
        context.backoff.forget(key);
        return Action::await_change();
    };
    match reconcile::<R>(Arc::clone(&object), Arc::clone(context)).await {
        Ok(action) => action,
        Err(error) => on_error::<R>(&object, &error, context),
    }
}

fn panicked(key: &Key, panic: &(dyn Any + Send), context: &Context) -> Action {
    let text = panic.downcast_ref::<&str>().copied();
    let said = text
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    let (kind, namespace, name) = (key.0.as_str(), &key.1, &key.2);
    let delay = context.backoff.failed(key);
    context.metrics.failed(key.0, "Panicked");
    error!(kind, namespace, name, again_in = ?delay, "the reconcile panicked, which is a fault of pgop or of the strategy: {said}");
    Action::requeue(delay)
}
