//! What a replica looks after: whom it follows, and whether what it needs is still there.

use std::io;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::{AGAIN, Agent, Part, run};
use crate::conninfo::{self, Target};
use crate::data::{AUTO_CONF, LINEAGE};
use crate::secret::Login;
use crate::settings::line;
use crate::sql::{self, Stream};
use crate::supervisor::{Need, Primary, Slot, Time, Tried};
use crate::volume::Op;

/// How often the primary is asked while there is something to ask it.
const ASK: Duration = Duration::from_secs(2);

/// What is known of the primary and of the stream from it.
#[derive(Default)]
pub struct ReplicaPart {
    answer: Option<Primary>,
    asking: Option<JoinHandle<Primary>>,
    asked: Option<Time>,
    stream: Option<Stream>,
    /// It gets WAL: the process that does is the one of the look before. One that is turned away says so too for a moment, and another comes.
    streams: bool,
    /// It neither streams nor moves since then.
    still: Option<Time>,
    /// Whose password the file holds.
    login: Option<Login>,
}

impl ReplicaPart {
    /// The primary, as it answered last. Where the stream runs nobody has to ask: it has what is needed.
    pub fn primary(&self) -> Primary {
        let mut primary = self.answer.clone().unwrap_or(Primary::Unasked);
        if let (true, Primary::There { slot, need, .. }) = (self.streams(), &mut primary) {
            (*slot, *need) = (Slot::Good, Need::There);
        }
        primary
    }

    fn streams(&self) -> bool {
        self.streams
    }

    /// Somebody, or a limit, has paused replay.
    pub fn is_paused(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.paused)
    }

    /// Since when it neither streams nor moves.
    pub fn stuck(&self) -> Option<Time> {
        self.still
    }

    /// Nothing is left of a start.
    pub fn is_settled(&self) -> bool {
        self.streams() || self.still.is_some()
    }

    /// Takes in how the stream is.
    pub fn saw(&mut self, stream: Stream, now: Time) {
        let before = self.stream.as_ref();
        let moves = before.and_then(|before| before.lsn.as_ref()) != stream.lsn.as_ref();
        let receiver = before.and_then(|before| before.receiver);
        self.streams = stream.receiver.is_some() && stream.receiver == receiver;
        self.still = match self.still {
            _ if self.streams || stream.paused || moves => None,
            since => since.or(Some(now)),
        };
        self.stream = Some(stream);
    }

    /// What it has stays where it is: whoever copies the primary because of it has to know.
    pub fn server_ended(&mut self) {
        (self.still, self.streams) = (None, false);
        if let Some(stream) = &mut self.stream {
            (stream.receiver, stream.paused) = (None, false);
        }
    }

    /// Of data that has taken the place of the old, nothing is known.
    fn forget(&mut self) {
        (self.stream, self.still, self.answer, self.asked) = (None, None, None, None);
        self.streams = false;
    }

    fn lsn(&self) -> Option<String> {
        self.stream.as_ref().and_then(|stream| stream.lsn.clone())
    }
}

impl Agent {
    fn target(&self, user: String) -> Option<Target> {
        Some(Target {
            host: self.word("primary-host")?,
            port: self.word("primary-port")?.parse().ok()?,
            user,
            application: self.environment.instance.clone(),
        })
    }

    pub(super) fn upstream(&self) -> Result<(Target, Login), String> {
        let login = self.login("replication").map_err(|error| error.to_string())?;
        let target = self.target(login.name.clone());
        Ok((
            target.ok_or("the ConfigMap lacks `primary-host` or `primary-port`")?,
            login,
        ))
    }

    /// What a replica's file says of whom to follow.
    pub(super) fn followed_text(&self) -> Option<String> {
        let (target, _) = self.upstream().ok()?;
        let conninfo = target.text(&self.environment.run.join("pgpass"));
        Some(line("primary_conninfo", &conninfo) + &line("primary_slot_name", &self.environment.slot()))
    }

    /// Asks the primary while there is something to ask it, in the background, and keeps the password file as the Secret is.
    pub(super) async fn look_upstream(&mut self) -> io::Result<()> {
        let now = self.now();
        let upstream = self.upstream();
        let follows = self.server.as_ref().is_some_and(|server| server.follows.is_some());
        let run = self.environment.run.clone();
        let slot = self.environment.slot();
        let Part::Replica(part) = &mut self.part else {
            return Ok(());
        };
        let (target, login) = match upstream {
            Ok(upstream) => upstream,
            // Whoever follows already goes on.
            Err(words) => {
                part.answer = Some(Primary::Away(words));
                return Ok(());
            }
        };
        if part.login.as_ref() != Some(&login) {
            if let Err(error) = conninfo::write_passfile(&run.join("pgpass"), &login) {
                part.answer = Some(Primary::Away(format!(
                    "its password could not be written down: {error}"
                )));
                return Ok(());
            }
            part.login = Some(login.clone());
        }
        if let Some(asking) = part.asking.take_if(|asking| asking.is_finished()) {
            part.answer = asking.await.ok().or(part.answer.take());
        }
        let is_due = part.asked.is_none_or(|asked| now.saturating_sub(asked) >= ASK);
        let has_something = !(follows && part.streams());
        if part.asking.is_none() && is_due && has_something && self.stop.is_none() {
            part.asked = Some(now);
            let lsn = part.lsn();
            part.asking = Some(tokio::spawn(async move { ask(&target, &login, &slot, lsn).await }));
        }
        Ok(())
    }

