//! What there is to see.

use std::io;
use std::process::ExitStatus;

use rustix::fs::StatVfs;

use super::{AGAIN, Agent, JOB_LOCK, Part, SERVER_LOCK, WAL, Work, run};
use crate::check::Findings;
use crate::complaint::names;
use crate::data::{self, AUTO_CONF, LINEAGE, REFUSED};
use crate::lock::{self, Taken};
use crate::postgres;
use crate::settings::file::{differences, entries, is_on, last};
use crate::settings::{Wanted, digest};
use crate::supervisor::{
    Data, Job, Lock, OwnerFile, Role, Running, Seen, Server, Settings, Stop, Tried, Up, Verdict, Volume,
    blames_settings,
};
use crate::volume::Op;

impl Agent {
    /// Looks at everything once.
    pub(super) async fn look(&mut self) -> io::Result<Seen> {
        super::reap::reap();
        self.look_at_job().await?;
        self.look_at_server().await?;
        self.look_at_volume()?;
        self.look_upstream().await?;
        let text = self.wanted_text();
        if text != self.wanted {
            (self.wanted, self.verdict, self.in_vain) = (text, Verdict::Unknown, 0);
        }
        if self.check_again.take_if(|at| *at <= self.began.elapsed()).is_some() {
            self.verdict = Verdict::Unknown;
        }
        let volume = self.volume_seen().await;
        self.short = volume.is_short();
        Ok(Seen {
            now: self.now(),
            role: self.role(),
            major: self.major,
            volume,
            running: self.job.as_ref().map(|(job, _)| Running {
                job: *job,
                cancelled: self.cancelled,
            }),
            server: self.server_seen(),
            wanted: digest(&self.wanted),
            verdict: self.verdict.clone(),
            kept: self.kept(),
            stop: self.stop.map(|asked| Stop {
                asked,
                grace: self.environment.grace,
            }),
            tries: self.tries.clone(),
        })
    }

    async fn volume_seen(&mut self) -> Volume {
        let now = self.now();
        let is_due = self.wal.is_none_or(|(at, _)| now.saturating_sub(at) >= WAL);
        let known = self.wal.and_then(|(_, wal)| wal);
        if is_due && let Some(server) = &mut self.server {
            server.judge_again().await;
            if let Some(session) = &server.session {
                self.wal = Some((now, session.wal().await.ok().or(known)));
            }
        }
        let space = rustix::fs::statvfs(&self.environment.volume).ok();
        let bytes = |blocks: fn(&StatVfs) -> u64| space.as_ref().map_or(0, |space| blocks(space) * space.f_frsize);
        let names = self.directory.names();
        Volume {
            lock: self.lock_state,
            owner: self.owner.clone(),
            orphans: (self.server.is_none() && self.is_held(SERVER_LOCK))
                || (self.job.is_none() && self.is_held(JOB_LOCK)),
            leftovers: names.leftovers() && self.job.is_none(),
            copy: names.copy(),
            data: self.data.clone(),
            overrides: self.overrides(),
            overrides_refused: self.overrides_refused.clone(),
            set_aside: std::fs::read_to_string(self.path(REFUSED))
                .ok()
                .map(|text| data::refused(&text)),
            free: bytes(|space| space.f_bavail),
            size: bytes(|space| space.f_blocks),
            wal: self.wal.and_then(|(_, wal)| wal),
            short: self.short,
        }
    }

    fn is_held(&self, lock: &str) -> bool {
        matches!(lock::take(&self.environment.run.join(lock)), Ok(Taken::Others))
    }

    fn role(&self) -> Role {
        match &self.part {
            Part::Primary(part) => Role::Primary {
                may_init: self.word("init").as_deref() == Some("initdb"),
                roles: part.roles(self.roles_digest()),
                slots: part.has_slots(self.config("slots").as_deref()),
            },
            Part::Replica(part) => Role::Replica {
                primary: part.primary(),
            },
        }
    }

