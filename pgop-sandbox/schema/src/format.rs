//! The `format` of strings, as far as Kubernetes checks them. Formats it does not know mean nothing.
//! <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation>

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::LazyLock,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, FixedOffset, NaiveDate, TimeDelta};
use regex::Regex;

use crate::pattern::known;

/// Whether `text` is of the format.
pub(crate) fn matches(format: &str, text: &str) -> bool {
    match format {
        "date-time" | "datetime" => date_time(text).is_some(),
        "date" => date(text).is_some(),
        "duration" => duration(text).is_some(),
        "byte" => bytes(text).is_some(),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "ip" => text.parse::<IpAddr>().is_ok(),
        "cidr" => is_cidr(text),
        "hostname" => HOST.is_match(text) && text.len() < 256,
        "uri" => URI.is_match(text),
        "email" => EMAIL.is_match(text),
        "mac" => MAC.is_match(text),
        "uuid" | "uuid3" | "uuid4" | "uuid5" => UUID.is_match(text),
        "hexcolor" => HEX_COLOR.is_match(text),
        _ => true,
    }
}

static HOST: LazyLock<Regex> = LazyLock::new(|| {
    known(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*")
});
static URI: LazyLock<Regex> = LazyLock::new(|| known(r"([a-zA-Z][a-zA-Z0-9+.-]*:\S+|/\S*)"));
static EMAIL: LazyLock<Regex> = LazyLock::new(|| known(r"[^@\s]+@[^@\s]+"));
static MAC: LazyLock<Regex> = LazyLock::new(|| known(r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}"));
static UUID: LazyLock<Regex> =
    LazyLock::new(|| known("(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}"));
static HEX_COLOR: LazyLock<Regex> = LazyLock::new(|| known("#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})"));

fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else {
        return false;
    };
    let most = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}

/// RFC 3339.
pub(crate) fn date_time(text: &str) -> Option<DateTime<FixedOffset>> {
    DateTime::parse_from_rfc3339(text).ok()
}

/// `2026-11-22`, as midnight in UTC.
pub(crate) fn date(text: &str) -> Option<DateTime<FixedOffset>> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(date.and_hms_opt(0, 0, 0)?.and_utc().fixed_offset())
}

/// Base64.
pub(crate) fn bytes(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// As Go writes durations: `1h30m`, `-1.5s`, `100ms`. <https://pkg.go.dev/time#ParseDuration>
pub(crate) fn duration(text: &str) -> Option<TimeDelta> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(TimeDelta::zero());
    }
    let mut nanoseconds = 0_f64;
    let mut parts = 0;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest[..number].parse().ok()?;
        rest = &rest[number..];
        let unit = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        nanoseconds += value * nanoseconds_of(&rest[..unit])?;
        rest = &rest[unit..];
        parts += 1;
    }
    #[expect(clippy::cast_precision_loss, reason = "a limit, not a value")]
    let fits = nanoseconds < i64::MAX as f64;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "nothing is smaller than a nanosecond, and the range was checked"
    )]
    let whole = nanoseconds as i64;
    (parts > 0 && fits).then(|| TimeDelta::nanoseconds(if negative { -whole } else { whole }))
}

fn nanoseconds_of(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1.0,
        "us" | "µs" | "μs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        "h" => 3600e9,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        for (format, good, bad) in [
            ("date-time", "2026-11-22T21:41:29Z", "2026-11-22 21:41"),
            ("date", "2026-11-22", "2026-13-22"),
            ("duration", "1h30m", "1 day"),
            ("byte", "aGVsbG8=", "hello!"),
            ("ipv4", "10.0.0.1", "10.0.0.256"),
            ("ipv6", "fe80::1", "fe80"),
            ("cidr", "10.244.0.0/16", "10.244.0.0/33"),
            ("hostname", "pg-0.pg.default", "-pg"),
            ("uri", "https://pgop.dev/docs", "pgop dev"),
            ("email", "dba@pgop.dev", "dba"),
            ("mac", "00:1b:63:84:45:e6", "00:1b"),
            ("uuid", "f3c1cd52-07e8-4f2e-a1a4-0c2f2e5f9f11", "f3c1"),
            ("hexcolor", "#336791", "#33679"),
        ] {
            assert!(matches(format, good), "{format}: {good}");
            assert!(!matches(format, bad), "{format}: {bad}");
        }
        assert!(matches("password", "anything"));
    }

    #[test]
    fn durations() {
        assert_eq!(duration("1h30m"), Some(TimeDelta::minutes(90)));
        assert_eq!(duration("-1.5s"), Some(TimeDelta::milliseconds(-1500)));
        assert_eq!(duration("0"), Some(TimeDelta::zero()));
        assert_eq!(duration("99999999999999h"), None);
        for bad in ["", "1", "h", "1x", "1.2.3s", "1µ"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