    pub(super) async fn make_slot(&mut self) {
        let slot = self.environment.slot();
        let made = match self.upstream() {
            Err(words) => Err(words),
            Ok((target, login)) => async { sql::reach(&target, &login).await?.make_slot(&slot).await }
                .await
                .map_err(|error| error.to_string()),
        };
        match made {
            Ok(()) => tracing::info!("slot {slot} is there on the primary"),
            Err(words) => tracing::warn!("slot {slot} could not be made on the primary: {words}"),
        }
        self.tries.0.insert(Tried::Slot, self.began.elapsed() + AGAIN);
        if let Part::Replica(part) = &mut self.part {
            part.asked = None;
        }
    }

    /// What the copy is given before it is called whole.
    pub(super) fn finish_copy(&mut self) -> io::Result<()> {
        let copy = self.directory.copy();
        let lineage = std::fs::read_to_string(copy.join(LINEAGE)).unwrap_or_default();
        let is_same = matches!(&self.part, Part::Replica(part)
            if matches!(&part.answer, Some(Primary::There { lineage: asked, .. }) if asked.0 == lineage.trim()));
        if !is_same {
            tracing::warn!("the copy is of another history than the primary had a moment ago: copying again");
            return Ok(());
        }
        unhook(&copy)?;
        run(&[
            Op::Remove(copy.join("recovery.signal")),
            Op::Write(copy.join("standby.signal"), String::new()),
            Op::Sync(copy.clone()),
        ])?;
        run(&self.directory.complete_clone())?;
        tracing::info!("the copy is complete");
        Ok(())
    }

    pub(super) fn put_copy_in_place(&mut self) -> io::Result<()> {
        run(&self.directory.finish_clone(self.directory.names()))?;
        if let Part::Replica(part) = &mut self.part {
            part.forget();
        }
        Ok(())
    }
}

async fn ask(target: &Target, login: &Login, slot: &String, lsn: Option<String>) -> Primary {
    let answer = async { sql::reach(target, login).await?.primary(slot, lsn.as_deref()).await };
    answer.await.unwrap_or_else(|error| Primary::Away(error.to_string()))
}

/// The primary's ALTER SYSTEM settings come with a copy; those that say whom to follow must not.
pub fn unhook(data: &std::path::Path) -> io::Result<()> {
    let file = data.join(AUTO_CONF);
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let unhooked = unhooked(&text);
    if unhooked == text {
        return Ok(());
    }
    let new = data.join("postgresql.auto.conf.pgop");
    run(&[Op::Write(new.clone(), unhooked)])?;
    std::fs::rename(new, file)
}

fn unhooked(text: &str) -> String {
    let is_kept = |line: &&str| {
        let name = line.trim_start().split(['=', ' ', '\t']).next().unwrap_or_default();
        let name = name.to_ascii_lowercase();
        let is_hook = ["primary_conninfo", "primary_slot_name", "restore_command"].contains(&name.as_str())
            || name.starts_with("recovery_");
        !is_hook
    };
    text.split_inclusive('\n').filter(is_kept).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(lsn: &str, streams: bool) -> Stream {
        Stream {
            receiver: streams.then_some(7),
            lsn: Some(lsn.to_owned()),
            paused: false,
        }
    }

    #[test]
    fn a_replica_is_stuck_since_it_neither_streams_nor_moves() {
        let mut part = ReplicaPart::default();
        let mut at = |seconds, stream| {
            part.saw(stream, Duration::from_secs(seconds));
            part.stuck()
        };
        let since = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(at(1, stream("0/1", true)), None);
        assert_eq!(at(2, stream("0/2", false)), None, "it replays what it has");
        assert_eq!(at(3, stream("0/2", false)), since(3));
        assert_eq!(at(9, stream("0/2", false)), since(3));
        assert_eq!(at(10, stream("0/3", false)), None);
        let paused = Stream {
            paused: true,
            ..stream("0/3", false)
        };
        assert_eq!(at(11, paused), None, "somebody wanted it so");
    }

    #[test]
    fn one_that_is_turned_away_again_and_again_does_not_stream() {
        let mut part = ReplicaPart::default();
        for second in 1..30 {
            let receiver = Some(i32::try_from(second).unwrap());
            part.saw(
                Stream {
                    receiver,
                    ..stream("0/1", true)
                },
                Duration::from_secs(second),
            );
            assert!(!part.streams());
        }
        assert_eq!(part.stuck(), Some(Duration::from_secs(2)));
        let steady = || Stream {
            receiver: Some(29),
            ..stream("0/1", true)
        };
        part.saw(steady(), Duration::from_secs(30));
        assert_eq!((part.streams(), part.stuck()), (true, None), "the primary is idle");
    }

    #[test]
    fn what_it_has_is_known_also_when_its_server_has_ended() {
        let mut part = ReplicaPart::default();
        part.saw(stream("0/5", true), Duration::ZERO);
        part.server_ended();
        assert_eq!(part.lsn().as_deref(), Some("0/5"));
        assert!(!part.streams());
        part.forget();
        assert_eq!(part.lsn(), None);
    }

    #[test]
    fn settings_that_say_whom_to_follow_go_and_all_others_stay() {
        let text = "# Do not edit\nwork_mem = '8MB'\nPrimary_Conninfo='host=a'\n primary_slot_name = 'x'\nrestore_command='cp'\nrecovery_target_name = 'a'\n";
        assert_eq!(unhooked(text), "# Do not edit\nwork_mem = '8MB'\n");
        assert_eq!(unhooked(""), "");
    }
}