    /// Nobody changes these while somebody holds the lock and no server runs.
    fn look_at_volume(&mut self) -> io::Result<()> {
        if let Lock::Taken { .. } = self.lock_state
            && let Ok(Taken::Ours(held)) = lock::take(&self.path("lock"))
        {
            (self.lock, self.lock_state) = (Some(held), Lock::Ours);
        }
        if self.lock.is_none() && self.lock_state != Lock::Unknown {
            return Ok(());
        }
        self.owner = self.whose();
        let is_still = self.server.is_none() && self.job.is_none();
        if is_still || (self.asks_for_limits() && self.now().saturating_sub(self.looked) >= AGAIN / 2) {
            self.looked = self.now();
            let found = data::look(&self.directory.data(), postgres::controldata);
            self.data = found.map_err(|error| io::Error::other(self.place.broken(&error.to_string())))?;
            self.initdb = std::fs::read_to_string(self.directory.data().join("postgresql.conf")).unwrap_or_default();
        }
        Ok(())
    }

    /// What a replica has replayed last says whether it lacks a limit, or has one that it needs no more.
    fn asks_for_limits(&self) -> bool {
        let is_paused = matches!(&self.part, Part::Replica(part) if part.is_paused());
        is_paused || self.server.as_ref().is_some_and(|server| !server.held.is_empty())
    }

    /// Settings that wait for the next start.
    fn waits(&self) -> Vec<String> {
        let Some(server) = &self.server else { return Vec::new() };
        let mut waits = server.waits.clone();
        if let Data::There(facts) = &self.data {
            let needed = facts.control.limits;
            let is_free = |held: &&(&str, u32)| needed.settings().any(|now| now.0 == held.0 && now.1 < held.1);
            waits.extend(server.held.iter().filter(is_free).map(|(name, _)| (*name).to_owned()));
        }
        waits
    }

    fn whose(&self) -> OwnerFile {
        match std::fs::read_to_string(self.path("owner")).map(|text| text.trim().to_owned()) {
            Ok(owner) if owner == self.environment.owner => OwnerFile::Ours,
            Ok(owner) if !owner.is_empty() => OwnerFile::Other(owner),
            _ => OwnerFile::Absent,
        }
    }

    fn overrides(&self) -> Vec<String> {
        let file = std::fs::read_to_string(self.directory.data().join(AUTO_CONF));
        file.map(|text| data::names(&text)).unwrap_or_default()
    }

    fn kept(&self) -> Option<Settings> {
        let text = std::fs::read_to_string(self.path("settings.kept")).ok()?;
        Some(digest(&text))
    }

    fn wanted_text(&self) -> String {
        let (keep, settings) = (
            self.word("wal-keep"),
            self.config("postgresql.conf").unwrap_or_default(),
        );
        let segment = match &self.data {
            Data::There(facts) => facts.control.segment,
            Data::Absent | Data::Foreign => 0,
        };
        Wanted {
            initdb: &self.initdb,
            segment,
            wal_keep: keep.as_deref(),
            settings: &settings,
        }
        .text()
    }

    fn server_seen(&self) -> Server {
        let Some(server) = &self.server else {
            return Server::Down {
                in_vain: self.in_vain,
                words: self.words.clone(),
            };
        };
        let (proven, settings) = server.settings();
        let (paused, stuck) = match &self.part {
            Part::Primary(_) => (false, None),
            Part::Replica(part) => (part.is_paused(), part.stuck()),
        };
        let read_only = entries(&server.text);
        let read_only = last(&read_only, "default_transaction_read_only");
        Server::Up(Up {
            hears: server.hears,
            answers: server.answers,
            proven,
            settings,
            reading: server.reading.is_some(),
            refused: server.refused.clone(),
            in_vain: server.in_vain(),
            held: server
                .held
                .iter()
                .map(|(name, value)| format!("{name} = {value}"))
                .collect(),
            read_only: read_only.is_some_and(|entry| is_on(&entry.value)),
            limits: server.limits,
            waits: self.waits(),
            asked: server.asked,
            follows: server.follows.is_some() && server.follows == self.followed_text(),
            paused,
            stuck,
        })
    }

