//! `pgop-agent server`: looks, decides, acts, and looks again.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::StatVfs;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::data::{self, LINEAGE};
use crate::environment::{Environment, Kind};
use crate::lock::{self, Held, Taken};
use crate::postgres::{self, Arguments};
use crate::settings::{Wanted, digest};
use crate::sql::{self, Answer, Login, Roles, Session};
use crate::supervisor::{
    Act, Data, End, Job, Lock, OwnerFile, Place, Role, Running, Seen, Server, Settings, Shutdown, Stop, Time, Tried,
    Tries, Up, Verdict, Volume, decide,
};
use crate::volume::{Directory, Names, Op};

/// How often it looks where nothing tells of a change.
const TICK: Duration = Duration::from_secs(1);
/// How often WAL is measured.
const WAL: Duration = Duration::from_secs(30);
/// How long what failed waits.
const AGAIN: Duration = Duration::from_secs(10);

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
    server: Option<Postmaster>,
    in_vain: u32,
    words: Option<String>,
    job: Option<(Job, Work)>,
    cancelled: bool,
    wanted: String,
    verdict: Verdict,
    roles: Option<u64>,
    slots: Option<String>,
    /// When WAL was measured, and by how much it may still grow.
    wal: Option<(Time, Option<u64>)>,
    short: bool,
    stop: Option<Time>,
    tries: Tries,
    signals: [Signal; 2],
}

/// The server, as long as it runs.
struct Postmaster {
    child: Child,
    session: Option<Session>,
    answers: bool,
    came_up: bool,
    proven: Settings,
    /// When the settings were last read before a reload that is not yet judged.
    reloading: Option<f64>,
    settings: Settings,
    limits: crate::control::Limits,
    asked: Option<Shutdown>,
    log: mpsc::Receiver<String>,
}

enum Work {
    Program(Child),
    Check(tokio::task::JoinHandle<io::Result<Verdict>>),
}

impl Agent {
    /// Before the first look.
    pub fn new(environment: Environment) -> io::Result<Self> {
        if environment.kind == Kind::Replica {
            return Err(io::Error::other("this build of the agent serves primaries only"));
        }
        let path = environment.volume.join(&environment.instance);
        std::fs::create_dir_all(&path)?;
        let directory = Directory::new(&path);
        let place = Place {
            resource: environment.owner.clone(),
            claim: environment.claim.clone(),
            directory: path.display().to_string(),
            alone: false,
        };
        Ok(Self {
            directory,
            place,
            began: Instant::now(),
            major: postgres::major()?,
            lock: None,
            lock_state: Lock::Free,
            owner: OwnerFile::Absent,
            data: Data::Absent,
            server: None,
            in_vain: 0,
            words: None,
            job: None,
            cancelled: false,
            wanted: String::new(),
            verdict: Verdict::Unknown,
            roles: None,
            slots: None,
            wal: None,
            short: false,
            stop: None,
            tries: Tries::default(),
            signals: [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?],
            environment,
        })
    }

