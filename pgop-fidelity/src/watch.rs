//! Watches, one event at a time. <https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes>

use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::Value;
use std::{collections::VecDeque, time::Duration};

/// One event of a watch.
#[derive(Debug, Clone)]
pub struct Event {
    /// `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK` or `ERROR`.
    pub kind: String,
    /// The object, or the Status of an `ERROR`.
    pub object: Value,
}

impl Event {
    /// The name of the object.
    pub fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }
}

/// What a watch has to say within a time.
#[derive(Debug)]
pub enum Next {
    /// An event came.
    Event(Event),
    /// The server ended the watch.
    Ended,
    /// Nothing came in that time.
    Silent,
}

/// A running watch.
pub struct Watch {
    what: String,
    body: Body,
    unread: Vec<u8>,
    events: VecDeque<Event>,
    ended: bool,
}

impl Watch {
    pub(crate) fn new(what: String, body: Body) -> Self {
        Self {
            what,
            body,
            unread: Vec::new(),
            events: VecDeque::new(),
            ended: false,
        }
    }

    /// The next event, the end, or silence for `wait`.
    pub async fn within(&mut self, wait: Duration) -> Next {
        tokio::time::timeout(wait, self.read()).await.unwrap_or(Next::Silent)
    }

    async fn read(&mut self) -> Next {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Next::Event(event);
            }
            if self.ended {
                return Next::Ended;
            }
            match self.body.frame().await {
                None | Some(Err(_)) => self.ended = true,
                Some(Ok(frame)) => {
                    self.unread.extend_from_slice(frame.data_ref().map_or(&[][..], |d| d));
                    self.split();
                }
            }
        }
    }

    fn split(&mut self) {
        while let Some(end) = self.unread.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.unread.drain(..=end).collect();
            let mut event: Value = serde_json::from_slice(&line)
                .unwrap_or_else(|e| panic!("{}: no event: {e}: {}", self.what, String::from_utf8_lossy(&line)));
            let kind = event["type"].as_str().unwrap_or_default().to_owned();
            self.events.push_back(Event {
                kind,
                object: event["object"].take(),
            });
        }
    }

    /// The next event. Panics when none comes in 15 s.
    pub async fn next(&mut self) -> Event {
        match self.within(Duration::from_secs(15)).await {
            Next::Event(event) => event,
            other => panic!("{}: expected an event, got {other:?}", self.what),
        }
    }

    /// The next event, which is of this kind and about the object of this name.
    pub async fn expect(&mut self, kind: &str, name: &str) -> Value {
        let event = self.next().await;
        assert_eq!(
            (event.kind.as_str(), event.name()),
            (kind, name),
            "{}: {event:?}",
            self.what
        );
        event.object
    }

    /// Nothing comes for a while.
    pub async fn silence(&mut self) {
        let next = self.within(Duration::from_millis(700)).await;
        assert!(
            matches!(next, Next::Silent),
            "{}: expected silence, got {next:?}",
            self.what
        );
    }

    /// Reads on until an event fits. Panics after 100 s.
    pub async fn until(&mut self, what: &str, fits: impl Fn(&Event) -> bool) -> Event {
        let search = async {
            loop {
                match self.read().await {
                    Next::Event(event) if fits(&event) => return Some(event),
                    Next::Event(_) => {}
                    _ => return None,
                }
            }
        };
        let found = tokio::time::timeout(Duration::from_secs(100), search).await;
        found.ok().flatten().unwrap_or_else(|| panic!("no event: {what}"))
    }

    /// Reads all events until the server ends the watch. Panics when it doesn't within `wait`.
    pub async fn rest(&mut self, wait: Duration) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            match self.within(wait).await {
                Next::Event(event) => events.push(event),
                Next::Ended => return events,
                Next::Silent => panic!("{}: still open after {wait:?}", self.what),
            }
        }
    }
}
