//! exec and attach: the streams of a process, each a numbered channel of a websocket or a stream of SPDY.

mod channels;
mod streams;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use http::Response;
use hyper::upgrade::OnUpgrade;
use pgop_sandbox_kubelet::{KubeletError, Reader, Session, Streams, Writer};
use pgop_sandbox_tasks::spawn;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};

use super::upgrade::{Opened, Pending, Spoken};
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

/// How long output is waited for after the process has ended: what it left behind may hold its streams for ever.
const AFTERMATH: Duration = Duration::from_secs(1);

const SPOKEN: Spoken = Spoken {
    channels: &["v5.channel.k8s.io", "v4.channel.k8s.io"],
    tunnels: &[],
    streams: &["v4.channel.k8s.io"],
};

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
    let (pending, response) = Pending::of(call, upgrade, &SPOKEN)?;
    let session = if call.path.subresource == "attach" {
        kubelet.attach(&target, streams.clone()).await.map(ends_well)
    } else {
        let command: Vec<String> = call.query.all("command").map(str::to_owned).collect();
        if command.is_empty() {
            return Err(ApiError::bad_request("you must specify at least one command"));
        }
        kubelet.exec(&target, command, streams.clone()).await
    };
    let started = match session {
        Ok(session) => Ok(session),
        // The container could not run it: that is how the command ended, and is told on its channel.
        Err(error @ KubeletError::Start { .. }) => Err(refused(&error).status()),
        Err(error) => return Err(refused(&error)),
    };
    spawn("exec", async move {
        if let Err(error) = serve(pending, started, &streams).await {
            tracing::debug!(%error, "exec: the connection broke");
        }
    });
    Ok(response)
}

/// That a container fails is told by its status: who was attached to it has seen all there was to see.
fn ends_well(session: Session) -> Session {
    let (mut sender, exit) = oneshot::channel();
    let ended = session.exit;
    spawn("end of what is attached to", async move {
        tokio::select! {
            ended = ended => if ended.is_ok() {
                let _ = sender.send(0); // fails when the client has just gone
            },
            () = sender.closed() => {}
        }
    });
    Session { exit, ..session }
}

/// The streams of the process, or why there is none.
type Started = std::result::Result<Session, Value>;
type Broken = Box<dyn std::error::Error + Send + Sync>;
/// What is told on which channel.
type Told = (u8, Bytes);

async fn serve(pending: Pending, started: Started, asked: &Streams) -> std::result::Result<(), Broken> {
    match pending.open().await? {
        Opened::Channels(websocket) => channels::serve(*websocket, started).await,
        Opened::Streams(io) => streams::serve(io, started, asked).await,
    }
}

/// What a client sends.
#[derive(Debug, PartialEq, Eq)]
enum Input {
    Stdin(Bytes),
    StdinEnd,
    Resize(u16, u16),
}

/// A new size of the terminal, as clients write it.
fn resize(text: &[u8]) -> Option<Input> {
    let size: Value = serde_json::from_slice(text).ok()?;
    let number = |name: &str| u16::try_from(size[name].as_u64()?).ok();
    Some(Input::Resize(number("Width")?, number("Height")?))
}

/// Tells what the process says and how it ends. The inputs end when the client goes.
async fn attend(started: Started, inputs: impl Stream<Item = Input> + Send + Unpin, sender: mpsc::Sender<Told>) {
    match started {
        Ok(session) => run(session, inputs, &sender).await,
        Err(status) => tell(&sender, &status).await,
    }
}

/// Carries the streams of a process until it ends or the client goes.
async fn run(session: Session, inputs: impl Stream<Item = Input> + Send + Unpin, sender: &mpsc::Sender<Told>) {
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
async fn carry(reader: Option<Reader>, channel: u8, sender: &mpsc::Sender<Told>) {
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

async fn tell(sender: &mpsc::Sender<Told>, status: &Value) {
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