    async fn look_at_job(&mut self) -> io::Result<()> {
        let Some((job, work)) = &mut self.job else {
            return Ok(());
        };
        let job = *job;
        let ended = match work {
            Work::Program(child, log) => match child.try_wait()? {
                None => None,
                Some(status) if status.success() => Some(Ok(())),
                Some(status) => Some(Err(log.end().await.unwrap_or_else(|| status.to_string()))),
            },
            Work::Check(task) if task.is_finished() => {
                // One that was cancelled has found nothing out.
                if let Ok(found) = task.await {
                    self.found(found);
                }
                Some(Ok(()))
            }
            Work::Check(_) => None,
        };
        let Some(ended) = ended else { return Ok(()) };
        self.job = None;
        self.cancelled = false;
        match ended {
            Err(words) if job == Job::Init && !self.plain_locale && words.contains("invalid locale name") => {
                self.plain_locale = true;
                Ok(())
            }
            Err(words) => {
                tracing::warn!(?job, "failed: {words}; tried again in {} s", AGAIN.as_secs());
                self.tries.0.insert(Tried::Job(job), self.now() + AGAIN);
                Ok(())
            }
            Ok(()) => match job {
                Job::Init => self.finish_init(),
                Job::Clone => self.finish_copy(),
                Job::CheckSettings => Ok(()),
            },
        }
    }

    /// Takes in what became of a check of the settings.
    fn found(&mut self, found: io::Result<Findings>) {
        // Want of space, or of a program, says nothing of them for good.
        self.check_again = found.is_err().then(|| self.began.elapsed() + AGAIN);
        let found = found.unwrap_or_else(|error| Findings {
            verdict: Verdict::Bad(error.to_string()),
            overrides: None,
        });
        (self.verdict, self.overrides_refused) = (found.verdict, found.overrides);
        if let Verdict::Bad(words) = &mut self.verdict {
            tracing::warn!("the settings are not put in force: {words}");
            let former = match &self.server {
                Some(server) => Some(server.text.clone()),
                None => std::fs::read_to_string(self.place.directory.clone() + "/settings.kept").ok(),
            };
            let former = former.unwrap_or_default();
            let held: Vec<String> = differences(&former, &self.wanted)
                .into_iter()
                .filter(|name| !former.is_empty() && !names(words, name))
                .collect();
            if !held.is_empty() {
                *words = format!("{words}; held back by that: {}", held.join(", "));
            }
        }
    }

    fn finish_init(&self) -> io::Result<()> {
        let (made, data) = (self.path("data.init"), self.directory.data());
        run(&[
            Op::Write(made.join(LINEAGE), super::primary::new_lineage()),
            Op::Write(self.path(super::ROLES_PENDING), String::new()),
            Op::Sync(made.clone()),
            Op::Rename(made, data),
            Op::Sync(self.path("")),
        ])
    }

    async fn look_at_server(&mut self) -> io::Result<()> {
        let Some(server) = &mut self.server else { return Ok(()) };
        self.words = server.words().or(self.words.take());
        if let Some(status) = server.child.try_wait()? {
            // They hold the other end of its log too.
            if server.asked.is_none() {
                postgres::kill_all_in(&self.directory.data())?;
            }
            let words = server.end().await.or(self.words.take());
            self.died(status, words);
            return Ok(());
        }
        server.look(&self.environment.run).await;
        if server.answers {
            self.words = None;
        }
        if let (Part::Replica(part), Some(session)) = (&mut self.part, &server.session)
            && let Ok(stream) = session.stream().await
        {
            part.saw(stream, self.began.elapsed());
        }
        Ok(())
    }

    fn died(&mut self, status: ExitStatus, words: Option<String>) {
        let Some(server) = self.server.take() else { return };
        match &mut self.part {
            Part::Primary(part) => part.server_ended(),
            Part::Replica(part) => part.server_ended(),
        }
        if server.asked.is_some() {
            tracing::info!("PostgreSQL has stopped");
            (self.in_vain, self.words) = (0, None);
            return;
        }
        let words = words.unwrap_or_else(|| status.to_string());
        tracing::warn!("PostgreSQL ended with {status} without having been asked to: {words}");
        self.in_vain = if server.came_up { 0 } else { self.in_vain + 1 };
        let kept = std::fs::read_to_string(self.path("settings.kept")).ok();
        let are_proven = kept.as_ref().is_none_or(|kept| *kept == server.text);
        self.words = Some(words.clone());
        // Want of space is no fault of theirs.
        let is_blamed = blames_settings(self.in_vain, are_proven, !self.overrides().is_empty());
        if !server.came_up && !self.short && is_blamed {
            let changed = differences(&kept.unwrap_or_default(), &server.text).join(", ");
            let words = format!("{words}; what has changed since it last came up: {changed}");
            (self.verdict, self.in_vain) = (Verdict::Bad(words), 0);
        }
    }
}
