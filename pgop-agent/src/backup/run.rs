//! Looks, decides, acts, and looks again, until the Job ends.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::shelf::{self, Lock, Shelf};
use super::{Act, End, Holder, Job, Partial, Place, Seen, Source, Target, Work, decide, remember};
use crate::conninfo;
use crate::environment;
use crate::job::work::{self, Work as Running};
use crate::job::{self, AGAIN, Outcome, Room, Teller, Waits};
use crate::lock::Held;
use crate::postgres;
use crate::secret::{self, Login};
use crate::snapshot::{self, Manifest, SnapshotError};
use crate::source;
use crate::stop::Stop;
use crate::volume::{Op, OpError};

/// How often it looks where nothing tells of a change.
const TICK: Duration = Duration::from_secs(1);

/// The Job's result, for the operator.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    path: String,
    bytes: u64,
    start_lsn: String,
    stop_lsn: String,
    timeline: u32,
    server_version: String,
}

struct Backup {
    environment: environment::Backup,
    place: Place,
    shelf: Shelf,
    began: Instant,
    seen: Seen,
    lock: Option<Held>,
    running: Option<(Job, Running)>,
    report: Option<Report>,
    teller: Teller,
    stop: Stop,
}

/// Makes the backup that the environment asks for. The container ends with the outcome's code.
pub async fn run(variable: impl Fn(&str) -> Option<String>) -> Outcome {
    job::main(&variable, async || {
        let stop = Stop::listen(&environment::run(&variable))
            .map_err(|error| format!("could not listen for a stop: {error}"))?;
        let environment = environment::Backup::read(&variable).map_err(|error| error.to_string())?;
        let major = postgres::major().map_err(|error| error.to_string())?;
        Ok(Backup::new(environment, major, stop).run().await)
    })
    .await
}

impl Backup {
    fn new(environment: environment::Backup, major: u32, stop: Stop) -> Self {
        let target = &environment.target;
        Self {
            place: Place {
                source: format!("{}:{}", environment.host, environment.port),
                path: target.path.clone(),
                claim: target.claim.clone(),
            },
            shelf: Shelf::of(target),
            began: Instant::now(),
            seen: Seen {
                now: Duration::ZERO,
                patience: environment.patience,
                stop: false,
                major,
                owner: environment.source_uid.clone(),
                target: Target::Absent,
                source: Source::Unknown,
                partial: Partial::Unknown,
                room: Room::UNKNOWN,
                work: Work::Nothing,
                waits: Waits::default(),
            },
            lock: None,
            running: None,
            report: None,
            teller: Teller::default(),
            stop,
            environment,
        }
    }

    async fn run(mut self) -> Outcome {
        loop {
            self.look();
            let act = decide(&self.seen);
            remember(&mut self.seen.waits, &act, self.seen.now);
            match act {
                Act::Wait => self.wait().await,
                Act::WaitFor(what) => {
                    if self.teller.is_due(self.seen.now) {
                        tracing::info!("waiting: {}", self.place.waits_for(what, &self.seen));
                    }
                    self.wait().await;
                }
                Act::Ask => self.ask().await,
                Act::MakePartial => self.seen.partial = self.make_partial(),
                Act::Begin(job) => self.begin(job),
                Act::Cancel => self.cancel(),
                Act::Publish => self.publish(),
                Act::End(end) => return self.end(&end),
            }
        }
    }

    fn again(&self) -> Duration {
        self.began.elapsed() + AGAIN
    }

    fn look(&mut self) {
        self.seen.now = self.began.elapsed();
        if let Ok(room) = Room::of(&self.environment.target.volume) {
            self.seen.room = room;
        }
        let is_published = matches!(self.seen.work, Work::Published { .. });
        if self.seen.target != Target::Absent || is_published {
            return;
        }
        match self.shelf.look() {
            Ok(target) => self.seen.target = target,
            Err(error) if self.seen.partial == Partial::Ours => tracing::warn!("{}: {error}", self.place.path),
            Err(error) => self.seen.partial = held(error.kind(), error.to_string(), self.again()),
        }
    }

