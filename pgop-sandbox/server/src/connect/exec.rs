//! exec and attach: the streams of a process, each a numbered channel of a websocket.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{SinkExt as _, Stream, StreamExt as _};
use http::Response;
use hyper::upgrade::OnUpgrade;
use pgop_sandbox_kubelet::{KubeletError, Reader, Session, Streams, Writer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::websocket::{Pending, farewell};
use super::{kubelet, pod, refused, target};
use crate::call::Call;
use crate::response::Body;
use crate::status::{ApiError, Result};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
/// How it ended.
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// In version 5: the channel named in the next byte has ended.
const CLOSE: u8 = 255;

/// How long output is waited for after the process has ended: what it left behind may hold its streams for ever.
const AFTERMATH: Duration = Duration::from_secs(1);

pub(super) async fn exec(call: &Call, upgrade: Option<OnUpgrade>) -> Result<Response<Body>> {
    let pod = pod(call)?;
    let target = target(call, &pod)?;
    let flag = |name: &str| call.query.flag(name);
    let streams = Streams {
        stdin: flag("stdin"),
        stdout: flag("stdout"),
        stderr: flag("stderr"),
        tty: flag("tty"),
    };
    if !(streams.stdin || streams.stdout || streams.stderr) {
        return Err(ApiError::bad_request(
            "you must specify at least 1 of stdin, stdout, stderr",
        ));
    }
    let kubelet = kubelet(call)?;
    let (pending, response) = Pending::of(call, upgrade, &["v5.channel.k8s.io", "v4.channel.k8s.io"])?;
    let session = if call.path.subresource == "attach" {
        kubelet.attach(&target, streams).await
    } else {
        let command: Vec<String> = call.query.all("command").map(str::to_owned).collect();
        if command.is_empty() {
            return Err(ApiError::bad_request("you must specify at least one command"));
        }
        kubelet.exec(&target, command, streams).await
    };
    let session = match session {
        Ok(session) => Ok(session),
        // The container could not run it: that is how the command ended, and is told on its channel.
        Err(error @ KubeletError::Start { .. }) => Err(ApiError::internal(&error).status()),
        Err(error) => return Err(refused(&error)),
    };
    tokio::spawn(async move {
        if let Err(error) = serve(pending, session).await {
            tracing::debug!(%error, "exec: the connection broke");
        }
    });
    Ok(response)
}

async fn serve(
    pending: Pending,
    session: std::result::Result<Session, Value>,
) -> std::result::Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (mut sink, stream) = pending.open().await?.split();
    let (sender, mut receiver) = mpsc::channel::<(u8, Bytes)>(16);
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
    let running = async {
        match session {
            Ok(session) => run(session, inputs(stream), &sender).await,
            Err(status) => tell(&sender, &status).await,
        }
        drop(sender);
    };
    let (written, ()) = futures::future::join(writing, running).await;
    written
}

/// What a client sends.
#[derive(Debug, PartialEq, Eq)]
enum Input {
    Stdin(Bytes),
    StdinEnd,
    Resize(u16, u16),
}

/// The frames of a websocket as inputs; the stream ends when the client goes.
fn inputs<E: Send>(
    frames: impl Stream<Item = std::result::Result<Message, E>> + Send + Unpin,
) -> impl Stream<Item = Input> + Send + Unpin {
    frames
        .take_while(|frame| futures::future::ready(matches!(frame, Ok(frame) if !frame.is_close())))
        .filter_map(|frame| futures::future::ready(frame.ok().and_then(|frame| input(&frame.into_data()))))
}

fn input(frame: &Bytes) -> Option<Input> {
    match *frame.first()? {
        STDIN => Some(Input::Stdin(frame.slice(1..))),
        CLOSE if frame.get(1) == Some(&STDIN) => Some(Input::StdinEnd),
        RESIZE => {
            let size: Value = serde_json::from_slice(&frame[1..]).ok()?;
            let number = |name: &str| u16::try_from(size[name].as_u64()?).ok();
            Some(Input::Resize(number("Width")?, number("Height")?))
        }
        _ => None,
    }
}

/// Carries the streams of a process until it ends or the client goes.
async fn run(session: Session, inputs: impl Stream<Item = Input> + Send + Unpin, sender: &mpsc::Sender<(u8, Bytes)>) {
    let Session {
        stdin,
        stdout,
        stderr,
        resize,
        exit,
    } = session;
    let feeding = feed(inputs, stdin, resize);
    let output = async { futures::future::join(carry(stdout, STDOUT, sender), carry(stderr, STDERR, sender)).await };
    let ending = async {
        let mut output = std::pin::pin!(output);
        let mut exit = exit;
        let code = tokio::select! {
            code = &mut exit => code,
            _ = &mut output => return exit.await,
        };
        let _ = tokio::time::timeout(AFTERMATH, output).await;
        code
    };
    tokio::select! {
        code = ending => tell(sender, &ended(code.ok())).await,
        // With the client, all ends are dropped and so the process ends.
        () = feeding => {}
    }
}

/// Gives inputs to the process. Returns when the client has gone.
async fn feed(
    mut inputs: impl Stream<Item = Input> + Unpin,
    mut stdin: Option<Writer>,
    resize: Option<mpsc::Sender<(u16, u16)>>,
) {
    while let Some(input) = inputs.next().await {
        match input {
            Input::Stdin(bytes) => {
                if let Some(writer) = &mut stdin
                    && (writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err())
                {
                    // It reads no more; that is not the end of what it has to say.
                    stdin = None;
                }
            }
            Input::StdinEnd => {
                if let Some(mut writer) = stdin.take() {
                    let _ = writer.shutdown().await;
                }
            }
            Input::Resize(columns, rows) => {
                if let Some(resize) = &resize {
                    let _ = resize.send((columns, rows)).await;
                }
            }
        }
    }
}

/// Sends what a stream gives, to its end.
async fn carry(reader: Option<Reader>, channel: u8, sender: &mpsc::Sender<(u8, Bytes)>) {
    let Some(mut reader) = reader else { return };
    loop {
        let mut buffer = BytesMut::with_capacity(32 << 10);
        match reader.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) if sender.send((channel, buffer.freeze())).await.is_err() => return,
            Ok(_) => {}
        }
    }
}

async fn tell(sender: &mpsc::Sender<(u8, Bytes)>, status: &Value) {
    let _ = sender.send((ERROR, Bytes::from(status.to_string()))).await;
}

/// How a command ended, as its client is told.
fn ended(code: Option<i32>) -> Value {
    match code {
        Some(0) => json!({"metadata": {}, "status": "Success"}),
        Some(code) => json!({
            "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        None => ApiError::internal("the process was lost").status(),
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
