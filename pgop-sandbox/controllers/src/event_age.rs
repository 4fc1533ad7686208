//! Events are kept for an hour after they were last seen, as API servers keep them: a cluster that lives must not fill up with them.

use std::time::Duration;

use futures::{FutureExt, future::BoxFuture};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Event;
use kube::{Api, ResourceExt, api::ListParams};
use tokio::time::sleep;

use crate::{
    context::Context,
    verbs::{self, VerbError},
};

const KEPT: SignedDuration = SignedDuration::from_hours(1);
const LOOK: Duration = Duration::from_secs(5 * 60);
const PAGE: u32 = 500;

/// Removes old events until stopped.
pub(crate) fn run(context: &Context) -> BoxFuture<'static, ()> {
    let context = context.clone();
    async move {
        let stop = context.stop.clone();
        let looking = async {
            loop {
                sleep(LOOK).await;
                if let Err(error) = remove_old(&context).await {
                    tracing::debug!(error = error.message(), "old events were not removed, trying again");
                }
            }
        };
        stop.run_until_cancelled(looking).await;
    }
    .boxed()
}

async fn remove_old(context: &Context) -> Result<(), VerbError> {
    let all: Api<Event> = Api::all(context.client.clone());
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let events = verbs::request("list", || "events".to_owned(), all.list(&page)).await?;
        let now = pgop_sandbox_tasks::now();
        for event in events.items.iter().filter(|event| is_old(event, now)) {
            let api: Api<Event> = context.namespaced(&event.namespace().unwrap_or_default());
            verbs::delete(&api, &event.metadata, None).await?;
        }
        match events.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(()),
        }
    }
}

/// Was it last seen long ago?
fn is_old(event: &Event, now: Timestamp) -> bool {
    let series = event
        .series
        .as_ref()
        .and_then(|series| series.last_observed_time.as_ref());
    let seen = [
        event.last_timestamp.as_ref().map(|time| time.0),
        event.event_time.as_ref().map(|time| time.0),
        series.map(|time| time.0),
        event.metadata.creation_timestamp.as_ref().map(|time| time.0),
    ];
    let last = seen.into_iter().flatten().max();
    last.is_some_and(|last| now.duration_since(last) > KEPT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_is_old_an_hour_after_it_was_last_seen() {
        let now: Timestamp = "2026-11-29T12:00:00Z".parse().unwrap();
        let is_old = |times: serde_json::Value| {
            let mut event =
                json!({ "metadata": { "creationTimestamp": "2026-11-29T08:00:00Z" }, "involvedObject": {} });
            event
                .as_object_mut()
                .unwrap()
                .extend(times.as_object().unwrap().clone());
            is_old(&serde_json::from_value(event).unwrap(), now)
        };
        assert!(is_old(json!({})));
        assert!(is_old(json!({ "lastTimestamp": "2026-11-29T10:59:00Z" })));
        assert!(!is_old(json!({ "lastTimestamp": "2026-11-29T11:01:00Z" })));
        assert!(!is_old(json!({ "eventTime": "2026-11-29T11:30:00.000000Z" })));
        assert!(!is_old(
            json!({ "series": { "count": 2, "lastObservedTime": "2026-11-29T11:30:00.000000Z" } })
        ));
    }
}
