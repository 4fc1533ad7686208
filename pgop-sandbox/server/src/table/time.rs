//! Ages as kubectl prints them: two units at most.

use jiff::Timestamp;
use serde_json::Value;

/// How long ago a time was.
pub(super) fn since(time: &Value) -> String {
    match time.as_str().and_then(|text| text.parse::<Timestamp>().ok()) {
        Some(time) => span(pgop_sandbox_tasks::now().as_second() - time.as_second()),
        None => "<unknown>".into(),
    }
}

/// How long it was from one time to another, or to now.
pub(super) fn between(start: &Value, end: &Value) -> String {
    let read = |time: &Value| time.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    match (read(start), read(end)) {
        (Some(start), Some(end)) => span(end.as_second() - start.as_second()),
        (Some(_), None) => since(start),
        _ => String::new(),
    }
}

fn span(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    let two = |amount: i64, unit: &str, rest: i64, small: &str| {
        if rest == 0 {
            format!("{amount}{unit}")
        } else {
            format!("{amount}{unit}{rest}{small}")
        }
    };
    match seconds {
        ..=-2 => "<invalid>".into(),
        -1..=0 => "0s".into(),
        1..120 => format!("{seconds}s"),
        120..600 => two(seconds / MINUTE, "m", seconds % MINUTE, "s"),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => two(seconds / HOUR, "h", seconds % HOUR / MINUTE, "m"),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => two(seconds / DAY, "d", seconds % DAY / HOUR, "h"),
        691_200..63_072_000 => format!("{}d", seconds / DAY),
        63_072_000..252_288_000 => two(seconds / DAY / 365, "y", seconds / DAY % 365, "d"),
        _ => format!("{}y", seconds / DAY / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::span;

    #[test]
    fn ages_are_short() {
        let told: Vec<String> = [
            0, 59, 119, 150, 601, 3_600, 11_000, 90_000, 180_000, 900_000, 70_000_000,
        ]
        .map(span)
        .into();
        assert_eq!(
            told,
            [
                "0s", "59s", "119s", "2m30s", "10m", "60m", "3h3m", "25h", "2d2h", "10d", "2y80d"
            ]
        );
    }
}
