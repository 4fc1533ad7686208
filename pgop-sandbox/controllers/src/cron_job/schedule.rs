//! When a `CronJob` is due. Pure.

use croner::{
    Cron,
    parser::{CronParser, Seconds},
};
use jiff::{Timestamp, tz::TimeZone};

/// A schedule in its time zone.
pub(crate) struct Schedule {
    cron: Cron,
    zone: TimeZone,
}

/// Why a schedule can't be used, in the words of the event about it.
#[derive(Debug, PartialEq)]
pub(crate) struct Unusable {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Schedule {
    /// Without a zone the time is UTC, as it is where Kubernetes' controllers run.
    pub(crate) fn parse(schedule: &str, zone: Option<&str>) -> Result<Self, Unusable> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).build();
        let cron = parser.parse(schedule).map_err(|error| Unusable {
            reason: "UnparseableSchedule",
            message: format!("unparseable schedule: {schedule:?} : {error}"),
        })?;
        let zone = match zone {
            None => TimeZone::UTC,
            Some(name) => TimeZone::get(name).map_err(|error| Unusable {
                reason: "UnknownTimeZone",
                message: format!("invalid timeZone: {name:?}: {error}"),
            })?,
        };
        Ok(Self { cron, zone })
    }

    /// The last time it was due, `now` included.
    pub(crate) fn last(&self, now: Timestamp) -> Option<Timestamp> {
        self.cron
            .find_previous_occurrence(&now.to_zoned(self.zone.clone()), true)
            .ok()
            .map(|time| time.timestamp())
    }

    /// The next time it is due, `after` not included. `None` for a day that never comes.
    pub(crate) fn next(&self, after: Timestamp) -> Option<Timestamp> {
        self.cron
            .find_next_occurrence(&after.to_zoned(self.zone.clone()), false)
            .ok()
            .map(|time| time.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn last_and_next() {
        let hourly = Schedule::parse("30 * * * *", None).unwrap();
        assert_eq!(
            hourly.last(at("2026-11-01T10:30:00Z")),
            Some(at("2026-11-01T10:30:00Z"))
        );
        assert_eq!(
            hourly.last(at("2026-11-01T10:29:59Z")),
            Some(at("2026-11-01T09:30:00Z"))
        );
        assert_eq!(
            hourly.next(at("2026-11-01T10:30:00Z")),
            Some(at("2026-11-01T11:30:00Z"))
        );
    }

    #[test]
    fn steps_names_and_nicknames() {
        for (schedule, next) in [
            ("*/15 * * * *", "2026-11-01T10:15:00Z"),
            ("0 3 * * MON", "2026-11-02T03:00:00Z"),
            ("@daily", "2026-11-02T00:00:00Z"),
            ("0 0 13 * 5", "2026-11-06T00:00:00Z"),
        ] {
            assert_eq!(
                Schedule::parse(schedule, None)
                    .unwrap()
                    .next(at("2026-11-01T10:00:00Z")),
                Some(at(next)),
                "{schedule}"
            );
        }
    }

    #[test]
    fn the_zone_counts_and_its_changes_of_clock() {
        let berlin = Schedule::parse("0 3 * * *", Some("Europe/Berlin")).unwrap();
        assert_eq!(
            berlin.next(at("2026-07-01T12:00:00Z")),
            Some(at("2026-07-02T01:00:00Z"))
        );
        assert_eq!(
            berlin.next(at("2026-12-01T12:00:00Z")),
            Some(at("2026-12-02T02:00:00Z"))
        );
    }

    #[test]
    fn what_can_not_be_used_is_told() {
        let reason = |schedule, zone| Schedule::parse(schedule, zone).err().map(|unusable| unusable.reason);
        assert_eq!(reason("every hour", None), Some("UnparseableSchedule"));
        assert_eq!(reason("0 * * * * *", None), Some("UnparseableSchedule"));
        assert_eq!(reason("0 * * * *", Some("Mars/Olympus")), Some("UnknownTimeZone"));
    }
}
