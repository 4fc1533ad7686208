//! `PostgreSQL`, as long as it runs.

use std::io;
use std::path::Path;

use tokio::process::Child;

use super::log::{self, Log};
use crate::control::Limits;
use crate::postgres::{self, Arguments};
use crate::settings::digest;
use crate::sql::{self, Answer, Session};
use crate::supervisor::{Settings, Shutdown};

/// The process, and what is known of it.
pub struct Postmaster {
    /// The process.
    pub child: Child,
    /// A session, while there is one.
    pub session: Option<Session>,
    /// It has its socket, which it makes after its handlers of signals.
    pub hears: bool,
    /// It takes connections, or would if one were free.
    pub answers: bool,
    /// It has answered.
    pub came_up: bool,
    /// The settings that it runs with whole.
    pub proven: String,
    /// Those that it read last.
    pub text: String,
    /// When it had last read its settings before a reload that is not yet judged.
    pub reloading: Option<f64>,
    /// Its limits.
    pub limits: Limits,
    /// Those of them that are higher than the settings say, as its WAL was written under them.
    pub held: Vec<(&'static str, u32)>,
    /// Settings that it has read and that wait for its next start.
    pub waits: Vec<String>,
    /// How it was asked to end.
    pub asked: Option<Shutdown>,
    /// Whom it follows, as its file says.
    pub follows: Option<String>,
    log: Log,
}

impl Postmaster {
    /// Starts it. Its log goes on to the container's, and what it says of its end is kept.
    pub fn start(data: &Path, arguments: &Arguments, text: String) -> io::Result<Self> {
        let mut child = postgres::start(data, arguments)?;
        let log = Log::of(&mut child, log::ends_server);
        Ok(Self {
            child,
            session: None,
            hears: false,
            answers: false,
            came_up: false,
            proven: text.clone(),
            text,
            reloading: None,
            limits: Limits::default(),
            held: Vec::new(),
            waits: Vec::new(),
            asked: None,
            follows: None,
            log,
        })
    }

    /// Its last words so far, if it said some since it was asked.
    pub fn words(&mut self) -> Option<String> {
        self.log.last()
    }

    /// Its last words, when it has ended.
    pub async fn end(&mut self) -> Option<String> {
        self.log.end().await
    }

    /// Whether it takes connections, and whether a reload is through. `run` holds its socket.
    pub async fn look(&mut self, run: &Path) {
        self.hears |= run.join(".s.PGSQL.5432").exists();
        if self.session.as_ref().is_none_or(|session| !session.is_open()) {
            (self.session, self.answers) = match sql::connect(run).await {
                Answer::Session(session) => (Some(session), true),
                Answer::Full => (None, true),
                Answer::No => (None, false),
                Answer::Silent => (None, self.answers),
            };
        }
        self.came_up |= self.answers;
        if let (Some(before), Some(session)) = (self.reloading, &self.session)
            && let Ok((loaded, waits)) = session.loaded().await
            // Another time, and not a later one: the clock may have been set back.
            && loaded.total_cmp(&before).is_ne()
        {
            self.reloading = None;
            if waits.is_empty() {
                self.proven.clone_from(&self.text);
            } else {
                tracing::warn!("what waits for the next start: {}", waits.join(", "));
            }
            self.waits = waits;
        }
    }

    /// Has it read its file, which holds `text` now, again.
    pub async fn reload(&mut self, text: &str) {
        self.reloading = match &self.session {
            Some(session) => session.loaded().await.ok().map(|(loaded, _)| loaded),
            None => None,
        };
        text.clone_into(&mut self.text);
        postgres::reload(&self.child);
    }

    /// Digests of what it runs with whole, and of what it read last.
    pub fn settings(&self) -> (Settings, Settings) {
        (digest(&self.proven), digest(&self.text))
    }
}
