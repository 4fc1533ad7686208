//! Does what was decided.

use std::io;
use std::os::unix::fs::PermissionsExt as _;

use tokio::process::Child;

use super::log::{Log, ends_program};
use super::postmaster::Postmaster;
use super::primary::new_lineage;
use super::replica::unhook;
use super::{AGAIN, Agent, JOB_LOCK, Part, SERVER_LOCK, Work, run};
use crate::check::Candidate;
use crate::control::Limits;
use crate::data::{self, AUTO_CONF, LINEAGE, REFUSED};
use crate::lock::{self, Taken};
use crate::postgres::{self, Arguments};
use crate::settings::{digest, own_lines};
use crate::supervisor::{Act, Data, Job, Lock, Recovery, Settings, Tried};
use crate::volume::Op;

impl Agent {
    /// Does it. What may fail for a while is tried again; what fails here ends the container.
    pub(super) async fn carry_out(&mut self, act: Act) -> io::Result<()> {
        match act {
            Act::Wait | Act::End(_) => {}
            Act::TakeLock => self.take_lock()?,
            Act::TakeOwner => run(&self.directory.take(&self.environment.owner))?,
            Act::KillOrphans => {
                tracing::warn!("ending what the server has left");
                if self.directory.data().exists() {
                    postgres::kill_all_in(&self.directory.data())?;
                }
                for lock in [SERVER_LOCK, JOB_LOCK] {
                    postgres::kill_all_with(&self.environment.run.join(lock))?;
                }
                // They are gone when their lock is free: the next look tells.
                tokio::time::sleep(super::TICK / 50).await;
            }
            Act::Clean => run(&self.directory.clean(self.directory.names()))?,
            Act::FinishClone => self.put_copy_in_place()?,
            Act::WriteLineage => run(&[Op::Write(self.directory.data().join(LINEAGE), new_lineage())])?,
            Act::Begin(job) => {
                if job == Job::Clone && self.follows().is_some() {
                    // The copy's stream and the server's would want one slot.
                    self.read_again(None).await?;
                }
                self.begin(job)?;
            }
            Act::Cancel => {
                self.cancelled = true;
                match &self.job {
                    Some((_, Work::Program(child, _))) => postgres::terminate(child),
                    Some((_, Work::Check(task))) => task.abort(),
                    None => {}
                }
            }
            Act::SetAside => self.set_aside()?,
            Act::Start { settings, limits } => self.start(settings, limits).await?,
            Act::Reload => {
                tracing::info!("having PostgreSQL read its settings");
                let (text, follows) = (self.wanted.clone(), self.follows());
                self.tries.0.insert(Tried::Reload, self.began.elapsed() + super::AGAIN);
                self.reload(&text, follows).await?;
            }
            Act::Follow => {
                tracing::info!("following the primary");
                self.read_again(self.followed_text()).await?;
            }
            Act::KeepSettings => {
                if let Err(error) = self.keep_settings() {
                    tracing::warn!("the settings in force could not be kept, and it is tried again: {error}");
                    self.tries.0.insert(Tried::Keep, self.now() + AGAIN);
                }
            }
            Act::MakeSlot => self.make_slot().await,
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

    /// A full volume is no reason to end a server that runs.
    fn keep_settings(&self) -> io::Result<()> {
        let proven = self.server.as_ref().map(|server| server.proven.clone());
        let new = self.path("settings.new");
        run(&[Op::Write(new.clone(), proven.unwrap_or_default())])?;
        std::fs::rename(new, self.path("settings.kept"))
    }

    fn set_aside(&mut self) -> io::Result<()> {
        let words = self.overrides_refused.take().or(self.words.clone()).unwrap_or_default();
        tracing::warn!("PostgreSQL does not start with what ALTER SYSTEM has set, and is started without: {words}");
        let (file, refused) = (self.directory.data().join(AUTO_CONF), self.path(REFUSED));
        let left = std::fs::read_to_string(&file)?;
        run(&[
            Op::Write(refused.clone(), data::refusal(&words, &left)),
            Op::Sync(refused),
            Op::Write(file, String::new()),
        ])?;
        self.in_vain = 0;
        Ok(())
    }

    fn take_lock(&mut self) -> io::Result<()> {
        match lock::take(&self.path("lock")).map_err(io::Error::other)? {
            Taken::Ours(held) => (self.lock, self.lock_state) = (Some(held), Lock::Ours),
            Taken::Unsupported(error) => {
                tracing::warn!(
                    "only Kubernetes' promise of one pod a name guards {}: {error}",
                    self.place
                );
                self.lock_state = Lock::Unknown;
            }
            Taken::Others => {
                tracing::info!("waiting for another pod to let go of {}", self.place);
                self.lock_state = Lock::Taken { since: self.now() };
            }
        }
        Ok(())
    }

    fn begin(&mut self, job: Job) -> io::Result<()> {
        // What is started inherits it, as a server does its own: an agent that comes after this one finds who is left by it.
        let Taken::Ours(held_by_job) = lock::take(&self.environment.run.join(JOB_LOCK)).map_err(io::Error::other)?
        else {
            // One that was cancelled is on its way out.
            self.tries.0.insert(Tried::Job(job), self.now() + super::TICK);
            return Ok(());
        };
        let work = match job {
            Job::Init => {
                postgres::need_shell("make a database")?;
                tracing::info!("making a new database in {}", self.place);
                // C.UTF-8 sorts by code point, like C, and knows upper and lower case; not every image has it.
                let usual = if self.plain_locale { "C" } else { "C.UTF-8" };
                let locale = self.word("locale").unwrap_or_else(|| usual.to_owned());
                let size = self.word("wal-segment-size").unwrap_or_else(|| "16".to_owned());
                program(postgres::initdb(&self.path("data.init"), &locale, &size)?)
            }
            Job::Clone => {
                let (run, slot) = (&self.environment.run, self.environment.slot());
                // The next look tells of it.
                let Ok((target, _)) = self.upstream() else {
                    return Ok(());
                };
                tracing::info!("copying the primary, {}, to {}", target.host, self.place);
                let conninfo = target.text(&run.join("pgpass"));
                program(postgres::copy_primary(&self.directory.copy(), &conninfo, &slot)?)
            }
            Job::CheckSettings => {
                let candidate = Candidate {
                    text: self.wanted.clone(),
                    own: own_lines(&self.wanted),
                    data: self.directory.data(),
                    run: self.environment.run.clone(),
                    major: self.major,
                };
                Work::Check(tokio::spawn(async move { candidate.check().await }))
            }
        };
        drop(held_by_job);
        self.job = Some((job, work));
        Ok(())
    }

    fn follows(&self) -> Option<String> {
        self.server.as_ref().and_then(|server| server.follows.clone())
    }

    /// Writes what the server reads: the resource's settings, and whom a replica follows, which no setting may change.
    fn write_file(&self, text: &str, follows: Option<&str>) -> io::Result<()> {
        let mut text = text.to_owned();
        if let Part::Replica(_) = self.part {
            // Until it is known that the primary has this data's history, the replica serves reads and follows nobody.
            text.push_str(follows.unwrap_or("\nprimary_conninfo = ''\n"));
        }
        let new = self.environment.run.join("postgresql.conf.new");
        std::fs::write(&new, text)?;
        std::fs::rename(new, self.environment.run.join("postgresql.conf"))
    }

    async fn reload(&mut self, text: &str, follows: Option<String>) -> io::Result<()> {
        self.write_file(text, follows.as_deref())?;
        if let Some(server) = &mut self.server {
            server.follows = follows;
            server.reload(text).await;
        }
        Ok(())
    }

    /// The same settings, and another to follow.
    async fn read_again(&mut self, follows: Option<String>) -> io::Result<()> {
        let text = self.server.as_ref().map(|server| server.text.clone());
        self.reload(&text.unwrap_or_default(), follows).await
    }

    async fn start(&mut self, settings: Settings, limits: Limits) -> io::Result<()> {
        let text = if settings == digest(&self.wanted) {
            self.wanted.clone()
        } else {
            std::fs::read_to_string(self.path("settings.kept"))?
        };
        self.write_file(&text, None)?;
        let (data, run_directory) = (self.directory.data(), self.environment.run.clone());
        // A volume plugin that applies fsGroup again opens it, and the server then refuses to start.
        std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700))?;
        // Whoever wrote these is gone: everybody who writes here holds the lock.
        if self.lock.is_some() {
            run(&[Op::Remove(data.join("postmaster.pid"))])?;
        }
        run(&[".s.PGSQL.5432", ".s.PGSQL.5432.lock"].map(|name| Op::Remove(run_directory.join(name))))?;
        let (mut limits, mut held) = (limits, Vec::new());
        if let Part::Replica(_) = self.part {
            unhook(&data)?;
            let wanted = self.limits_wanted().await;
            held = wanted.lacks(&limits);
            limits = wanted.raised_to(limits);
        }
        let mut arguments = self.arguments()?;
        for (name, value) in &held {
            arguments = arguments.with(name, value);
        }
        // All its processes inherit it, and the agent lets go of it: it is free when all of them are gone.
        let Taken::Ours(held_by_server) = lock::take(&run_directory.join(SERVER_LOCK)).map_err(io::Error::other)?
        else {
            return Ok(());
        };
        let mut server = Postmaster::start(&data, arguments, text)?;
        drop(held_by_server);
        self.tries.0.insert(Tried::Reload, self.began.elapsed() + super::AGAIN);
        (server.limits, server.held) = (limits, held);
        self.server = Some(server);
        Ok(())
    }

