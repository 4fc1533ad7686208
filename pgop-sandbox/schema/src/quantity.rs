//! Quantities such as `500m` and `10Gi`. <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>

use serde_json::Value;

/// How many thousandths a quantity is, rounded up. `None`: not a quantity, or beyond all measure.
///
/// Takes text and JSON numbers, as Kubernetes does.
pub fn thousandths(quantity: &Value) -> Option<i128> {
    match quantity {
        Value::String(text) => parse(text),
        Value::Number(number) => parse(&number.to_string()),
        _ => None,
    }
}

fn parse(text: &str) -> Option<i128> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = unsigned
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(unsigned.len());
    let (digits, suffix) = unsigned.split_at(end);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || whole.len() + fraction.len() > 24 {
        return None;
    }
    let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
    let (multiplier, divisor) = scale(suffix)?;
    let places = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let numerator = mantissa.checked_mul(multiplier)?.checked_mul(1000)?;
    let denominator = places.checked_mul(divisor)?;
    // Away from zero, as Kubernetes rounds.
    let rounded = numerator / denominator + i128::from(numerator % denominator != 0);
    Some(if negative { -rounded } else { rounded })
}

/// What a suffix multiplies and divides by.
fn scale(suffix: &str) -> Option<(i128, i128)> {
    let binary = |power: u32| Some((1024_i128.pow(power), 1));
    let decimal = |power: u32| Some((10_i128.pow(power), 1));
    match suffix {
        "n" => Some((1, 1_000_000_000)),
        "u" => Some((1, 1_000_000)),
        "m" => Some((1, 1000)),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let size = 10_i128
                .checked_pow(power.unsigned_abs())
                .filter(|_| power.abs() <= 18)?;
            Some(if power < 0 { (1, size) } else { (size, 1) })
        }
    }
}

/// The suffixes of powers of 1024 and of 1000, largest first.
const BINARY: [&str; 6] = ["Ei", "Pi", "Ti", "Gi", "Mi", "Ki"];
const DECIMAL: [&str; 6] = ["E", "P", "T", "G", "M", "k"];

/// A quantity as Kubernetes writes it: without fractions, with the largest suffix that allows that, in the family of suffixes that it
/// was given in. `None`: not a quantity, or with digits below a thousandth, which stays as it is.
pub fn canonical(quantity: &Value) -> Option<String> {
    let text = match quantity {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let amount = thousandths(quantity)?;
    let suffix = text.trim_start_matches(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    if matches!(suffix, "n" | "u") {
        return None;
    }
    // Below 1024, and where there are fractions, Kubernetes leaves the binary family.
    let is_binary = suffix.ends_with('i') && amount % 1000 == 0 && amount.abs() >= 1024 * 1000;
    if is_binary {
        let (mut whole, mut power) = (amount / 1000, 0);
        while whole != 0 && whole % 1024 == 0 && power < BINARY.len() {
            (whole, power) = (whole / 1024, power + 1);
        }
        let suffix = if power == 0 { "" } else { BINARY[BINARY.len() - power] };
        return Some(format!("{whole}{suffix}"));
    }
    if amount % 1000 != 0 {
        return Some(format!("{amount}m"));
    }
    let (mut whole, mut power) = (amount / 1000, 0);
    while whole != 0 && whole % 1000 == 0 && power < DECIMAL.len() {
        (whole, power) = (whole / 1000, power + 1);
    }
    let is_exponent = suffix.len() > 1 && suffix.starts_with(['e', 'E']);
    Some(match (power, is_exponent) {
        (0, _) => whole.to_string(),
        (power, true) => format!("{whole}e{}", 3 * power),
        (power, false) => format!("{whole}{}", DECIMAL[DECIMAL.len() - power]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn quantities_of_all_shapes() {
        for (quantity, thousandths) in [
            (json!("0"), 0),
            (json!("500m"), 500),
            (json!("0.5"), 500),
            (json!(".5"), 500),
            (json!(2), 2000),
            (json!(1.5), 1500),
            (json!("1e3"), 1_000_000),
            (json!("1E"), 1_000_000_000_000_000_000_000),
            (json!("10Gi"), 10 * 1024 * 1024 * 1024 * 1000),
            (json!("1.5Ki"), 1_536_000),
            (json!("-1"), -1000),
            (json!("1n"), 1),
        ] {
            assert_eq!(super::thousandths(&quantity), Some(thousandths), "{quantity}");
        }
    }

    #[test]
    fn quantities_are_written_as_kubernetes_does() {
        for (given, written) in [
            (json!("1000m"), "1"),
            (json!("1500m"), "1500m"),
            (json!("0.5"), "500m"),
            (json!(2), "2"),
            (json!(1.5), "1500m"),
            (json!("1024Mi"), "1Gi"),
            (json!("1536Mi"), "1536Mi"),
            (json!("1.5Gi"), "1536Mi"),
            (json!("1000k"), "1M"),
            (json!("1000"), "1k"),
            (json!("1024"), "1024"),
            (json!("0"), "0"),
            (json!("1e3"), "1e3"),
            (json!("-1000m"), "-1"),
        ] {
            assert_eq!(canonical(&given).as_deref(), Some(written), "{given}");
        }
        assert_eq!(canonical(&json!("ten")), None);
    }

    #[test]
    fn what_is_none() {
        for text in [
            "",
            "Gi",
            "1 Gi",
            "1gi",
            "1.2.3",
            "--1",
            "1e",
            "1e99",
            "ten",
            "99999999999999999999999999",
        ] {
            assert_eq!(thousandths(&json!(text)), None, "{text}");
        }
        assert_eq!(thousandths(&json!(true)), None);
    }
}
