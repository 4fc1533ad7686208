//! Mistakes in settings, on real servers with somebody who asks them all the time: nobody but the one who made the mistake notices it.

#![allow(clippy::unwrap_used, reason = "clippy knows the tests, not what they share")]

use std::time::Instant;

use ground::{Gaps, Ground, Row};
use parameter::Parameter;

mod ground;
#[path = "../machine/mod.rs"]
mod machine;
mod mistake;
mod parameter;
mod pod;
mod table;
mod watch;

/// Servers among which the settings are shared out: nearly all of the time is waiting.
const SERVERS: usize = 4;

/// A right value comes into force, at once or with the restart that is asked for; a mistake is told and stops nothing, also not with a restart; and the
/// way back needs nobody.
fn try_out(ground: &mut Ground, parameter: &Parameter) -> Row {
    let Parameter {
        name,
        right,
        shown,
        wrong,
    } = *parameter;
    let context = ground
        .pod
        .sql(&format!("select context from pg_settings where name = '{name}'"));
    let restarts = context == "postmaster";
    assert_ne!(ground.pod.value(name), shown, "{name} would not change");
    ground.reload(name, |ground| {
        ground.pod.set(name, right);
        if restarts {
            ground.wait_until_waiting(&[name]);
        } else {
            machine::wait_until("it is in force", || ground.pod.value(name) == shown);
            ground.pod.wait_until_in_force();
        }
    });
    if restarts {
        ground.restart(name, |ground| ground.pod.wait_until_in_force());
    }
    assert_eq!(ground.pod.value(name), shown);
    let wrong_line = format!("{name} = {wrong}");
    let told = ground.reload(name, |ground| {
        let line = ground.pod.try_out(&[&wrong_line]);
        let place = format!("(postgresql.conf line {line})");
        ground.wait_until_refused(&[name, &place])
    });
    assert_eq!(told.reason, "Refused", "{told:?}");
    assert_eq!(ground.pod.value(name), shown, "the former value holds");
    ground.restart_with_mistake(name, |ground| {
        ground
            .pod
            .wait_until_told("it is told again", |again| again.reason == "Refused");
    });
    assert_eq!(
        ground.pod.value(name),
        shown,
        "the former value holds, also after a restart"
    );
    ground.reload(name, |ground| {
        ground.pod.take_back();
        ground.pod.wait_until_in_force();
    });
    assert_eq!(ground.pod.value(name), shown);
    Row {
        title: name.to_owned(),
        right: right.to_owned(),
        wrong: wrong.to_owned(),
        restarts,
        told,
    }
}

/// Every so many settings of all.
fn share(number: usize) -> (Vec<(usize, Row)>, Gaps) {
    let mut ground = Ground::primary();
    let shared = parameter::ALL.iter().enumerate().skip(number).step_by(SERVERS);
    let rows = shared
        .map(|(at, parameter)| (at, try_out(&mut ground, parameter)))
        .collect();
    (rows, ground.gaps)
}

#[test]
fn no_mistake_in_settings_stops_a_server() {
    let began = Instant::now();
    let mut gaps = Gaps::default();
    let mut parameters = Vec::new();
    let mut mistakes = Vec::new();
    let mut major = String::new();
    std::thread::scope(|scope| {
        let shares: Vec<_> = (0..SERVERS).map(|number| scope.spawn(move || share(number))).collect();
        let others = scope.spawn(mistake::all);
        for share in shares {
            let (rows, its) = share.join().unwrap();
            parameters.extend(rows);
            gaps.add(its);
        }
        let (rows, its, version) = others.join().unwrap();
        (mistakes, major) = (rows, version);
        gaps.add(its);
    });
    parameters.sort_by_key(|(at, _)| *at);
    let parameters: Vec<Row> = parameters.into_iter().map(|(_, row)| row).collect();

    let (_, restart) = Gaps::longest(&gaps.restarts);
    println!("all took {:?}", began.elapsed());
    for (what, of) in [
        ("no restart", &gaps.reloads),
        ("a restart", &gaps.restarts),
        ("a restart with a mistake", &gaps.mistakes),
        ("a restart with one that a start tells", &gaps.starts),
    ] {
        println!(
            "{what}: {} times, median {:?}, longest {:?}",
            of.len(),
            Gaps::median(of),
            Gaps::longest(of)
        );
    }
    let (case, longest) = Gaps::longest(&gaps.reloads);
    assert!(
        longest.longest < restart.longest,
        "{case}: {longest:?}, a restart took {restart:?}"
    );
    // That no start is lost is known for each; of two restarts of a busy machine none is the other's measure to the millisecond.
    let (usual, with_mistake) = (Gaps::median(&gaps.restarts), Gaps::median(&gaps.mistakes));
    assert!(with_mistake < 2 * usual, "{with_mistake:?}, a restart took {usual:?}");
    for (case, gap) in gaps.mistakes.iter().chain(&gaps.starts) {
        assert!(
            gap.longest < 3 * restart.longest,
            "{case}: {gap:?}, a restart took {restart:?}"
        );
    }
    table::check(&parameters, &mistakes, &major);
}