    async fn ask(&mut self) {
        if matches!(self.seen.work, Work::Failed { .. }) {
            self.seen.work = Work::Nothing;
        }
        let environment = &self.environment;
        let asked = async {
            let (target, login) = source_of(environment)?;
            let facts = source::ask(&target, &login).await;
            facts.map_err(|error| error.to_string())
        };
        let answer = tokio::select! {
            answer = asked => answer,
            () = self.stop.heard() => {
                self.seen.stop = true;
                return;
            }
        };
        self.seen.source = match answer {
            Ok(facts) => Source::There(facts),
            Err(words) => Source::Away {
                words,
                again: self.again(),
            },
        };
    }

    fn make_partial(&mut self) -> Partial {
        match self.try_partial() {
            Ok(partial) => partial,
            Err(error) => held(error.kind(), error.to_string(), self.again()),
        }
    }

    fn try_partial(&mut self) -> Result<Partial, OpError> {
        let again = self.again();
        let wait_for = |by| Ok(Partial::Held { by, again });
        do_all(&self.shelf.make())?;
        let Lock::Held(_shelf) = shelf::take(&self.shelf.lock())? else {
            return wait_for(Holder::Shelf);
        };
        if self.shelf.is_taken()? {
            return wait_for(Holder::Predecessor);
        }
        let stale = self.shelf.stale().unwrap_or_default();
        for path in &stale {
            tracing::info!("removing the unfinished backup {}", path.display());
        }
        do_all(&self.shelf.begin(stale))?;
        match shelf::take(&self.shelf.partial_lock())? {
            Lock::Held(lock) => self.lock = lock,
            Lock::Others => return wait_for(Holder::Predecessor),
        }
        Ok(Partial::Ours)
    }

    fn begin(&mut self, job: Job) {
        let begun = match job {
            Job::Copy => self.begin_copy(),
            Job::Verify => {
                tracing::info!("verifying the copy");
                Ok(work::verify(self.shelf.data()))
            }
            Job::Sync => Ok(work::sync(self.shelf.data())),
            Job::VerifyFinished => {
                tracing::info!("{} was finished before: verifying it", self.place.path);
                Ok(work::verify(self.shelf.target().to_owned()))
            }
        };
        match begun {
            Ok(running) => {
                self.running = Some((job, running));
                self.seen.work = Work::Running { job, cancelled: false };
            }
            Err(words) => self.failed(job, words),
        }
    }

    fn begin_copy(&self) -> Result<Running, String> {
        let environment = &self.environment;
        let Source::There(facts) = &self.seen.source else {
            return Err("the source was not asked".to_owned());
        };
        do_all(&[Op::Remove(self.shelf.data())]).map_err(|error| error.to_string())?;
        let (target, login) = source_of(environment)?;
        let passfile = environment.run.join("pgpass");
        conninfo::write_passfile(&passfile, &login)
            .map_err(|error| format!("could not write {}: {error}", passfile.display()))?;
        let conninfo = target.text(&passfile);
        tracing::info!("copying {}", self.place.source);
        let command = postgres::basebackup(
            &self.shelf.data(),
            &conninfo,
            &self.shelf.label(&facts.version),
            environment.checkpoint,
            environment.max_rate.as_deref(),
        );
        Ok(Running::begin(|mut cancelled| async move {
            work::run(command, &mut cancelled).await
        }))
    }

    fn failed(&mut self, job: Job, words: String) {
        let again = self.again();
        self.seen.work = Work::Failed { job, words, again };
    }

    fn cancel(&mut self) {
        if let Some((job, running)) = &self.running {
            running.cancel();
            self.seen.work = Work::Running {
                job: *job,
                cancelled: true,
            };
        }
    }

