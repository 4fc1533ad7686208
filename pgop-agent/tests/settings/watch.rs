//! Somebody who asks a server all the time, and so knows how long it was away.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::machine::wait_until;

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(15);
/// Every so many questions come over a new connection.
const SESSION: u32 = 8;

#[derive(Clone, Copy)]
struct State {
    last: Instant,
    longest: Duration,
    answers: u64,
    failures: u32,
}

impl State {
    fn note(&mut self, is_answered: bool) {
        if is_answered {
            self.longest = self.longest.max(self.last.elapsed());
            (self.last, self.answers) = (Instant::now(), self.answers + 1);
        } else {
            self.failures += 1;
        }
    }
}

/// What was seen in a while.
#[derive(Clone, Copy, Debug)]
pub struct Gap {
    /// The longest time without an answer.
    pub longest: Duration,
    /// Questions that failed.
    pub failures: u32,
}

/// It asks as long as this is there.
pub struct Watch {
    state: Arc<Mutex<State>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Asks the server whose socket is there; a primary has to write, too.
    pub fn new(socket: &Path, question: &'static str) -> Self {
        let state = Arc::new(Mutex::new(State {
            last: Instant::now(),
            longest: Duration::ZERO,
            answers: 0,
            failures: 0,
        }));
        let ends = Arc::new(AtomicBool::new(false));
        let mut config = tokio_postgres::Config::new();
        config.host_path(socket).port(5432).user("postgres").dbname("postgres");
        // An application that writes asks for that.
        config.options("-c default_transaction_read_only=off");
        let (told, over) = (state.clone(), ends.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(ask(&config, question, &told, &over));
        });
        Self {
            state,
            ends,
            thread: Some(thread),
        }
    }

    /// From now on.
    pub fn begin(&self) {
        self.hear();
        let mut state = self.state.lock().unwrap();
        (state.longest, state.failures) = (Duration::ZERO, 0);
    }

    /// Until now.
    pub fn end(&self) -> Gap {
        self.hear();
        let state = self.state.lock().unwrap();
        Gap {
            longest: state.longest,
            failures: state.failures,
        }
    }

    /// It has answered to a question of the future.
    fn hear(&self) {
        let answers = || self.state.lock().unwrap().answers;
        let before = answers();
        wait_until("the server answers", || answers() > before + 1);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn ask(config: &tokio_postgres::Config, question: &str, state: &Mutex<State>, ends: &AtomicBool) {
    let (mut client, mut asked) = (None, 0);
    while !ends.load(Ordering::Relaxed) {
        if asked % SESSION == 0 {
            client = None;
        }
        asked += 1;
        let answer = async {
            let session = if let Some(session) = client.take() {
                session
            } else {
                let (session, connection) = config.connect(tokio_postgres::NoTls).await?;
                tokio::spawn(connection);
                session
            };
            session.batch_execute(question).await?;
            Ok::<_, tokio_postgres::Error>(session)
        };
        client = answer.await.ok();
        state.lock().unwrap().note(client.is_some());
        tokio::time::sleep(PAUSE).await;
    }
}
