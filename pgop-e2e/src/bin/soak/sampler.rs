//! Figures of the processes, taken again and again.

use std::collections::BTreeMap;
use std::time::Duration;

use pgop_e2e::operator;

use crate::check::growth::Series;
use crate::place::{Place, Sandbox};
use crate::process::{self, Below, Usage};

/// A process that has ended is waited for by its parent at once; one that is seen so often is not.
const ZOMBIE_LOOKS: u32 = 4;
/// Numbers of threads and descriptors jump with the connections of the moment.
const FEW: f64 = 20.0;
/// Memory of an allocator jumps.
const MIB: f64 = 4.0;

/// All series.
#[derive(Debug)]
pub(crate) struct Sampler {
    /// Of the sandbox and of the cluster's parts that live as long as the soak.
    pub(crate) steady: Vec<Series>,
    /// Of each operator: its process or pod, since when, and its figures.
    pub(crate) operators: Vec<(String, Duration, Vec<Series>)>,
    zombies: BTreeMap<u32, u32>,
}

impl Sampler {
    pub(crate) fn new(place: &Place) -> Self {
        let of_sandbox = [
            ("sandbox, memory (MiB)", MIB),
            ("sandbox, threads", FEW),
            ("sandbox, descriptors", FEW),
            ("sandbox, processes that are no pod's", 0.0),
            ("sandbox, journal (MiB)", 40.0), // it is rewritten when it is twice as long as need be, and not below 16
            ("sandbox, log (MiB)", 2.0),
            ("sandbox, node's folder (MiB)", 16.0),
            ("sandbox, node's folder (files)", 300.0),
        ];
        let steady = place.sandbox.iter().flat_map(|_| of_sandbox);
        Self {
            steady: steady.map(|(what, slack)| Series::new(what, slack)).collect(),
            operators: Vec::new(),
            zombies: BTreeMap::new(),
        }
    }

    /// Takes all figures; `time` is since the start. Returns what is wrong already.
    pub(crate) fn sample(&mut self, place: &Place, time: Duration) -> Vec<String> {
        match &place.sandbox {
            Some(sandbox) => {
                let below = process::below(sandbox.process);
                self.of_sandbox(sandbox, &below, time);
                for process in below.iter().filter(|process| process.name == "pgop-operator") {
                    if let Some(usage) = process::usage(process.pid) {
                        self.of_operator(&format!("process {}", process.pid), usage, time);
                    }
                }
                self.unburied(&below)
            }
            None => {
                for pod in operator::pods() {
                    if let Ok(samples) = operator::metrics(&pod) {
                        let bytes = samples.sum("process_resident_memory_bytes", |_| true);
                        let usage = Usage {
                            resident_mib: bytes / f64::from(1 << 20),
                            threads: samples.sum("process_threads", |_| true),
                            descriptors: samples.sum("process_open_fds", |_| true),
                        };
                        self.of_operator(&format!("pod {pod}"), usage, time);
                    }
                }
                Vec::new()
            }
        }
    }

    /// Why what is used has grown too much.
    pub(crate) fn findings(&self) -> Vec<String> {
        self.all().filter_map(Series::finding).collect()
    }

    /// Of the sandbox, and of each operator.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Series> {
        self.steady
            .iter()
            .chain(self.operators.iter().flat_map(|(.., series)| series))
    }

    fn of_sandbox(&mut self, sandbox: &Sandbox, below: &[Below], time: Duration) {
        let Some(usage) = process::usage(sandbox.process) else {
            return;
        };
        let (node, files) = process::size(&sandbox.node());
        let own = below.iter().filter(|process| is_own(process)).count();
        let values = [
            usage.resident_mib,
            usage.threads,
            usage.descriptors,
            f64::from(u32::try_from(own).unwrap_or(u32::MAX)),
            process::size(&sandbox.store()).0,
            process::size(&sandbox.log()).0,
            node,
            f64::from(files),
        ];
        for (series, value) in self.steady.iter_mut().zip(values) {
            series.push(time, value);
        }
    }

    fn of_operator(&mut self, which: &str, usage: Usage, time: Duration) {
        let at = self.operators.iter().position(|(known, ..)| known == which);
        let at = at.unwrap_or_else(|| {
            let series = |what: &str, slack| Series::new(format!("operator, {what} ({which})"), slack);
            let all = vec![
                series("memory, MiB", MIB),
                series("threads", FEW),
                series("descriptors", FEW),
            ];
            self.operators.push((which.to_owned(), time, all));
            self.operators.len() - 1
        });
        let (_, since, series) = &mut self.operators[at];
        let age = time.saturating_sub(*since);
        for (series, value) in series
            .iter_mut()
            .zip([usage.resident_mib, usage.threads, usage.descriptors])
        {
            series.push(age, value);
        }
    }

    fn unburied(&mut self, below: &[Below]) -> Vec<String> {
        let zombies = below.iter().filter(|process| process.is_zombie);
        let counted = zombies.map(|zombie| (zombie.pid, self.zombies.get(&zombie.pid).unwrap_or(&0) + 1));
        self.zombies = counted.collect();
        let old = below
            .iter()
            .filter(|process| self.zombies.get(&process.pid) == Some(&ZOMBIE_LOOKS));
        old.map(|process| {
            format!(
                "process {} ({}) of the sandbox has ended and is not waited for",
                process.pid, process.name
            )
        })
        .collect()
    }
}

/// The sandbox's own helpers: a pod adds none of them for good.
fn is_own(process: &Below) -> bool {
    process.name.starts_with("pgo")
}
