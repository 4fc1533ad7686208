//! Looks, decides, acts, and looks again, until the Job ends.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use super::{Act, Data, Directory, End, Job, Place, Refusal, Seen, Snapshot, Work, copy, decide, remember};
use crate::data::LINEAGE;
use crate::environment::{self, Restore as Environment};
use crate::job::work::{self, Work as Running};
use crate::job::{self, AGAIN, Outcome, Room, Teller, Waits};
use crate::lock::{self, Held, Taken};
use crate::postgres::{self, Verification};
use crate::snapshot::{self, SnapshotError};
use crate::stop::Stop;
use crate::supervisor::OwnerFile;
use crate::volume::{self, Op, OpError};

/// How often it looks where nothing tells of a change.
const TICK: Duration = Duration::from_secs(1);
/// So many other snapshots are named where one is missing.
const NAMED: usize = 5;

struct Restore {
    environment: Environment,
    place: Place,
    directory: PathBuf,
    names: volume::Directory,
    snapshot: PathBuf,
    began: Instant,
    seen: Seen,
    lock: Option<Held>,
    running: Option<(Job, Running)>,
    teller: Teller,
    stop: Stop,
}

/// Makes the restore that the environment asks for. The container ends with the outcome's code.
pub async fn run(variable: impl Fn(&str) -> Option<String>) -> Outcome {
    job::main(&variable, async || {
        let stop = Stop::listen(&environment::run(&variable))
            .map_err(|error| format!("could not listen for a stop: {error}"))?;
        let environment = Environment::read(&variable).map_err(|error| error.to_string())?;
        let major = postgres::major().map_err(|error| error.to_string())?;
        Ok(Restore::new(environment, major, stop).run().await)
    })
    .await
}

