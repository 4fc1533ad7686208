//! Streams of SPDY, as kubectl speaks it: a pair for each connection, opened when it is made.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use pgop_sandbox_kubelet::{Duplex, Kubelet, Target};
use pgop_sandbox_spdy::{self as spdy, Connection, Input, Output};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};

use super::{Broken, connect};

/// Halves of pairs that wait for the other half. A client opens both at once.
const HALVES: usize = 100;

pub(super) async fn serve(io: Box<dyn Duplex>, kubelet: &Arc<dyn Kubelet>, target: &Target) -> Result<(), Broken> {
    let (connection, carried) = spdy::serve(io)?;
    let mut carried = std::pin::pin!(carried);
    tokio::select! {
        ended = &mut carried => ended?,
        () = take(connection, kubelet, target) => carried.await?,
    }
    Ok(())
}

/// Serves the pairs that the client opens, until it goes.
async fn take(mut connection: Connection, kubelet: &Arc<dyn Kubelet>, target: &Target) {
    let mut halves: HashMap<String, spdy::Stream> = HashMap::new();
    let mut pairs = FuturesUnordered::new();
    loop {
        let stream = tokio::select! {
            stream = connection.accept() => stream,
            Some(()) = pairs.next() => continue,
        };
        let Some(stream) = stream else { return };
        let request = stream.headers.get("requestid").unwrap_or_default().to_owned();
        let Some(other) = halves.remove(&request) else {
            if halves.len() >= HALVES {
                halves.clear();
            }
            halves.insert(request, stream);
            continue;
        };
        // Two of the same kind are of no use.
        if let Some(pair) = Pair::of(stream, other) {
            pairs.push(pair.serve(kubelet, target));
        }
    }
}

/// What one connection goes over.
struct Pair {
    data: spdy::Stream,
    error: Output,
}

impl Pair {
    fn of(one: spdy::Stream, other: spdy::Stream) -> Option<Self> {
        let kind = |stream: &spdy::Stream| stream.headers.get("streamtype").map(str::to_owned);
        let (data, error) = match (kind(&one).as_deref(), kind(&other).as_deref()) {
            (Some("data"), Some("error")) => (one, other),
            (Some("error"), Some("data")) => (other, one),
            _ => return None,
        };
        Some(Self {
            data,
            error: error.output,
        })
    }

    async fn serve(self, kubelet: &Arc<dyn Kubelet>, target: &Target) {
        let Self { data, error } = self;
        let port = data.headers.get("port").and_then(|port| port.parse().ok());
        let connected = match port.filter(|&port| port > 0) {
            Some(port) => connect(kubelet, target, port).await,
            None => Err("the header \"port\" is not the number of a port".to_owned()),
        };
        // A client that has closed a stream does not wait for what comes on it.
        match connected {
            Ok(connection) => carry(connection, data.input, data.output).await,
            Err(told) => {
                let _ = error.send(Bytes::from(told)).await;
                let _ = data.output.finish().await;
            }
        }
        let _ = error.finish().await;
    }
}

/// Carries bytes both ways until the pod has said all, or nobody listens to it.
async fn carry(connection: Box<dyn Duplex>, input: Input, output: Output) {
    let (reader, writer) = tokio::io::split(connection);
    let mut answering = std::pin::pin!(answer(reader, output));
    tokio::select! {
        () = &mut answering => {}
        () = feed(input, writer) => answering.await,
    }
}

async fn feed(mut input: Input, mut writer: WriteHalf<Box<dyn Duplex>>) {
    while let Some(bytes) = input.recv().await {
        if writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err() {
            return;
        }
    }
    // The pod may have more to say.
    let _ = writer.shutdown().await;
}

async fn answer(mut reader: ReadHalf<Box<dyn Duplex>>, output: Output) {
    loop {
        let mut buffer = BytesMut::with_capacity(32 << 10);
        match reader.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(_) if output.send(buffer.freeze()).await.is_err() => return,
            Ok(_) => {}
        }
    }
    let _ = output.finish().await;
}
