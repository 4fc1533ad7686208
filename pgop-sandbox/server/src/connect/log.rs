//! Logs of a container, as a stream of text.

use futures::StreamExt as _;
use http::{Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use pgop_sandbox_kubelet::LogOptions;
use pgop_sandbox_schema::Cause;
use serde_json::json;

use super::{is_assigned, kubelet, refused, target};
use crate::call::Call;
use crate::request::Query;
use crate::response::{self, Body, streamed};
use crate::status::{ApiError, Result};

pub(super) async fn log(call: &Call) -> Result<Response<Body>> {
    let options = options(&call.query, &call.path.name)?;
    let pod = call.stored()?;
    let target = target(call, pod.value())?;
    if !is_assigned(pod.value()) {
        // It has said nothing yet. That is no error.
        return Ok(response::text(StatusCode::NO_CONTENT, ""));
    }
    let logs = kubelet(call)?
        .logs(&target, options)
        .await
        .map_err(|error| refused(&error))?;
    Ok(streamed("text/plain", logs.boxed()))
}

/// What is asked for: <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#read-read-log-of-the-specified-pod>.
fn options(query: &Query, pod: &str) -> Result<LogOptions> {
    let (tail, limit): (Option<i64>, Option<i64>) = (query.number("tailLines")?, query.number("limitBytes")?);
    let (seconds, time): (Option<i64>, _) = (query.number("sinceSeconds")?, since_time(query)?);
    let mut wrong = Vec::new();
    if let Some(lines) = tail.filter(|&lines| lines < 0) {
        let why = "must be greater than or equal to 0";
        wrong.push(Cause::invalid("tailLines", &json!(lines), why));
    }
    let positive = "must be greater than 0";
    if let Some(bytes) = limit.filter(|&bytes| bytes < 1) {
        wrong.push(Cause::invalid("limitBytes", &json!(bytes), positive));
    }
    if seconds.is_some() && time.is_some() {
        let why = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        wrong.push(Cause::forbidden("", why));
    } else if let Some(seconds) = seconds.filter(|&seconds| seconds < 1) {
        wrong.push(Cause::invalid("sinceSeconds", &json!(seconds), positive));
    }
    if !wrong.is_empty() {
        return Err(ApiError::invalid_kind("", "PodLogOptions", pod, &wrong));
    }
    let ago = |seconds| pgop_sandbox_tasks::now().saturating_sub(SignedDuration::from_secs(seconds));
    Ok(LogOptions {
        follow: query.flag("follow"),
        tail_lines: tail.and_then(|lines| u64::try_from(lines).ok()),
        since: time.or_else(|| seconds.map(|seconds| ago(seconds).unwrap_or(Timestamp::MIN))),
        timestamps: query.flag("timestamps"),
        limit_bytes: limit.and_then(|bytes| u64::try_from(bytes).ok()),
        previous: query.flag("previous"),
    })
}

fn since_time(query: &Query) -> Result<Option<Timestamp>> {
    let parse = |text: &str| {
        text.parse()
            .map_err(|_| ApiError::bad_request(format!("invalid sinceTime {text:?}: it must be a time of RFC 3339")))
    };
    query.get("sinceTime").map(parse).transpose()
}

#[cfg(test)]
mod tests {
    use super::options;
    use crate::request::Query;

    fn told(query: &str) -> (u16, String) {
        let error = options(&Query::parse(Some(query)), "a").unwrap_err();
        (error.code.as_u16(), error.to_string())
    }

    #[test]
    fn options_are_checked_together() {
        assert_eq!(
            told("tailLines=-1&limitBytes=0"),
            (
                422,
                "PodLogOptions \"a\" is invalid: [tailLines: Invalid value: -1: must be greater than or equal to 0, \
                 limitBytes: Invalid value: 0: must be greater than 0]"
                    .into()
            )
        );
        assert!(
            told("sinceSeconds=0")
                .1
                .contains("sinceSeconds: Invalid value: 0: must be greater than 0")
        );
        assert!(
            told("sinceSeconds=1&sinceTime=2026-11-23T00:00:00Z")
                .1
                .contains("at most one of")
        );
        for unreadable in ["sinceTime=yesterday", "tailLines=x", "limitBytes=99999999999999999999"] {
            assert_eq!(told(unreadable).0, 400, "{unreadable}");
        }
    }

    #[test]
    fn options_are_understood() {
        let query = "follow=true&previous&timestamps=1&tailLines=0&limitBytes=5&sinceTime=2026-11-23T00:00:00Z";
        let options = options(&Query::parse(Some(query)), "a").unwrap();
        assert!(options.follow && options.previous && options.timestamps);
        assert_eq!((options.tail_lines, options.limit_bytes), (Some(0), Some(5)));
        assert_eq!(options.since, Some("2026-11-23T00:00:00Z".parse().unwrap()));
    }
}