    /// Until the container is to end: its exit code.
    pub async fn run(mut self) -> io::Result<u8> {
        loop {
            let seen = self.look().await?;
            match decide(&seen) {
                Act::Wait => self.wait().await,
                Act::End(end) => return Ok(self.end(&end)),
                act => {
                    tracing::debug!(?act, "next");
                    self.carry_out(act).await?;
                }
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

    async fn look(&mut self) -> io::Result<Seen> {
        self.look_at_processes().await?;
        let names = self.directory.names();
        if self.lock.is_some() || self.lock_state == Lock::Unknown {
            self.owner = self.whose();
            if self.server.is_none() && self.job.is_none() {
                self.data = data::look(&self.directory.data(), postgres::controldata).map_err(io::Error::other)?;
            }
        }
        let text = self.wanted_text();
        if text != self.wanted {
            (self.wanted, self.verdict, self.in_vain) = (text, Verdict::Unknown, 0);
        }
        let volume = self.volume_seen(names).await;
        self.short = volume.is_short();
        Ok(Seen {
            now: self.now(),
            role: Role::Primary {
                may_init: self.word("init").as_deref() == Some("initdb"),
                roles: self.roles.is_some() && self.roles == self.roles_digest(),
                slots: self.config("slots").is_none() || self.slots == self.config("slots"),
            },
            major: self.major,
            volume,
            running: self.job.as_ref().map(|(job, _)| Running {
                job: *job,
                cancelled: self.cancelled,
            }),
            server: self.server_seen(),
            wanted: digest(&self.wanted),
            verdict: self.verdict.clone(),
            kept: std::fs::read_to_string(self.path("settings.kept"))
                .ok()
                .map(|text| digest(&text)),
            stop: self.stop.map(|asked| Stop {
                asked,
                grace: Duration::from_secs(300),
            }),
            tries: self.tries.clone(),
        })
    }

    async fn volume_seen(&mut self, names: Names) -> Volume {
        let now = self.now();
        let is_due = self.wal.is_none_or(|(at, _)| now.saturating_sub(at) >= WAL);
        let session = self.server.as_ref().and_then(|server| server.session.as_ref());
        let known = self.wal.and_then(|(_, wal)| wal);
        if is_due && let Some(session) = session {
            self.wal = Some((now, session.wal().await.ok().or(known)));
        }
        let space = rustix::fs::statvfs(&self.environment.volume).ok();
        let bytes = |blocks: fn(&StatVfs) -> u64| space.as_ref().map_or(0, |space| blocks(space) * space.f_frsize);
        Volume {
            lock: self.lock_state,
            owner: self.owner.clone(),
            leftovers: names.leftovers() && self.job.is_none(),
            copy: names.copy(),
            data: self.data.clone(),
            free: bytes(|space| space.f_bavail),
            size: bytes(|space| space.f_blocks),
            wal: self.wal.and_then(|(_, wal)| wal),
            short: self.short,
        }
    }

    fn whose(&self) -> OwnerFile {
        match std::fs::read_to_string(self.path("owner")).map(|text| text.trim().to_owned()) {
            Ok(owner) if owner == self.environment.owner => OwnerFile::Ours,
            Ok(owner) if !owner.is_empty() => OwnerFile::Other(owner),
            _ => OwnerFile::Absent,
        }
    }

    fn wanted_text(&self) -> String {
        let (keep, settings) = (
            self.word("wal-keep"),
            self.config("postgresql.conf").unwrap_or_default(),
        );
        Wanted {
            wal_keep: keep.as_deref(),
            settings: &settings,
        }
        .text()
    }

    fn server_seen(&self) -> Server {
        match &self.server {
            None => Server::Down {
                in_vain: self.in_vain,
                words: self.words.clone(),
            },
            Some(server) => Server::Up(Up {
                answers: server.answers,
                proven: server.proven,
                settings: server.settings,
                limits: server.limits,
                asked: server.asked,
                follows: false,
                paused: false,
                stuck: None,
            }),
        }
    }

    /// Who has ended, and whether the server answers.
    async fn look_at_processes(&mut self) -> io::Result<()> {
        if let Some((job, work)) = &mut self.job {
            let job = *job;
            let ended = match work {
                Work::Program(child) => child.try_wait()?.map(|status| {
                    if status.success() {
                        Ok(())
                    } else {
                        Err(status.to_string())
                    }
                }),
                Work::Check(task) if task.is_finished() => {
                    self.verdict = task
                        .await
                        .map_err(io::Error::other)?
                        .unwrap_or_else(|error| Verdict::Bad(error.to_string()));
                    if let Verdict::Bad(words) = &self.verdict {
                        tracing::warn!("the settings are not put in force: {words}");
                    }
                    Some(Ok(()))
                }
                Work::Check(_) => None,
            };
            if let Some(ended) = ended {
                self.job = None;
                self.ended(job, ended)?;
            }
        }
        let Some(server) = &mut self.server else { return Ok(()) };
        while let Ok(line) = server.log.try_recv() {
            self.words = Some(line);
        }
        if let Some(status) = server.child.try_wait()? {
            self.died(status);
            return Ok(());
        }
        if server.session.as_ref().is_none_or(|session| !session.is_open()) {
            (server.session, server.answers) = match sql::connect(&self.environment.run).await {
                Answer::Session(session) => (Some(session), true),
                Answer::Full => (None, true),
                Answer::No => (None, false),
            };
        }
        server.came_up |= server.answers;
        if server.answers {
            self.words = None;
        }
        if let (Some(before), Some(session)) = (server.reloading, &server.session)
            && let Ok((loaded, waits)) = session.loaded().await
            && loaded > before
        {
            server.reloading = None;
            if waits {
                tracing::warn!("some of the settings wait for a start");
            } else {
                server.proven = server.settings;
                std::fs::copy(
                    self.environment.run.join("postgresql.conf"),
                    self.environment.run.join("proven.conf"),
                )?;
            }
        }
        Ok(())
    }

    fn died(&mut self, status: std::process::ExitStatus) {
        let Some(server) = self.server.take() else { return };
        self.roles = None;
        self.slots = None;
        if server.asked.is_some() {
            tracing::info!("PostgreSQL has stopped");
            (self.in_vain, self.words) = (0, None);
            return;
        }
        let words = self.words.clone().unwrap_or_else(|| status.to_string());
        tracing::warn!("PostgreSQL ended with {status} without having been asked to: {words}");
        self.in_vain = if server.came_up { 0 } else { self.in_vain + 1 };
        let kept = std::fs::read_to_string(self.path("settings.kept"))
            .ok()
            .map(|text| digest(&text));
        if !server.came_up && self.in_vain > 1 && kept.is_some_and(|kept| kept != server.settings) {
            self.verdict = Verdict::Bad(words);
            self.in_vain = 0;
        }
    }

    fn ended(&mut self, job: Job, ended: Result<(), String>) -> io::Result<()> {
        self.cancelled = false;
        if let Err(words) = ended {
            tracing::warn!(?job, "failed: {words}; tried again in {} s", AGAIN.as_secs());
            self.tries.0.insert(Tried::Job(job), self.now() + AGAIN);
            return Ok(());
        }
        if job == Job::Init {
            let (made, data) = (self.path("data.init"), self.directory.data());
            let lineage = made.join(LINEAGE);
            run(&[
                Op::Write(lineage, new_lineage()),
                Op::Sync(made.clone()),
                Op::Rename(made, data),
                Op::Sync(self.path("")),
            ])?;
        }
        Ok(())
    }

    async fn carry_out(&mut self, act: Act) -> io::Result<()> {
        match act {
            Act::Wait | Act::End(_) | Act::FinishClone | Act::MakeSlot | Act::Follow | Act::Begin(Job::Clone) => {
                return Err(io::Error::other(format!("{act:?} of a primary")));
            }
            Act::TakeLock => match lock::take(&self.path("lock")).map_err(io::Error::other)? {
                Taken::Ours(held) => (self.lock, self.lock_state) = (Some(held), Lock::Ours),
                Taken::Unsupported(error) => {
                    tracing::warn!(
                        "only Kubernetes' promise of one pod a name guards {}: {error}",
                        self.place
                    );
                    self.lock_state = Lock::Unknown;
                }
                Taken::Others => self.lock_state = Lock::Taken { since: self.now() },
            },
            Act::TakeOwner => run(&self.directory.take(&self.environment.owner))?,
            Act::Clean => run(&self.directory.clean(self.directory.names()))?,
            Act::WriteLineage => run(&[Op::Write(self.directory.data().join(LINEAGE), new_lineage())])?,
            Act::Begin(job) => self.begin(job)?,
            Act::Cancel => {
                self.cancelled = true;
                match &self.job {
                    Some((_, Work::Program(child))) => postgres::terminate(child),
                    Some((_, Work::Check(task))) => task.abort(),
                    None => {}
                }
            }
            Act::Start { settings, limits } => self.start(settings, limits)?,
            Act::Reload => {
                std::fs::write(self.environment.run.join("postgresql.conf"), &self.wanted)?;
                if let Some(server) = &mut self.server {
                    server.reloading = match &server.session {
                        Some(session) => session.loaded().await.ok().map(|(loaded, _)| loaded),
                        None => None,
                    };
                    postgres::reload(&server.child);
                    server.settings = digest(&self.wanted);
                    tracing::info!("settings have changed: reloaded");
                }
            }
            Act::KeepSettings => {
                let new = self.path("settings.new");
                std::fs::copy(self.environment.run.join("proven.conf"), &new)?;
                std::fs::rename(new, self.path("settings.kept"))?;
            }
            Act::SyncRoles => self.sync_roles().await,
            Act::SyncSlots => self.sync_slots().await,
            Act::Stop(how) => {
                if let Some(server) = &mut self.server {
                    tracing::info!("asking PostgreSQL to stop: {how:?}");
                    postgres::stop(&server.child, how);
                    server.asked = Some(how);
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, job: Job) -> io::Result<()> {
        let work = match job {
            Job::Init | Job::Clone => {
                tracing::info!("making a new database in {}", self.place);
                let locale = self.word("locale").unwrap_or_else(|| "C.UTF-8".to_owned());
                let size = self.word("wal-segment-size").unwrap_or_else(|| "16".to_owned());
                Work::Program(postgres::initdb(&self.path("data.init"), &locale, &size)?)
            }
            Job::CheckSettings => {
                let file = self.environment.run.join("next.conf");
                std::fs::write(&file, &self.wanted)?;
                let (data, shadow, major) = (self.directory.data(), self.environment.run.join("shadow"), self.major);
                Work::Check(tokio::spawn(async move {
                    postgres::check(&data, &shadow, &file, major).await
                }))
            }
        };
        self.job = Some((job, work));
        Ok(())
    }

    fn start(&mut self, settings: Settings, limits: crate::control::Limits) -> io::Result<()> {
        let run_directory = self.environment.run.clone();
        let file = run_directory.join("postgresql.conf");
        if settings == digest(&self.wanted) {
            std::fs::write(&file, &self.wanted)?;
        } else {
            std::fs::copy(self.path("settings.kept"), &file)?;
        }
        std::fs::copy(&file, run_directory.join("proven.conf"))?;
        // Whoever wrote these is gone: everybody who writes here holds the lock.
        let data = self.directory.data();
        if self.lock.is_some() {
            run(&[Op::Remove(data.join("postmaster.pid"))])?;
        }
        run(&[".s.PGSQL.5432", ".s.PGSQL.5432.lock"].map(|name| Op::Remove(run_directory.join(name))))?;
        let lineage = std::fs::read_to_string(data.join(LINEAGE))?;
        let config = |name: &str| self.environment.config.join(name).display().to_string();
        let mut arguments = Arguments::default()
            .with("config_file", &file.display())
            .with("hba_file", &config("pg_hba.conf"))
            .with("ident_file", &config("pg_ident.conf"))
            .with("unix_socket_directories", &run_directory.display())
            .with("listen_addresses", &"*")
            .with("port", &5432)
            .with("cluster_name", &self.environment.instance)
            .with("log_destination", &"stderr")
            .with("logging_collector", &"off")
            .with("pgop.lineage", &lineage.trim());
        for (name, value) in limits.settings().filter(|(_, value)| *value > 0) {
            arguments = arguments.with(name, &value);
        }
        let mut child = postgres::start(&data, &arguments)?;
        let (sender, log) = mpsc::channel(100);
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(async move {
                let mut lines = BufReader::new(stderr).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    eprintln!("{line}");
                    // To its clients it says that it is starting up, or shutting down.
                    let is_about_itself = !line.contains("the database system is ");
                    if is_about_itself && (line.contains("FATAL:") || line.contains("PANIC:")) {
                        // Nobody listens: nobody has to be told.
                        let _ = sender.try_send(line);
                    }
                }
            });
        }
        self.server = Some(Postmaster {
            child,
            session: None,
            answers: false,
            came_up: false,
            proven: settings,
            reloading: None,
            settings,
            limits,
            asked: None,
            log,
        });
        Ok(())
    }

    fn roles_wanted(&self) -> Option<Roles> {
        let secret = |role: &str, key: &str| {
            let text = std::fs::read_to_string(self.environment.secrets.join(role).join(key)).ok()?;
            let is_fine = !text.is_empty() && !text.contains(['\n', '\r', '\0']);
            is_fine.then_some(text)
        };
        let login = |role: &str| {
            Some(Login {
                name: secret(role, "username")?,
                password: secret(role, "password")?,
            })
        };
        Some(Roles {
            superuser: login("superuser")?,
            replication: login("replication")?,
            user: login("user")?,
            database: self.word("database")?,
        })
    }

    fn roles_digest(&self) -> Option<u64> {
        self.roles_wanted().map(|roles| digest(&format!("{roles:?}")).0)
    }

    async fn sync_roles(&mut self) {
        let session = self.server.as_ref().and_then(|server| server.session.as_ref());
        let set = match (session, self.roles_wanted()) {
            (Some(session), Some(roles)) => session.set(&roles).await.map_err(|error| error.to_string()),
            (None, _) => Err("no connection is free".to_owned()),
            (_, None) => Err("a Secret lacks a key, or has an empty value or a line break in one".to_owned()),
        };
        match set {
            Ok(()) => {
                tracing::info!("roles and passwords are as the Secrets say");
                self.roles = self.roles_digest();
                self.tries.0.remove(&Tried::Roles);
            }
            Err(words) => {
                tracing::warn!(
                    "roles could not be set and are tried again in {} s: {words}",
                    AGAIN.as_secs()
                );
                self.tries.0.insert(Tried::Roles, self.now() + AGAIN);
            }
        }
    }

    async fn sync_slots(&mut self) {
        let wanted = self.config("slots");
        let names: Vec<String> = wanted
            .iter()
            .flat_map(|text| text.split([' ', '"', '\n']))
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect();
        let session = self.server.as_ref().and_then(|server| server.session.as_ref());
        let Some(session) = session else {
            self.tries.0.insert(Tried::Slots, self.now() + AGAIN);
            return;
        };
        match session.make_slots(&names).await {
            Ok(()) => self.slots = wanted,
            Err(error) => {
                tracing::warn!("slots could not be made: {error}");
                self.tries.0.insert(Tried::Slots, self.now() + AGAIN);
            }
        }
    }

    async fn wait(&mut self) {
        let server = async {
            match &mut self.server {
                Some(server) => drop(server.child.wait().await),
                None => std::future::pending().await,
            }
        };
        let job = async {
            match &mut self.job {
                Some((_, Work::Program(child))) => drop(child.wait().await),
                Some((_, Work::Check(_))) => tokio::time::sleep(Duration::from_millis(20)).await,
                None => std::future::pending().await,
            }
        };
        let [terminate, interrupt] = &mut self.signals;
        // One that starts is asked more often.
        let is_starting = self.stop.is_none() && self.roles.is_none();
        let tick = if is_starting { TICK / 20 } else { TICK };
        let asked = tokio::select! {
            _ = terminate.recv() => true,
            _ = interrupt.recv() => true,
            () = server => false,
            () = job => false,
            () = tokio::time::sleep(tick) => false,
        };
        if asked && self.stop.is_none() {
            tracing::info!("asked to stop");
            self.stop = Some(self.now());
        }
        if let Lock::Taken { .. } = self.lock_state
            && let Ok(Taken::Ours(held)) = lock::take(&self.path("lock"))
        {
            (self.lock, self.lock_state) = (Some(held), Lock::Ours);
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

/// Random: two restores of one snapshot must not be taken for each other.
fn new_lineage() -> String {
    format!("{:032x}", rand::random::<u128>())
}
