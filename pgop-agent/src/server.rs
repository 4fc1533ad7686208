//! `pgop-agent server`: looks, decides, acts, and looks again.

mod carry_out;
mod log;
mod look;
mod postmaster;
mod primary;
mod reap;
mod replica;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::process::Child;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::log::Log;
use self::postmaster::Postmaster;
use self::primary::PrimaryPart;
use self::replica::ReplicaPart;
use crate::check::Findings;
use crate::environment::{Environment, Kind};
use crate::http::Http;
use crate::lock::Held;
use crate::metrics::Metrics;
use crate::pod;
use crate::postgres;
use crate::status::{Past, Status, Turn};
use crate::stop::Stop;
use crate::supervisor::{Act, Data, End, Job, Lock, OwnerFile, Place, Time, Tries, Verdict, decide};
use crate::volume::{Directory, Op};

/// How often it looks where nothing tells of a change.
const TICK: Duration = Duration::from_secs(1);
/// How often WAL is measured, and a server asked whether somebody else had it read its settings.
const WAL: Duration = Duration::from_secs(30);
/// How long what failed waits.
const AGAIN: Duration = Duration::from_secs(10);
/// Held by all processes of a server, in the pod's own directory.
const SERVER_LOCK: &str = "server.lock";
/// Held by what makes or copies data, likewise.
const JOB_LOCK: &str = "job.lock";
/// Beside data that was made, until its roles were set once.
const ROLES_PENDING: &str = "roles.pending";

/// What the agent holds between two looks. All of it is gone with the process, and with the server.
pub struct Agent {
    environment: Environment,
    directory: Directory,
    place: Place,
    began: Instant,
    major: u32,
    lock: Option<Held>,
    lock_state: Lock,
    owner: OwnerFile,
    data: Data,
    looked: Time,
    initdb: String,
    /// The image lacks the locale that is usual.
    plain_locale: bool,
    server: Option<Postmaster>,
    in_vain: u32,
    words: Option<String>,
    job: Option<(Job, Work)>,
    cancelled: bool,
    wanted: String,
    verdict: Verdict,
    overrides_refused: Option<String>,
    /// When settings are checked again that could not be checked.
    check_again: Option<Time>,
    /// When WAL was measured, and by how much it may still grow.
    wal: Option<(Time, Option<u64>)>,
    short: bool,
    part: Part,
    listener: Stop,
    stop: Option<Time>,
    tries: Tries,
    /// What was said last of something that fails again and again.
    failed: Option<String>,
}

/// What only one of the two has to look after.
enum Part {
    Primary(PrimaryPart),
    Replica(ReplicaPart),
}

/// What runs in the background.
enum Work {
    Program(Child, Log),
    Check(JoinHandle<io::Result<Findings>>),
}

impl Agent {
    /// Before the first look.
    pub fn new(environment: Environment) -> io::Result<Self> {
        // First of all: a signal that comes before is lost to process 1.
        let listener = Stop::listen(&environment.run)?;
        let path = environment.volume.join(&environment.instance);
        std::fs::create_dir_all(&path).map_err(|error| {
            let (path, claim) = (path.display(), &environment.claim);
            let words =
                format!("can't make {path} on claim {claim}: {error}; check the volume's permissions (fsGroup)");
            io::Error::new(error.kind(), words)
        })?;
        Ok(Self {
            directory: Directory::new(&path),
            place: Place {
                resource: environment.owner.clone(),
                claim: environment.claim.clone(),
                directory: path.display().to_string(),
                // A replica's claim of its own is named so; on one that is shared there is other data.
                alone: environment.claim == format!("data-{}", environment.instance),
                copy: environment.kind == Kind::Replica,
            },
            began: Instant::now(),
            major: postgres::major()?,
            lock: None,
            lock_state: Lock::Free,
            owner: OwnerFile::Absent,
            data: Data::Absent,
            looked: Time::ZERO,
            initdb: String::new(),
            plain_locale: false,
            server: None,
            in_vain: 0,
            words: None,
            job: None,
            cancelled: false,
            wanted: String::new(),
            verdict: Verdict::Unknown,
            overrides_refused: None,
            check_again: None,
            wal: None,
            short: false,
            part: match environment.kind {
                Kind::Primary => Part::Primary(PrimaryPart::default()),
                Kind::Replica => Part::Replica(ReplicaPart::default()),
            },
            listener,
            stop: None,
            tries: Tries::default(),
            failed: None,
            environment,
        })
    }

