//! Taking over a connection: as a websocket (<https://www.rfc-editor.org/rfc/rfc6455>) or for SPDY.

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::header::{self, HeaderName};
use http::{HeaderValue, Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use pgop_sandbox_kubelet::Duplex;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};
use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};

use crate::call::Call;
use crate::response::{self, Body};
use crate::status::{ApiError, Result};

const SPDY: &str = "SPDY/3.1";
/// Which protocols a client speaks over SPDY, and which one is chosen.
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// What can be spoken on a subresource: names of protocols.
pub(super) struct Spoken {
    /// Numbered channels of a websocket.
    pub(super) channels: &'static [&'static str],
    /// SPDY inside of a websocket.
    pub(super) tunnels: &'static [&'static str],
    /// Streams of SPDY.
    pub(super) streams: &'static [&'static str],
}

/// A websocket whose messages are of numbered channels.
pub(super) type Channels = WebSocketStream<TokioIo<Upgraded>>;

/// A connection that has been taken over.
pub(super) enum Opened {
    Channels(Box<Channels>),
    /// The bytes of SPDY.
    Streams(Box<dyn Duplex>),
}

/// The end as clients want it: without a status, kubectl takes it for an accident.
pub(super) fn farewell() -> Message {
    Message::Close(Some(CloseFrame {
        code: CloseCode::Normal,
        reason: Utf8Bytes::from_static(""),
    }))
}

/// A connection that will be taken over once the answer has been sent.
pub(super) struct Pending {
    upgrade: OnUpgrade,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Channels,
    Tunnel,
    Streams,
}

impl Pending {
    /// What a request asks for, if the server speaks one of its protocols.
    pub(super) fn of(call: &Call, upgrade: Option<OnUpgrade>, spoken: &Spoken) -> Result<(Self, Response<Body>)> {
        let asked = call.headers.get(header::UPGRADE).and_then(|asked| asked.to_str().ok());
        let (form, answer) = match asked.unwrap_or_default() {
            asked if asked.eq_ignore_ascii_case("websocket") => websocket(call, spoken)?,
            asked if asked.eq_ignore_ascii_case(SPDY) => spdy(call, spoken)?,
            _ => return Err(ApiError::bad_request("Upgrade request required")),
        };
        let upgrade =
            upgrade.ok_or_else(|| ApiError::bad_request("unable to upgrade: the connection can't be taken over"))?;
        Ok((Self { upgrade, form }, answer))
    }

    /// Whether channels of a websocket are spoken, not streams.
    pub(super) fn has_channels(&self) -> bool {
        self.form == Form::Channels
    }

    /// The connection, when the answer has been sent.
    pub(super) async fn open(self) -> hyper::Result<Opened> {
        let upgraded = TokioIo::new(self.upgrade.await?);
        let websocket = async |upgraded| WebSocketStream::from_raw_socket(upgraded, Role::Server, None).await;
        Ok(match self.form {
            Form::Channels => Opened::Channels(Box::new(websocket(upgraded).await)),
            Form::Tunnel => Opened::Streams(Box::new(tunnel(websocket(upgraded).await))),
            Form::Streams => Opened::Streams(Box::new(upgraded)),
        })
    }
}

fn websocket(call: &Call, spoken: &Spoken) -> Result<(Form, Response<Body>)> {
    let offered = offered(call, &header::SEC_WEBSOCKET_PROTOCOL);
    let (form, protocol) = match (choose(&offered, spoken.channels), choose(&offered, spoken.tunnels)) {
        (Some(protocol), _) => (Form::Channels, protocol),
        (None, Some(protocol)) => (Form::Tunnel, protocol),
        (None, None) => {
            let served = [spoken.channels, spoken.tunnels].concat();
            return Err(ApiError::bad_request(not_spoken(&offered, &served)));
        }
    };
    let key = call.headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
    let accept = derive_accept_key(key.unwrap_or_default());
    let mut answer = switch("websocket", &header::SEC_WEBSOCKET_PROTOCOL, protocol);
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        answer.headers_mut().insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    Ok((form, answer))
}

fn spdy(call: &Call, spoken: &Spoken) -> Result<(Form, Response<Body>)> {
    let offered = offered(call, &STREAM_PROTOCOL);
    match choose(&offered, spoken.streams) {
        Some(protocol) => Ok((Form::Streams, switch(SPDY, &STREAM_PROTOCOL, protocol))),
        None => Err(ApiError::forbidden_path(&not_spoken(&offered, spoken.streams))),
    }
}

fn offered<'a>(call: &'a Call, name: &HeaderName) -> Vec<&'a str> {
    let values = call
        .headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).collect()
}

/// The first that the client would like and the server speaks.
fn choose(offered: &[&str], spoken: &[&'static str]) -> Option<&'static str> {
    let find = |offered: &&str| spoken.iter().find(|spoken| *spoken == offered).copied();
    offered.iter().find_map(find)
}

fn not_spoken(offered: &[&str], served: &[&str]) -> String {
    format!("unable to upgrade: unable to negotiate protocol: client supports {offered:?}, server accepts {served:?}")
}

fn switch(to: &'static str, chosen: &HeaderName, protocol: &'static str) -> Response<Body> {
    let mut answer = response::text(StatusCode::SWITCHING_PROTOCOLS, "");
    let headers = answer.headers_mut();
    headers.clear();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static(to));
    headers.insert(chosen, HeaderValue::from_static(protocol));
    answer
}

/// The bytes in the messages of a websocket, without regard to where one ends.
fn tunnel(websocket: Channels) -> impl Duplex {
    let (sink, stream) = websocket.split();
    let broken = |error: tungstenite::Error| std::io::Error::other(error);
    let bytes = stream.filter_map(move |message| {
        futures::future::ready(match message {
            Ok(Message::Binary(bytes)) => Some(Ok(bytes)),
            Ok(_) => None,
            Err(error) => Some(Err(broken(error))),
        })
    });
    let sink = sink
        .sink_map_err(broken)
        .with(|bytes: Bytes| futures::future::ready(std::io::Result::Ok(Message::Binary(bytes))));
    tokio::io::join(StreamReader::new(bytes), SinkWriter::new(CopyToBytes::new(sink)))
}

#[cfg(test)]
mod tests {
    use super::choose;

    #[test]
    fn the_clients_first_choice_counts() {
        let spoken = &["v5.channel.k8s.io", "v4.channel.k8s.io"];
        assert_eq!(
            choose(&["v4.channel.k8s.io", "v5.channel.k8s.io"], spoken),
            Some("v4.channel.k8s.io")
        );
        assert_eq!(choose(&["v6.channel.k8s.io"], spoken), None);
        assert_eq!(choose(&[], spoken), None);
    }
}