    async fn limits_wanted(&self) -> Limits {
        let (data, file) = (self.directory.data(), self.environment.run.join("postgresql.conf"));
        let mut wanted = [0; 5];
        for ((name, _), wanted) in Limits::default().settings().zip(&mut wanted) {
            *wanted = postgres::setting(&data, &file, name).await.unwrap_or_default();
        }
        Limits::new(wanted)
    }

    fn arguments(&self) -> io::Result<Arguments> {
        let lineage = std::fs::read_to_string(self.directory.data().join(LINEAGE))?;
        let config = |name: &str| self.environment.config.join(name).display().to_string();
        let run_directory = &self.environment.run;
        let mut arguments = Arguments::default()
            // A file that names another would win over -D.
            .with("data_directory", &self.directory.data().display())
            .with("config_file", &run_directory.join("postgresql.conf").display())
            .with("hba_file", &config("pg_hba.conf"))
            .with("ident_file", &config("pg_ident.conf"))
            .with("unix_socket_directories", &run_directory.display())
            .with("listen_addresses", &"*")
            .with("port", &5432)
            .with("cluster_name", &self.environment.instance)
            .with("log_destination", &"stderr")
            .with("logging_collector", &"off")
            .with("pgop.lineage", &lineage.trim());
        if let Some(uid) = &self.environment.owner_uid {
            arguments = arguments.with("pgop.owner_uid", uid);
        }
        if self.major >= 17 {
            // What counts is the resource. Before 17 what ALTER SYSTEM has left can only be told.
            arguments = arguments.with("allow_alter_system", &"off");
        }
        if let Data::There(facts) = &self.data
            && facts.recovery == Recovery::Ours
        {
            // First start after a restore: replays what the snapshot holds and goes on with a new timeline. Nothing is fetched. `hot_standby=off`
            // lifts the rule that limits may not be lower than at the source. `PostgreSQL` insists on a command, and runs it.
            postgres::need_shell("start from a backup")?;
            arguments = arguments
                .once("restore_command", "exit 1")
                .once("recovery_target_timeline", "current")
                .once("hot_standby", "off");
        }
        Ok(arguments)
    }
}

fn program(mut child: Child) -> Work {
    let log = Log::of(&mut child, ends_program);
    Work::Program(child, log)
}
