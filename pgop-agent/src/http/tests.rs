//! Over real sockets, without a server of `PostgreSQL`.

use std::path::PathBuf;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::status::{LONGEST_TURN, Past};
use crate::supervisor::tests::{a_primary, down};
use crate::supervisor::{Seen, Verdict};

fn turn(seen: &Seen) -> Turn {
    Turn::now(Status::of(seen, Past::default().and(seen)))
}

fn unready() -> Seen {
    let mut seen = a_primary();
    seen.server = down();
    seen
}

async fn serve(seen: &Seen) -> (SocketAddr, watch::Sender<Turn>) {
    let (sender, receiver) = watch::channel(turn(seen));
    let nowhere = PathBuf::from("/nonexistent");
    let metrics = Metrics::new(nowhere.clone(), nowhere, receiver.clone());
    let http = Http::bind("127.0.0.1:0".parse().unwrap(), receiver, metrics)
        .await
        .unwrap();
    let address = http.address().unwrap();
    tokio::spawn(http.serve());
    (address, sender)
}

async fn send(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    // Whoever sends too much is not read to the end, and hears of it by a reset.
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

async fn ask(address: SocketAddr, path: &str) -> (u16, String) {
    let answer = send(address, &format!("GET {path} HTTP/1.1\r\nHost: pod\r\n\r\n")).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn probes_follow_the_status() {
    let (address, sender) = serve(&unready()).await;
    let why = "PostgreSQL is about to be started\n".to_owned();
    assert_eq!(ask(address, "/ready").await, (503, why.clone()));
    assert_eq!(ask(address, "/startup").await, (503, why));
    assert_eq!(
        ask(address, "/live").await,
        (200, "the agent's loop turns\n".to_owned())
    );

    let past = Past::default().and(&a_primary());
    sender.send_replace(turn(&a_primary()));
    let is_so = (200, "it takes connections as a primary\n".to_owned());
    assert_eq!(ask(address, "/ready").await, is_so);
    assert_eq!(ask(address, "/startup").await, is_so);

    // Down again: startup was a question of once.
    sender.send_replace(Turn::now(Status::of(&unready(), past.and(&unready()))));
    assert_eq!(ask(address, "/ready").await.0, 503);
    assert_eq!(
        ask(address, "/startup").await,
        (200, "it was ready since the container began\n".to_owned())
    );
}

#[tokio::test]
async fn the_status_is_json_with_what_the_server_says() {
    let (address, sender) = serve(&a_primary()).await;
    let mut seen = a_primary();
    seen.verdict = Verdict::Bad("unrecognized configuration parameter \"nope\"".to_owned());
    sender.send_replace(turn(&seen));
    let (code, text) = ask(address, "/status").await;
    assert_eq!(code, 200);
    let status: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(status["phase"], "serving");
    assert_eq!(status["live"], true);
    assert_eq!(status["server"]["up"], false);
    let settings = &status["conditions"][0];
    assert_eq!(settings["reason"], "Refused");
    assert!(settings["message"].as_str().unwrap().contains("\"nope\""));
}

#[tokio::test]
async fn metrics_of_the_agent_are_there_without_a_server() {
    let (address, _sender) = serve(&a_primary()).await;
    let (code, text) = ask(address, "/metrics").await;
    assert_eq!(code, 200);
    for line in [
        "pg_up 0",
        "pgop_ready 1",
        "pgop_phase{phase=\"serving\"} 1",
        "pgop_phase{phase=\"copying\"} 0",
        "pgop_role{role=\"primary\"} 1",
        "pgop_condition{about=\"RolesInForce\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
    }
}

#[tokio::test]
async fn nothing_else_is_answered() {
    let (address, _sender) = serve(&a_primary()).await;
    assert_eq!(ask(address, "/").await.0, 404);
    assert_eq!(ask(address, "/ready/..").await.0, 404);
    let answer = send(
        address,
        "POST /ready HTTP/1.1\r\nHost: pod\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    let answer = send(address, "HEAD /ready HTTP/1.1\r\nHost: pod\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn headers_have_limits() {
    let (address, _sender) = serve(&a_primary()).await;
    let long = format!(
        "GET /ready HTTP/1.1\r\nHost: pod\r\nx: {}\r\n\r\n",
        "y".repeat(HEADER_BYTES)
    );
    let many = format!(
        "GET /ready HTTP/1.1\r\nHost: pod\r\n{}\r\n",
        "x: y\r\n".repeat(HEADER_COUNT)
    );
    for request in [long, many] {
        let answer = send(address, &request).await;
        assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert_eq!(ask(address, "/ready").await.0, 200);
}

// Time stands still but for what is waited for.
#[tokio::test(start_paused = true)]
async fn who_asks_slowly_is_cut_off() {
    let (address, _sender) = serve(&a_primary()).await;
    let before = Instant::now();
    let answer = send(address, "GET /ready HTTP/1.1\r\nHost:").await;
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(before.elapsed() <= CONNECTION);
}

#[tokio::test]
async fn the_oldest_makes_room() {
    let tasks: Vec<_> = (0..=CONNECTIONS)
        .map(|_| tokio::spawn(std::future::pending::<()>()))
        .collect();
    let mut connections = VecDeque::new();
    for task in &tasks {
        admit(&mut connections, task.abort_handle());
    }
    let mut tasks = tasks.into_iter();
    assert!(tasks.next().unwrap().await.unwrap_err().is_cancelled());
    assert!(tasks.all(|task| !task.is_finished()));
}

#[tokio::test]
async fn those_who_say_nothing_keep_nobody_waiting() {
    let (address, _sender) = serve(&a_primary()).await;
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS * 2 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    assert_eq!(ask(address, "/ready").await.0, 200);
}

#[test]
fn a_loop_that_hangs_is_told_to_the_kubelet() {
    let turn = turn(&a_primary());
    let (code, words) = probe("/live", &turn, turn.at + LONGEST_TURN * 2);
    assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
    assert!(words.contains("has not turned for"), "{words}");
    // It says nothing of the server.
    assert_eq!(probe("/ready", &turn, turn.at + LONGEST_TURN * 2).0, StatusCode::OK);
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let held = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (_sender, receiver) = watch::channel(turn(&a_primary()));
    let metrics = Metrics::new(PathBuf::new(), PathBuf::new(), receiver.clone());
    let error = Http::bind(held.local_addr().unwrap(), receiver, metrics)
        .await
        .err()
        .unwrap();
    assert!(error.to_string().ends_with("choose another with PGOP_HTTP"), "{error}");
}
