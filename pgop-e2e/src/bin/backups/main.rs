//! Backups, half of them disturbed: `make backups N=200`. Ends red if one says Succeeded that can't be restored to what was committed before it, or fails
//! without saying why.
//!
//! ```text
//! kind       which backup is disturbed, how and when: pure, from a seed     shelf     what is on the claims, and what should be
//! disturb    what is done to it                                             small     claims with little room
//! judge      what has to hold: pure                                         restore   a snapshot becomes a server, which is asked
//! run        one case after the other                                       table     figures at the end
//! ```
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::missing_panics_doc)] // a program for developers

mod disturb;
mod judge;
mod kind;
mod restore;
mod run;
mod shelf;
mod small;
mod table;

use std::process::ExitCode;

use clap::Parser;
use pgop_e2e::operator::Killer;
use pgop_e2e::writer::Writer;
use pgop_e2e::{Space, api};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::run::{Run, SOURCES};
use crate::small::SmallClaims;

/// Backups, half of them disturbed, on the cluster of KUBECONFIG.
#[derive(Debug, Parser)]
struct Args {
    /// How many.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(4..))]
    count: u16,
    /// Gives the same disturbances in the same order. Default: a new one, which is printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Writes a second to each server.
    #[arg(long, default_value_t = 4.0)]
    rate: f64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let seed = args.seed.unwrap_or_else(rand::random);
    println!("backups: --count {} --seed {seed}", args.count);
    let cases = kind::deal(args.count.into(), SOURCES.len(), &mut StdRng::seed_from_u64(seed));
    let space = Space::new("backups");
    space.pgo("create database single --wait --timeout 15m").ok();
    space.pgo("create cluster pair --replicas=1 --wait --timeout 15m").ok();
    let writers =
        SOURCES.map(|source| Writer::start(&space, source.name, args.rate).unwrap_or_else(|error| panic!("{error}")));
    // Claims are on the node of their server where they can be on one only.
    let pod = api::find(space.name(), &api::kind("v1", "Pod"), "single-0").unwrap_or_default();
    let killer = Killer::on(Some(&api::text(&pod, "/spec/nodeName")));
    let small = SmallClaims::make(&space, &killer).unwrap_or_else(|error| panic!("{error}"));
    let result = Run::new(&space, &killer, writers.into()).carry_out(&cases);
    drop(small);
    result.table.print();
    println!("{:<36} {:>7}", "findings", result.findings.len());
    for finding in &result.findings {
        println!("  {}", finding.lines().next().unwrap_or_default());
    }
    if result.findings.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("backups: again with --seed {seed}");
    ExitCode::FAILURE
}
