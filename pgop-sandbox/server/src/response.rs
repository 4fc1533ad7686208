//! Writing answers.

use std::convert::Infallible;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use http::{HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use serde_json::Value;

use crate::request::{Accept, Query};
use crate::status::ApiError;

/// The body of an answer: whole, or a stream (watch, logs).
pub type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// How an answer is to be written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Style {
    pub(crate) yaml: bool,
    pub(crate) pretty: bool,
}

impl Style {
    pub(crate) fn of(accept: Accept, query: &Query) -> Self {
        Self {
            yaml: accept.yaml,
            pretty: query.flag("pretty"),
        }
    }
}

pub(crate) fn whole(code: StatusCode, media: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(body.into())
        .map_err(|never: Infallible| match never {})
        .boxed_unsync();
    respond(code, media, body)
}

pub(crate) fn streamed(
    media: &'static str,
    stream: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
) -> Response<Body> {
    respond(
        StatusCode::OK,
        media,
        StreamBody::new(stream.map(|piece| piece.map(Frame::data))).boxed_unsync(),
    )
}

fn respond(code: StatusCode, media: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// A JSON text that is there already.
pub(crate) fn json_text(code: StatusCode, text: Bytes, style: Style) -> Response<Body> {
    if style.yaml || style.pretty {
        return match serde_json::from_slice::<Value>(&text) {
            Ok(value) => json(code, &value, style),
            Err(error) => self::error(&ApiError::internal(&error)),
        };
    }
    whole(code, "application/json", text)
}

pub(crate) fn json(code: StatusCode, value: &Value, style: Style) -> Response<Body> {
    if style.yaml {
        return match serde_saphyr::to_string(value) {
            Ok(text) => whole(code, "application/yaml", text),
            Err(error) => self::error(&ApiError::internal(&error)),
        };
    }
    let text = if style.pretty {
        format!("{value:#}\n")
    } else {
        value.to_string()
    };
    whole(code, "application/json", text)
}

pub(crate) fn text(code: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    whole(code, "text/plain; charset=utf-8", text)
}

pub(crate) fn error(error: &ApiError) -> Response<Body> {
    let mut response = json(error.code, &error.status(), Style::default());
    if let Some(seconds) = error.status()["details"]["retryAfterSeconds"].as_u64() {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Adds the warnings that kubectl prints.
pub(crate) fn warn(response: &mut Response<Body>, warnings: &[String]) {
    for warning in warnings {
        let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}
