//! The server's side of a connection: it takes streams and carries their bytes both ways.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::codec::Framed;

use crate::{Codec, CodecError, Frame, Headers, ResetStatus, StreamId};

/// Frames that wait on one stream, or to be sent.
const WAITING: usize = 16;
/// Streams that are open at a time. A port-forward has two for each connection.
const STREAMS: usize = 1000;
/// How long the client has to go once all is said. It must have read all of it: clients of old drop what waits when the connection ends.
const FAREWELL: Duration = Duration::from_secs(5);

/// A connection that takes streams.
///
/// The connection is ended in order once this and all streams are dropped.
#[derive(Debug)]
pub struct Connection {
    incoming: mpsc::Receiver<Stream>,
    _frames: mpsc::Sender<Frame>,
}

impl Connection {
    /// The next stream that the client opens. None: it has gone.
    pub async fn accept(&mut self) -> Option<Stream> {
        self.incoming.recv().await
    }
}

/// A stream that the client has opened.
#[derive(Debug)]
pub struct Stream {
    /// What it is for.
    pub headers: Headers,
    /// What the client says on it.
    pub input: Input,
    /// What the client is told on it.
    pub output: Output,
}

/// What the client says on a stream.
#[derive(Debug)]
pub struct Input(mpsc::Receiver<Bytes>);

impl Input {
    /// The next bytes. None: the client has said all, or has gone.
    pub async fn recv(&mut self) -> Option<Bytes> {
        self.0.recv().await
    }
}

/// The client takes nothing more on this stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the client has closed the stream")]
pub struct Gone;

/// What the client is told on a stream.
#[derive(Debug)]
pub struct Output {
    id: StreamId,
    frames: mpsc::Sender<Frame>,
    reset: Arc<AtomicBool>,
}

impl Output {
    /// Sends bytes. Waits while the client is slow.
    pub async fn send(&self, bytes: Bytes) -> Result<(), Gone> {
        self.data(bytes, false).await
    }

    /// Says that nothing more follows.
    pub async fn finish(self) -> Result<(), Gone> {
        self.data(Bytes::new(), true).await
    }

    async fn data(&self, bytes: Bytes, fin: bool) -> Result<(), Gone> {
        if self.reset.load(Ordering::Relaxed) {
            return Err(Gone);
        }
        let id = self.id;
        let sent = self.frames.send(Frame::Data { id, fin, bytes }).await;
        sent.map_err(|_| Gone)
    }
}

/// Serves a connection. The future carries it: it ends with an error when the client breaks the protocol, and otherwise when the client
/// has gone, or when the [`Connection`] and its streams have been dropped and all that they sent is on its way.
pub fn serve<T>(io: T) -> Result<(Connection, impl Future<Output = Result<(), CodecError>> + Send), CodecError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin,
{
    let (sink, source) = Framed::new(io, Codec::new()?).split();
    let (frames, to_send) = mpsc::channel(WAITING);
    let (accepted, incoming) = mpsc::channel(WAITING);
    let reader = Reader {
        frames: frames.downgrade(),
        accepted,
        streams: HashMap::new(),
        last: 0,
    };
    let carried = async move {
        let mut reading = std::pin::pin!(reader.read(source));
        let mut sink = tokio::select! {
            read = &mut reading => return read,
            written = write(to_send, sink) => written?,
        };
        let read = timeout(FAREWELL, reading).await.unwrap_or(Ok(()));
        let _ = sink.close().await;
        read
    };
    let connection = Connection {
        incoming,
        _frames: frames,
    };
    Ok((connection, carried))
}

type Sink<T> = SplitSink<Framed<T, Codec>, Frame>;

async fn write<T: AsyncWrite + Unpin>(
    mut frames: mpsc::Receiver<Frame>,
    mut sink: Sink<T>,
) -> Result<Sink<T>, CodecError> {
    while let Some(frame) = frames.recv().await {
        sink.send(frame).await?;
    }
    Ok(sink)
}

struct Reader {
    /// Weak: this end must not keep itself alive.
    frames: mpsc::WeakSender<Frame>,
    accepted: mpsc::Sender<Stream>,
    streams: HashMap<StreamId, Open>,
    /// The last stream that the client opened.
    last: StreamId,
}

/// Where the bytes of a stream go.
struct Open {
    pieces: mpsc::Sender<Bytes>,
    reset: Arc<AtomicBool>,
}

