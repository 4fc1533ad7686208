//! An API server that says what a test tells it, and remembers what it was asked.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// The server; it ends with the test's process.
pub struct Api {
    address: std::net::SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

/// What it says to one request.
pub enum Answer {
    /// A status line and a body.
    Whole(&'static str, String),
    /// One line again and again, for as long as it is taken and this number of times at the most.
    Lines(&'static str, usize),
}

impl Answer {
    /// 200
    pub fn json(body: &impl ToString) -> Self {
        Self::Whole("200 OK", body.to_string())
    }

    /// 404 for an object.
    pub fn not_found() -> Self {
        let body = r#"{"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "NotFound", "code": 404,
            "message": "not found", "details": {"name": "it"}}"#;
        Self::Whole("404 Not Found", body.to_owned())
    }
}

impl Api {
    /// Starts it. `answer` gets the first line of a request.
    pub fn start(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (asked.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, answer) = (log.clone(), answer.clone());
                std::thread::spawn(move || serve(stream.unwrap(), &log, &*answer));
            }
        });
        Self { address, asked }
    }

    /// Host and port.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The first lines of all requests, and `cut off` for an answer that was not taken whole.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// A kubeconfig that leads here, with these fields more for cluster and user.
    pub fn kubeconfig(&self, cluster: &str, user: &str) -> String {
        kubeconfig(&format!("http://{}", self.address), cluster, user)
    }
}

/// A kubeconfig with one context, of namespace `shop`.
pub fn kubeconfig(server: &str, cluster: &str, user: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Config, current-context: here,
 contexts: [{{name: here, context: {{cluster: c, user: u, namespace: shop}}}}],
 clusters: [{{name: c, cluster: {{server: \"{server}\"{cluster}}}}}], users: [{{name: u, user: {{{user}}}}}]}}"
    )
}

fn serve(mut stream: TcpStream, log: &Mutex<Vec<String>>, answer: &dyn Fn(&str) -> Answer) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n > 0) {
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let line = head.lines().next().unwrap_or_default().to_owned();
    log.lock().unwrap().push(line.clone());
    match answer(&line) {
        Answer::Whole(status, body) => {
            let text = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(text.as_bytes());
        }
        Answer::Lines(line, times) => {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n";
            let mut whole = stream.write_all(head.as_bytes()).is_ok();
            for _ in 0..times {
                whole = whole && stream.write_all(line.as_bytes()).is_ok();
            }
            if !whole {
                log.lock().unwrap().push("cut off".to_owned());
            }
        }
    }
}