    async fn wait(&mut self) {
        let ended = async {
            match &mut self.running {
                Some((job, running)) => (*job, running.ended().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.stop.heard() => self.seen.stop = true,
            (job, ended) = ended => {
                self.running = None;
                self.ended(job, ended);
            }
            () = tokio::time::sleep(TICK) => {}
        }
    }

    fn ended(&mut self, job: Job, ended: Result<(), String>) {
        let told = ended.and_then(|()| {
            if job == Job::Copy {
                self.is_of_source()?;
            }
            if job == Job::VerifyFinished {
                let report = self.read(self.shelf.target()).map_err(|error| error.to_string())?;
                self.report = Some(report);
            }
            Ok(())
        });
        match told {
            Ok(()) => self.seen.work = Work::Done(job),
            Err(words) => self.failed(job, words),
        }
    }

    /// The copy is of the server that was asked whose it is, and not of one that has its name since.
    fn is_of_source(&self) -> Result<(), String> {
        let Source::There(facts) = &self.seen.source else {
            return Ok(());
        };
        let copied = snapshot::lineage(&self.shelf.data()).map_err(|error| error.to_string())?;
        if facts.lineage.is_some() && copied != facts.lineage {
            let source = &self.place.source;
            return Err(format!("{source} became another server meanwhile"));
        }
        Ok(())
    }

    /// The name is taken and the snapshot looked at again in one go: no signal comes between.
    fn publish(&mut self) {
        let again = self.again();
        self.seen.work = match self.try_publish() {
            Ok(Some(work)) => work,
            // Somebody has the name: the next look tells who.
            Ok(None) => return,
            Err(error) if job::is_lasting(error.kind()) => Work::Unpublished(error.to_string()),
            Err(error) => Work::Blocked {
                by: Holder::Volume(error.to_string()),
                again,
            },
        };
    }

    fn try_publish(&mut self) -> Result<Option<Work>, OpError> {
        let again = self.again();
        let Lock::Held(_shelf) = shelf::take(&self.shelf.lock())? else {
            let by = Holder::Shelf;
            return Ok(Some(Work::Blocked { by, again }));
        };
        let manifest = match Manifest::read(&self.shelf.data()) {
            Ok(manifest) => manifest,
            Err(error) => return Ok(Some(Work::Unpublished(error.to_string()))),
        };
        if self.shelf.target().symlink_metadata().is_ok() {
            return Ok(None);
        }
        do_all(&self.shelf.publish(&manifest))?;
        let ours = match self.shelf.look() {
            Ok(Target::Ours) => self
                .read(self.shelf.target())
                .map(|report| self.report = Some(report))
                .is_ok(),
            _ => false,
        };
        Ok(Some(Work::Published { ours }))
    }

    /// All of the report can be read from a snapshot.
    fn read(&self, snapshot: &Path) -> Result<Report, SnapshotError> {
        let manifest = Manifest::read(snapshot)?;
        let failed = |source| SnapshotError::Read {
            path: snapshot.to_owned(),
            source,
        };
        let Some((first, last)) = manifest.ends() else {
            return Err(SnapshotError::NoWal {
                path: snapshot.to_owned(),
            });
        };
        Ok(Report {
            path: self.environment.target.path.clone(),
            bytes: snapshot::bytes(snapshot).map_err(failed)?,
            start_lsn: first.start.clone(),
            stop_lsn: last.end.clone(),
            timeline: last.timeline,
            server_version: self.shelf.version(snapshot)?.unwrap_or_default(),
        })
    }

    fn end(&mut self, end: &End) -> Outcome {
        let mut words = self.place.last_words(end, &self.seen);
        // What a predecessor that was killed has left is nobody's either.
        let is_ours = self.seen.partial == Partial::Ours
            || (*end == End::Done && self.shelf.is_taken().is_ok_and(|is_taken| !is_taken));
        if is_ours && let Err(error) = do_all(&self.shelf.clear()) {
            tracing::warn!("{error}");
            words = format!("{words}; but {error}");
        }
        if let (Outcome::Done, Some(report)) = (end.outcome(), &self.report) {
            words = serde_json::to_string(report).unwrap_or(words);
            tracing::info!("finished: {words}");
        } else {
            tracing::error!("{words}");
        }
        job::leave(&words, &self.environment.termination_log);
        end.outcome()
    }
}

fn held(kind: std::io::ErrorKind, words: String, again: Duration) -> Partial {
    if job::is_lasting(kind) {
        return Partial::Refused(words);
    }
    let by = Holder::Volume(words);
    Partial::Held { by, again }
}

fn do_all(ops: &[Op]) -> Result<(), OpError> {
    ops.iter().try_for_each(Op::run)
}

/// How the source is reached, as the Secret says now.
fn source_of(environment: &environment::Backup) -> Result<(conninfo::Target, Login), String> {
    let login = secret::login(&environment.secrets, "replication").map_err(|error| error.to_string())?;
    let target = conninfo::Target {
        host: environment.host.clone(),
        port: environment.port,
        user: login.name.clone(),
        application: format!("backup/{}", environment.target.path),
    };
    Ok((target, login))
}