impl Reader {
    async fn read<T: AsyncRead + Unpin>(mut self, mut source: SplitStream<Framed<T, Codec>>) -> Result<(), CodecError> {
        while let Some(frame) = source.next().await {
            match frame? {
                Frame::SynStream { id, fin, headers } => self.open(id, fin, headers).await,
                Frame::Data { id, fin, bytes } => self.data(id, fin, bytes).await,
                Frame::Headers { id, fin: true, .. } => {
                    self.streams.remove(&id);
                }
                Frame::Reset { id, .. } => {
                    if let Some(open) = self.streams.remove(&id) {
                        open.reset.store(true, Ordering::Relaxed);
                    }
                }
                // Ours are even; none is sent.
                Frame::Ping(number) if number % 2 == 1 => self.send(Frame::Ping(number)).await,
                // Replies are for those who open streams. A client that goes away closes its connection, too.
                Frame::SynReply { .. }
                | Frame::Headers { .. }
                | Frame::Ping(_)
                | Frame::Settings
                | Frame::GoAway { .. }
                | Frame::WindowUpdate { .. } => {}
            }
        }
        Ok(())
    }

    async fn send(&self, frame: Frame) {
        if let Some(frames) = self.frames.upgrade() {
            // The writer has ended: so does the connection.
            let _ = frames.send(frame).await;
        }
    }

    async fn open(&mut self, id: StreamId, fin: bool, headers: Headers) {
        if id.is_multiple_of(2) || id <= self.last {
            let status = ResetStatus::ProtocolError;
            return self.send(Frame::Reset { id, status }).await;
        }
        self.last = id;
        if self.streams.len() >= STREAMS {
            self.streams.retain(|_, open| !open.pieces.is_closed());
        }
        let taken = if self.streams.len() < STREAMS {
            self.accepted.reserve().await.ok().zip(self.frames.upgrade())
        } else {
            None
        };
        let Some((taken, frames)) = taken else {
            let status = ResetStatus::RefusedStream;
            return self.send(Frame::Reset { id, status }).await;
        };
        let reply = Frame::SynReply {
            id,
            fin: false,
            headers: Headers::default(),
        };
        if frames.send(reply).await.is_err() {
            return;
        }
        let (pieces, input) = mpsc::channel(WAITING);
        let reset = Arc::new(AtomicBool::new(false));
        let output = Output {
            id,
            frames,
            reset: reset.clone(),
        };
        let input = Input(input);
        taken.send(Stream { headers, input, output });
        if !fin {
            self.streams.insert(id, Open { pieces, reset });
        }
    }