impl Restore {
    fn new(environment: Environment, major: u32, stop: Stop) -> Self {
        let directory = environment.volume.join(&environment.instance);
        let names = volume::Directory::new(&directory);
        Self {
            place: Place {
                path: environment.path.clone(),
                backup_claim: environment.backup_claim.clone(),
                data: names.data().display().to_string(),
                claim: environment.claim.clone(),
                owner: environment.owner.clone(),
            },
            snapshot: environment.backup.join(&environment.path),
            directory,
            names,
            began: Instant::now(),
            seen: Seen {
                now: Duration::ZERO,
                patience: environment.patience,
                stop: false,
                major,
                directory: Directory::Unknown,
                owner: OwnerFile::Absent,
                data: Data::Absent,
                snapshot: Snapshot::Unknown,
                leftovers: false,
                room: Room::UNKNOWN,
                work: Work::Nothing,
                waits: Waits::default(),
            },
            lock: None,
            running: None,
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
                Act::TakeDirectory => {
                    self.seen.directory = self.take().unwrap_or_else(|error| self.away(&error));
                }
                Act::TakeOwner => self.change(&self.names.take(&self.environment.owner)),
                Act::LookAtSnapshot => self.seen.snapshot = self.look_at_snapshot(),
                Act::Clear => {
                    self.change(&self.names.clear_restore());
                    self.seen.work = Work::Nothing;
                }
                Act::Begin(job) => self.begin(job),
                Act::Cancel => self.cancel(),
                Act::Finish => self.finish(),
                Act::End(end) => return self.end(&end),
            }
        }
    }

    fn again(&self) -> Duration {
        self.began.elapsed() + AGAIN
    }

    fn look(&mut self) {
        self.seen.now = self.began.elapsed();
        if let Ok(room) = Room::of(&self.environment.volume) {
            self.seen.room = room;
        }
        // Of a directory that is not ours nothing is said; and while we write there, we know what is there.
        if self.seen.directory != Directory::Ours || self.seen.work != Work::Nothing {
            return;
        }
        match self.whose() {
            Ok(owner) => self.seen.owner = owner,
            Err(error) => tracing::warn!("{}: {error}", self.directory.join("owner").display()),
        }
        self.seen.data = self.look_at_data();
        let is_there = |path: PathBuf| path.symlink_metadata().is_ok();
        self.seen.leftovers = is_there(self.names.restore()) || is_there(self.names.restored());
    }

    fn whose(&self) -> io::Result<OwnerFile> {
        let owner = match fs::read_to_string(self.directory.join("owner")) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            read => read?.trim().to_owned(),
        };
        Ok(match owner {
            owner if owner.is_empty() => OwnerFile::Absent,
            owner if owner == self.environment.owner => OwnerFile::Ours,
            owner => OwnerFile::Other(owner),
        })
    }

    /// A resource that is made again under the same name has another uid: its data may have changed since, so it was not "restored".
    fn look_at_data(&self) -> Data {
        let names = self.names.names();
        if names.copy() {
            return Data::Other;
        }
        if !names.data {
            return Data::Absent;
        }
        let line = |path: &Path| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let lineage = line(&self.names.data().join(LINEAGE));
        if !lineage.is_empty() && line(&self.names.restored()) == format!("{lineage} {}", self.source()) {
            Data::Restored
        } else {
            Data::Other
        }
    }

    fn source(&self) -> String {
        let Environment {
            uid,
            backup_claim,
            path,
            ..
        } = &self.environment;
        format!("{uid} {backup_claim} {path}")
    }

    fn take(&mut self) -> Result<Directory, OpError> {
        do_all(&self.names.make())?;
        Ok(match lock::take(&self.directory.join("lock"))? {
            Taken::Ours(held) => {
                self.lock = Some(held);
                Directory::Ours
            }
            Taken::Others => Directory::Taken { again: self.again() },
            Taken::Unsupported(error) => {
                tracing::warn!(
                    "{} can't be locked, and is used all the same: only Kubernetes' promise of one pod a name guards it: {error}",
                    self.directory.display()
                );
                Directory::Ours
            }
        })
    }

    fn away(&self, error: &OpError) -> Directory {
        let words = error.to_string();
        if job::is_lasting(error.kind()) {
            return Directory::Refused(words);
        }
        let again = self.again();
        Directory::Away { words, again }
    }

    /// What fails is begun anew, with the directory.
    fn change(&mut self, ops: &[Op]) {
        if let Err(error) = do_all(ops) {
            self.lock = None;
            self.seen.directory = self.away(&error);
        }
    }

    fn look_at_snapshot(&self) -> Snapshot {
        match self.try_snapshot() {
            Ok(found) => found,
            Err(SnapshotError::Read { source, .. }) if !job::is_lasting(source.kind()) => Snapshot::Away {
                words: source.to_string(),
                again: self.again(),
            },
            Err(error) => Snapshot::Refused(Refusal::Unreadable(error.to_string())),
        }
    }

    fn try_snapshot(&self) -> Result<Snapshot, SnapshotError> {
        let path = &self.snapshot;
        let failed = |source| SnapshotError::Read {
            path: path.clone(),
            source,
        };
        let refused = |refusal| Ok(Snapshot::Refused(refusal));
        match path.metadata() {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return refused(Refusal::Missing(self.others())),
            Err(error) if error.kind() == ErrorKind::NotFound => return refused(Refusal::Missing(self.others())),
            Err(error) => return Err(failed(error)),
        }
        if let Some(file) = snapshot::lacks(path) {
            return refused(Refusal::Lacks(file));
        }
        let major = snapshot::major(path)?;
        if major != self.seen.major {
            return refused(Refusal::OtherMajor(major));
        }
        if fs::read_dir(path.join("pg_tblspc")).map_err(failed)?.next().is_some() {
            return refused(Refusal::Tablespaces);
        }
        if snapshot::is_incremental(path)? {
            return refused(Refusal::Incremental);
        }
        let bytes = snapshot::bytes(path).map_err(failed)?;
        Ok(Snapshot::There { bytes })
    }

    /// The newest snapshots on the claim, as far as can be told by their names.
    fn others(&self) -> Vec<String> {
        let visible = |directory: &Path| -> Vec<PathBuf> {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            let is_hidden = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with('.');
            entries
                .filter(|entry| !is_hidden(entry) && entry.path().is_dir())
                .map(|entry| entry.path())
                .collect()
        };
        let volume = &self.environment.backup;
        let mut found: Vec<String> = visible(volume)
            .iter()
            .flat_map(|shelf| visible(shelf))
            .filter_map(|path| Some(path.strip_prefix(volume).ok()?.display().to_string()))
            .collect();
        found.sort_unstable();
        found.split_off(found.len().saturating_sub(NAMED))
    }

    fn begin(&mut self, job: Job) {
        let (from, into) = (self.snapshot.clone(), self.names.restore());
        let running = match job {
            Job::Check => {
                let command = postgres::verify(&from, Verification::Names);
                Running::begin(|mut cancelled| async move { work::run(command, &mut cancelled).await })
            }
            Job::Copy => {
                tracing::info!("copying {} to claim {}", self.place.path, self.place.claim);
                Running::on_a_thread(move |cancelled| {
                    copy(&from, &into, &|| cancelled.is_so()).map_err(|error| error.to_string())
                })
            }
            Job::Verify => {
                tracing::info!("verifying the copy");
                work::verify(into)
            }
            Job::Sync => work::sync(into),
        };
        self.running = Some((job, running));
        self.seen.work = Work::Running { job, cancelled: false };
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
                self.seen.work = match ended {
                    Ok(()) => Work::Done(job),
                    Err(words) => Work::Failed { job, words, again: self.again() },
                };
            }
            () = tokio::time::sleep(TICK) => {}
        }
    }

    /// In one go: no signal comes between.
    fn finish(&mut self) {
        let settings = fs::read_to_string(self.names.restore().join("postgresql.auto.conf")).unwrap_or_default();
        let left = names_of_settings(&settings);
        if !left.is_empty() {
            tracing::warn!(
                "settings that were made by ALTER SYSTEM are not restored: {}",
                left.join(", ")
            );
        }
        // Random: two restores of one snapshot must not be taken for each other.
        let lineage = format!("{:032x}", rand::random::<u128>());
        self.seen.work = match do_all(&self.names.finish_restore(&lineage, &self.source())) {
            Ok(()) => Work::Finished,
            Err(error) => Work::Failed {
                job: Job::Sync,
                words: error.to_string(),
                again: self.again(),
            },
        };
    }

    fn end(&mut self, end: &End) -> Outcome {
        let mut words = self.place.last_words(end, &self.seen);
        if end.outcome() == Outcome::Done {
            tracing::info!("{words}");
            return Outcome::Done;
        }
        let is_unfinished = self.seen.directory == Directory::Ours
            && self.seen.owner == OwnerFile::Ours
            && self.seen.data == Data::Absent;
        if is_unfinished && let Err(error) = do_all(&self.names.clear_restore()) {
            tracing::warn!("{error}");
            words = format!("{words}; but {error}");
        }
        tracing::error!("{words}");
        job::leave(&words, &self.environment.termination_log);
        end.outcome()
    }
}

/// Names only: a value may be a secret.
fn names_of_settings(text: &str) -> Vec<&str> {
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split('=').next().map(str::trim).filter(|name| !name.is_empty()))
        .collect()
}

fn do_all(ops: &[Op]) -> Result<(), OpError> {
    ops.iter().try_for_each(Op::run)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_alter_system_are_named_without_their_values() {
        let text = "# Do not edit this file manually!\nwork_mem = '64MB'\nprimary_conninfo = 'password=x=y'\n\n";
        assert_eq!(names_of_settings(text), ["work_mem", "primary_conninfo"]);
    }
}
