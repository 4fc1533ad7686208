//! Taking over a connection as a websocket: <https://www.rfc-editor.org/rfc/rfc6455>.

use http::{HeaderValue, Response, StatusCode, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::call::Call;
use crate::response::{self, Body};
use crate::status::{ApiError, Result};

/// The end as clients want it: without a status, kubectl takes it for an accident.
pub(super) fn farewell() -> Message {
    Message::Close(Some(CloseFrame {
        code: CloseCode::Normal,
        reason: Utf8Bytes::from_static(""),
    }))
}

/// A connection that will be a websocket once the answer has been sent.
pub(super) struct Pending {
    upgrade: OnUpgrade,
}

impl Pending {
    /// What a request asks for, if the server speaks one of its protocols.
    pub(super) fn of(
        call: &Call,
        upgrade: Option<OnUpgrade>,
        spoken: &[&'static str],
    ) -> Result<(Self, Response<Body>)> {
        let header = |name| {
            call.headers
                .get(name)
                .and_then(|value: &HeaderValue| value.to_str().ok())
                .unwrap_or_default()
        };
        let asked = header(header::UPGRADE);
        if asked.to_ascii_lowercase().starts_with("spdy/") {
            return Err(ApiError::bad_request(
                "SPDY is not served here, only websockets: use a kubectl of version 1.31 or newer",
            ));
        }
        if !asked.eq_ignore_ascii_case("websocket") {
            return Err(ApiError::bad_request("Upgrade request required"));
        }
        let offered: Vec<&str> = header(header::SEC_WEBSOCKET_PROTOCOL)
            .split(',')
            .map(str::trim)
            .collect();
        let protocol = offered
            .iter()
            .find_map(|offered| spoken.iter().find(|spoken| *spoken == offered))
            .copied();
        let (Some(protocol), Some(upgrade)) = (protocol, upgrade) else {
            let why = format!("unable to upgrade: none of the protocols {offered:?} is served, only {spoken:?}");
            return Err(ApiError::bad_request(why));
        };
        let accept = derive_accept_key(header(header::SEC_WEBSOCKET_KEY).as_bytes());
        let mut response = response::text(StatusCode::SWITCHING_PROTOCOLS, "");
        let headers = response.headers_mut();
        headers.clear();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
        if let Ok(accept) = HeaderValue::from_str(&accept) {
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        }
        Ok((Self { upgrade }, response))
    }

    /// The websocket, when the answer has been sent.
    pub(super) async fn open(self) -> hyper::Result<WebSocketStream<TokioIo<Upgraded>>> {
        let upgraded = self.upgrade.await?;
        Ok(WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await)
    }
}
