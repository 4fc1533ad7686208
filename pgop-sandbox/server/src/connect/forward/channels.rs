//! Two channels of a websocket for each port, all of them open from the start. It is what kube-rs and the websocket clients of old speak.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::{SinkExt as _, StreamExt as _};
use pgop_sandbox_kubelet::{Duplex, Kubelet, Target};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::super::upgrade::{Channels, farewell};
use super::{Broken, connect};

type Connection = Box<dyn Duplex>;

fn frame(channel: usize, bytes: &[u8]) -> Option<Bytes> {
    let mut frame = BytesMut::with_capacity(bytes.len() + 1);
    frame.put_u8(u8::try_from(channel).ok()?);
    frame.put_slice(bytes);
    Some(frame.freeze())
}

pub(super) async fn serve(
    websocket: Channels,
    kubelet: &Arc<dyn Kubelet>,
    target: &Target,
    ports: &[u16],
) -> Result<(), Broken> {
    let (mut sink, mut stream) = websocket.split();
    let (sender, mut receiver) = mpsc::channel::<Bytes>(16);
    let mut writers: Vec<Option<WriteHalf<Connection>>> = Vec::new();
    let mut readers = Vec::new();
    for (index, &port) in ports.iter().enumerate() {
        for channel in [2 * index, 2 * index + 1] {
            sink.send(Message::Binary(frame(channel, &port.to_le_bytes()).unwrap_or_default()))
                .await?;
        }
        match connect(kubelet, target, port).await {
            Ok(connection) => {
                let (reader, writer) = tokio::io::split(connection);
                writers.push(Some(writer));
                readers.push(carry(reader, 2 * index, sender.clone()));
            }
            Err(told) => {
                writers.push(None);
                sink.send(Message::Binary(
                    frame(2 * index + 1, told.as_bytes()).unwrap_or_default(),
                ))
                .await?;
            }
        }
    }
    drop(sender);
    let reading = futures::future::join_all(readers);
    let writing = async move {
        while let Some(frame) = receiver.recv().await {
            sink.send(Message::Binary(frame)).await?;
        }
        // All connections have ended.
        sink.send(farewell()).await
    };
    let feeding = async move {
        while let Some(Ok(message)) = stream.next().await {
            if message.is_close() {
                break;
            }
            let frame = message.into_data();
            let Some((&channel, bytes)) = frame.split_first() else {
                continue;
            };
            let Some(slot) = writers.get_mut(usize::from(channel) / 2).filter(|_| channel % 2 == 0) else {
                continue;
            };
            if let Some(writer) = slot
                && (writer.write_all(bytes).await.is_err() || writer.flush().await.is_err())
            {
                *slot = None;
            }
        }
    };
    tokio::select! {
        (written, _) = futures::future::join(writing, reading) => written?,
        () = feeding => {}
    }
    Ok(())
}

/// Sends what a connection gives, to its end.
async fn carry(mut reader: ReadHalf<Connection>, channel: usize, sender: mpsc::Sender<Bytes>) {
    let mut buffer = vec![0; 32 << 10];
    while let Ok(count @ 1..) = reader.read(&mut buffer).await {
        let Some(frame) = frame(channel, &buffer[..count]) else {
            return;
        };
        if sender.send(frame).await.is_err() {
            return;
        }
    }
}
