//! Numbered channels of a websocket: <https://kubernetes.io/blog/2024/08/20/websockets-transition/>.

use bytes::{Bytes, BytesMut};
use futures::{SinkExt as _, Stream, StreamExt as _};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::super::upgrade::{Channels, farewell};
use super::{Broken, Input, RESIZE, STDIN, Started, Told, attend, resize};

/// In version 5: the channel named in the next byte has ended.
const CLOSE: u8 = 255;

pub(super) async fn serve(websocket: Channels, started: Started) -> Result<(), Broken> {
    let (mut sink, stream) = websocket.split();
    let (sender, mut receiver) = mpsc::channel::<Told>(16);
    let writing = async move {
        while let Some((channel, bytes)) = receiver.recv().await {
            let mut frame = BytesMut::with_capacity(bytes.len() + 1);
            frame.extend_from_slice(&[channel]);
            frame.extend_from_slice(&bytes);
            sink.send(Message::Binary(frame.freeze())).await?;
        }
        sink.send(farewell()).await?;
        Ok(())
    };
    let (written, ()) = futures::future::join(writing, attend(started, inputs(stream), sender)).await;
    written
}

/// The frames of a websocket as inputs; the stream ends when the client goes.
fn inputs<E: Send>(
    frames: impl Stream<Item = Result<Message, E>> + Send + Unpin,
) -> impl Stream<Item = Input> + Send + Unpin {
    frames
        .take_while(|frame| futures::future::ready(matches!(frame, Ok(frame) if !frame.is_close())))
        .filter_map(|frame| futures::future::ready(frame.ok().and_then(|frame| input(&frame.into_data()))))
}

fn input(frame: &Bytes) -> Option<Input> {
    match *frame.first()? {
        STDIN => Some(Input::Stdin(frame.slice(1..))),
        CLOSE if frame.get(1) == Some(&STDIN) => Some(Input::StdinEnd),
        RESIZE => resize(&frame[1..]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Input, input};

    #[test]
    fn frames_are_read() {
        assert_eq!(
            input(&Bytes::from_static(b"\0hello")),
            Some(Input::Stdin(Bytes::from_static(b"hello")))
        );
        assert_eq!(input(&Bytes::from_static(b"\xff\0")), Some(Input::StdinEnd));
        assert_eq!(input(&Bytes::from_static(br#"{"Width":80}"#)), None);
        assert_eq!(
            input(&Bytes::from_static(b"\x04{\"Width\":80,\"Height\":24}")),
            Some(Input::Resize(80, 24))
        );
        for nothing in [
            &b""[..],
            b"\x04",
            b"\x04{}",
            b"\x01x",
            b"\xff",
            b"\x04{\"Width\":99999,\"Height\":1}",
        ] {
            assert_eq!(input(&Bytes::copy_from_slice(nothing)), None);
        }
    }
}
