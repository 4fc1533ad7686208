//! Hours of faults under load: `make soak HOURS=n`. Ends red on anything that it has not caused itself.
//!
//! ```text
//! kind       which fault is next: pure, from a seed       state     what was asked for so far
//! fault/     what is done, one thing a file               check/    what has to hold, one thing a file
//! expected   what the soak has caused itself              watch     looks all the time, and tells at once
//!                                                         sampler   figures of the processes
//! ```
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::missing_panics_doc)] // a program for developers

mod check;
mod end;
mod expected;
mod fault;
mod kind;
mod place;
mod process;
mod sampler;
mod settle;
mod state;
mod table;
mod watch;
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use clap::Parser;
use jiff::Timestamp;
use pgop_e2e::Space;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::expected::Expectation;
use crate::place::Place;
use crate::state::State;
use crate::watch::Watch;
use crate::world::World;

/// Faults under load, on the cluster of KUBECONFIG.
#[derive(Debug, Parser)]
struct Args {
    /// How long, in hours; parts of one are fine.
    #[arg(long, default_value_t = 0.05)]
    hours: f64,
    /// Gives the same faults in the same order. Default: a new one, which is printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Clusters that live as long as the soak; there is a database besides.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=5))]
    clusters: u8,
    /// Writes a second to each server.
    #[arg(long, default_value_t = 4.0)]
    rate: f64,
    /// Seconds from the end of a fault to the next one, in which nothing at all may happen.
    #[arg(long, default_value_t = 5)]
    quiet: u64,
    /// Collects findings, and ends red when the time is up. Default: ends with the first one.
    #[arg(long)]
    go_on: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let seed = args.seed.unwrap_or_else(rand::random);
    println!("soak: {} hours, --seed {seed}", args.hours);
    let begun = Timestamp::now();
    let space = Space::new("soak");
    let place = Place::new(space.name());
    let footprint = end::Footprint::of(&place);
    let watch = Arc::new(Watch::new(place, args.go_on));
    watch.expect_since(Expectation::default().troubled(pgop_core::install::NAME), begun);
    watch.all_is_well();
    let looking = Arc::clone(&watch);
    thread::spawn(move || looking.run());
    let mut world = World {
        space,
        watch: Arc::clone(&watch),
        writers: Vec::new(),
        snapshots: BTreeMap::new(),
    };
    let mut state = State::new(args.clusters.into(), place::claims_grow());
    let well = attempt(&watch, "the beginning", || world.populate(&state, args.rate));
    watch.all_is_well();
    if well {
        let time = Duration::from_secs_f64(args.hours * 3600.0);
        state = rounds(state, &mut world, seed, time, Duration::from_secs(args.quiet));
        attempt(&watch, "the end", || end::carry_out(&mut world, &state, footprint));
        watch.all_is_well();
    }
    let grown = watch.seen().sampler.findings();
    for finding in grown {
        watch.found(finding);
    }
    table::print(&watch);
    if watch.seen().findings.is_empty() {
        ExitCode::SUCCESS
    } else {
        println!("soak: again with --seed {seed}");
        ExitCode::FAILURE
    }
}

/// One fault after the other, until the time is up.
fn rounds(mut state: State, world: &mut World, seed: u64, time: Duration, quiet: Duration) -> State {
    let mut random = StdRng::seed_from_u64(seed);
    let watch = Arc::clone(&world.watch);
    let started = Instant::now();
    while started.elapsed() < time {
        let (fault, after) = kind::next(state, &mut random);
        state = after;
        let words = fault.describe(&state);
        println!("{} {words}", watch.time());
        attempt(&watch, &words, || fault.carry_out(&state, world));
        // Where findings are collected what a fault has caused goes on after it has failed.
        attempt(&watch, &words, || world.settle(&state));
        watch.all_is_well();
        *watch.seen().done.entry(fault.name()).or_default() += 1;
        sleep(quiet);
    }
    state
}

/// Whether it went well, by panics too: the language of the end-to-end suite speaks by them.
fn attempt(watch: &Watch, what: &str, step: impl FnOnce() -> Result<(), String>) -> bool {
    let outcome = catch_unwind(AssertUnwindSafe(step)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.unwrap_or_else(|| "panicked".to_owned()))
    });
    if let Err(error) = &outcome {
        watch.found(format!("{what}: {error}"));
    }
    outcome.is_ok()
}