    /// Until the container is to end: its exit code.
    pub async fn run(mut self) -> io::Result<u8> {
        let seen = self.look().await?;
        let mut past = Past::new(self.path(ROLES_PENDING).exists()).and(&seen);
        let (turn, told) = watch::channel(Turn::now(Status::of(&seen, past)));
        let metrics = Metrics::new(
            self.environment.run.clone(),
            self.environment.volume.clone(),
            told.clone(),
        );
        let http = Http::bind(self.environment.http, told, metrics)
            .await
            .map_err(io::Error::other)?;
        tokio::spawn(http.serve());
        let (conditions, wanted) = watch::channel(Vec::new());
        tokio::spawn(pod::run(|name: &str| std::env::var(name).ok(), wanted));
        loop {
            let seen = self.look().await?;
            past = past.and(&seen);
            let status = Status::of(&seen, past);
            conditions.send_if_modified(|told| {
                let is_new = *told != status.conditions;
                told.clone_from(&status.conditions);
                is_new
            });
            turn.send_replace(Turn::now(status));
            match decide(&seen) {
                Act::Wait => self.wait().await,
                Act::End(end) => return Ok(self.end(&end)),
                act => {
                    tracing::debug!(?act, "next");
                    let done = self.carry_out(act).await;
                    self.outlive(done).await?;
                }
            }
        }
    }

    /// What fails beside a server that runs, as for want of space, is tried again: to end the container would end the server.
    async fn outlive(&mut self, done: io::Result<()>) -> io::Result<()> {
        match done {
            Ok(()) => {
                self.failed = None;
                Ok(())
            }
            Err(error) if self.server.is_none() => Err(error),
            Err(error) => {
                let words = error.to_string();
                if self.failed.as_ref() != Some(&words) {
                    tracing::warn!("it is tried again: {words}");
                    self.failed = Some(words);
                }
                self.wait().await;
                Ok(())
            }
        }
    }

    fn now(&self) -> Time {
        self.began.elapsed()
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(&self.place.directory).join(name)
    }

    /// A file of the `ConfigMap`, where there is one.
    fn config(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.environment.config.join(name)).ok()
    }

    fn word(&self, name: &str) -> Option<String> {
        let text = self.config(name)?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// Until something happens or it is time to look again.
    async fn wait(&mut self) {
        let is_settled = self.is_settled();
        let server = async {
            match &mut self.server {
                Some(server) => drop(server.child.wait().await),
                None => std::future::pending().await,
            }
        };
        let job = async {
            match &mut self.job {
                Some((_, Work::Program(child, _))) => drop(child.wait().await),
                Some((_, Work::Check(_))) => tokio::time::sleep(TICK / 50).await,
                None => std::future::pending().await,
            }
        };
        // One that starts is asked more often.
        let tick = if is_settled { TICK } else { TICK / 20 };
        let asked = tokio::select! {
            () = self.listener.heard() => true,
            () = server => false,
            () = job => false,
            () = tokio::time::sleep(tick) => false,
        };
        if asked && self.stop.is_none() {
            self.stop = Some(self.now());
        }
    }

    /// Nothing is expected to change within the next second.
    fn is_settled(&self) -> bool {
        // The end of a stop is waited for.
        self.stop.is_none()
            && match &self.part {
                Part::Primary(part) => part.is_settled(),
                Part::Replica(part) => part.is_settled() && self.server.as_ref().is_some_and(|server| server.answers),
            }
    }

    fn end(&self, end: &End) -> u8 {
        let words = end.words(&self.place);
        if *end == End::Asked {
            tracing::info!("{words}");
            return 0;
        }
        tracing::error!("{words}");
        if let Err(error) = std::fs::write(&self.environment.termination_log, format!("{words}\n")) {
            tracing::warn!(
                "could not write {}: {error}",
                self.environment.termination_log.display()
            );
        }
        1
    }
}

fn run(ops: &[Op]) -> io::Result<()> {
    ops.iter().try_for_each(|op| op.run().map_err(io::Error::other))
}
