//! A server, somebody who asks it all the time, and what both tell.

use std::time::Duration;

use crate::pod::Pod;
pub use crate::pod::Told;
use crate::watch::{Gap, Watch};

/// What the table has of one case.
pub struct Row {
    pub title: String,
    pub right: String,
    pub wrong: String,
    /// Whether the right value needs a restart.
    pub restarts: bool,
    pub told: Told,
}

/// How long nobody was answered, and in which case.
#[derive(Default)]
pub struct Gaps {
    /// Nobody asked for a restart.
    pub reloads: Vec<(String, Gap)>,
    /// Restarts with settings that are right.
    pub restarts: Vec<(String, Gap)>,
    /// Restarts with a mistake that is known before.
    pub mistakes: Vec<(String, Gap)>,
    /// Restarts with one that only a start tells.
    pub starts: Vec<(String, Gap)>,
}

impl Gaps {
    pub fn add(&mut self, other: Self) {
        self.reloads.extend(other.reloads);
        self.restarts.extend(other.restarts);
        self.mistakes.extend(other.mistakes);
        self.starts.extend(other.starts);
    }

    pub fn median(of: &[(String, Gap)]) -> Duration {
        let mut all: Vec<_> = of.iter().map(|(_, gap)| gap.longest).collect();
        all.sort();
        all[all.len() / 2]
    }

    pub fn longest(of: &[(String, Gap)]) -> &(String, Gap) {
        of.iter().max_by_key(|(_, gap)| gap.longest).unwrap()
    }
}

/// One server under watch.
pub struct Ground {
    pub pod: Pod,
    pub watch: Watch,
    pub gaps: Gaps,
}

impl Ground {
    pub fn primary() -> Self {
        let mut pod = Pod::primary();
        pod.begin();
        pod.wait_until_in_force();
        pod.sql("create table beat (at timestamptz)");
        let watch = Watch::new(&pod.run(), "insert into beat values (now()); select count(*) from beat");
        Self::new(pod, watch)
    }

    pub fn replica(primary: &Self) -> Self {
        let mut pod = Pod::replica(&primary.pod);
        pod.begin();
        pod.wait_until_in_force();
        let watch = Watch::new(&pod.run(), "select count(*) from beat");
        Self::new(pod, watch)
    }

    fn new(pod: Pod, watch: Watch) -> Self {
        let gaps = Gaps::default();
        let mut ground = Self { pod, watch, gaps };
        ground.restart("nothing is wrong", |ground| drop(ground.pod.wait_until_in_force()));
        ground
    }

    /// Something that asks for no restart: nobody notices.
    pub fn reload<T>(&mut self, case: &str, change: impl FnOnce(&mut Self) -> T) -> T {
        self.watch.begin();
        let done = change(self);
        let gap = self.watch.end();
        assert_eq!(gap.failures, 0, "{case}: {gap:?}\n{}", self.pod.log());
        self.gaps.reloads.push((case.to_owned(), gap));
        done
    }

    fn again<T>(&mut self, then: impl FnOnce(&mut Self) -> T) -> (T, Gap) {
        self.watch.begin();
        self.pod.restart();
        let done = then(self);
        (done, self.watch.end())
    }

    pub fn restart<T>(&mut self, case: &str, then: impl FnOnce(&mut Self) -> T) -> T {
        let (done, gap) = self.again(then);
        self.gaps.restarts.push((case.to_owned(), gap));
        done
    }

    /// With a mistake that was told before: no start is lost for it.
    pub fn restart_with_mistake<T>(&mut self, case: &str, then: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.starts_lost();
        let (done, gap) = self.again(then);
        assert_eq!(self.starts_lost(), before, "{case}\n{}", self.pod.log());
        self.gaps.mistakes.push((case.to_owned(), gap));
        done
    }

    /// With one that a start tells: so many are lost.
    pub fn restart_in_vain<T>(&mut self, case: &str, lost: usize, then: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.starts_lost();
        let (done, gap) = self.again(then);
        assert_eq!(self.starts_lost() - before, lost, "{case}\n{}", self.pod.log());
        self.gaps.starts.push((case.to_owned(), gap));
        done
    }

    fn starts_lost(&self) -> usize {
        self.pod.log().matches("without having been asked to").count()
    }

    /// Waits until something of these names is told as not in force.
    pub fn wait_until_refused(&self, names: &[&str]) -> Told {
        let what = format!("{names:?} are told");
        self.pod
            .wait_until_told(&what, |told| told.holds == Some(false) && names_all(told, names))
    }

    /// Waits until these wait for a restart, and nothing else is told.
    pub fn wait_until_waiting(&self, names: &[&str]) {
        let what = format!("{names:?} wait for a restart");
        self.pod
            .wait_until_told(&what, |told| told.reason == "RestartNeeded" && names_all(told, names));
    }
}

/// Whatever the case: `TimeZone`.
fn names_all(told: &Told, names: &[&str]) -> bool {
    let message = told.message.to_lowercase();
    names.iter().all(|name| message.contains(&name.to_lowercase()))
}
