//! `PostgreSQL`, as long as it runs.

use std::io;
use std::path::Path;

use tokio::process::Child;

use super::log::{self, Log};
use crate::control::Limits;
use crate::data::{self, AUTO_CONF};
use crate::postgres::{self, Arguments};
use crate::settings::file::{differences, entries, last};
use crate::settings::{digest, own_lines};
use crate::sql::{self, Answer, Loaded, Session, Wrong};
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
    /// When it had last read its settings before a start or reload that is not yet judged.
    pub reading: Option<f64>,
    /// When it had read them as it was judged last.
    judged: f64,
    /// What it says of settings that it does not take, though all seemed well.
    pub refused: Option<String>,
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
    arguments: Arguments,
    /// What it was started with: the next start would bring the same of it.
    started: Started,
    log: Log,
}

/// The files that a start read.
struct Started {
    text: String,
    /// Names that ALTER SYSTEM had set.
    overrides: Vec<String>,
}

impl Postmaster {
    /// Starts it. Its log goes on to the container's, and what it says of its end is kept.
    pub fn start(data: &Path, arguments: Arguments, text: String) -> io::Result<Self> {
        let overrides = std::fs::read_to_string(data.join(AUTO_CONF)).map(|file| data::names(&file));
        let started = Started {
            text: text.clone(),
            overrides: overrides.unwrap_or_default(),
        };
        let mut child = postgres::start(data, &arguments)?;
        let log = Log::of(&mut child, log::ends_server);
        Ok(Self {
            child,
            session: None,
            hears: false,
            answers: false,
            came_up: false,
            proven: text.clone(),
            text,
            reading: Some(0.0),
            judged: 0.0,
            refused: None,
            limits: Limits::default(),
            held: Vec::new(),
            waits: Vec::new(),
            asked: None,
            follows: None,
            arguments,
            started,
            log,
        })
    }

    /// Its last words so far, if it said some since it was asked.
    pub fn words(&mut self) -> Option<String> {
        self.log.last().map(|line| log::without_prefix(&line).to_owned())
    }

    /// Its last words, when it has ended.
    pub async fn end(&mut self) -> Option<String> {
        let line = self.log.end().await;
        line.map(|line| log::without_prefix(&line).to_owned())
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
        if let (Some(before), Some(session)) = (self.reading, &self.session)
            && let Ok(loaded) = session.loaded().await
        {
            self.judge(before, loaded);
        }
    }

    /// Somebody else may have had it read its files: `ALTER SYSTEM RESET` leaves nothing behind that tells so.
    pub async fn judge_again(&mut self) {
        if self.reading.is_none()
            && let Some(session) = &self.session
            && let Ok(loaded) = session.loaded().await
            && loaded.at.total_cmp(&self.judged).is_ne()
        {
            self.judge(self.judged, loaded);
        }
    }

    fn judge(&mut self, before: f64, loaded: Loaded) {
        let own = own_lines(&self.text);
        // Before it has read them, what waits for a start looks like a mistake.
        // Another time, and not a later one: the clock may have been set back.
        let is_read = loaded.at.total_cmp(&before).is_ne();
        let is_wrong = |wrong: &&Wrong| wrong.blocks() || (is_read && !self.arguments.owns(&wrong.name));
        let wrong = loaded.errors.iter().filter(is_wrong);
        let refused: Vec<String> = wrong.map(|wrong| wrong.told(own)).collect();
        let refused = Some(refused.join("; ")).filter(|words| !words.is_empty());
        if let Some(words) = refused.as_ref().filter(|_| refused != self.refused) {
            tracing::warn!("not in force: {words}");
        }
        self.refused = refused;
        if !is_read {
            return;
        }
        (self.reading, self.judged) = (None, loaded.at);
        self.waits = waiting(loaded.waits, &self.arguments, &self.held, &self.started, &self.text);
        if !self.waits.is_empty() {
            tracing::warn!("what waits for the next start: {}", self.waits.join(", "));
        } else if self.refused.is_none() {
            self.proven.clone_from(&self.text);
        }
    }

