//! What is used over time: flat, or a finding.

use std::time::Duration;

/// From here on it has to be flat: what is filled once has been filled.
pub(crate) const SETTLED: Duration = Duration::from_secs(600);
/// A run that ends earlier than this says nothing about growth.
const ENOUGH: Duration = Duration::from_secs(1200);
/// Samples around a moment, of which the middle one counts: the number of pods differs from round to round.
const AROUND: Duration = Duration::from_secs(120);
/// Growth that is allowed after the first ten minutes.
const ALLOWED: f64 = 0.10;

/// One measure of one process, over the time of its life.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    /// What is measured.
    pub(crate) what: String,
    /// So much more is never a finding: small numbers jump.
    pub(crate) slack: f64,
    samples: Vec<(Duration, f64)>,
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Trend {
    /// After ten minutes, or at the first sample of a short run.
    pub(crate) settled: f64,
    pub(crate) end: f64,
    /// Whether ten minutes or more lie between the two.
    pub(crate) counts: bool,
}

impl Trend {
    /// In hundredths of what it was.
    pub(crate) fn percent(&self) -> f64 {
        if self.settled > 0.0 {
            (self.end / self.settled - 1.0) * 100.0
        } else {
            0.0
        }
    }
}

impl Series {
    pub(crate) fn new(what: impl Into<String>, slack: f64) -> Self {
        Self {
            what: what.into(),
            slack,
            samples: Vec::new(),
        }
    }

    /// `age` is that of the process.
    pub(crate) fn push(&mut self, age: Duration, value: f64) {
        self.samples.push((age, value));
    }

    pub(crate) fn trend(&self) -> Option<Trend> {
        let (first, last) = (self.samples.first()?.0, self.samples.last()?.0);
        let counts = last >= ENOUGH;
        let from = if counts { SETTLED } else { first };
        Some(Trend {
            settled: self.middle(from, from + AROUND)?,
            end: self.middle(last.saturating_sub(AROUND), last)?,
            counts,
        })
    }

    /// Why it is a finding, if it is one.
    pub(crate) fn finding(&self) -> Option<String> {
        let trend = self.trend().filter(|trend| trend.counts)?;
        let grown = trend.end > trend.settled * (1.0 + ALLOWED) && trend.end > trend.settled + self.slack;
        grown.then(|| {
            format!(
                "{} grew by {:.0} % after the first ten minutes: {:.1} then, {:.1} at the end",
                self.what,
                trend.percent(),
                trend.settled,
                trend.end
            )
        })
    }

    fn middle(&self, from: Duration, to: Duration) -> Option<f64> {
        let within = self.samples.iter().filter(|(age, _)| (from..=to).contains(age));
        let mut values: Vec<f64> = within.map(|(_, value)| *value).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(minutes: u64, value: impl Fn(f64) -> f64) -> Series {
        let mut series = Series::new("memory", 2.0);
        for second in (0..=minutes * 60).step_by(10) {
            #[allow(clippy::cast_precision_loss)] // some thousands
            series.push(Duration::from_secs(second), value(second as f64 / 60.0));
        }
        series
    }

    #[test]
    fn what_is_filled_in_the_first_ten_minutes_is_no_growth() {
        assert_eq!(series(60, |minute| minute.min(9.0) * 10.0).finding(), None);
    }

    #[test]
    fn a_leak_is_growth() {
        let found = series(60, |minute| 100.0 + minute).finding().unwrap();
        assert!(found.starts_with("memory grew by 43 %"), "{found}");
    }

    #[test]
    fn a_jump_is_not() {
        let jumps = |minute: f64| if (minute * 6.0) % 7.0 < 1.0 { 300.0 } else { 100.0 };
        assert_eq!(series(60, jumps).finding(), None);
        assert_eq!(
            series(60, |minute| 4.0 + minute / 60.0).finding(),
            None,
            "two more are nothing"
        );
    }

    #[test]
    fn a_short_run_is_shown_and_not_judged() {
        let short = series(10, |minute| minute);
        assert_eq!(short.finding(), None);
        assert!(short.trend().is_some_and(|trend| !trend.counts));
    }
}
