//! Backups, one case after the other; what was made of them is restored side by side.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use jiff::Timestamp;
use pgop_e2e::operator::Killer;
use pgop_e2e::writer::Writer;
use pgop_e2e::{Space, api, patiently};
use serde_json::{Value, json};

use crate::disturb;
use crate::judge::{self, End, Seen};
use crate::kind::{Case, Kind};
use crate::restore::restore;
use crate::shelf::Shelves;
use crate::small;
use crate::table::Table;

/// A server that is backed up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    pub(crate) kind: &'static str,
    pub(crate) name: &'static str,
    /// Claim of its snapshots.
    pub(crate) claim: &'static str,
}

/// All of them.
pub(crate) const SOURCES: [Source; 2] = [
    Source {
        kind: "PgDatabase",
        name: "single",
        claim: "single-backup-pvc",
    },
    Source {
        kind: "PgCluster",
        name: "pair",
        claim: "pair-backup-pvc",
    },
];

/// A `PgBackup` that was made.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) source: Source,
    pub(crate) claim: &'static str,
    /// The path that is its own.
    pub(crate) path: String,
    created: String,
    least: u64,
}

/// How far it is.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) table: Table,
    pub(crate) findings: Vec<String>,
}

/// A run of the program.
pub(crate) struct Run<'a> {
    pub(crate) space: &'a Space,
    pub(crate) killer: &'a Killer,
    pub(crate) shelves: Shelves<'a>,
    writers: BTreeMap<&'static str, Writer>,
    /// Path of the first snapshot of each source, which stays to the end.
    firsts: Mutex<BTreeMap<&'static str, (Seen, String)>>,
    result: Mutex<Outcome>,
    /// Those that failed, whose word must not change.
    failed: Mutex<Vec<String>>,
    began: Instant,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Run<'a> {
    pub(crate) fn new(space: &'a Space, killer: &'a Killer, writers: Vec<Writer>) -> Self {
        Self {
            space,
            killer,
            shelves: Shelves::new(space),
            writers: writers.into_iter().map(|writer| (writer.server, writer)).collect(),
            firsts: Mutex::default(),
            result: Mutex::default(),
            failed: Mutex::default(),
            began: Instant::now(),
        }
    }

    /// Makes all, and restores all that are there.
    pub(crate) fn carry_out(self, cases: &[Case]) -> Outcome {
        // Two snapshots wait for their restore at most: claims are real disks elsewhere.
        let (sender, receiver) = sync_channel(2);
        thread::scope(|scope| {
            let run = &self;
            scope.spawn(move || run.restore_all(&receiver));
            let mut number = 0;
            for case in cases {
                let numbers: Vec<usize> = (0..case.kind.backups()).map(|i| number + i + 1).collect();
                number += numbers.len();
                let what = format!("backup {} ({})", numbers[0], case.kind.name());
                self.attempt(&what, || self.case(case, &numbers, &sender));
            }
            drop(sender);
        });
        self.attempt("the end", || self.end());
        self.result.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// What goes wrong is a finding, a panic too: the language of the end-to-end suite speaks by them.
    fn attempt(&self, what: &str, step: impl FnOnce() -> Result<(), String>) {
        let outcome = catch_unwind(AssertUnwindSafe(step)).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            Err(text.unwrap_or_else(|| "panicked".to_owned()))
        });
        if let Err(error) = outcome {
            self.found(format!("{what}: {error}"));
        }
    }

    fn found(&self, finding: String) {
        println!("{} FINDING {finding}", self.time());
        locked(&self.result).findings.push(finding);
    }

    fn time(&self) -> String {
        let passed = self.began.elapsed().as_secs();
        format!("{:02}:{:02}", passed / 60, passed % 60)
    }

    fn case(&self, case: &Case, numbers: &[usize], sender: &SyncSender<(Seen, String)>) -> Result<(), String> {
        let began = Instant::now();
        let was_before = disturb::before(self, case)?;
        let all: Vec<Made> = numbers
            .iter()
            .map(|number| self.make(case, *number))
            .collect::<Result<_, _>>()?;
        let made = &all[0];
        let is_done = disturb::carry_out(self, case, made)?;
        let is_disturbed = match case.kind {
            Kind::Plain => false,
            Kind::SameSecond => all.iter().all(|other| other.created == made.created),
            _ => was_before || is_done,
        };
        disturb::meanwhile(self, case, made)?;
        for made in &all {
            let seen = self.ended(case, made, is_disturbed)?;
            println!(
                "{} {} {} of {}, {:?}: {:?} after {} s, tries: {}; {}",
                self.time(),
                seen.name,
                case.kind.name(),
                seen.source,
                case.moment,
                seen.end,
                began.elapsed().as_secs(),
                seen.tries,
                seen.message
            );
            self.judge(&seen, &made.uid, sender)?;
        }
        disturb::after(self, case, made, is_disturbed)?;
        self.shelves.look(made.claim)
    }

    /// Takes down how it ended, and hands over what is to be restored.
    fn judge(&self, seen: &Seen, uid: &str, sender: &SyncSender<(Seen, String)>) -> Result<(), String> {
        locked(&self.result).table.ended(seen);
        for finding in judge::of_end(seen) {
            self.found(finding);
        }
        match &seen.end {
            End::Succeeded { path } => {
                if !self.shelves.add(seen.claim, path) {
                    return Err(format!("{} says it is in {path}, as another one did", seen.name));
                }
                locked(&self.firsts)
                    .entry(seen.source)
                    .or_insert_with(|| (seen.clone(), uid.to_owned()));
                sender
                    .send((seen.clone(), uid.to_owned()))
                    .map_err(|_| "nobody restores".to_owned())
            }
            End::Failed | End::Other(_) => {
                locked(&self.failed).push(seen.name.clone());
                Ok(())
            }
        }
    }

    fn make(&self, case: &Case, number: usize) -> Result<Made, String> {
        let source = SOURCES[case.source];
        let own = match case.kind {
            Kind::Filled | Kind::StaysFull => Some(small::SMALL),
            Kind::TooSmall => Some(small::TINY),
            _ => None,
        };
        let mut parameters = json!({});
        if case.kind != Kind::Plain {
            // As slow as a larger database would be.
            parameters["maxRate"] = json!("4M");
        }
        if case.kind == Kind::StaysFull {
            parameters["patience"] = json!(5);
        }
        let name = format!("b-{number}");
        let object = json!({
            "apiVersion": "pgop.dev/v1alpha1", "kind": "PgBackup", "metadata": {"name": name},
            "spec": {
                "source": {"kind": source.kind, "name": source.name}, "strategyParameters": parameters,
                "storage": own.map_or_else(|| json!({"size": "1Gi"}), |claim| json!({"claim": claim})),
            },
        });
        let least = self.progress(source)?;
        let object = api::create(self.space.name(), object)?;
        let (uid, created) = (
            api::text(&object, "/metadata/uid"),
            api::text(&object, "/metadata/creationTimestamp"),
        );
        let time: Timestamp = created.parse().map_err(|error| format!("{created}: {error}"))?;
        Ok(Made {
            path: pgop_core::name::snapshot(source.name, time, Some(&uid)),
            claim: own.unwrap_or(source.claim),
            name,
            uid,
            source,
            created,
            least,
        })
    }

    fn progress(&self, source: Source) -> Result<u64, String> {
        let writer = self.writers.get(source.name).ok_or("nobody writes")?;
        patiently("the writer to tell", || writer.progress(self.space)).map(|progress| progress.acknowledged)
    }

    fn ended(&self, case: &Case, made: &Made, is_disturbed: bool) -> Result<Seen, String> {
        let ended = patiently(&format!("{} to end", made.name), || {
            let status = self.resource(made);
            match api::text(&status, "/status/phase") {
                phase if ["Succeeded", "Failed", "Invalid"].contains(&phase.as_str()) => Ok(status),
                _ => Err(status["status"].to_string()),
            }
        });
        // The writer does not know of a write whose acknowledgement is on its way.
        let most = self.progress(made.source)? + 1;
        let resource = self.resource(made);
        let phase = api::text(&resource, "/status/phase");
        let (_, _, message) = api::condition(&resource, "Complete");
        Ok(Seen {
            name: made.name.clone(),
            source: made.source.name,
            claim: made.claim,
            kind: case.kind,
            is_disturbed,
            path: made.path.clone(),
            end: match phase.as_str() {
                "Succeeded" => End::Succeeded {
                    path: api::text(&resource, "/status/path"),
                },
                "Failed" => End::Failed,
                _ => End::Other(ended.err().unwrap_or(phase)),
            },
            message,
            least: made.least,
            most,
            tries: self.tries(made),
        })
    }

    /// How often it was begun, by the logs of the pods that are there and by what its Job has counted.
    fn tries(&self, made: &Made) -> usize {
        let job = api::find(self.space.name(), &api::kind("batch/v1", "Job"), &made.name).unwrap_or_default();
        let pods = ["/status/failed", "/status/succeeded"];
        let pods: u64 = pods.iter().filter_map(|count| job.pointer(count)?.as_u64()).sum();
        let copies = self.job_logs(made).matches("copying ").count();
        copies.max(usize::try_from(pods).unwrap_or(0))
    }

    /// What its pods have logged.
    pub(crate) fn job_logs(&self, made: &Made) -> String {
        let logs = |pod: &String| api::logs(self.space.name(), pod, None);
        self.pods(made).iter().map(logs).collect()
    }

    fn pods(&self, made: &Made) -> Vec<String> {
        let labels = format!("pgop.dev/backup={}", made.name);
        api::names(self.space.name(), &api::kind("v1", "Pod"), &labels)
    }

    /// A pod of its Job that runs; none if it ended before there was one.
    pub(crate) fn job_pod(&self, made: &Made) -> Result<Option<String>, String> {
        patiently(&format!("a pod of {}", made.name), || {
            let labels = format!("pgop.dev/backup={}", made.name);
            let pods = api::list(self.space.name(), &api::kind("v1", "Pod"), &labels)?;
            let running = pods.iter().find(|pod| {
                pod.pointer("/metadata/deletionTimestamp").is_none() && api::text(pod, "/status/phase") == "Running"
            });
            match running {
                Some(pod) => Ok(Some(api::text(pod, "/metadata/name"))),
                None if self.has_ended(made) => Ok(None),
                None => Err(self.status(made)),
            }
        })
    }

    pub(crate) fn has_ended(&self, made: &Made) -> bool {
        let phase = api::text(&self.resource(made), "/status/phase");
        ["Succeeded", "Failed", "Invalid"].contains(&phase.as_str())
    }

    /// For who waits.
    pub(crate) fn status(&self, made: &Made) -> String {
        self.resource(made)["status"].to_string()
    }

    fn resource(&self, made: &Made) -> Value {
        self.space.resource("PgBackup", &made.name)
    }

    /// Path of the first snapshot of a source.
    pub(crate) fn first(&self, source: &str) -> Result<String, String> {
        let firsts = locked(&self.firsts);
        let (seen, _) = firsts.get(source).ok_or("there is no snapshot yet")?;
        Ok(seen.path.clone())
    }

    fn restore_all(&self, receiver: &Receiver<(Seen, String)>) {
        for (seen, uid) in receiver {
            self.attempt(&format!("restore of {}", seen.name), || {
                self.restore(&seen)?;
                let is_first = locked(&self.firsts)
                    .get(seen.source)
                    .is_some_and(|(first, _)| first.name == seen.name);
                if is_first {
                    return Ok(());
                }
                self.forget(&seen, &uid)
            });
        }
    }

    fn restore(&self, seen: &Seen) -> Result<(), String> {
        let End::Succeeded { path } = &seen.end else {
            return Ok(());
        };
        let found = restore(self.space, &format!("r-{}", seen.name), seen.claim, path, seen.least)?;
        if let Some(finding) = judge::of_restore(seen, found) {
            return Err(finding);
        }
        locked(&self.result).table.restored(seen.kind);
        Ok(())
    }

    /// Removes a snapshot and its `PgBackup`, which still says the same.
    fn forget(&self, seen: &Seen, uid: &str) -> Result<(), String> {
        let resource = self.space.resource("PgBackup", &seen.name);
        let (phase, path) = (
            api::text(&resource, "/status/phase"),
            api::text(&resource, "/status/path"),
        );
        if phase != "Succeeded" || path != seen.path {
            return Err(format!("{} said Succeeded, and says {}", seen.name, resource["status"]));
        }
        api::delete(self.space.name(), &api::pgop("PgBackup"), &seen.name, false);
        self.shelves.remove(seen.claim, &seen.path, uid)
    }

    /// The first snapshots are what they were, after all that happened beside them; no backup that failed says anything else by now.
    fn end(&self) -> Result<(), String> {
        let firsts: Vec<Seen> = locked(&self.firsts).values().map(|(seen, _)| seen.clone()).collect();
        for seen in firsts {
            let path = seen.path.clone();
            let found = restore(
                self.space,
                &format!("last-{}", seen.name),
                seen.claim,
                &path,
                seen.least,
            )?;
            if let Some(finding) = judge::of_restore(&seen, found) {
                self.found(format!("restored again at the end: {finding}"));
            }
            self.shelves.look(seen.claim)?;
        }
        for name in locked(&self.failed).iter() {
            let resource = self.space.resource("PgBackup", name);
            if api::text(&resource, "/status/phase") == "Succeeded" {
                return Err(format!("{name} had failed, and says {}", resource["status"]));
            }
        }
        Ok(())
    }
}
