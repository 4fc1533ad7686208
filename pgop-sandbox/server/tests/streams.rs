//! exec and port-forward as kubectl speaks them: over SPDY.
#![allow(clippy::unwrap_used)] // a test that can't go on has failed

mod echo;

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::{Request, Response};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use kube::Client;
use kube::client::Body;
use pgop_sandbox_spdy::{Codec, Frame, Headers};
use tokio_util::codec::Framed;

use self::echo::{client, running};

const POD: &str = "/api/v1/namespaces/default/pods/a";

async fn ask(client: &Client, path: &str, protocol: &str) -> Response<Body> {
    let request = Request::post(format!("{POD}/{path}"))
        .header("connection", "Upgrade")
        .header("upgrade", "SPDY/3.1")
        .header("x-stream-protocol-version", protocol);
    client.send(request.body(Body::empty()).unwrap()).await.unwrap()
}

type Spdy = Framed<TokioIo<Upgraded>, Codec>;

async fn spdy(client: &Client, path: &str, protocol: &str) -> Spdy {
    let response = ask(client, path, protocol).await;
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["upgrade"], "SPDY/3.1");
    assert_eq!(response.headers()["x-stream-protocol-version"], protocol);
    let upgraded = hyper::upgrade::on(response).await.unwrap();
    Framed::new(TokioIo::new(upgraded), Codec::new().unwrap())
}

async fn open(spdy: &mut Spdy, id: u32, headers: &[(&str, &str)]) {
    let headers: Headers = headers.iter().copied().collect();
    spdy.send(Frame::SynStream {
        id,
        fin: false,
        headers,
    })
    .await
    .unwrap();
}

async fn say(spdy: &mut Spdy, id: u32, fin: bool, text: &'static str) {
    let bytes = Bytes::from_static(text.as_bytes());
    spdy.send(Frame::Data { id, fin, bytes }).await.unwrap();
}

/// What is told on each of the streams until so many have ended.
async fn told(spdy: &mut Spdy, mut open: usize) -> BTreeMap<u32, String> {
    let mut told: BTreeMap<u32, String> = BTreeMap::new();
    while open > 0 {
        if let Frame::Data { id, fin, bytes } = spdy.next().await.unwrap().unwrap() {
            told.entry(id)
                .or_default()
                .push_str(std::str::from_utf8(&bytes).unwrap());
            open -= usize::from(fin);
        }
    }
    told
}

#[tokio::test]
async fn a_command_runs_with_its_streams() {
    let client = client().await;
    running(&client, "a").await;
    let mut spdy = spdy(
        &client,
        "exec?command=cat&command=-&stdin=1&stdout=1",
        "v4.channel.k8s.io",
    )
    .await;
    for (id, kind) in [(1, "error"), (3, "stdin"), (5, "stdout")] {
        open(&mut spdy, id, &[("streamtype", kind)]).await;
    }
    say(&mut spdy, 3, false, "hel").await;
    say(&mut spdy, 3, true, "lo").await;
    let told = told(&mut spdy, 3).await;
    assert_eq!(told[&5], "main:cat - hello");
    assert!(told[&1].contains(r#""status":"Success""#), "{}", told[&1]);
}

#[tokio::test]
async fn the_end_of_a_command_is_told() {
    let client = client().await;
    running(&client, "a").await;
    for (command, expected) in [("fail", r#""message":"7""#), ("missing", "InternalError")] {
        let mut spdy = spdy(
            &client,
            &format!("exec?command={command}&stdout=1&tty=1&stderr=1"),
            "v4.channel.k8s.io",
        )
        .await;
        for (id, kind) in [(1, "error"), (3, "stdout"), (5, "resize")] {
            open(&mut spdy, id, &[("streamtype", kind)]).await;
        }
        say(&mut spdy, 5, false, "{\"Width\":80,").await;
        say(&mut spdy, 5, false, "\"Height\":24}\n").await;
        let told = told(&mut spdy, 3).await;
        assert!(told[&1].contains(expected), "{}", told[&1]);
    }
}

#[tokio::test]
async fn connections_are_made_as_they_are_asked_for() {
    let client = client().await;
    running(&client, "a").await;
    let mut spdy = spdy(&client, "portforward", "portforward.k8s.io").await;
    for (first, port, request) in [(1, "5432", "0"), (5, "9", "1"), (9, "80", "2"), (13, "x", "3")] {
        for (id, kind) in [(first, "error"), (first + 2, "data")] {
            open(
                &mut spdy,
                id,
                &[("streamtype", kind), ("port", port), ("requestid", request)],
            )
            .await;
        }
    }
    say(&mut spdy, 3, true, "ping").await;
    say(&mut spdy, 11, true, "pong").await;
    let told = told(&mut spdy, 8).await;
    assert_eq!(
        (told[&3].as_str(), told[&11].as_str()),
        ("port 5432: ping", "port 80: pong")
    );
    assert_eq!((told[&1].as_str(), told[&9].as_str()), ("", ""));
    assert!(told[&5].contains("error forwarding port 9 to pod a"), "{}", told[&5]);
    assert!(told[&13].contains("not the number of a port"), "{}", told[&13]);
}

#[tokio::test]
async fn what_is_not_spoken_is_told_before_the_connection_is_taken_over() {
    let client = client().await;
    running(&client, "a").await;
    for (path, protocol, code) in [
        ("exec?command=x&stdout=1", "v9.channel.k8s.io", 403),
        ("exec?command=x", "v4.channel.k8s.io", 400),
        ("exec?stdout=1", "v4.channel.k8s.io", 400),
        ("exec?command=x&stdout=1&container=nope", "v4.channel.k8s.io", 400),
        ("portforward", "v4.channel.k8s.io", 403),
    ] {
        let response = ask(&client, path, protocol).await;
        assert_eq!(response.status(), code, "{path}");
        let status = response.into_body().collect_bytes().await.unwrap();
        let status: serde_json::Value = serde_json::from_slice(&status).unwrap();
        assert_eq!(
            (&status["kind"], &status["code"]),
            (&"Status".into(), &code.into()),
            "{status}"
        );
    }
    let request = Request::post(format!("{POD}/exec?command=x&stdout=1"))
        .body(Vec::new())
        .unwrap();
    let error = client.request_text(request).await.unwrap_err();
    assert!(error.to_string().contains("Upgrade request required"), "{error}");
}
