//! The eye on everything while faults are carried out: what nobody has asked for is told at once.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use pgop_e2e::{api, operator, report, settings::settings};
use serde_json::Value;

use crate::check::events::Events;
use crate::check::logs::{Lines, Whose};
use crate::check::pods::Pods;
use crate::expected::{Expectation, Expected};
use crate::place::Place;
use crate::sampler::Sampler;
use crate::table;

const PAUSE: Duration = Duration::from_secs(3);
/// Logs and figures are looked at less often than pods.
const SELDOM: Duration = Duration::from_secs(15);
/// An API server may be away for a while; this long is a finding.
const SILENCE: Duration = Duration::from_secs(120);

/// What was seen so far.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) expected: Expected,
    pub(crate) pods: Pods,
    pub(crate) events: Events,
    pub(crate) lines: Lines,
    pub(crate) sampler: Sampler,
    pub(crate) findings: Vec<String>,
    /// Faults that were carried out, by kind.
    pub(crate) done: BTreeMap<&'static str, u32>,
    answered: Instant,
    looked_at_logs: Option<Instant>,
    log_read: u64,
}

/// Looks, and remembers.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) place: Place,
    pub(crate) started: Instant,
    /// Findings are collected instead of ending the run.
    goes_on: bool,
    seen: Mutex<Seen>,
}

impl Watch {
    pub(crate) fn new(place: Place, goes_on: bool) -> Self {
        let seen = Seen {
            expected: Expected::default(),
            pods: Pods::default(),
            events: Events::default(),
            lines: Lines::default(),
            sampler: Sampler::new(&place),
            findings: Vec::new(),
            done: BTreeMap::new(),
            answered: Instant::now(),
            looked_at_logs: None,
            log_read: 0,
        };
        Self {
            place,
            started: Instant::now(),
            goes_on,
            seen: Mutex::new(seen),
        }
    }

    /// What was seen so far.
    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The soak has caused this from that time on, which may be before anybody looked.
    pub(crate) fn expect_since(&self, expectation: Expectation, at: Timestamp) {
        self.seen().expected.open(expectation, at);
    }

    /// The soak is about to cause this.
    pub(crate) fn expect(&self, expectation: Expectation) {
        // What happened before does not count as caused by it.
        self.look();
        self.seen().expected.open(expectation, Timestamp::now());
    }

    /// All is as it was asked for: from now on nothing is expected to happen.
    pub(crate) fn all_is_well(&self) {
        self.look();
        self.seen().expected.close(Timestamp::now());
    }

    /// Looks again and again, as long as the process lives.
    pub(crate) fn run(&self) {
        loop {
            sleep(PAUSE);
            self.look();
        }
    }

    /// Looks once.
    pub(crate) fn look(&self) {
        let mut seen = self.seen();
        let mut wrong = match self.objects(&mut seen) {
            Ok(wrong) => {
                seen.answered = Instant::now();
                wrong
            }
            Err(error) if seen.answered.elapsed() > SILENCE => {
                seen.answered = Instant::now();
                vec![format!("the API server does not answer: {error}")]
            }
            Err(_) => Vec::new(),
        };
        if seen.looked_at_logs.is_none_or(|at| at.elapsed() > SELDOM) {
            wrong.extend(self.logs(&mut seen));
            seen.looked_at_logs = Some(Instant::now());
            wrong.extend(seen.sampler.sample(&self.place, self.started.elapsed()));
        }
        drop(seen);
        for finding in wrong {
            self.found(finding);
        }
    }

    /// Tells what nobody has asked for, with all that may explain it, and ends the run unless it goes on.
    pub(crate) fn found(&self, finding: String) {
        println!("{} FOUND {finding}", self.time());
        self.evidence();
        println!("{} FOUND {finding} (all that may explain it is above)", self.time());
        self.seen().findings.push(finding);
        if !self.goes_on {
            table::print(self);
            if !settings().keep {
                api::delete("", &api::kind("v1", "Namespace"), &self.place.namespace, false);
            }
            std::process::exit(1);
        }
    }

    /// Minutes and seconds since the start.
    pub(crate) fn time(&self) -> String {
        let seconds = self.started.elapsed().as_secs();
        format!("{:>3}:{:02}", seconds / 60, seconds % 60)
    }

    fn evidence(&self) {
        report::print(&self.place.namespace);
        if let Some(sandbox) = &self.place.sandbox {
            let log = std::fs::read_to_string(sandbox.log()).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!(
                "--- the sandbox's log\n{}",
                lines[lines.len().saturating_sub(60)..].join("\n")
            );
        }
    }

    fn objects(&self, seen: &mut Seen) -> Result<Vec<String>, String> {
        let of = |kind: &kube::api::ApiResource| -> Result<Vec<Value>, String> {
            let lists = self
                .place
                .namespaces()
                .into_iter()
                .map(|namespace| api::list(namespace, kind, ""));
            Ok(lists.collect::<Result<Vec<_>, _>>()?.concat())
        };
        let pods = of(&api::kind("v1", "Pod"))?;
        let events = of(&api::kind("events.k8s.io/v1", "Event"))?;
        let mut wrong = seen.pods.look(&pods, &mut seen.expected);
        wrong.extend(seen.events.look(&events, &seen.expected));
        Ok(wrong)
    }

    fn logs(&self, seen: &mut Seen) -> Vec<String> {
        let mut wrong = Vec::new();
        let since = seen.looked_at_logs.map_or(Duration::from_secs(600), |at| at.elapsed());
        // Rather twice than not at all.
        let since = i64::try_from(since.as_secs()).unwrap_or(i64::MAX).saturating_add(5);
        let of_servers = api::list(&self.place.namespace, &api::kind("v1", "Pod"), "pgop.dev/role").unwrap_or_default();
        let servers = of_servers.iter().map(|pod| {
            (
                self.place.namespace.as_str(),
                api::text(pod, "/metadata/name"),
                Whose::Servers,
            )
        });
        let operators = operator::pods()
            .into_iter()
            .map(|pod| (operator::NAMESPACE, pod, Whose::Ours));
        for (namespace, pod, whose) in servers.chain(operators) {
            let text = api::logs_since(namespace, &pod, since).unwrap_or_default();
            let of = if whose == Whose::Ours { "operator" } else { &pod };
            wrong.extend(seen.lines.look(of, whose, &text));
        }
        if let Some(sandbox) = &self.place.sandbox {
            let text = read_on(&sandbox.log(), &mut seen.log_read);
            wrong.extend(seen.lines.look("sandbox", Whose::Ours, &text));
        }
        wrong
    }
}

/// What a file has from `from` on, up to its last whole line.
fn read_on(path: &std::path::Path, from: &mut u64) -> String {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(*from))?;
        file.read_to_end(&mut bytes)
    });
    if read.is_err() {
        return String::new();
    }
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    *from += whole as u64;
    String::from_utf8_lossy(&bytes[..whole]).into_owned()
}
