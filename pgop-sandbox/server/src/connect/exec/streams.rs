//! Streams of SPDY, as kubectl before 1.31 speaks it: one for each stream of the process, one for its end, one for sizes of the terminal.

use std::collections::HashMap;
use std::time::Duration;

use bytes::BytesMut;
use futures::{Stream, StreamExt as _, stream};
use pgop_sandbox_kubelet::{Duplex, Streams};
use pgop_sandbox_spdy::{self as spdy, Connection, Output};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Broken, ERROR, Input, RESIZE, STDERR, STDIN, STDOUT, Started, Told, attend, resize};

/// How long a client may take to open its streams.
const OPENING: Duration = Duration::from_secs(30);
/// A size of the terminal is no longer than that.
const SIZE: usize = 1024;

pub(super) async fn serve(io: Box<dyn Duplex>, started: Started, asked: &Streams) -> Result<(), Broken> {
    let (connection, carried) = spdy::serve(io)?;
    let mut carried = std::pin::pin!(carried);
    tokio::select! {
        // With the client, all ends are dropped and so the process ends.
        ended = &mut carried => ended?,
        () = talk(connection, started, asked) => carried.await?,
    }
    Ok(())
}

async fn talk(mut connection: Connection, started: Started, asked: &Streams) {
    let Ok(Some(opened)) = timeout(OPENING, open(&mut connection, asked)).await else {
        return tracing::debug!("exec: the client did not open its streams");
    };
    let (mut outputs, mut inputs) = (HashMap::new(), HashMap::new());
    for (channel, stream) in opened {
        outputs.insert(channel, stream.output);
        inputs.insert(channel, stream.input);
    }
    let (sender, receiver) = mpsc::channel(16);
    let inputs = Box::pin(read(inputs.remove(&STDIN), inputs.remove(&RESIZE)));
    futures::future::join(attend(started, inputs, sender), write(receiver, outputs)).await;
}

/// Takes the streams that a request asks for. None: the client has gone before.
async fn open(connection: &mut Connection, asked: &Streams) -> Option<HashMap<u8, spdy::Stream>> {
    let expected = [
        (ERROR, true),
        (STDIN, asked.stdin),
        (STDOUT, asked.stdout),
        // A terminal has only one output.
        (STDERR, asked.stderr && !asked.tty),
        (RESIZE, asked.tty),
    ];
    let mut opened = HashMap::new();
    while expected
        .iter()
        .any(|(channel, expected)| *expected && !opened.contains_key(channel))
    {
        let stream = connection.accept().await?;
        let channel = match stream.headers.get("streamtype") {
            Some("stdin") => STDIN,
            Some("stdout") => STDOUT,
            Some("stderr") => STDERR,
            Some("error") => ERROR,
            Some("resize") => RESIZE,
            _ => continue,
        };
        opened.insert(channel, stream);
    }
    Some(opened)
}

/// What the client says. It does not end: that the client has gone is seen on the connection.
fn read(stdin: Option<spdy::Input>, sizes: Option<spdy::Input>) -> impl Stream<Item = Input> + Send {
    let stdin = stream::unfold(stdin, async |input| {
        let mut input = input?;
        Some(match input.recv().await {
            Some(bytes) => (Input::Stdin(bytes), Some(input)),
            None => (Input::StdinEnd, None),
        })
    });
    let sizes = stream::unfold((sizes, BytesMut::new()), async |(input, mut line)| {
        let mut input = input?;
        let size = next_size(&mut input, &mut line).await?;
        Some((size, (Some(input), line)))
    });
    stream::select(stdin, sizes).chain(stream::pending())
}

/// The next size of the terminal: each is a line of JSON, however it is cut into frames.
async fn next_size(input: &mut spdy::Input, line: &mut BytesMut) -> Option<Input> {
    loop {
        if let Some(end) = line.iter().position(|&byte| byte == b'\n') {
            if let Some(size) = resize(&line.split_to(end + 1)) {
                return Some(size);
            }
            continue;
        }
        if line.len() > SIZE {
            return None;
        }
        line.extend_from_slice(&input.recv().await?);
    }
}

async fn write(mut told: mpsc::Receiver<Told>, mut outputs: HashMap<u8, Output>) {
    while let Some((channel, bytes)) = told.recv().await {
        if let Some(output) = outputs.get(&channel)
            && output.send(bytes).await.is_err()
        {
            outputs.remove(&channel);
        }
    }
    for (_, output) in outputs {
        // A client that has closed a stream does not wait for its end.
        let _ = output.finish().await;
    }
}
