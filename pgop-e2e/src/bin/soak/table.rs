//! The table at the end.

use crate::check::growth::{SETTLED, Series};
use crate::watch::Watch;

/// Prints what was done how often, what was used, and what was found.
pub(crate) fn print(watch: &Watch) {
    let seen = watch.seen();
    let minutes = watch.started.elapsed().as_secs() / 60;
    println!("\n{:<56} {:>8}", format!("done in {minutes} minutes"), "times");
    for (fault, times) in &seen.done {
        println!("{fault:<56} {times:>8}");
    }
    println!(
        "\n{:<56} {:>8} {:>8} {:>8}",
        "used",
        format!("{} min", SETTLED.as_secs() / 60),
        "end",
        "growth"
    );
    for series in seen.sampler.all() {
        row(series);
    }
    println!(
        "\n{:<56} {:>8}",
        "restarts of containers, all caused or found", seen.pods.restarts
    );
    println!("{:<56} {:>8}", "events at the end", seen.events.there);
    for (reason, times) in &seen.events.warnings {
        println!("{:<56} {times:>8}", format!("warnings, {reason}"));
    }
    for (line, times) in &seen.lines.warnings {
        println!("{:<56} {times:>8}", format!("log, {line}"));
    }
    println!("{:<56} {:>8}", "findings", seen.findings.len());
    for finding in &seen.findings {
        println!("  {}", finding.lines().next().unwrap_or_default());
    }
}

fn row(series: &Series) {
    let Some(trend) = series.trend() else { return };
    // An operator that lived for a short time says nothing.
    let growth = if trend.counts {
        format!("{:+.0} %", trend.percent())
    } else {
        "short".to_owned()
    };
    println!(
        "{:<56} {:>8.1} {:>8.1} {growth:>8}",
        series.what, trend.settled, trend.end
    );
}
