//! Walks through the steps of a piece of work: once to see them, and then once for each, with the agent killed just before it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::trace::{Point, Run};

/// So many kills a walk where nobody asks for more. `PGOP_STEPS` says how many of each step, and all steps are walked.
const USUAL: usize = 2;

/// `attempt` does the work from its beginning with an agent that is killed at a point, if any; has it done by agents that start again; and checks
/// what came of it.
pub fn walk(work: &str, mut attempt: impl FnMut(Option<&Point>) -> Run) {
    let seen = attempt(None).steps;
    let points = chosen(&seen);
    let mut tally: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut reached = 0;
    for point in &points {
        let run = attempt(Some(point));
        if points.len() > USUAL {
            eprintln!("{work}: killed: {}, before: {}, {}", run.killed, point.step, point.nth);
        }
        let (kills, all) = tally.entry(point.step.clone()).or_default();
        *all += 1;
        if run.killed {
            *kills += 1;
            reached += 1;
        }
    }
    let mut table = format!(
        "{work}: {} steps, {} of them walked, {reached} kills\n",
        seen.len(),
        points.len()
    );
    for (step, (kills, all)) in &tally {
        let _ = writeln!(table, "  {kills:3} of {all:3} before: {step}");
    }
    eprint!("{table}");
    // What a run asks while it waits differs from run to run.
    assert!(
        reached * 3 >= points.len() * 2,
        "the steps differ too much from run to run: {table}"
    );
}

/// Some of each step; of these so many as there is time for, and always the same.
fn chosen(steps: &[String]) -> Vec<Point> {
    let most = std::env::var("PGOP_STEPS")
        .ok()
        .map(|text| text.parse().expect("PGOP_STEPS is a number"));
    let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
    let mut places: Vec<(Point, usize)> = Vec::new();
    for step in steps {
        let count = counts.entry(step).or_default();
        *count += 1;
        let point = Point {
            step: step.clone(),
            nth: *count,
        };
        places.push((point, 0));
    }
    for (point, all) in &mut places {
        *all = counts[&point.step];
    }
    let of_each = most.unwrap_or(1);
    // The first, the last, and what lies between in equal strides.
    let is_chosen = |nth: usize, all: usize| {
        all <= of_each || (0..of_each).any(|at| 1 + at * (all - 1) / of_each.saturating_sub(1).max(1) == nth)
    };
    let mut points: Vec<Point> = places
        .into_iter()
        .filter(|(point, all)| is_chosen(point.nth, *all))
        .map(|(point, _)| point)
        .collect();
    if most.is_none() && points.len() > USUAL {
        let all = points.len();
        points = (0..USUAL)
            .map(|at| points[(2 * at + 1) * all / (2 * USUAL)].clone())
            .collect();
    }
    points
}
