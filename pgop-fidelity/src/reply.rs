//! The answer to one request.

use http::{HeaderMap, Response};
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::Value;
use std::fmt;

/// Status, headers and body of an answer.
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as text.
    pub text: String,
    /// The body as JSON; null when it isn't JSON.
    pub json: Value,
    what: String,
}

impl Reply {
    pub(crate) async fn read(what: String, response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let bytes = body
            .collect()
            .await
            .unwrap_or_else(|e| panic!("{what}: the answer broke off: {e}"))
            .to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Self {
            status: parts.status.as_u16(),
            headers: parts.headers,
            text,
            json,
            what,
        }
    }

    /// The body of a success (2xx).
    #[track_caller]
    pub fn ok(self) -> Value {
        self.check_success();
        self.json
    }

    #[track_caller]
    fn check_success(&self) {
        assert!((200..300).contains(&self.status), "expected success: {self:?}");
    }

    /// The body of an answer with exactly this status.
    #[track_caller]
    pub fn is(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        self.json
    }

    /// The Status object of a failure with this code and reason, after checking that it has the shape every failure has.
    /// <https://kubernetes.io/docs/reference/using-api/api-concepts/>, `Status` in <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/>
    #[track_caller]
    pub fn fails(self, code: u16, reason: &str) -> Value {
        assert_eq!(self.status, code, "{self:?}");
        let status = &self.json;
        assert_eq!(status["kind"], "Status", "{self:?}");
        assert_eq!(status["apiVersion"], "v1", "{self:?}");
        assert_eq!(status["status"], "Failure", "{self:?}");
        assert_eq!(status["reason"], reason, "{self:?}");
        assert_eq!(status["code"], code, "{self:?}");
        assert!(status["metadata"].is_object(), "{self:?}");
        assert!(status["message"].as_str().is_some_and(|m| !m.is_empty()), "{self:?}");
        self.json
    }

    /// As [`Reply::fails`], and the message contains each of these words.
    #[track_caller]
    pub fn fails_with(self, code: u16, reason: &str, words: &[&str]) -> Value {
        let status = self.fails(code, reason);
        let message = status["message"].as_str().unwrap_or_default();
        for word in words {
            assert!(message.contains(word), "the message has no {word:?}: {message}");
        }
        status
    }

    /// The text of a header, empty when it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut json = self.json.clone();
        if let Some(meta) = json.pointer_mut("/metadata").and_then(Value::as_object_mut) {
            meta.remove("managedFields"); // long, and seldom what went wrong
        }
        let text = if json.is_null() {
            self.text.clone()
        } else {
            json.to_string()
        };
        let short: String = text.chars().take(3000).collect();
        write!(f, "{} answered {}: {}", self.what, self.status, short.trim_end())
    }
}
