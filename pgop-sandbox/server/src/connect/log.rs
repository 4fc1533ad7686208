//! Logs of a container, as a stream of text.

use futures::StreamExt as _;
use http::Response;
use jiff::{SignedDuration, Timestamp};
use pgop_sandbox_kubelet::LogOptions;

use super::{kubelet, pod, refused, target};
use crate::call::Call;
use crate::response::{Body, streamed};
use crate::status::{ApiError, Result};

pub(super) async fn log(call: &Call) -> Result<Response<Body>> {
    let pod = pod(call)?;
    let target = target(call, &pod)?;
    let logs = kubelet(call)?
        .logs(&target, options(call)?)
        .await
        .map_err(|error| refused(&error))?;
    Ok(streamed("text/plain", logs.boxed()))
}

fn options(call: &Call) -> Result<LogOptions> {
    let query = &call.query;
    let since = match (query.number::<i64>("sinceSeconds")?, query.get("sinceTime")) {
        (Some(_), Some(_)) => {
            return Err(ApiError::bad_request(
                "at most one of `sinceTime` or `sinceSeconds` may be specified",
            ));
        }
        (Some(seconds), None) if seconds < 1 => {
            return Err(ApiError::bad_request(
                "sinceSeconds: Invalid value: must be greater than 0",
            ));
        }
        (Some(seconds), None) => Some(
            Timestamp::now()
                .saturating_sub(SignedDuration::from_secs(seconds))
                .unwrap_or(Timestamp::MIN),
        ),
        (None, Some(time)) => Some(
            time.parse()
                .map_err(|_| ApiError::bad_request(format!("sinceTime: Invalid value: {time:?}")))?,
        ),
        (None, None) => None,
    };
    let tail: Option<i64> = query.number("tailLines")?;
    let limit: Option<i64> = query.number("limitBytes")?;
    if tail.is_some_and(|lines| lines < 0) {
        return Err(ApiError::bad_request(
            "tailLines: Invalid value: must be greater than or equal to 0",
        ));
    }
    if limit.is_some_and(|bytes| bytes < 1) {
        return Err(ApiError::bad_request(
            "limitBytes: Invalid value: must be greater than 0",
        ));
    }
    Ok(LogOptions {
        follow: query.flag("follow"),
        tail_lines: tail.and_then(|lines| u64::try_from(lines).ok()),
        since,
        timestamps: query.flag("timestamps"),
        limit_bytes: limit.and_then(|bytes| u64::try_from(bytes).ok()),
        previous: query.flag("previous"),
    })
}