    /// Has it read its file, which holds `text` now, again.
    pub async fn reload(&mut self, text: &str) {
        let before = match (self.reading, &self.session) {
            (Some(before), _) => Some(before),
            (None, Some(session)) => session.loaded().await.ok().map(|loaded| loaded.at),
            (None, None) => None,
        };
        // Where nobody can be asked, the next session is.
        self.reading = before.or(Some(0.0));
        text.clone_into(&mut self.text);
        postgres::reload(&self.child);
    }

    /// Settings that its text sets in vain, as its start has the last word.
    pub fn in_vain(&self) -> Vec<String> {
        let is_held = |name: &String| self.held.iter().any(|(held, _)| held == name);
        let differing = self.arguments.differing(&entries(&self.text)).into_iter();
        differing.filter(|name| !is_held(name)).collect()
    }

    /// Digests of what it runs with whole, and of what it read last.
    pub fn settings(&self) -> (Settings, Settings) {
        (digest(&self.proven), digest(&self.text))
    }
}

/// What a start would change. `PostgreSQL` says of all that once differed from the file that it waits for one: also of what every start gives it, and of
/// what a start makes a value of its own from, as from `transaction_buffers = 0`. Who would be restarted for that would be restarted for ever.
fn waiting(
    mut said: Vec<String>,
    arguments: &Arguments,
    held: &[(&'static str, u32)],
    started: &Started,
    text: &str,
) -> Vec<String> {
    let entries = entries(text);
    let is_raised = |name: &str| {
        let wanted = last(&entries, name).and_then(|entry| entry.value.parse::<u32>().ok());
        held.iter()
            .any(|(held, value)| *held == name && wanted.is_some_and(|wanted| wanted > *value))
    };
    let changed = differences(&started.text, text);
    let is_changed = |name: &str| {
        let is = |other: &String| other.eq_ignore_ascii_case(name);
        changed.iter().any(is) || started.overrides.iter().any(is)
    };
    said.retain(|name| {
        if arguments.owns(name) {
            is_raised(name)
        } else {
            is_changed(name)
        }
    });
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(text: &str, overrides: &[&str]) -> Started {
        Started {
            text: text.to_owned(),
            overrides: overrides.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn what_a_start_would_not_change_does_not_wait_for_one() {
        let arguments = Arguments::default().with("port", &5432).with("max_connections", &40);
        let said = ["max_connections", "port", "shared_buffers"].map(str::to_owned);
        let started = started("shared_buffers = 16MB\n", &[]);
        let waits = |text| waiting(said.to_vec(), &arguments, &[("max_connections", 40)], &started, text);
        assert_eq!(waits("max_connections = 30\nport = 6000\n"), ["shared_buffers"]);
        assert_eq!(waits(""), ["shared_buffers"], "it was taken out");
        assert_eq!(
            waits("max_connections = 50\n"),
            ["max_connections", "shared_buffers"],
            "it was raised"
        );
    }

    #[test]
    fn what_the_last_start_was_given_too_does_not_wait_for_another() {
        let said = vec!["transaction_buffers".to_owned()];
        let waits = |started, text| waiting(said.clone(), &Arguments::default(), &[], &started, text);
        let zero = "transaction_buffers = 0\n";
        // 17 makes 32 of it, and takes the file's 0 for a change at each reload.
        assert!(waits(started(zero, &[]), zero).is_empty());
        assert!(waits(started(zero, &[]), "Transaction_Buffers = '0' # as before\n").is_empty());
        assert_eq!(waits(started(zero, &[]), "transaction_buffers = 64\n"), said);
        assert_eq!(waits(started("", &[]), zero), said);
        // ALTER SYSTEM RESET after a start that read what ALTER SYSTEM had set.
        assert_eq!(waits(started(zero, &["transaction_buffers"]), zero), said);
    }
}
