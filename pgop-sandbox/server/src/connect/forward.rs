//! port-forward: connections to ports of a pod, two channels of a websocket each: data, and what went wrong.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::{SinkExt as _, StreamExt as _};
use http::Response;
use hyper::upgrade::OnUpgrade;
use pgop_sandbox_kubelet::{Kubelet, Target};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::websocket::{Pending, farewell};
use super::{kubelet, pod, target_pod};
use crate::call::Call;
use crate::response::Body;
use crate::status::{ApiError, Result};

type Connection = Box<dyn pgop_sandbox_kubelet::Duplex>;

pub(super) fn forward(call: &Call, upgrade: Option<OnUpgrade>) -> Result<Response<Body>> {
    let pod = pod(call)?;
    let target = target_pod(call, &pod);
    let kubelet = kubelet(call)?;
    let ports: Vec<u16> = call
        .query
        .all("ports")
        .flat_map(|ports| ports.split(','))
        .map(|port| port.trim().parse().ok().filter(|&port| port > 0))
        .collect::<Option<_>>()
        .filter(|ports: &Vec<u16>| !ports.is_empty() && ports.len() <= 100)
        .ok_or_else(|| ApiError::bad_request("query parameter \"ports\" is required: numbers of ports"))?;
    let (pending, response) = Pending::of(call, upgrade, &["v4.channel.k8s.io", "portforward.k8s.io"])?;
    tokio::spawn(async move {
        if let Err(error) = serve(pending, &kubelet, &target, &ports).await {
            tracing::debug!(%error, protocol = "port-forward", "the connection broke");
        }
    });
    Ok(response)
}

fn frame(channel: usize, bytes: &[u8]) -> Option<Bytes> {
    let mut frame = BytesMut::with_capacity(bytes.len() + 1);
    frame.put_u8(u8::try_from(channel).ok()?);
    frame.put_slice(bytes);
    Some(frame.freeze())
}

async fn serve(
    pending: Pending,
    kubelet: &Arc<dyn Kubelet>,
    target: &Target,
    ports: &[u16],
) -> std::result::Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (mut sink, mut stream) = pending.open().await?.split();
    let (sender, mut receiver) = mpsc::channel::<Bytes>(16);
    let mut writers: Vec<Option<WriteHalf<Connection>>> = Vec::new();
    let mut readers = Vec::new();
    for (index, &port) in ports.iter().enumerate() {
        for channel in [2 * index, 2 * index + 1] {
            sink.send(Message::Binary(frame(channel, &port.to_le_bytes()).unwrap_or_default()))
                .await?;
        }
        match kubelet.connect(target, port).await {
            Ok(connection) => {
                let (reader, writer) = tokio::io::split(connection);
                writers.push(Some(writer));
                readers.push(carry(reader, 2 * index, sender.clone()));
            }
            Err(error) => {
                writers.push(None);
                let told = format!("an error occurred forwarding {port}: {error}");
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