    async fn data(&mut self, id: StreamId, fin: bool, bytes: Bytes) {
        // What comes on a stream that has ended was on its way before the client knew.
        let Some(open) = self.streams.get(&id) else { return };
        let unread = !bytes.is_empty() && open.pieces.send(bytes).await.is_err();
        if fin || unread {
            self.streams.remove(&id);
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // a test sees a panic of its own tasks
mod tests {
    use bytes::Bytes;
    use futures::{SinkExt as _, StreamExt as _};
    use tokio::io::DuplexStream;
    use tokio::task::JoinHandle;
    use tokio_util::codec::Framed;

    use super::{Connection, STREAMS, WAITING, serve};
    use crate::{Codec, CodecError, Frame, Headers, ResetStatus, StreamId};

    type Client = Framed<DuplexStream, Codec>;

    fn start() -> (Client, Connection, JoinHandle<Result<(), CodecError>>) {
        let (near, far) = tokio::io::duplex(1 << 16);
        let (connection, carried) = serve(far).unwrap();
        (
            Framed::new(near, Codec::new().unwrap()),
            connection,
            tokio::spawn(carried),
        )
    }

    fn syn(id: StreamId, kind: &str) -> Frame {
        let headers = Headers::from_iter([("streamtype", kind)]);
        Frame::SynStream {
            id,
            fin: false,
            headers,
        }
    }

    fn data(id: StreamId, fin: bool, text: &'static str) -> Frame {
        let bytes = Bytes::from_static(text.as_bytes());
        Frame::Data { id, fin, bytes }
    }

    async fn next(client: &mut Client) -> Frame {
        client.next().await.unwrap().unwrap()
    }

    fn reply(id: StreamId) -> Frame {
        let headers = Headers::default();
        Frame::SynReply {
            id,
            fin: false,
            headers,
        }
    }

    #[tokio::test]
    async fn streams_carry_bytes_both_ways() {
        let (mut client, mut connection, carried) = start();
        client.send(syn(1, "data")).await.unwrap();
        client.send(syn(3, "error")).await.unwrap();
        client.send(data(1, false, "to ")).await.unwrap();
        client.send(data(1, true, "you")).await.unwrap();
        client.send(Frame::Ping(7)).await.unwrap();
        for expected in [reply(1), reply(3), Frame::Ping(7)] {
            assert_eq!(next(&mut client).await, expected);
        }
        let mut first = connection.accept().await.unwrap();
        let second = connection.accept().await.unwrap();
        assert_eq!(first.headers.get("streamtype"), Some("data"));
        assert_eq!(second.headers.get("streamtype"), Some("error"));
        assert_eq!(first.input.recv().await.unwrap(), "to ");
        assert_eq!(first.input.recv().await.unwrap(), "you");
        assert_eq!(first.input.recv().await, None);
        first.output.send(Bytes::from_static(b"to me")).await.unwrap();
        first.output.finish().await.unwrap();
        assert_eq!(next(&mut client).await, data(1, false, "to me"));
        assert_eq!(next(&mut client).await, data(1, true, ""));
        drop((connection, second));
        drop(client);
        carried.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_connection_ends_with_its_client() {
        let (mut client, mut connection, carried) = start();
        client.send(syn(1, "data")).await.unwrap();
        let mut stream = connection.accept().await.unwrap();
        drop(client);
        assert_eq!(stream.input.recv().await, None);
        assert!(connection.accept().await.is_none());
        carried.await.unwrap().unwrap();
        assert!(stream.output.send(Bytes::from_static(b"x")).await.is_err());
    }

    #[tokio::test]
    async fn a_client_that_has_all_closes_first() {
        let (mut client, mut connection, carried) = start();
        client.send(syn(1, "data")).await.unwrap();
        let stream = connection.accept().await.unwrap();
        stream.output.finish().await.unwrap();
        drop((stream.input, connection));
        assert_eq!(next(&mut client).await, reply(1));
        assert_eq!(next(&mut client).await, data(1, true, ""));
        assert!(!carried.is_finished());
        drop(client);
        carried.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_reset_ends_a_stream_both_ways() {
        let (mut client, mut connection, _carried) = start();
        client.send(syn(1, "data")).await.unwrap();
        let mut stream = connection.accept().await.unwrap();
        let status = ResetStatus::Cancel;
        client.send(Frame::Reset { id: 1, status }).await.unwrap();
        assert_eq!(stream.input.recv().await, None);
        assert!(stream.output.send(Bytes::from_static(b"x")).await.is_err());
    }

    #[tokio::test]
    async fn numbers_of_streams_go_up() {
        let (mut client, _connection, _carried) = start();
        client.send(syn(5, "data")).await.unwrap();
        assert_eq!(next(&mut client).await, reply(5));
        for id in [3, 5, 6] {
            client.send(syn(id, "data")).await.unwrap();
            let status = ResetStatus::ProtocolError;
            assert_eq!(next(&mut client).await, Frame::Reset { id, status });
        }
    }

    #[tokio::test]
    async fn streams_are_limited_but_ended_ones_do_not_count() {
        let (mut client, mut connection, _carried) = start();
        let mut held = Vec::new();
        let count = StreamId::try_from(STREAMS).unwrap();
        for n in 0..count {
            client.send(syn(2 * n + 1, "data")).await.unwrap();
            assert_eq!(next(&mut client).await, reply(2 * n + 1));
            held.push(connection.accept().await.unwrap());
        }
        client.send(syn(2 * count + 1, "data")).await.unwrap();
        let (id, status) = (2 * count + 1, ResetStatus::RefusedStream);
        assert_eq!(next(&mut client).await, Frame::Reset { id, status });
        held.pop();
        client.send(syn(2 * count + 3, "data")).await.unwrap();
        assert_eq!(next(&mut client).await, reply(2 * count + 3));
    }

    #[tokio::test]
    async fn bytes_for_nobody_are_dropped() {
        let (mut client, mut connection, _carried) = start();
        client.send(syn(1, "data")).await.unwrap();
        let stream = connection.accept().await.unwrap();
        drop(stream.input);
        for _ in 0..2 * WAITING {
            client.send(data(1, false, "x")).await.unwrap();
            client.send(data(9, false, "x")).await.unwrap();
        }
        assert_eq!(next(&mut client).await, reply(1));
        client.send(Frame::Ping(1)).await.unwrap();
        assert_eq!(next(&mut client).await, Frame::Ping(1));
    }

    #[tokio::test]
    async fn what_is_no_spdy_ends_the_connection() {
        let (near, far) = tokio::io::duplex(64);
        let (mut connection, carried) = serve(far).unwrap();
        let carried = tokio::spawn(carried);
        let mut near = near;
        tokio::io::AsyncWriteExt::write_all(&mut near, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        drop(near);
        assert!(connection.accept().await.is_none());
        // Its first bytes look like data for some stream; whatever they are, it ends.
        let _ = carried.await.unwrap();
    }
}
